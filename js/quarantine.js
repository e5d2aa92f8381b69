/*
 * Quarantine: messages that are held back, whole and with their envelope, until somebody releases or deletes them.
 */
(function (host, global) {
    'use strict';

    /**
     * @param {string} [directory]  where they are kept; made when it is not there. Default: the setting `quarantineDirectory`
     */
    function Quarantine(directory) {
        this.directory = directory === undefined ? global.Sys.setting('quarantineDirectory') : String(directory);
        host.now('quarantine.check', this.directory);
    }

    function parametersOf(path) {
        var list = [], name;
        for (name in path.params) {
            if (Object.prototype.hasOwnProperty.call(path.params, name)) {
                list.push(name, path.params[name] === true ? null : String(path.params[name]));
            }
        }
        return list;
    }

    function row(path) {
        return typeof path === 'string' ? [path, []] : [path.toString(), parametersOf(path)];
    }

    /* Names with their scores, of what scanners give: an array of texts, or an object of numbers or of {score: number}. */
    function symbolsOf(symbols) {
        if (symbols === undefined || symbols === null) {
            return [];
        }
        if (Array.isArray(symbols)) {
            return symbols.map(function (one) {
                return one !== null && typeof one === 'object' ? symbol(String(one.name), one) : String(one);
            });
        }
        return Object.keys(symbols).map(function (name) { return symbol(name, symbols[name]); });
    }

    function symbol(name, value) {
        var score = value !== null && typeof value === 'object' ? value.score : value;
        return typeof score === 'number' ? name + '(' + score + ')' : name;
    }

    /**
     * Holds a message back. When this returns, it is safely on disk with its envelope; the recipients have not got it. A Received
     * header is put on top unless the policy has added one. Waits.
     * @param {SmtpServer} server  `this` of the handler
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @param {object} [options]  reason; score; symbols (array, or object by name); recipients (array of SmtpPath or texts in angle
     *     brackets) when it is not for all
     * @returns {string} what it is called
     * @throws {Error} when it cannot be written: no room, no permission
     */
    Quarantine.prototype.hold = function (server, headers, body, options) {
        var list, recipients, score, i;
        options = options || {};
        host.needMessage('hold', headers, body);
        score = options.score === undefined || options.score === null ? null : Number(options.score);
        if (score !== null && !isFinite(score)) {
            throw new TypeError('hold: score is a number, not ' + options.score);
        }
        recipients = options.recipients || server.recipients;
        if (server.sender === null || !recipients.length) {
            throw new TypeError('hold: there is no envelope: a message needs a sender and a recipient');
        }
        list = host.outgoingHeaders(headers);
        for (i = 0; i < list.length && !(list[i] === -1 && /^received[ \t]*:/i.test(list[i + 1])); i += 2) {
            /* Until one is found that the policy has added. */
        }
        if (i >= list.length) {
            list.unshift(-1, String(server.receivedHeader()));
        }
        return host.wait(['quarantine.hold', this.directory, list, host.bodyReference(body), row(server.sender),
            recipients.map(row), [String(server.remoteAddr), server.clientname === null ? null : String(server.clientname),
                server.authenticated ? String(server.authenticated) : null],
            options.reason === undefined || options.reason === null ? '' : String(options.reason), score,
            symbolsOf(options.symbols)]);
    };

    global.Quarantine = Quarantine;
}(this.host, this));
