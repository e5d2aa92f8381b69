"""A real HAProxy in front: PROXY versions 1 and 2, what it says about TLS, health checks, TLS passed through."""
import json
import re

import pytest
from certificates import Authority, client_context
from peers import haproxy
from peers.haproxy import HaProxy
from peers.sender import Sender
from peers.waiting import wait_until

pytestmark = pytest.mark.skipif(haproxy.missing() is not None, reason=str(haproxy.missing()))

POLICY = """
SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, JSON.stringify([this.remoteAddr, this.remotePort, this.tls]));
};
SmtpServer.prototype.smtpData = function () { return new SmtpResponse(250, this.receivedHeader("id").toString()); };
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory):
    return tmp_path_factory.mktemp("socket") / "s"


@pytest.fixture(scope="module")
def server(serve_module, authority, socket_path):
    return serve_module(POLICY, listen=["proxy:127.0.0.1:0", "proxy:tls:127.0.0.1:0", f"proxy:unix:{socket_path}"],
                        options=["--tls-certificate", authority.make("mx.example.org").both])


@pytest.fixture(scope="module")
def front(server, authority, socket_path):
    plain, secure = (f"127.0.0.1:{port}" for port in server.ports)
    shows = f"ssl crt {authority.make('front.example.org').both} ca-file {authority.file} verify optional"
    with HaProxy({
            "v1": (plain, "send-proxy", ""), "v2": (plain, "send-proxy-v2", ""),
            "unix": (f"unix@{socket_path}", "send-proxy-v2", ""),
            "checksum": (plain, "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn,ssl-cipher", shows),
            "ssl": (plain, "send-proxy-v2-ssl-cn", shows),
            "passed": (secure, "send-proxy-v2", ""), "passed1": (secure, "send-proxy", ""),
            "checked": (plain, "send-proxy-v2 check check-send-proxy inter 50ms", "")}) as proxy:
        yield proxy


def told(sender):
    address, port, facts = json.loads(sender.reply().text)
    assert (address, port) == sender.socket.getsockname()
    return facts


@pytest.mark.parametrize("name", ["v1", "v2", "unix", "checked"])
def test_the_client_is_seen(front, name):
    with Sender(front.ports[name]) as sender:
        assert told(sender) is None
        assert sender.command(b"EHLO client.test").code == 250
        assert re.search(r" with ESMTP id id", sender.deliver(b"Subject: x\r\n\r\n").text)
        assert sender.command(b"QUIT").code == 221


@pytest.mark.parametrize("name", ["ssl", "checksum"])
def test_the_tls_that_it_took_off_is_told(front, authority, name):
    with Sender(front.ports[name]) as sender:
        sender.secure(client_context(authority), "front.example.org")
        facts = told(sender)
        assert facts["version"] == "TLSv1.3" and facts["subject"] is None and facts["verified"] is False
        assert facts["sni"] == ("front.example.org" if name == "checksum" else facts["sni"])
        assert sender.command(b"EHLO client.test").code == 250
        assert " with ESMTPS id id" in sender.deliver(b"Subject: x\r\n\r\n").text
    context = client_context(authority)
    partner = authority.make("partner.example")
    context.load_cert_chain(partner.file, partner.key)
    with Sender(front.ports[name]) as sender:
        sender.secure(context, "front.example.org")
        facts = told(sender)
        assert facts["subject"] == "CN=partner.example" and facts["verified"] is True


@pytest.mark.parametrize("name", ["passed", "passed1"])
def test_tls_that_it_passes_on_is_done_here(front, authority, name):
    with Sender(front.ports[name]) as sender:
        sender.secure(client_context(authority), "mx.example.org")
        facts = told(sender)
        assert facts["sni"] == "mx.example.org" and facts["bits"]


def test_its_health_checks_are_served(front, server):
    wait_until(lambda: server.log.count(" session client=127.0.0.1") >= 3, "checks of HAProxy")
    assert "no PROXY header" not in server.log
