"""Messages inside a session: what is handed on, what is refused, and when."""
import pytest
from feeding import cuts
from talking import in_data, say

from mailfilter._core import session
from mailfilter._core.reply import Reply
from mailfilter._core.session import REPLIES, Limits


def receive(running, chunks, code=250):
    """(events other than BODY, body) of a message that comes in these chunks; EV_MESSAGE is answered with this code."""
    body, events = b"", []
    for chunk in chunks:
        running.feed(chunk)
        while (event := running.next_event()) is not None:
            if event.kind == session.EV_BODY:
                assert event.chunk
                body += event.chunk
                continue
            events.append(event)
            if event.asks:
                running.reply(code, [b"x"])
    return events, body


def received(data, line_ends="reject", **limits):
    """The one event at the end of this message and its body, the same in whatever chunks it comes."""
    first = None
    for chunks in cuts(data):
        running = in_data(Limits(**limits), line_ends=line_ends)
        events, body = receive(running, chunks)
        assert len(events) == 1
        event = events[0]
        found = (event.kind, event.separator, event.body_bytes, event.message_bytes, event.reply,
                 event.fields and [field.raw for field in event.fields], event.kind == session.EV_MESSAGE and body)
        assert first is None or found == first, chunks
        first = found
        assert running.state_name == "READY"
        assert running.buffered == 0
    return event, body


@pytest.mark.parametrize(("data", "fields", "separator", "body", "body_bytes"), [
    (b".\r\n", [], False, b"", 0),
    (b"\r\n.\r\n", [], True, b"", 0),
    (b"A: b\r\n.\r\n", [b"A: b\r\n"], False, b"", 0),
    (b"A: b\r\n\r\n.\r\n", [b"A: b\r\n"], True, b"", 0),
    (b"A: b\r\n\r\n\r\n.\r\n", [b"A: b\r\n"], True, b"\r\n", 2),
    (b"A: b\r\n\r\nx\r\n.\r\n", [b"A: b\r\n"], True, b"x\r\n", 3),
    (b"\r\nA: b\r\n.\r\n", [], True, b"A: b\r\n", 6),
    (b"no header\r\nat all\r\n.\r\n", [b"no header\r\n", b"at all\r\n"], False, b"", 0),
    (b"A: b\r\n\r\n..\r\n.x\r\n.\r\n", [b"A: b\r\n"], True, b"..\r\nx\r\n", 6),
    (b"..A: b\r\n. c\r\n\r\n.\r\n", [b".A: b\r\n c\r\n"], True, b"", 0),
    (b"A:b \r\n\t c\r\nD :\te\r\n\r\n.\r\n", [b"A:b \r\n\t c\r\n", b"D :\te\r\n"], True, b"", 0),
    (b"A: \0\xff\r\n\r\n\0\xff\r\n.\r\n", [b"A: \0\xff\r\n"], True, b"\0\xff\r\n", 4),
    (b"A: b\r\n\r\n" + b"x" * 5000 + b"\r\n.\r\n", [b"A: b\r\n"], True, b"x" * 5000 + b"\r\n", 5002),
])
def test_messages(data, fields, separator, body, body_bytes):
    event, found = received(data)
    assert event.kind == session.EV_MESSAGE
    assert [field.raw for field in event.fields] == fields
    assert (event.separator, found, event.body_bytes) == (separator, body, body_bytes)
    assert event.message_bytes == sum(map(len, fields)) + (2 if separator else 0) + body_bytes


def test_normalised():
    event, body = received(b"A: b\n c\rD: e\r\n\nx\n.\r\n..y\r\n.\r\n", "normalise")
    assert [field.raw for field in event.fields] == [b"A: b\r\n c\r\n", b"D: e\r\n"]
    assert body == b"x\r\n..\r\n..y\r\n"
    assert event.body_bytes == 10


@pytest.mark.parametrize("data", [
    b"A: b\n\r\nx\r\n.\r\n", b"A: b\r\n\nx\r\n.\r\n", b"A: b\r\n\r\nx\r\n\n.\r\n\r\n.\r\n",
    b"A: b\r\n\r\nx\ry\r\n.\r\n", b"A: b\r\n\r\nx\r\r\n.\r\n", b"\n.\n\r\n.\r\n",
    b"A\r: b\r\n\r\n.\r\n", b".\n\r\n.\r\n", b".\r\r\n.\r\n"])
