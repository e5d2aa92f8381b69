/*
 * Dmarc: whether a message comes from the domain in its From (RFC 9989, RFC 7489).
 */
(function (host, global) {
    'use strict';

    var STANDARDS = ['rfc9989', 'rfc7489'];
    var Dmarc = {};

    function list(value) {
        return value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
    }

    function publishedOf(domain, row) {
        return row === null ? null : {
            domain: domain, p: row[0], sp: row[1], np: row[2], adkim: row[3], aspf: row[4], pct: row[5], psd: row[6], t: row[7],
            fo: row[8], rua: row[9]
        };
    }

    /**
     * Whether SPF or DKIM speak for the author's domain, and what its owner wants if not. Waits.
     *
     *     var dmarc = Dmarc.evaluate(headers, {
     *         spf: Spf.check(this.remoteAddr, this.sender, this.clientname), dkim: Dkim.verify(headers, body)
     *     });
     *     if (dmarc.disposition === 'reject') { … }
     *
     * @param {SmtpHeader[]} headers
     * @param {object} found  spf: of Spf.check; dkim: of Dkim.verify; and as wanted standard ("rfc9989", the default, or "rfc7489"),
     *     smtputf8 (the client said SMTPUTF8: the address in From may have letters that are not ASCII), sample (0 to 100, for pct
     *     of RFC 7489; default: a random number)
     * @returns {object} result, policy, disposition, domain and more; see the reference
     */
    Dmarc.evaluate = function (headers, found) {
        var options = found || {}, spf = options.spf || null, dkim = list(options.dkim), standard, sample, row;
        standard = options.standard === undefined ? STANDARDS[0] : String(options.standard);
        if (STANDARDS.indexOf(standard) < 0) {
            throw new TypeError('Dmarc.evaluate: standard is "' + STANDARDS.join('" or "') + '", not "' + standard + '"');
        }
        if (!Array.isArray(headers)) {
            throw new TypeError('Dmarc.evaluate: `headers` is needed, the array that smtpData was given');
        }
        sample = options.sample === undefined ? Math.random() * 100 : +options.sample;
        row = host.wait('dmarc.evaluate', host.outgoingHeaders(headers), spf === null ? [] : [spf.result, spf.domain],
            dkim.map(function (one) { return [one.result, one.domain, one.unsigned]; }), standard, options.smtputf8 === true,
            sample === sample ? sample : 0);
        return {
            result: row[0], reason: row[1], domain: row[2], organizationalDomain: row[3], policy: row[4], disposition: row[5],
            record: row[7], sampledOut: row[8], published: publishedOf(row[6], row[11]),
            spf: spf === null ? null : { result: spf.result, identity: spf.identity, domain: spf.domain, aligned: row[9] },
            dkim: dkim.map(function (one, i) {
                return { result: one.result, domain: one.domain, selector: one.selector, aligned: row[10][i] };
            })
        };
    };

    global.Dmarc = Dmarc;
}(this.host, this));
