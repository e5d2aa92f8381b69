/*
 * The options that everything has which asks a service outside: `away` and `timeout`; and messages that come back.
 */
(function (host, global) {
    'use strict';

    var AWAY = ['tempfail', 'accept', 'throw'];

    /* An option of everything that asks a service outside. */
    host.awayOf = function (options) {
        var away = options.away === undefined ? 'tempfail' : String(options.away);
        if (AWAY.indexOf(away) < 0) {
            throw new TypeError("away is 'tempfail', 'accept' or 'throw', not '" + away + "'");
        }
        return away;
    };

    host.secondsOf = function (options) {
        if (options.timeout === undefined) {
            return 0;
        }
        if (!(options.timeout > 0)) {
            throw new TypeError('timeout is a number of seconds above 0, not ' + options.timeout);
        }
        return +options.timeout;
    };
    /* What came back, with those of the headers that are the same as before: they leave octet for octet as they came. */
    host.returnedHeaders = function (list, headers) {
        var before = Object.create(null), result = [], i, header, text;
        for (i = 0; i < (headers === null || headers === undefined ? 0 : headers.length); i++) {
            text = String(headers[i]);
            (before[text] = before[text] || []).push(headers[i]);
        }
        for (i = 0; i < list.length; i += 2) {
            header = new global.SmtpHeader(list[i], list[i + 1]);
            text = String(header);
            result.push(before[text] !== undefined && before[text].length ? before[text].shift() : header);
        }
        return result;
    };
}(this.host, this));
