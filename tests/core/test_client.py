"""The next-hop side: commands that may leave, replies matched with what they answer, and getting back into step."""
import pytest
from feeding import cuts

from mailfilter._core.client import Client, ClientError
from mailfilter._core.reply import Reply


def greeted():
    running = Client()
    running.feed(b"220 hello\r\n")
    assert running.next_reply() == Reply(220, [b"hello"])
    return running


def pipelining(lmtp=False, offers=()):
    """A Client whose next hop offers PIPELINING, and what else is named."""
    running = Client(lmtp=lmtp)
    running.feed(b"220 hello\r\n")
    running.command(b"LHLO" if lmtp else b"EHLO", b"x")
    running.feed(b"".join(b"250-%b\r\n" % line for line in (b"x", *offers)) + b"250 PIPELINING\r\n")
    assert replies(running) == [220, 250]
    return running


def ask(running, verb, args, octets):
    """Send, let the next hop answer, give the replies."""
    running.command(verb, args)
    running.feed(octets)
    return replies(running)


def replies(running):
    found = []
    while (reply := running.next_reply()) is not None:
        found.append(reply.code)
    return found


def sending():
    running = greeted()
    assert ask(running, b"DATA", None, b"354 go\r\n") == [354]
    return running


@pytest.mark.parametrize(("verb", "args", "octets"), [
    (b"EHLO", b"mx.example", b"EHLO mx.example\r\n"),
    (b"QUIT", None, b"QUIT\r\n"),
    (b"MAIL", b"FROM:<a@b>", b"MAIL FROM:<a@b>\r\n"),
    (b"MAIL", b"FROM: <a@b> SIZE=5", b"MAIL FROM:<a@b> SIZE=5\r\n"),
    (b"RCPT", b"TO: \t <a@b>", b"RCPT TO:<a@b>\r\n"),
    (b"rcpt", b"to : <a@b>", b"rcpt to:<a@b>\r\n"),
    (b"MAIL FROM:", b"<a@b>", b"MAIL FROM:<a@b>\r\n"),
    (b"RCPT TO:<a@b>", None, b"RCPT TO:<a@b>\r\n"),
    (b"RCPT", b'TO:<"a: b"@c>', b'RCPT TO:<"a: b"@c>\r\n'),
    (b"MAIL", b"nonsense", b"MAIL nonsense\r\n"),
    (b"XYZZY", b"a: b", b"XYZZY a: b\r\n"),
    (b"RCPT", b"TO :<a@b>", b"RCPT TO:<a@b>\r\n"),
    (b"MAIL", b"FROM:", b"MAIL FROM:\r\n"),
    (b"MAIL", b":", b"MAIL :\r\n"),
    (b"NOOP", b"", b"NOOP \r\n"),
])
def test_commands(verb, args, octets):
    running = greeted()
    assert running.command(verb, args) == octets
    assert running.outstanding == 1


@pytest.mark.parametrize(("verb", "args"), [
    (b"", None), (b" ", b"x"), (b" NOOP", None), (b"NO\nOP", None), (b"NOOP\r", None), (b"NOOP", b"x\r\nQUIT"),
    (b"NOOP", b"\n"), (b"NOOP", b"\0"), (b"\0", None), (b"NOOP", b"x" * 4090)])
def test_one_command_is_one_line(verb, args):
    """The predecessor's D9: CR and LF in an argument were more commands."""
    running = greeted()
    with pytest.raises(ValueError):
        running.command(verb, args)
    assert running.outstanding == 0


def test_longest_command():
    assert len(greeted().command(b"NOOP", b"x" * 4089)) == 4096


