/*
 * A proxy that marks: every message goes on to the next hop; one that looks like junk gets "[SPAM]" before its subject, one with a
 * virus "[VIRUS]". Nothing is refused, except by the next hop.
 *
 *     mailfilter serve mark --listen 127.0.0.1:8025 --set nextHop=127.0.0.1:10025
 *
 * Settings: those of proxy (where mail goes), those of mailfilter/policies/junk (who is asked), and:
 *   markSpam   what goes before the subject of spam; empty: nothing ([SPAM])
 *   markVirus   what goes before the subject of a message with a virus; empty: nothing ([VIRUS])
 */
require('mailfilter/policies/proxy');                   // connecting, commands, replies: all but the message
var junk = require('mailfilter/policies/junk');         // what is wrong with a message
var subjects = require('mailfilter/policies/headers');

var marks = {
    spam: Sys.setting('markSpam', '[SPAM]'),
    virus: Sys.setting('markVirus', '[VIRUS]')
};

/* The client may send the message; the next hop hears of it when it has been looked at. */
SmtpServer.prototype.smtpPreData = function () {
    this.begun = false;
    return null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {                             // the message will not come
        return null;
    }
    this.found = junk.judge(this, headers, body);       // null: nothing is wrong with it
    if (this.found !== null && marks[this.found.kind]) {    // "later" has no mark: what is not known is not held against it
        subjects.mark(headers, marks[this.found.kind]);
    }
    return this.passOn(headers, body);                  // what the next hop says, the client reads
};
