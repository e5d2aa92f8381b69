"""The PROXY protocol in front of sessions: who is believed, what the policy sees, what becomes of everybody else."""
import json
import re

import pytest
from certificates import Authority, client_context
from peers.sender import Sender
from peers.waiting import wait_until
from proxied import LOCAL, UNIX, ends, tls, triple, v2, with_checksum

from mailfilter.errors import ConfigError
from mailfilter.net.entrance import trusted_networks

POLICY = """
SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, JSON.stringify([this.remoteAddr, this.remotePort, this.tls]));
};
SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, this.receivedHeader("id").toString().replace(/\\r\\n\\t/g, " "));
};
"""
FOUR = ends(("192.0.2.1", 56324), ("198.51.100.2", 25))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory):
    return tmp_path_factory.mktemp("socket") / "s"


@pytest.fixture(scope="module")
def server(serve_module, authority, socket_path):
    return serve_module(POLICY, listen=["proxy:127.0.0.1:0", "proxy:tls:127.0.0.1:0", f"proxy:unix:{socket_path}"],
                        options=["--tls-certificate", authority.make("mx.example.org").both],
                        timeouts={"proxy_header": 0.5})


def greeted(sender):
    reply = sender.reply()
    assert reply.code == 220
    return json.loads(reply.text)


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("header,expected", [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", ("192.0.2.1", 56324)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 5 6\r\n", ("2001:db8::1", 5)),
    (v2(*FOUR), ("192.0.2.1", 56324)), (with_checksum(*FOUR, triple(4, b"x" * 300)), ("192.0.2.1", 56324)),
    (v2(*ends(("2001:db8::1", 5), ("2001:db8::2", 6))), ("2001:db8::1", 5)), (v2(UNIX, b"/" * 216), ("local", 0))])
def test_the_policy_sees_the_client_of_the_header(server, header, expected, bytewise):
    with Sender(server.port, bytewise=bytewise) as sender:
        sender.send(header)
        assert tuple(greeted(sender)[:2]) == expected


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0, b"", command=LOCAL), v2(0)])
def test_a_proxy_that_names_nobody_speaks_for_itself(server, header):
    with Sender(server.port) as sender:
        sender.send(header)
        assert greeted(sender)[0] == "127.0.0.1"


def test_what_comes_right_behind_the_header_is_the_sessions(server):
    with Sender(server.port) as sender:
        sender.send(v2(*FOUR) + b"EHLO eager.test\r\nQUIT\r\n")
        assert [sender.reply().code for _ in range(3)] == [220, 250, 221]
    server.wait_for_log("client=192.0.2.1 port=56324 helo=eager.test")


def test_tls_of_the_proxy_is_the_clients(server):
    with Sender(server.port) as sender:
        sender.send(v2(*FOUR, tls(name=b"client.example") + triple(2, b"mx.example.org")))
        facts = greeted(sender)[2]
        assert facts == {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "bits": None, "sni": "mx.example.org",
                         "subject": "CN=client.example", "fingerprint": None, "verified": True, "resumed": False}
        assert sender.command(b"EHLO x.test").code == 250
        text = sender.deliver(b"Subject: x\r\n\r\n").text
        assert " with ESMTPS id id (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384);" in text
        assert "[192.0.2.1]" in text


def test_nonsense_of_a_proxy_stays_out_of_the_trace_field(server):
    with Sender(server.port) as sender:
        sender.send(v2(*FOUR, tls(version=b"a) by (b\r\n", cipher=b"\xff")))
        greeted(sender)
        assert sender.command(b"EHLO x.test").code == 250
        assert " (version=a??by??b?? cipher=?);" in sender.deliver(b"Subject: x\r\n\r\n").text


def test_tls_begins_behind_the_header(server):
    for header in (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", v2(*FOUR)):
        with Sender(server.ports[1]) as sender:
            sender.send(header)
            sender.secure(client_context(), "mx.example.org")
            address, _, facts = greeted(sender)
            assert address == "192.0.2.1" and facts["sni"] == "mx.example.org" and facts["bits"]


def test_header_and_client_hello_in_one_piece(server):
    import ssl
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with Sender(server.ports[1]) as sender:
        first = v2(*FOUR)
        while True:
            try:
                client.do_handshake()
                greeting = client.read(1000)
                break
            except ssl.SSLWantReadError:
                sender.send(first + outgoing.read())
                first = b""
                incoming.write(sender.socket.recv(65536))
    assert b'"192.0.2.1"' in greeting


def test_over_a_unix_socket(server, socket_path):
    with Sender(unix=socket_path) as sender:
        sender.send(v2(*FOUR))
        assert greeted(sender)[0] == "192.0.2.1"


@pytest.mark.parametrize("said,why", [
    (b"EHLO client.test\r\n", "what came is no PROXY header"), (b"\x16\x03\x01\x00", "what came is no PROXY header"),
    (v2(*FOUR, triple(3, b"abcd")), "the checksum is wrong"), (v2(*FOUR, triple(4, b"x" * 5000)), "the header is too long"),
    (b"", "nothing complete came within 0.5 s"), (v2(*FOUR)[:-1], "nothing complete came within 0.5 s")])
def test_without_a_good_header_nobody_is_spoken_to(server, said, why):
    before = server.log.count(why)
    with Sender(server.port) as sender:
        sender.send(said)
        assert sender.closed_by_server()
    wait_until(lambda: server.log.count(why) == before + 1, why)
    assert re.search(r"warning - no PROXY header client=127.0.0.1 listener=127.0.0.1:[0-9]+ why=", server.log)


def test_a_look_whether_somebody_listens_is_no_warning(server):
    before = server.log.count("no PROXY header")
    with Sender(server.port) as sender:
        sender.half_close()
        assert sender.closed_by_server()
    with Sender(server.port) as sender:
        sender.send(b"PROXY UNKNOWN\r\n")
        greeted(sender)
    assert server.log.count("no PROXY header") == before


def test_from_elsewhere_nobody_is_believed(serve):
    server = serve(POLICY, listen=["proxy:127.0.0.1:0"], options=["--proxy-from", "192.0.2.0/24", "--proxy-from", "::1"])
    with Sender(server.port) as sender:
        assert sender.closed_by_server()
    server.wait_for_log("client=127.0.0.1 listener=127.0.0.1:" + str(server.port) + " why=\"not one of the trusted proxies\"")


def test_connections_without_a_header_end_with_the_server(serve):
    server = serve(POLICY, listen=["proxy:127.0.0.1:0"])
    with Sender(server.port) as waiting, Sender(server.port) as served:
        served.send(b"PROXY UNKNOWN\r\n")
        greeted(served)
        assert server.stop() == 0
        assert waiting.closed_by_server()


def test_trusted_networks():
    assert [str(network) for network in trusted_networks([])] == ["127.0.0.0/8", "::1/128"]
    assert [str(network) for network in trusted_networks(["192.0.2.1", "2001:db8::/32"])] == ["192.0.2.1/32", "2001:db8::/32"]
    for text in ("192.0.2.1/24", "proxy.example", ""):
        with pytest.raises(ConfigError, match="--proxy-from"):
            trusted_networks([text])