def test_a_dialogue():
    running = Client()
    assert (running.state_name, running.outstanding) == ("GREETING", 1)
    running.feed(b"220-hello\r\n220 there\r\n")
    assert running.next_reply().lines == [b"hello", b"there"]
    for verb, args, octets, state in (
            (b"EHLO", b"x", b"250-x\r\n250-SIZE\r\n250\r\n", "READY"), (b"MAIL", b"FROM:<>", b"250\r\n", "MAIL"),
            (b"RCPT", b"TO:<a@b>", b"550 no\r\n", "MAIL"), (b"RCPT", b"TO:<a@b>", b"250 ok\r\n", "RCPT"),
            (b"DATA", None, b"354 go\r\n", "SENDING")):
        assert len(ask(running, verb, args, octets)) == 1
        assert running.state_name == state
    running.begin_message()
    assert running.in_message
    assert running.end_message() == b".\r\n"
    assert (running.state_name, running.in_message, running.outstanding) == ("FINAL", True, 1)
    running.feed(b"250 taken\r\n")
    assert (running.state_name, running.in_message) == ("READY", False)
    assert replies(running) == [250]
    assert ask(running, b"QUIT", None, b"221 bye\r\n") == [221]
    assert running.state_name == "CLOSED"
    running.eof()
    assert running.failed is None


def test_pipelining():
    running = pipelining()
    for verb, args in ((b"MAIL", b"FROM:<a@b>"), (b"RCPT", b"TO:<c@d>"), (b"RCPT", b"TO:<e@f>"), (b"DATA", None)):
        running.command(verb, args)
    assert (running.state_name, running.outstanding) == ("DATA", 4)
    running.feed(b"250 ok\r\n250 ok\r\n550 no\r\n")
    assert (running.state_name, running.outstanding) == ("DATA", 1)
    running.feed(b"554 no\r\n")
    # A refused DATA leads back to where the replies before it led.
    assert running.state_name == "RCPT"
    assert replies(running) == [250, 250, 550, 554]


def test_replies_in_any_chunks():
    data = b"220 hi\r\n250-a\r\n250 b\r\n250\n354 go\r\n"
    for chunks in cuts(data):
        running = Client()
        running.feed(b"")
        rest = list(chunks)
        while running.outstanding:
            running.feed(rest.pop(0))
        # The greeting was in these chunks; what lies behind it came unasked.
        codes = replies(running)
        assert codes[0] == 220
        if rest or len(chunks) > 1:
            continue
        assert running.failed.startswith("protocol error: unsolicited reply 250")


@pytest.mark.parametrize("verb", [b"NOOP", b"RSET", b"QUIT", b"MAIL", b"."])
def test_nothing_but_the_message_after_354(verb):
    """The predecessor's D3: after an exception commands went into the message."""
    running = sending()
    for _ in range(2):
        with pytest.raises(ClientError, match="a message is being sent"):
            running.command(verb)
        running.begin_message() if running.state_name == "SENDING" and not _ else None
    running.end_message()
    with pytest.raises(ClientError, match="a message is being sent"):
        running.command(verb)


def test_order_of_a_message():
    running = greeted()
    with pytest.raises(ClientError, match="does not wait for a message"):
        running.begin_message()
    with pytest.raises(ClientError, match="no message"):
        running.end_message()
    running.command(b"DATA")
    with pytest.raises(ClientError, match="DATA is not answered"):
        running.command(b"NOOP")
    with pytest.raises(ClientError):
        running.begin_message()
    running.feed(b"354 go\r\n")
    with pytest.raises(ClientError, match="no message"):
        running.end_message()
    running.begin_message()
    with pytest.raises(ClientError):
        running.begin_message()
    running.end_message()
    with pytest.raises(ClientError):
        running.end_message()


def test_nothing_before_the_greeting():
    running = Client()
    with pytest.raises(ClientError, match="not greeted"):
        running.command(b"EHLO", b"x")


def test_nothing_after_quit():
    running = greeted()
    running.command(b"QUIT")
    with pytest.raises(ClientError, match="QUIT was sent"):
        running.command(b"NOOP")
    running.eof()
    assert running.failed == "closed"


@pytest.mark.parametrize("verb", [b"BDAT", b"starttls"])
def test_what_is_no_command(verb):
    with pytest.raises(ClientError, match="cannot be sent"):
        greeted().command(verb, b"5")


