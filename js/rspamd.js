/*
 * Rspamd: what it would do with a message, and the headers it wants changed.
 */
(function (host, global) {
    'use strict';

    var OPTIONS = Symbol('options'), FACTS = Symbol('facts'), TLS = Symbol('TLS'), REWRITE = Symbol('rewrite');

    /**
     * @param {string} address  a name, an address, or "unix:/path"
     * @param {number} [port=11333]  of its worker "normal", or of its proxy
     * @param {object} [options]  timeout, away; password; settings (object) or settingsId; flags (array); headers (object):
     *     more headers for its request; tls: true, or {ca: file of authorities, verify: false for any certificate, name: what it
     *     must name}; rewrite: whether a message that Rspamd has changed is wanted
     */
    function Rspamd(address, port, options) {
        var flags, tls;
        options = options || {};
        this.host = String(address);
        this.port = port === undefined || port === null ? 11333 : Number(port);
        this[OPTIONS] = [host.secondsOf(options), host.awayOf(options)];
        this[FACTS] = [];
        if (options.password !== undefined) {
            this[FACTS].push('Password', String(options.password));
        }
        if (options.settings !== undefined) {
            this[FACTS].push('Settings', JSON.stringify(options.settings));
        }
        if (options.settingsId !== undefined) {
            this[FACTS].push('Settings-ID', String(options.settingsId));
        }
        flags = (options.flags || []).map(String);
        this[REWRITE] = !!options.rewrite;
        if (this[REWRITE] && flags.indexOf('body_block') < 0) {
            flags.push('body_block');
        }
        if (flags.length) {
            this[FACTS].push('Flags', flags.join(','));
        }
        tls = options.tls === true ? {} : options.tls || null;
        this[TLS] = tls === null ? [] : [tls.ca === undefined ? null : String(tls.ca), tls.verify !== false,
            tls.name === undefined ? null : String(tls.name)];
        for (var name in options.headers || {}) {
            this[FACTS].push(name, String(options.headers[name]));
        }
    }

    /** Larger messages are not sent: octets. An instance may have a number of its own. */
    Rspamd.prototype.MAX_MESSAGE_LEN = 52428800;

    function addressOf(path) {
        return path === null || path.mailbox.local === null ? '' :
            path.mailbox.local + (path.mailbox.domain === null ? '' : '@' + path.mailbox.domain);
    }

    function factsOf(server) {
        var facts = [], tls = server.tls;
        if (server.remoteAddr !== 'local') {
            facts.push('IP', server.remoteAddr);
        }
        if (server.clientname) {
            facts.push('Helo', server.clientname);
        }
        facts.push('From', addressOf(server.sender), 'Queue-Id', server.sessionId, 'MTA-Name', server.hostname);
        server.recipients.forEach(function (path) { facts.push('Rcpt', addressOf(path)); });
        if (server.authenticated) {
            facts.push('User', String(server.authenticated));
        }
        if (tls !== null) {
            facts.push('TLS-Version', String(tls.version), 'TLS-Cipher', String(tls.cipher));
        }
        return facts;
    }

    function named(name) {
        name = name.toLowerCase();
        return function (header) { return String(header.name).toLowerCase() === name; };
    }

    /**
     * Has a message judged as it would leave with these headers; envelope, TLS and authentication are told, too. Waits.
     * @param {SmtpServer} server  `this` of the handler
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {?RspamdResult} null when the message is too big, or when Rspamd is away and that is accepted
     */
    Rspamd.prototype.check = function (server, headers, body) {
        var said;
        host.needMessage('check', headers, body);
        said = host.wait(['rspamd.check', this.host, this.port, factsOf(server).concat(this[FACTS]), this[TLS], this[REWRITE],
            host.outgoingHeaders(headers), host.bodyReference(body), Number(this.MAX_MESSAGE_LEN), this[OPTIONS][0], this[OPTIONS][1]]);
        if (said === null) {
            return null;
        }
        if (said.rewritten !== null) {
            said.rewritten = {
                headers: host.returnedHeaders(said.rewritten[0], headers), body: new host.SmtpBody(said.rewritten[1], said.rewritten[2])
            };
        }
        host.define(said, 'apply', apply);
        return said;
    };

    /* Makes the changes that it wants in the headers: removes, adds, signs, and sets the subject where that is the action. */
    function apply(headers) {
        var said = this, i, at;
        said.remove.forEach(function (row) {
            var places = [];
            headers.forEach(function (header, place) {
                if (named(row[0])(header)) {
                    places.push(place);
                }
            });
            if (row[1] !== 0) {         /* 1 is the first one of that name, -1 the last one, 0 all of them */
                places = places.slice(row[1] > 0 ? row[1] - 1 : row[1], row[1] > 0 ? row[1] : row[1] + 1 || undefined);
            }
            for (i = places.length - 1; i >= 0; i--) {
                headers.splice(places[i], 1);
            }
        });
        said.add.forEach(function (row) {
            var header = new global.SmtpHeader(row[0], row[1].split(/\r?\n/));
            if (row[2] < 0) {
                headers.push(header);
            } else {
                headers.splice(Math.min(row[2], headers.length), 0, header);
            }
        });
        if (said.action === 'rewrite subject' && said.subject !== null) {
            at = headers.filter(named('subject'))[0];
            if (at === undefined) {
                headers.push(new global.SmtpHeader('Subject', said.subject));
            } else {
                at.parts = [said.subject];
            }
        }
        said.dkim.forEach(function (value) {
            headers.unshift(new global.SmtpHeader('DKIM-Signature', value.split(/\r?\n/)));
        });
    }

    global.Rspamd = Rspamd;
}(this.host, this));
