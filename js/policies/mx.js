/*
 * A mail exchanger: accepts mail for your domains and refuses to relay for anybody else. It delivers into a
 * Maildir, or passes every transaction on to the mail server behind while the client waits. Senders are checked by
 * mailfilter/policies/authenticate, which has settings of its own.
 *
 * Settings:
 *   domains   the domains to accept mail for, separated by commas (needed)
 *   maildir   folder of the Maildir to deliver into
 *   quarantine   folder of the Maildir for messages that are not for the inbox (Junk)
 *   nextHop   host:port, [IPv6]:port or unix:/path of the server behind; used instead of the Maildir
 *   nextHopTls   off, opportunistic, required or verified (off)
 *   nextHopCa   file or folder of the CAs for verified; the system's when not set
 *   nextHopFingerprint   SHA-256 of the certificate, instead of a CA
 *   nextHopLmtp   whether it speaks LMTP (false)
 *   nextHopReuse   whether a connection to it is kept for the next session (false)
 */
var authenticate = require('mailfilter/policies/authenticate');

var domains = Sys.setting('domains').toLowerCase().split(/[\s,]+/).filter(function (name) { return name !== ''; });
var maildir = Sys.setting('maildir', '');
var quarantine = Sys.setting('quarantine', 'Junk');
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

var opening = {
    tls: {
        mode: Sys.setting('nextHopTls', 'off'), ca: Sys.setting('nextHopCa', '') || null,
        fingerprint: Sys.setting('nextHopFingerprint', '') || null
    },
    reuse: Sys.setting('nextHopReuse', false)
};
if (['off', 'opportunistic', 'required', 'verified'].indexOf(opening.tls.mode) < 0) {
    throw new Error("setting 'nextHopTls' must be off, opportunistic, required or verified");
}
if (opening.tls.mode !== 'verified' && (opening.tls.ca !== null || opening.tls.fingerprint !== null)) {
    throw new Error("settings 'nextHopCa' and 'nextHopFingerprint' need 'nextHopTls' to be verified");
}
var lmtp = Sys.setting('nextHopLmtp', false);

SmtpServer.prototype.smtpMail = function (path) {
    if (!nextHop) {
        return new SmtpResponse(250, '2.1.0 Sender ok');
    }
    var opened = this.openNextHop();
    return opened || this.withNextHop(function (client) { return client.mail(path); });
};

SmtpServer.prototype.smtpRcpt = function (path) {
    var domain = path.mailbox.domain, local = path.mailbox.local, refused;
    if (domain === null ? local.toLowerCase() !== 'postmaster' : domains.indexOf(domain.toLowerCase()) < 0) {
        return new SmtpResponse(550, '5.7.1 This server accepts no mail for that address');
    }
    refused = authenticate.client(this);
    if (refused !== null) {
        return refused;
    }
    if (!nextHop) {
        return new SmtpResponse(250, '2.1.5 Recipient ok');
    }
    if (lmtp && this.recipients.length > 0) {
        /* One reply to the message could not say what became of two. */
        return new SmtpResponse(451, '4.5.3 That recipient needs a transaction of its own, try again');
    }
    return this.withNextHop(function (client) { return client.rcpt(path); });
};

SmtpServer.prototype.smtpPreData = function (how) {
    this.inChunks = nextHop && how === 'BDAT' && !!this.smtpClient && this.smtpClient.offers('CHUNKING') !== null;
    /* A message that may yet be refused is not begun with the next hop, which could then only be left. */
    this.begun = nextHop && !this.inChunks && authenticate.trusts(this);
    return this.begun ? this.relay('DATA') : null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    var verdict;
    if (headers === null) {
        if (this.begun) {
            this.leaveNextHop();    /* it is waiting for the message that will not come */
        }
        return null;
    }
    verdict = authenticate.message(this, headers, body);
    if (verdict.response !== null) {
        return verdict.response;
    }
    if (nextHop) {
        headers.unshift(this.receivedHeader());
        return this.withNextHop(function (client) {
            if (!this.begun) {
                return client.transfer(headers, body);
            }
            client.sendMessage(headers, body);
            return client.readMessageResponse();
        }.bind(this));
    }
    /* Final delivery: our Return-Path is the only one (RFC 5321 §4.4). */
    headers = headers.filter(function (header) { return header.name.toLowerCase() !== 'return-path'; });
    headers.unshift(new SmtpHeader('Return-Path', this.sender.toString()), this.receivedHeader());
    new Maildir(maildir).deliver(headers, body, verdict.quarantine === null ? null : quarantine);
    return new SmtpResponse(250, '2.0.0 Delivered as ' + this.sessionId);
};

SmtpServer.prototype.smtpRset = function () {
    return this.smtpClient ? this.relay('RSET') : new SmtpResponse(250, '2.0.0 Ok');
};

SmtpServer.prototype.cleanup = function () {
    if (this.smtpClient && !(opening.reuse && this.smtpClient.release())) {
        this.smtpClient.quit();
    }
};

/* Does something with the next hop; when that goes wrong the connection is left. */
SmtpServer.prototype.withNextHop = function (work) {
    if (!this.smtpClient) {
        return new SmtpResponse(451, '4.4.2 The connection to the mail server behind was lost');
    }
    try {
        return work(this.smtpClient);
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.relay = function (verb, args) {
    return this.withNextHop(function (client) {
        client.sendCommand(verb, args);
        return client.readResponse();
    });
};

/* Connects and says EHLO, once for the session. Returns a response only when that was refused. */
SmtpServer.prototype.openNextHop = function () {
    var client, response;
    if (this.smtpClient) {
        return null;
    }
    client = new SmtpClient(nextHop[1].replace(/^\[|\]$/g, ''), nextHop[2] === undefined ? 25 : Number(nextHop[2]), {lmtp: lmtp});
    response = client.open(opening);
    if (response.code >= 400) {
        return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + response.code + ' ' + response.message[0]);
    }
    this.smtpClient = client;
    return null;
};

SmtpServer.prototype.leaveNextHop = function () {
    if (this.smtpClient) {
        this.smtpClient.disconnect();
        this.smtpClient = null;
    }
};
