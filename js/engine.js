/*
 * Last of the library: how the program calls a policy's handlers.
 *
 * The program knows the functions registered at the end by their number. Handlers run one at a time in one
 * coroutine, which waits for the next job when it has nothing to do. What comes out of start, resume and
 * fail is an array: ["name", argument, …] is an operation that the handler waits for; [code, disconnect,
 * line, …] is the handler's response, and [0] says that it has no opinion.
 *
 * `host` disappears here: a policy never sees it.
 */
(function (host, global) {
    'use strict';

    var Thread = Duktape.Thread, yieldTo = Thread.yield, resume = Thread.resume, takeResponse = host.takeResponse,
        plainResponse = host.plainResponse, makePath = host.makePath;
    var thread = null;          // the coroutine; null: make one
    var server = null;          // the SmtpServer instance of this connection
    var NO_OPINION = [0];

    function resetTransaction() {
        server.sender = null;
        server.recipients = [];
    }

    function succeeded(response) {
        return response[0] >= 200 && response[0] < 400;
    }

    function answered(name, value) {
        var response = plainResponse(value) || takeResponse(name, value);
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

    /* The message: smtpBody may refuse it, smtpData answers for it, and the transaction ends in any case. */
    function message(method, list, handle, length) {
        var headers = host.makeHeaders(list), body = new host.SmtpBody(handle, length), response;
        try {
            if (typeof server.smtpBody === 'function') {
                response = optional('smtpBody', function () { return server.smtpBody(headers, body); });
                if (response !== NO_OPINION && !succeeded(response)) {
                    return response;
                }
            }
            response = messageAnswered(method.call(server, headers, body));
            if (response[0] >= 300 && response[0] < 400) {
                throw new TypeError('smtpData returned the code ' + response[0] + ', which is no answer to a message');
            }
            return response;
        } finally {
            resetTransaction();
        }
    }

    function perform(job) {
        var name = job[0], instance = server, method = instance[name], response, path;
        if (typeof method !== 'function') {
            if (name in SmtpServerDefaults) {
                throw new TypeError('SmtpServer.prototype.' + name + ' is not a function');
            }
            return NO_OPINION;
        }
        switch (name) {
        case 'smtpMail':
            path = makePath(job[1]);
            response = answered(name, method.call(instance, path));
            if (succeeded(response)) {
                instance.sender = path;
            }
            return response;
        case 'smtpRcpt':
            path = makePath(job[1]);
            response = answered(name, method.call(instance, path));
            if (succeeded(response)) {
                if (!Array.isArray(instance.recipients)) {
                    instance.recipients = [];
                }
                instance.recipients[instance.recipients.length] = path;
            }
            return response;
        case 'smtpInit':
            return answered(name, method.call(instance));
        case 'smtpHelo':
        case 'smtpEhlo':
            response = answered(name, method.call(instance, job[1]));
            if (succeeded(response)) {
                instance.clientname = job[1];
                instance.proto = name === 'smtpEhlo' ? 'ESMTP' : 'SMTP';
                resetTransaction();
            }
            return response;
        case 'smtpData':
            if (job.length > 1) {
                return message(method, job[1], job[2], job[3]);
            }
            try {                   // the engine gave the message up: the policy is told, its result not used
                method.call(server, null, null);
            } finally {
                resetTransaction();
            }
            return NO_OPINION;
        case 'smtpRset':
            response = null;
            try {
                response = answered(name, method.call(server));
                return response;
            } finally {
                if (response === null || succeeded(response)) {     // a refusal alone keeps the transaction
                    resetTransaction();
                }
            }
            break;
        case 'smtpAuth':
            return authentication(method, job[1], job[2]);
        case 'cleanup':
            method.call(server);
            return NO_OPINION;
        default:
            return optional(name, method, job[1]);
        }
    }

    var SmtpServerDefaults = {
        smtpInit: 1, smtpHelo: 1, smtpEhlo: 1, smtpMail: 1, smtpRcpt: 1, smtpData: 1, smtpRset: 1, cleanup: 1
    };

    function loop(job) {
        var result;
        for (;;) {
            result = perform(job);
            job = null;             // a message's header is not kept until the next command
            job = yieldTo(result);
        }
    }

    /* The coroutine has ended, with what was thrown. */
    function ended() {
        host.coroutine(null);
        thread = null;
        host.rethrowing = true;
    }

    host.entries(
        /* 0 open: the instance of this connection */
        function open(remoteAddr, remotePort, sessionId) {
            server = new global.SmtpServer(remoteAddr, remotePort);
            host.own(server, 'sessionId', sessionId, 4);
        },
        /* 1 start: run a handler */
        function start(job) {
            host.thrownAt = null;
            if (thread === null) {
                thread = new Thread(loop);
                host.coroutine(thread);
            }
            try {
                return resume(thread, job);
            } catch (thrown) {
                ended();
                throw thrown;
            }
        },
        /* 2 resume: the operation has its answer */
        function answer(value) {
            try {
                return resume(thread, value);
            } catch (thrown) {
                ended();
                throw thrown;
            }
        },
        /* 3 fail: the operation has failed: [class, message, code or null] */
        function fail(failed) {
            try {
                return host.resume(thread, undefined, failed);
            } catch (thrown) {
                ended();
                throw thrown;
            }
        },
        /* 4 abandon: forget the running handler, which has no time left or will not be answered */
        function abandon(name) {
            host.coroutine(null);
            thread = null;
            if (name === 'smtpData' && server !== null) {
                resetTransaction();
            } else if (name === 'smtpAuth' && server !== null) {
                server.authenticated = null;
            }
        },
        /* 5 fault: after a handler threw: [disconnect asked for by hand, where a thrown non-Error came from] */
        function fault() {
            return [server !== null && !!server.disconnect, host.thrownAt];
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
        }
    );

    var original = {}, key;
    for (key in global.SmtpServer.prototype) {
        original[key] = global.SmtpServer.prototype[key];
    }
    delete global.host;
}(this.host, this));
