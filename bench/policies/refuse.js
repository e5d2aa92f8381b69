// Refuses everybody at the step that setting `at` names: connect, rcpt or data. Used by `make bench`: what a refusal costs.
var at = Sys.setting('at');

SmtpServer.prototype.smtpInit = function () {
    return at === 'connect' ? new SmtpResponse(554, '5.7.1 Not you') : new SmtpResponse(220, this.hostname + ' ESMTP');
};

SmtpServer.prototype.smtpEhlo = function (name) {
    return new SmtpResponse(250, [this.hostname, 'PIPELINING', '8BITMIME']);
};

SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(250, '2.1.0 Sender taken');
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return at === 'rcpt' ? new SmtpResponse(550, '5.1.1 No such user') : new SmtpResponse(250, '2.1.5 Recipient taken');
};

SmtpServer.prototype.smtpPreData = function () {
    return new SmtpResponse(354, 'Go on');
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(550, '5.7.1 Not this');
};
