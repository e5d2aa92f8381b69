"""The session as its caller sees it: the contract of reply(), limits, ends. The dialogue itself is in tests/dialogs."""
import pytest
from talking import in_data, say, started

from mailfilter._core import session
from mailfilter._core.command import VERBS
from mailfilter._core.reply import Reply
from mailfilter._core.session import REPLIES, Event, Limits, Session


def test_the_first_event_is_connect():
    running = Session()
    running.feed(b"HELO too early\r\n")
    event = running.next_event()
    assert (event.kind, event.name, event.asks, running.awaiting) == (session.EV_CONNECT, "CONNECT", True, True)
    assert running.buffered == 16
    assert running.next_event() is None
    running.reply(220, [b"hello"])
    assert not running.awaiting
    assert running.next_event().kind == session.EV_HELO


def test_reply_exactly_once():
    running = Session()
    with pytest.raises(RuntimeError, match="no event waits"):
        running.reply(250, [b"x"])
    running.next_event()
    running.reply(220, [b"x"])
    for again in (running.reply_default, lambda: running.reply(250, [b"x"])):
        with pytest.raises(RuntimeError, match="no event waits"):
            again()


@pytest.mark.parametrize(("code", "lines", "error"), [
    (0, [b"x"], ValueError), (199, [b"x"], ValueError), (600, [b"x"], ValueError), (250, ["x"], TypeError),
    (250, b"x", TypeError), (250, None, TypeError), (250, [b"fine", 5], TypeError)])
def test_an_impossible_reply_leaves_everything_as_it_was(code, lines, error):
    running = started()
    running.feed(b"EHLO x\r\n")
    running.next_event()
    with pytest.raises(error):
        running.reply(code, lines)
    assert running.awaiting
    assert running.take_output() == b""
    assert running.hello == b"client"
    running.reply(250, [b"y"])
    assert running.hello == b"x"


def test_2xx_to_data_is_a_mistake_of_ours():
    running = started()
    say(running, b"MAIL FROM:<a@b>")
    say(running, b"RCPT TO:<c@d>")
    running.feed(b"DATA\r\n")
    running.next_event()
    with pytest.raises(RuntimeError, match="never by 2xx"):
        running.reply(250, [b"x"])
    assert running.awaiting
    running.reply(354, [b"x"])
    assert running.state_name == "DATA"


def test_events_are_never_used_twice():
    running = started()
    first = say(running, b"NOOP one")
    second = say(running, b"NOOP two")
    assert (first.text, second.text) == (b"one", b"two")
    with pytest.raises(TypeError):
        Event()
    with pytest.raises(AttributeError):
        first.text = b"x"


def test_names():
    running = Session()
    assert (running.hello, running.proto, running.announced) == (None, b"SMTP", set())
    running.next_event()
    running.reply_default()
    say(running, b"EHLO first.example")
    assert (running.hello, running.proto) == (b"first.example", b"ESMTP")
    assert running.announced == {
        b"PIPELINING", b"SIZE", b"8BITMIME", b"ENHANCEDSTATUSCODES", b"CHUNKING", b"LIMITS"}
    say(running, b"EHLO second.example", 550)
    assert (running.hello, running.proto) == (b"first.example", b"ESMTP")
    say(running, b"HELO third.example")
    assert (running.hello, running.proto, running.announced) == (b"third.example", b"SMTP", set())


def test_transaction():
    running = started()
    assert running.transaction is None
    say(running, b"MAIL FROM:<a@b> SIZE=77")
    transaction = running.transaction
    assert (transaction.sender.text, transaction.recipients, transaction.size) == (b"<a@b>", [], 77)
    assert transaction.sender.params == [(b"SIZE", b"77")]
    say(running, b"RCPT TO:<c@d>")
    say(running, b"RCPT TO:<no@d>", 550)
    say(running, b"RCPT TO:<c@d>")
    assert [path.text for path in transaction.recipients] == [b"<c@d>", b"<c@d>"]
    assert running.transaction is transaction
    say(running, b"RSET")
    assert running.transaction is None
    say(running, b"MAIL FROM:<e@f>")
    assert running.transaction is not transaction
    assert running.transaction.size is None


def test_drop_transaction():
    running = started()
    running.drop_transaction()
    assert running.state_name == "READY"
    say(running, b"MAIL FROM:<a@b>")
    say(running, b"RCPT TO:<c@d>")
    say(running, b"RSET", 451)
    assert running.transaction is not None
    running.drop_transaction()
    assert (running.transaction, running.state_name) == (None, "READY")
    assert running.hello == b"client"
    running = in_data()
    with pytest.raises(RuntimeError):
        running.drop_transaction()


def ehlo(lines, **limits):
    running = Session(Limits(**limits))
    running.next_event()
    running.reply_default()
    running.take_output()
    running.feed(b"EHLO x\r\n")
    running.next_event()
    running.reply(250, lines)
    return running.take_output(), running


OURS = b"250-CHUNKING\r\n250 LIMITS RCPTMAX=1000\r\n"


