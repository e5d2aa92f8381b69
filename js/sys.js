/*
 * Sys: log, settings, output and small facts about the program. One object, no constructor.
 */
(function (host, global) {
    'use strict';

    var Sys = {}, names, i;

    /* Severities and facilities have the numbers of syslog.h (RFC 5424 §6.2.1; facility × 8). */
    names = ['EMERG', 'ALERT', 'CRIT', 'ERR', 'WARNING', 'NOTICE', 'INFO', 'DEBUG'];
    for (i = 0; i < names.length; i++) {
        Sys['LOG_' + names[i]] = i;
    }
    Sys.LOG_PRIMASK = 7;
    names = ['KERN', 'USER', 'MAIL', 'DAEMON', 'AUTH', 'SYSLOG', 'LPR', 'NEWS', 'UUCP', 'CRON', 'AUTHPRIV', 'FTP'];
    for (i = 0; i < names.length; i++) {
        Sys['LOG_' + names[i]] = i * 8;
    }
    for (i = 0; i < 8; i++) {
        Sys['LOG_LOCAL' + i] = (16 + i) * 8;
    }
    Sys.LOG_FACMASK = 1016;

    /** Name of the user the program runs as; absent when unknown. */
    Sys.user = host.now('sys.user');
    if (Sys.user === null) {
        delete Sys.user;
    }

    /** A text as base64 (RFC 4648 §4), of its octets. */
    Sys.toBase64 = function (text) {
        return host.now('text.encode', String(text));
    };

    /** The text that base64 stands for, or null (octets that are not UTF-8 as U+DC80 … U+DCFF, one for each). */
    Sys.fromBase64 = function (text) {
        return host.now('text.decode', String(text));
    };

    /**
     * Whether a password is the one that was hashed. Waits.
     * @param {string} password
     * @param {string} hashed  as crypt(3) has it: "$6$…", made by `openssl passwd -6`
     * @returns {boolean}
     * @throws {Error} when the system does not know that kind of hash
     */
    Sys.verifyPassword = function (password, hashed) {
        return host.wait(['password.verify', String(password), String(hashed)]);
    };

    /**
     * A setting, given by `--set NAME=VALUE` or the environment variable MAILFILTER_NAME.
     * @param {string} name
     * @param {*} [fallback]  what to give when it is not set
     * @returns {string|*} its text; converted to a number or boolean when the fallback is one
     * @throws {Error} when it is not set and there is no fallback, or its text is no such number or boolean
     */
    Sys.setting = function (name, fallback) {
        var text = host.now('sys.setting', String(name)), number;
        if (text === null) {
            if (arguments.length < 2) {
                throw new Error("setting '" + name + "' is needed: give it with --set " + name + '=VALUE');
            }
            return fallback;
        }
        if (typeof fallback === 'number') {
            number = Number(text);
            if (text.trim() === '' || number !== number) {
                throw new Error("setting '" + name + "' is '" + text + "'; it must be a number");
            }
            return number;
        }
        if (typeof fallback === 'boolean') {
            if (/^(1|true|yes|on)$/i.test(text)) {
                return true;
            }
            if (/^(0|false|no|off)$/i.test(text)) {
                return false;
            }
            throw new Error("setting '" + name + "' is '" + text + "'; it must be true or false");
        }
        return text;
    };

    /**
     * Writes a line to the log. Line breaks and control characters in the text are escaped.
     * @param {number} priority  Sys.LOG_DEBUG … Sys.LOG_EMERG
     * @param {string} text
     */
    Sys.log = function (priority, text) {
        host.now('log.write', priority & 7, String(text));
    };

    /**
     * Sends the whole program's log to syslog from now on.
     * @param {string} [ident="mailfilter"]
     * @param {number} [facility=Sys.LOG_MAIL]
     */
    Sys.openlog = function (ident, facility) {
        host.now('log.open', ident === undefined ? 'mailfilter' : String(ident),
            facility === undefined ? Sys.LOG_MAIL : facility & Sys.LOG_FACMASK);
    };

    /**
     * Kept for policies of the predecessor, which had its SQL drivers in modules.
     * @param {string} name
     * @throws {Error} for a name that is none of the known modules
     */
    Sys.loadModule = function (name) {
        if (!/^mod_(sql|sqlite|mysql|pgsql|postgresql)\.so$/.test(String(name))) {
            throw new Error("no module '" + name + "': everything the program has is there without loading");
        }
    };

    /** Writes its arguments to standard output, without separators. */
    Sys.print = function () {
        var text = '', k;
        for (k = 0; k < arguments.length; k++) {
            text += String(arguments[k]);
        }
        host.now('sys.print', text);
    };

    /** Like print, and a line feed. */
    Sys.println = function () {
        var text = '', k;
        for (k = 0; k < arguments.length; k++) {
            text += String(arguments[k]);
        }
        host.now('sys.print', text + '\n');
    };

    global.Sys = Sys;
}(this.host, this));
