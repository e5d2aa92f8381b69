"""A message as the policy sees it: its parts, attachments, links, and what leaves when parts are changed; small and large."""
import base64
import json
import smtplib

import pytest
from peers.next_hop import NextHop

POLICY = """
function answer(value) { return new SmtpResponse(550, JSON.stringify(value, null, 1).split('\\n')); }
function about(part) {
    return [part.path, part.type, part.name, part.extension, part.attachment,
        part.parent && part.parent.path, part.headers().length];
}
var asked = {
    parts: function (headers, body) { return body.parts().map(about); },
    problems: function (headers, body) { return body.parts().problems; },
    texts: function (headers, body) {
        return body.parts().filter(function (part) { return part.leaf; }).map(function (part) { return part.text(); });
    },
    files: function (headers, body) {
        return body.attachments().map(function (part) { return [part.name, part.magic(), part.read(0, 4), part.length]; });
    },
    links: function (headers, body) { return body.links(3); },
    search: function (headers, body) {
        var found = body.search(/needle (\\d+)/), none = body.search(/no such words/);
        return [found && found.match[1], found && found.part.path, none, body.parts()[0].search(/x/g)];
    },
    lines: function (headers, body) { return [body.lines().slice(0, 3), body.text(5), body.text().length === body.length]; },
    decoded: function (headers, body) { return headers.map(function (header) { return header.decoded(); }); },
    same: function (headers, body) { return [body.parts() === body.parts(), body.edited(headers) === body]; },
    cursors: function (headers, body) {
        for (var i = 0; i < 100; i++) { body.parts()[1].text(3); }
        return body.parts()[1].text(3);
    },
    wrong: function (headers, body) {
        var problems = [], part = body.parts()[0];
        [function () { part.search('x'); }, function () { part.replace('a', {type: 'no type'}); body.edited(headers); },
         function () { body.edited(); }, function () { part.number = 77; part.text(); }
        ].forEach(function (wrong) {
            try { wrong(); problems.push(null); } catch (error) { problems.push(error.message); }
        });
        return problems;
    },
    versions: function (headers, body) {
        var made = 0;
        try {
            for (;;) { body.parts()[1].replace(String(made)); body.edited(headers).parts(); made++; }
        } catch (error) { return [made, error.message]; }
    },
    other: function (headers, body) { return body.parts(['Content-Type: text/html']).map(about); }
};
SmtpServer.prototype.smtpEhlo = function () { return new SmtpResponse(250, ['mx', 'CHUNKING', 'BINARYMIME', '8BITMIME']); };
SmtpServer.prototype.smtpMail = SmtpServer.prototype.smtpRcpt = function (path) {
    this.question = path.mailbox.local;
    return new SmtpResponse(250, 'ok');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    return body && answer(asked[this.question](headers, body));
};
"""

MESSAGE = b"""Subject: =?utf-8?q?caf=C3=A9?=
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1

one caf\xe9, see http://one.test/a?b=c. needle 5
.dot
--b
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

<a href=3D"https://two.t=
est/">two</a>
--b
Content-Type: application/octet-stream; name="a.EXE. "
Content-Transfer-Encoding: base64

TVqQAAAA
--b--
""".replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(POLICY, limits={"spool_memory_bytes": 100_000, "spool_shared_bytes": 0})


def ask(server, question, message=MESSAGE):
    with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
        client.ehlo()
        client.mail("a@example.net")
        client.rcpt(f"{question}@example.org")
        code, text = client.data(message)
    assert code == 550, text
    return json.loads(text.decode("utf-8", "replace"))


def large(message):
    """The same with so much text in front that the body is in a file, and is worked on in a thread."""
    filler = b"".join(b"%060d\r\n" % number for number in range(20_000))
    return message.replace(b"one caf", filler + b"one caf")


