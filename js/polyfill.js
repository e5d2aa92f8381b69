/*
 * Standard methods of ECMAScript 2015 and later that the engine lacks, and iteration by Symbol.iterator.
 *
 * Whatever calls back into a policy is JavaScript here, so that callbacks may wait. Nothing is enumerable and
 * nothing that the engine has is replaced. Every connection copies this: it holds what authors of policies
 * expect, not all there is.
 *
 * Must not know: mail, operations.
 */
(function (host, global) {
    'use strict';

    var iteratorOf = Symbol.iterator;

    function add(object, methods) {
        for (var name in methods) {
            if (!(name in object)) {
                host.define(object, name, methods[name]);
            }
        }
    }

    function listOf(self) {
        if (self === null || self === undefined) {
            throw new TypeError('called on ' + self);
        }
        return Object(self);
    }

    function callable(callback) {
        if (typeof callback !== 'function') {
            throw new TypeError(String(callback) + ' is not a function');
        }
    }

    /** Walks an array or what is like one. @param {number} kind  0 values, 1 keys, 2 pairs of both */
    function ListIterator(list, kind) {
        this.list = list;
        this.kind = kind;
        this.at = 0;
    }
    host.define(ListIterator.prototype, 'next', function () {
        var at = this.at, list = this.list;
        if (list === null || at >= list.length >>> 0) {
            this.list = null;
            return {value: undefined, done: true};
        }
        this.at = at + 1;
        return {value: this.kind === 1 ? at : this.kind === 2 ? [at, list[at]] : list[at], done: false};
    });
    host.define(ListIterator.prototype, iteratorOf, function () { return this; });

    function values() { return new ListIterator(listOf(this), 0); }

    /** The characters of a text; a surrogate pair is one. */
    function characters(text) {
        return text.match(/[\ud800-\udbff][\udc00-\udfff]|[\s\S]/g) || [];
    }

    /* The engine's arguments objects have nothing of their own to be iterated by; they inherit it from here. */
    Object.defineProperty(Object.prototype, iteratorOf, {
        configurable: true,
        get: function () { return Object.prototype.toString.call(this) === '[object Arguments]' ? values : undefined; },
        set: function (iterate) {
            Object.defineProperty(this, iteratorOf, {value: iterate, writable: true, enumerable: true, configurable: true});
        }
    });

    /** Calls take(value) for each value of an iterable, or of something that is like an array. For the library. */
    host.iterate = function (source, take) {
        var start = listOf(source)[iteratorOf], iterator, step, i;
        if (Array.isArray(source) && start === values || typeof start !== 'function') {
            for (i = 0; i < source.length >>> 0; i++) {
                take(source[i]);
            }
            return;
        }
        iterator = start.call(source);
        while (!(step = iterator.next()).done) {
            take(step.value);
        }
    };

    function same(a, b) {
        return a === b || a !== a && b !== b;
    }

    function index(n, length, fallback) {
        n = n === undefined ? fallback : Math.trunc(n) || 0;
        return n < 0 ? Math.max(length + n, 0) : Math.min(n, length);
    }

    function findIndex(callback, self) {
        var list = listOf(this), n = list.length >>> 0, i;
        callable(callback);
        for (i = 0; i < n; i++) {
            if (callback.call(self, list[i], i, list)) {
                return i;
            }
        }
        return -1;
    }

    function findLastIndex(callback, self) {
        var list = listOf(this), i;
        callable(callback);
        for (i = (list.length >>> 0) - 1; i >= 0; i--) {
            if (callback.call(self, list[i], i, list)) {
                return i;
            }
        }
        return -1;
    }

    /* Array.prototype.at and String.prototype.at */
    function at(i) {
        i = Math.trunc(i) || 0;
        return this[i < 0 ? i + this.length : i];
    }

    function flatten(list, depth, result) {
        for (var i = 0; i < list.length; i++) {
            if (depth > 0 && Array.isArray(list[i])) {
                flatten(list[i], depth - 1, result);
            } else if (i in list) {
                result[result.length] = list[i];
            }
        }
        return result;
    }

    add(Array.prototype, {
        find: function (callback, self) {
            var i = findIndex.call(this, callback, self);
            return i < 0 ? undefined : this[i];
        },
        findIndex: findIndex,
        findLast: function (callback, self) {
            var i = findLastIndex.call(this, callback, self);
            return i < 0 ? undefined : this[i];
        },
        findLastIndex: findLastIndex,
        at: function (i) { return at.call(listOf(this), i); },
        includes: function (wanted, from) {
            var list = listOf(this), n = list.length >>> 0, i;
            for (i = index(from, n, 0); i < n; i++) {
                if (same(list[i], wanted)) {
                    return true;
                }
            }
            return false;
        },
        fill: function (value, start, end) {
            var list = listOf(this), n = list.length >>> 0, i;
            end = index(end, n, n);
            for (i = index(start, n, 0); i < end; i++) {
                list[i] = value;
            }
            return list;
        },
        flat: function (depth) { return flatten(listOf(this), depth === undefined ? 1 : Number(depth) || 0, []); },
        flatMap: function (callback, self) { return flatten(listOf(this).map(callback, self), 1, []); },
        keys: function () { return new ListIterator(listOf(this), 1); },
        entries: function () { return new ListIterator(listOf(this), 2); },
        values: values
    });
    host.define(Array.prototype, iteratorOf, values);
    host.define(Object.getPrototypeOf(Uint8Array.prototype), iteratorOf, values);
    host.define(String.prototype, iteratorOf, function () { return new ListIterator(characters(String(this)), 0); });

    add(Array, {
        from: function (source, callback, self) {
            var result = [];
            if (callback !== undefined) {
                callable(callback);
            }
            host.iterate(typeof source === 'string' ? characters(source) : source, function (value) {
                result[result.length] = callback === undefined ? value : callback.call(self, value, result.length);
            });
            return result;
        },
        of: function () { return Array.prototype.slice.call(arguments); }
    });

    add(Object, {
        values: function (object) { return Object.keys(object).map(function (key) { return object[key]; }); },
        entries: function (object) { return Object.keys(object).map(function (key) { return [key, object[key]]; }); },
        hasOwn: function (object, key) { return Object.prototype.hasOwnProperty.call(listOf(object), key); },
        fromEntries: function (pairs) {
            var result = {};
            host.iterate(pairs, function (pair) { result[pair[0]] = pair[1]; });
            return result;
        }
    });

    function padding(text, length, fill) {
        fill = fill === undefined ? ' ' : String(fill);
        length = (Math.trunc(length) || 0) - text.length;
        return length > 0 && fill !== '' ? fill.repeat(Math.ceil(length / fill.length)).slice(0, length) : '';
    }

    add(String.prototype, {
        at: function (i) { return at.call(String(this), i); },
        matchAll: function (pattern) {
            var text = String(this), found = [], match;
            if (!(pattern instanceof RegExp)) {
                pattern = new RegExp(String(pattern), 'g');
            } else if (!pattern.global) {
                throw new TypeError('matchAll needs a regular expression with the flag g');
            }
            pattern = new RegExp(pattern.source, (pattern.ignoreCase ? 'gi' : 'g') + (pattern.multiline ? 'm' : ''));
            while ((match = pattern.exec(text)) !== null) {
                found[found.length] = match;
                if (match[0] === '') {
                    pattern.lastIndex++;
                }
            }
            return new ListIterator(found, 0);
        },
        padStart: function (length, fill) { return padding(String(this), length, fill) + this; },
        padEnd: function (length, fill) { return this + padding(String(this), length, fill); },
        trimStart: function () { return String(this).replace(/^\s+/, ''); },
        trimEnd: function () { return String(this).replace(/\s+$/, ''); },
        replaceAll: function (pattern, replacement) {
            if (pattern instanceof RegExp) {
                if (!pattern.global) {
                    throw new TypeError('replaceAll needs a regular expression with the flag g');
                }
            } else {
                pattern = new RegExp(String(pattern).replace(/[\\^$.*+?()\[\]{}|\/]/g, '\\$&'), 'g');
            }
            return String(this).replace(pattern, replacement);
        }
    });

    add(String, {
        raw: function (parts) {
            var result = '', i;
            for (i = 0; i < parts.raw.length; i++) {
                result += parts.raw[i] + (i + 1 < parts.raw.length && i + 1 < arguments.length ? arguments[i + 1] : '');
            }
            return result;
        }
    });
}(this.host, this));