@pytest.mark.parametrize("data", [
    b"250 what\r\n", b"500 what\r\n", b"354 go\r\n", b"nonsense\r\n", b"250-a\r\n251 b\r\n"])
def test_unsolicited_replies_fail(data):
    running = greeted()
    running.feed(data)
    assert running.failed.startswith("protocol error: ")
    assert (running.state_name, running.next_reply()) == ("CLOSED", None)
    with pytest.raises(ClientError, match="connection lost"):
        running.command(b"NOOP")


def test_half_an_unsolicited_reply_is_not_taken_for_an_answer():
    running = greeted()
    running.feed(b"250 du")
    with pytest.raises(ClientError, match="unsolicited reply"):
        running.command(b"MAIL", b"FROM:<a@b>")
    running.feed(b"plicate\r\n")
    assert (running.failed, running.next_reply()) == ("protocol error: unsolicited reply", None)


def test_a_reply_too_many_behind_the_right_one():
    running = greeted()
    assert ask(running, b"NOOP", None, b"250 one\r\n250 two\r\n") == [250]
    assert running.failed == "protocol error: unsolicited reply 250 two"


def test_a_reply_inside_a_message_fails():
    running = sending()
    running.begin_message()
    running.feed(b"552 too big\r\n")
    assert running.failed == "protocol error: unsolicited reply 552 too big"
    with pytest.raises(ClientError):
        running.end_message()


def test_421_at_any_time_is_a_reply():
    running = pipelining()
    running.feed(b"421-4.3.2 going\r\n421 down\r\n")
    assert replies(running) == [421]
    assert running.failed == "421 4.3.2 going\ndown"
    running = pipelining()
    running.command(b"MAIL", b"FROM:<>")
    running.command(b"RCPT", b"TO:<a@b>")
    running.feed(b"421 bye\r\n250 ok\r\n")
    assert replies(running) == [421]
    assert running.outstanding == 0


@pytest.mark.parametrize("reply", [b"250 queued\r\n", b"220 x\r\n"])
def test_neither_go_nor_refusal_to_data_fails(reply):
    running = greeted()
    running.command(b"DATA")
    running.feed(reply)
    assert running.failed.startswith("protocol error: 2")
    assert replies(running) == [int(reply[:3])]


def test_eof():
    running = greeted()
    running.command(b"NOOP")
    running.feed(b"250 o")
    running.eof()
    assert (running.failed, running.state_name) == ("closed", "CLOSED")
    assert (running.outstanding, running.next_reply()) == (0, None)
    running.feed(b"k\r\n")
    assert running.next_reply() is None


def test_replies_that_came_before_a_failure_are_given():
    running = greeted()
    running.command(b"NOOP")
    running.command(b"NOOP")
    running.feed(b"250 one\r\nrubbish\r\n")
    assert running.failed.startswith("protocol error: not a reply")
    assert replies(running) == [250]


def test_long_replies():
    """The predecessor's D11: lines over 512 octets put the sides out of step."""
    running = greeted()
    assert ask(running, b"NOOP", None, b"250 " + b"x" * 4000 + b"\r\n") == [250]
    running.command(b"NOOP")
    running.feed(b"250 " + b"x" * 5000 + b"\r\n")
    assert running.failed.startswith("protocol error: reply line too long")


def test_resync_drops_replies_and_resets_before_mail():
    running = pipelining()
    ask(running, b"MAIL", b"FROM:<a@b>", b"250 ok\r\n")
    running.command(b"RCPT", b"TO:<c@d>")
    running.command(b"RCPT", b"TO:<e@f>")
    running.feed(b"250 seen by nobody\r\n")
    running.resync()
    for verb in (b"RCPT", b"DATA", b"NOOP", b"XYZZY"):
        with pytest.raises(ClientError, match="after a fault"):
            running.command(verb)
    assert running.command(b"MAIL", b"FROM:<g@h>") == b"RSET\r\nMAIL FROM:<g@h>\r\n"
    assert running.outstanding == 3
    running.feed(b"550 late\r\n250 reset\r\n251 mail\r\n")
    assert replies(running) == [251]
    assert (running.state_name, running.failed) == ("MAIL", None)
    assert running.command(b"RCPT", b"TO:<i@j>") == b"RCPT TO:<i@j>\r\n"