def test_bare_line_ends_are_refused_at_the_true_end(data):
    event, _body = received(data)
    assert (event.kind, event.reply) == (session.EV_DISCARDED, REPLIES["bare_line_end"])


@pytest.mark.parametrize("data", [
    b"A: b\r\n\r\nx\r\n\0.\r\nRSET\r\n.\r\n", b"A: b\r\n\0.\0\r\nRSET\r\n.\r\n", b"\0.\r\n.\r\n"])
@pytest.mark.parametrize("line_ends", ["reject", "normalise"])
def test_a_line_of_one_dot_and_nuls_is_refused_at_the_true_end(data, line_ends):
    event, _ = received(data, line_ends)
    assert (event.kind, event.reply) == (session.EV_DISCARDED, REPLIES["nul_dot"])


@pytest.mark.parametrize(("limits", "data", "reply"), [
    ({"message_bytes": 9}, b"A: b\r\n\r\nx\r\n.\r\n", "size"),
    ({"header_bytes": 5}, b"A: b\r\n\r\n.\r\n", "header_bytes"),
    ({"header_fields": 1}, b"A: b\r\nC: d\r\n\r\n.\r\n", "header_fields"),
    # of several faults always the same one is told
    ({"message_bytes": 3, "header_bytes": 5}, b"A: b\r\n\r\nxyz\r\n.\r\n", "header_bytes"),
    ({"header_fields": 1, "header_bytes": 11}, b"A: b\r\nC: d\r\n\r\n.\r\n", "header_bytes"),
    ({"message_bytes": 3, "header_fields": 1}, b"A:\r\nB:\r\n\r\n.\r\n", "header_fields"),
    ({"message_bytes": 3, "header_bytes": 5}, b"A: b\r\n\r\nx\nz\r\n.\r\n", "bare_line_end"),
])
def test_limits(limits, data, reply):
    event, _body = received(data, **limits)
    assert (event.kind, event.reply) == (session.EV_DISCARDED, REPLIES[reply])


def test_at_the_limits():
    event, _body = received(b"A: b\r\nC: d\r\n\r\nx\r\n.\r\n", message_bytes=17, header_bytes=12, header_fields=2)
    assert event.kind == session.EV_MESSAGE


def test_a_chunk_of_body_is_handed_on_as_it_is():
    running = in_data()
    receive(running, [b"\r\n"])
    chunk = b"some text\r\n" * 5000
    running.feed(chunk)
    assert running.next_event().chunk is chunk
    assert running.next_event() is None


def test_the_reply_to_a_lost_message_comes_after_its_event():
    running = in_data(Limits(message_bytes=3))
    running.feed(b"1234\r\n.\r\nNOOP\r\n")
    event = running.next_event()
    assert (event.kind, event.asks, event.reply) == (session.EV_DISCARDED, False, REPLIES["size"])
    assert event.message_bytes == 6
    assert running.take_output() == b""
    assert running.transaction is not None
    assert running.next_event().kind == session.EV_NOOP
    assert running.transaction is None
    assert running.take_output() == b"552 5.3.4 Message too big\r\n"


def test_too_big_a_message_is_not_handed_on():
    running = in_data(Limits(message_bytes=1000))
    handed = 0
    running.feed(b"\r\n")
    assert running.next_event() is None
    for _ in range(1000):
        running.feed(b"x" * 98 + b"\r\n")
        while (event := running.next_event()) is not None:
            handed += len(event.chunk)
    assert handed <= 1000


def test_abort_swallows_the_rest():
    """The predecessor's D2: after a full disk the rest of the message was executed as commands."""
    running = in_data()
    running.feed(b"\r\nfirst\r\n")
    assert running.next_event().kind == session.EV_BODY
    running.abort_message(452, [b"4.3.1 Disk full"])
    events, body = receive(running, [b"MAIL FROM:<evil@evil>\r\n", b"QUIT\r\n.", b"\r", b"\n"])
    assert [event.kind for event in events] == [session.EV_DISCARDED]
    assert (events[0].reply, body) == (Reply(452, [b"4.3.1 Disk full"]), b"")
    assert running.take_output() == b"452 4.3.1 Disk full\r\n"
    assert running.state_name == "READY"


