/*
 * What is in a message: attachments by name, type and magic, and what scanners say of it: ClamAV, SpamAssassin, Rspamd, milters.
 * Everything is off until it is set.
 *
 * A module, for mx and for your own; it puts what it finds into Findings (mailfilter/policies/score).
 *
 * Settings. A consequence is reject, defer, quarantine, mark, none, or a number of points. A service is host:port, [IPv6]:port or
 * unix:/path; when one is away, tempfail has the client come again, and accept goes on without it.
 *   attachmentNames   endings of names of files that are not wanted, as "exe scr lnk" (none)
 *   attachmentTypes   media types that are not wanted, by what the message says, as "application/x-msdownload" (none)
 *   attachmentMagic   the same by what the content begins like, whatever it is called, as "application/x-dosexec" (none)
 *   attachmentMap   a map (.regexp, .hash) of whole names of files; behind a name stands a consequence, or nothing: attachmentAction ()
 *   attachmentAction   the consequence of a file that is not wanted (reject)
 *   clamav   clamd; the port is 3310 (none)
 *   clamavFound   the consequence of a virus (reject)
 *   clamavTimeout   seconds (60)
 *   clamavAway   tempfail or accept (tempfail)
 *   spamassassin   spamd; the port is 783 (none)
 *   spamassassinUser   whose preferences it takes; empty: those of the user that the server runs as ()
 *   spamassassinSpam   the consequence when it says spam (mark)
 *   spamassassinWeight   its score, so many times, is added to the points (0)
 *   spamassassinTimeout   seconds (60)
 *   spamassassinAway   tempfail or accept (tempfail)
 *   rspamd   Rspamd's worker "normal" or its proxy; the port is 11333 (none)
 *   rspamdPassword   its password; best in a file ()
 *   rspamdReject   the consequence of its action "reject" (reject)
 *   rspamdSoftReject   of "soft reject" (defer)
 *   rspamdGreylist   whether what it wants greylisted is greylisted here (true)
 *   rspamdAddHeader   of "add header" (mark)
 *   rspamdRewriteSubject   of "rewrite subject"; the subject becomes what it says, too (mark)
 *   rspamdWeight   its score, so many times, is added to the points (0)
 *   rspamdHeaders   whether the headers that it wants added and removed are (true)
 *   rspamdTimeout   seconds (60)
 *   rspamdAway   tempfail or accept (tempfail)
 *   milters   milters, one after the other, as "127.0.0.1:8891 unix:/run/opendmarc.sock" (none)
 *   milterTimeout   seconds for each (60)
 *   milterAway   tempfail or accept (tempfail)
 */
var settings = require('mailfilter/policies/settings');
var clients = require('mailfilter/policies/clients');

function small(words) {
    return words.map(function (word) { return word.toLowerCase(); });
}
var names = small(settings.words('attachmentNames', '')).map(function (name) { return name.replace(/^\*?\./, ''); });
var types = small(settings.words('attachmentTypes', ''));
var magics = small(settings.words('attachmentMagic', ''));
var nameMap = Sys.setting('attachmentMap', '') === '' ? null : Maps.load(Sys.setting('attachmentMap', ''));
var unwanted = settings.consequence('attachmentAction', 'reject');
var looksAtFiles = names.length + types.length + magics.length > 0 || nameMap !== null;

var clamd = settings.server('clamav', '', 3310);
var clamavFound = settings.consequence('clamavFound', 'reject');
var clamavOptions = {timeout: settings.number('clamavTimeout', 60, 1), away: settings.away('clamavAway', 'tempfail')};

var spamd = settings.server('spamassassin', '', 783);
var spamdUser = Sys.setting('spamassassinUser', '');
var spamdSpam = settings.consequence('spamassassinSpam', 'mark');
var spamdWeight = {what: 'points', points: settings.number('spamassassinWeight', 0, 0)};
var spamdOptions = {timeout: settings.number('spamassassinTimeout', 60, 1), away: settings.away('spamassassinAway', 'tempfail')};

var rspamd = settings.server('rspamd', '', 11333);
var rspamdPassword = Sys.setting('rspamdPassword', '');
var rspamdActions = {
    'reject': settings.consequence('rspamdReject', 'reject'),
    'soft reject': settings.consequence('rspamdSoftReject', 'defer'),
    'add header': settings.consequence('rspamdAddHeader', 'mark'),
    'rewrite subject': settings.consequence('rspamdRewriteSubject', 'mark')
};
var rspamdGreylist = Sys.setting('rspamdGreylist', true);
var rspamdWeight = {what: 'points', points: settings.number('rspamdWeight', 0, 0)};
var rspamdHeaders = Sys.setting('rspamdHeaders', true);
var rspamdOptions = {timeout: settings.number('rspamdTimeout', 60, 1), away: settings.away('rspamdAway', 'tempfail')};
if (rspamdPassword !== '') {
    rspamdOptions.password = rspamdPassword.trim();
}

var milters = settings.words('milters', '').map(function (word) { return settings.address('milters', word, 8891); });
var milterOptions = {timeout: settings.number('milterTimeout', 60, 1), away: settings.away('milterAway', 'tempfail')};

/* -- files -- */

