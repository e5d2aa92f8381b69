"""A policy that tries to get a line end, and with it a line of its own, out of every place where it may write.

Towards the next hop (commands, envelope, parameters, AUTH, XCLIENT, names, headers, bodies) and towards the client
(replies of every handler). The next hop is the one that takes the most for a line end.
"""
import json
import re

import pytest
from peers.lenient_sink import LenientSink
from peers.sender import Closed, Sender

# Line ends, and what becomes one when somebody keeps only the low octet, or takes other characters for one.
ENDS = ["\r\n", "\n", "\r", "\0", "\r\n.\r\n", "\n.\n", "\r.\r", "\n\r",
        "\u010d\u010a", "\uff0d\uff0a", "\x85", "\u2028", "\v", "\f"]
OFFERS = (b"AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER", b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN", b"XFORWARD NAME ADDR HELO",
          b"DSN", b"SMTPUTF8", b"PRDR")

# Each is a body of function (client, bad): `client` has said EHLO, and `path` is a good path.
TRIES = """
    client.ehlo(bad)
    client.hello({name: bad})
    client.open({name: bad})
    client.open({name: 'me', xclient: {NAME: bad}})
    client.sendCommand(bad)
    client.sendCommand('NOOP', bad)
    client.sendCommand('VRFY', bad)
    client.sendCommand({toString: function () { return bad; }}, {toString: function () { return bad; }})
    client.sendCommand('MAIL', 'FROM:<' + bad + '>')
    client.sendCommand('MAIL', 'FROM:<a@b> ' + bad)
    path.mailbox.local = bad; client.mail(path)
    path.mailbox.domain = bad; client.mail(path)
    path.domains = [bad]; client.mail(path)
    path.toString = function () { return '<' + bad + '>'; }; client.mail(path)
    path.toString = function () { return bad; }; client.mail(path)
    path.params[bad] = true; client.mail(path)
    path.params[bad] = 'x'; client.mail(path)
    path.params.SIZE = bad; client.mail(path)
    path.params.BODY = bad; client.mail(path)
    path.params.ENVID = bad; client.mail(path)
    path.params.AUTH = bad; client.mail(path)
    path.params.RET = {toString: function () { return bad; }}; client.mail(path)
    client.mail(path); path.mailbox.local = bad; client.rcpt(path)
    client.mail(path); path.mailbox.domain = bad; client.rcpt(path)
    client.mail(path); path.params.NOTIFY = bad; client.rcpt(path)
    client.mail(path); path.params.ORCPT = bad; client.rcpt(path)
    client.auth('PLAIN', bad, bad, {clear: true})
    client.auth('LOGIN', bad, bad, {clear: true})
    client.auth('XOAUTH2', bad, bad, {clear: true})
    client.auth('OAUTHBEARER', bad, bad, {clear: true})
    client.auth(bad, 'user', 'secret', {clear: true})
    client.relayAuth(bad)
    client.relayAuth('PLAIN', bad)
    client.relayAuth('LOGIN'); client.relayAuthLine(bad)
    client.relayAuth('LOGIN'); client.sendCommand(bad)
    client.xclient({NAME: bad})
    client.xclient({ADDR: bad, HELO: bad, LOGIN: bad})
    attributes[bad] = bad; client.xclient(attributes)
    client.xforward({NAME: bad, HELO: bad})
    client.startTls({mode: 'required', name: bad})
    send([new SmtpHeader(bad, 'x')], 'body')
    send([new SmtpHeader('X', bad)], 'body')
    send([new SmtpHeader('X', [bad, bad])], 'body')
    send([new SmtpHeader('X', ['', bad, ''])], 'body')
    send([new SmtpHeader('X' + bad, ['x', bad])], 'body')
    send([bad], 'body')
    send(['X: y' + bad, 'Y: z'], 'body')
    send([{toString: function () { return 'X: y' + bad; }}], 'body')
    header.name = bad; send([header], 'body')
    header.parts = {length: 2, 0: bad, 1: bad}; send([header], 'body')
    send([new SmtpHeader('X', 'y')], bad)
    send([new SmtpHeader('X', 'y')], bad + bad)
    send(null, bad)
    send([], bad)
"""
TRIES = [line.strip() for line in TRIES.strip().splitlines()]

