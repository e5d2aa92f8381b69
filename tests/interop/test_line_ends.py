"""No next hop ever sees another number of messages than we have acknowledged, whatever ends of lines and of data come.

Every sequence of messages/line_ends.py, with a second transaction behind it, through `proxy.js` with both ways of
`--line-ends`, to Postfix, Exim, OpenSMTPD and to a sink that takes everything plausible for the end of a message. The
expected numbers are those of docs/reference/line-ends.md.
"""
import re
from collections import Counter

import pytest
from messages.line_ends import HEADER, REFUSED, SEQUENCES, START, TEXT, envelope
from peers import exim, opensmtpd, postfix
from peers.exim import Exim
from peers.lenient_sink import LenientSink
from peers.opensmtpd import OpenSmtpd
from peers.postfix import Postfix
from peers.sender import Closed, Sender

NEXT_HOPS = {"postfix": (postfix, Postfix), "exim": (exim, Exim), "opensmtpd": (opensmtpd, OpenSmtpd),
             "lenient": (None, LenientSink)}
# What each says to a message that it has taken.
TAKEN = {Postfix: rb"2\.0\.0 Ok: (?:\d+ bytes )?queued as ", Exim: rb"OK id=",
         OpenSmtpd: rb"2\.0\.0 [0-9a-f]{8} Message accepted",
         LenientSink: rb"2\.0\.0 taken, number "}
CELLS = {b"cell-%d" % number: sequence for number, sequence in enumerate(SEQUENCES)}


@pytest.fixture(params=NEXT_HOPS)
def next_hop(request):
    needs, kind = NEXT_HOPS[request.param]
    if needs and needs.missing():
        pytest.skip(needs.missing())
    with kind() as peer:
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


def send_by_chunks(sender, cell, sequence, split):
    """The message as one chunk (RFC 3030), or as two with the cut in the middle of the sequence; then QUIT."""
    content = sequence.message(cell) + b"\r\n"
    chunks = [content]
    if split:
        cut = content.index(sequence.octets) + len(sequence.octets) // 2
        chunks = [content[:cut], content[cut:]]
    commands = [b"BDAT %d" % len(chunk) for chunk in chunks]
    commands[-1] += b" LAST"
    try:
        sender.send(b"".join(command + b"\r\n" + chunk for command, chunk in zip(commands, chunks, strict=True)) + b"QUIT\r\n")
    except Closed:
        pass


def acknowledged(port, peer, cell, sequence, split=False, verb="DATA"):
    """How often the next hop's word for a message it has taken reaches the client."""
    taken = re.compile(rb"(?m)^250[ -]" + TAKEN[type(peer)])
    with Sender(port) as sender:
        offered = sender.hello().lines
        assert verb == "DATA" or b"CHUNKING" in offered
        mail, rcpt, _ = envelope(cell).split(b"\r\n")
        assert [sender.command(line).code for line in (mail, rcpt)] == [250, 250]
        if verb == "BDAT":
            send_by_chunks(sender, cell, sequence, split)
        else:
            assert sender.command(b"DATA").code == 354
            send_by_data(sender, cell, sequence, split)
        return sum(taken.search(reply.raw) is not None for reply in replies_until_closed(sender))


def header_is_odd(sequence, verb):
    """Whether the message has a header with a line that is no field."""
    if verb == "DATA" and any(sequence.second):
        return False  # it ends before that line
    return sequence.place == HEADER or sequence.place == START and sequence.octets.startswith(b".")


def assert_as_expected(peer, told, there, line_ends, verb="DATA", early=False):
    """told, there: how many messages of each cell were acknowledged, and seen."""
    wrong = {}
    for cell, sequence in CELLS.items():
        expected = sequence.acknowledged(line_ends, verb, early)
        if isinstance(peer, OpenSmtpd) and header_is_odd(sequence, verb):
            expected = 0  # refused by it
        if not told[cell] == there[cell] == expected:
            wrong[sequence.name] = {"acknowledged": told[cell], "seen": there[cell], "expected": expected}
    assert wrong == {}
    assert set(there) <= set(CELLS)


LINE_ENDS = pytest.mark.parametrize("line_ends", ["reject", "normalise"])
VERB = pytest.mark.parametrize("verb", ["DATA", "BDAT"])


@LINE_ENDS
@VERB
def test_as_many_seen_as_acknowledged(next_hop, verb, line_ends, serve):
    proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{next_hop.port}"}, options=["--line-ends", line_ends])
    told = {cell: acknowledged(proxy.port, next_hop, cell, sequence, verb=verb) for cell, sequence in CELLS.items()}
    proxy.stop()
    assert_as_expected(next_hop, told, seen(next_hop), line_ends, verb)


@LINE_ENDS
@VERB
@pytest.mark.parametrize("chunking", [False, True], ids=["onward by DATA", "onward by BDAT"])
def test_the_same_when_it_comes_in_pieces(verb, chunking, line_ends, serve):
    """And no bare CR or LF leaves, in commands, header or body."""
    with LenientSink(chunking=chunking) as sink:
        proxy = serve("proxy", settings={"nextHop": sink.address}, options=["--line-ends", line_ends])
        told = {cell: acknowledged(proxy.port, sink, cell, sequence, split=True, verb=verb)
                for cell, sequence in CELLS.items()}
        proxy.stop()
    assert_as_expected(sink, told, seen(sink), line_ends, verb)
    assert len(sink.received) >= len(CELLS)
    for octets in sink.received:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets), octets


@LINE_ENDS
def test_what_follows_a_true_end_is_a_message_where_early_data_are_taken(line_ends, serve):
    with LenientSink() as sink:
        proxy = serve("proxy", settings={"nextHop": sink.address},
                      options=["--line-ends", line_ends, "--early-data", "take"])
        told = {cell: acknowledged(proxy.port, sink, cell, sequence) for cell, sequence in CELLS.items()}
        proxy.stop()
    assert_as_expected(sink, told, seen(sink), line_ends, early=True)
    assert sum(count == 2 for count in told.values()) >= 4


def test_the_sequences_are_dangerous_and_the_sink_is_lenient():
    """Without us in between the sink sees two messages: the test above can fail."""
    with LenientSink() as sink:
        for cell, sequence in CELLS.items():
            acknowledged(sink.port, sink, cell, sequence)
    counts = seen(sink)
    smuggled = [sequence for cell, sequence in CELLS.items() if counts[cell] == 2]
    assert len([sequence for sequence in smuggled if not any(sequence.second)]) > 70
    assert all(sequence in smuggled for sequence in SEQUENCES if sequence.data == REFUSED or any(sequence.second))
    assert len([sequence for sequence in smuggled if sequence.data == TEXT and not any(sequence.second)]) >= 8