@pytest.mark.parametrize("sized", [lambda message: message, large], ids=["small", "large"])
def test_what_is_in_a_message(server, sized):
    message = sized(MESSAGE)
    assert ask(server, "parts", message) == [
        ["", "multipart/mixed", None, "", False, None, 0], ["1", "text/plain", None, "", False, "", 1],
        ["2", "text/html", None, "", False, "", 2], ["3", "application/octet-stream", "a.EXE. ", "exe", True, "", 2]]
    assert ask(server, "problems", message) == []
    assert ask(server, "files", message)[0][:2] == ["a.EXE. ", "application/x-dosexec"]
    assert ask(server, "links", message) == ["http://one.test/a?b=c", "https://two.test/"]
    assert ask(server, "search", message)[:3] == ["5", "1", None]


def test_small_things(server):
    assert ask(server, "texts") == ["one café, see http://one.test/a?b=c. needle 5\r\n.dot", '<a href="https://two.test/">two</a>',
                                    "MZ\ufffd\0\0\0"]
    assert ask(server, "decoded") == ["café", "multipart/mixed; boundary=b"]
    lines, beginning, whole = ask(server, "lines")
    assert (lines[:2], beginning, whole) == (["--b", "Content-Type: text/plain; charset=iso-8859-1"], "--b\r\n", True)
    assert ask(server, "same") == [True, True]
    assert ask(server, "cursors") == "one"
    assert ask(server, "other")[0][1] == "text/html"
    said = ask(server, "wrong")
    assert "regular expression" in said[0] and "no media type" in said[1] and "headers" in said[2] and "no part 77" in said[3]
    made, why = ask(server, "versions")
    assert made == 20 and "at most 20 bodies" in why


EDITING = """
SmtpServer.prototype.smtpInit = function () {
    this.hop = new SmtpClient('127.0.0.1', +Sys.setting('port'));
    this.hop.connect();
    return this.hop.readResponse();
};
function relay(verb, argument) { this.hop.sendCommand(verb, argument); return this.hop.readResponse(); }
SmtpServer.prototype.smtpEhlo = function () { return relay.call(this, 'EHLO', this.hostname); };
SmtpServer.prototype.smtpMail = function (path) { return relay.call(this, 'MAIL', 'FROM:' + path); };
SmtpServer.prototype.smtpRcpt = function (path) { return relay.call(this, 'RCPT', 'TO:' + path); };
SmtpServer.prototype.smtpData = function (headers, body) {
    if (!body) { return null; }
    var parts = body.parts(), file = parts[parts.length - 1];
    file.replace('.removed\\n', {type: 'text/plain', name: 'why.txt'});
    body = body.edited(headers);
    relay.call(this, 'DATA');
    this.hop.sendMessage(headers, body);
    return this.hop.readResponse();
};
"""


@pytest.mark.parametrize("sized", [lambda message: message, large], ids=["small", "large"])
def test_what_is_not_changed_leaves_as_it_came(serve, sized):
    message = sized(MESSAGE)
    with NextHop() as hop:
        server = serve(EDITING, settings={"port": hop.port}, limits={"spool_memory_bytes": 100_000, "spool_shared_bytes": 0})
        with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
            client.sendmail("a@example.net", ["b@example.org"], message)
            client.sendmail("a@example.net", ["b@example.org"], b"Subject: x\r\nContent-Type: text/html\r\n\r\n<b>\r\n")
        first, second = (one.content for one in hop.conversations[0].transactions)
    before, _, behind = message.partition(b"Content-Type: application/octet-stream")
    behind = behind[behind.index(b"\r\n--b--"):]
    assert first == before + (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Content-Disposition: attachment;\r\n filename=\"why.txt\"\r\n\r\n.removed\r\n") + behind
    assert second == (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Content-Disposition: attachment;\r\n filename=\"why.txt\"\r\n\r\n.removed\r\n")


def test_others_do_not_wait(serve):
    """While the parts of ten large messages are looked for, another session is answered."""
    server = serve(POLICY)
    body = (b"--\r\n" * 2_000_000)
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    with smtplib.SMTP("127.0.0.1", server.port, timeout=50) as client:
        client.ehlo()
        client.mail("a@example.net")
        client.rcpt("problems@example.org")
        assert b"no end" in client.data(message)[1]


def test_base64_in_pieces(server):
    octets = bytes(range(256)) * 3000
    message = (b"Content-Type: application/x; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
               + base64.encodebytes(octets).replace(b"\n", b"\r\n"))
    assert ask(server, "files", message)[0][2] == "\0\1\2\3"
