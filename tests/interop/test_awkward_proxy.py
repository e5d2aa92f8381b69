"""Every awkward message through `proxy.js`, whole and an octet at a time: what comes out is what went in.

The next hop captures the very octets, dots still doubled. Nothing but the trace field at the top may differ.
"""
import pytest
from messages.awkward import MESSAGES, REFUSED
from peers.next_hop import NextHop
from peers.sender import Sender

MAIL = b"MAIL FROM:<sender@client.test> BODY=8BITMIME"
RCPT = b"RCPT TO:<user@example.test>"


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture(scope="module")
def proxy(hop, serve_module):
    return serve_module("proxy", settings={"nextHop": hop.address})


@pytest.fixture(scope="module")
def bare_proxy(hop, serve_module):
    """The proxy without its trace field."""
    return serve_module("proxy", settings={"nextHop": hop.address, "received": "false"})


def send(sender, wire):
    """One transaction; returns the reply to the message."""
    assert sender.command(MAIL).code == 250
    assert sender.command(RCPT).code == 250
    assert sender.command(b"DATA").code == 354
    sender.send(wire)
    return sender.reply()


def without_our_field(wire):
    """The data without the one Received field that the proxy has put first."""
    lines = wire.split(b"\r\n")
    assert lines[0].startswith(b"Received: from client.test ("), lines[0]
    # It has three lines. Counted, not looked for: the message itself may go on with a continuation line.
    assert lines[1].startswith(b"\tby ") and lines[2].startswith(b"\t")
    return b"\r\n".join(lines[3:])


def whole_and_bytewise(messages, size):
    """Parameters: each message whole, and those of up to 5000 octets also one octet at a time."""
    parameters = []
    for message in messages:
        parameters.append(pytest.param(message, False, id=f"{message}, whole"))
        if size(message) <= 5000:
            parameters.append(pytest.param(message, True, id=f"{message}, bytewise"))
    return parameters


@pytest.mark.parametrize(("message", "bytewise"), whole_and_bytewise(MESSAGES, lambda m: len(m.plain)))
def test_octets_are_the_same(hop, proxy, bare_proxy, message, bytewise):
    hop.begin()
    for server in (proxy, bare_proxy):
        with Sender(server.port, bytewise=bytewise) as sender:
            sender.hello()
            reply = send(sender, message.wire)
            assert reply.code == 250, reply
    assert hop.violations == []
    first, second = (transaction.wire + b".\r\n" for transaction in hop.accepted)
    assert second == message.wire
    assert without_our_field(first) == message.wire


def test_all_in_one_session(hop, proxy):
    """The state of one message does not colour the next."""
    hop.begin()
    messages = [message for message in MESSAGES if not message.big]
    with Sender(proxy.port) as sender:
        sender.hello()
        for message in messages:
            assert send(sender, message.wire).code == 250, message
    assert [without_our_field(t.wire) for t in hop.accepted] == [message.wire[:-3] for message in messages]


@pytest.mark.parametrize(("message", "bytewise"), whole_and_bytewise(
    [m for m in REFUSED if not m.limits], lambda m: len(m.wire)))
def test_refused_messages_leave_everything_in_step(hop, proxy, message, bytewise):
    hop.begin()
    with Sender(proxy.port, bytewise=bytewise) as sender:
        sender.hello()
        reply = send(sender, message.wire)
        assert reply.code == message.code
        assert reply.text.startswith(message.enhanced + " ")
        assert sender.nothing_more(0.02)
        sender.deliver(b"Subject: next\r\n\r\nnext\r\n")
        assert sender.command(b"QUIT").code == 221
    assert hop.violations == []
    transaction, = hop.accepted
    assert without_our_field(transaction.wire) == b"Subject: next\r\n\r\nnext\r\n"
    assert not any(t.complete for t in hop.transactions if t is not transaction)
