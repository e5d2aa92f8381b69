/*
 * SpamAssassin: how much a message looks like spam, by spamd.
 */
(function (host, global) {
    'use strict';

    var OPTIONS = Symbol('options');

    /**
     * @param {string} address  a name, an address, or "unix:/path"
     * @param {number} [port=783]
     * @param {string} [user=Sys.user]  whose preferences count
     * @param {object} [options]  timeout: seconds for one answer; away: 'tempfail', 'accept' or 'throw'
     */
    function SpamAssassin(address, port, user, options) {
        this.host = String(address);
        this.port = port === undefined || port === null ? 783 : Number(port);
        this.user = user === undefined || user === null ? global.Sys.user : String(user);
        options = options || {};
        this[OPTIONS] = [host.secondsOf(options), host.awayOf(options)];
    }

    /** Larger messages are not sent: octets. An instance may have a number of its own. */
    SpamAssassin.prototype.MAX_MESSAGE_LEN = 2097152;

    function user(scanner) {
        return scanner.user === undefined ? '' : String(scanner.user);
    }

    /**
     * Has a message judged as it would leave with these headers. Waits.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {?object} spam, score, required; tests (array of {name, score, description}), or with the report of six lines
     *     hostname, version, subversion, rulesversion, bayes, testsscores; `report`, the text. Null when the message is too
     *     big, or when spamd is away and that is accepted
     */
    SpamAssassin.prototype.scan = function (headers, body) {
        var row, verdict, six, tests;
        host.needMessage('scan', headers, body);
        row = host.wait(['spamassassin.scan', this.host, this.port, user(this), host.outgoingHeaders(headers),
            host.bodyReference(body), Number(this.MAX_MESSAGE_LEN), this[OPTIONS][0], this[OPTIONS][1]]);
        if (row === null) {
            return null;
        }
        verdict = {spam: row[0], score: row[1], required: row[2]};
        six = row[4];
        tests = row[5].map(function (test) { return {name: test[0], score: test[1], description: test[2]}; });
        if (six === null) {
            verdict.tests = tests;
        } else {
            verdict.hostname = six[0];
            verdict.version = six[1];
            verdict.subversion = six[2];
            verdict.rulesversion = six[3];
            verdict.bayes = six[4];
            verdict.testsscores = six[5];
            host.define(verdict, 'tests', tests);
        }
        host.define(verdict, 'report', row[3]);
        return verdict;
    };

    /**
     * Has a message marked by spamd, as its configuration says. Waits.
     * @returns {?object} spam, score, required, and the message as it is then: headers (SmtpHeader[]) and body (SmtpBody)
     */
    SpamAssassin.prototype.modify = function (headers, body) {
        var row;
        host.needMessage('modify', headers, body);
        row = host.wait(['spamassassin.modify', this.host, this.port, user(this), host.outgoingHeaders(headers),
            host.bodyReference(body), Number(this.MAX_MESSAGE_LEN), this[OPTIONS][0], this[OPTIONS][1]]);
        if (row === null) {
            return null;
        }
        return {
            spam: row[0], score: row[1], required: row[2], headers: host.returnedHeaders(row[3], headers),
            body: new host.SmtpBody(row[4], row[5])
        };
    };

    global.SpamAssassin = SpamAssassin;
}(this.host, this));
