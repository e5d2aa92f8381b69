/*
 * Sys.all: several things that wait, at the same time.
 *
 * Every function given runs in a coroutine of its own. What they wait for is collected here and handed to the
 * program as one operation (together.next), which is answered when at least one of them has its answer.
 */
(function (host, global) {
    'use strict';

    var Thread = Duktape.Thread, resume = host.resume;
    var FINISHED = {};              // what a coroutine gives when its function has returned
    var groups = 0;                 // groups are numbered, so that one may run inside another

    /**
     * Runs functions together and waits for all of them: while one waits for an answer, the others go on.
     *
     *     var found = Sys.all([
     *         function () { return first.readResponse(); },
     *         function () { return second.readResponse(); }
     *     ]);
     *
     * @param {Array<function(): *>} functions
     * @param {{errors: ("throw"|"return")}} [options]  "throw" (default): the first error ends the others and is thrown;
     *     "return": all run to their end, and an error stands in the result where the value would
     * @returns {Array} what each function returned, in their order
     */
    global.Sys.all = function (functions, options) {
        var results = [], threads = [], requests = [], left = functions.length, group = ++groups, i, answers, answer,
            keep = !!options && options.errors === 'return';

        if (options && options.errors !== undefined && options.errors !== 'return' && options.errors !== 'throw') {
            throw new TypeError("Sys.all: errors must be 'throw' or 'return'");
        }
        for (i = 0; i < functions.length; i++) {
            if (typeof functions[i] !== 'function') {
                throw new TypeError('Sys.all: element ' + i + ' is not a function');
            }
        }

        function go(number, value, failure) {
            var request;
            try {
                request = resume(threads[number], value, failure);
            } catch (error) {
                threads[number] = null;
                left--;
                if (keep) {
                    results[number] = error;
                    return;
                }
                throw error;
            }
            if (request === FINISHED) {
                threads[number] = null;
                left--;
            } else {
                requests[requests.length] = [number, request];
            }
        }

        function make(number) {
            return new Thread(function (first) {
                results[number] = functions[number].call(undefined);
                return FINISHED;
            });
        }

        results.length = functions.length;
        try {
            for (i = 0; i < functions.length; i++) {
                threads[i] = make(i);
                go(i, undefined, null);
            }
            while (left > 0) {
                answers = requests;
                requests = [];
                answers = host.wait(['together.next', group, answers]);
                for (i = 0; i < answers.length; i++) {
                    answer = answers[i];
                    go(answer[0], answer[1], answer[2]);
                }
            }
        } finally {
            if (left > 0) {
                host.now('together.cancel', group);
            }
        }
        return results;
    };
}(this.host, this));
