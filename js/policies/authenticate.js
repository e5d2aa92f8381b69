/*
 * Who sent this? SPF, DKIM, DMARC, ARC and blocklists for every message, asked at the same time; what was found stands in
 * one Authentication-Results header, and what the owner of the author's domain wants is done.
 *
 * A module, no policy by itself. The policy mx uses it; in a policy of your own:
 *
 *     var authenticate = require('mailfilter/policies/authenticate');
 *
 *     SmtpServer.prototype.smtpRcpt = function (path) {
 *         return authenticate.client(this) || new SmtpResponse(250, '2.1.5 Recipient ok');
 *     };
 *     SmtpServer.prototype.smtpData = function (headers, body) {
 *         var verdict = headers === null ? null : authenticate.message(this, headers, body);
 *         if (verdict === null || verdict.response !== null) {
 *             return verdict && verdict.response;
 *         }
 *         new Maildir('/var/spool/mail-in').deliver(headers, body, verdict.quarantine === null ? null : 'Junk');
 *         return new SmtpResponse(250, '2.0.0 Delivered');
 *     };
 *
 * Settings. An action is reject (550), quarantine (the message is marked and taken) or none (it is only told of):
 *   authenticate   whether senders are checked at all (true)
 *   trustedClients   addresses and networks whose mail is neither checked nor changed (127.0.0.0/8 ::1)
 *   authservId   our name in Authentication-Results (that of the server)
 *   iprev   whether the client's name is looked up and verified (true)
 *   spfHelo   whether SPF of the name in HELO is checked, too (false)
 *   spfFail   action when SPF says fail, whatever DMARC says (none)
 *   receivedSpf   whether a Received-SPF header is added (false)
 *   dnsbl   blocklists to ask about the client's address, as zen.example.org=2 with a weight after "=" (none)
 *   dnsblAllow   allow-lists: a client in one of them is on no blocklist (none)
 *   dnsblDomains   blocklists to ask about the sender's domain and the links in the message (none)
 *   dnsblLinks   how many links of a message are asked about; 0: none (20)
 *   dnsblThreshold   the sum of weights from which a client or message is listed (1)
 *   dnsblTimeout   seconds for all lists together; a list without an answer lists nobody (3)
 *   dnsblAction   action when the client's address is listed (reject)
 *   dnsblDomainsAction   action when the sender's domain or a link is listed (reject)
 *   dmarcStandard   rfc9989 or rfc7489 (rfc9989)
 *   dmarcReject   action when the owner of the author's domain wants a message rejected (reject)
 *   dmarcQuarantine   action when the owner wants it in quarantine (quarantine)
 *   dmarcAuthor   action when From does not say who the author is: none, two, or a misleading one (reject)
 *   dmarcTemporary   what is done when DMARC cannot be decided because the DNS does not answer: defer (451) or accept (defer)
 *   dmarcDatabase   file in which what DMARC said is kept for aggregate reports; empty: nowhere ()
 *   arcTrusted   domains whose ARC seals are believed: when all seals of a good chain are theirs, and the first of them saw
 *     DMARC pass, a message that fails DMARC is taken (none)
 *   quarantineHeader   header that a message in quarantine gets, with the reasons; empty: none (X-Quarantine)
 */
var enabled = Sys.setting('authenticate', true);
var trusted = networks('trustedClients', Sys.setting('trustedClients', '127.0.0.0/8 ::1'));
var authservId = Sys.setting('authservId', '');
var checksNames = Sys.setting('iprev', true);
var checksHelo = Sys.setting('spfHelo', false);
var spfFail = action('spfFail', Sys.setting('spfFail', 'none'));
var receivedSpf = Sys.setting('receivedSpf', false);
var threshold = Sys.setting('dnsblThreshold', 1);
var timeout = Sys.setting('dnsblTimeout', 3);
var addressZones = zones(Sys.setting('dnsbl', ''), {}).concat(zones(Sys.setting('dnsblAllow', ''), {allow: true}));
var addressLists = addressZones.length ? new Dnsbl(addressZones, {threshold: threshold, timeout: timeout}) : null;
var domainZones = zones(Sys.setting('dnsblDomains', ''), {domains: true});
var domainLists = domainZones.length ? new Dnsbl(domainZones, {threshold: threshold, timeout: timeout}) : null;
var links = Sys.setting('dnsblLinks', 20);
var dnsblAction = action('dnsblAction', Sys.setting('dnsblAction', 'reject'));
var dnsblDomainsAction = action('dnsblDomainsAction', Sys.setting('dnsblDomainsAction', 'reject'));
var standard = choice('dmarcStandard', Sys.setting('dmarcStandard', 'rfc9989'), ['rfc9989', 'rfc7489']);
var wanted = {
    none: 'none',
    reject: action('dmarcReject', Sys.setting('dmarcReject', 'reject')),
    quarantine: action('dmarcQuarantine', Sys.setting('dmarcQuarantine', 'quarantine'))
};
var dmarcAuthor = action('dmarcAuthor', Sys.setting('dmarcAuthor', 'reject'));
var dmarcTemporary = choice('dmarcTemporary', Sys.setting('dmarcTemporary', 'defer'), ['defer', 'accept']);
var database = Sys.setting('dmarcDatabase', '');
var arcTrusted = words(Sys.setting('arcTrusted', '').toLowerCase());
var quarantineHeader = Sys.setting('quarantineHeader', 'X-Quarantine');

