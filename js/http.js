/*
 * Http: requests to HTTP servers, read whole, as if they were calls.
 */
(function (host, global) {
    'use strict';

    host.now('http.check');

    function pairs(headers) {
        var list = [], name;
        for (name in headers) {
            list.push(String(name), String(headers[name]));
        }
        return list;
    }

    function Answer(found) {
        this.status = found[0];
        this.reason = found[1];
        this.ok = found[0] >= 200 && found[0] < 300;
        this.headers = found[2];
        this.text = found[3];
        this.url = found[4];
    }

    /** The body as JSON; throws when it is none. */
    host.define(Answer.prototype, 'json', function () {
        return JSON.parse(this.text);
    });

    var Http = {
        /**
         * Asks. Waits.
         *
         *     var answer = Http.get('https://scores.example/ip/' + this.remoteAddr, { timeout: 2, away: 'accept' });
         *     if (answer !== null && answer.ok && answer.json().bad) { … }
         *
         * @param {string} url
         * @param {object} [options]  headers; timeout: seconds for all of it; away: "tempfail" (default), "accept", "throw"; redirects:
         *     how many are followed (0, at most 5); limit: octets of the body (1 MiB, at most 4); publicOnly: refuse addresses that are
         *     not public; ca: a file of certificates of authorities; verify: false for any certificate
         * @returns {?object} {status, reason, ok, headers, text, url, json()}; null when it is away and that is accepted
         */
        get: function (url, options) {
            return Http.request('GET', url, undefined, options);
        },

        /** The same with a body: a string, or anything else as JSON. Waits. */
        post: function (url, body, options) {
            return Http.request('POST', url, body, options);
        },

        /** The same with any method. Waits. */
        request: function (method, url, body, options) {
            var headers, found;
            options = options || {};
            headers = pairs(options.headers || {});
            if (body !== undefined && body !== null && typeof body !== 'string' && !ArrayBuffer.isView(body)) {
                body = JSON.stringify(body);
                if (!headers.some(function (name, i) { return i % 2 === 0 && name.toLowerCase() === 'content-type'; })) {
                    headers.push('Content-Type', 'application/json');
                }
            }
            found = host.wait(['http.request', String(method).toUpperCase(), String(url), headers, body === undefined ? null : body,
                options.redirects === undefined ? 0 : +options.redirects, options.limit === undefined ? 1048576 : +options.limit,
                [options.ca === undefined ? null : String(options.ca), options.verify !== false, !!options.publicOnly],
                host.secondsOf(options), host.awayOf(options)]);
            return found === null ? null : new Answer(found);
        }
    };

    global.Http = Http;
}(this.host, this));
