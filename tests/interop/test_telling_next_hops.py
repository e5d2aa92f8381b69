"""Who the client is, told to a real Postfix and a real HAProxy behind: PROXY versions 1 and 2, XCLIENT, XFORWARD."""
import json
import socket

import pytest
from messages.varied import varied
from peers import haproxy, postfix
from peers.haproxy import HaProxy
from peers.postfix import Postfix, without_trace
from peers.sender import Sender

CLIENT = "127.0.0.77"
without_postfix = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))


def come_from(sender, address=CLIENT):
    """The sender connects anew, from this address."""
    peer = sender.socket.getpeername()
    sender.socket.close()
    sender.socket = socket.create_connection(peer, timeout=sender.patience, source_address=(address, 0))
    return sender


def traced(port, destination, kind):
    """Send a message from CLIENT; the trace fields with which it has arrived."""
    with Sender(port) as sender:
        come_from(sender).hello()
        sender.deliver(varied(1, nul=False, kind=kind))
        sender.command(b"QUIT")
    destination.wait_until_empty()
    [content] = destination.delivered()
    return without_trace(content)[0]


@without_postfix
@pytest.mark.parametrize("version", [1, 2])
def test_postfix_reads_our_proxy_header(version, serve):
    with Postfix(settings={"smtpd_upstream_proxy_protocol": "haproxy"}, silent=True) as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}", "nextHopProxyProtocol": version,
                                         "received": "false"})
        fields = traced(proxy.port, destination, b"proxied")
    received = next(field for field in fields if b"by destination.test" in field)
    assert f"[{CLIENT}]".encode() in received, received


@without_postfix
def test_postfix_believes_our_xclient(serve):
    with Postfix(settings={"smtpd_authorized_xclient_hosts": "127.0.0.1"}) as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}", "nextHopXclient": "true",
                                         "received": "false"})
        fields = traced(proxy.port, destination, b"xclient")
    received = next(field for field in fields if b"by destination.test" in field)
    assert f"[{CLIENT}]".encode() in received and b"from client.test " in received, received


XFORWARD = """
    SmtpServer.prototype.smtpData = function (headers, body) {
        var client = new SmtpClient('127.0.0.1', Sys.setting('port', 0)), told, response;
        if (headers === null) {
            return null;
        }
        client.open({name: 'proxy.test'});
        told = client.xforward(SmtpClient.about(this));
        client.mail(this.sender);
        client.rcpt(this.recipients[0]);
        response = client.transfer(headers, body);
        client.quit();
        return told.code === 250 ? response : told;
    };
"""


@without_postfix
def test_postfix_logs_what_our_xforward_says(serve):
    with Postfix(settings={"smtpd_authorized_xforward_hosts": "127.0.0.1"}) as destination:
        server = serve(XFORWARD, settings={"port": destination.port})
        traced(server.port, destination, b"xforward")
        assert f"orig_client=unknown[{CLIENT}]" in destination.log() or f"[{CLIENT}]" in destination.log()


BEHIND = """
SmtpServer.prototype.smtpEhlo = function () {
    return new SmtpResponse(250, JSON.stringify([this.remoteAddr, this.remotePort]));
};
"""


@pytest.mark.skipif(haproxy.missing() is not None, reason=str(haproxy.missing()))
@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_reads_our_header_and_passes_it_on(version, serve):
    """The program before HAProxy, and again behind it: the last one still knows the first one's client."""
    behind = serve(BEHIND, listen=["proxy:127.0.0.1:0"])
    with HaProxy({"one": (f"127.0.0.1:{behind.port}", "send-proxy-v2", "accept-proxy")}) as between:
        first = serve("proxy", settings={"nextHop": f"127.0.0.1:{between.ports['one']}", "nextHopProxyProtocol": version})
        with Sender(first.port) as sender:
            own = list(come_from(sender).socket.getsockname())
            assert json.loads(sender.hello().lines[0]) == own
            sender.command(b"QUIT")