@pytest.mark.parametrize("verb", [b"RSET", b"EHLO", b"HELO"])
def test_resync_is_over_after_a_reset(verb):
    running = greeted()
    running.resync()
    assert running.command(verb, b"x").startswith(verb)
    running.feed(b"250 ok\r\n")
    assert replies(running) == [250]
    assert running.command(b"MAIL", b"FROM:<a@b>") == b"MAIL FROM:<a@b>\r\n"


def test_a_refused_hello_does_not_end_resync():
    running = greeted()
    running.resync()
    assert ask(running, b"EHLO", b"x", b"502 no\r\n") == [502]
    assert running.command(b"MAIL", b"FROM:<a@b>").startswith(b"RSET\r\n")


def test_a_refused_rset_fails_or_is_needed_still():
    running = greeted()
    running.resync()
    running.command(b"MAIL", b"FROM:<a@b>")
    running.feed(b"500 what\r\n")
    assert running.failed == "protocol error: 500 what to RSET"
    running = greeted()
    running.resync()
    assert ask(running, b"RSET", None, b"500 what\r\n") == [500]
    assert running.command(b"MAIL", b"FROM:<a@b>").startswith(b"RSET\r\n")


def test_resync_allows_quit():
    running = greeted()
    running.command(b"NOOP")
    running.resync()
    assert running.command(b"QUIT") == b"QUIT\r\n"          # nothing that comes before it is of interest
    running.feed(b"250 ok\r\n221 bye\r\n")
    assert replies(running) == [221]
    assert running.failed is None


def test_resync_forgets_what_was_not_sent():
    running = greeted()
    running.command(b"NOOP")
    assert running.command(b"MAIL", b"FROM:<a@b>") == b""
    running.resync()
    assert running.outstanding == 1
    running.feed(b"250 ok\r\n")
    assert (running.take_output(), replies(running), running.outstanding) == (b"", [], 0)


@pytest.mark.parametrize("where", ["data sent", "354", "begun", "final"])
def test_resync_inside_a_message_fails(where):
    running = greeted()
    running.command(b"DATA")
    if where != "data sent":
        running.feed(b"354 go\r\n")
    if where in ("begun", "final"):
        running.begin_message()
    if where == "final":
        running.end_message()
    running.resync()
    assert (running.failed, running.state_name) == ("message abandoned", "CLOSED")


def test_too_many_commands_without_a_reply():
    running = pipelining()
    for _ in range(10000):
        running.command(b"RSET")
    with pytest.raises(ClientError, match="too many commands"):
        running.command(b"NOOP")
    running.feed(b"250 ok\r\n" * 10000)
    assert len(replies(running)) == 10000
    assert running.failed is None


@pytest.mark.parametrize(("verb", "args"), [
    (b"EHLO", b"x"), (b"HELO", b"x"), (b"MAIL", b"FROM:<a@b>"), (b"RSET", None)])
def test_go_on_in_the_wrong_place_is_never_an_acceptance(verb, args):
    """Who says 354 waits for a message: the next command would be its text."""
    running = greeted()
    assert ask(running, verb, args, b"354 go on\r\n") == []
    assert running.failed == "protocol error: unexpected reply 354 go on"
    with pytest.raises(ClientError):
        running.command(b"QUIT")


def test_nor_is_it_for_a_recipient_or_a_greeting():
    running = greeted()
    assert ask(running, b"MAIL", b"FROM:<a@b>", b"250 x\r\n") == [250]
    assert ask(running, b"RCPT", b"TO:<a@b>", b"354 go on\r\n") == []
    assert running.failed == "protocol error: unexpected reply 354 go on"
    running = Client()
    running.feed(b"354 go on\r\n")
    assert replies(running) == [] and running.failed == "protocol error: unexpected reply 354 go on"