@pytest.mark.parametrize(("lines", "output", "size"), [
    ([b"mx"], b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" + OURS, 1000),
    ([], b"250-localhost\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" + OURS, 1000),
    ([b"mx", b"size 500", b"pipelining"], b"250-mx\r\n250-SIZE 500\r\n250-PIPELINING\r\n" + OURS, 500),
    ([b"mx", b"SIZE 5000"], b"250-mx\r\n250-SIZE 1000\r\n250-PIPELINING\r\n" + OURS, 1000),
    ([b"mx", b"SIZE"], b"250-mx\r\n250-SIZE 1000\r\n250-PIPELINING\r\n" + OURS, 1000),
    ([b"mx", b"SIZE 0", b"SIZE 7"], b"250-mx\r\n250-SIZE 1000\r\n250-PIPELINING\r\n" + OURS, 1000),
    ([b"mx", b"SIZE x", b"8BITMIME", b"8bitmime"],
     b"250-mx\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-PIPELINING\r\n" + OURS, 1000),
    ([b"mx", b"SIZE 99999999999999999999999"], b"250-mx\r\n250-SIZE 1000\r\n250-PIPELINING\r\n" + OURS, 1000),
    ([b"mx", b"STARTTLS", b"AUTH PLAIN", b"X-OWN", b"VRFY", b"", b"SIZE=9"],
     b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" + OURS, 1000),
    ([b"mx", b"EnhancedStatusCodes"],
     b"250-mx\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" + OURS, 1000),
])
def test_extensions(lines, output, size):
    given = list(lines)
    found, running = ehlo(lines, message_bytes=1000)
    assert found == output
    assert running.size_limit == size
    assert lines == given


def test_extensions_without_a_limit_of_ours():
    assert ehlo([b"mx"], message_bytes=0)[0] == b"250-mx\r\n250-PIPELINING\r\n250-SIZE\r\n" + OURS
    found, running = ehlo([b"mx", b"SIZE 10"], message_bytes=0)
    assert found == b"250-mx\r\n250-SIZE 10\r\n250-PIPELINING\r\n" + OURS
    say(running, b"MAIL FROM:<a@b> SIZE=11")
    assert running.take_output() == b"552 5.3.4 Message too big\r\n"


def test_any_size_is_fine_without_a_limit():
    running = started(Limits(message_bytes=0))
    assert say(running, b"MAIL FROM:<a@b> SIZE=99999999999999999999").kind == session.EV_MAIL
    assert running.transaction.size == 99999999999999999999


def test_every_reply_of_ours_can_be_said():
    for name, reply in REPLIES.items():
        assert isinstance(reply, Reply)
        assert 400 <= reply.code <= 599, name
        assert reply.enhanced[:1] == b"%d" % (reply.code // 100)
        assert reply.format().count(b"\r\n") == 1


def test_default_replies_for_every_event_that_asks():
    running = Session(hostname=b"mx.example")
    running.next_event()
    running.reply_default()
    assert running.take_output() == b"220 mx.example ESMTP Mailfilter\r\n"
    running = in_data()
    running.feed(b".\r\n")
    assert running.next_event().kind == session.EV_MESSAGE
    running.reply_default()
    # A policy that is silent about a message must not lose it.
    assert running.take_output() == b"451 4.3.0 Message not taken, try again later\r\n"


@pytest.mark.parametrize("line_bytes", [64, 512, 2048])
def test_line_bytes(line_bytes):
    running = started(Limits(line_bytes=line_bytes))
    assert say(running, b"NOOP " + b"x" * (line_bytes - 7)).kind == session.EV_NOOP
    event = say(running, b"NOOP " + b"x" * (line_bytes - 6))
    assert event.kind == session.EV_REJECTED
    assert event.reply is REPLIES["line_too_long"]
    assert len(event.text) == line_bytes - 2


def test_recipients():
    running = started(Limits(recipients=2))
    say(running, b"MAIL FROM:<a@b>")
    for _ in range(2):
        assert say(running, b"RCPT TO:<c@d>").kind == session.EV_RCPT
    assert say(running, b"RCPT TO:<c@d>").reply is REPLIES["too_many_recipients"]
    # What is wrong with the command is told first, and a refused recipient takes no place.
    assert say(running, b"RCPT TO:<c>").reply is REPLIES["bad_recipient"]
    say(running, b"RSET")
    say(running, b"MAIL FROM:<a@b>")
    say(running, b"RCPT TO:<c@d>", 550)
    for _ in range(2):
        assert say(running, b"RCPT TO:<c@d>").kind == session.EV_RCPT


@pytest.mark.parametrize("errors", [0, 1, 20])
def test_errors(errors):
    running = started(Limits(errors=errors))
    running.feed(b"DATA\r\n" * (errors + 1) + b"NOOP\r\n")
    for _ in range(errors):
        assert running.next_event().reply is REPLIES["sequence"]
    event = running.next_event()
    assert (event.kind, event.text, event.reply) == (session.EV_REJECTED, b"DATA", REPLIES["too_many_errors"])
    assert running.closed
    assert running.next_event().kind == session.EV_CLOSED
    assert running.next_event() is None


def test_pending_bytes():
    running = started(Limits(pending_bytes=100))
    running.feed(b"NOOP\r\n")
    running.next_event()
    running.feed(b"x" * 99)
    assert not running.full
    running.feed(b"x")
    assert running.full
    assert running.buffered == 100
    assert running.next_event() is None


@pytest.mark.parametrize("wrong", [
    {"line_bytes": 63}, {"recipients": 0}, {"header_bytes": 0}, {"header_fields": 0}, {"pending_bytes": 0},
    {"message_bytes": -1}, {"errors": -1}])
def test_limits_must_make_sense(wrong):
    with pytest.raises(ValueError):
        Limits(**wrong)


def test_limits_are_named_and_fixed():
    with pytest.raises(TypeError):
        Limits(5)
    with pytest.raises(TypeError):
        Limits(lines=5)
    with pytest.raises(AttributeError):
        Limits().errors = 5


def test_refuse_while_an_event_asks():
    running = started()
    running.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    running.next_event()
    running.refuse(421, [b"4.4.2 Too slow"])
    assert not running.awaiting
    assert running.take_output() == b"421 4.4.2 Too slow\r\n"
    with pytest.raises(RuntimeError):
        running.reply(250, [b"late"])
    assert running.next_event().kind == session.EV_CLOSED
    assert running.next_event() is None
    running.refuse(421, [b"again"])
    assert running.take_output() == b""


def test_refuse_before_the_greeting():
    running = Session()
    running.refuse(421, [b"4.3.2 full"])
    assert running.take_output() == b"421 4.3.2 full\r\n"
    assert running.next_event().kind == session.EV_CLOSED


def test_an_impossible_refusal_changes_nothing():
    running = started()
    with pytest.raises(ValueError):
        running.refuse(42, [b"x"])
    assert not running.closed


def test_closed_sessions_ignore_input():
    running = started()
    say(running, b"QUIT")
    running.feed(b"NOOP\r\n")
    assert running.next_event().kind == session.EV_CLOSED
    running.feed(b"NOOP\r\n")
    assert running.next_event() is None
    assert running.buffered == 0


def test_eof():
    running = started()
    running.feed(b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<tr")
    running.eof()
    with pytest.raises(RuntimeError):
        running.feed(b"x")
    kinds = []
    while (event := running.next_event()) is not None:
        kinds.append(event.name)
        if event.asks:
            running.reply_default()
    assert kinds == ["NOOP", "MAIL", "CLOSED"]


@pytest.mark.parametrize("verb", [row[1] for row in VERBS if row[1] not in (b"", b"QUIT")])
def test_421_always_closes(verb):
    running = Session(auth_without_tls=True)
    running.offer([b"AUTH", b"STARTTLS", b"XCLIENT", b"XFORWARD"])
    running.next_event()
    running.reply(220, [b"x"])
    ways = {b"MAIL": 1, b"RCPT": 2, b"DATA": 3, b"BDAT": 1}
    for line in (b"HELO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>")[:ways.get(verb, 0)]:
        say(running, line)
    argument = {b"MAIL": b" FROM:<a@b>", b"RCPT": b" TO:<c@d>", b"DATA": b"", b"RSET": b""}.get(verb, b" x")
    if verb == b"BDAT":
        say(running, b"RSET")
        say(running, b"EHLO x")
        say(running, b"MAIL FROM:<a@b>")
        say(running, b"RCPT TO:<c@d>")
        argument = b" 0"
    elif verb == b"STARTTLS":
        argument = b""
    elif verb == b"AUTH":
        running.feed(b"EHLO x\r\n")
        running.next_event()
        running.reply(250, [b"x", b"AUTH X"])
    elif verb[:1] == b"X":
        argument = b" NAME=x"
    event = say(running, verb + argument, 421)
    assert event.asks
    assert running.closed
    assert running.transaction is None


@pytest.mark.parametrize(("code", "state"), [
    (220, "GREETED"), (250, "GREETED"), (421, "CLOSED"), (450, "CLOSED"), (500, "REFUSED"), (554, "REFUSED")])
def test_greetings(code, state):
    running = Session()
    running.next_event()
    running.reply(code, [b"x"])
    assert running.state_name == state


def test_a_refusing_greeting_can_close():
    running = Session()
    running.next_event()
    running.reply(554, [b"x"], close=True)
    assert running.closed


def test_line_ends():
    with pytest.raises(ValueError):
        Session(line_ends="accept")


def test_lines_may_be_any_sequence_of_bytes():
    running = started()
    running.feed(b"NOOP\r\n")
    running.next_event()
    running.reply(250, (b"a", b"b"))
    assert running.take_output() == b"250-a\r\n250 b\r\n"


def test_a_reply_cannot_carry_another():
    running = started()
    running.feed(b"NOOP\r\n")
    running.next_event()
    running.reply(250, [b"fine\r\n250 and more\0"])
    assert running.take_output() == b"250 fine  250 and more \r\n"
