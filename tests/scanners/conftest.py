"""A server whose policy scans, and messages for it."""
import json
import smtplib
from urllib.parse import unquote

import pytest

POLICY = """
function ask(kind, server) {
    var options = {timeout: +Sys.setting('seconds', '20'), away: server.away}, host = Sys.setting('host', '127.0.0.1');
    var port = +Sys.setting('port', '0') || null;
    switch (kind) {
    case 'clamav': return new ClamAV(host, port, options);
    case 'spamassassin': return new SpamAssassin(host, port, null, options);
    case 'milter': options.macros = {'{daemon_name}': 'here'}; return new Milter(host, port, options);
    case 'rspamd':
        if (Sys.setting('ca', '')) { options.tls = {ca: Sys.setting('ca'), name: Sys.setting('name', '127.0.0.1')}; }
        if (server.how === 'rewritten' || server.how === 'untouched') {
            options.rewrite = true;
            options.headers = server.how === 'rewritten' ? {'X-Rewrite': 'yes'} : {};
        }
        return new Rspamd(host, port, options);
    }
}
/* In lines that no reply breaks. */
function told(value) { return new SmtpResponse(550, encodeURIComponent(JSON.stringify(value)).match(/.{1,400}/g)); }
SmtpServer.prototype.smtpMail = function () { return new SmtpResponse(250, 'ok'); };
SmtpServer.prototype.smtpRcpt = function (path) {
    this.away = path.mailbox.domain.split('.')[0];
    this.how = path.mailbox.local;
    return new SmtpResponse(250, 'ok');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    var scanner, result;
    if (!body) { return null; }
    if (this.how === 'nothing') { return told('nothing'); }
    scanner = ask(Sys.setting('kind'), this);
    if (this.how === 'small') { scanner.MAX_MESSAGE_LEN = 10; }
    try {
        if (this.how === 'modify') {
            result = scanner.modify(headers, body);
            return told([result.spam, result.headers.map(String), result.body.text()]);
        }
        result = scanner.check ? scanner.check(this, headers, body) : scanner.scan(headers, body);
        if (this.how === 'apply') {
            result.apply(headers);
            return told(headers.map(String));
        }
        if (this.how === 'untouched') {
            return told(result.rewritten);
        }
        if (this.how === 'rewritten') {
            return told([result.rewritten.headers.map(String), result.rewritten.body.text()]);
        }
        if (this.how === 'body') {
            return told([result.body === body, result.body.text()]);
        }
        if (this.how === 'reply') {
            return result.reply;
        }
        if (this.how === 'refused') {
            return told(result.refused.map(function (one) {
                return [String(one.recipient), one.reply.code, one.reply.message];
            }));
        }
        if (this.how === 'tests') { return told(result.tests); }
    } catch (error) {
        return told(error.name + ': ' + error.message);
    }
    return told(result);
};
"""


class Asker:
    """Sends messages to a server with that policy; what it answers."""

    def __init__(self, server):
        self.server = server

    def __call__(self, message, how="scan", away="tempfail", sender="a@example.net", recipients=()):
        """What the policy has told, or the text of the reply when it was no 550."""
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=40) as client:
            client.ehlo("client.example")
            client.mail(sender)
            for recipient in (*recipients, f"{how}@{away}.example"):
                client.rcpt(recipient)
            code, text = client.data(message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return json.loads(unquote(text.decode().replace("\n", ""))) if code == 550 else f"{code} {text.decode()}"


@pytest.fixture
def asker(serve):
    """asker(kind, port, **settings): an Asker of a new server."""
    def make(kind, port=0, **settings):
        return Asker(serve(POLICY, settings={"kind": kind, "port": port, **settings}))
    return make


@pytest.fixture(scope="module")
def asker_module(serve_module):
    def make(kind, port=0, **settings):
        return Asker(serve_module(POLICY, settings={"kind": kind, "port": port, **settings}))
    return make