def test_abort_in_the_same_chunk_as_the_end():
    running = in_data()
    running.feed(b"\r\nfirst\r\n.\r\n")
    assert running.next_event().kind == session.EV_BODY
    running.abort_message(452, [b"4.3.1 Disk full"])
    assert running.next_event().kind == session.EV_DISCARDED


def test_abort_wins_over_other_faults():
    running = in_data()
    running.abort_message(451, [b"4.3.0 No"])
    events, _body = receive(running, [b"bare\nlf\r\n.\r\n"])
    assert events[0].reply.code == 451


def test_abort_with_421_closes():
    running = in_data()
    running.abort_message(421, [b"4.3.0 No"])
    events, _body = receive(running, [b".\r\nNOOP\r\n"])
    assert [event.kind for event in events] == [session.EV_DISCARDED, session.EV_CLOSED]
    assert running.take_output() == b"421 4.3.0 No\r\n"


def test_abort_is_for_messages():
    running = in_data()
    for code in (200, 354, 600):
        with pytest.raises(ValueError):
            running.abort_message(code, [b"x"])
    running.feed(b".\r\n")
    assert running.next_event().kind == session.EV_MESSAGE
    with pytest.raises(RuntimeError, match="no message"):
        running.abort_message(451, [b"x"])
    running.reply(250, [b"x"])
    with pytest.raises(RuntimeError, match="no message"):
        running.abort_message(451, [b"x"])


@pytest.mark.parametrize("data", [b"", b"A: b", b"\r\nbody\r\n", b"\r\nbody\r\n.", b"\r\nbody\r\n.\r", b"bare\n"])
def test_eof_inside_a_message(data):
    running = in_data()
    running.feed(data)
    running.eof()
    events = []
    while (event := running.next_event()) is not None:
        if event.kind != session.EV_BODY:
            events.append(event)
            if event.kind == session.EV_DISCARDED:
                assert running.transaction is not None
    assert [event.kind for event in events] == [session.EV_DISCARDED, session.EV_CLOSED]
    assert events[0].reply is None
    assert running.take_output() == b""


def test_refuse_inside_a_message():
    running = in_data()
    running.feed(b"\r\nbody\r\n")
    running.next_event()
    running.refuse(421, [b"4.4.2 Too slow"])
    assert running.take_output() == b"421 4.4.2 Too slow\r\n"
    assert running.transaction is None
    event = running.next_event()
    assert (event.kind, event.reply.code) == (session.EV_DISCARDED, 421)
    assert running.next_event().kind == session.EV_CLOSED
    assert running.next_event() is None


def test_refuse_while_the_message_waits_for_its_reply():
    running = in_data()
    running.feed(b".\r\n")
    assert running.next_event().kind == session.EV_MESSAGE
    running.refuse(421, [b"4.3.2 bye"])
    assert running.next_event().kind == session.EV_CLOSED


def test_refuse_between_a_lost_message_and_its_reply():
    running = in_data(Limits(message_bytes=1))
    running.feed(b"abc\r\n.\r\n")
    assert running.next_event().kind == session.EV_DISCARDED
    running.refuse(421, [b"4.3.2 bye"])
    assert running.next_event().kind == session.EV_CLOSED
    assert running.take_output() == b"421 4.3.2 bye\r\n"


def test_the_next_message_knows_nothing_of_the_last():
    running = in_data(Limits(message_bytes=40, header_fields=2))
    for data, kind in ((b"A:\r\nB:\r\nC:\r\n.\r\n", session.EV_DISCARDED),
                       (b"x\n.\r\n\r\n.\r\n", session.EV_DISCARDED),
                       (b"A: b\r\n\r\n..\r\n.\r\n", session.EV_MESSAGE),
                       (b"x" * 50 + b"\r\n.\r\n", session.EV_DISCARDED),
                       (b"C: d\r\n.\r\n", session.EV_MESSAGE)):
        events, _body = receive(running, [data])
        assert [event.kind for event in events] == [kind]
        for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
            say(running, line)


def test_fields_may_be_kept():
    running = in_data()
    events, _body = receive(running, [b"A: b\r\n.\r\n"])
    for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
        say(running, line)
    receive(running, [b"C: other\r\n.\r\n"])
    assert events[0].fields[0].raw == b"A: b\r\n"
