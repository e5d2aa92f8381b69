"""Postfix, Exim and OpenSMTPD over TLS, as senders and as next hops: each message once, unchanged, and with ESMTPS."""
import re
import ssl
from pathlib import Path

import pytest
from certificates import Authority, client_context
from interop.test_servers import GIVEN_UP, SERVERS, assert_the_same, hand_over, server
from messages.varied import varied
from peers.postfix import without_trace
from peers.sender import Sender
from peers.smtp_sink import SmtpSink
from scale import SCALE

TEST_SECONDS = 120 + 10 * SCALE
NUMBER = 12 * SCALE


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def sink():
    with SmtpSink(dump=True) as sink:
        yield sink


@pytest.fixture(scope="module")
def proxy(sink, authority, serve_module):
    return serve_module("proxy", listen=["127.0.0.1:0", "tls:127.0.0.1:0"],
                        settings={"nextHop": f"127.0.0.1:{sink.port}"},
                        options=["--tls-certificate", authority.make("proxy.test").both, "--hostname", "proxy.test"])


@pytest.mark.parametrize("beginning", ["starttls", "implicit"])
@pytest.mark.parametrize("name", SERVERS)
def test_over_tls(name, beginning, proxy, sink):
    kind = b"%s-%s" % (name.encode(), beginning.encode())
    messages = {number: varied(number, nul=False, kind=kind) for number in range(NUMBER)}
    with server(name, relay=proxy.ports[beginning == "implicit"], tls=beginning) as sender:
        hand_over(sender.port, messages)
        sender.wait_until_empty()
        log = sender.log()
    assert not any(word in log for word in GIVEN_UP), log
    arrived = [pair for message in sink.messages()
               if b"X-Kind: " + kind + b"\r\n" in (pair := without_trace(message.content))[1]]
    assert_the_same(arrived, messages)
    for fields, _ in arrived:
        assert b"\tby proxy.test " in fields[0] and b" with ESMTPS " in fields[0] and b"(version=TLSv1.3 " in fields[0]


@pytest.mark.parametrize("mode", ["opportunistic", "required", "verified"])
@pytest.mark.parametrize("behind", ["postfix", "exim"])
def test_to_a_next_hop_that_takes_nothing_in_clear(behind, mode, authority, serve, tmp_path):
    """STARTTLS on both sides. (OpenSMTPD of Debian 12 cannot serve TLS.)"""
    certificate, key = (tmp_path / name for name in ("certificate", "key"))
    pair = authority.make("localhost", "127.0.0.1")
    certificate.write_bytes(Path(pair.file).read_bytes())
    key.write_bytes(Path(pair.key).read_bytes())
    messages = {number: varied(number, nul=False) for number in range(5)}
    with server(behind, certificate=(str(certificate), str(key))) as destination:
        settings = {"nextHop": f"127.0.0.1:{destination.port}", "nextHopTls": mode}
        if mode == "verified":
            settings["nextHopCa"] = authority.file
        proxy = serve("proxy", settings=settings,
                      options=["--tls-certificate", authority.make("proxy.test").both, "--hostname", "proxy.test"])
        with server("postfix", relay=proxy.port, tls="starttls") as sender:
            hand_over(sender.port, messages)
            sender.wait_until_empty()
            destination.wait_until_empty()
        arrived = [without_trace(content) for content in destination.delivered()]
    assert_the_same(arrived, messages)
    for fields, _ in arrived:
        by = {field.split(b"\tby ")[1].split(b" ")[0]: field for field in fields if b"\tby " in field}
        assert b" with ESMTPS " in by[b"proxy.test"]
        assert re.search(rb"(?i) with esmtps ", by[b"destination.test"])


@pytest.mark.parametrize("behind", ["postfix", "exim"])
def test_a_next_hop_that_cannot_be_verified_gets_nothing(behind, authority, serve, tmp_path_factory):
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "Another CA").make("localhost", "127.0.0.1")
    with server(behind, certificate=stranger.pair) as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}", "nextHopTls": "verified",
                                         "nextHopCa": authority.file})
        with Sender(proxy.port) as client:
            assert client.reply().code == 220
            replies = [client.command(b"EHLO client.test")]
            if replies[0].code == 250:
                replies = client.transaction(varied(1))
            assert 400 <= replies[-1].code < 500, replies
        assert destination.delivered() == [] and destination.queued() == 0


def test_opensmtpd_cannot_serve_tls_at_all(authority):
    """Should this fail one day: take OpenSMTPD into the test above."""
    with server("opensmtpd", certificate=authority.make("localhost").pair) as destination:
        with Sender(destination.port) as client:
            client.hello()
            assert client.command(b"STARTTLS").code == 220
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client_context(authority).wrap_socket(client.socket, server_hostname="localhost")
