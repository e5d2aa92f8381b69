/*
 * A submission proxy: the mail programs of your users log in and send; everybody else is refused. Every transaction goes
 * to the mail server behind while the client waits.
 *
 * Who may log in is decided by the server behind: AUTH is passed on to it, whatever mechanism it offers. Or it is decided
 * here, when there are `users`.
 *
 * Settings:
 *   nextHop   host:port, [IPv6]:port or unix:/path of the server behind (needed)
 *   nextHopTls   off, opportunistic, required or verified (opportunistic)
 *   nextHopCa   file or folder of the CAs for verified; the system's when not set
 *   nextHopFingerprint   SHA-256 of the certificate, instead of a CA
 *   nextHopClear   whether passwords may go to it without TLS; to this machine they may (false)
 *   nextHopXclient   whether to say by XCLIENT who the client is (false)
 *   users   NAME:HASH, with blanks or line ends between them, the hashes as `openssl passwd -6` makes them: who may log
 *           in, by PLAIN and LOGIN. Best in a file: --set-file users=FILE
 *   nextHopUser   as whom to log in there when `users` are given; without it we do not
 *   nextHopPassword   the password for that
 *   senders   which sender addresses they may use: "any" (the default); "own": the address that is the name they log in
 *             with; or NAME:ADDRESS,ADDRESS,… with blanks or line ends between them, where *@DOMAIN stands for all in it.
 *             NAME * is everybody
 *   received  whether to add a Received header (true)
 */
var nextHop = Sys.setting('nextHop').match(/^(unix:.+|\[[^\]]+\]|[^:]+)(?::(\d+))?$/);
if (!nextHop) {
    throw new Error("setting 'nextHop' must be host:port, [IPv6]:port or unix:/path");
}
var host = nextHop[1].replace(/^\[|\]$/g, '');
var tls = {
    mode: Sys.setting('nextHopTls', 'opportunistic'), ca: Sys.setting('nextHopCa', '') || null,
    fingerprint: Sys.setting('nextHopFingerprint', '') || null
};
if (['off', 'opportunistic', 'required', 'verified'].indexOf(tls.mode) < 0) {
    throw new Error("setting 'nextHopTls' must be off, opportunistic, required or verified");
}
if (tls.mode !== 'verified' && (tls.ca !== null || tls.fingerprint !== null)) {
    throw new Error("settings 'nextHopCa' and 'nextHopFingerprint' need 'nextHopTls' to be verified");
}
var clear = Sys.setting('nextHopClear', false) || /^(unix:.*|127\..*|::1|localhost)$/.test(host);
var xclient = Sys.setting('nextHopXclient', false);
var addReceived = Sys.setting('received', true);

/* "a:b c:d" as an object: {'=a': 'b', '=c': 'd'}; names in small letters. */
function pairs(text, what) {
    var found = {};
    text.split(/\s+/).forEach(function (word) {
        var colon = word.indexOf(':');
        if (word === '') {
            return;
        }
        if (colon < 1) {
            throw new Error("setting '" + what + "' is a list of pairs NAME:VALUE");
        }
        found['=' + word.slice(0, colon).toLowerCase()] = word.slice(colon + 1);
    });
    return found;
}
var userList = Sys.setting('users', null), senderRule = Sys.setting('senders', 'any');
var users = userList === null ? null : pairs(userList, 'users');        /* there may be none: then nobody may */
var senders = senderRule === 'any' || senderRule === 'own' ? {} : pairs(senderRule, 'senders');
var login = users && Sys.setting('nextHopUser', '') ? {user: Sys.setting('nextHopUser'), password: Sys.setting('nextHopPassword')} : null;
/* What a name that nobody has is compared with, so that an answer takes as long as for others. Nobody knows the password. */
var nobody = '$6$nobody$' + new Array(87).join('.');

/* Mechanisms that show the password itself or what is as good, and those that are bound to the TLS they run in. */
var SHOWS = /^(PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)$/;
var BOUND = /^(EXTERNAL|ANONYMOUS|.*-PLUS)$/;

/* Whether the address is one that this user may send as. The null sender is everybody's: receipts have it. */
function maySend(name, path) {
    var box = path.mailbox, address, given;
    if (senderRule === 'any' || box.local === null) {
        return true;
    }
    address = (box.local + '@' + box.domain).toLowerCase();
    name = name.toLowerCase();
    if (senderRule === 'own') {
        return address === name;
    }
    given = ((senders['=' + name] || '') + ',' + (senders['=*'] || '')).toLowerCase().split(',');
    return given.indexOf(address) >= 0 || given.indexOf('*@' + String(box.domain).toLowerCase()) >= 0;
}

/* Does something with the next hop. When that goes wrong the connection is left for good. */
SmtpServer.prototype.withNextHop = function (work) {
    if (!this.smtpClient) {
        return new SmtpResponse(421, '4.4.2 The connection to the mail server behind was lost', true);
    }
    try {
        return work(this.smtpClient);
    } catch (lost) {
        this.leaveNextHop();
        throw lost;
    }
};

SmtpServer.prototype.leaveNextHop = function () {
    if (this.smtpClient) {
        this.smtpClient.disconnect();
    }
    this.smtpClient = null;
    this.known = false;             /* whether it has been told who the client is */
};

/* The mechanisms that the client may use, of those that the next hop offers. */
SmtpServer.prototype.mechanisms = function () {
    var client = this.smtpClient, safe = clear || client.tls !== null;
    if (users) {
        return ['PLAIN', 'LOGIN'];
    }
    return (client.offers('AUTH') || '').toUpperCase().split(' ').filter(function (name) {
        return name !== '' && !BOUND.test(name) && (safe || !SHOWS.test(name));
    });
};

