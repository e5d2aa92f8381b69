/*
 * A transparent proxy: every command goes to the next hop, every reply comes back to the client at the step
 * where it happened. Nothing is queued; a message is accepted when the next hop has accepted it.
 *
 * Settings:
 *   nextHop   host:port, [IPv6]:port or unix:/path of the mail server behind (needed)
 *   received  whether to add a Received header (true)
 */
var nextHop = Sys.setting('nextHop').match(/^(unix:.+|\[[^\]]+\]|[^:]+)(?::(\d+))?$/);
if (!nextHop) {
    throw new Error("setting 'nextHop' must be host:port, [IPv6]:port or unix:/path");
}
var addReceived = Sys.setting('received', true);

/* Sends a command and gives the next hop's reply. When that cannot be had the connection is left for good. */
SmtpServer.prototype.relayCmd = function (verb, args) {
    try {
        this.smtpClient.sendCommand(verb, args);
        return this.smtpClient.readResponse();
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.openNextHop = function () {
    this.left = false;
    this.smtpClient = new SmtpClient(nextHop[1].replace(/^\[|\]$/g, ''), nextHop[2] === undefined ? 25 : Number(nextHop[2]));
    try {
        this.smtpClient.connect();
        return this.smtpClient.readResponse();
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.leaveNextHop = function () {
    this.smtpClient.disconnect();
    this.left = true;
};

SmtpServer.prototype.smtpInit = function () {
    return this.openNextHop();
};

SmtpServer.prototype.smtpHelo = function (hostname) {
    return this.relayCmd('HELO', this.hostname);
};

SmtpServer.prototype.smtpEhlo = function (hostname) {
    return this.relayCmd('EHLO', this.hostname);
};

SmtpServer.prototype.smtpMail = function (path) {
    var response;
    if (this.left) {
        /* We had to leave the next hop in the middle of something: begin anew with it. */
        response = this.openNextHop();
        if (response.code === 220) {
            response = this.relayCmd(this.proto === 'ESMTP' ? 'EHLO' : 'HELO', this.hostname);
        }
        if (response.code >= 400) {
            this.leaveNextHop();
            return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + response.code);
        }
    }
    return this.relayCmd('MAIL', 'FROM:' + path + path.parameters());
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return this.relayCmd('RCPT', 'TO:' + path + path.parameters());
};

/* DATA is passed on before the client is told to go ahead, so that a refusal reaches it here. */
SmtpServer.prototype.smtpPreData = function () {
    return this.relayCmd('DATA');
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        /* The engine gave the message up. The next hop waits for it and can only be left. */
        this.leaveNextHop();
        return null;
    }
    if (addReceived) {
        headers.unshift(this.receivedHeader());
    }
    try {
        this.smtpClient.sendMessage(headers, body);
        return this.smtpClient.readResponse();
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.smtpRset = function () {
    return this.left ? new SmtpResponse(250, '2.0.0 Ok') : this.relayCmd('RSET');
};

SmtpServer.prototype.cleanup = function () {
    if (this.smtpClient && !this.left) {
        try {
            this.relayCmd('QUIT');
        } catch (gone) {
            /* It has left before us. */
        }
        this.smtpClient.disconnect();
    }
};
