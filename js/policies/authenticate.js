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
 * Settings. An action is reject (550), defer (450), quarantine (the message is marked and taken), mark, none (it is only told of),
 * or a number of points for the message's score (see mailfilter/policies/score):
 *   authenticate   whether senders are checked at all (true)
 *   trustedClients   addresses and networks whose mail is neither checked nor changed (127.0.0.0/8 ::1)
 *   authservId   our name in Authentication-Results (that of the server)
 *   iprev   whether the client's name is looked up and verified (true)
 *   spfHelo   whether SPF of the name in HELO is checked, too (false)
 *   iprevFail   action when the client has no name that leads back to its address (none)
 *   spfFail   action when SPF says fail, and DMARC does not pass (none)
 *   spfSoftfail   the same for softfail (none)
 *   spfNone   action when the sender's domain says nothing by SPF: none, neutral, permerror (none)
 *   spfPass   action when SPF says pass: a number of points, negative ones speak for the message (none)
 *   dkimFail   action when no signature is good, and there is one (none)
 *   dkimNone   action when there is no signature (none)
 *   dkimPass   as spfPass, for a good signature of whomever (none)
 *   dmarcFail   action when DMARC fails and the owner of the domain wants nothing done (none)
 *   dmarcPass   as spfPass (none)
 *   receivedSpf   whether a Received-SPF header is added (false)
 *   dnsbl   blocklists to ask about the client's address, as zen.example.org=2 with a weight after "=" (none)
 *   dnsblAllow   allow-lists: a client in one of them is on no blocklist (none)
 *   dnsblDomains   blocklists to ask about the sender's domain and the links in the message (none)
 *   dnsblLinks   how many links of a message are asked about; 0: none (20)
 *   dnsblThreshold   the sum of weights from which a client or message is listed (1)
 *   dnsblTimeout   seconds for all lists together; a list without an answer lists nobody (3)
 *   dnsblAction   action when the client's address is listed; a number of points counts for each unit of weight (reject)
 *   dnsblDomainsAction   the same when the sender's domain or a link is listed (reject)
 *   dmarcStandard   rfc9989 or rfc7489 (rfc9989)
 *   dmarcReject   action when the owner of the author's domain wants a message rejected (reject)
 *   dmarcQuarantine   action when the owner wants it in quarantine (quarantine)
 *   dmarcAuthor   action when From does not say who the author is: none, two, or a misleading one (reject)
 *   dmarcTemporary   what is done when DMARC cannot be decided because the DNS does not answer: defer (451) or accept (defer)
 *   dmarcDatabase   file in which what DMARC said is kept for aggregate reports; empty: nowhere ()
 *   arcTrusted   domains whose ARC seals are believed: when all seals of a good chain are theirs, and the first of them saw
 *     DMARC pass, a message that fails DMARC is taken (none)
 */
var settings = require('mailfilter/policies/settings');
var Findings = require('mailfilter/policies/score').Findings;

var enabled = Sys.setting('authenticate', true);
var trusted = settings.networks('trustedClients', '127.0.0.0/8 ::1');
var authservId = Sys.setting('authservId', '');
var checksNames = Sys.setting('iprev', true);
var checksHelo = Sys.setting('spfHelo', false);
var receivedSpf = Sys.setting('receivedSpf', false);
var threshold = Sys.setting('dnsblThreshold', 1);
var timeout = Sys.setting('dnsblTimeout', 3);
var addressZones = settings.zones('dnsbl', '', {}).concat(settings.zones('dnsblAllow', '', {allow: true}));
var addressLists = addressZones.length ? new Dnsbl(addressZones, {threshold: threshold, timeout: timeout}) : null;
var domainZones = settings.zones('dnsblDomains', '', {domains: true});
var domainLists = domainZones.length ? new Dnsbl(domainZones, {threshold: threshold, timeout: timeout}) : null;
var links = Sys.setting('dnsblLinks', 20);
var standard = settings.choice('dmarcStandard', 'rfc9989', ['rfc9989', 'rfc7489']);
var dmarcTemporary = settings.choice('dmarcTemporary', 'defer', ['defer', 'accept']);
var database = Sys.setting('dmarcDatabase', '');
var arcTrusted = settings.split(Sys.setting('arcTrusted', '').toLowerCase());

