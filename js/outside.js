/*
 * The options that everything has which asks a service outside: `away` and `timeout`.
 */
(function (host) {
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
}(this.host));
