/*
 * A mail exchanger: accepts mail for your domains and refuses to relay for anybody else. It delivers into a
 * Maildir, or passes every transaction on to the mail server behind while the client waits.
 *
 * Settings:
 *   domains   the domains to accept mail for, separated by commas (needed)
 *   maildir   folder of the Maildir to deliver into
 *   nextHop   host:port, [IPv6]:port or unix:/path of the server behind; used instead of the Maildir
 */
var domains = Sys.setting('domains').toLowerCase().split(/[\s,]+/).filter(function (name) { return name !== ''; });
var maildir = Sys.setting('maildir', '');
var behind = Sys.setting('nextHop', '');

if (!domains.length) {
    throw new Error("setting 'domains' is empty: give it with --set domains=example.com");
}
if (maildir === '' && behind === '') {
    throw new Error("where should mail go? Give --set maildir=FOLDER or --set nextHop=HOST:PORT");
}
var nextHop = behind.match(/^(unix:.+|\[[^\]]+\]|[^:]+)(?::(\d+))?$/);    /* null: there is none */
if (behind !== '' && !nextHop) {
    throw new Error("setting 'nextHop' must be host:port, [IPv6]:port or unix:/path");
}

SmtpServer.prototype.smtpMail = function (path) {
    if (!nextHop) {
        return new SmtpResponse(250, '2.1.0 Sender ok');
    }
    var opened = this.openNextHop();
    return opened || this.relay('MAIL', 'FROM:' + path + path.parameters(this.passedOn));
};

SmtpServer.prototype.smtpRcpt = function (path) {
    var domain = path.mailbox.domain, local = path.mailbox.local;
    if (domain === null ? local.toLowerCase() !== 'postmaster' : domains.indexOf(domain.toLowerCase()) < 0) {
        return new SmtpResponse(550, '5.7.1 This server accepts no mail for that address');
    }
    if (!nextHop) {
        return new SmtpResponse(250, '2.1.5 Recipient ok');
    }
    return this.relay('RCPT', 'TO:' + path);
};

SmtpServer.prototype.smtpPreData = function () {
    return nextHop ? this.relay('DATA') : null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        this.leaveNextHop();        /* it may be waiting for the message that will not come */
        return null;
    }
    if (nextHop) {
        headers.unshift(this.receivedHeader());
        try {
            this.smtpClient.sendMessage(headers, body);
            return this.smtpClient.readResponse();
        } catch (lost) {
            this.leaveNextHop();
            throw lost;
        }
    }
    /* Final delivery: our Return-Path is the only one (RFC 5321 §4.4). */
    headers = headers.filter(function (header) { return header.name.toLowerCase() !== 'return-path'; });
    headers.unshift(new SmtpHeader('Return-Path', this.sender.toString()), this.receivedHeader());
    new Maildir(maildir).deliver(headers, body);
    return new SmtpResponse(250, '2.0.0 Delivered as ' + this.sessionId);
};

SmtpServer.prototype.smtpRset = function () {
    return this.smtpClient ? this.relay('RSET') : new SmtpResponse(250, '2.0.0 Ok');
};

SmtpServer.prototype.cleanup = function () {
    if (this.smtpClient) {
        try {
            this.relay('QUIT');
        } catch (gone) {
            /* It has left before us. */
        }
        this.leaveNextHop();
    }
};

SmtpServer.prototype.relay = function (verb, args) {
    if (!this.smtpClient) {
        return new SmtpResponse(451, '4.4.2 The connection to the mail server behind was lost');
    }
    try {
        this.smtpClient.sendCommand(verb, args);
        return this.smtpClient.readResponse();
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

/* Connects and says EHLO, once for the session. Returns a response only when that was refused. */
SmtpServer.prototype.openNextHop = function () {
    var client, response;
    if (this.smtpClient) {
        return null;
    }
    client = new SmtpClient(nextHop[1].replace(/^\[|\]$/g, ''), nextHop[2] === undefined ? 25 : Number(nextHop[2]));
    client.connect();
    response = client.readResponse();
    if (response.code === 220) {
        client.sendCommand('EHLO', this.hostname);
        response = client.readResponse();
        if (response.code >= 500) {
            client.sendCommand('HELO', this.hostname);
            response = client.readResponse();
        }
    }
    if (response.code >= 400) {
        client.disconnect();
        return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + response.code + ' ' + response.message[0]);
    }
    this.passedOn = [];
    response.message.forEach(function (line) {
        var keyword = line.toUpperCase().split(' ')[0];
        if (keyword === 'SIZE') {
            this.passedOn.push('SIZE');
        } else if (keyword === '8BITMIME') {
            this.passedOn.push('BODY');
        }
    }, this);
    this.smtpClient = client;
    return null;
};

SmtpServer.prototype.leaveNextHop = function () {
    if (this.smtpClient) {
        this.smtpClient.disconnect();
        this.smtpClient = null;
    }
};
