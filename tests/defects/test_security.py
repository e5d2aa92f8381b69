"""Known defects of the predecessor, D5, D19 and of D20 the trace field of TLS: what came with TLS and with SPF."""
import json

import pytest
from certificates import Authority, client_context
from peers.dns import SILENCE, DnsThread
from peers.sender import Sender

ZONE = {
    ("slow.test", "TXT"): SILENCE,
    ("failing.test", "TXT"): "SERVFAIL",
    ("broken.test", "TXT"): ['broken.test 60 IN TXT "v=spf1 ipv4:192.0.2.1 -all"'],
    ("two.test", "TXT"): ['two.test 60 IN TXT "v=spf1 -all"', 'two.test 60 IN TXT "v=spf1 +all"'],
    ("strict.test", "TXT"): ['strict.test 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"'],
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca")).make("mx.example.org")


def test_d05_what_was_sent_in_clear_after_starttls_is_never_executed(serve, hop, certificate):
    """The injected commands come in one piece with STARTTLS, with and without TLS bytes behind them."""
    server = serve("""
        SmtpServer.prototype.smtpMail = function (path) { Sys.log(Sys.LOG_NOTICE, 'executed ' + path); };
        SmtpServer.prototype.smtpNoop = function () {
            return new SmtpResponse(250, JSON.stringify([this.clientname, this.sender === null]));
        };
    """, options=["--tls-certificate", certificate.both])
    for injected in (b"EHLO evil.test\r\nMAIL FROM:<evil@client.test>\r\n", b"RSET\r\nMAIL FROM:<evil@client.test>\r\n",
                     b"NOOP\r\n", b"RSET"):
        with Sender(server.port) as sender:
            sender.hello()
            sender.send(b"STARTTLS\r\n" + injected)
            assert sender.reply().code == 220
            sender.secure(client_context(), "mx.example.org")
            # The first reply within TLS is that of the first command within TLS, in a session that has forgotten its EHLO.
            assert json.loads(sender.command(b"NOOP").text) == [None, True]
            assert b"PIPELINING" in sender.command(b"EHLO honest.test").lines
            assert json.loads(sender.command(b"NOOP").text) == ["honest.test", True]
            assert sender.command(b"QUIT").code == 221
    assert "evil" not in "".join(line for line in server.log.splitlines() if "executed" in line)


@pytest.mark.parametrize(("domain", "result"), [
    ("slow.test", "temperror"), ("failing.test", "temperror"), ("broken.test", "permerror"), ("two.test", "permerror"),
    ("strict.test", "fail"), ("none.test", "none")])
def test_d19_failures_of_dns_and_broken_records_have_results_of_their_own(spf_server, domain, result):
    with Sender(spf_server.port) as sender:
        sender.hello()
        said = sender.command(f"VRFY {domain}".encode())
    assert json.loads(said.text) == [result, True]


@pytest.fixture(scope="module")
def spf_server(serve_module):
    with DnsThread(ZONE) as dns:
        yield serve_module("""
            SmtpServer.prototype.smtpVrfy = function (domain) {
                var old = new SpfServer(Spf.DNS_RESOLV).query('192.0.2.9', 'a@' + domain),
                    found = Spf.check('192.0.2.9', 'a@' + domain, 'client.test');
                return new SmtpResponse(252, JSON.stringify([found.result,
                    Spf.resultStrMap[old.result].toLowerCase() === found.result]));
            };
        """, options=["--dns-server", dns.address], timeouts={"dns": "0.5"})


def test_d20_received_says_that_it_came_over_tls(serve, hop, certificate):
    server = serve("proxy", settings={"nextHop": hop.address}, options=["--tls-certificate", certificate.both])
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"STARTTLS").code == 220
        sender.secure(client_context(), "mx.example.org")
        assert sender.command(b"EHLO client.test").code == 250
        sender.deliver(b"Subject: x\r\n\r\nx\r\n")
    assert b" with ESMTPS id " in hop.accepted[0].content