/* Logs in at the next hop for ourselves. Null when that has worked. */
SmtpServer.prototype.logIn = function (client) {
    var offered = (client.offers('AUTH') || '').toUpperCase().split(' '), response,
        best = ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'PLAIN', 'LOGIN'].filter(function (name) {
            return offered.indexOf(name) >= 0;
        })[0];
    if (!best) {
        return new SmtpResponse(451, '4.7.0 The mail server behind offers no way to log in');
    }
    response = client.auth(best, login.user, login.password, {clear: clear});
    return response.code < 300 ? null : new SmtpResponse(451, '4.7.0 The mail server behind refused us: ' + response.code);
};

/* Connects, begins TLS, logs in where that is our business; the reply to EHLO, or the refusal. */
SmtpServer.prototype.openNextHop = function (hostname) {
    var response;
    this.smtpClient = new SmtpClient(host, nextHop[2] === undefined ? 587 : Number(nextHop[2]));
    response = this.withNextHop(function (client) {
        var answer = client.open({tls: tls, xclient: xclient ? SmtpClient.about(this, hostname) : null});
        return login && answer.code < 300 && this.logIn(client) || answer;
    }.bind(this));
    if (response.code >= 300) {
        this.leaveNextHop();
    }
    return response;
};

/* What is offered depends on the next hop, so it is asked first; but who cannot log in yet has no need of it. */
SmtpServer.prototype.smtpEhlo = function (hostname) {
    var response, mechanisms;
    if (!this.extensions().some(function (line) { return line.indexOf('AUTH ') === 0; })) {
        return new SmtpResponse(250, this.hostname);
    }
    if (this.smtpClient && this.known && !this.authenticated) {
        this.smtpClient.quit();         /* TLS has made the client a stranger; the next hop takes it for somebody */
        this.leaveNextHop();
    }
    response = this.smtpClient || this.authenticated && !users ?
        this.withNextHop(function (client) { return client.ehlo(); }) : this.openNextHop(hostname);
    if (response.code >= 300) {
        return new SmtpResponse(421, '4.4.1 The mail server behind refused: ' + response.code, true);
    }
    mechanisms = this.mechanisms();
    return new SmtpResponse(250, [this.hostname].concat(response.message.slice(1).filter(function (line) {
        return !/^AUTH\b/i.test(line);
    }), mechanisms.length ? ['AUTH ' + mechanisms.join(' ')] : []));
};

SmtpServer.prototype.smtpAuth = function (mechanism, initialResponse) {
    var response;
    if (users) {
        return this.decide(this.credentials(mechanism, initialResponse));
    }
    response = this.withNextHop(function (client) {
        var answer = client.relayAuth(mechanism, initialResponse);
        while (answer.code === 334) {
            if (answer.message.length !== 1) {
                throw new Error('the next hop sent a challenge of several lines');
            }
            answer = client.relayAuthLine(this.challenge(answer.message[0]));
        }
        if (answer.code >= 300 && answer.code < 400) {
            throw new Error('the next hop answered AUTH with ' + answer.code);
        }
        return answer;
    }.bind(this));
    if (response.code < 300) {
        this.known = true;
    }
    return response;
};

/* Whether name and password are those of a user. */
SmtpServer.prototype.decide = function (said) {
    var hashed, right;
    if (!said) {
        return new SmtpResponse(535, '5.7.8 Authentication failed');
    }
    hashed = users['=' + said.user.toLowerCase()];
    right = Sys.verifyPassword(said.password, hashed || nobody);
    if (!hashed || !right || said.authzid !== '' && said.authzid !== said.user) {
        return new SmtpResponse(535, '5.7.8 Authentication failed');
    }
    this.authenticated = said.user.toLowerCase();
    return new SmtpResponse(235, '2.7.0 Authentication successful');
};

SmtpServer.prototype.smtpMail = function (path) {
    var opened;
    if (!this.authenticated) {
        return new SmtpResponse(530, '5.7.0 Authentication required');
    }
    if (!maySend(this.authenticated, path)) {
        return new SmtpResponse(553, '5.7.1 You may not send as that address');
    }
    if (!this.smtpClient && users) {
        opened = this.openNextHop(this.clientname);
        if (opened.code >= 300) {
            return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + opened.code);
        }
    }
    return this.withNextHop(function (client) { return client.mail(path); });
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return this.withNextHop(function (client) { return client.rcpt(path); });
};

/* What comes in chunks goes on in chunks where the next hop takes them. */
SmtpServer.prototype.smtpPreData = function (how) {
    this.inChunks = how === 'BDAT' && !!this.smtpClient && this.smtpClient.offers('CHUNKING') !== null;
    return this.inChunks ? null : this.withNextHop(function (client) { return client.exchange('DATA'); });
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        if (!this.inChunks) {
            this.leaveNextHop();        /* it may be waiting for the message that will not come */
        }
        return null;
    }
    if (addReceived) {
        headers.unshift(this.receivedHeader());
    }
    return this.withNextHop(function (client) {
        if (!this.inChunks) {
            return client.exchangeMessage(headers, body);
        }
        client.sendChunks(headers, body);
        return client.readMessageResponse();
    }.bind(this));
};

SmtpServer.prototype.smtpRset = function () {
    return !this.smtpClient ? new SmtpResponse(250, '2.0.0 Ok') :
        this.withNextHop(function (client) { return client.exchange('RSET'); });
};

/* Nobody is told whether an address exists. */
SmtpServer.prototype.smtpVrfy = function () {
    return new SmtpResponse(252, '2.5.0 Cannot verify, send mail and see');
};

SmtpServer.prototype.cleanup = function () {
    if (this.smtpClient) {
        this.smtpClient.quit();
    }
};
