// Meets the limit that the sender's local part names. Used by `make soak` and by tests of leaks.

function deeper(n) {
    return deeper(n + 1) + 1;
}

var meet = {
    memory: function () {
        var text = "x";
        for (;;) {
            text += text;
        }
    },
    slice: function () {
        for (var n = 0; ; n++) {
            n = n.valueOf();
        }
    },
    operations: function () {
        for (;;) {
            Sys.setting("x", "");
        }
    },
    session: function () {
        var client = new SmtpClient("127.0.0.1", 1), until;
        for (;;) {          // a little work, then a wait: each slice is short, all together are not
            until = Date.now() + 2;
            while (Date.now() < until) {
            }
            try {
                client.connect();
            } catch (refused) {
            }
        }
    },
    recursion: function () {
        return deeper(0);
    }
};

SmtpServer.prototype.smtpEhlo = function (name) {
    return new SmtpResponse(250, this.hostname);
};

SmtpServer.prototype.smtpMail = function (path) {
    var act = meet[path.mailbox.local];
    return act ? act() : new SmtpResponse(250, "2.1.0 sender taken");
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, "2.1.5 recipient taken");
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, "2.0.0 dropped");
};
