/*
 * Last of the library: how the program calls a policy's handlers.
 *
 * The program knows the functions registered at the end by their number. Handlers run one at a time in one
 * coroutine, which waits for the next job when it has nothing to do. What comes out of start, resume and
 * fail is an array: ["name", argument, …] is an operation that the handler waits for; [code, disconnect,
 * line, …] is the handler's response, and [0] says that it has no opinion. An ordinary response does not even become an
 * array: host.answered has given it to the program when the coroutine yields undefined.
 *
 * `host` disappears here: a policy never sees it.
 */
(function (host, global) {
    'use strict';

    var Thread = Duktape.Thread, yieldTo = Thread.yield, resume = Thread.resume, takeResponse = host.takeResponse,
        makePath = host.makePath, take = host.answered;
    var server = null;          // the SmtpServer instance of this connection
    var NO_OPINION = [0];

    host.know('job', []);
    host.know('resume', resume);

    function resetTransaction() {
        server.sender = null;
        server.recipients = [];
    }

    function succeeded(response) {
        return response[0] >= 200 && response[0] < 400;
    }

    function answered(name, value) {
        var response = takeResponse(name, value);
        server.disconnect = response[1];
        return response;
    }

    function optional(name, method, argument) {
        var value = argument === undefined ? method.call(server) : method.call(server, argument);
        return value === undefined || value === null ? NO_OPINION : answered(name, value);
    }

    /* Accepted 0, refused for now 1, for good 2. */
    function rank(response) {
        return response[0] < 400 ? 0 : response[0] < 500 ? 1 : 2;
    }

    /*
     * The one reply that stands for those of all recipients. It is no success unless all are; where some recipients have
     * the message, trying again would give it to them twice, so a refusal for good goes first; otherwise one for now.
     */
    function forAll(each) {
        var first = [null, null, null], i;
        for (i = each.length - 1; i >= 0; i--) {
            first[rank(each[i])] = each[i];
        }
        return !first[1] && !first[2] ? first[0] : first[0] ? first[2] || first[1] : first[1] || first[2];
    }

    /* What smtpData returned: one response, an array with one for each recipient, or one with such an array in it. */
    function messageAnswered(value) {
        var list = Array.isArray(value) ? value : value && value.recipients && Array.isArray(value.recipients) ? value.recipients : null,
            each, one, accepted;
        if (list === null) {
            return answered('smtpData', value);
        }
        if (list !== value && list.length !== server.recipients.length) {
            // What a next hop said to others than the client's recipients. Whose refusal it was cannot be known, so that one
            // stands for all: a success for some is none for those who have not got it.
            one = answered('smtpData', value);
            each = list.map(function (response) { return takeResponse('smtpData', response); });
            return rank(one) === 0 && each.length ? forAll(each) : one;
        }
        if (list.length !== server.recipients.length || !list.length) {
            throw new TypeError('smtpData returned ' + list.length + ' responses for ' + server.recipients.length + ' recipients');
        }
        each = list.map(function (value) {
            var response = takeResponse('smtpData', value);
            if (response[0] >= 300 && response[0] < 400) {
                throw new TypeError('smtpData returned the code ' + response[0] + ', which is no answer to a message');
            }
            return response;
        });
        if (server.sender && server.sender.params.PRDR) {
            host.now('session.replies', each.map(function (response) { return [response[0]].concat(response.slice(2)); }));
            accepted = each.filter(function (response) { return rank(response) === 0; }).length;
            one = accepted ? [250, false, '2.0.0 Accepted for ' + accepted + ' of ' + each.length + ' recipients'] : forAll(each);
        } else {
            one = forAll(each);
            if (list !== value && rank(takeResponse('smtpData', value)) >= Math.min(rank(one), 1)) {
                one = takeResponse('smtpData', value);          // it is not more than the recipients have
            }
        }
        one = one.slice();
        one[1] = each.some(function (response) { return response[1]; }) || list !== value && !!value.disconnect;
        server.disconnect = one[1];
        return one;
    }

    /* AUTH: a success needs to know of whom. */
    function authentication(method, name, initialResponse) {
        var response = null, claimed;
        host.authBegins(name, initialResponse);
        server.authenticated = null;
        try {
            response = answered('smtpAuth', method.call(server, name, initialResponse));
            if (response[0] >= 300 && response[0] < 400) {
                response = null;
                throw new TypeError('smtpAuth returned a code 3xx; this.challenge() asks the client');
            }
        } finally {
            if (response === null || !succeeded(response) || host.authGivenUp()) {
                server.authenticated = null;
            }
        }
        if (succeeded(response) && !host.authGivenUp()) {
            claimed = server.authenticated === null || server.authenticated === undefined || server.authenticated === true ?
                host.authClaims() || 'unknown' : String(server.authenticated);
            server.authenticated = claimed;
            host.now('session.authenticated', claimed);
        }
        return response;
    }

    var SmtpServerDefaults = {
        smtpInit: 1, smtpHelo: 1, smtpEhlo: 1, smtpMail: 1, smtpRcpt: 1, smtpData: 1, smtpRset: 1, cleanup: 1
    };

    /* There is no such function. */
    function missing(name) {
        if (name in SmtpServerDefaults) {
            throw new TypeError('SmtpServer.prototype.' + name + ' is not a function');
        }
        return NO_OPINION;
    }

    /* A response that is not of the ordinary kind, and none where the handler need not have an opinion. */
    function other(name, value) {
        return name in SmtpServerDefaults || value !== undefined && value !== null ? answered(name, value) : NO_OPINION;
    }

    /* smtpBody has a refusal; undefined: it has none. */
    function refusedBody(headers, body) {
        var response = optional('smtpBody', function () { return server.smtpBody(headers, body); });
        return response === NO_OPINION || succeeded(response) ? undefined : response;
    }

    function noAnswer(code) {
        return new TypeError('smtpData returned the code ' + code + ', which is no answer to a message');
    }

    /*
     * The coroutine: runs handlers, one after the other. A job is [name, argument, argument, argument, made], always in the
     * same array; `made` says that the program has made the objects that the handler is to get. What runs for every
     * command keeps to local variables and calls little: those are what a handler costs.
     */
    function loop() {
        var pause = yieldTo, accept = take, self, result, job, name, method, first, second, value, code;
        try {
            for (;;) {
                name = '';
                method = first = second = value = undefined;    // nothing of a message is kept until the next command
                job = pause(result);
                self = server;
                name = job[0];
                result = undefined;
                method = self[name];
                if (typeof method !== 'function') {
                    result = missing(name);
                    continue;
                }
                switch (name) {
                case 'smtpMail':
                    first = job[4] === true ? job[1] : makePath(job[1]);
                    code = accept(self, value = method.call(self, first));
                    if (code === undefined) {
                        code = (result = answered(name, value))[0];
                    }
                    if (code < 400) {
                        self.sender = first;
                    }
                    break;
                case 'smtpRcpt':
                    first = job[4] === true ? job[1] : makePath(job[1]);
                    code = accept(self, value = method.call(self, first));
                    if (code === undefined) {
                        code = (result = answered(name, value))[0];
                    }
                    if (code < 400) {
                        value = self.recipients;
                        if (!Array.isArray(value)) {
                            self.recipients = value = [];
                        }
                        value[value.length] = first;
                    }
                    break;
                case 'smtpHelo':
                case 'smtpEhlo':
                    first = job[1];
                    code = accept(self, value = method.call(self, first));
                    if (code === undefined) {
                        code = (result = answered(name, value))[0];
                    }
                    if (code < 400) {
                        self.clientname = first;
                        self.proto = name === 'smtpEhlo' ? 'ESMTP' : 'SMTP';
                        self.sender = null;
                        self.recipients = [];
                    }
                    break;
                case 'smtpData':
                    first = job[1];
                    if (first === undefined) {      // the program gave the message up: the policy is told, its result not used
                        method.call(self, null, null);
                        result = NO_OPINION;
                    } else {
                        second = job[2];
                        if (job[4] !== true) {
                            first = host.makeHeaders(first);
                            second = new host.SmtpBody(second, job[3]);
                        }
                        job[1] = job[2] = undefined;
                        if (typeof self.smtpBody === 'function') {
                            result = refusedBody(first, second);
                        }
                        if (result === undefined) {
                            value = method.call(self, first, second);
                            code = value === undefined || value === null || value.recipients ? undefined : accept(self, value);
                            if (code === undefined) {
                                code = (result = messageAnswered(value))[0];
                            }
                            if (code >= 300 && code < 400) {
                                throw noAnswer(code);
                            }
                        }
                    }
                    self.sender = null;
                    self.recipients = [];
                    break;
                case 'smtpRset':
                    code = accept(self, value = method.call(self));
                    if (code === undefined) {
                        code = (result = answered(name, value))[0];
                    }
                    if (code < 400) {               // a refusal alone keeps the transaction
                        resetTransaction();
                    }
                    break;
                case 'smtpAuth':
                    result = authentication(method, job[1], job[2]);
                    break;
                case 'cleanup':
                    method.call(self);
                    result = NO_OPINION;
                    break;
                default:
                    first = job[1];
                    value = first === undefined ? method.call(self) : method.call(self, first);
                    if (accept(self, value) === undefined) {
                        result = other(name, value);
                    }
                }
            }
        } finally {
            // A handler has thrown. It answers for a message, and forgets a transaction, all the same.
            if (name === 'smtpData' || name === 'smtpRset') {
                resetTransaction();
            }
        }
    }

    /* A coroutine, which waits for its first job. */
    function begin() {
        var thread = new Thread(loop);
        host.coroutine(thread);
        resume(thread);
    }

    /* Entry functions 1 and 2. The program catches what is thrown: the coroutine has ended then. */
    function go(resume, thread, value) {
        return resume(thread, value);
    }

    host.entries(
        /* 0 open: the instance of this connection */
        function open(remoteAddr, remotePort, sessionId) {
            server = new global.SmtpServer(remoteAddr, remotePort);
            host.own(server, 'sessionId', sessionId, 4);
        },
        /* 1 start: run a handler; value is the job */
        go,
        /* 2 resume: the operation has its answer */
        go,
        /* 3 fail: the operation has failed: [class, message, code or null] */
        function fail(thread, failed) {
            return host.resume(thread, undefined, failed);
        },
        /* 4 abandon: forget the running handler, which has no time left or will not be answered */
        function abandon(name) {
            host.coroutine(null);
            if (name === 'smtpData' && server !== null) {
                resetTransaction();
            } else if (name === 'smtpAuth' && server !== null) {
                server.authenticated = null;
            }
        },
        /* 5 fault: after a handler threw: [disconnect asked for by hand, where a thrown non-Error came from] */
        function fault() {
            var thrownAt = host.thrownAt;
            host.thrownAt = null;
            return [server !== null && !!server.disconnect, thrownAt];
        },
        /* 6 describe: what the program wants to know of a policy after loading it */
        function describe() {
            var Server = global.SmtpServer, handlers = [], others = [], name, statics = {}, seen = {}, above;

            function look(name) {
                var value;
                if (/^(smtp[A-Z]|cleanup$)/.test(name) && !seen[name]) {
                    seen[name] = true;
                    value = Server.prototype[name];
                    if (typeof value === 'function') {
                        handlers[handlers.length] = [name, value !== original[name]];
                    } else if (name in original || value !== undefined && value !== null) {
                        others[others.length] = name;
                    }
                }
            }
            for (above = Server.prototype; above && above !== Object.prototype; above = Object.getPrototypeOf(above)) {
                Object.getOwnPropertyNames(above).forEach(look);        // those of a class are not enumerable
            }
            for (name in Server) {
                if (typeof Server[name] !== 'function') {
                    statics[name] = Server[name];
                }
            }
            return {handlers: handlers, others: others, statics: statics};
        },
        /* 7 tell: properties of the instance that the program has changed */
        function tell(properties) {
            for (var name in properties) {
                server[name] = properties[name];
            }
        },
        /* 8 begin: a coroutine for the handlers, after one has ended */
        begin
    );
    begin();                    // the first one is copied with everything else

    var original = {}, key;
    for (key in global.SmtpServer.prototype) {
        original[key] = global.SmtpServer.prototype[key];
    }
    delete global.host;
}(this.host, this));