if (!/^[!-9;-~]*$/.test(quarantineHeader)) {
    throw new Error("setting 'quarantineHeader' is '" + quarantineHeader + "', which is no name of a header");
}

var LINK_OCTETS = 65536;        /* of a body that are searched for links */

/* -- settings -- */

function words(text) {
    return text.split(/[\s,]+/).filter(function (word) { return word !== ''; });
}

function choice(name, text, known) {
    if (known.indexOf(text) < 0) {
        throw new Error("setting '" + name + "' is '" + text + "'; it must be " + known.join(' or '));
    }
    return text;
}

function action(name, text) {
    return choice(name, text, ['reject', 'quarantine', 'none']);
}

function zones(text, kind) {
    return words(text).map(function (word) {
        var parts = word.split('='), weight = parts.length > 1 ? Number(parts[1]) : 1;
        if (parts.length > 2 || !(weight > 0)) {
            throw new Error("'" + word + "' is no blocklist; write its domain, and if wanted a weight: zen.example.org=2");
        }
        return {zone: parts[0], weight: weight, allow: kind.allow === true, domains: kind.domains === true};
    });
}

/* An address as a text of bits, with its version in front; null when it is none. */
function bits(address) {
    var name = Dns.revAddr(address), digits;
    if (name === null) {
        return null;
    }
    digits = name.split('.');
    if (/in-addr\.arpa$/.test(name)) {
        return '4' + digits.slice(0, 4).reverse().map(function (octet) { return (256 + +octet).toString(2).slice(1); }).join('');
    }
    return '6' + digits.slice(0, 32).reverse().map(function (nibble) {
        return (16 + parseInt(nibble, 16)).toString(2).slice(1);
    }).join('');
}

function networks(name, text) {
    return words(text).map(function (network) {
        var parts = network.split('/'), start = bits(parts[0]), length;
        if (start !== null && parts.length < 3) {
            length = parts.length > 1 && /^\d{1,3}$/.test(parts[1]) ? +parts[1] : parts.length > 1 ? -1 : start.length - 1;
            if (length >= 0 && length < start.length) {
                return start.slice(0, 1 + length);
            }
        }
        throw new Error("setting '" + name + "': '" + network + "' is no address and no network, as 192.0.2.0/24");
    });
}

/* -- what is known of a session -- */

/* A client that comes over a UNIX socket, or has said who it is, is as good as one of ours. */
function isTrusted(session) {
    var address = session.remoteAddr === 'local' ? null : bits(session.remoteAddr);
    return !enabled || address === null || !!session.authenticated ||
        trusted.some(function (network) { return address.indexOf(network) === 0; });
}

/* What has been found so far: of the client for the whole session, of the sender for the transaction. */
function knownOf(session) {
    var known = session.authentication;
    if (!known) {
        known = session.authentication = {sender: null, spf: null, helo: null, iprev: null, dnsbl: null};
    }
    if (known.sender !== session.sender) {
        known.sender = session.sender;
        known.spf = known.helo = null;
    }
    return known;
}

function together(tasks) {
    var names = Object.keys(tasks), found = {};
    Sys.all(names.map(function (name) { return tasks[name]; })).forEach(function (value, i) {
        found[names[i]] = value;
    });
    return found;
}

