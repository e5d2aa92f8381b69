/*
 * Who comes here, and how: what can be said of a client, its name in HELO and its sender before there is a message. Maps of the
 * administrator, the form of names, the DNS, rates, and greylisting. Everything is off until it is set.
 *
 * A module, for mx and for your own; it puts what it finds into Findings (mailfilter/policies/score).
 *
 * Settings. A consequence is reject, defer, quarantine, mark, none, or a number of points. A map is a file that Maps can load, in a
 * folder of the setting mapDirectory; what stands behind an entry is a consequence, and after reject and defer the words
 * for the client: "192.0.2.0/24 reject Go away". Maps:
 *   clientMap   addresses and networks (.cidr). Here "allow" makes a client one of ours, of which nothing is checked
 *   nameMap   names of clients, as far as they lead back to the address (.domains, .hash, .regexp); "allow" as in clientMap
 *   heloMap   names in HELO (.domains, .hash, .regexp)
 *   senderMap   senders: addresses without brackets, "<>" for none (.hash, .domains, .regexp)
 * Consequences:
 *   heloForged   the client says HELO with our name, or one of our domains (none)
 *   heloAddress   it says HELO with an address without brackets, or with one that is not its own (none)
 *   heloUnqualified   with a name without a dot (none)
 *   heloUnknown   with a name that the DNS does not know (none)
 *   heloMismatch   with a name that does not lead to its address (none)
 *   earlyTalker   it talks before it is greeted; needs the timeout greeting_delay (none)
 *   senderUnknown   the sender's domain does not exist, or takes no mail (none)
 *   senderOurs   the sender's domain is one of ours (none)
 *   bounceToMany   the null sender, with more than one recipient (none)
 * Rates, as 100/1h: so many within s, m, h or d. Who is over them reads 450:
 *   rateAddress   messages of one address (no limit)
 *   rateNetwork   messages of one network, /24 or /48 (no limit)
 *   rateSender   messages with one sender (no limit)
 *   rateRecipients   recipients of messages of one address (no limit)
 * Greylisting: a client that nobody knows is asked to come again.
 *   greylist   whether there is any (false)
 *   greylistFrom   only for messages with so many points or more by then (no such condition)
 *   greylistDelay   seconds until it may pass (300)
 *   greylistKeep   days for which it is known then (36)
 *   greylistAutoAllow   after so many that passed, the whole network does; 0: never (5)
 *   greylistSpf   whether a client passes for which SPF says pass (true)
 *   storeAway   when the store of rates and greylisting is away: accept, as if there were none, or tempfail (accept)
 */
var settings = require('mailfilter/policies/settings');
var authenticate = require('mailfilter/policies/authenticate');

function mapOf(name, text) {
    return text === '' ? null : Maps.load(text);
}
var clientMap = mapOf('clientMap', Sys.setting('clientMap', ''));
var nameMap = mapOf('nameMap', Sys.setting('nameMap', ''));
var heloMap = mapOf('heloMap', Sys.setting('heloMap', ''));
var senderMap = mapOf('senderMap', Sys.setting('senderMap', ''));

var helo = {
    forged: settings.consequence('heloForged', 'none'),
    address: settings.consequence('heloAddress', 'none'),
    unqualified: settings.consequence('heloUnqualified', 'none'),
    unknown: settings.consequence('heloUnknown', 'none'),
    mismatch: settings.consequence('heloMismatch', 'none')
};
var earlyTalker = settings.consequence('earlyTalker', 'none');
var senderUnknown = settings.consequence('senderUnknown', 'none');
var senderOurs = settings.consequence('senderOurs', 'none');
var bounceToMany = settings.consequence('bounceToMany', 'none');

/* Rates and greylisting keep their counts in the store, which all workers share. */
var shared = null;
function store() {
    shared = shared || Store.open(undefined, {away: settings.away('storeAway', 'accept')});
    return shared;
}

var UNITS = {s: 1, m: 60, h: 3600, d: 86400};
function rate(setting, text) {
    var found = text.trim().match(/^(\d+)\s*\/\s*(\d+)?\s*([smhd])$/);
    if (text.trim() === '') {
        return null;
    }
    if (!found) {
        throw new Error("setting '" + setting + "' is '" + text + "'; it must be as 100/1h: so many within s, m, h or d");
    }
    return new RateLimit(setting, {most: +found[1], seconds: (found[2] === undefined ? 1 : +found[2]) * UNITS[found[3]], store: store()});
}
var rates = {
    address: rate('rateAddress', Sys.setting('rateAddress', '')),
    network: rate('rateNetwork', Sys.setting('rateNetwork', '')),
    sender: rate('rateSender', Sys.setting('rateSender', '')),
    recipients: rate('rateRecipients', Sys.setting('rateRecipients', ''))
};

