/*
 * A mail exchanger: accepts mail for your domains and refuses to relay for anybody else. It stands in front of a mail server, or
 * delivers itself.
 *
 * What it does in which order is below; how each thing is done, and what can be set there, stands in the modules beside this file:
 * clients (who comes), authenticate (who sent it), content (what is in it), score (what follows), onward (where it goes).
 * Whatever asks a service is off until its setting is there. All settings: docs/mx.md.
 *
 * Settings of this file:
 *   domains   the domains to accept mail for, with commas, blanks or line ends between them (needed)
 *   recipientMap   a map (.hash, .regexp) of the addresses that exist: user@domain, or @domain for all in it (not where each
 *     user has a Maildir); behind one may stand "reject" or "defer" and words for the client. Empty: every address in the domains exists
 *   recipientDelimiter   what parts a user's name from what the user adds to it, as in user+lists@example.org; empty: nothing does (+)
 */
var settings = require('mailfilter/policies/settings');
var authenticate = require('mailfilter/policies/authenticate');
var Findings = require('mailfilter/policies/score').Findings;
var clients = require('mailfilter/policies/clients');
var content = require('mailfilter/policies/content');
var onward = require('mailfilter/policies/onward');

/* Our domains, as keys of an object: there may be thousands. */
var ours = Object.create(null);
settings.split(Sys.setting('domains').toLowerCase()).forEach(function (name) { ours[name] = true; });
var domains = {has: function (name) { return ours[name] === true; }};
if (!Object.keys(ours).length) {
    throw new Error("setting 'domains' is empty: give it with --set domains=example.com");
}

var recipientMap = Sys.setting('recipientMap', '') === '' ? null : Maps.load(Sys.setting('recipientMap', ''));
var delimiter = Sys.setting('recipientDelimiter', '+');
if (onward.perUser && recipientMap === null) {
    throw new Error("setting 'maildir' has {user} in it: then 'recipientMap' must say who they are");
}

/* -- who is written to -- */

/* The user of an address: its local part without quotes and without what the user adds, in small letters. */
function userOf(local) {
    var plain = local.replace(/^"(.*)"$/, '$1').replace(/\\(.)/g, '$1').toLowerCase(), at = delimiter === '' ? -1 : plain.indexOf(delimiter);
    return at > 0 ? plain.slice(0, at) : plain;
}

/* Why nobody is written to at that address; null: somebody is. */
function unknown(path, user) {
    var domain, found, wish;
    if (recipientMap === null || user === 'postmaster') {       // who is there always (RFC 5321 §4.5.1)
        return null;
    }
    domain = path.mailbox.domain.toLowerCase();
    found = recipientMap.get(user + '@' + domain);
    found = found === null && !onward.perUser ? recipientMap.get('@' + domain) : found;
    if (found === null) {
        return new SmtpResponse(550, '5.1.1 No such mailbox here');
    }
    wish = /^\s*(reject|defer)\b/i.test(found) ? clients.wish(found) : null;      // "OK" and the like mean nothing
    if (wish !== null && wish.what === 'reject') {
        return new SmtpResponse(550, '5.7.1 ' + (wish.text || 'No mail to that address'));
    }
    return wish !== null && wish.what === 'defer' ? new SmtpResponse(450, '4.7.1 ' + (wish.text || 'No mail to that address now')) : null;
}

/* -- what is known of the running transaction -- */

/* What was found so far. Another sender, another transaction. */
function findingsOf(session) {
    if (!session.found || session.found.sender !== session.sender) {
        session.found = {sender: session.sender, findings: new Findings(), looked: false};
    }
    return session.found.findings;
}

/* Client and sender are looked at when the first recipient is known to be one of ours: who asks for relaying costs nothing. */
function lookAtClient(session) {
    var findings = findingsOf(session);
    if (!session.found.looked) {
        clients.look(session, domains, findings);
        if (findings.refusal() === null) {
            authenticate.client(session, findings);
        }
        session.found.looked = true;
    }
    return findings.refusal();
}

/* -- the steps -- */

SmtpServer.prototype.smtpMail = function (path) {
    return clients.tooMany(this, path) || onward.mail(this, path);
};

SmtpServer.prototype.smtpRcpt = function (path) {
    var domain = path.mailbox.domain, user = userOf(path.mailbox.local), refused;
    if (domain === null ? user !== 'postmaster' : !domains.has(domain.toLowerCase())) {
        return new SmtpResponse(550, '5.7.1 This server accepts no mail for that address');
    }
    refused = unknown(path, user);
    if (refused === null && !clients.knows(this)) {
        refused = lookAtClient(this) || clients.recipient(this, path, findingsOf(this)) || findingsOf(this).refusal();
    }
    return refused || onward.rcpt(this, path, user);
};

/* A message that may yet be refused is not begun with the next hop, which could then only be left. */
SmtpServer.prototype.smtpPreData = function (how) {
    this.begun = false;
    return clients.knows(this) || authenticate.trusts(this) && content.idle ? onward.begin(this, how) : null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    var findings = headers === null ? null : findingsOf(this), refused;
    if (headers === null) {
        onward.giveUp(this);
        return null;
    }
    if (clients.knows(this)) {                              // mail of our own is not looked at and not changed
        headers.unshift(this.receivedHeader());
        return onward.message(this, headers, body, new Findings());
    }
    authenticate.message(this, headers, body, findings);
    headers.unshift(this.receivedHeader());                 // scanners want to see where it comes from
    if (findings.refusal() === null) {
        body = content.look(this, headers, body, findings);
    }
    refused = findings.refusal();
    Sys.log(Sys.LOG_INFO, (refused === null ? 'taken' : 'refused') + ' with ' + findings);
    if (refused !== null) {
        return refused;
    }
    findings.stamp(headers, 1);                             // below our Received
    return onward.message(this, headers, body, findings);
};

SmtpServer.prototype.smtpRset = function () {
    return onward.reset(this);
};

SmtpServer.prototype.cleanup = function () {
    onward.close(this);
};
