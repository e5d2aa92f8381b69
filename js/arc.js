/*
 * Arc: what earlier receivers found out about a message, sealed by each of them (RFC 8617).
 */
(function (host, global) {
    'use strict';

    /* What RFC 6376 §5.4.1 names, the signatures that are there, and nothing that a later receiver adds. */
    var SIGNED = [
        'From', 'Sender', 'Reply-To', 'Subject', 'Date', 'Message-ID', 'To', 'Cc', 'MIME-Version', 'Content-Type',
        'Content-Transfer-Encoding', 'In-Reply-To', 'References', 'List-Id', 'List-Unsubscribe', 'List-Unsubscribe-Post',
        'DKIM-Signature'
    ];
    var NAMES = ['ARC-Seal', 'ARC-Message-Signature', 'ARC-Authentication-Results'];
    var Arc = {};

    /**
     * Verifies the chain of a message. Waits.
     *
     *     var chain = Arc.verify(headers, body);
     *     if (chain.result === 'pass' && trusted.indexOf(chain.domains[0]) >= 0) { … }
     *
     * @param {SmtpHeader[]} headers
     * @param {SmtpBody|string} body
     * @returns {object} result: "none", "pass" or "fail"; sets: the oldest first; domains: of the seals, the newest first
     */
    Arc.verify = function (headers, body) {
        var row, chain;
        host.needMessage('verify', headers, body);
        row = host.wait(['arc.verify', host.outgoingHeaders(headers), host.bodyReference(body)]);
        chain = {
            result: row[0], reason: row[1], temporary: row[2], ended: row[3], oldestPass: row[4], domains: [],
            sets: row[5].map(function (set) {
                return {
                    instance: set[0], cv: set[1], domain: set[2], selector: set[3], sealResult: set[4], sealReason: set[5],
                    signatureDomain: set[6], signatureResult: set[7], signatureReason: set[8], timestamp: set[9],
                    authResults: set[10], headers: set[11], unsigned: set[12]
                };
            })
        };
        for (var i = chain.sets.length - 1; i >= 0; i--) {
            if (chain.domains.indexOf(chain.sets[i].domain) < 0) {
                chain.domains.push(chain.sets[i].domain);
            }
        }
        return chain;
    };

    function needText(options, name) {
        if (typeof options[name] !== 'string' || options[name] === '') {
            throw new TypeError('Arc.seal: `' + name + '` is needed');
        }
        return options[name];
    }

    /**
     * Goes on with the chain of a message as it would leave with these headers. Waits. Put the result in front of them, and
     * change neither headers nor body after that:
     *
     *     headers.unshift(AuthResults.header(this.hostname, {arc: chain, …}));
     *     headers.unshift.apply(headers, Arc.seal(headers, body, {
     *         domain: 'example.org', selector: 's1', key: '/etc/dkim/s1.pem', chain: chain
     *     }));
     *
     * @param {SmtpHeader[]} headers
     * @param {SmtpBody|string} body
     * @param {object} options  domain, selector, key (RSA; see Dkim.sign); chain: what Arc.verify said when the message
     *     arrived (default: it is asked now); authservId: whose Authentication-Results in `headers` are sealed, octet for octet
     *     (default: the name of this server); results: a value to seal instead; headers: names of the fields to sign
     * @returns {SmtpHeader[]} ARC-Seal, ARC-Message-Signature, ARC-Authentication-Results; empty when the chain must not go
     *     on: it had ended before, has 50 sets, or could not be verified just now
     */
    Arc.seal = function (headers, body, options) {
        var chain, results, values;
        host.needMessage('seal', headers, body);
        options = options || {};
        needText(options, 'domain');
        needText(options, 'selector');
        needText(options, 'key');
        chain = options.chain === undefined ? Arc.verify(headers, body) : options.chain;
        if (chain === null || ['none', 'pass', 'fail'].indexOf(chain.result) < 0) {
            throw new TypeError('Arc.seal: `chain` is what Arc.verify returned');
        }
        if (chain.temporary) {
            return [];
        }
        results = options.results;
        if (results === undefined) {
            results = host.ownResults(headers, options.authservId === undefined ? global.SmtpServer.prototype.hostname :
                String(options.authservId));
        }
        values = host.wait(['arc.seal', host.outgoingHeaders(headers), host.bodyReference(body), options.domain,
            options.selector, options.key, (options.headers || SIGNED).map(String),
            results instanceof global.SmtpHeader ? results.parts.join('\r\n') : String(results), chain.result]);
        return values.map(function (value, i) { return new global.SmtpHeader(NAMES[i], value.split('\r\n')); });
    };

    /* The values of our Authentication-Results as one, their octets unchanged (RFC 8617 §4.1.1). */
    host.ownResults = function (headers, id) {
        var together = '';
        headers.forEach(function (header) {
            var value, found;
            if (String(header.name).toLowerCase() !== 'authentication-results') {
                return;
            }
            value = header.parts.join('\r\n');
            if (!host.now('authresults.claims', value, id)) {
                return;
            }
            found = host.now('authresults.read', value);
            if (found[0] !== null && found[2] === null) {
                together += together === '' ? value : value.slice(found[3]);
            }
        });
        if (together === '') {
            throw new Error('Arc.seal: there is no Authentication-Results of ' + id + '; put AuthResults.header(…) in front first');
        }
        return together;
    };

    global.Arc = Arc;
}(this.host, this));
