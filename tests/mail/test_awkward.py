"""Every awkward message goes through header, spool and message octet for octet, however it is cut.

First with the parts that do it, then as a session does it.
"""
import random
import re

import pytest
from messages.awkward import MESSAGES, REFUSED, stuffed

from mailfilter._core.data import DataReader
from mailfilter._core.header import HeaderCollector, canonical, split_header
from mailfilter._core.session import Limits, Session
from mailfilter.mail.message import Message
from mailfilter.mail.spool import Spool

HEADER_BYTES = 262144
HEADER_FIELDS = 1000
MEMORY_BYTES = 262144


def whole(wire):
    return [wire]


def bytewise(wire):
    return (wire[i:i + 1] for i in range(len(wire)))


def at_random(wire):
    rng = random.Random(len(wire))
    at = 0
    while at < len(wire):
        size = rng.choice((1, 2, 3, 5, 100, 1000, 65536))
        yield wire[at:at + size]
        at += size


def segments(wire):
    return (wire[i:i + 1448] for i in range(0, len(wire), 1448))


CUTS = [whole, bytewise, at_random, segments]


def received(pieces, memory_bytes=MEMORY_BYTES):
    """What a session does with a message: the core finds its parts, the spool keeps the body."""
    reader, collector = DataReader(), HeaderCollector(HEADER_BYTES, HEADER_FIELDS)
    spool = Spool(memory_bytes=memory_bytes)
    for piece in pieces:
        assert not reader.done
        used, chunk = reader.feed(piece)
        assert used == len(piece)
        if not collector.complete:
            chunk = chunk[collector.feed(chunk):]
        if chunk:
            spool.write(chunk)
    assert reader.done and not (reader.bare_cr or reader.bare_lf)
    assert not (collector.too_big or collector.too_many)
    section = collector.take()
    spool.finish(reader.octets - len(section) - (2 if collector.complete else 0))
    return Message(split_header(section), collector.complete, spool)


def test_there_are_enough_and_none_is_refused_by_mistake():
    assert len(MESSAGES) >= 200
    for message in MESSAGES:
        assert re.search(rb"\r(?!\n)|(?<!\r)\n", message.plain) is None
        assert message.plain == b"" or message.plain.endswith(b"\r\n")
    assert len(REFUSED) >= 40


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("awkward", MESSAGES, ids=str)
def test_it_leaves_as_it_came(awkward, cut):
    if cut is bytewise and len(awkward.plain) > 300000:
        pytest.skip("a million calls; the other cuts have it")
    message = received(cut(awkward.wire))
    assert b"".join(field.raw for field in message.fields) == awkward.header
    assert message.separator == awkward.separated
    assert b"".join(message.body.chunks()) == awkward.body
    untouched = [(index, canonical(field)) for index, field in enumerate(message.fields)]
    as_text = [(index, text.decode("utf-8", "surrogateescape")) for index, text in untouched]
    for headers in (None, untouched, as_text):
        assert b"".join(message.wire_chunks(headers)) == awkward.wire[:-3]
        assert b"".join(message.plain_chunks(headers)) == awkward.plain
        assert message.plain_size(headers) == len(awkward.plain)


@pytest.mark.parametrize("awkward", MESSAGES, ids=str)
def test_it_leaves_as_it_came_from_a_file(awkward):
    message = received(segments(awkward.wire), memory_bytes=100)
    assert b"".join(message.wire_chunks()) == awkward.wire[:-3]
    assert b"".join(message.plain_chunks()) == awkward.plain


@pytest.mark.parametrize("awkward", MESSAGES, ids=str)
def test_a_header_in_front_changes_nothing_else(awkward):
    """What is added is all that differs; a message without a blank line gets none."""
    message = received(whole(awkward.wire))
    headers = [(-1, b"Received: from x\r\n\tby y"),
               *((index, canonical(field)) for index, field in enumerate(message.fields))]
    added = b"Received: from x\r\n\tby y\r\n"
    assert b"".join(message.plain_chunks(headers)) == added + awkward.plain
    assert b"".join(message.wire_chunks(headers)) == added + stuffed(awkward.plain)


@pytest.mark.parametrize("awkward", MESSAGES, ids=str)
def test_every_line_of_the_header_is_shown(awkward):
    """No line hides behind another: each is the beginning of a field or a part of one (D4)."""
    message = received(whole(awkward.wire))
    shown = [part for _, parts in message.header_pairs() for part in parts]
    lines = awkward.header.split(b"\r\n")[:-1]
    assert len(shown) == len(lines)
    assert all(line.endswith(part) for part, line in zip(shown, lines, strict=True))
    for name, _ in message.header_pairs():
        assert re.fullmatch(rb"[!-9;-~]*", name)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_what_is_refused_is_read_to_its_true_end(refused, cut):
    reader, collector = DataReader(message_bytes=refused.limits.get("message_bytes", 0)), \
        HeaderCollector(HEADER_BYTES, HEADER_FIELDS)
    for piece in cut(refused.wire):
        assert not reader.done
        used, chunk = reader.feed(piece)
        assert used == len(piece)
        if not collector.complete:
            collector.feed(chunk)
    assert reader.done
    if refused.enhanced == "5.6.0":
        assert reader.bare_cr or reader.bare_lf or reader.nul_dot
    else:
        assert reader.too_big or collector.too_big or collector.too_many


def in_data(**limits):
    """A session that has answered 354."""
    session = Session(Limits(**limits))
    for command in (None, b"EHLO client.example\r\n", b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<b@example.net>\r\n",
                    b"DATA\r\n"):
        if command is not None:
            session.feed(command)
        assert session.next_event().asks
        session.reply_default()
        assert session.next_event() is None
    assert b"\r\n354 " in session.take_output()
    return session


def through_session(session, pieces):
    """The message that the session gives, and what it says when that is answered with 250."""
    spool, message = Spool(), None
    for piece in pieces:
        session.feed(piece)
        while (event := session.next_event()) is not None:
            if event.name == "BODY":
                spool.write(event.chunk)
            elif event.name == "MESSAGE":
                spool.finish(event.body_bytes)
                message = Message(event.fields, event.separator, spool)
                assert event.message_bytes == message.plain_size()
                session.reply(250, [b"2.0.0 Ok"])
            else:
                assert event.name in ("DISCARDED", "REJECTED")
    return message, session.take_output()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("awkward", MESSAGES, ids=str)
def test_it_leaves_a_session_as_it_came(awkward, cut):
    if cut is bytewise and len(awkward.plain) > 300000:
        pytest.skip("a million calls; the other cuts have it")
    session = in_data()
    message, said = through_session(session, cut(awkward.wire))
    assert said == b"250 2.0.0 Ok\r\n"
    assert b"".join(message.plain_chunks()) == awkward.plain
    assert b"".join(message.wire_chunks()) == awkward.wire[:-3]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_a_session_refuses_it(refused, cut):
    session = in_data(**refused.limits)
    message, said = through_session(session, cut(refused.wire))
    assert message is None
    assert said.startswith(b"%d %s " % (refused.code, refused.enhanced.encode()))
    assert said.count(b"\r\n") == 1
    session.feed(b"NOOP\r\n")
    assert session.next_event().name == "NOOP"
