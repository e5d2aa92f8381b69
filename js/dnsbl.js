/*
 * Dnsbl: blocklists and allow-lists in the DNS (RFC 5782), several at once.
 *
 * The program asks all lists together and ends when it is decided; scores and thresholds are the policy's.
 */
(function (host, global) {
    'use strict';

    function number(text, zone) {
        var parts = String(text).split('.'), value = 0, i;
        for (i = 0; i < 4; i++) {
            if (parts.length !== 4 || !/^[0-9]{1,3}$/.test(parts[i]) || +parts[i] > 255) {
                throw new TypeError('Dnsbl: ' + zone + ': ' + text + ' is no return code, as 127.0.0.2');
            }
            value = value * 256 + +parts[i];
        }
        return value;
    }

    /* ["127.0.0.2", "127.0.0.4-127.0.0.11"] as [[first, last], …]. */
    function ranges(codes, zone) {
        return (Array.isArray(codes) ? codes : [codes]).map(function (code) {
            var ends = String(code).split('-'), first = number(ends[0], zone);
            return [first, ends.length > 1 ? number(ends[1], zone) : first];
        });
    }

    /* A list as it may be written (see Dnsbl), as an object. */
    function zoneOf(entry) {
        var callback = null, options = entry;
        if (typeof entry === 'string') {
            options = { zone: entry };
        } else if (Array.isArray(entry)) {
            options = { zone: entry[0] };
            entry.slice(1).forEach(function (more) {
                if (typeof more === 'function') {
                    callback = more;
                } else if (typeof more === 'number') {
                    options.weight = more;
                } else if (more !== null && more !== undefined) {
                    options.codes = more;
                }
            });
        }
        if (options === null || typeof options !== 'object' || typeof options.zone !== 'string' || options.zone === '') {
            throw new TypeError('Dnsbl: a list is a name, an array with the name first, or an object with `zone`');
        }
        return {
            zone: options.zone,
            weight: options.weight === undefined ? 1 : +options.weight,
            allow: options.allow === true,
            ranges: options.codes === undefined ? [] : ranges(options.codes, options.zone),
            mask: options.mask === undefined ? 0 : options.mask & 255,
            domains: options.domains === true,
            callback: options.callback === undefined ? callback : options.callback
        };
    }

    /**
     * Lists to ask together.
     *
     *     var lists = new Dnsbl([
     *         'zen.example',
     *         { zone: 'mixed.example', weight: 2, codes: ['127.0.0.2', '127.0.0.4-127.0.0.11'] },
     *         { zone: 'allow.example', allow: true }
     *     ], { threshold: 2 });
     *     if (lists.check(this.remoteAddr).listed) { … }
     *
     * @param {Array<string|Array|object>} zones  a name; [name, weight, codes, callback] with any of the last three; or an
     *     object with zone, weight (default 1), codes (return codes or ranges of them), mask (bits of the last octet),
     *     allow (a listing there makes an end of all others), domains (it lists domains, not addresses) and callback
     *     (called with each record of a listing; what it returns decides whether it counts)
     * @param {{threshold: number, timeout: number}} [options]  threshold: the score from which `listed` is true (default 1);
     *     timeout: for all lists together, in seconds (default 3)
     */
    function Dnsbl(zones, options) {
        options = options || {};
        this.zones = zones.map(zoneOf);
        this.threshold = options.threshold === undefined ? 1 : +options.threshold;
        this.timeout = options.timeout === undefined ? 3 : +options.timeout;
    }

    /**
     * Asks about an address, a domain, or several of them. Waits.
     * @param {string|string[]} subjects  addresses for lists of addresses, domains for lists of domains
     * @returns {{listed: boolean, score: number, allowed: boolean, hits: object[], failed: object[], skipped: string[]}}
     *     hits: {subject, zone, weight, allow, codes} for each listing; failed: {zone, reason} for each list without an answer;
     *     skipped: lists that are not asked for a while because they failed
     */
    Dnsbl.prototype.check = function (subjects) {
        var zones = this.zones, judged = zones.some(function (zone) { return typeof zone.callback === 'function'; }),
            found, result, score = 0;
        found = host.wait(['dnsbl.check', (Array.isArray(subjects) ? subjects : [subjects]).map(String),
            zones.map(function (zone) {
                return [zone.zone, zone.weight, zone.allow, zone.ranges, zone.mask, zone.domains];
            }), judged ? null : this.threshold, this.timeout]);
        result = {
            listed: false, score: found[0], allowed: found[1],
            hits: found[2].map(function (hit) {
                var zone = zones[hit[1]];
                return { subject: hit[0], zone: zone.zone, weight: zone.weight, allow: zone.allow, codes: hit[2] };
            }),
            failed: found[3].map(function (pair) { return { zone: pair[0], reason: pair[1] }; }),
            skipped: found[4]
        };
        if (judged) {
            /* What a callback says is known only here. */
            result.hits = result.hits.filter(function (hit, i) {
                var zone = zones[found[2][i][1]];
                return typeof zone.callback !== 'function' || hit.codes.some(function (code) {
                    return !!zone.callback({ name: hit.subject, type: 1, data: code, zone: zone.zone });
                });
            });
            result.allowed = result.hits.some(function (hit) { return hit.allow; });
            result.hits.forEach(function (hit) { score += hit.weight; });
            result.score = result.allowed ? 0 : score;
        }
        result.listed = !result.allowed && result.hits.length > 0 && result.score >= this.threshold;
        return result;
    };

    /**
     * The hosts of links in a text or HTML, domains and addresses: what lists are asked about. Without "www.", each once.
     * @param {string} text
     * @param {number} [limit]  at most so many (default 100)
     * @returns {string[]}
     */
    Dnsbl.domainsIn = function (text, limit) {
        return host.now('dnsbl.hosts', String(text), limit === undefined ? 100 : limit);
    };

    global.Dnsbl = Dnsbl;
}(this.host, this));
