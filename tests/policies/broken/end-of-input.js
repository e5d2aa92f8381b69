// expect: SyntaxError
SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(250, "x");
