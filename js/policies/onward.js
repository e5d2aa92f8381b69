/*
 * Where mail goes: into a Maildir, or to the server behind by SMTP or LMTP while the client waits; and into quarantine. Nothing is
 * acknowledged before it is safely there.
 *
 * A module, for mx and for your own.
 *
 * Settings:
 *   maildir   folder of the Maildir to deliver into; {domain} and {user} in it stand for those of each recipient, so that each has a
 *     Maildir of its own. The folders above must exist
 *   markFolder   folder of the Maildir for messages that are marked; empty: the inbox (Junk)
 *   quarantine   folder of the Maildir for messages in quarantine, where there is no quarantineDirectory (Junk)
 *   quarantineDirectory   where messages in quarantine are held until somebody releases them; empty: they go on, with the header
 *     X-Quarantine ()
 *   nextHop   host:port, [IPv6]:port or unix:/path of the server behind; used instead of the Maildir
 *   nextHopTls   off, opportunistic, required or verified (off)
 *   nextHopCa   file or folder of the CAs for verified; the system's when not set
 *   nextHopFingerprint   SHA-256 of the certificate, instead of a CA
 *   nextHopLmtp   whether it speaks LMTP (false)
 *   nextHopReuse   whether a connection to it is kept for the next session (false)
 */
var settings = require('mailfilter/policies/settings');
var fields = require('mailfilter/policies/headers');

var maildir = Sys.setting('maildir', '');
var markFolder = Sys.setting('markFolder', 'Junk');
var quarantineFolder = Sys.setting('quarantine', 'Junk');
var directory = Sys.setting('quarantineDirectory', '');
var spool = directory === '' ? null : new Quarantine(directory);
var nextHop = settings.server('nextHop', '', 25);
var lmtp = Sys.setting('nextHopLmtp', false);
var opening = {
    tls: {
        mode: settings.choice('nextHopTls', 'off', ['off', 'opportunistic', 'required', 'verified']),
        ca: Sys.setting('nextHopCa', '') || null, fingerprint: Sys.setting('nextHopFingerprint', '') || null
    },
    reuse: Sys.setting('nextHopReuse', false)
};

if (maildir === '' && nextHop === null) {
    throw new Error("where should mail go? Give --set maildir=FOLDER or --set nextHop=HOST:PORT");
}
if (opening.tls.mode !== 'verified' && (opening.tls.ca !== null || opening.tls.fingerprint !== null)) {
    throw new Error("settings 'nextHopCa' and 'nextHopFingerprint' need 'nextHopTls' to be verified");
}

/** Whether each user has a Maildir. */
exports.perUser = nextHop === null && maildir.indexOf('{user}') >= 0;

/* -- the server behind -- */

/* Does something with the next hop; when that goes wrong the connection is left. */
function withNextHop(session, work) {
    if (!session.smtpClient) {
        return new SmtpResponse(451, '4.4.2 The connection to the mail server behind was lost');
    }
    try {
        return work(session.smtpClient);
    } catch (lost) {
        leave(session);
        throw lost;
    }
}

function leave(session) {
    if (session.smtpClient) {
        session.smtpClient.disconnect();
        session.smtpClient = null;
    }
}

function relay(session, verb) {
    return withNextHop(session, function (client) { return client.exchange(verb); });
}

/* Connects and says EHLO, once for the session. Returns a response only when that was refused. */
function open(session) {
    var client, response;
    if (session.smtpClient) {
        return null;
    }
    client = new SmtpClient(nextHop.host, nextHop.port, {lmtp: lmtp});
    response = client.open(opening);
    if (response.code >= 400) {
        return new SmtpResponse(451, '4.4.1 The mail server behind refused: ' + response.code + ' ' + response.message[0]);
    }
    session.smtpClient = client;
    return null;
}

/* -- Maildir -- */

/* The Maildir of a recipient; null when its address makes no name of a folder. */
function maildirOf(path, user) {
    var domain = String(path.mailbox.domain === null ? 'localhost' : path.mailbox.domain).toLowerCase();
    if (maildir.indexOf('{user}') >= 0 && !/^[a-z0-9_][a-z0-9_.+=-]*$/.test(user)) {
        return null;
    }
    return maildir.replace(/\{user\}/g, user).replace(/\{domain\}/g, domain);
}

function deliver(session, headers, body, folder) {
    var places = session.places || [maildir];
    /* Final delivery: our Return-Path is the only one (RFC 5321 §4.4). */
    fields.remove(headers, ['Return-Path']);
    headers.unshift(new SmtpHeader('Return-Path', session.sender.toString()));
    places.forEach(function (place) { new Maildir(place).deliver(headers, body, folder || null); });
    return new SmtpResponse(250, '2.0.0 Delivered as ' + session.sessionId);
}

/* -- for policies: each gives the reply of that step -- */

exports.mail = function (session, path) {
    session.places = [];
    if (nextHop === null) {
        return new SmtpResponse(250, '2.1.0 Sender ok');
    }
    return open(session) || withNextHop(session, function (client) { return client.mail(path); });
};

/** `user`: what stands for {user}, in small letters. */
exports.rcpt = function (session, path, user) {
    var place;
    if (nextHop === null) {
        place = maildirOf(path, user);
        if (place === null) {
            return new SmtpResponse(553, '5.1.3 That address cannot have a mailbox here');
        }
        if (session.places.indexOf(place) < 0) {
            session.places.push(place);
        }
        return new SmtpResponse(250, '2.1.5 Recipient ok');
    }
    if (lmtp && session.recipients.length > 0) {
        /* One reply to the message could not say what became of two. */
        return new SmtpResponse(451, '4.5.3 That recipient needs a transaction of its own, try again');
    }
    return withNextHop(session, function (client) { return client.rcpt(path); });
};

/** Begins a message that nothing can refuse any more; null: nothing was begun. */
exports.begin = function (session, how) {
    var inChunks = nextHop !== null && how === 'BDAT' && !!session.smtpClient && session.smtpClient.offers('CHUNKING') !== null;
    session.begun = nextHop !== null && !inChunks;
    return session.begun ? relay(session, 'DATA') : null;
};

/** The message will not come. A next hop that waits for it can only be left. */
exports.giveUp = function (session) {
    if (session.begun) {
        leave(session);
    }
};

/**
 * Gives the message away.
 * @param {SmtpServer} session
 * @param {SmtpHeader[]} headers
 * @param {SmtpBody} body
 * @param {MailfilterFindings} findings
 * @returns {SmtpResponse}
 */
exports.message = function (session, headers, body, findings) {
    var quarantine = findings.quarantine();
    if (quarantine !== null && spool !== null) {
        return new SmtpResponse(250, '2.0.0 Held as ' + spool.hold(session, headers, body, {
            reason: quarantine, score: findings.points, symbols: findings.tests.map(function (test) {
                return {name: test.name, score: test.what === 'points' ? test.points : undefined};
            })
        }));
    }
    if (nextHop === null) {
        return deliver(session, headers, body, quarantine !== null ? quarantineFolder : findings.isMarked() ? markFolder : null);
    }
    return withNextHop(session, function (client) {
        return session.begun ? client.exchangeMessage(headers, body) : client.transfer(headers, body);
    });
};

exports.reset = function (session) {
    return session.smtpClient ? relay(session, 'RSET') : new SmtpResponse(250, '2.0.0 Ok');
};

exports.close = function (session) {
    if (session.smtpClient && !(opening.reuse && session.smtpClient.release())) {
        session.smtpClient.quit();
    }
};
