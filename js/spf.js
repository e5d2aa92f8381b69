/*
 * Spf: whether an address may send mail for a domain (RFC 7208).
 *
 * Spf.check is the one to write today; SpfServer and the numbers answer as policies of the predecessor expect it.
 */
(function (host, global) {
    'use strict';

    var RESULTS = ['', 'neutral', 'pass', 'fail', 'softfail', 'none', 'temperror', 'permerror'];
    /* What pyspf says, by the number that libspf2 had for it. */
    var PROBLEMS = [
        [/two or more/i, 32], [/unknown mechanism/i, 6], [/unknown qualifier/i, 4], [/invalid ip4/i, 19], [/invalid ip6/i, 20],
        [/cidr/i, 8], [/no valid spf record for included/i, 30], [/lookups|exceeded/i, 18], [/recursion/i, 31],
        [/escape|percent/i, 11], [/domain/i, 28]
    ];
    var Spf = {
        DNS_RESOLV: 0, DNS_CACHE: 1, DNS_ZONE: 2,
        RESULT_INVALID: 0, RESULT_NEUTRAL: 1, RESULT_PASS: 2, RESULT_FAIL: 3, RESULT_SOFTFAIL: 4, RESULT_NONE: 5,
        RESULT_TEMPERROR: 6, RESULT_PERMERROR: 7,
        REASON_NONE: 0, REASON_FAILURE: 1, REASON_LOCALHOST: 2, REASON_LOCAL_POLICY: 3, REASON_MECH: 4, REASON_DEFAULT: 5,
        REASON_2MX: 6
    };
    var ERRORS = [
        'SUCCESS', 'NO_MEMORY', 'NOT_SPF', 'SYNTAX', 'MOD_W_PREF', 'INVALID_CHAR', 'UNKNOWN_MECH', 'INVALID_OPT', 'INVALID_CIDR',
        'MISSING_OPT', 'INTERNAL_ERROR', 'INVALID_ESC', 'INVALID_VAR', 'BIG_SUBDOM', 'INVALID_DELIM', 'BIG_STRING', 'BIG_MECH',
        'BIG_MOD', 'BIG_DNS', 'INVALID_IP4', 'INVALID_IP6', 'INVALID_PREFIX', 'RESULT_UNKNOWN', 'UNINIT_VAR', 'MOD_NOT_FOUND',
        'NOT_CONFIG', 'DNS_ERROR', 'BAD_HOST_IP', 'BAD_HOST_TLD', 'MECH_AFTER_ALL', 'INCLUDE_RETURNED_NONE', 'RECURSIVE',
        'MULTIPLE_RECORDS'
    ];
    for (var number = 0; number < ERRORS.length; number++) {
        Spf['E_' + ERRORS[number]] = number;
    }

    /** By the number of a result: its character and its word; there is nothing at 0. */
    Spf.resultChrMap = [];
    Spf.resultStrMap = [];
    for (number = 1; number < RESULTS.length; number++) {
        Spf.resultChrMap[number] = '?+-~XTP'.charAt(number - 1);
        Spf.resultStrMap[number] = RESULTS[number];
    }

    /* The mailbox of an SmtpPath, or a text as it is, without angle brackets. */
    function mailbox(sender) {
        if (sender === null || sender === undefined) {
            return '';
        }
        if (sender instanceof global.SmtpPath) {
            return sender.mailbox && sender.mailbox.domain ? sender.mailbox.local + '@' + sender.mailbox.domain : '';
        }
        sender = String(sender);
        return sender.charAt(0) === '<' && sender.charAt(sender.length - 1) === '>' ? sender.slice(1, -1) : sender;
    }

    function check(address, sender, helo, lax) {
        var found = host.wait(['spf.check', address, sender, helo, lax]);
        return {
            result: found[0], identity: found[1], domain: found[2], mechanism: found[3], explanation: found[4],
            problem: found[5], header: found[6], comment: found[7]
        };
    }

    /**
     * Checks whether an address may send for the domain of a sender, or for the name in HELO when there is no sender
     * (RFC 7208 §2.4). Waits.
     *
     *     var spf = Spf.check(this.remoteAddr, this.sender, this.clientname);
     *     if (spf.result === 'fail') { … }
     *
     * @param {string} address  the client's
     * @param {?(SmtpPath|string)} sender  of the envelope; null or empty for the null path
     * @param {string} [helo]  what the client called itself
     * @param {{lax: boolean}} [options]  lax: forgive a record what the standard calls an error, where its author's wish
     *     can be guessed
     * @returns {{result: string, identity: string, domain: string, mechanism: ?string, explanation: ?string,
     *     problem: ?string, header: string, comment: string}} result: "pass", "fail", "softfail", "neutral", "none",
     *     "temperror" or "permerror"; header: the value of a Received-SPF field
     */
    Spf.check = function (address, sender, helo, options) {
        return check(String(address), mailbox(sender), helo === undefined || helo === null ? '' : String(helo),
            !!options && options.lax === true);
    };

    /**
     * Checks whether an address may call itself so in HELO (RFC 7208 §2.3). Waits.
     * @param {string} address  the client's
     * @param {string} helo
     * @returns {object}  as of check
     */
    Spf.checkHelo = function (address, helo) {
        return check(String(address), '', String(helo), false);
    };

    /** What SpfServer.query returns. */
    function SpfResponse() {
    }

    /**
     * @param {number} dnsType  Spf.DNS_RESOLV, DNS_CACHE or DNS_ZONE; all use the program's resolver
     */
    function SpfServer(dnsType) {
        if (dnsType !== 0 && dnsType !== 1 && dnsType !== 2) {
            throw new Error('Invalid argument: dnsType is one of Spf.DNS_RESOLV, Spf.DNS_CACHE, Spf.DNS_ZONE');
        }
    }

    function errorOf(found) {
        if (found.result === 'none') {
            return Spf.E_NOT_SPF;
        }
        if (found.result === 'temperror') {
            return Spf.E_DNS_ERROR;
        }
        if (found.result !== 'permerror') {
            return Spf.E_SUCCESS;
        }
        for (var i = 0; i < PROBLEMS.length; i++) {
            if (PROBLEMS[i][0].test(found.problem)) {
                return PROBLEMS[i][1];
            }
        }
        return Spf.E_SYNTAX;
    }

    /**
     * Checks the MAIL FROM identity, as the predecessor did. Waits.
     * @param {string} ip  the client's address
     * @param {string} from  an address, or a domain
     * @returns {SpfResponse} result, status, errcode, reason (numbers), spfRecord, spfValue, headerComment, smtpComment,
     *     explanation, errors
     */
    SpfServer.prototype.query = function (ip, from) {
        var response = new SpfResponse(), local, found, code;
        if (ip === undefined || from === undefined || Array.prototype.slice.call(arguments).length < 2
                || host.now('dns.address', String(ip), null) === null) {
            throw new Error('Invalid argument');
        }
        ip = String(ip);
        local = /^127\./.test(ip);
        found = local ? {
            result: 'pass', mechanism: null, explanation: null, problem: null, comment: 'localhost is always allowed.',
            header: 'Pass (localhost is always allowed.) client-ip=' + ip + '; envelope-from="' +
                String(from).replace(/[^\x20-\x7e]|["\\]/g, '?') + '"'
        } : Spf.check(ip, String(from), '');
        code = errorOf(found);
        response.result = RESULTS.indexOf(found.result);
        response.status = response.errcode = code;
        response.reason = local ? Spf.REASON_LOCALHOST : found.problem !== null ? Spf.REASON_FAILURE :
            found.mechanism ? Spf.REASON_MECH : found.result === 'none' ? Spf.REASON_NONE : Spf.REASON_DEFAULT;
        response.spfValue = found.header;
        response.spfRecord = 'Received-SPF: ' + found.header;
        response.headerComment = found.comment;
        response.smtpComment = found.result === 'fail' || found.result === 'softfail' ? found.comment : null;
        response.explanation = found.explanation;
        response.errors = code === Spf.E_SUCCESS ? [] :
            [{ code: code, message: found.problem === null ? 'no SPF record' : found.problem, isError: found.problem !== null }];
        return response;
    };

    global.Spf = Spf;
    global.SpfServer = SpfServer;
    global.SpfResponse = SpfResponse;
}(this.host, this));
