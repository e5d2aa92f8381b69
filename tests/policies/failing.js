// Fails where and how its client asks, with one of the faults in the tables NONSENSE and THROWN, which the test puts
// before this text. HELO and EHLO name the fault themselves; so does the local part of a recipient; the sender's local
// part is STEP+FAULT for the other steps. A fault is `return7`, `throw3`, `overflow`, or `forever`: wait for
// what never comes.

function fail(server, what) {
    var m = /^(return|throw)(\d+)$/.exec(what);
    if (what === "overflow")
        return (function f() { return f() + 1; })();
    if (what === "forever")
        return waitForever();
    if (!m)
        return new SmtpResponse(250, "2.0.0 fine");
    if (m[1] === "throw")
        throw THROWN[m[2]]();
    return NONSENSE[m[2]].call(server);
}

function waitForever() {
    var client = new SmtpClient("127.0.0.1", Number(Sys.setting("mutePort")));
    client.connect();
    return client.readResponse();
}

SmtpServer.prototype.smtpInit = function () {
    var what = Sys.setting("init", "");
    return what ? fail(this, what) : new SmtpResponse(220, "bad.test ESMTP");
};
SmtpServer.prototype.smtpHelo = function (name) { return fail(this, name); };
SmtpServer.prototype.smtpEhlo = function (name) {
    this.what = "";
    return fail(this, name);
};
SmtpServer.prototype.smtpMail = function (path) {
    this.what = path.mailbox.local || "";
    return fail(this, this.at("mail"));
};
SmtpServer.prototype.smtpRcpt = function (path) { return fail(this, path.mailbox.local); };
SmtpServer.prototype.smtpPreData = function () {
    var what = this.at("predata");
    return what ? fail(this, what) : new SmtpResponse(354, "go on");
};
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null)
        throw new Error("result and exception are ignored here");
    return fail(this, this.at("data"));
};
SmtpServer.prototype.smtpRset = function () { return fail(this, this.at("rset")); };
SmtpServer.prototype.cleanup = function () { throw new Error("cleanup fails too"); };
SmtpServer.prototype.at = function (step) {
    var parts = (this.what || "").split("+");
    return parts[0] === step ? parts[1] : "";
};
