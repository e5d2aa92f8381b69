/*
 * SmtpServer: one client's session as a policy sees it, with the default handler of every command.
 *
 * A policy replaces the methods of SmtpServer.prototype that it cares for. The engine makes one instance
 * for each connection and calls them by name.
 */
(function (host, global) {
    'use strict';

    /**
     * Made by the engine, once for each connection.
     * @param {string} remoteAddr  the client's address; "local" for a UNIX socket
     * @param {number} remotePort
     * @property {string} remoteAddr
     * @property {number} remotePort
     * @property {?string} clientname  what the client called itself in its last accepted HELO or EHLO
     * @property {string} proto  "SMTP" or "ESMTP", as in a Received header
     * @property {?SmtpPath} sender  of the running transaction
     * @property {SmtpPath[]} recipients  accepted so far, in order
     * @property {?string} authenticated  who the client has shown to be by AUTH; set by smtpAuth
     * @property {?Object} xclient  what a trusted client has said by XCLIENT about whom it speaks for, by attribute
     * @property {?Object} forwarded  the same of XFORWARD
     * @property {boolean} disconnect  close after the reply; every returned response overwrites it
     */
    function SmtpServer(remoteAddr, remotePort) {
        this.remoteAddr = remoteAddr;
        this.remotePort = remotePort;
        this.clientname = null;
        this.proto = 'SMTP';
        this.sender = null;
        this.recipients = [];
        this.disconnect = false;
    }

    /* Nobody, and nothing, until the program sets them on the instance. */
    SmtpServer.prototype.authenticated = null;
    SmtpServer.prototype.xclient = null;
    SmtpServer.prototype.forwarded = null;

    function respond(code, message, disconnect) {
        return new global.SmtpResponse(code, message, disconnect);
    }

    /** Our own name, in the greeting and in Received headers. A policy may set it on the prototype. */
    SmtpServer.prototype.hostname = host.now('sys.hostname');

    /** An identifier of this session, the same in every log line about it. */
    SmtpServer.prototype.sessionId = '';

    /**
     * What is known of the TLS that the client speaks at this moment; null without.
     * version ("TLSv1.3"), cipher, bits, sni (the name that the client asked for), and of the client's certificate
     * subject, fingerprint (SHA-256) and verified; null or false where it showed none. resumed: an earlier session's.
     */
    Object.defineProperty(SmtpServer.prototype, 'tls', {
        get: function () {
            return host.now('session.tls');
        },
        configurable: true
    });

    /**
     * The service extensions that the program can offer (RFC 5321 §2.2), as they stand in an EHLO reply.
     * @returns {string[]}
     */
    SmtpServer.prototype.extensions = function () {
        return host.now('session.extensions');
    };

    /**
     * The limits that hold for this session, by name. What `changes` names is changed for the rest of the session.
     * @param {Object} [changes]  numbers, or texts like '20m'
     * @returns {Object}
     */
    SmtpServer.prototype.limits = function (changes) {
        return host.now('session.limits', changes === undefined ? null : changes);
    };

    /** The same for the timeouts, in seconds. @param {Object} [changes]  @returns {Object} */
    SmtpServer.prototype.timeouts = function (changes) {
        return host.now('session.timeouts', changes === undefined ? null : changes);
    };

    /** Waits. False, at once, when as many sessions as the limit `tarpits` allows are kept waiting already. */
    SmtpServer.prototype.pause = function (seconds) {
        return host.wait(['session.pause', Number(seconds)]);
    };

    /** From now on every reply comes so many seconds later, if the tarpit has room; 0: no longer. */
    SmtpServer.prototype.tarpit = function (seconds) {
        host.now('session.tarpit', Number(seconds));
    };

    /** Whether the client has sent something before its greeting. A pause in smtpInit gives it the time to. */
    SmtpServer.prototype.talkedEarly = function () {
        return host.now('session.early');
    };

    /** Asked first: the greeting. A code of 500 and more turns the client away. */
    SmtpServer.prototype.smtpInit = function () {
        return respond(220, this.hostname + ' ESMTP');
    };

    /** HELO. @param {string} hostname  what the client calls itself */
    SmtpServer.prototype.smtpHelo = function (hostname) {
        return respond(250, this.hostname);
    };

    /**
     * EHLO. The lines after the first are service extensions: those that the program cannot do are left out
     * on the way to the client; PIPELINING, SIZE, CHUNKING and LIMITS are always there ("-CHUNKING" withholds one).
     * @param {string} hostname  what the client calls itself
     */
    SmtpServer.prototype.smtpEhlo = function (hostname) {
        return respond(250, [this.hostname].concat(this.extensions()));
    };

    /** MAIL. @param {SmtpPath} path  the sender, with its ESMTP parameters; this.sender is still null */
    SmtpServer.prototype.smtpMail = function (path) {
        return respond(250, '2.1.0 Sender ok');
    };

    /** RCPT. @param {SmtpPath} path  the recipient; not yet in this.recipients */
    SmtpServer.prototype.smtpRcpt = function (path) {
        return respond(250, '2.1.5 Recipient ok');
    };

    /**
     * The whole message has arrived; what is returned is the answer to it. A policy must say what becomes of
     * messages: without this handler they are deferred, never accepted and thrown away.
     * @param {?SmtpHeader[]} headers  a real array; null when the engine gave the message up
     * @param {?SmtpBody} body  null when the engine gave the message up (the result is not used then)
     */
    SmtpServer.prototype.smtpData = function (headers, body) {
        return headers === null ? null : respond(451, '4.3.5 This server has no handler for messages');
    };

    /** RSET. Only a success resets the transaction. */
    SmtpServer.prototype.smtpRset = function () {
        return respond(250, '2.0.0 Ok');
    };

    /** The session is over, whatever the reason; called once. The result is not used. */
    SmtpServer.prototype.cleanup = function () {
    };

    /*
     * Handlers that a policy may define and that have no default here, because without them the engine
     * answers by itself: smtpPreData(how) at DATA before 354 (a 3xx lets the message come), smtpBody(headers, body)
     * before smtpData (a 4xx or 5xx refuses the message), smtpQuit(), smtpStartTls(), smtpAuth(mechanism,
     * initialResponse), smtpNoop(text), smtpVrfy(text),
     * smtpExpn(text), smtpHelp(text), smtpUnknown(line). Returning nothing means no opinion in all of them.
     */

    global.SmtpServer = SmtpServer;
}(this.host, this));
