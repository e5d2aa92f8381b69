/* A policy of several files. */
var dnsbl = require('./rules/dnsbl'), settings = require('./data/settings.json'), names = ['first', 'second'];
var computed = names.map(function (name) { return require('./rules/' + name).name; });

SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, [settings.greeting, computed.join(), dnsbl.name, String(require('./rules/first') === first)]);
};

SmtpServer.prototype.smtpHelo = function (name) {
    return new SmtpResponse(250, [require('./rules/lazy').ask(name), require('./rules/lazy').count()]);
};

SmtpServer.prototype.smtpEhlo = function (name) {
    return new SmtpResponse(250, String(require('./rules/' + name).name));
};

SmtpServer.prototype.smtpMail = function (path) {
    dnsbl.fail();
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, require('./rules/a').tell());
};

var first = require('./rules/first.js');
