"""Whatever a policy writes (addresses, parameters, headers, reply texts, AUTH data), it cannot make a line of its own.

Each attempt runs in a handler, with a CR, LF or both in front of the line that it wants to bring in; then everything that the
next hop and the client have read is looked at.
"""
import re

import pytest
from peers.next_hop import DEFAULTS, NextHop, Say
from peers.sender import Sender

LINE = "INJECTED x"
ENDS = ["\\r\\n", "\\n", "\\r", "\\r\\n.\\r\\n", "\\n.\\n", "\\r\\n\\r\\n",
        "\\u2028", "\\u0085", "\\u0000", "\\u0a0d", "\\udc0a", "\\udc0d\\udc0a"]

# Towards the next hop: what is sent, after EHLO (and, in a message, after DATA).
COMMANDS = {
    "address": "client.sendCommand('MAIL', 'FROM:<a' + bad + '@b>')",
    "path": "p = new SmtpPath(); p.mailbox = {local: 'a' + bad, domain: 'b'}; client.mail(p)",
    "domain": "p = new SmtpPath(); p.mailbox = {local: 'a', domain: 'b' + bad}; client.mail(p)",
    "route": "p = new SmtpPath(); p.domains = ['x' + bad]; p.mailbox = {local: 'a', domain: 'b'}; client.mail(p)",
    "parameter value": "p = new SmtpPath(); p.parse('<a@b>'); p.params = {SIZE: '1' + bad}; client.mail(p)",
    "parameter name": "p = new SmtpPath(); p.parse('<a@b>'); client.sendCommand('MAIL', 'FROM:' + p + ' SIZE' + bad)",
    "recipient": "client.sendCommand('MAIL', 'FROM:<a@b>'); client.readResponse(); p = new SmtpPath();"
                 " p.mailbox = {local: 'a' + bad, domain: 'b'}; client.rcpt(p)",
    "verb": "client.sendCommand('NOOP' + bad)",
    "argument": "client.sendCommand('NOOP', bad)",
    "verb of an exchange": "client.exchange('NOOP' + bad)",
    "argument of an exchange": "client.exchange('NOOP', bad)",
    "hello": "client.ehlo('x' + bad)",
    "AUTH mechanism": "client.relayAuth('PLAIN' + bad, 'AAAA')",
    "AUTH initial response": "client.relayAuth('PLAIN', 'AAAA' + bad)",
    "AUTH line": "client.relayAuth('LOGIN'); client.relayAuthLine('AAAA' + bad)",
    "AUTH by mechanism name": "client.auth('PLAIN' + bad, 'u', 'p', {clear: true})",
    "XCLIENT value": "client.xclient({NAME: 'x' + bad})",
    "XCLIENT name": "o = {}; o['NAME' + bad] = 'x'; client.xclient(o)",
    "XFORWARD value": "client.xforward({NAME: 'x' + bad})",
}
FIELDS = {
    "header value": "new SmtpHeader('X-A', 'b' + bad)",
    "header name": "new SmtpHeader('X-A' + bad, 'b')",
    "header part": "(h = new SmtpHeader('X-A', 'b'), h.parts = ['b', bad], h)",
    "header text": "'X-A: b' + bad",
    "trace field": "(server.clientname = 'x' + bad, server.receivedHeader(bad, new SmtpPath()))",
}
POLICY = """
SmtpServer.authMechanisms = ['PLAIN', 'LOGIN'];
var server, client, p, o, h;
function connect() {
    client = new SmtpClient('127.0.0.1', %d);
    client.connect();
    client.readResponse();
    client.ehlo('mx.test');
}
var commands = {%s}, fields = {%s};
SmtpServer.prototype.smtpNoop = function (text) {
    var words = JSON.parse(text), bad = words[1] + 'INJECTED x';
    server = this;
    connect();
    try {
        if (words[0] in commands) {
            commands[words[0]](bad);
        } else {
            client.sendCommand('MAIL', 'FROM:<a@b>');
            client.readResponse();
            client.sendCommand('RCPT', 'TO:<c@d>');
            client.readResponse();
            client.sendCommand('DATA');
            client.readResponse();
            client.sendMessage([fields[words[0]](bad), new SmtpHeader('Subject', 'end')],
                words[0] === 'body' ? 'text' + bad : 'text');
            client.readResponse();
        }
    } catch (refused) {
        Sys.log(Sys.LOG_NOTICE, 'refused: ' + refused.message);
    }
    client.disconnect();
    return new SmtpResponse(250, 'done');
};
SmtpServer.prototype.smtpVrfy = function (text) {
    var words = JSON.parse(text), bad = words[1] + 'INJECTED x';
    if (words[0] === 'log') {
        Sys.log(Sys.LOG_NOTICE, 'log' + bad);
        return new SmtpResponse(250, 'done');
    }
    return words[0] === 'one text' ? new SmtpResponse(250, 'a' + bad) : new SmtpResponse(250, ['a', 'b' + bad, bad]);
};
SmtpServer.prototype.smtpEhlo = function (name) {
    var bad = this.bad || '';
    return new SmtpResponse(250, ['mx.test', 'AUTH PLAIN LOGIN' + bad, 'SIZE 5' + bad, bad, '8BITMIME' + bad]);
};
SmtpServer.prototype.smtpHelp = function (text) {
    this.bad = JSON.parse(text) + 'INJECTED x';
    return new SmtpResponse(250, 'done');
};
SmtpServer.prototype.smtpAuth = function () {
    return new SmtpResponse(535, 'a' + this.bad + '\\n' + this.challenge('AAAA' + this.bad));
};
"""
EHLO = DEFAULTS["ehlo"].replace(b"250 8BITMIME", b"250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250-XCLIENT NAME\r\n250 XFORWARD NAME")


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture(scope="module")
def server(serve_module, hop):
    def functions(table, form):
        return ", ".join(f"{name!r}: function (bad) {{ {form % code} }}" for name, code in table.items())
    policy = POLICY % (hop.port, functions(COMMANDS, "%s; client.readResponse();"), functions(FIELDS, "return %s;")
                       + ", 'body': function () { return new SmtpHeader('X-A', 'b'); }")
    return serve_module(policy, options=["--auth-without-tls"], limits={"errors": 1000, "commands": 0})


