/*
 * SmtpServer.prototype.receivedHeader: the trace field of a message. There only for policies that name it.
 */
(function (host, global) {
    'use strict';

    var SmtpServer = global.SmtpServer;

    /* RFC 3848 and RFC 6531 §4.3: how the message came. They have no word for HELO with TLS. */
    function withWhat(server, tls) {
        var name = server.proto;
        if (name === 'ESMTP') {
            name = server.sender && server.sender.params.SMTPUTF8 ? 'UTF8SMTP' : name;
            name += (tls ? 'S' : '') + (server.authenticated ? 'A' : '');
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
        var told = this.xclient && this.xclient.NAME !== undefined,
            name = told ? this.xclient.NAME : this.remoteAddr === 'local' ? null : host.wait(['dns.reverse', this.remoteAddr]);
        return host.newHeader('Received', host.now('trace.received', String(this.hostname),
            this.clientname === null ? null : String(this.clientname), name === null ? null : String(name),
            String(this.remoteAddr), withWhat(this, this.tls), id === undefined || id === null ? this.sessionId : String(id),
            recipient === undefined || recipient === null ? null : String(recipient)));
    };
}(this.host, this));