/* What can be asked without the message, as far as it is not known. */
function clientTasks(session, known) {
    var tasks = {}, address = session.remoteAddr, helo = session.clientname || '';
    if (known.spf === null) {
        tasks.spf = function () { return Spf.check(address, session.sender, helo); };
    }
    if (checksHelo && known.helo === null && session.sender && session.sender.mailbox.domain) {
        tasks.helo = function () { return Spf.checkHelo(address, helo); };
    }
    if (checksNames && known.iprev === null) {
        tasks.iprev = function () { return Dns.iprev(address); };
    }
    if (addressLists && known.dnsbl === null) {
        tasks.dnsbl = function () { return addressLists.check(address); };
    }
    return tasks;
}

function keep(known, found) {
    ['spf', 'helo', 'iprev', 'dnsbl'].forEach(function (name) {
        known[name] = found[name] || known[name];
    });
}

/* -- what follows -- */

function listedBy(found) {
    return found.hits.map(function (hit) { return hit.zone; }).filter(function (zone, i, all) {
        return all.indexOf(zone) === i;
    }).join(', ');
}

function listedReply(session, found) {
    return new SmtpResponse(550, '5.7.1 No mail from ' + session.remoteAddr + ': it is listed by ' + listedBy(found));
}

function spfReply(found) {
    return new SmtpResponse(550, '5.7.23 The address of this client may not send for ' + found.domain +
        (found.explanation === null ? '' : '; its owner says: ' + found.explanation));
}

/* RFC 8617 §7.2.1: what the first receiver of a message saw counts when all who handled it since are believed. */
function overriddenBy(chain) {
    var newest = chain.sets[chain.sets.length - 1], seen;
    /* The last of them must have signed the author and all of the body, or anybody may have put in another. */
    if (chain.result !== 'pass' || newest.unsigned > 0 || !newest.headers.some(function (name) { return /^from$/i.test(name); }) || !chain.domains.every(function (domain) {
        return arcTrusted.indexOf(String(domain).toLowerCase()) >= 0;
    })) {
        return null;
    }
    seen = AuthResults.read(chain.sets[0].authResults).results.some(function (one) {
        return one.method === 'dmarc' && one.result === 'pass';
    });
    return !seen ? null : 'arc=pass ' + chain.sets.slice().reverse().map(function (set) {
        return 'as[' + set.instance + '].d=' + set.domain + ' as[' + set.instance + '].s=' + set.selector;
    }).join(' ');
}

/* What follows from all that was found: the response that refuses the message or null, the reasons for quarantine, what is done for
   DMARC's sake, and why that is not what the owner of the domain wants. */
function decide(session, found) {
    var verdict = {response: null, reasons: [], disposition: 'none', override: null}, dmarc = found.dmarc;

    function take(what, reason, response) {
        if (what === 'reject') {
            verdict.response = verdict.response || response();
        } else if (what === 'quarantine') {
            verdict.reasons.push(reason);
        }
    }

    if (dmarc.disposition !== 'none') {
        verdict.override = found.arc && overriddenBy(found.arc);
        verdict.disposition = verdict.override ? 'none' : wanted[dmarc.disposition];
    }
    if (found.dnsbl && found.dnsbl.listed) {
        take(dnsblAction, 'dnsbl', function () { return listedReply(session, found.dnsbl); });
    }
    if (found.domains && found.domains.listed) {
        take(dnsblDomainsAction, 'dnsbl', function () {
            return new SmtpResponse(550, '5.7.1 The message has a domain that is listed by ' + listedBy(found.domains));
        });
    }
    if (found.spf.result === 'fail' && dmarc.result !== 'pass') {
        take(spfFail, 'spf', function () { return spfReply(found.spf); });
    }
    if (dmarc.result === 'permerror' && dmarc.domain === null) {
        take(dmarcAuthor, 'author', function () {
            return new SmtpResponse(550, '5.7.1 From does not say who the author is: ' + dmarc.reason);
        });
    }
    if (dmarc.result === 'temperror' && dmarcTemporary === 'defer') {
        verdict.response = verdict.response ||
            new SmtpResponse(451, '4.7.1 The author cannot be verified now, try again later: ' + dmarc.reason);
    }
    take(verdict.disposition, 'dmarc', function () {
        return new SmtpResponse(550, '5.7.1 Rejected by the DMARC policy of ' + dmarc.domain);
    });
    return verdict;
}

function remember(session, dmarc, verdict) {
    var sender = session.sender && session.sender.mailbox.domain;
    if (database === '' || verdict.response !== null && verdict.response.code < 500) {
        return;                 /* a message that is put off comes again */
    }
    Dmarc.record(database, dmarc, {
        address: session.remoteAddr, sender: sender || '', disposition: verdict.disposition, override: verdict.override
    });
}

