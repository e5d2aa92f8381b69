"""The shipped policies in a real server: clients with addresses of their own, a next hop that records, a DNS of the tests.

Servers and scanners are started once for a module.
"""
import re

import pytest
from peers.dns import DnsThread
from peers.next_hop import NextHop
from peers.sender import Sender

GOOD, LISTED, FORGER = "192.0.2.1", "192.0.2.7", "192.0.2.66"

ZONE = {
    ("sender.example", "TXT"): ['sender.example 60 IN TXT "v=spf1 ip4:192.0.2.1 ip4:192.0.2.7 -all"'],
    ("sender.example", "MX"): ["sender.example 60 IN MX 10 mail.sender.example."],
    ("mail.sender.example", "A"): [f"mail.sender.example 60 IN A {GOOD}"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["1.2.0.192.in-addr.arpa 60 IN PTR mail.sender.example."],
    ("7.2.0.192.list.example", "A"): ["7.2.0.192.list.example 60 IN A 127.0.0.2"],
    ("mute.example", "TXT"): "SERVFAIL", ("mute.example", "SPF"): "SERVFAIL",
    ("nomail.example", "MX"): ["nomail.example 60 IN MX 0 ."],
    ("nomail.example", "A"): [f"nomail.example 60 IN A {GOOD}"],
}

HAM = b"From: a@sender.example\r\nSubject: hello\r\nX-Odd:value\r\n\r\nGood day\r\n.dot\r\n"


class Front:
    """A server with a shipped policy in front of a next hop."""

    def __init__(self, server, hop=None):
        self.server = server
        self.hop = hop

    def client(self, address=GOOD, helo=b"mail.sender.example"):
        """A client from that address that has said EHLO."""
        client = Sender(self.server.port, patience=40)
        client.send(f"PROXY TCP4 {address} 192.0.2.99 1025 25\r\n".encode())
        client.hello(name=helo)
        return client

    def send(self, content=HAM, *, address=GOOD, helo=b"mail.sender.example", **envelope):
        """(all replies of a transaction, what the next hop took as a Transaction or None)."""
        taken = [] if self.hop is None else list(self.hop.accepted)
        envelope = {"sender": b"<a@sender.example>", "recipients": (b"<me@example.org>",), **envelope}
        with self.client(address, helo) as client:
            replies = client.transaction(content, **envelope)
            client.command(b"QUIT")
        if self.hop is None:
            return replies, None
        assert not self.hop.violations
        new = [one for one in self.hop.accepted if not any(one is other for other in taken)]
        assert len(new) <= 1
        return replies, new[0] if new else None


def without_received(content):
    """A message without the Received field at its top, which must be ours."""
    received = re.match(rb"Received: [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", content)
    assert b"(Mailfilter)" in received.group(), content
    return content[received.end():]


@pytest.fixture(scope="module")
def dns():
    with DnsThread(ZONE) as server:
        yield server


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture(scope="module")
def front(serve_module, hop, dns):
    """front(policy, **settings): a Front of a new server."""
    def make(policy, options=(), **settings):
        if "maildir" not in settings:
            settings = {"nextHop": f"127.0.0.1:{hop.port}", **settings}
        settings = {"dnsblTimeout": 30, **settings}
        server = serve_module(policy, listen=["proxy:127.0.0.1:0"], settings=settings, timeouts={"dns": 30},
                              options=["--dns-server", dns.address, "--hostname", "mx.test", *options])
        return Front(server, None if "maildir" in settings else hop)
    return make
