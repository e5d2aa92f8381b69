/*
 * SmtpPath: a Reverse-path or Forward-path of RFC 5321 §4.1.2 with its ESMTP parameters.
 *
 * The text is taken apart by the program's one address parser (operation path.parse), so that a policy and
 * the engine never disagree about an address.
 */
(function (host, global) {
    'use strict';

    /**
     * An empty path; fill it with parse().
     *
     * @property {string[]} domains  source route, without "@" (obsolete, usually empty)
     * @property {{local: ?string, domain: ?string}} mailbox  both null for the null path `<>`; domain null for
     *     `<postmaster>`. The local part keeps the client's spelling, quotes included.
     * @property {Object} params  ESMTP parameters by upper-case keyword; true for one without a value
     */
    function SmtpPath() {
        this.domains = [];
        this.mailbox = {local: null, domain: null};
        this.params = {};
    }

    /* Takes over [local, domain, route, [keyword, value, …]] from the parser. */
    function fill(path, parts) {
        var list = parts[3], params = {}, i;
        for (i = 0; i < list.length; i += 2) {
            params[list[i]] = list[i + 1] === null ? true : list[i + 1];
        }
        path.mailbox = {local: parts[0], domain: parts[1]};
        path.domains = parts[2];
        path.params = params;
        return path;
    }

    /* A path of a command; a constructor as quick as can be. */
    function Given(parts) {
        var list = parts[3], params = {}, i;
        this.domains = parts[2];
        this.mailbox = {local: parts[0], domain: parts[1]};
        this.params = params;
        for (i = 0; i < list.length; i += 2) {
            params[list[i]] = list[i + 1] === null ? true : list[i + 1];
        }
    }
    Given.prototype = SmtpPath.prototype;

    host.know('SmtpPath', SmtpPath);
    host.know('SmtpPath.prototype', SmtpPath.prototype);

    /** For the engine: the SmtpPath of what the parser gives. The program makes most of them itself (duk_library.c). */
    host.makePath = function (parts) {
        return global.SmtpPath === SmtpPath && SmtpPath.prototype === Given.prototype ? new Given(parts) :
            fill(new global.SmtpPath(), parts);
    };

    /**
     * Takes `text` apart: `<local@domain>`, `<>`, `<postmaster>`, `<@route:local@domain>`.
     * On success domains and mailbox are replaced; params is emptied.
     * @param {string} text
     * @returns {?string} what follows the path in the text, or null when there is no path (nothing changed then)
     */
    SmtpPath.prototype.parse = function (text) {
        var parts = host.now('path.parse', String(text));
        if (parts === null) {
            return null;
        }
        fill(this, parts);
        return parts[4];
    };

    /** @returns {string} the path in angle brackets, without parameters */
    SmtpPath.prototype.toString = function () {
        var text = '<', mailbox = this.mailbox, local = mailbox.local, domain = mailbox.domain, n = this.domains.length, i;
        for (i = 0; i < n; i++) {
            text += (i ? ',@' : '@') + this.domains[i];
        }
        if (n) {
            text += ':';
        }
        if (local !== null && local !== undefined) {
            text += local;
        }
        if (domain !== null && domain !== undefined) {
            text += '@' + domain;
        }
        return text + '>';
    };

    host.know('SmtpPath.prototype.toString', SmtpPath.prototype.toString);

    /**
     * The ESMTP parameters as they follow the path in a command: `" SIZE=100 BODY=8BITMIME"`, or `""`.
     * @param {string[]} [only]  keywords to keep (upper case); default all
     * @returns {string}
     */
    SmtpPath.prototype.parameters = function (only) {
        var text = '', keyword;
        for (keyword in this.params) {
            if (Object.prototype.hasOwnProperty.call(this.params, keyword) && (!only || only.indexOf(keyword) >= 0)) {
                text += ' ' + keyword + (this.params[keyword] === true ? '' : '=' + this.params[keyword]);
            }
        }
        return text;
    };

    global.SmtpPath = SmtpPath;
}(this.host, this));
