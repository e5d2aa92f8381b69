/*
 * Milter: filters that speak libmilter's protocol, such as opendkim, and the changes they make.
 */
(function (host, global) {
    'use strict';

    var OPTIONS = Symbol('options'), MACROS = Symbol('macros'), CHANGES = Symbol('changes');

    /**
     * @param {string} address  a name, an address, or "unix:/path"
     * @param {number} [port=8891]
     * @param {object} [options]  timeout: seconds for all that it says to one message; away: 'tempfail', 'accept' or 'throw';
     *     macros: more of them by name ("{daemon_name}")
     */
    function Milter(address, port, options) {
        options = options || {};
        this.host = String(address);
        this.port = port === undefined || port === null ? 8891 : Number(port);
        this[OPTIONS] = [host.secondsOf(options), host.awayOf(options)];
        this[MACROS] = options.macros || {};
    }

    /** Larger messages are not sent: octets. An instance may have a number of its own. */
    Milter.prototype.MAX_MESSAGE_LEN = 52428800;

    function bare(path) {
        return String(path).replace(/^<|>$/g, '');
    }

    /* The path in brackets, and behind it its ESMTP parameters. */
    function argumentsOf(path) {
        var list = ['<' + bare(path) + '>'], name;
        for (name in path.params) {
            list.push(path.params[name] === null || path.params[name] === true ? name : name + '=' + path.params[name]);
        }
        return list;
    }

    function mailboxMacros(path, kind) {
        var macros = {};
        macros['{' + kind + '_addr}'] = bare(path);
        macros['{' + kind + '_host}'] = path.mailbox.domain === null ? '' : String(path.mailbox.domain);
        macros['{' + kind + '_mailer}'] = 'smtp';
        return macros;
    }

    function copy(from, to) {
        for (var name in from) {
            to[name] = String(from[name]);
        }
        return to;
    }

    function factsOf(server, more) {
        var local = server.remoteAddr === 'local', tls = server.tls, name, macros;
        name = local ? 'localhost' : '[' + server.remoteAddr + ']';
        macros = copy(mailboxMacros(server.sender, 'mail'), {
            j: server.hostname, i: server.sessionId, v: 'Mailfilter', _: local ? 'localhost' : name,
            '{daemon_name}': 'Mailfilter', '{client_addr}': server.remoteAddr, '{client_name}': name,
            '{client_port}': String(server.remotePort), '{client_ptr}': name
        });
        if (tls !== null) {
            copy({'{tls_version}': tls.version, '{cipher}': tls.cipher, '{cipher_bits}': tls.bits}, macros);
            if (tls.subject) {
                macros['{cert_subject}'] = String(tls.subject);
            }
        }
        if (server.authenticated) {
            macros['{auth_authen}'] = String(server.authenticated);
        }
        copy(more, macros);
        return [
            name, local ? null : server.remoteAddr, local ? 0 : server.remotePort, server.clientname, argumentsOf(server.sender),
            server.recipients.map(argumentsOf), macros,
            server.recipients.map(function (path) { return mailboxMacros(path, 'rcpt'); })
        ];
    }

    /* Its own words, or those of sendmail where it has none. */
    function replyOf(action, code, lines) {
        if (action !== 'reject' && action !== 'tempfail') {
            return null;
        }
        if (code !== null) {
            return new global.SmtpResponse(code, lines.length ? lines : [action === 'reject' ? '5.7.1 Refused' : '4.7.1 Try again later']);
        }
        return action === 'reject' ? new global.SmtpResponse(550, '5.7.1 Command rejected') :
            new global.SmtpResponse(451, '4.7.1 Service unavailable - try again later');
    }

    /**
     * Shows a message to the milter as it would leave with these headers, with all that it may know of the session. Waits.
     * @param {SmtpServer} server  `this` of the handler
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {?MilterOutcome} null when the message is too big, or when the milter is away and that is accepted
     */
    Milter.prototype.check = function (server, headers, body) {
        var row, outcome;
        host.needMessage('check', headers, body);
        if (!server.sender) {
            throw new TypeError('check: the session has no transaction');
        }
        row = host.wait(['milter.check', this.host, this.port, factsOf(server, this[MACROS]), host.outgoingHeaders(headers),
            host.bodyReference(body), Number(this.MAX_MESSAGE_LEN), this[OPTIONS][0], this[OPTIONS][1]]);
        if (row === null) {
            return null;
        }
        outcome = {
            action: row[0], reply: replyOf(row[0], row[1], row[2]), quarantine: row[3],
            refused: row[4].map(function (one) {
                return {recipient: server.recipients[one[0]], reply: replyOf(one[1], one[2], one[3])};
            }),
            addRecipients: [], removeRecipients: [], sender: row[7] === null ? null : row[7][0],
            body: row[8] === null ? body : new host.SmtpBody(row[8][0], row[8][1])
        };
        row[6].forEach(function (change) {
            (change[0] === 'add' ? outcome.addRecipients : outcome.removeRecipients).push(change[1]);
        });
        outcome[CHANGES] = row[5];
        host.define(outcome, 'apply', apply);
        return outcome;
    };

    /*
     * Makes the changes of headers, in their order. Places are sendmail's: insert counts from the top, where 0 and 1 are both
     * above the first header; change counts those of one name from 1, and what was removed keeps its place.
     */
    function apply(headers) {
        var list = headers.slice(), gone = [], i, left;

        function places(name) {
            var found = [], place;
            for (place = 0; place < list.length; place++) {
                if (String(list[place].name).toLowerCase() === name.toLowerCase()) {
                    found.push(place);
                }
            }
            return found;
        }

        this[CHANGES].forEach(function (change) {
            var header = new global.SmtpHeader(change[2], change[3].replace(/^[ \t]/, '').split(/\r?\n/)), place;
            if (change[0] === 'add') {
                list.push(header);
            } else if (change[0] === 'insert') {
                list.splice(Math.min(Math.max(change[1] - 1, 0), list.length), 0, header);
            } else {
                place = places(change[2])[Math.max(change[1], 1) - 1];
                if (place === undefined) {
                    if (change[3] !== '') {
                        list.push(header);
                    }
                } else if (change[3] === '') {
                    gone.push(list[place]);
                } else {
                    if (gone.indexOf(list[place]) >= 0) {
                        gone.splice(gone.indexOf(list[place]), 1);
                    }
                    list[place] = header;
                }
            }
        });
        left = list.filter(function (header) { return gone.indexOf(header) < 0; });
        headers.length = 0;
        for (i = 0; i < left.length; i++) {
            headers[i] = left[i];
        }
    }

    global.Milter = Milter;
}(this.host, this));
