/*
 * A proxy that refuses: messages that look like junk or have a virus are refused, all others go on to the next hop. The client
 * reads the refusal, so that a sender whose mail is refused by mistake is told of it.
 *
 *     mailfilter serve filter --listen 127.0.0.1:8025 --set nextHop=127.0.0.1:10025
 *
 * Settings: those of proxy (where mail goes), those of mailfilter/policies/junk (who is asked), and:
 *   markOnlyFor   recipients whose messages are marked in the subject and taken, to look at what would be refused (test@localhost)
 *   markSpam   what goes before their subjects ([SPAM])
 */
require('mailfilter/policies/proxy');                   // connecting, commands, replies: all but the message
var settings = require('mailfilter/policies/settings');
var junk = require('mailfilter/policies/junk');         // what is wrong with a message
var subjects = require('mailfilter/policies/headers');

var lookers = settings.words('markOnlyFor', 'test@localhost').map(function (address) { return '<' + address.toLowerCase() + '>'; });
var word = Sys.setting('markSpam', '[SPAM]');

/* The client may send the message; the next hop hears of it when it has been looked at, and is not to be refused. */
SmtpServer.prototype.smtpPreData = function () {
    this.begun = false;
    return null;
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {                             // the message will not come
        return null;
    }
    this.found = junk.judge(this, headers, body);       // null: nothing is wrong with it
    if (this.found !== null) {
        if (!this.isLookedAt()) {
            this.relayCmd('RSET');                      // the next hop forgets sender and recipients
            return this.found.kind === 'later' ?
                new SmtpResponse(450, '4.4.3 Requested action not taken: ' + this.found.reason) :
                new SmtpResponse(550, '5.7.1 Requested action not taken: ' + this.found.reason);
        }
        subjects.mark(headers, word);
    }
    return this.passOn(headers, body);                  // what the next hop says, the client reads
};

/* Whether somebody among the recipients wants to see what would be refused. */
SmtpServer.prototype.isLookedAt = function () {
    return this.recipients.some(function (path) { return lookers.indexOf(path.toString().toLowerCase()) >= 0; });
};
