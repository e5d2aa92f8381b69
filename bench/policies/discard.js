// Takes every message and drops it, with a handler at every step: what a session costs when JavaScript is asked
// each time and nothing else is done. Used by `make bench`; not a policy for real mail.

SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, this.hostname + " ESMTP");
};

SmtpServer.prototype.smtpHelo = function (name) {
    return new SmtpResponse(250, this.hostname);
};

SmtpServer.prototype.smtpEhlo = function (name) {
    return new SmtpResponse(250, [this.hostname, "PIPELINING", "8BITMIME"]);
};

SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(250, "2.1.0 sender taken");
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, "2.1.5 recipient taken");
};

SmtpServer.prototype.smtpPreData = function () {
    return new SmtpResponse(354, "go on");
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, "2.0.0 dropped");
};

SmtpServer.prototype.smtpRset = function () {
    return new SmtpResponse(250, "2.0.0 forgotten");
};

SmtpServer.prototype.cleanup = function () {
};