var greylistFrom = settings.number('greylistFrom', 0, 0);
var greylistAll = Sys.setting('greylist', false);
var greylist = new Greylist({
    delay: settings.number('greylistDelay', 300, 0), keep: settings.number('greylistKeep', 36, 1) * 86400,
    autoAllow: settings.number('greylistAutoAllow', 5, 0), spf: Sys.setting('greylistSpf', true), store: null
});

/* -- maps -- */

/** What stands behind an entry of a map: a consequence, `allow`, and words for the client; null when it is none of that. */
exports.wish = function (value) {
    var found = value === null ? null : value.trim().match(/^(allow|reject|defer|quarantine|mark|none|[+-]?\d+(?:\.\d+)?)(?:\s+(.*))?$/i);
    if (value !== null && !found) {
        Sys.log(Sys.LOG_WARNING, "a map says '" + value + "', which is no consequence");
    }
    if (!found) {
        return null;
    }
    return /^[+-]?\d/.test(found[1]) ? {what: 'points', points: Number(found[1]), text: found[2]} :
        {what: found[1].toLowerCase(), points: 0, text: found[2]};
};

/* Looks a key up; what is found goes into findings. True: the client is allowed. */
function consult(map, key, name, text, findings) {
    var found = map === null || !key ? null : exports.wish(map.get(key));
    if (found !== null && found.what !== 'allow') {
        findings.add(name, found, found.text ? '5.7.1 ' + found.text : text);
    }
    return found !== null && found.what === 'allow';
}

/* -- tests -- */

function sameAddress(one, other) {
    return Dns.revAddr(one) !== null && Dns.revAddr(one) === Dns.revAddr(other);
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" without what is around the address; null for a name. */
function literal(name) {
    var found = name.match(/^\[(?:IPv6:)?([^\]]*)\]$/i);
    return found ? found[1] : null;
}

/* What can be said of a name in HELO without asking anybody. True: it may be asked about. */
function formOfHelo(name, session, domains, findings) {
    var inside = literal(name), small = name.toLowerCase().replace(/\.$/, '');
    if (inside !== null || Dns.revAddr(name) !== null) {
        if (inside === null || !sameAddress(inside, session.remoteAddr)) {
            findings.add('helo-address', helo.address, '5.7.1 HELO with an address that is not yours');
        }
        return false;
    }
    if (small === session.hostname.toLowerCase() || domains.has(small)) {
        findings.add('helo-forged', helo.forged, '5.7.1 HELO with a name that is ours');
        return false;
    }
    if (small.indexOf('.') < 0) {
        findings.add('helo-unqualified', helo.unqualified, '5.7.1 HELO with a name that is not whole');
        return false;
    }
    return true;
}

/* The addresses of a name: null when the DNS does not say it now. */
function addressesOf(name) {
    var found = [Dns.lookup(name, 'A'), Dns.lookup(name, 'AAAA')];
    return found.some(function (one) { return one.temporary; }) ? null : found[0].data.concat(found[1].data);
}

function dnsOfHelo(name, session, findings) {
    var addresses = addressesOf(name);
    if (addresses === null) {
        return;
    }
    if (!addresses.length) {
        findings.add('helo-unknown', helo.unknown, '5.7.1 HELO with a name that does not exist');
    } else if (!addresses.some(function (address) { return sameAddress(address, session.remoteAddr); })) {
        findings.add('helo-mismatch', helo.mismatch, '5.7.1 HELO with a name that does not lead to you');
    }
}

/* Whether the sender's domain could take a bounce (RFC 5321 §5.1, RFC 7505). */
function dnsOfSender(domain, findings) {
    var found = Dns.lookup(domain, 'MX'), addresses;
    if (found.temporary) {
        return;
    }
    if (found.status === 'found') {
        if (found.records.some(function (record) { return record.type === Dns.t_mx && record.exchange.replace(/\.$/, '') === ''; })) {
            findings.add('sender-unknown', senderUnknown, '5.7.27 The domain of the sender takes no mail');
        }
        return;
    }
    addresses = found.status === 'nodata' ? addressesOf(domain) : [];
    if (addresses !== null && !addresses.length) {
        findings.add('sender-unknown', senderUnknown, '5.1.8 The domain of the sender does not exist');
    }
}

/* -- for policies -- */

/**
 * Whether a client is one of ours, by the settings of authenticate or by a map. Waits, the first time. Call it in smtpMail.
 * @param {SmtpServer} session
 * @returns {boolean}
 */
