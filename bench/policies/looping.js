// Never returns for a client that calls itself "loop": what the others notice. Used by `make bench-engine`.

SmtpServer.prototype.smtpEhlo = function (name) {
    while (name === "loop") {
        name = name.toLowerCase();
    }
    return new SmtpResponse(250, this.hostname);
};

SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(250, "2.1.0 sender taken");
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, "2.1.5 recipient taken");
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, "2.0.0 dropped");
};
