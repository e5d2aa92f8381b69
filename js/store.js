/*
 * Store: what sessions, workers and machines know together: counters over sliding windows, values that expire, sets.
 */
(function (host, global) {
    'use strict';

    function Store(url, options) {
        options = options || {};
        this.name = host.now('store.check', String(url));
        host.define(this, 'url', String(url));
        this.prefix = options.prefix === undefined ? 'mailfilter:' : String(options.prefix);
        this.seconds = host.secondsOf(options);
        this.away = host.awayOf(options);
    }

    function perform(store, verb, key, more) {
        return host.wait(['store.perform', store.url, verb, store.prefix + key, more, store.seconds, store.away]);
    }

    /**
     * A store: the one of the setting `store`, else the embedded one, which all workers of the machine share.
     *
     *     var store = Store.open();
     *     if (store.count('from:' + this.remoteAddr, 3600) > 100) { … }
     *
     * @param {string} [url]  a path, redis://host/0, rediss://, redis+sentinel://host,host/master, redis+cluster://host,host
     * @param {{prefix: string, timeout: number, away: string}} [options]  prefix: before every key (default "mailfilter:")
     * @returns {Store}
     */
    Store.open = function (url, options) {
        if (url !== null && typeof url === 'object') {
            options = url;
            url = undefined;
        }
        return new Store(url === undefined || url === null ? global.Sys.setting('store', '') : url, options);
    };

    /** Adds to a counter; how much it has counted within the last `seconds`. Waits. */
    Store.prototype.count = function (key, seconds, by) {
        return perform(this, 'count', key, [+seconds, by === undefined ? 1 : +by]);
    };

    /** Adds to a counter unless that makes more than `most`: {allowed, count}. Waits. */
    Store.prototype.take = function (key, most, seconds, by) {
        var found = perform(this, 'take', key, [+seconds, +most, by === undefined ? 1 : +by]);
        return { allowed: found[0], count: found[1] };
    };

    /** What a counter has counted within the last `seconds`. Waits. */
    Store.prototype.counted = function (key, seconds) {
        return perform(this, 'count', key, [+seconds, 0]);
    };

    function valueOf(text) {
        return text === null ? null : JSON.parse(text);
    }

    function textOf(value) {
        var text = JSON.stringify(value);
        if (text === undefined) {
            throw new TypeError('Store: ' + String(value) + ' cannot be kept');
        }
        return text;
    }

    /** The value of a key, null when there is none. Waits. */
    Store.prototype.get = function (key) {
        return valueOf(perform(this, 'get', key, []));
    };

    /** Keeps a value (whatever JSON can write) for so many seconds. Waits. */
    Store.prototype.set = function (key, value, seconds) {
        return perform(this, 'set', key, [textOf(value), +seconds]);
    };

    /** Keeps a value unless there is one: null, or the one that is there. Waits. */
    Store.prototype.add = function (key, value, seconds) {
        return valueOf(perform(this, 'add', key, [textOf(value), +seconds]));
    };

    /** Forgets a value; whether there was one. Waits. */
    Store.prototype.remove = function (key) {
        return perform(this, 'remove', key, []);
    };

    /**
     * For how many seconds a key has been known; null: it is new, and known from now on. Waits.
     * @param {string} key
     * @param {number} seconds  how long it is kept from its beginning
     * @param {number} [after]  from this age on …
     * @param {number} [then]  … it is kept for so many seconds from now
     */
    Store.prototype.age = function (key, seconds, after, then) {
        return perform(this, 'age', key, [+seconds, after === undefined ? 1e12 : +after, then === undefined ? +seconds : +then]);
    };

    /** Makes something a member of a set for so many seconds; whether it is new. Waits. */
    Store.prototype.include = function (set, member, seconds) {
        return perform(this, 'include', set, [String(member), +seconds]);
    };

    /** Whether something is a member of a set. Waits. */
    Store.prototype.has = function (set, member) {
        return perform(this, 'has', set, [String(member)]);
    };

    /** Takes a member out of a set; whether it was one. Waits. */
    Store.prototype.discard = function (set, member) {
        return perform(this, 'discard', set, [String(member)]);
    };

    /** The members of a set, at most `limit` (default 1000). Waits. */
    Store.prototype.members = function (set, limit) {
        return perform(this, 'members', set, [limit === undefined ? 1000 : +limit]);
    };

    global.Store = Store;
}(this.host, this));
