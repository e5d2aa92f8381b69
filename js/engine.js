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

    var Thread = Duktape.Thread, yieldTo = Thread.yield, resume = host.resume, takeResponse = host.takeResponse;
    var thread = null;          // the coroutine; null: make one
    var server = null;          // the SmtpServer instance of this connection
    var NO_OPINION = [0];

    function resetTransaction() {
        server.sender = null;
        server.recipients = [];
    }

    function makePath(parts) {
        return host.fillPath(new global.SmtpPath(), parts);
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
            response = answered('smtpData', method.call(server, headers, body));
            if (response[0] >= 300 && response[0] < 400) {
                throw new TypeError('smtpData returned the code ' + response[0] + ', which is no answer to a message');
            }
            return response;
        } finally {
            resetTransaction();
        }
    }

    function perform(job) {
        var name = job[0], method = server[name], response, path;
        if (typeof method !== 'function') {
            if (name in SmtpServerDefaults) {
                throw new TypeError('SmtpServer.prototype.' + name + ' is not a function');
            }
            return NO_OPINION;
        }
        switch (name) {
        case 'smtpInit':
            return answered(name, method.call(server));
        case 'smtpHelo':
        case 'smtpEhlo':
            response = answered(name, method.call(server, job[1]));
            if (succeeded(response)) {
                server.clientname = job[1];
                server.proto = name === 'smtpEhlo' ? 'ESMTP' : 'SMTP';
                resetTransaction();
            }
            return response;
        case 'smtpMail':
            path = makePath(job[1]);
            response = answered(name, method.call(server, path));
            if (succeeded(response)) {
                server.sender = path;
            }
            return response;
        case 'smtpRcpt':
            path = makePath(job[1]);
            response = answered(name, method.call(server, path));
            if (succeeded(response)) {
                if (!Array.isArray(server.recipients)) {
                    server.recipients = [];
                }
                server.recipients[server.recipients.length] = path;
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

    function go(answer, failed) {
        var mine = thread;
        try {
            return resume(mine, answer, failed);
        } catch (thrown) {          // the coroutine ended with it
            thread = null;
            host.rethrowing = true;
            throw thrown;
        }
    }

    host.entries(
        /* 0 open: the instance of this connection */
        function open(remoteAddr, remotePort, sessionId) {
            server = new global.SmtpServer(remoteAddr, remotePort);
            Object.defineProperty(server, 'sessionId', {value: sessionId, configurable: true});
        },
        /* 1 start: run a handler */
        function start(job) {
            host.thrownAt = null;
            host.rethrowing = false;
            if (thread === null) {
                thread = new Thread(loop);
                host.coroutine(thread);
            }
            return go(job, null);
        },
        /* 2 resume: the operation has its answer */
        function answer(value) {
            return go(value, null);
        },
        /* 3 fail: the operation has failed: [class, message, code or null] */
        function fail(failed) {
            return go(undefined, failed);
        },
        /* 4 abandon: forget the running handler, which has no time left or will not be answered */
        function abandon(name) {
            thread = null;
            if (name === 'smtpData' && server !== null) {
                resetTransaction();
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