/* What follows when a check finds something, by the check. */
var action = {
    iprev: settings.consequence('iprevFail', 'none'),
    spfFail: settings.consequence('spfFail', 'none'),
    spfSoftfail: settings.consequence('spfSoftfail', 'none'),
    spfNone: settings.consequence('spfNone', 'none'),
    spfPass: settings.consequence('spfPass', 'none'),
    dkimFail: settings.consequence('dkimFail', 'none'),
    dkimNone: settings.consequence('dkimNone', 'none'),
    dkimPass: settings.consequence('dkimPass', 'none'),
    dmarcFail: settings.consequence('dmarcFail', 'none'),
    dmarcPass: settings.consequence('dmarcPass', 'none'),
    dnsbl: settings.consequence('dnsblAction', 'reject'),
    domains: settings.consequence('dnsblDomainsAction', 'reject'),
    author: settings.consequence('dmarcAuthor', 'reject')
};
/* What is done for what the owner of the author's domain wants. */
var wanted = {
    reject: settings.consequence('dmarcReject', 'reject'),
    quarantine: settings.consequence('dmarcQuarantine', 'quarantine')
};

var LINK_OCTETS = 65536;        /* of a body that are searched for links */

/* -- what is known of a session -- */

/* A client that comes over a UNIX socket, or has said who it is, is as good as one of ours. */
function isTrusted(session) {
    return !enabled || exports.knows(session);
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

function listed(session, found, findings) {
    if (found && found.listed) {
        findings.add('dnsbl', action.dnsbl, '5.7.1 No mail from ' + session.remoteAddr + ': it is listed by ' + listedBy(found),
            found.score);
    }
}

function spfText(found) {
    return '5.7.23 The address of this client may not send for ' + found.domain +
        (found.explanation === null ? '' : '; its owner says: ' + found.explanation);
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

/* What SPF and DKIM found, where DMARC does not speak for the message. */
function judgeAlone(found, findings) {
    var spf = found.spf.result, dkim = found.dkim;
    if (spf === 'fail' && found.dmarc.result !== 'pass') {
        findings.add('spf', action.spfFail, spfText(found.spf));
    } else if (spf === 'softfail' && found.dmarc.result !== 'pass') {
        findings.add('spf', action.spfSoftfail, spfText(found.spf));
    } else if (spf === 'none' || spf === 'neutral' || spf === 'permerror') {
        findings.add('spf', action.spfNone, '5.7.23 The domain of the sender does not say by SPF who may send for it');
    } else if (spf === 'pass') {
        findings.add('spf', action.spfPass, '5.7.1 No mail with SPF');
    }
    if (dkim.some(function (one) { return one.result === 'pass'; })) {
        findings.add('dkim', action.dkimPass, '5.7.1 No mail with a signature');
    } else if (!dkim.length) {
        findings.add('dkim', action.dkimNone, '5.7.20 The message has no signature');
    } else if (!dkim.some(function (one) { return one.result === 'temperror'; })) {
        findings.add('dkim', action.dkimFail, '5.7.20 The message has no signature that is good');
    }
}

/* What follows from all that was found: into `findings`; what is done for DMARC's sake, and why that is not what the owner of the
   domain wants. */
function decide(session, found, findings) {
    var dmarc = found.dmarc, done = {disposition: 'none', override: null}, what;

    if (dmarc.disposition !== 'none') {
        done.override = found.arc && overriddenBy(found.arc);
        what = done.override ? 'none' : wanted[dmarc.disposition].what;
        done.disposition = what === 'reject' || what === 'quarantine' ? what : 'none';
    }
    listed(session, found.dnsbl, findings);
    if (found.iprev && (found.iprev.result === 'fail' || found.iprev.result === 'permerror')) {
        findings.add('iprev', action.iprev, '5.7.25 The address of this client has no name that leads back to it');
    }
    if (found.domains && found.domains.listed) {
        findings.add('dnsbl-domains', action.domains, '5.7.1 The message has a domain that is listed by ' + listedBy(found.domains),
            found.domains.score);
    }
    judgeAlone(found, findings);
    if (dmarc.result === 'permerror' && dmarc.domain === null) {
        findings.add('author', action.author, '5.7.1 From does not say who the author is: ' + dmarc.reason);
    }
    if (dmarc.result === 'temperror' && dmarcTemporary === 'defer') {
        findings.refuse('dmarc', new SmtpResponse(451, '4.7.1 The author cannot be verified now, try again later: ' + dmarc.reason));
    }
    if (dmarc.disposition !== 'none' && !done.override) {
        findings.add('dmarc', wanted[dmarc.disposition], '5.7.1 Rejected by the DMARC policy of ' + dmarc.domain);
    } else if (dmarc.result === 'fail') {
        findings.add('dmarc', action.dmarcFail, '5.7.1 The message is not of ' + dmarc.domain);
    } else if (dmarc.result === 'pass') {
        findings.add('dmarc', action.dmarcPass, '5.7.1 No mail that DMARC speaks for');
    }
    return done;
}

function remember(session, dmarc, done, response) {
    var sender = session.sender && session.sender.mailbox.domain;
    if (database === '' || response !== null && response.code < 500) {
        return;                 /* a message that is put off comes again */
    }
    Dmarc.record(database, dmarc, {
        address: session.remoteAddr, sender: sender || '', disposition: done.disposition, override: done.override
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
 * Whether a client is one of ours: its address is trusted, it comes over a UNIX socket, has said who it is, or the policy has
 * set `session.exempt`.
 * @param {SmtpServer} session
 * @returns {boolean}
 */
exports.knows = function (session) {
    return session.exempt === true || session.remoteAddr === 'local' || !!session.authenticated || trusted.has(session.remoteAddr);
};

/**
 * What can be refused before the message: a client whose address is listed. Call it in smtpRcpt. Waits for what can be asked
 * without the message, once for a session, and only where something follows from it; the rest is asked in message().
 * @param {SmtpServer} session
 * @param {MailfilterFindings} [findings]  where to put what is found
 * @returns {?SmtpResponse} null: nothing to be refused
 */
exports.client = function (session, findings) {
    var known, all = findings || new Findings();
    if (!addressLists || !settings.matters(action.dnsbl) || isTrusted(session) || !findings && action.dnsbl.what !== 'reject') {
        return null;
    }
    known = knownOf(session);
    if (known.dnsbl === null) {
        keep(known, together(clientTasks(session, known)));
    }
    listed(session, known.dnsbl, all);
    return all.response;
};

/**
 * Checks a message. Call it in smtpData, before anything else changes the headers. Waits. Removes forged
 * Authentication-Results from `headers` and puts ours in front.
 * @param {SmtpServer} session
 * @param {SmtpHeader[]} headers
 * @param {SmtpBody|string} body
 * @param {MailfilterFindings} [findings]  where to put what is found; whoever gives them calls their stamp(headers) when all tests are done
 * @returns {{response: ?SmtpResponse, quarantine: ?string, results: ?object}} response: why the message is not taken;
 *     quarantine: the reasons why it is not for the inbox, separated by commas; results: what each check said, by the names
 *     that AuthResults.header takes; null of a client that is trusted
 */
exports.message = function (session, headers, body, findings) {
    var known, tasks, found, done, sender, results, id, smtputf8, response, all = findings || new Findings();
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
    found.iprev = known.iprev;
    found.dmarc = Dmarc.evaluate(headers, {spf: found.spf, dkim: found.dkim, standard: standard, smtputf8: smtputf8});
    done = decide(session, found, all);
    response = all.refusal();
    remember(session, found.dmarc, done, response);

    id = authservId || session.hostname;
    AuthResults.remove(headers, id);
    results = {
        iprev: known.iprev && {result: known.iprev.result, name: known.iprev.name, address: session.remoteAddr},
        helo: known.helo, spf: found.spf, dkim: found.dkim, arc: found.arc.result === 'none' ? null : found.arc,
        dmarc: {
            result: found.dmarc.result, domain: found.dmarc.domain, policy: found.dmarc.policy,
            disposition: done.disposition, reason: done.override || found.dmarc.reason
        },
        dnsbl: known.dnsbl || found.domains ? [known.dnsbl, found.domains].filter(Boolean) : null
    };
    headers.unshift(AuthResults.header(id, results));
    if (receivedSpf) {
        headers.unshift(new SmtpHeader('Received-SPF', found.spf.header));
    }
    if (!findings) {
        all.stamp(headers);
    }
    return {response: response, quarantine: all.quarantine(), results: results};
};
