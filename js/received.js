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

    /* Only what a comment may hold (RFC 5322 §3.2.2); a proxy in front may have said anything. */
    function plain(value) {
        return String(value === null ? 'unknown' : value).replace(/[^A-Za-z0-9._+-]/g, '?');
    }

    /**
     * A Received header for the running message (RFC 5321 §4.4).
     * @param {string} [id]  default: the session's identifier
     * @param {string|SmtpPath} [recipient]  for the "for" clause; give it only where there is one recipient
     * @returns {SmtpHeader}
     */
    SmtpServer.prototype.receivedHeader = function (id, recipient) {
        var told = this.xclient && this.xclient.NAME !== undefined,
            name = told ? this.xclient.NAME === null ? null : plain(this.xclient.NAME) :
                this.remoteAddr === 'local' ? null : host.wait('dns.reverse', this.remoteAddr),
            address = this.remoteAddr.indexOf(':') >= 0 ? 'IPv6:' + this.remoteAddr : this.remoteAddr,
            tls = this.tls,
            by = '\tby ' + this.hostname + ' (Mailfilter) with ' + withWhat(this, tls);
        id = id === undefined || id === null ? this.sessionId : id;
        if (id !== '') {
            by += ' id ' + id;
        }
        if (tls) {
            by += '\r\n\t(version=' + plain(tls.version) + ' cipher=' + plain(tls.cipher) +
                (tls.bits === null ? '' : ' bits=' + tls.bits) + ')';
        }
        if (recipient !== undefined && recipient !== null) {
            by += '\r\n\tfor ' + recipient;
        }
        return new global.SmtpHeader('Received', [
            'from ' + (this.clientname === null ? 'unknown' : this.clientname.replace(/[^A-Za-z0-9._:\[\]-]/g, '?')) +
                ' (' + (name === null ? 'unknown' : name) + ' [' + address + '])'
        ].concat((by + ';').split('\r\n'), ['\t' + host.now('sys.date')]));
    };
}(this.host, this));
