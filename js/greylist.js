/*
 * RateLimit and Greylist: what most policies do with a Store.
 */
(function (host, global) {
    'use strict';

    /* The network that stands for an address. */
    function networkOf(address, ipv4, ipv6) {
        return host.now('address.network', String(address), ipv4, ipv6);
    }

    function number(options, name, fallback) {
        var value = options[name] === undefined ? fallback : +options[name];
        if (!(value >= 0)) {
            throw new TypeError(name + ' is a number from 0, not ' + options[name]);
        }
        return value;
    }

    /**
     * So much of something within some seconds, for each key.
     *
     *     var limit = new RateLimit('recipients', { most: 100, seconds: 3600 });
     *     if (!limit.take(RateLimit.network(this.remoteAddr)).allowed) { return new SmtpResponse(450, '4.7.1 Too fast'); }
     *
     * @param {string} name  goes into the keys: another name, another count
     * @param {{most: number, seconds: number, store: Store}} options
     */
    function RateLimit(name, options) {
        this.name = String(name);
        this.most = number(options, 'most');
        this.seconds = number(options, 'seconds', 3600);
        this.store = options.store === undefined ? global.Store.open() : options.store;
    }

    /** An address, or the network it is in: /64 for IPv6, of which one client has all. */
    RateLimit.network = function (address, ipv4, ipv6) {
        return networkOf(address, ipv4 === undefined ? 32 : +ipv4, ipv6 === undefined ? 64 : +ipv6);
    };

    /**
     * Takes some (default 1) when that is not too much; what is refused does not count. Waits.
     * @returns {{allowed: boolean, count: number, retryAfter: number}}  retryAfter: seconds until it may be allowed, about
     */
    RateLimit.prototype.take = function (key, by) {
        var wanted = by === undefined ? 1 : +by, over,
            found = this.store.take('rate:' + this.name + ':' + key, this.most, this.seconds, wanted);
        over = found.count + wanted - this.most;
        return {
            allowed: found.allowed, count: found.count,
            retryAfter: found.allowed ? 0 : Math.ceil(this.seconds * Math.min(1, over / Math.max(found.count, 1)))
        };
    };

    /** What was taken within the seconds. Waits. */
    RateLimit.prototype.count = function (key) {
        return this.store.counted('rate:' + this.name + ':' + key, this.seconds);
    };

    /**
     * Asks clients that nobody knows to come again: mail servers do, most of what sends spam does not.
     *
     *     var greylist = new Greylist({ delay: 300, allow: ['192.0.2.0/24'], spf: true });
     *     var found = greylist.check({ address: this.remoteAddr, sender: this.sender, recipient: path, helo: this.clientname });
     *     if (!found.pass) { return new SmtpResponse(451, '4.7.1 Greylisted, come again in ' + found.wait + ' s'); }
     *
     * @param {object} [options]
     *     delay: seconds until it may pass (300); retry: within so many seconds it must come again (two days); keep: how long it is
     *     known then (36 days, so that monthly mail stays known); ipv4, ipv6: bits of an address that count (24, 64);
     *     allow: networks, or anything with has(address), that pass; spf: whether SPF's pass passes; allowLists: a Dnsbl whose
     *     allow-lists pass; onlyListed: a Dnsbl, those it does not list pass; autoAllow: after so many that passed, the network does (5,
     *     0: never); store: a Store
     */
    function Greylist(options) {
        options = options || {};
        this.delay = number(options, 'delay', 300);
        this.retry = number(options, 'retry', 2 * 86400);
        this.keep = number(options, 'keep', 36 * 86400);
        this.ipv4 = number(options, 'ipv4', 24);
        this.ipv6 = number(options, 'ipv6', 64);
        this.autoAllow = number(options, 'autoAllow', 5);
        this.allow = options.allow === undefined ? [] : options.allow;
        this.spf = !!options.spf;
        this.allowLists = options.allowLists || null;
        this.onlyListed = options.onlyListed || null;
        this.store = options.store === undefined ? global.Store.open() : options.store;
        if (Array.isArray(this.allow)) {
            host.now('address.within', '127.0.0.1', this.allow.map(String));        // a network that is none is told now
        }
    }

    /* Why a client that nobody knows passes all the same, or null. Asked last: this may ask the DNS. */
    function exempt(list, client) {
        var found;
        if (list.spf && host.wait(['spf.check', client.address, client.sender, client.helo, false])[0] === 'pass') {
            return 'spf';
        }
        if (list.allowLists !== null && list.allowLists.check(client.address).allowed) {
            return 'allow-list';
        }
        if (list.onlyListed !== null) {
            found = list.onlyListed.check(client.address);
            if (!found.listed) {
                return 'not listed';
            }
        }
        return null;
    }

    function plain(path) {
        return String(path).replace(/^<|>$/g, '').toLowerCase();
    }

    /* A sender without what is another one for each message: numbers (VERP, SRS, BATV) count as one. */
    function lasting(sender) {
        var at = sender.lastIndexOf('@');
        return at < 0 ? sender : sender.substring(0, at).replace(/[0-9a-f]*[0-9]+[0-9a-f]*/g, '#') + sender.substring(at);
    }

    /**
     * Whether a client may deliver now. Waits: one request to the store, a second one when it is new or passes.
     * @param {{address: string, sender: (SmtpPath|string), recipient: (SmtpPath|string), helo: string}} client
     * @returns {{pass: boolean, reason: string, wait: number}}  reason: "allowed", "spf", "allow-list", "not listed", "known network",
     *     "passed", "new" or "early"; wait: seconds until it may pass
     */
    Greylist.prototype.check = function (client) {
        var address = String(client.address), network = networkOf(address, this.ipv4, this.ipv6), store = this.store, age, reason,
            allowed = Array.isArray(this.allow) ? host.now('address.within', address, this.allow.map(String)) :
                this.allow.has(address);
        if (allowed) {
            return { pass: true, reason: 'allowed', wait: 0 };
        }
        if (this.autoAllow && store.counted('grey:net:' + network, this.keep) >= this.autoAllow) {
            return { pass: true, reason: 'known network', wait: 0 };
        }
        age = store.age('grey:' + host.now('store.digest', network + ' ' + lasting(plain(client.sender)) + ' ' + plain(client.recipient)),
            this.retry, this.delay, this.keep);
        if (age !== null && age >= this.delay) {
            if (this.autoAllow) {
                store.count('grey:net:' + network, this.keep);
            }
            return { pass: true, reason: 'passed', wait: 0 };
        }
        reason = exempt(this, { address: address, sender: plain(client.sender), helo: String(client.helo || '') });
        if (reason !== null) {
            return { pass: true, reason: reason, wait: 0 };
        }
        return { pass: false, reason: age === null ? 'new' : 'early', wait: Math.ceil(this.delay - (age || 0)) };
    };

    global.RateLimit = RateLimit;
    global.Greylist = Greylist;
}(this.host, this));
