/*
 * A transparent proxy: every command goes to the next hop, every reply comes back to the client at the step
 * where it happened. Nothing is queued; a message is accepted when the next hop has accepted it.
 *
 * Settings:
 *   nextHop   host:port, [IPv6]:port or unix:/path of the mail server behind (needed)
 *   received  whether to add a Received header (true)
 *   nextHopTls   off, opportunistic, required or verified (off)
 *   nextHopCa   file or folder of the CAs for verified; the system's when not set
 *   nextHopFingerprint   SHA-256 of the certificate, instead of a CA
 *   nextHopLmtp   whether it speaks LMTP (false)
 *   nextHopProxyProtocol   1 or 2 to send a header of the PROXY protocol first; 0 for none (0)
 *   nextHopXclient   whether to say by XCLIENT who the client is; without it nothing is passed on (false)
 */
var nextHop = Sys.setting('nextHop').match(/^(unix:.+|\[[^\]]+\]|[^:]+)(?::(\d+))?$/);
if (!nextHop) {
    throw new Error("setting 'nextHop' must be host:port, [IPv6]:port or unix:/path");
}
var nextHost = nextHop[1].replace(/^\[|\]$/g, ''), nextPort = nextHop[2] === undefined ? 25 : Number(nextHop[2]);
var addReceived = Sys.setting('received', true);
var tls = {
    mode: Sys.setting('nextHopTls', 'off'), ca: Sys.setting('nextHopCa', '') || null,
    fingerprint: Sys.setting('nextHopFingerprint', '') || null
};
if (['off', 'opportunistic', 'required', 'verified'].indexOf(tls.mode) < 0) {
    throw new Error("setting 'nextHopTls' must be off, opportunistic, required or verified");
}
if (tls.mode !== 'verified' && (tls.ca !== null || tls.fingerprint !== null)) {
    throw new Error("settings 'nextHopCa' and 'nextHopFingerprint' need 'nextHopTls' to be verified");
}
var options = {}, proxyProtocol = Sys.setting('nextHopProxyProtocol', 0);     // every connection is told them: no more than is set
if ([0, 1, 2].indexOf(proxyProtocol) < 0) {
    throw new Error("setting 'nextHopProxyProtocol' must be 0, 1 or 2");
}
if (proxyProtocol !== 0) {
    options.proxyProtocol = proxyProtocol;
}
if (Sys.setting('nextHopLmtp', false)) {
    options.lmtp = true;
}
var xclient = Sys.setting('nextHopXclient', false);
/* Something must be arranged with the next hop that only EHLO makes possible. */
var needsHello = tls.mode !== 'off' || options.lmtp || xclient;

/* Calls a method of the next hop's client. When that goes wrong the connection is left for good. */
SmtpServer.prototype.withNextHop = function (method, first, second) {
    try {
        return this.smtpClient[method](first, second);
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

/* Sends a command and gives the next hop's reply. */
SmtpServer.prototype.relayCmd = function (verb, args) {
    try {
        return this.smtpClient.exchange(verb, args);
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

/* Connects, and gives the greeting. */
SmtpServer.prototype.openNextHop = function () {
    var client = new SmtpClient(nextHost, nextPort, options);
    this.left = false;
    this.smtpClient = client;
    try {
        return client.greeting();
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.leaveNextHop = function () {
    this.smtpClient.disconnect();
    this.left = true;
};

/* EHLO with all that belongs to it. Opportunistic TLS that fails is left out on a new connection. */
SmtpServer.prototype.greetNextHop = function (hostname) {
    var arranged = {name: this.hostname, tls: tls, xclient: xclient ? SmtpClient.about(this, hostname) : null}, response;
    try {
        return this.smtpClient.hello(arranged);
    } catch (lost) {
        this.leaveNextHop();
        if (tls.mode !== 'opportunistic' || lost.message.indexOf('TLS handshake') !== 0) {
            throw lost;
        }
    }
    response = this.openNextHop();
    if (response.code !== 220) {
        return response;
    }
    arranged.tls = {mode: 'off', ca: null, fingerprint: null};
    return this.withNextHop('hello', arranged);
};

/* After we had to leave the next hop in the middle of something: begin anew with it. Null when that has worked. */
SmtpServer.prototype.returnToNextHop = function (hostname) {
    var response = this.openNextHop();
    if (response.code === 220) {
        response = this.proto === 'SMTP' && !needsHello ? this.relayCmd('HELO', this.hostname) : this.greetNextHop(hostname);
    }
    if (response.code >= 400) {
        this.leaveNextHop();
        return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + response.code);
    }
    return null;
};

SmtpServer.prototype.smtpInit = function () {
    return this.openNextHop();
};

SmtpServer.prototype.smtpHelo = function (hostname) {
    var response;
    if (!needsHello) {
        return this.relayCmd('HELO', this.hostname);
    }
    response = this.greetNextHop(hostname);
    return response.code < 300 ? new SmtpResponse(250, this.hostname) : response;
};

/* What the next hop offers is announced, as far as both of us can do it. */
SmtpServer.prototype.smtpEhlo = function (hostname) {
    var response = this.greetNextHop(hostname);
    if (response.code < 300 && options.lmtp) {
        response.message.push('PRDR');          /* it has a reply for each recipient */
    }
    return response;
};

SmtpServer.prototype.smtpMail = function (path) {
    return this.left && this.returnToNextHop(this.clientname) || this.withNextHop('mail', path);
};

SmtpServer.prototype.smtpRcpt = function (path) {
    if (options.lmtp && this.recipients.length > 0 && !this.sender.params.PRDR) {
        /* One reply to the message could not say what became of two. */
        return new SmtpResponse(451, '4.5.3 That recipient needs a transaction of its own, try again');
    }
    return this.withNextHop('rcpt', path);
};

/*
 * DATA is passed on before the client is told to go ahead, so that a refusal reaches it here. What comes in chunks goes
 * on in chunks where the next hop takes them.
 */
SmtpServer.prototype.smtpPreData = function (how) {
    this.begun = !(how === 'BDAT' && this.smtpClient.offers('CHUNKING') !== null);
    return this.begun ? this.relayCmd('DATA') : null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        this.giveUp();
        return null;
    }
    return this.passOn(headers, body);
};

/* The engine gave the message up. A next hop that waits for it can only be left. */
SmtpServer.prototype.giveUp = function () {
    if (this.begun) {
        this.leaveNextHop();
    }
};

/* Gives the next hop a message, with our Received in front, and gives its reply. */
SmtpServer.prototype.passOn = function (headers, body) {
    if (addReceived) {
        headers.unshift(this.receivedHeader());
    }
    return this.withNextHop(this.begun ? 'exchangeMessage' : 'transfer', headers, body);
};

SmtpServer.prototype.smtpRset = function () {
    return this.left ? new SmtpResponse(250, '2.0.0 Ok') : this.relayCmd('RSET');
};

SmtpServer.prototype.cleanup = function () {
    if (this.smtpClient) {
        this.smtpClient.quit();
    }
};
