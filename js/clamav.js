/*
 * ClamAV: viruses, found by clamd.
 */
(function (host, global) {
    'use strict';

    var OPTIONS = Symbol('options');

    /**
     * @param {string} address  a name, an address, or "unix:/path"
     * @param {number} [port=3310]
     * @param {object} [options]  timeout: seconds for one answer; away: 'tempfail', 'accept' or 'throw'
     */
    function ClamAV(address, port, options) {
        this.host = String(address);
        this.port = port === undefined || port === null ? 3310 : Number(port);
        options = options || {};
        this[OPTIONS] = [host.secondsOf(options), host.awayOf(options)];
    }

    /** Larger messages are not sent: octets. An instance may have a number of its own. */
    ClamAV.prototype.MAX_MESSAGE_LEN = 104857600;

    /**
     * Has a message scanned as it would leave with these headers. Waits.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {?object} found (boolean), name (of what was found), progver, dbver, dbdate; null when the message is too big, or
     *     when clamd is away and that is accepted
     */
    ClamAV.prototype.scan = function (headers, body) {
        var row, verdict;
        host.needMessage('scan', headers, body);
        row = host.wait(['clamav.scan', this.host, this.port, host.outgoingHeaders(headers), host.bodyReference(body),
            Number(this.MAX_MESSAGE_LEN), this[OPTIONS][0], this[OPTIONS][1]]);
        if (row === null) {
            return null;
        }
        verdict = {progver: row[0], dbver: row[1], dbdate: row[2], found: row[3] !== null};
        if (row[3] !== null) {
            verdict.name = row[3];
        }
        return verdict;
    };

    global.ClamAV = ClamAV;
}(this.host, this));
