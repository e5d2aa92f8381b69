/*
 * AuthResults: the header field that tells later readers what was found out about a message (RFC 8601).
 *
 * Reading is the program's; what is written here is made of outcomes of the other checks and quoted so that no value can
 * say more than itself.
 */
(function (host, global) {
    'use strict';

    var NAME = 'authentication-results';
    var TOKEN = /^[A-Za-z0-9!#$%&'*+\-^_`{|}~.]+$/;
    var ADDRESS = /^[A-Za-z0-9!#$%&'*+\-^_`{|}~.]*@[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
    var WORD = /^[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?$/;
    var LONGEST = 320, WIDTH = 78, MOST = 100;
    var AuthResults = {};

    /* Text for a quoted string or comment: no line ends, no control characters, nothing that is no character. */
    function tame(text) {
        text = String(text);
        if (text.length > LONGEST) {
            text = text.slice(0, LONGEST - 1).replace(/[\ud800-\udbff]$/, '') + '~';
        }
        return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, '?').replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g,
            function (found) { return found.length === 2 ? found : '?'; });
    }

    function value(text, address) {
        text = tame(text);
        if (TOKEN.test(text) || address && ADDRESS.test(text)) {
            return text;
        }
        return '"' + text.replace(/(["\\])/g, '\\$1') + '"';
    }

    function word(text, what) {
        if (!WORD.test(String(text))) {
            throw new TypeError('AuthResults: ' + what + ' is a word, not ' + tame(text));
        }
        return String(text);
    }

    /**
     * Reads a field of whoever. Never throws for what stands in it.
     *
     *     AuthResults.read(header).results.some(function (one) { return one.method === 'spf' && one.result === 'pass'; })
     *
     * @param {SmtpHeader|string} header  the field, or its value
     * @returns {{authservId: ?string, version: number, results: object[], problem: ?string}} results: {method, version, result,
     *     reason, comment, properties: {"smtp.mailfrom": value, …}} as far as the value can be understood; problem: where not
     */
    AuthResults.read = function (header) {
        var found = host.now('authresults.read', header instanceof global.SmtpHeader ? header.parts.join('\r\n') : String(header));
        return {
            authservId: found[0], version: found[1], problem: found[2],
            results: found[4].map(function (row) {
                var properties = {}, i;
                for (i = 0; i < row[5].length; i += 2) {
                    if (!Object.prototype.hasOwnProperty.call(properties, row[5][i])) {
                        properties[row[5][i]] = row[5][i + 1];
                    }
                }
                return { method: row[0], version: row[1], result: row[2], reason: row[3], comment: row[4], properties: properties };
            })
        };
    };

    /* Whether a line of the header section is this field, or may be taken for it by a generous reader. */
    function isField(header) {
        var name = typeof header === 'string' ? header.split(':')[0] : String(header.name);
        if (name === '' && header.parts && header.parts.length) {
            name = String(header.parts[0]).split(':')[0];
        }
        return name.toLowerCase().replace(/[^a-z-]/g, '') === NAME;
    }

    /**
     * Removes from `headers` (in place) every Authentication-Results that claims to be ours, or could be taken for one (RFC 8601
     * §5): in other spellings of the name, behind comments, or with an author that cannot be read.
     * @param {SmtpHeader[]} headers
     * @param {string} authservId  the name of ours
     * @returns {number} how many
     */
    AuthResults.remove = function (headers, authservId) {
        var kept = 0, i, removed, text;
        for (i = 0; i < headers.length; i++) {
            if (isField(headers[i])) {
                text = typeof headers[i] === 'string' ? headers[i].slice(headers[i].indexOf(':') + 1) :
                    headers[i].name === '' ? '' : headers[i].parts.join('\r\n');
                if (host.now('authresults.claims', text, String(authservId))) {
                    continue;
                }
            }
            headers[kept++] = headers[i];
        }
        removed = headers.length - kept;
        headers.length = kept;
        return removed;
    };

    /**
     * Writes a field.
     * @param {string} authservId  who says so: the name of this server
     * @param {object[]} results  {method, result, reason, comment, properties: {"smtp.mailfrom": value, …}}; none: "none"
     * @returns {SmtpHeader}
     */
    AuthResults.write = function (authservId, results) {
        var parts = [value(authservId)], line = '';
        function put(text) {
            if (line !== '' && line.length + 1 + text.length > WIDTH) {
                parts.push('\t' + line);
                line = text;
            } else {
                line += (line === '' ? '' : ' ') + text;
            }
        }
        results.forEach(function (one) {
            parts[parts.length - 1] += ';';
            put(word(one.method, 'a method') + '=' + word(one.result, 'a result'));
            if (one.comment !== undefined && one.comment !== null && one.comment !== '') {
                put('(' + tame(one.comment).replace(/([()\\])/g, '\\$1') + ')');
            }
            if (one.reason !== undefined && one.reason !== null && one.reason !== '') {
                put('reason=' + value(one.reason));
            }
            Object.keys(one.properties || {}).forEach(function (name) {
                var names = name.split('.'), given = one.properties[name];
                if (given !== undefined && given !== null && given !== '') {
                    put(word(names[0], 'the type of a property') + '.' + word(names.slice(1).join('.'), 'a property') + '=' +
                        value(given, true));
                }
            });
            parts.push('\t' + line);
            line = '';
        });
        if (!results.length) {
            parts[0] += '; none';
        }
        return new global.SmtpHeader('Authentication-Results', parts);
    };

    /* How the outcome of each check is told, by the names that `header` takes. */
    var TOLD = {
        auth: function (identity) {
            return { method: 'auth', result: 'pass', properties: { 'smtp.auth': identity } };
        },
        iprev: function (found) {
            return { method: 'iprev', result: found.result, comment: found.name, properties: { 'policy.iprev': found.address } };
        },
        helo: function (found) {
            return { method: 'spf', result: found.result, reason: found.problem, properties: { 'smtp.helo': found.domain } };
        },
        spf: function (found) {
            var properties = {};
            properties[found.identity === 'helo' ? 'smtp.helo' : 'smtp.mailfrom'] = found.sender || found.domain;
            return { method: 'spf', result: found.result, reason: found.problem, properties: properties };
        },
        dkim: function (found) {
            return {
                method: 'dkim', result: found.result, reason: found.reason,
                comment: found.keyBits ? found.keyBits + '-bit key' + (found.testing ? ', testing' : '') : null,
                properties: {
                    'header.d': found.domain, 'header.i': found.identity, 'header.s': found.selector,
                    'header.a': found.algorithm, 'header.b': found.value === null ? null : found.value.slice(0, 8)
                }
            };
        },
        arc: function (found) {
            return {
                method: 'arc', result: found.result, reason: found.reason,
                comment: found.sets.length ? 'i=' + found.sets.length + ' ' + found.domains.join(' ') : null,
                properties: { 'header.oldest-pass': found.result === 'pass' ? String(found.oldestPass) : null }
            };
        },
        dmarc: function (found) {
            return {
                method: 'dmarc', result: found.result, reason: found.reason,
                comment: found.policy ? 'p=' + found.policy + (found.disposition ? ' dis=' + found.disposition : '') : null,
                properties: { 'header.from': found.domain }
            };
        },
        dnsbl: function (found) {
            return {
                method: 'x-dnsbl', result: found.listed ? 'fail' : 'pass',
                properties: {
                    'policy.score': String(found.score),
                    'policy.zones': found.hits.map(function (hit) { return hit.zone; }).join(' ')
                }
            };
        }
    };

    /**
     * One field that sums a session up.
     *
     *     headers.unshift(AuthResults.header(this.hostname, {
     *         spf: Spf.check(…), helo: Spf.checkHelo(…), iprev: Dns.iprev(…), dkim: Dkim.verify(…), arc: Arc.verify(…),
     *         auth: this.authenticated, dnsbl: lists.check(…)
     *     }));
     *
     * @param {string} authservId
     * @param {object} outcomes  what the checks returned, by these names; what is absent or null is not told of
     * @returns {SmtpHeader}
     */
    AuthResults.header = function (authservId, outcomes) {
        var results = [];
        Object.keys(outcomes).forEach(function (name) {
            if (!Object.prototype.hasOwnProperty.call(TOLD, name)) {
                throw new TypeError('AuthResults.header: there is no check ' + name);
            }
        });
        Object.keys(TOLD).forEach(function (name) {
            var found = outcomes[name];
            if (found === undefined || found === null) {
                return;
            }
            if (name === 'dkim' && !found.length) {
                results.push({ method: 'dkim', result: 'none' });
                return;
            }
            (Array.isArray(found) ? found.slice(0, MOST) : [found]).forEach(function (one) { results.push(TOLD[name](one)); });
        });
        return AuthResults.write(authservId, results);
    };

    global.AuthResults = AuthResults;
}(this.host, this));
