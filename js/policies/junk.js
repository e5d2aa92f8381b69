/*
 * Is this junk? Viruses, spam, forged senders and listed clients, found with a few look-ups; what becomes of such messages is
 * the policy's business. mark and filter use it; mx has more of everything.
 *
 * A module, no policy by itself:
 *
 *     var junk = require('mailfilter/policies/junk');
 *
 *     SmtpServer.prototype.smtpData = function (headers, body) {
 *         var found = headers === null ? null : junk.judge(this, headers, body);
 *         ...
 *
 * Settings. Each look-up can be switched off by an empty setting:
 *   clamav   clamd, as host:port, [IPv6]:port or unix:/path (127.0.0.1:3310)
 *   spamassassin   spamd, likewise (127.0.0.1:783)
 *   spamassassinUser   whose preferences spamd takes; empty: those of the user that the server runs as ()
 *   scannerTimeout   seconds for one scan (60)
 *   scannerAway   what is done when a scanner does not answer: tempfail, so that the client comes again, or accept (tempfail)
 *   spf   whether the sender's domain is asked if the client may send for it (true)
 *   dnsbl   blocklists to ask about the client's address, as zen.example.org=2 with a weight after "=" (none)
 *   dnsblTimeout   seconds for all lists together; a list without an answer lists nobody (3)
 *   dnsblThreshold   the sum of weights from which a client is listed (1)
 *   nullSender   what a message with the sender <> is, which are bounces, rightly or not: spam, or ham to look on (spam)
 *   trustedClients   addresses and networks whose messages are not looked at (none)
 */
var settings = require('mailfilter/policies/settings');

var clamd = settings.server('clamav', '127.0.0.1:3310', 3310);
var spamd = settings.server('spamassassin', '127.0.0.1:783', 783);
var user = Sys.setting('spamassassinUser', '');
var options = {timeout: settings.number('scannerTimeout', 60, 1), away: settings.away('scannerAway', 'tempfail')};
var asksSpf = Sys.setting('spf', true);
var zones = settings.zones('dnsbl', '', {});
var lists = zones.length ? new Dnsbl(zones, {
    threshold: settings.number('dnsblThreshold', 1, 0), timeout: settings.number('dnsblTimeout', 3, 0.1)
}) : null;
var bounces = settings.choice('nullSender', 'spam', ['spam', 'ham']);
var trusted = settings.networks('trustedClients', '');

/* What a scanner says is in the log, whatever follows from it. */
function told(name, verdict) {
    Sys.log(Sys.LOG_INFO, name + ': ' + JSON.stringify(verdict));
    return verdict;
}

/* The kinds of what is found, by name: what a policy may do with it differs. */
function found(kind, test, reason) {
    return {kind: kind, test: test, reason: reason};
}

/* clamd is asked first: a virus is worse than spam. A message that is too large for it is not scanned, and told of as null. */
function virus(headers, body) {
    var verdict = clamd && told('ClamAV', new ClamAV(clamd.host, clamd.port, options).scan(headers, body));
    return verdict && verdict.found ? found('virus', 'clamav', 'virus ' + verdict.name) : null;
}

function spam(headers, body) {
    var verdict = spamd && told('SpamAssassin', new SpamAssassin(spamd.host, spamd.port, user || undefined, options).scan(headers, body));
    return verdict && verdict.spam ? found('spam', 'spamassassin', 'spam, score ' + verdict.score + ' of ' + verdict.required) : null;
}

/* May this client send for the sender's domain? For the null sender, the name in HELO is asked about. */
function forged(session) {
    var spf;
    if (session.sender.mailbox.domain === null && bounces === 'spam') {
        return found('spam', 'sender', 'null sender');
    }
    if (!asksSpf) {
        return null;
    }
    spf = Spf.check(session.remoteAddr, session.sender, session.clientname || '');
    Sys.log(Sys.LOG_INFO, 'SPF: ' + spf.result + ' for ' + spf.domain);
    if (spf.result === 'fail') {
        return found('spam', 'spf', 'forged sender');
    }
    return spf.result === 'temperror' ? found('later', 'spf', 'the sender cannot be verified now') : null;
}

function listed(session) {
    var answer = lists && lists.check(session.remoteAddr);
    return answer && answer.listed ? found('spam', 'dnsbl', 'listed by ' + answer.hits.map(function (hit) { return hit.zone; }).join(', ')) :
        null;
}

/**
 * Looks at a message. Waits.
 * @param {SmtpServer} session
 * @param {SmtpHeader[]} headers
 * @param {SmtpBody} body
 * @returns {?{kind: string, test: string, reason: string}} null: nothing was found. kind: virus, spam, or later, when it cannot be
 *     said now; test: what found it (clamav, spamassassin, sender, spf, dnsbl); reason: in words
 */
exports.judge = function (session, headers, body) {
    if (session.remoteAddr === 'local' || session.authenticated || trusted.has(session.remoteAddr)) {
        return null;
    }
    return virus(headers, body) || spam(headers, body) || forged(session) || listed(session);
};
