/*
 * Map, Set, WeakMap and WeakSet (ECMA-262 6th edition §23). Part of a policy's heap only when the policy names one.
 *
 * Entries are a linked list in order of insertion, found through an object by type and text of the key; objects
 * used as keys get a number under a symbol of ours. Where an object cannot get one (it is frozen), the list is searched.
 * Adding and deleting while iterating is as in the standard; callbacks may wait.
 *
 * Must not know: mail, operations.
 */
(function (host, global) {
    'use strict';

    var define = host.define, iteratorOf = Symbol.iterator, number = Symbol('number'), count = 0;

    function isObject(value) {
        return typeof value === 'object' && value !== null || typeof value === 'function';
    }

    /* The name of a key in the index, or null when it has none: a frozen object. */
    function indexed(key, adding) {
        if (!isObject(key)) {
            return typeof key === 'symbol' ? key : typeof key + ' ' + (key === 0 ? 0 : key);
        }
        if (!Object.prototype.hasOwnProperty.call(key, number)) {
            if (!Object.isExtensible(key)) {
                return null;
            }
            if (!adding) {
                return '';
            }
            define(key, number, ++count);
        }
        return 'object ' + key[number];
    }

    function Entry(key, value, previous) {
        this.key = key;
        this.value = value;
        this.previous = previous;
        this.next = null;
        this.gone = false;
    }

    /* What a Map or Set keeps. */
    function Entries() {
        this.clear();
    }

    Entries.prototype.clear = function () {
        for (var entry = this.first; entry; entry = entry.next) {
            entry.gone = true;
            entry.previous = null;
        }
        this.index = Object.create(null);
        this.first = this.last = null;
        this.size = 0;
    };

    Entries.prototype.find = function (key) {
        var name = indexed(key, false), entry;
        if (name !== null) {
            return this.index[name];
        }
        for (entry = this.first; entry && entry.key !== key; entry = entry.next) {
            /* on */
        }
        return entry || undefined;
    };

    Entries.prototype.set = function (key, value) {
        var entry = this.find(key), name;
        if (entry) {
            entry.value = value;
            return;
        }
        entry = new Entry(key === 0 ? 0 : key, value, this.last);
        if (this.last) {
            this.last.next = entry;
        } else {
            this.first = entry;
        }
        this.last = entry;
        this.size++;
        name = indexed(key, true);
        if (name !== null) {
            this.index[name] = entry;
        }
    };

    Entries.prototype.remove = function (key) {
        var entry = this.find(key), name;
        if (!entry) {
            return false;
        }
        entry.gone = true;
        if (entry.previous) {
            entry.previous.next = entry.next;
        } else {
            this.first = entry.next;
        }
        if (entry.next) {
            entry.next.previous = entry.previous;
        } else {
            this.last = entry.previous;
        }
        this.size--;
        name = indexed(key, false);
        if (name !== null) {
            delete this.index[name];
        }
        return true;
    };

    /* The entry after `entry` (null: before the first), also when it has been deleted meanwhile. */
    Entries.prototype.after = function (entry) {
        while (entry && entry.gone) {
            entry = entry.previous;
        }
        return entry ? entry.next : this.first;
    };

    /* kind: 0 values, 1 keys, 2 pairs of both */
    function EntryIterator(entries, kind) {
        this.entries = entries;
        this.kind = kind;
        this.entry = null;
    }
    define(EntryIterator.prototype, 'next', function () {
        var entry = this.entries && this.entries.after(this.entry);
        this.entry = entry;
        if (!entry) {
            this.entries = null;
            return {value: undefined, done: true};
        }
        return {value: this.kind === 2 ? [entry.key, entry.value] : this.kind ? entry.key : entry.value, done: false};
    });
    define(EntryIterator.prototype, iteratorOf, function () { return this; });

    /* Makes a constructor with what all four have, and fills a new instance from an iterable. */
    function collection(name, slot, start, add) {
        function Collection(iterable) {
            if (!(this instanceof Collection)) {
                throw new TypeError('Constructor ' + name + " requires 'new'");
            }
            define(this, slot, start());
            if (iterable !== undefined && iterable !== null) {
                host.iterate(iterable, add === 'add' ? this.add.bind(this) : setter(this));
            }
        }
        Object.defineProperty(Collection, 'name', {value: name, configurable: true});
        define(Collection.prototype, 'constructor', Collection);
        Object.defineProperty(Collection.prototype, Symbol.toStringTag, {value: name, configurable: true});
        define(global, name, Collection);
        return Collection.prototype;
    }

    function setter(self) {
        return function (pair) { self.set(pair[0], pair[1]); };
    }

    var entriesOf = Symbol('entries');

    function ordered(name, add, first) {
        var prototype = collection(name, entriesOf, function () { return new Entries(); }, add);

        function walking(kind) {
            return function () { return new EntryIterator(this[entriesOf], kind); };
        }
        Object.defineProperty(prototype, 'size', {get: function () { return this[entriesOf].size; }, configurable: true});
        define(prototype, 'has', function (key) { return this[entriesOf].find(key) !== undefined; });
        define(prototype, 'delete', function (key) { return this[entriesOf].remove(key); });
        define(prototype, 'clear', function () { this[entriesOf].clear(); });
        define(prototype, 'forEach', function (callback, self) {
            var entries = this[entriesOf], entry = null;
            while ((entry = entries.after(entry))) {
                callback.call(self, entry.value, entry.key, this);
            }
        });
        define(prototype, 'values', walking(0));
        define(prototype, 'keys', walking(1));
        define(prototype, 'entries', walking(2));
        define(prototype, iteratorOf, prototype[first]);
        return prototype;
    }

    var map = ordered('Map', 'set', 'entries'), set = ordered('Set', 'add', 'values');
    define(map, 'get', function (key) {
        var entry = this[entriesOf].find(key);
        return entry && entry.value;
    });
    define(map, 'set', function (key, value) {
        this[entriesOf].set(key, value);
        return this;
    });
    define(set, 'add', function (key) {
        this[entriesOf].set(key, key === 0 ? 0 : key);
        return this;
    });

    /* The weak ones keep the value at the key itself, under a symbol of their own. */
    var symbolOf = Symbol('symbol');

    function weak(name, add) {
        var prototype = collection(name, symbolOf, function () { return Symbol(name); }, add);
        define(prototype, 'has', function (key) {
            return isObject(key) && Object.prototype.hasOwnProperty.call(key, this[symbolOf]);
        });
        define(prototype, 'delete', function (key) { return this.has(key) && delete key[this[symbolOf]]; });
        return prototype;
    }

    function keep(self, key, value) {
        if (!isObject(key) || !Object.isExtensible(key)) {
            throw new TypeError('a key of a weak collection must be an object that is not frozen');
        }
        define(key, self[symbolOf], value);
        return self;
    }

    map = weak('WeakMap', 'set');
    set = weak('WeakSet', 'add');
    define(map, 'get', function (key) { return this.has(key) ? key[this[symbolOf]] : undefined; });
    define(map, 'set', function (key, value) { return keep(this, key, value); });
    define(set, 'add', function (key) { return keep(this, key, true); });
}(this.host, this));
