"""Signatures survive the proxy octet for octet, and what a policy signs on the way is good behind it."""
import dkim
import pytest
from authentication.test_spoofing import KEYS, PEM, VICTIM, pem, record_of
from peers.next_hop import NextHop
from peers.sender import Sender

KINDS = [(head, body) for head in (b"simple", b"relaxed") for body in (b"simple", b"relaxed")]

# What a careless relay would change: blanks, folding, dots at line starts, octets that are no text, empty lines at the end.
ODD = (b"Received: from a\r\n\tby b;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\nfrom:   Boss\t<boss@victim.example> \r\n"
       b"Subject: folded\r\n  and \r\n\t folded\r\nX-Raw: \xff\xfe caf\xe9\r\nTo:you@example.net\r\n\r\n"
       b".a dot\r\n..two dots\r\n \t blanks  \t \r\nFrom here\r\n\xa0\xff\r\n\r\n\r\n")

SIGNING = """
var key = Sys.setting('key');
SmtpServer.prototype.smtpMail = function (path) {
    this.hop = new SmtpClient('127.0.0.1', Sys.setting('port', 25));
    var opened = this.hop.open();
    return opened.code < 300 ? this.hop.mail(path) : opened;
};
SmtpServer.prototype.smtpRcpt = function (path) { return this.hop.rcpt(path); };
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return null; }
    headers.push(new SmtpHeader('X-Added', 'by us'));
    headers.unshift(Dkim.sign(headers, body, {
        domain: 'victim.example', selector: 'k', key: key, canonicalization: this.clientname.replace('.', '/'),
        headers: ['From', 'X-Added']
    }));
    return this.hop.transfer(headers, body);
};
"""


def key_of(name, timeout=5):
    return record_of(KEYS[VICTIM]).encode()


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [ODD, ODD.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"], ids=["odd", "empty body"])
def test_a_signature_is_as_good_behind_the_proxy(serve_module, hop, text, kind, chunked):
    server = _proxy(serve_module, hop)
    signature = dkim.sign(text, b"k", VICTIM.encode(), PEM[VICTIM], canonicalize=kind,
                          include_headers=[b"from", b"subject", b"to", b"x-raw"])
    message = signature + text
    assert dkim.verify(message, dnsfunc=key_of)
    before = len(hop.accepted)
    with Sender(server.port) as sender:
        sender.hello()
        if chunked:
            sender.command(b"MAIL FROM:<a@client.test>")
            sender.command(b"RCPT TO:<b@example.test>")
            middle = len(message) // 3
            sender.send(b"BDAT %d\r\n%bBDAT %d LAST\r\n%b" % (middle, message[:middle], len(message) - middle, message[middle:]))
            assert [sender.reply().code, sender.reply().code] == [250, 250]
        else:
            sender.deliver(message)
    [received] = hop.accepted[before:]
    assert received.content == message
    assert dkim.verify(received.content, dnsfunc=key_of)


_servers = {}


def _proxy(serve_module, hop):
    if hop not in _servers:
        _servers[hop] = serve_module("proxy", settings={"nextHop": hop.address, "received": "false"})
    return _servers[hop]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_policy_signs_is_good_behind_it(serve_module, hop, tmp_path, kind):
    file = tmp_path / "key.pem"
    file.write_bytes(pem(KEYS[VICTIM]))
    server = serve_module(SIGNING, settings={"key": file, "port": hop.port})
    before = len(hop.accepted)
    with Sender(server.port) as sender:
        sender.hello(name=b".".join(kind))
        sender.deliver(ODD)
    [received] = hop.accepted[before:]
    assert received.content.startswith(b"DKIM-Signature:") and b"\r\nX-Added: by us\r\n" in received.content
    assert dkim.verify(received.content, dnsfunc=key_of)
    assert not dkim.verify(received.content.replace(b"by us", b"by me"), dnsfunc=key_of)