/* -- for policies -- */

/**
 * Whether a client is neither checked nor its mail changed.
 * @param {SmtpServer} session
 * @returns {boolean}
 */
exports.trusts = function (session) {
    return isTrusted(session);
};

/**
 * What can be refused before the message: a client whose address is listed. Call it in smtpRcpt. Waits for what can be asked
 * without the message, once for a session, and only where something can be refused; the rest is asked in message().
 * @param {SmtpServer} session
 * @returns {?SmtpResponse} null: nothing to be refused
 */
exports.client = function (session) {
    var known;
    if (!(addressLists && dnsblAction === 'reject') || isTrusted(session)) {
        return null;
    }
    known = knownOf(session);
    if (known.dnsbl === null) {
        keep(known, together(clientTasks(session, known)));
    }
    return known.dnsbl.listed ? listedReply(session, known.dnsbl) : null;
};

/**
 * Checks a message. Call it in smtpData, before anything else changes the headers. Waits. Removes forged
 * Authentication-Results from `headers` and puts ours in front.
 * @param {SmtpServer} session
 * @param {SmtpHeader[]} headers
 * @param {SmtpBody|string} body
 * @returns {{response: ?SmtpResponse, quarantine: ?string, results: ?object}} response: why the message is not taken;
 *     quarantine: the reasons why it is not for the inbox, separated by commas; results: what each check said, by the names
 *     that AuthResults.header takes; null of a client that is trusted
 */
exports.message = function (session, headers, body) {
    var known, tasks, found, verdict, sender, results, id, smtputf8;
    if (isTrusted(session)) {
        return {response: null, quarantine: null, results: null};
    }
    known = knownOf(session);
    sender = session.sender;
    smtputf8 = !!(sender && sender.params.SMTPUTF8);
    tasks = clientTasks(session, known);
    tasks.dkim = function () { return Dkim.verify(headers, body); };
    tasks.arc = function () { return Arc.verify(headers, body); };
    if (domainLists) {
        tasks.domains = function () {
            var subjects = sender && sender.mailbox.domain ? [sender.mailbox.domain] : [];
            if (links > 0) {
                subjects = subjects.concat(Dnsbl.domainsIn(typeof body === 'string' ? body : body.read(0, LINK_OCTETS), links));
            }
            return subjects.length ? domainLists.check(subjects) : null;
        };
    }
    Dmarc.prepare(headers, {standard: standard, smtputf8: smtputf8});
    found = together(tasks);
    keep(known, found);
    found.spf = known.spf;
    found.dnsbl = known.dnsbl;
    found.dmarc = Dmarc.evaluate(headers, {spf: found.spf, dkim: found.dkim, standard: standard, smtputf8: smtputf8});
    verdict = decide(session, found);
    remember(session, found.dmarc, verdict);

    id = authservId || session.hostname;
    AuthResults.remove(headers, id);
    results = {
        iprev: known.iprev && {result: known.iprev.result, name: known.iprev.name, address: session.remoteAddr},
        helo: known.helo, spf: found.spf, dkim: found.dkim, arc: found.arc.result === 'none' ? null : found.arc,
        dmarc: {
            result: found.dmarc.result, domain: found.dmarc.domain, policy: found.dmarc.policy,
            disposition: verdict.disposition, reason: verdict.override || found.dmarc.reason
        },
        dnsbl: known.dnsbl || found.domains ? [known.dnsbl, found.domains].filter(Boolean) : null
    };
    headers.unshift(AuthResults.header(id, results));
    if (receivedSpf) {
        headers.unshift(new SmtpHeader('Received-SPF', found.spf.header));
    }
    if (quarantineHeader !== '') {
        withoutForged(headers);
        if (verdict.reasons.length) {
            headers.unshift(new SmtpHeader(quarantineHeader, verdict.reasons.join(', ')));
        }
    }
    return {
        response: verdict.response, quarantine: verdict.reasons.length ? verdict.reasons.join(', ') : null, results: results
    };
};

/* Only we say what is in quarantine. */
function withoutForged(headers) {
    var name = quarantineHeader.toLowerCase(), i;
    for (i = headers.length - 1; i >= 0; i--) {
        if (headers[i].name.toLowerCase() === name) {
            headers.splice(i, 1);
        }
    }
}