POLICY = """
    var port = Sys.setting('port', 0), ENDS = @ENDS@;
    var TRIES = [@TRIES@];
    SmtpServer.prototype.smtpNoop = function (text) {
        var words = text.split(' '), attempt = TRIES[Number(words[0])], told = [], i, client, path, bad, sent;
        function send(headers, body) {
            client.mail(path);
            client.rcpt(path);
            if (words[1] === 'BDAT') {
                client.sendChunks(headers, body);
            } else {
                client.sendCommand('DATA');
                client.readResponse();
                client.sendMessage(headers, body);
            }
            sent = client.readMessageResponse().code;
        }
        for (i = 0; i < ENDS.length; i++) {
            bad = 'x' + ENDS[i] + 'INJECTED: y' + ENDS[i] + 'MAIL FROM:<injected@evil.test>' + ENDS[i];
            path = new SmtpPath();
            path.parse('<good@client.test>');
            client = new SmtpClient('127.0.0.1', port, {timeouts: {hello: 5, data_end: 5}});
            client.open({name: 'me'});
            sent = null;
            try {
                attempt(client, bad, path, {}, new SmtpHeader('X', 'y'), send);
                told.push(sent === null ? 'done' : sent);
            } catch (error) {
                told.push(sent === null ? 'refused' : sent);
            }
            client.disconnect();
        }
        return new SmtpResponse(250, told.join(' '));
    };
""".replace("@ENDS@", json.dumps(ENDS)).replace("@TRIES@", ",".join(
    "function (client, bad, path, attributes, header, send) { " + line + "; }" for line in TRIES))


def tried(server, *words):
    """What became of one try, for each of ENDS: done, refused, or the code that a message got."""
    with Sender(server.port, patience=60) as sender:
        sender.hello()
        reply = sender.command(b"NOOP " + " ".join(map(str, words)).encode())
        assert reply.code == 250, (TRIES[words[0]], reply)
        results = reply.text.split(" ")
        assert len(results) == len(ENDS)
        return results


def test_nothing_that_leaves_for_the_next_hop_has_a_line_of_the_policys_making(serve):
    with LenientSink(chunking=True, offers=OFFERS) as sink:
        server = serve(POLICY, settings={"port": sink.port})
        results = {}
        for number, line in enumerate(TRIES):
            for way in ("DATA", "BDAT") if line.split("; ")[-1].startswith("send(") else ("",):
                results[line, way] = tried(server, number, way)
        server.stop()
    assert len(sink.received) > len(TRIES) * len(ENDS)
    for octets in sink.received:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets), octets
        assert b"\0" not in re.sub(rb"(?s)(?:DATA|BDAT).*", b"", octets)
    for command in sink.commands:
        assert not re.match(rb"(?i)INJECTED|MAIL FROM:<injected", command), command
    # As many messages as the policy was told of, and none of them with a header field or sender of the text's making.
    assert len(sink.seen) == sum(code == "250" for codes in results.values() for code in codes)
    for message in sink.seen:
        assert message.sender.startswith(b"<good@client.test>") and len(message.recipients) == 1
        section = b"" if message.wire.startswith(b"\r\n") else message.wire.partition(b"\r\n\r\n")[0]
        assert not re.search(rb"(?m)^(?:INJECTED|MAIL)", section), message.wire
    # A line end in a command is refused, not written as something else; messages may hold lines.
    for (line, _), codes in results.items():
        if not line.split("; ")[-1].startswith("send(") and "xclient" not in line and "xforward" not in line:
            assert "done" not in codes[:4] or "auth(" in line or "params[bad]" in line, (line, codes)