/* Why a file is not wanted, in words for the sender; null: it may pass. Magic is looked at last: it reads the content. */
function objection(file) {
    var name = String(file.name), magic;
    if (names.indexOf(file.extension) >= 0) {
        return 'a file with the name ' + name;
    }
    if (types.indexOf(file.type) >= 0) {
        return 'a file of the type ' + file.type;
    }
    magic = magics.length ? file.magic() : null;
    return magic !== null && magics.indexOf(magic) >= 0 ? 'a file that is ' + magic : null;
}

/* Control characters and the like have no business in a reply. */
function printable(text) {
    return text.replace(/[^ -~]/g, '?').slice(0, 100);
}

function lookAtFiles(body, findings) {
    body.attachments().forEach(function (file) {
        var why = objection(file), found = nameMap !== null && file.name !== null ? nameMap.get(file.name) : null, consequence = unwanted;
        if (found !== null && why === null) {
            why = 'a file with the name ' + file.name;
            consequence = clients.wish(found) || unwanted;
        }
        if (why !== null) {
            findings.add('attachment', consequence, '5.7.1 The message has ' + printable(why));
        }
    });
}

/* -- scanners -- */

function askClamd(headers, body, findings) {
    var verdict = new ClamAV(clamd.host, clamd.port, clamavOptions).scan(headers, body);
    if (verdict !== null && verdict.found) {
        findings.add('clamav', clamavFound, '5.7.1 The message has a virus: ' + printable(verdict.name));
    }
}

function askSpamd(headers, body, findings) {
    var verdict = new SpamAssassin(spamd.host, spamd.port, spamdUser || undefined, spamdOptions).scan(headers, body);
    if (verdict !== null) {
        findings.add('spamassassin', spamdWeight, '', verdict.score);
        if (verdict.spam) {
            findings.add('spamassassin-spam', spamdSpam, '5.7.1 SpamAssassin takes this for spam');
        }
    }
}

function askRspamd(session, headers, body, findings) {
    var verdict = new Rspamd(rspamd.host, rspamd.port, rspamdOptions).check(session, headers, body), consequence, said, later;
    if (verdict === null) {
        return null;
    }
    findings.add('rspamd', rspamdWeight, '', verdict.score);
    consequence = rspamdActions[verdict.action];
    if (consequence) {
        said = verdict.messages.smtp_message;
        findings.add('rspamd-' + verdict.action.replace(' ', '-'), consequence,
            said ? '5.7.1 ' + printable(said) : '5.7.1 Rspamd takes this for spam');
    }
    if (verdict.action === 'greylist' && rspamdGreylist) {
        later = clients.greylisted(session, session.recipients[0]);
        if (later !== null) {
            findings.refuse('rspamd-greylist', later);
        }
    }
    return verdict;
}

/* What a milter wants. Its changes of the envelope are not made: other servers have it already. */
function askMilter(session, milter, headers, body, findings) {
    var outcome = new Milter(milter.host, milter.port, milterOptions).check(session, headers, body);
    if (outcome === null) {
        return body;
    }
    if (outcome.reply !== null) {
        findings.refuse('milter', outcome.reply);
        return body;
    }
    if (outcome.action === 'discard' || outcome.quarantine !== null) {
        findings.add('milter', {what: 'quarantine', points: 0}, '');
    }
    if (outcome.refused.length) {
        findings.refuse('milter', outcome.refused[0].reply);
    }
    if (outcome.addRecipients.length || outcome.removeRecipients.length || outcome.sender !== null) {
        Sys.log(Sys.LOG_WARNING, 'the milter ' + milter.host + ' wants another envelope, which is not done');
    }
    outcome.apply(headers);
    return outcome.body;
}

/* -- for policies -- */

/** Whether there is nothing to do. */
exports.idle = !looksAtFiles && clamd === null && spamd === null && rspamd === null && !milters.length;

/**
 * Looks at a message: files first, then all scanners at once, then milters one by one, as each sees what the one before it has
 * changed. Ends when something refuses it. Waits. Changes `headers`.
 * @param {SmtpServer} session
 * @param {SmtpHeader[]} headers
 * @param {SmtpBody} body
 * @param {MailfilterFindings} findings  where to put what is found
 * @returns {SmtpBody} the body, perhaps another one
 */
exports.look = function (session, headers, body, findings) {
    var tasks = [], verdicts = [];
    if (looksAtFiles) {
        lookAtFiles(body, findings);
    }
    if (findings.refusal() !== null) {
        return body;
    }
    if (clamd !== null) {
        tasks.push(function () { askClamd(headers, body, findings); });
    }
    if (spamd !== null) {
        tasks.push(function () { askSpamd(headers, body, findings); });
    }
    if (rspamd !== null) {
        tasks.push(function () { verdicts.push(askRspamd(session, headers, body, findings)); });
    }
    if (tasks.length) {
        Sys.all(tasks);
    }
    verdicts.forEach(function (verdict) {
        if (verdict !== null && rspamdHeaders) {
            verdict.apply(headers);
        }
    });
    milters.forEach(function (milter) {
        if (findings.refusal() === null) {
            body = askMilter(session, milter, headers, body, findings);
        }
    });
    return body;
};
