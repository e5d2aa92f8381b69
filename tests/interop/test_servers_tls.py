"""Postfix, Exim and OpenSMTPD deliver over TLS through `proxy.js`: each message once, unchanged, and with ESMTPS."""
import pytest
from certificates import Authority
from interop.test_servers import GIVEN_UP, SERVERS, assert_the_same, hand_over, server
from messages.varied import varied
from peers.postfix import without_trace
from peers.smtp_sink import SmtpSink
from scale import SCALE

TEST_SECONDS = 60 + 10 * SCALE
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
