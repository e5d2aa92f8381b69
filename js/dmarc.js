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
        row = host.wait(['dmarc.evaluate', host.outgoingHeaders(headers), spf === null ? [] : [spf.result, spf.domain],
            dkim.map(function (one) { return [one.result, one.domain, one.unsigned]; }), standard, options.smtputf8 === true,
            sample === sample ? sample : 0]);
        return {
            result: row[0], reason: row[1], domain: row[2], organizationalDomain: row[3], policy: row[4], disposition: row[5],
            record: row[7], sampledOut: row[8], published: publishedOf(row[6], row[11]),
            spf: spf === null ? null : { result: spf.result, identity: spf.identity, domain: spf.domain, aligned: row[9] },
            dkim: dkim.map(function (one, i) {
                return { result: one.result, domain: one.domain, selector: one.selector, aligned: row[10][i] };
            })
        };
    };

    /**
     * Begins the look-ups that evaluate will want for these headers, so that they are under way while other checks wait. Does not
     * wait itself.
     * @param {SmtpHeader[]} headers
     * @param {object} [options]  standard and smtputf8, as evaluate takes them
     */
    Dmarc.prepare = function (headers, options) {
        var from = headers.filter(function (header) { return header.name.toLowerCase() === 'from'; });
        options = options || {};
        host.now('dmarc.prepare', host.outgoingHeaders(from), options.standard === undefined ? STANDARDS[0] : String(options.standard),
            options.smtputf8 === true);
    };

    /**
     * Keeps what evaluate said, for aggregate reports (RFC 7489 §7.2, `mailfilter dmarc-report`). Does not wait, and never fails
     * because of the file: what cannot be kept is dropped, and the log says so.
     * @param {string} file  a database; made when it is not there; all workers may use the same one
     * @param {object} outcome  of evaluate
     * @param {object} facts  address: the client's; sender: the domain of the envelope's sender, "" for none; disposition: what
     *     was done with the message (default: what the outcome says); override: why that is not what the owner wants, in words
     * @returns {boolean} false when there is nothing to report: the author's domain has no DMARC record
     */
    Dmarc.record = function (file, outcome, facts) {
        var disposition = facts.disposition === undefined ? outcome.disposition : String(facts.disposition), reasons = [];
        if (outcome.published === null || outcome.result !== 'pass' && outcome.result !== 'fail') {
            return false;
        }
        if (outcome.sampledOut) {
            reasons.push(['sampled_out', '']);
        }
        if (facts.override || disposition !== outcome.disposition) {
            reasons.push(['local_policy', facts.override ? String(facts.override) : '']);
        }
        host.now('dmarc.record', String(file), {
            address: String(facts.address), from: outcome.domain, sender: facts.sender ? String(facts.sender) : '',
            disposition: disposition, reasons: reasons, published: outcome.published,
            spf: outcome.spf === null ? null : [outcome.spf.result, outcome.spf.identity, outcome.spf.domain, outcome.spf.aligned],
            dkim: outcome.dkim.map(function (one) { return [one.result, one.domain, one.selector, one.aligned]; })
        });
        return true;
    };

    global.Dmarc = Dmarc;
}(this.host, this));