exports.knows = function (session) {
    var name, found;
    if (session.asked === session.remoteAddr) {
        return authenticate.knows(session);
    }
    session.asked = session.remoteAddr;                     // XCLIENT may make it another one
    session.exempt = false;
    session.wished = null;
    if (!authenticate.knows(session)) {
        found = clientMap === null ? null : exports.wish(clientMap.get(session.remoteAddr));
        if (found === null && nameMap !== null) {
            name = Dns.iprev(session.remoteAddr).name;
            found = name === null ? null : exports.wish(nameMap.get(name));
        }
        session.wished = found;
        session.exempt = found !== null && found.what === 'allow';
    }
    return authenticate.knows(session);
};

/* Takes one from each limit; who is over one reads when to come again. */
function taken(limit, key, by) {
    var found = limit === null || key === null ? null : limit.take(key, by);
    return found === null || found.allowed ? null :
        new SmtpResponse(450, '4.7.1 Too many messages, come again in ' + found.retryAfter + ' seconds');
}

/**
 * For smtpMail: whether there are too many messages already.
 * @param {SmtpServer} session
 * @param {SmtpPath} path  the sender
 * @returns {?SmtpResponse} null: not so
 */
exports.tooMany = function (session, path) {
    var address = session.remoteAddr;
    return exports.knows(session) ? null : taken(rates.address, address) ||
        taken(rates.network, rates.network === null ? null : RateLimit.network(address, 24, 48)) ||
        taken(rates.sender, path.mailbox.domain === null ? null : path.toString().toLowerCase());
};

/**
 * For smtpRcpt: everything about client and sender, asked together. Waits; once for a transaction.
 * @param {SmtpServer} session
 * @param {{has: function(string): boolean}} domains  ours
 * @param {MailfilterFindings} findings  where to put what is found
 */
exports.look = function (session, domains, findings) {
    var name = session.clientname || '', sender = session.sender, domain = sender.mailbox.domain, tasks = [],
        address = sender.mailbox.local === null ? '<>' : sender.toString().slice(1, -1);
    if (session.wished) {
        findings.add('client-map', session.wished, '5.7.1 ' + (session.wished.text || 'No mail from ' + session.remoteAddr));
    }
    consult(heloMap, name, 'helo-map', '5.7.1 No mail from a client with that name', findings);
    consult(senderMap, address, 'sender-map', '5.7.1 No mail from that sender', findings);
    if (settings.matters(earlyTalker) && session.talkedEarly()) {
        findings.add('early-talker', earlyTalker, '5.5.1 You talk before you are greeted');
    }
    if (formOfHelo(name, session, domains, findings) && (settings.matters(helo.unknown) || settings.matters(helo.mismatch))) {
        tasks.push(function () { dnsOfHelo(name, session, findings); });
    }
    if (domain !== null && domains.has(domain.toLowerCase())) {
        findings.add('sender-ours', senderOurs, '5.7.1 Mail with our addresses comes from us');
    } else if (domain !== null && domain.charAt(0) !== '[' && settings.matters(senderUnknown)) {
        tasks.push(function () { dnsOfSender(domain, findings); });
    }
    if (tasks.length && findings.refusal() === null) {
        Sys.all(tasks);
    }
};

/**
 * For smtpRcpt, after look(): what depends on the recipient: how many there are, and greylisting. Waits.
 * @param {SmtpServer} session
 * @param {SmtpPath} path  the recipient
 * @param {MailfilterFindings} findings
 * @returns {?SmtpResponse} what puts it off; null: nothing
 */
exports.recipient = function (session, path, findings) {
    var over = taken(rates.recipients, session.remoteAddr);
    if (over !== null) {
        return over;
    }
    if (session.sender.mailbox.local === null && session.recipients.length > 0) {
        findings.add('bounce-to-many', bounceToMany, '5.5.3 A bounce has one recipient');
    }
    return greylistAll && findings.points >= greylistFrom ? exports.greylisted(session, path) : null;
};

/**
 * Asks a client that nobody knows to come again. Waits.
 * @param {SmtpServer} session
 * @param {SmtpPath} path  the recipient
 * @returns {?SmtpResponse} null: it may pass
 */
exports.greylisted = function (session, path) {
    var found;
    greylist.store = greylist.store || store();
    found = greylist.check({address: session.remoteAddr, sender: session.sender, recipient: path, helo: session.clientname || ''});
    return found.pass ? null : new SmtpResponse(451, '4.7.1 Greylisted, come again in ' + found.wait + ' seconds');
};
