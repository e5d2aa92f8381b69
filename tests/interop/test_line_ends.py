"""No next hop ever sees another number of messages than we have acknowledged, whatever ends of lines and of data come.

Every sequence of messages/line_ends.py, with a second transaction behind it, through `proxy.js` with both ways of
`--line-ends`, to Postfix, Exim, OpenSMTPD and to a sink that takes everything plausible for the end of a message. The
expected numbers are those of docs/reference/line-ends.md.
"""
import re
from collections import Counter

import pytest
from messages.line_ends import END, HEADER, REFUSED, SEQUENCES, START, TEXT, envelope
from peers import exim, opensmtpd, postfix
from peers.exim import Exim
from peers.lenient_sink import LenientSink
from peers.opensmtpd import OpenSmtpd
from peers.postfix import Postfix
from peers.sender import Closed, Sender

# Each: what is needed, how it is made, and what it says to a message that it has taken.
NEXT_HOPS = {
    "postfix": (postfix, Postfix, rb"2\.0\.0 Ok: queued as "),
    "exim": (exim, Exim, rb"OK id="),
    "opensmtpd": (opensmtpd, OpenSmtpd, rb"2\.0\.0 [0-9a-f]{8} Message accepted"),
    "lenient": (None, LenientSink, rb"2\.0\.0 taken, number "),
}
CELLS = {b"cell-%d" % number: sequence for number, sequence in enumerate(SEQUENCES)}


@pytest.fixture(params=NEXT_HOPS)
def next_hop(request):
    needs, kind, taken = NEXT_HOPS[request.param]
    if needs and needs.missing():
        pytest.skip(needs.missing())
    with kind() as peer:
        peer.taken = re.compile(rb"250[ -]" + taken)
        yield peer


def seen(peer):
    """How many messages it has taken, by the cell that their sender names."""
    if isinstance(peer, LenientSink):
        senders = [message.sender for message in peer.seen]
    else:
        peer.wait_until_empty()
        senders = [re.match(rb"(?i)Return-Path: *(<[^>]*>)", content)[1] for content in peer.delivered()]
    return Counter(sender.partition(b"@")[0].lstrip(b"<") for sender in senders)


def replies_until_closed(sender):
    """Every further reply."""
    replies = []
    try:
        while True:
            replies.append(sender.reply())
    except Closed:
        return replies


def send_by_data(sender, cell, sequence, split):
    """The message after 354, then QUIT; in one write, or with every octet of the sequence in its own."""
    wire = sequence.as_data(cell) + b"QUIT\r\n"
    try:
        if split:
            begin = sequence.message(cell).index(sequence.octets)
            sender.send(wire[:begin])
            for at in range(begin, begin + len(sequence.octets)):
                sender.send(wire[at:at + 1])
            sender.send(wire[begin + len(sequence.octets):])
        else:
            sender.send(wire)
    except Closed:
        pass  # what it said before is read all the same


def acknowledged(port, peer, cell, sequence, split=False):
    """How often the next hop's word for a message it has taken reaches the client."""
    with Sender(port) as sender:
        sender.hello()
        mail, rcpt, _ = envelope(cell).split(b"\r\n")
        assert [sender.command(line).code for line in (mail, rcpt, b"DATA")] == [250, 250, 354]
        send_by_data(sender, cell, sequence, split)
        replies = replies_until_closed(sender)
        return sum(peer.taken.match(reply.raw) is not None for reply in replies)


def assert_as_expected(peer, told, there, line_ends, chunks=False):
    """told, there: how many messages of each cell were acknowledged, and seen."""
    wrong = {}
    for cell, sequence in CELLS.items():
        expected = sequence.acknowledged(line_ends, chunks)
        header = sequence.place == HEADER or sequence.place == START and sequence.octets.startswith(b".")
        if isinstance(peer, OpenSmtpd) and header and expected == 1:
            expected = 0  # it refuses a header with lines that are no fields, by itself
        if not told[cell] == there[cell] == expected:
            wrong[sequence.name] = {"acknowledged": told[cell], "seen": there[cell], "expected": expected}
    assert wrong == {}
    assert set(there) <= set(CELLS)


@pytest.mark.parametrize("line_ends", ["reject", "normalise"])
def test_as_many_seen_as_acknowledged(next_hop, line_ends, serve):
    proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{next_hop.port}"}, options=["--line-ends", line_ends])
    told = {cell: acknowledged(proxy.port, next_hop, cell, sequence) for cell, sequence in CELLS.items()}
    proxy.stop()
    assert_as_expected(next_hop, told, seen(next_hop), line_ends)


@pytest.mark.parametrize("line_ends", ["reject", "normalise"])
def test_the_same_when_every_octet_comes_alone(line_ends, serve):
    with LenientSink() as sink:
        sink.taken = re.compile(rb"250 2\.0\.0 taken")
        proxy = serve("proxy", settings={"nextHop": sink.address}, options=["--line-ends", line_ends])
        told = {cell: acknowledged(proxy.port, sink, cell, sequence, split=True) for cell, sequence in CELLS.items()}
        proxy.stop()
    assert_as_expected(sink, told, seen(sink), line_ends)


@pytest.mark.parametrize("line_ends", ["reject", "normalise"])
def test_no_bare_line_end_leaves(line_ends, serve):
    """In commands, header and body: each CR before an LF, each LF behind a CR."""
    with LenientSink() as sink:
        sink.taken = re.compile(rb"250 2\.0\.0 taken")
        proxy = serve("proxy", settings={"nextHop": sink.address}, options=["--line-ends", line_ends])
        for cell, sequence in CELLS.items():
            acknowledged(proxy.port, sink, cell, sequence)
        proxy.stop()
    assert len(sink.received) >= len(CELLS)
    for octets in sink.received:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets), octets


def test_the_sequences_are_dangerous_and_the_sink_is_lenient():
    """Without us in between the sink sees two messages: the test above can fail."""
    with LenientSink() as sink:
        sink.taken = re.compile(rb"250 2\.0\.0 taken")
        for cell, sequence in CELLS.items():
            acknowledged(sink.port, sink, cell, sequence)
    counts = seen(sink)
    smuggled = [sequence for cell, sequence in CELLS.items() if counts[cell] == 2]
    assert len([sequence for sequence in smuggled if sequence.data != END]) > 70
    assert all(sequence in smuggled for sequence in SEQUENCES if sequence.data in (END, REFUSED))
    assert len([sequence for sequence in smuggled if sequence.data == TEXT]) >= 8
