/*
 * SmtpServer.prototype.receivedHeader: the trace field of a message. There only for policies that name it.
 */
(function (host, global) {
    'use strict';

    var SmtpServer = global.SmtpServer, wait = host.wait, now = host.now, newHeader = host.newHeader;

    function text(value) {
        return typeof value === 'string' ? value : String(value);
    }

    /* RFC 3848 and RFC 6531 §4.3: how the message came. They have no word for HELO with TLS. */
    function withWhat(server) {
        var name = server.proto;
        if (name === 'ESMTP') {
            name = server.sender && server.sender.params.SMTPUTF8 ? 'UTF8SMTP' : name;
            name += (server.tls ? 'S' : '') + (server.authenticated ? 'A' : '');
        }
        return name;
    }

    /**
     * A Received header for the running message (RFC 5321 §4.4).
     * @param {string} [id]  default: the session's identifier
     * @param {string|SmtpPath} [recipient]  for the "for" clause; give it only where there is one recipient
     * @returns {SmtpHeader}
     */
    SmtpServer.prototype.receivedHeader = function (id, recipient) {
        var told = this.xclient, address = this.remoteAddr, from = this.clientname,
            name = told && told.NAME !== undefined ? told.NAME : address === 'local' ? null : wait(['dns.reverse', address]);
        return newHeader('Received', now('trace.received', text(this.hostname), from === null ? null : text(from),
            name === null ? null : text(name), text(address), withWhat(this),
            id === undefined || id === null ? this.sessionId : text(id),
            recipient === undefined || recipient === null ? null : text(recipient)));
    };
}(this.host, this));
