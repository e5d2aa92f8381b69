"""Connections to next hops that are kept: nobody gets one on which somebody else has left what RSET does not take back.

The first session does something to a connection that open({reuse: true}) has made and gives it back; the second one asks for one
like it. What it must get is a new one.
"""
import pytest
from certificates import Authority
from peers.scripted import TLS, WAIT, Scripted
from peers.sender import Sender

POLICY = """
    SmtpServer.prototype.smtpNoop = function (text) {
        var wanted = JSON.parse(Sys.setting('wanted')), client = new SmtpClient('127.0.0.1', Sys.setting('port', 0)), kept;
        wanted.reuse = true;
        client.open(wanted);
        if (text) {
            new Function('client', text)(client);
        }
        kept = client.tls === null ? 'plain' : 'tls';
        return new SmtpResponse(250, kept + ' ' + client.release());
    };
"""
EHLO = ["EHLO me", b"250-hop", b"250-AUTH PLAIN", b"250 STARTTLS"]
FIRST = [b"220 x", *EHLO]
BYE = ["QUIT", b"221 bye"]
WANTED = '{"name": "me"}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates")).make("hop.test", "127.0.0.1")


def asked(server, what=""):
    with Sender(server.port) as sender:
        sender.hello()
        return sender.command(b"NOOP " + what.encode()).text


@pytest.mark.parametrize("what, script", [
    ("client.ehlo('client-of-the-first')", ["EHLO client-of-the-first", b"250-hop", b"250 AUTH PLAIN"]),
    ("client.sendCommand('EHLO other'); client.readResponse()", ["EHLO other", b"250 hop"]),
    ("client.sendCommand('HELO', 'other'); client.readResponse()", ["HELO other", b"250 hop"]),
    ("client.sendCommand('X-EXPS', 'LOGIN'); client.readResponse()", ["X-EXPS LOGIN", b"235 you are the administrator"]),
    ("client.sendCommand('AUTH', 'PLAIN AHUAcw=='); client.readResponse()", ["AUTH PLAIN AHUAcw==", b"535 no"]),
], ids=["ehlo", "EHLO as a command", "HELO", "a command of others", "AUTH that was refused"])
def test_what_reset_does_not_take_back_was_left_for_the_next_session(serve, what, script):
    with Scripted([*FIRST, *script, *BYE], [*FIRST, WAIT]) as hop:
        server = serve(POLICY, settings={"port": hop.port, "wanted": WANTED})
        assert asked(server, what) == "plain false"
        assert asked(server) == "plain true"
        assert len(hop.heard) == 2


def test_authentication_before_starttls_was_forgotten_by_us_and_maybe_not_by_the_next_hop(serve, certificate):
    script = ["AUTH PLAIN AHUAcw==", b"235 welcome", "STARTTLS", b"220 go", TLS, *EHLO]
    with Scripted([*FIRST, *script, *BYE], [*FIRST, WAIT], certificate=certificate.pair) as hop:
        server = serve(POLICY, settings={"port": hop.port, "wanted": WANTED})
        assert asked(server, "client.auth('PLAIN', 'u', 's', {clear: true}); client.startTls({mode: 'required'}); "
                             "client.ehlo('me')") == "tls false"
        assert asked(server) == "plain true"


def test_a_connection_without_tls_was_kept_for_those_who_require_it(serve, certificate):
    """A policy that opens with TLS, and then connects again without."""
    secure = [b"220 x", *EHLO, "STARTTLS", b"220 go", TLS, *EHLO]
    with Scripted([*secure, WAIT], [*FIRST, *BYE], [*secure, WAIT], certificate=certificate.pair) as hop:
        server = serve(POLICY, settings={"port": hop.port, "wanted": '{"name": "me", "tls": {"mode": "required"}}'})
        assert asked(server, "client.disconnect(); client.connect(); client.readResponse(); client.ehlo('me')") == "plain false"
        assert asked(server) == "tls true"


def test_with_the_same_name_said_again_it_is_kept(serve):
    with Scripted([*FIRST, "NOOP", b"250 ok", *EHLO, "RSET", b"250 ok", WAIT]) as hop:
        server = serve(POLICY, settings={"port": hop.port, "wanted": WANTED})
        assert asked(server, "client.sendCommand('NOOP'); client.readResponse(); client.ehlo('me')") == "plain true"
        assert asked(server) == "plain true"
        assert len(hop.heard) == 1
