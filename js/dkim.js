/*
 * Dkim: signatures on messages (RFC 6376), verified and made.
 */
(function (host, global) {
    'use strict';

    /* RFC 6376 §5.4.1, and what replies and lists hang on. */
    var SIGNED = [
        'From', 'Sender', 'Reply-To', 'Subject', 'Date', 'Message-ID', 'To', 'Cc', 'MIME-Version', 'Content-Type',
        'Content-Transfer-Encoding', 'In-Reply-To', 'References', 'List-Id', 'List-Unsubscribe', 'List-Unsubscribe-Post',
        'Resent-From', 'Resent-To', 'Resent-Date', 'Resent-Message-ID'
    ];
    /* A second one of these would be shown instead of the one that is signed. */
    var OVERSIGNED = ['From', 'Subject', 'Date', 'To', 'Cc', 'Reply-To', 'MIME-Version', 'Content-Type'];
    var CANONICALIZATIONS = /^(simple|relaxed)\/(simple|relaxed)$/;
    var Dkim = {};

    /**
     * Verifies every signature of a message. Waits.
     *
     *     var good = Dkim.verify(headers, body).filter(function (one) { return one.result === 'pass'; });
     *
     * @param {SmtpHeader[]} headers
     * @param {SmtpBody|string} body
     * @returns {object[]} one for each DKIM-Signature field, in their order; none: an empty array
     */
    Dkim.verify = function (headers, body) {
        host.needMessage('verify', headers, body);
        return host.wait(['dkim.verify', host.outgoingHeaders(headers), host.bodyReference(body)]).map(function (row) {
            return {
                result: row[0], reason: row[1], domain: row[2], selector: row[3], identity: row[4], algorithm: row[5],
                canonicalization: row[6], keyBits: row[7], headers: row[8], length: row[9], unsigned: row[10],
                testing: row[11], timestamp: row[12], expires: row[13], value: row[14]
            };
        });
    };

    function needText(options, name) {
        if (typeof options[name] !== 'string' || options[name] === '') {
            throw new TypeError('Dkim.sign: `' + name + '` is needed');
        }
        return options[name];
    }

    /**
     * Signs a message as it would leave with these headers. Waits. Put the result in front of them, and change neither
     * headers nor body after that:
     *
     *     headers.unshift(Dkim.sign(headers, body, { domain: 'example.org', selector: 's1', key: '/etc/dkim/s1.pem' }));
     *
     * @param {SmtpHeader[]} headers
     * @param {SmtpBody|string} body
     * @param {object} options  domain, selector, key (the path of a file beginning with "/", or the key itself: PEM, or an
     *     Ed25519 seed in base64); canonicalization (default "relaxed/relaxed"), headers (names to sign), oversign (names of
     *     which none may be added later), identity (i=), expires (seconds from now)
     * @returns {SmtpHeader}
     */
    Dkim.sign = function (headers, body, options) {
        var kind, value;
        host.needMessage('sign', headers, body);
        options = options || {};
        kind = options.canonicalization === undefined ? 'relaxed/relaxed' : options.canonicalization;
        if (!CANONICALIZATIONS.test(kind)) {
            throw new TypeError('Dkim.sign: canonicalization is simple or relaxed for the header and for the body, as ' +
                '"relaxed/simple"');
        }
        value = host.wait(['dkim.sign', host.outgoingHeaders(headers), host.bodyReference(body), needText(options, 'domain'),
            needText(options, 'selector'), needText(options, 'key'), (options.headers || SIGNED).map(String),
            (options.oversign || OVERSIGNED).map(String), kind,
            options.identity === undefined || options.identity === null ? null : String(options.identity),
            options.expires === undefined ? 0 : +options.expires]);
        return new global.SmtpHeader('DKIM-Signature', value.split('\r\n'));
    };

    /**
     * The entry of an object keyed by domain that fits the author of a message: that of its From domain, or of the
     * nearest domain above it. For signing with keys by domain.
     * @param {SmtpHeader[]} headers
     * @param {Object<string, object>} keys  by domain: options for sign (without `domain`)
     * @returns {?object} the options, with `domain` filled in; null when there is none
     */
    Dkim.keyFor = function (headers, keys) {
        var from = headers.filter(function (header) { return header.name.toLowerCase() === 'from'; }), found, domain, name, key;
        if (from.length !== 1) {
            return null;
        }
        found = /@([^\s@<>,;:()"\\]+)>?\s*$/.exec(from[0].getValue());
        for (domain = found === null ? '' : found[1].toLowerCase(); domain !== ''; domain = domain.replace(/^[^.]*\.?/, '')) {
            if (Object.prototype.hasOwnProperty.call(keys, domain)) {
                key = { domain: domain };
                for (name in keys[domain]) {
                    key[name] = keys[domain][name];
                }
                return key;
            }
        }
        return null;
    };

    global.Dkim = Dkim;
}(this.host, this));