REPLIES = """
    var ENDS = @ENDS@, OFFERED = ['8BITMIME', 'PRDR', 'AUTH PLAIN LOGIN'];
    SmtpServer.prototype.bad = function (code) {
        var end = ENDS[this.which], bad = '2.0.0 x' + end + 'INJECTED' + end + '250 INJECTED';
        return new SmtpResponse(code, this.array ? [bad, bad] : bad);
    };
    SmtpServer.prototype.smtpInit = function () {
        this.which = 0;
        return this.bad(220);
    };
    SmtpServer.prototype.smtpNoop = function (text) {
        var words = text.split(' ');
        this.which = Number(words[0]);
        this.array = words[1] === 'array';
        return this.bad(250);
    };
    SmtpServer.prototype.smtpHelo = function () { return this.bad(250); };
    SmtpServer.prototype.smtpEhlo = function () {
        var bad = this.bad(250).message;
        return new SmtpResponse(250, this.which ? ['me'].concat(OFFERED, bad, ['SIZE 5' + bad, 'LIMITS RCPTMAX=3' + bad]) :
            ['me'].concat(OFFERED));
    };
    SmtpServer.prototype.smtpMail = function () { return this.bad(250); };
    SmtpServer.prototype.smtpRcpt = function (path) { return this.bad(250); };
    SmtpServer.prototype.smtpPreData = function () { return this.bad(354); };
    SmtpServer.prototype.smtpData = function (headers) {
        return headers === null ? null : this.recipients.map(function () { return this.bad(250); }.bind(this));
    };
    SmtpServer.prototype.smtpRset = function () { return this.bad(250); };
    SmtpServer.prototype.smtpVrfy = function () { return this.bad(252); };
    SmtpServer.prototype.smtpExpn = function () { return this.bad(252); };
    SmtpServer.prototype.smtpHelp = function () { return this.bad(214); };
    SmtpServer.prototype.smtpUnknown = function () { return this.bad(502); };
    SmtpServer.prototype.smtpAuth = function () { return this.bad(535); };
    SmtpServer.prototype.smtpQuit = function () { return this.bad(221); };
""".replace("@ENDS@", json.dumps(ENDS))

DIALOG = [b"HELO me", b"EHLO me", b"VRFY a", b"EXPN a", b"HELP", b"WHAT", b"AUTH PLAIN AAAA", b"MAIL FROM:<a@b> PRDR",
          b"RCPT TO:<c@d>", b"RCPT TO:<e@f>", b"DATA", b"Subject: x\r\n\r\nx\r\n.", b"RSET", b"QUIT"]


def reply_lines(sender):
    """All that comes until the server closes."""
    lines = []
    try:
        while True:
            lines.append(sender.reply().raw)
    except Closed:
        return lines


@pytest.fixture(scope="module")
def replying(serve_module):
    return serve_module(REPLIES, options=["--auth-without-tls"])


@pytest.mark.parametrize("array", [b"", b"array"])
@pytest.mark.parametrize("which", range(len(ENDS)), ids=[json.dumps(end) for end in ENDS])
def test_a_reply_is_one_reply_whatever_is_in_it(replying, which, array):
    """A client that counts replies by their lines counts as many as it has asked for."""
    with Sender(replying.port) as sender:
        replies = [sender.reply().raw, sender.command(b"NOOP %d %s" % (which, array)).raw]
        for line in DIALOG[:-1]:
            replies.append(sender.command(line).raw)
            if replies[-1].startswith(b"353"):
                replies += [sender.reply().raw for _ in range(3)]
        sender.send(DIALOG[-1] + b"\r\n")
        replies += reply_lines(sender)
    assert len(replies) == 2 + len(DIALOG) + 3, replies
    for raw in replies:
        code = raw[:3]
        assert re.fullmatch(rb"(?:%b-[^\r\n\0]*\r\n)*%b [^\r\n\0]*\r\n" % (code, code), raw), raw
    # What a client reads as an extension is one, and not a text.
    ehlo = replies[3].split(b"\r\n")[:-1]
    assert not any(b"INJECTED" in line for line in ehlo), ehlo
