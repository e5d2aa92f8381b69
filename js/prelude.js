/*
 * First of the library: how a policy waits, and the iteration methods that may wait.
 *
 * `host.wait([name, …])` hands an operation to the program and gives its answer back, as if it were a call.
 * The engine cannot suspend a native function, so those built-ins that call back into a policy (forEach,
 * map, filter, some, every, reduce, reduceRight, sort with a comparator, String.replace with a function)
 * are replaced here by JavaScript ones of the same behaviour (ECMA-262 5.1 §15.4.4, §15.5.4.11).
 *
 * Must not know: which operations exist, mail.
 */
(function (host, global) {
    'use strict';

    var yieldTo = Duktape.Thread.yield, resume = Duktape.Thread.resume, current = Duktape.Thread.current;
    var main = current();
    var failure = null;     // set by the driver before it resumes: the waiting operation has failed

    /** The error for a wait that cannot be: at load time, or below a native function. */
    function cannotWait(name) {
        if (current() === main) {
            return new Error(name + ' cannot be used while the policy is being loaded; use it in a handler');
        }
        return new Error(name + ' cannot wait here: it is called below a getter, a setter, toString, valueOf, toJSON, ' +
            'eval, a Proxy trap or a JSON callback. Call it before, keep the result in a variable, and use that here');
    }

    /**
     * Performs an operation and waits for its answer.
     * @param {Array} request  [operation, argument, …]; the operation is a row of the table of operations
     * @returns the answer
     * @throws {Error} with the operation's message (and `code`, where there is one) when it fails
     */
    host.wait = function (request) {
        var answer;
        try {
            answer = yieldTo(request);
        } catch (impossible) {
            throw cannotWait(request[0]);
        }
        return answer === undefined ? nothing() : answer;
    };

    /* The answer undefined, which an operation that has failed has, too. */
    function nothing() {
        var failed;
        if (failure !== null) {
            failed = new Error(failure[1]);
            failed.name = failure[0];
            if (failure[2] !== null) {
                failed.code = failure[2];
            }
            failure = null;
            throw failed;
        }
        return undefined;
    }

    /* For the library, where each call counts: what host.wait is made of. */
    host.yieldTo = yieldTo;
    host.cannotWait = cannotWait;
    host.nothing = nothing;

    /** Let the waiting coroutine `thread` go on with an answer or a failure: [class, message, code or null]. */
    host.resume = function (thread, answer, failed) {
        failure = failed || null;
        try {
            return resume(thread, failure === null ? answer : undefined);
        } finally {
            failure = null;     // also when it waited by a yield of its own, which takes no notice
        }
    };

    /* What was thrown but is no Error carries no place. Remember the place of the last such throw, for the log. */
    host.thrownAt = null;
    Duktape.errThrow = function (thrown) {
        if (!(thrown instanceof Error)) {
            host.thrownAt = new Error('thrown').stack;
        }
        return thrown;
    };

    /*
     * Clock and random numbers come from the program like everything else from outside, so that a copy of a heap has the
     * right time and numbers of its own, and so that using them while the policy is loaded is noticed.
     */
    var NativeDate = Date;

    function clock() {
        return host.now('clock.now');
    }

    /* The engine reads dates of ISO 8601 only; authors expect those of mail too (RFC 5322 §3.3, also as of §4.3). */
    var ZONES = {EST: -300, EDT: -240, CST: -360, CDT: -300, MST: -420, MDT: -360, PST: -480, PDT: -420};
    var MAIL_DATE = new RegExp('^\\s*(?:[a-z]{3,9},?\\s*)?(\\d{1,2})\\s+(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\\s+' +
        '(\\d{2,4})(?:\\s+(\\d{1,2}):(\\d\\d)(?::(\\d\\d))?)?\\s*(?:([+-])(\\d\\d)(\\d\\d)|([a-z]{1,5}))?\\s*(?:\\(.*\\))?\\s*$', 'i');

    function parse(text) {
        var time = NativeDate.parse(text), found, year, minutes;
        if (time === time) {
            return time;
        }
        found = MAIL_DATE.exec(text);
        if (found === null) {
            return NaN;
        }
        year = +found[3];
        if (found[3].length < 4) {
            year += year < 50 && found[3].length === 2 ? 2000 : 1900;
        }
        minutes = found[7] ? (+found[8] * 60 + +found[9]) * (found[7] + '1') : ZONES[(found[10] || '').toUpperCase()] || 0;
        return NativeDate.UTC(year, 'janfebmaraprmayjunjulaugsepoctnovdec'.indexOf(found[2].toLowerCase()) / 3, +found[1],
            +(found[4] || 0), +(found[5] || 0) - minutes, +(found[6] || 0));
    }

    function WorldDate(year, month, day, hours, minutes, seconds, ms) {
        if (!(this instanceof WorldDate)) {
            return new NativeDate(clock()).toString();
        }
        /* As many arguments as were given: an undefined one is no date, one that is missing is 0 (or 1, a day). */
        switch (arguments.length) {
        case 0: return new NativeDate(clock());
        case 1: return new NativeDate(typeof year === 'string' ? parse(year) : year);
        case 2: return new NativeDate(year, month);
        case 3: return new NativeDate(year, month, day);
        case 4: return new NativeDate(year, month, day, hours);
        case 5: return new NativeDate(year, month, day, hours, minutes);
        case 6: return new NativeDate(year, month, day, hours, minutes, seconds);
        default: return new NativeDate(year, month, day, hours, minutes, seconds, ms);
        }
    }
    WorldDate.prototype = NativeDate.prototype;
    define(WorldDate.prototype, 'constructor', WorldDate);
    define(WorldDate, 'now', function now() { return clock(); });
    define(WorldDate, 'parse', function (text) { return parse(String(text)); });
    define(WorldDate, 'UTC', NativeDate.UTC);
    define(global, 'Date', WorldDate);
    define(Math, 'random', function random() { return host.now('random.number'); });
    define(performance, 'now', function now() { return host.now('clock.monotonic'); });

    /** Defines a method the way built-ins are: writable, configurable, not enumerable. */
    function define(object, name, method) {
        Object.defineProperty(object, name, {value: method, writable: true, enumerable: false, configurable: true});
    }
    host.define = define;

    /* Below, `in` is asked first and hasOwnProperty second: the engine's `in` does not see the elements of an arguments
     * object. */
    var own = Object.prototype.hasOwnProperty;

    function objectFrom(self, method, callback) {
        if (self === null || self === undefined) {
            throw new TypeError('Array.prototype.' + method + ' called on ' + self);
        }
        if (typeof callback !== 'function') {
            throw new TypeError(String(callback) + ' is not a function');
        }
        return Object(self);
    }

    define(Array.prototype, 'forEach', function forEach(callback, self) {
        var list = objectFrom(this, 'forEach', callback), n = list.length >>> 0, i;
        for (i = 0; i < n; i++) {
            if (i in list || own.call(list, i)) {
                callback.call(self, list[i], i, list);
            }
        }
    });

    define(Array.prototype, 'map', function map(callback, self) {
        var list = objectFrom(this, 'map', callback), n = list.length >>> 0, result = new Array(n), i;
        for (i = 0; i < n; i++) {
            if (i in list || own.call(list, i)) {
                result[i] = callback.call(self, list[i], i, list);
            }
        }
        return result;
    });

    define(Array.prototype, 'filter', function filter(callback, self) {
        var list = objectFrom(this, 'filter', callback), n = list.length >>> 0, result = [], i, item;
        for (i = 0; i < n; i++) {
            if (i in list || own.call(list, i)) {
                item = list[i];
                if (callback.call(self, item, i, list)) {
                    result[result.length] = item;
                }
            }
        }
        return result;
    });

    define(Array.prototype, 'some', function some(callback, self) {
        var list = objectFrom(this, 'some', callback), n = list.length >>> 0, i;
        for (i = 0; i < n; i++) {
            if ((i in list || own.call(list, i)) && callback.call(self, list[i], i, list)) {
                return true;
            }
        }
        return false;
    });

    define(Array.prototype, 'every', function every(callback, self) {
        var list = objectFrom(this, 'every', callback), n = list.length >>> 0, i;
        for (i = 0; i < n; i++) {
            if ((i in list || own.call(list, i)) && !callback.call(self, list[i], i, list)) {
                return false;
            }
        }
        return true;
    });

    function fold(method, list, callback, given, first, step, end) {
        var i = first, result = given.length > 1 ? given[1] : undefined, started = given.length > 1;
        for (; i !== end; i += step) {
            if (i in list || own.call(list, i)) {
                if (started) {
                    result = callback.call(undefined, result, list[i], i, list);
                } else {
                    result = list[i];
                    started = true;
                }
            }
        }
        if (!started) {
            throw new TypeError('Array.prototype.' + method + ' of an empty array with no initial value');
        }
        return result;
    }

    define(Array.prototype, 'reduce', function reduce(callback) {
        var list = objectFrom(this, 'reduce', callback);
        return fold('reduce', list, callback, arguments, 0, 1, list.length >>> 0);
    });

    define(Array.prototype, 'reduceRight', function reduceRight(callback) {
        var list = objectFrom(this, 'reduceRight', callback);
        return fold('reduceRight', list, callback, arguments, (list.length >>> 0) - 1, -1, -1);
    });

    /* A stable merge sort: it ends whatever the comparator says. */
    function sorted(items, compare) {
        var n = items.length, width, from = items, to = new Array(n), start, left, right, middle, end, k, swap;
        for (width = 1; width < n; width *= 2) {
            for (start = 0; start < n; start += 2 * width) {
                left = start;
                middle = right = Math.min(start + width, n);
                end = Math.min(start + 2 * width, n);
                for (k = start; k < end; k++) {
                    if (left < middle && (right >= end || !(compare(from[left], from[right]) > 0))) {
                        to[k] = from[left++];
                    } else {
                        to[k] = from[right++];
                    }
                }
            }
            swap = from;
            from = to;
            to = swap;
        }
        return from;
    }

    function byText(a, b) {
        return String(a) > String(b) ? 1 : 0;
    }

    /* Without a comparator, too: the engine's own sort is not stable, and it draws random numbers, which makes no image
     * of a policy that sorts something while it is loaded. */
    define(Array.prototype, 'sort', function sort(compare) {
        var list, n, i, items = [], missing = 0, unset = 0, at;
        if (compare === undefined) {
            compare = byText;
        }
        list = objectFrom(this, 'sort', compare);
        n = list.length >>> 0;
        for (i = 0; i < n; i++) {
            if (!(i in list || own.call(list, i))) {
                missing++;
            } else if (list[i] === undefined) {
                unset++;
            } else {
                items[items.length] = list[i];
            }
        }
        items = sorted(items, compare);
        for (at = 0; at < items.length; at++) {
            list[at] = items[at];
        }
        for (; unset > 0; unset--) {
            list[at++] = undefined;
        }
        for (; missing > 0; missing--) {
            delete list[at++];
        }
        return list;
    });

    var nativeReplace = String.prototype.replace;
    define(String.prototype, 'replace', function replace(pattern, replacement) {
        var text, matches = [], match, result = '', at = 0, i, k, given;
        if (typeof replacement !== 'function' || this === null || this === undefined) {
            return nativeReplace.call(this, pattern, replacement);
        }
        text = String(this);
        if (pattern instanceof RegExp) {
            if (pattern.global) {
                pattern.lastIndex = 0;
                while ((match = pattern.exec(text)) !== null) {
                    matches[matches.length] = match;
                    if (match[0] === '') {
                        pattern.lastIndex++;
                    }
                }
            } else {
                match = pattern.exec(text);
                if (match !== null) {
                    matches[0] = match;
                }
            }
        } else {
            pattern = String(pattern);
            i = text.indexOf(pattern);
            if (i >= 0) {
                match = [pattern];
                match.index = i;
                matches[0] = match;
            }
        }
        for (i = 0; i < matches.length; i++) {
            match = matches[i];
            given = [];
            for (k = 0; k < match.length; k++) {
                given[k] = match[k];
            }
            given[k] = match.index;
            given[k + 1] = text;
            result += text.substring(at, match.index) + String(replacement.apply(undefined, given));
            at = match.index + match[0].length;
        }
        return result + text.substring(at);
    });
}(this.host, this));
