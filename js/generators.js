/*
 * What compiled generator functions run on. Part of a policy's heap only when the policy has a generator.
 *
 * The compiler turns the body of a generator function into a state machine: inner(context) runs from state
 * context.next up to the next `yield` and returns its value. This file drives it: the names and numbers of
 * the context are those that the compiler writes. Everything is plain calls, so that a generator may wait.
 *
 * Must not know: mail, operations.
 */
(function (host, global) {
    'use strict';

    var ENDED = {};             // returned by a state machine that has gone to another state or to its end

    /* One entry of the compiler's table: [try, catch, finally, after]. */
    function Try(places) {
        this.start = places[0];
        this.catcher = places.length > 1 ? places[1] : null;
        this.finisher = places.length > 2 ? places[2] : null;
        this.after = places.length > 3 ? places[3] : null;
        this.completion = {type: 'normal', arg: undefined};
    }

    function Context(tries) {
        this.tries = tries.map(function (places) { return new Try(places); });
        this.prev = this.next = 0;
        this.sent = this._sent = undefined;
        this.done = false;
        this.delegate = null;
        this.method = 'next';
        this.arg = undefined;
        this.rval = undefined;
    }

    /* Goes to the innermost catch or finally around the place where the machine stands; false: there is none. */
    Context.prototype.dispatch = function (thrown) {
        var i, entry, inside, place;
        this.delegate = null;
        for (i = this.tries.length - 1; i >= 0; i--) {
            entry = this.tries[i];
            inside = entry.start <= this.prev;
            place = null;
            if (inside && entry.catcher !== null && this.prev < entry.catcher) {
                place = entry.catcher;
            } else if (inside && entry.finisher !== null && this.prev < entry.finisher) {
                place = entry.finisher;
            }
            if (place !== null) {
                entry.completion = {type: 'throw', arg: thrown};
                this.next = place;
                this.method = 'next';
                this.arg = undefined;
                return true;
            }
        }
        return false;
    };

    /* `return`, `break`, `continue` and `throw` inside a try. */
    Context.prototype.abrupt = function (type, arg) {
        var i, entry, found = null;
        for (i = this.tries.length - 1; i >= 0 && found === null; i--) {
            entry = this.tries[i];
            if (entry.start <= this.prev && entry.finisher !== null && this.prev < entry.finisher) {
                found = entry;
            }
        }
        if (found !== null && (type === 'break' || type === 'continue') && found.start <= arg && arg <= found.finisher) {
            found = null;           // the jump stays inside
        }
        if (found !== null) {
            found.completion = {type: type, arg: arg};
            this.method = 'next';
            this.next = found.finisher;
            return ENDED;
        }
        return this.complete({type: type, arg: arg});
    };

    Context.prototype.complete = function (completion, after) {
        switch (completion.type) {
        case 'throw':
            throw completion.arg;
        case 'break':
        case 'continue':
            this.next = completion.arg;
            break;
        case 'return':
            this.rval = this.arg = completion.arg;
            this.method = 'return';
            this.next = 'end';
            break;
        default:
            if (after) {
                this.next = after;
            }
        }
        return ENDED;
    };

    /* The end of a finally block. */
    Context.prototype.finish = function (finisher) {
        var i, entry;
        for (i = this.tries.length - 1; i >= 0; i--) {
            entry = this.tries[i];
            if (entry.finisher === finisher) {
                this.complete(entry.completion, entry.after);
                entry.completion = {type: 'normal', arg: undefined};
                return ENDED;
            }
        }
        return ENDED;
    };

    /* The beginning of a catch block: what was thrown. */
    Context.prototype['catch'] = function (start) {
        var i, entry, thrown;
        for (i = this.tries.length - 1; i >= 0; i--) {
            entry = this.tries[i];
            if (entry.start === start) {
                if (entry.completion.type === 'throw') {
                    thrown = entry.completion.arg;
                    entry.completion = {type: 'normal', arg: undefined};
                }
                return thrown;
            }
        }
        throw new Error('illegal catch attempt');
    };

    Context.prototype.stop = function () {
        this.done = true;
        return this.rval;
    };

    /* yield* */
    Context.prototype.delegateYield = function (iterable, name, next) {
        this.delegate = {iterator: iterable[Symbol.iterator](), name: name, next: next};
        if (this.method === 'next') {
            this.arg = undefined;
        }
        return ENDED;
    };

    /* Hands next, throw or return on to the delegate; its result, or null when the generator goes on itself. */
    function delegated(context) {
        var delegate = context.delegate, method = delegate.iterator[context.method], step;
        if (method === undefined) {
            context.delegate = null;
            if (context.method === 'throw') {
                if (delegate.iterator['return']) {
                    delegate.iterator['return']();
                }
                context.arg = new TypeError("The iterator does not provide a 'throw' method");
            }
            return null;
        }
        try {
            step = method.call(delegate.iterator, context.arg);
        } catch (thrown) {
            context.delegate = null;
            context.method = 'throw';
            context.arg = thrown;
            return null;
        }
        if (!step.done) {
            return step;
        }
        context.delegate = null;
        context[delegate.name] = step.value;
        context.next = delegate.next;
        if (context.method === 'return') {
            context.arg = step.value;
        } else {
            context.method = 'next';
            context.arg = undefined;
        }
        return null;
    }

    function Generator(inner, self, tries) {
        host.define(this, 'run', machine(inner, self, new Context(tries)));
    }

    function machine(inner, self, context) {
        var state = 0;              // 0 new, 1 between two yields, 2 running, 3 finished

        return function (method, arg) {
            var value, step;
            if (state === 2) {
                throw new TypeError('Generator is already running');
            }
            if (state === 0 && method !== 'next') {
                state = 3;
            }
            if (state === 3) {
                if (method === 'throw') {
                    throw arg;
                }
                return {value: method === 'return' ? arg : undefined, done: true};
            }
            context.method = method;
            context.arg = arg;
            for (;;) {
                if (context.delegate !== null) {
                    state = 2;
                    step = delegated(context);
                    if (step !== null) {
                        state = 1;
                        return step;
                    }
                }
                if (context.method === 'next') {
                    context.sent = context._sent = context.arg;
                } else if (context.method === 'throw') {
                    if (!context.dispatch(context.arg)) {
                        state = 3;
                        throw context.arg;
                    }
                } else {
                    context.abrupt('return', context.arg);
                }
                state = 2;
                try {
                    value = inner.call(self, context);
                } catch (thrown) {
                    context.method = 'throw';
                    context.arg = thrown;
                    state = 1;
                    continue;
                }
                if (value !== ENDED) {
                    state = context.done ? 3 : 1;
                    return {value: value, done: context.done};
                }
            }
        };
    }

    ['next', 'throw', 'return'].forEach(function (method) {
        host.define(Generator.prototype, method, function (arg) { return this.run(method, arg); });
    });
    host.define(Generator.prototype, Symbol.iterator, function () { return this; });

    host.define(global, 'regeneratorRuntime', {
        /* Marks a generator function: what it returns has the prototype of a generator. */
        mark: function (outer) {
            outer.prototype = Object.create(Generator.prototype);
            return outer;
        },
        /* Called by the compiled generator function. */
        wrap: function (inner, outer, self, tries) {
            var generator = Object.create(outer && outer.prototype instanceof Generator ? outer.prototype : Generator.prototype);
            Generator.call(generator, inner, self, tries || []);
            return generator;
        },
        /* for (… in object) inside a generator. */
        keys: function (object) {
            var names = [], name;
            for (name in object) {
                names[names.length] = name;
            }
            names.reverse();
            return function next() {
                while (names.length) {
                    name = names.pop();
                    if (name in object) {
                        next.value = name;
                        next.done = false;
                        return next;
                    }
                }
                next.done = true;
                return next;
            };
        },
        values: function (iterable) { return iterable[Symbol.iterator](); }
    });
}(this.host, this));
