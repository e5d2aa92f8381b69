"""An LMTP next hop that answers a message with the wrong number of replies: nobody is told 250 for what was not taken."""
import pytest
from peers.scripted import DATA, WAIT, Scripted
from peers.sender import Sender

CONTENT = b"Subject: x\r\n\r\nbody\r\n"
LHLO = [b"220 hop LMTP", "LHLO .*", b"250-hop", b"250 PIPELINING"]
ONE = ["MAIL .*", b"250 ok", "RCPT .*", b"250 ok", "DATA", b"354 go", DATA]

BOTH = """
    SmtpServer.prototype.smtpMail = function (path) {
        this.hop = new SmtpClient('127.0.0.1', Sys.setting('port', 0), { lmtp: true, timeouts: { data_end: 1 } });
        this.hop.open();
        return this.hop.mail(path);
    };
    SmtpServer.prototype.smtpRcpt = function (path) { return this.hop.rcpt(path); };
    SmtpServer.prototype.smtpData = function (headers, body) {
        return headers === null ? null : this.hop.transfer(headers, body);
    };
"""


@pytest.mark.parametrize("extra", [b"250 two", b"550 two", b"354 two", b"421 two"])
def test_more_replies_than_recipients(serve, extra):
    """They are no replies to what comes next."""
    with Scripted([*LHLO, *ONE, b"250 one\r\n" + extra, WAIT], [*LHLO, *ONE, b"550 no", WAIT]) as hop:
        server = serve("proxy", settings={"nextHop": hop.address, "nextHopLmtp": "true"})
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.deliver(CONTENT).text == "one"
            assert sender.transaction(CONTENT)[-1].code >= 400


@pytest.mark.parametrize("replies", [[b"250 one"], [b"250 one\r\n250-half of"], []], ids=["one", "one and a half", "none"])
def test_fewer_replies_than_recipients(serve, replies):
    with Scripted([*LHLO, *ONE[:4], "RCPT .*", b"250 ok", *ONE[4:], *replies, WAIT]) as hop:
        server = serve(BOTH, settings={"port": hop.port})
        with Sender(server.port, patience=30) as sender:
            sender.hello()
            replies = sender.transaction(CONTENT, recipients=(b"<a@b>", b"<c@d>"))
            assert [reply.code for reply in replies] == [250, 250, 250, 354, 451]


def test_a_reply_for_a_recipient_that_was_refused(serve):
    """Servers that answer for every RCPT, those that they have refused included: whose reply is whose cannot be told."""
    script = [*LHLO, *ONE[:2], "RCPT .*", b"550 no", "RCPT .*", b"250 ok", *ONE[4:], b"550 the first\r\n250 the second", WAIT]
    with Scripted(script) as hop:
        server = serve(BOTH, settings={"port": hop.port})
        with Sender(server.port, patience=30) as sender:
            sender.hello()
            replies = sender.transaction(CONTENT, recipients=(b"<a@b>", b"<c@d>"))
            assert [reply.code for reply in replies] == [250, 550, 250, 354, 550]
