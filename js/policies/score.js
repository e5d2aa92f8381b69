/*
 * What the tests found about a message, and what follows from all of it. A test that finds something has a consequence, which the
 * administrator sets: reject, defer, quarantine, mark, none, or a number of points. Points are added up, and from a
 * threshold on they have a consequence themselves.
 *
 * A module, for mx and for your own:
 *
 *     var settings = require('mailfilter/policies/settings'), Findings = require('mailfilter/policies/score').Findings;
 *     var many = settings.consequence('manyRecipients', 2);
 *
 *     var findings = new Findings();
 *     findings.add('recipients', many, '5.5.3 Too many recipients');
 *     if (findings.refusal() !== null) { return findings.refusal(); }
 *     findings.stamp(headers);
 *
 * Settings:
 *   markAt   points from which a message is marked; 0: never (5)
 *   quarantineAt   points from which it goes into quarantine; 0: never (0)
 *   rejectAt   points from which it is refused; 0: never (0)
 *   observe   refuse, put off and hold nothing: only mark, and log what would have been done (false)
 *   scoreHeader   header that tells the points and the tests; empty: none (X-Score)
 *   markHeader   header of messages that are marked or in quarantine, with the value YES; empty: none (X-Spam-Flag)
 *   markSubject   what goes before the subject of such messages; a signature on the subject breaks by it; empty: nothing ()
 *   quarantineHeader   header of messages in quarantine, with the reasons; empty: none (X-Quarantine)
 */
var settings = require('mailfilter/policies/settings');
var fields = require('mailfilter/policies/headers');

var markAt = settings.number('markAt', 5, 0);
var quarantineAt = settings.number('quarantineAt', 0, 0);
var rejectAt = settings.number('rejectAt', 0, 0);
var observe = Sys.setting('observe', false);
var scoreHeader = nameOf('scoreHeader', Sys.setting('scoreHeader', 'X-Score'));
var markHeader = nameOf('markHeader', Sys.setting('markHeader', 'X-Spam-Flag'));
var markSubject = Sys.setting('markSubject', '');
var quarantineHeader = nameOf('quarantineHeader', Sys.setting('quarantineHeader', 'X-Quarantine'));

function nameOf(setting, text) {
    if (!/^[!-9;-~]*$/.test(text)) {
        throw new Error("setting '" + setting + "' is '" + text + "', which is no name of a header");
    }
    return text;
}

/* 0.1 + 0.2 is 0.3 here. */
function rounded(points) {
    return Math.round(points * 100) / 100;
}

function reached(points, threshold) {
    return threshold > 0 && rounded(points) >= threshold;
}

/** What was found about one message. */
function Findings() {
    this.points = 0;
    this.tests = [];            // {name, what, points}, in the order in which they were found
    this.response = null;       // of the first test that refuses
    this.reasons = [];          // names of the tests that want quarantine
    this.marked = false;
}

/** Whether a test has found something already. */
Findings.prototype.has = function (name) {
    return this.tests.some(function (test) { return test.name === name; });
};

/**
 * A test has found something. It counts once for a message.
 * @param {string} name  of the test, for headers and log
 * @param {{what: string, points: number}} consequence  of settings.consequence
 * @param {string} text  of the refusal, where that is the consequence; it begins with a code as 5.7.1, which is 4.7.1 to put off
 * @param {number} [factor]  how often the points count (1)
 */
Findings.prototype.add = function (name, consequence, text, factor) {
    var what = consequence.what, points = what === 'points' ? rounded(consequence.points * (factor === undefined ? 1 : factor)) : 0;
    if (this.has(name) || what === 'none' || what === 'points' && points === 0) {
        return;
    }
    this.tests.push({name: name, what: what, points: points});
    this.points += points;
    if (what === 'reject') {
        this.refuse(name, new SmtpResponse(550, text));
    } else if (what === 'defer') {
        this.refuse(name, new SmtpResponse(450, '4' + text.slice(1)));
    } else if (what === 'quarantine' && !observe) {
        this.reasons.push(name);
    } else if (what === 'mark' || what === 'quarantine') {
        this.marked = true;
    }
};

/** A refusal in words of its own. The first one counts, but for one that is for good after one that is not. */
Findings.prototype.refuse = function (name, response) {
    if (observe) {
        Sys.log(Sys.LOG_NOTICE, 'observed: ' + name + ' would have been told ' + response.code + ' ' + response.message);
        this.marked = true;
    } else if (this.response === null || this.response.code < 500 && response.code >= 500) {
        this.response = response;
    }
};

/** The response that refuses the message for what is known now; null when nothing does. */
Findings.prototype.refusal = function () {
    if (this.response === null && reached(this.points, rejectAt)) {
        this.add('score', {what: 'reject', points: 0}, '5.7.1 This looks like spam');
    }
    return this.response;
};

/** The reasons for quarantine, separated by commas; null when there are none. */
Findings.prototype.quarantine = function () {
    var reasons = reached(this.points, quarantineAt) && !observe ? this.reasons.concat('score') : this.reasons;
    return reasons.length ? reasons.join(', ') : null;
};

/** Whether the message is to be marked. What is in quarantine is. */
Findings.prototype.isMarked = function () {
    return this.marked || reached(this.points, markAt) || this.quarantine() !== null;
};

/** What was found, in words: "6.5 (helo=2, dnsbl=4.5, spf=mark)". */
Findings.prototype.toString = function () {
    return rounded(this.points) + (this.tests.length ? ' (' + this.tests.map(function (test) {
        return test.name + '=' + (test.what === 'points' ? test.points : test.what);
    }).join(', ') + ')' : '');
};

/**
 * Writes into the headers what was found. Headers by these names that came with the message are removed: only we say this.
 * @param {SmtpHeader[]} headers
 * @param {number} [at]  the place for ours (0)
 */
Findings.prototype.stamp = function (headers, at) {
    var place = at === undefined ? 0 : at, quarantine = this.quarantine(), marked = this.isMarked();
    fields.remove(headers, [scoreHeader, markHeader, quarantineHeader], place);
    if (scoreHeader !== '' && this.tests.length) {
        headers.splice(place, 0, new SmtpHeader(scoreHeader, this.toString()));
    }
    if (markHeader !== '' && marked) {
        headers.splice(place, 0, new SmtpHeader(markHeader, 'YES'));
    }
    if (quarantineHeader !== '' && quarantine !== null) {
        headers.splice(place, 0, new SmtpHeader(quarantineHeader, quarantine));
    }
    if (markSubject !== '' && marked) {
        fields.mark(headers, markSubject);
    }
};

exports.Findings = Findings;