@pytest.fixture
def sender(server):
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def line_in(octets):
    """Whether a line begins with what was to be brought in, for any reading of line ends."""
    return re.search(rb"(?:^|[\r\n])INJECTED", octets)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_to_a_next_hop(sender, hop, name):
    for end in ENDS:
        hop.begin({"ehlo": [Say(EHLO)] * 9, "other": [Say(b"334 \r\n"), Say(b"535 no\r\n")]})
        assert sender.command(f'NOOP ["{name}", "{end}"]'.encode()).code == 250
        [conversation] = hop.conversations
        received = bytes(conversation.received)
        assert received.startswith(b"EHLO mx.test\r\n")
        assert not line_in(received), (end, received)
        assert received.replace(b"\r\n", b"").count(b"\r") == received.replace(b"\r\n", b"").count(b"\n") == 0
        assert b"\0" not in received


@pytest.mark.parametrize("name", [*FIELDS, "body"])
def test_messages_to_a_next_hop(sender, hop, name):
    for end in ENDS:
        hop.begin({"ehlo": [Say(EHLO)] * 9})
        assert sender.command(f'NOOP ["{name}", "{end}"]'.encode()).code == 250
        [conversation] = hop.conversations
        received = bytes(conversation.received)
        assert received.replace(b"\r\n", b"").count(b"\r") == received.replace(b"\r\n", b"").count(b"\n") == 0
        assert len(conversation.transactions) <= 1 and conversation.commands[-1] == b"DATA"
        for transaction in conversation.transactions:
            if not transaction.complete:
                continue
            section, _, body = transaction.content.partition(b"\r\n\r\n")
            # A field may be folded, and a body has lines; neither may be more than that.
            assert not line_in(section), (end, section)
            assert section.endswith(b"Subject: end"), (end, section)
            assert name == "body" or body == b"text\r\n"


@pytest.mark.parametrize("name", ["one text", "several"])
def test_replies(sender, name):
    for end in ENDS:
        reply = sender.command(f'VRFY ["{name}", "{end}"]'.encode())      # a Sender reads replies strictly
        assert reply.code == 250 and all(re.match(rb"250[ -]", line) for line in reply.raw.splitlines())
        assert not line_in(reply.raw)
        assert sender.command(b"RSET").code == 250


def test_extensions_and_auth(sender):
    for end in ENDS:
        assert sender.command(f'HELP "{end}"'.encode()).code == 250
        said = sender.command(b"EHLO again")
        assert not line_in(said.raw)
        assert all(line.split()[0].isalnum() or line.startswith(b"mx.test") for line in said.lines)
        reply = sender.command(b"AUTH PLAIN")
        assert reply.code in (454, 500, 504, 535) and not line_in(reply.raw)


def test_the_log(server, sender):
    for end in ENDS:
        sender.command(f'VRFY ["log", "{end}"]'.encode())
    server.wait_for_log("log\\xc2\\x85INJECTED" if "log\\xc2\\x85INJECTED" in server.log else "INJECTED")
    assert not re.search(r"(?m)^INJECTED", server.log) and "\r" not in server.log
