"""What a next hop offers and what is done with it: lock step, BDAT, LMTP, PRDR, STARTTLS, AUTH, XCLIENT."""
import pytest
from feeding import cuts

from mailfilter._core.client import Client, ClientError


def codes(running):
    found = []
    while (reply := running.next_reply()) is not None:
        found.append(reply.code)
    return found


def hello(*offers, lmtp=False):
    """A Client after EHLO (LHLO) to a next hop that offers these."""
    running = Client(lmtp=lmtp)
    running.feed(b"220 hello\r\n")
    running.command(b"LHLO" if lmtp else b"EHLO", b"x")
    lines = [b"hop", *offers]
    running.feed(b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n")
    assert codes(running) == [220, 250]
    return running


def envelope(running, recipients=b"250", mail=b"FROM:<a@b>"):
    """MAIL, and a RCPT for each code."""
    running.command(b"MAIL", mail)
    running.feed(b"250 ok\r\n")
    for code in recipients.split():
        running.command(b"RCPT", b"TO:<c@d>")
        running.feed(code + b" x\r\n")
    codes(running)


def data(running):
    running.command(b"DATA")
    running.feed(b"354 go\r\n")
    assert codes(running) == [354]
    running.begin_message()
    assert running.end_message() == b".\r\n"


# EHLO.

@pytest.mark.parametrize(("lines", "found"), [
    ([b"size 1000", b"Pipelining", b"8BITMIME"], {b"SIZE": b"1000", b"PIPELINING": b"", b"8BITMIME": b""}),
    ([b"AUTH PLAIN LOGIN", b"AUTH=PLAIN"], {b"AUTH": b"PLAIN LOGIN"}),
    ([b"AUTH=LOGIN PLAIN"], {b"AUTH": b"LOGIN PLAIN"}),
    ([b"", b" ", b"\xff", b"X_Y", b"A B  C "], {b"A": b"B  C"}),
    ([b"SIZE 1", b"SIZE 2"], {b"SIZE": b"1"}),
    ([b"LIMITS RCPTMAX=5"], {b"LIMITS": b"RCPTMAX=5"}),
])
def test_what_is_offered(lines, found):
    assert hello(*lines).extensions == found


def test_what_is_offered_lasts_until_the_next_hello():
    running = hello(b"SIZE 5")
    running.command(b"EHLO", b"x")
    running.feed(b"550 no\r\n")
    assert running.extensions == {b"SIZE": b"5"}
    running.command(b"HELO", b"x")
    running.feed(b"250-hop\r\n250 SIZE 5\r\n")
    assert running.extensions == {}


# One after the other, or together.

GROUP = [(b"MAIL", b"FROM:<a@b>"), (b"RCPT", b"TO:<c@d>"), (b"RCPT", b"TO:<e@f>"), (b"DATA", None)]


def test_commands_wait_where_pipelining_is_not_offered():
    running = hello(b"SIZE")
    assert [running.command(*command) for command in GROUP] == [b"MAIL FROM:<a@b>\r\n", b"", b"", b""]
    assert (running.outstanding, running.state_name) == (4, "DATA")
    for reply, then in ((b"250 a", b"RCPT TO:<c@d>"), (b"250 b", b"RCPT TO:<e@f>"), (b"550 c", b"DATA"), (b"354 d", b"")):
        running.feed(reply + b"\r\n")
        assert running.take_output() == (then + b"\r\n" if then else b"")
        assert running.take_output() == b""
    assert codes(running) == [250, 250, 550, 354]


def test_commands_go_together_where_it_is():
    running = hello(b"PIPELINING")
    assert b"".join(running.command(*command) for command in GROUP) == (
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")


@pytest.mark.parametrize("verb", [b"EHLO", b"HELO", b"NOOP", b"VRFY", b"XYZZY"])
def test_these_end_a_group(verb):
    running = hello(b"PIPELINING")
    assert running.command(verb, b"x") != b""
    assert running.command(b"MAIL", b"FROM:<>") == b"" and running.command(b"RCPT", b"TO:<a@b>") == b""
    running.feed(b"250-x\r\n250 PIPELINING\r\n")
    # HELO takes back what EHLO had brought.
    assert running.take_output() == b"MAIL FROM:<>\r\n" + (b"" if verb == b"HELO" else b"RCPT TO:<a@b>\r\n")


def test_a_reply_to_a_command_that_waits_is_a_reply_too_many():
    running = hello(b"SIZE")
    running.command(b"MAIL", b"FROM:<>")
    running.command(b"RCPT", b"TO:<a@b>")
    running.feed(b"250 a\r\n")
    running.feed(b"250 b\r\n250 c\r\n")
    assert running.failed is None or running.failed.startswith("protocol error")
    running = hello(b"SIZE")
    running.command(b"NOOP")
    running.command(b"NOOP")
    running.feed(b"250 a\r\n")
    running.take_output()
    running.feed(b"250 b\r\n250 c\r\n")
    assert running.failed == "protocol error: unsolicited reply 250 c"


def test_reset_before_mail_waits_too():
    running = hello(b"SIZE")
    running.resync()
    assert running.command(b"MAIL", b"FROM:<a@b>") == b"RSET\r\n"
    running.feed(b"250 ok\r\n")
    assert running.take_output() == b"MAIL FROM:<a@b>\r\n"


# BDAT.

def test_chunks_in_one_go():
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    assert running.may_chunk
    assert [running.chunk(4, False), running.chunk(0, False), running.chunk(9, True)] == [
        b"BDAT 4\r\n", b"BDAT 0\r\n", b"BDAT 9 LAST\r\n"]
    assert (running.state_name, running.outstanding, running.in_message) == ("FINAL", 3, True)
    running.feed(b"250 4 octets\r\n250 0\r\n250 taken\r\n")
    assert [running.next_reply().lines, running.next_reply()] == [[b"taken"], None]
    assert running.state_name == "READY" and running.pristine


def test_chunks_one_by_one():
    running = hello(b"CHUNKING")
    envelope(running)
    running.chunk(4, False)
    assert not running.may_chunk
    with pytest.raises(ClientError, match="before the next chunk"):
        running.chunk(4, True)
    running.feed(b"250 ok\r\n")
    assert running.may_chunk and running.chunk(4, True)


@pytest.mark.parametrize("more", [b"", b"503 what\r\n", b"250 ok\r\n503 what\r\n"])
def test_a_refused_chunk_is_the_reply_to_the_message(more):
    """What the next hop says to the chunks that were on their way is not shown, and RSET is sent before MAIL."""
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    for _ in range(1 + more.count(b"\n")):
        running.chunk(4, False)
    running.feed(b"552 5.3.4 too much\r\n" + more)
    assert codes(running) == [552]
    assert (running.state_name, running.failed, running.may_chunk, running.in_message) == ("READY", None, False, False)
    with pytest.raises(ClientError):
        running.chunk(4, True)
    with pytest.raises(ClientError, match="after a fault"):
        running.command(b"RCPT", b"TO:<a@b>")
    assert running.command(b"MAIL", b"FROM:<a@b>") == b"RSET\r\nMAIL FROM:<a@b>\r\n"
    running.feed(b"250 reset\r\n251 sender\r\n")
    assert codes(running) == [251]


@pytest.mark.parametrize("replies", [b"503 a\r\n503 b\r\n", b"250 a\r\n250 b\r\n", b"452 a\r\n250 b\r\n"])
def test_replies_to_chunks_after_a_refused_one_change_nothing(replies):
    """They may come when the next transaction has begun already."""
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    for last in (False, False, True):
        running.chunk(4, last)
    running.feed(b"552 too much\r\n")
    assert running.command(b"MAIL", b"FROM:<a@b>") == b""
    running.feed(replies)
    assert running.take_output() == b"RSET\r\nMAIL FROM:<a@b>\r\n"
    running.feed(b"250 reset\r\n251 sender\r\n")
    assert (codes(running), running.state_name, running.failed) == ([552, 251], "MAIL", None)
    assert running.command(b"RCPT", b"TO:<c@d>")


def test_a_chunk_refused_while_the_last_is_on_its_way():
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    running.chunk(4, False)
    running.chunk(4, True)
    running.feed(b"452 full\r\n")
    assert (codes(running), running.state_name, running.outstanding) == ([452], "READY", 1)
    running.feed(b"250 surprise\r\n")
    assert codes(running) == [] and running.failed is None


def test_the_last_chunk_refused():
    running = hello(b"CHUNKING")
    envelope(running)
    running.chunk(4, True)
    running.feed(b"554 no\r\n")
    assert codes(running) == [554]
    assert running.command(b"MAIL", b"FROM:<a@b>") == b"RSET\r\n"


@pytest.mark.parametrize("offers", [[b"PIPELINING"], [b"SIZE"]])
def test_no_chunks_where_they_are_not_offered(offers):
    running = hello(*offers)
    envelope(running)
    with pytest.raises(ClientError, match="does not offer CHUNKING"):
        running.chunk(4, True)
    with pytest.raises(ClientError, match="cannot be sent as a command"):
        running.command(b"BDAT", b"4 LAST")


def test_no_chunks_before_the_replies_to_the_envelope():
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    running.command(b"RCPT", b"TO:<e@f>")
    with pytest.raises(ClientError):
        running.chunk(4, True)
    with pytest.raises(ValueError):
        running.chunk(-1, True)


def test_between_chunks_only_what_ends_the_message():
    running = hello(b"CHUNKING", b"PIPELINING")
    envelope(running)
    running.chunk(4, False)
    running.feed(b"250 ok\r\n")
    for verb in (b"MAIL", b"RCPT", b"DATA", b"NOOP"):
        with pytest.raises(ClientError, match="a message is being sent"):
            running.command(verb, b"x")
    assert running.command(b"RSET") == b"RSET\r\n"
    running.feed(b"250 ok\r\n")
    assert codes(running) == [250] and running.pristine


# A reply for each recipient.

def test_lmtp_answers_for_each_accepted_recipient():
    running = hello(b"PIPELINING", lmtp=True)
    envelope(running, b"250 550 250 450 250")
    assert running.recipients == 3
    data(running)
    assert running.outstanding == 3
    running.feed(b"250 a\r\n452 b\r\n")
    assert (codes(running), running.state_name) == ([250, 452], "FINAL")
    running.feed(b"550 c\r\n")
    assert (codes(running), running.state_name, running.recipients) == ([550], "READY", 0)
    assert running.pristine


def test_lmtp_with_chunks():
    running = hello(b"PIPELINING", b"CHUNKING", lmtp=True)
    envelope(running, b"250 250")
    running.chunk(4, False)
    assert not running.may_chunk        # how many replies come to the last depends on the one to this
    running.feed(b"250 ok\r\n")
    running.chunk(4, True)
    running.feed(b"250 a\r\n550 b\r\n")
    assert (codes(running), running.state_name, running.failed) == ([250, 550], "READY", None)


def test_lmtp_without_a_recipient_takes_no_message():
    running = hello(b"PIPELINING", lmtp=True)
    envelope(running, b"550")
    running.command(b"DATA")
    running.feed(b"354 go\r\n")
    assert running.failed.startswith("protocol error: 354")


def test_lmtp_counts_anew_for_each_message():
    running = hello(b"PIPELINING", lmtp=True)
    for count in (2, 1, 3):
        envelope(running, b"250 " * count)
        data(running)
        running.feed(b"250 x\r\n" * count)
        assert codes(running) == [250] * count and running.state_name == "READY"


@pytest.mark.parametrize("chunks", [False, True])
def test_prdr(chunks):
    running = hello(b"PIPELINING", b"PRDR", b"CHUNKING")
    envelope(running, b"250 550 250", b"FROM:<a@b> PRDR")
    if chunks:
        running.chunk(4, True)
    else:
        data(running)
    running.feed(b"353 each by itself\r\n250 a\r\n550 b\r\n")
    assert (codes(running), running.state_name, running.outstanding) == ([353, 250, 550], "FINAL", 1)
    running.feed(b"250 for all\r\n")
    assert (codes(running), running.state_name) == ([250], "READY")


@pytest.mark.parametrize(("offer", "mail"), [(b"PRDR", b"FROM:<a@b>"), (b"SIZE", b"FROM:<a@b> PRDR"),
                                             (b"PRDR", b"FROM:<a@b> PRDR")])
def test_prdr_that_was_not_asked_for_or_is_not_done(offer, mail):
    running = hello(offer)
    envelope(running, b"250", mail)
    data(running)
    running.feed(b"250 for all\r\n")
    assert (codes(running), running.state_name, running.outstanding) == ([250], "READY", 0)


# STARTTLS.

def test_starttls():
    running = hello(b"STARTTLS", b"SIZE 5")
    assert running.starttls() == b"STARTTLS\r\n"
    running.feed(b"220 go\r\n")
    assert (codes(running), running.state_name) == ([220], "TLS")
    with pytest.raises(ClientError, match="waits for TLS"):
        running.command(b"EHLO", b"x")
    running.tls_started()
    assert (running.state_name, running.extensions) == ("READY", {})
    assert running.command(b"EHLO", b"x") == b"EHLO x\r\n"


@pytest.mark.parametrize("behind", [b"250 inject", b"250 inject\r\n", b"\x16", b"\r\n"])
def test_what_comes_behind_the_reply_to_starttls_is_never_read_as_secret(behind):
    for chunks in cuts(b"220 go\r\n" + behind):
        running = hello(b"STARTTLS")
        running.starttls()
        for chunk in chunks:
            running.feed(chunk)
        assert running.failed.startswith("protocol error: octets without TLS"), chunks
        assert codes(running) == [220]
        with pytest.raises(ClientError):
            running.tls_started()


def test_starttls_refused():
    running = hello(b"STARTTLS", b"SIZE 5")
    running.starttls()
    running.feed(b"454 later\r\n")
    assert (codes(running), running.state_name, running.extensions[b"SIZE"]) == ([454], "READY", b"5")
    with pytest.raises(ClientError):
        running.tls_started()


def test_starttls_only_where_it_is_possible():
    with pytest.raises(ClientError, match="does not offer STARTTLS"):
        hello(b"SIZE").starttls()
    running = hello(b"STARTTLS", b"PIPELINING")
    running.command(b"RSET")
    with pytest.raises(ClientError, match="between transactions"):
        running.starttls()


# AUTH.

def test_auth():
    running = hello(b"AUTH LOGIN")
    assert running.command(b"AUTH", b"LOGIN") == b"AUTH LOGIN\r\n"
    for line in (b"dXNlcg==", b"cGFzcw=="):
        running.feed(b"334 VXNlcm5hbWU6\r\n")
        assert running.state_name == "CHALLENGE"
        with pytest.raises(ClientError, match="answer to its challenge"):
            running.command(b"NOOP")
        assert running.auth_line(line) == line + b"\r\n"
    running.feed(b"235 welcome\r\n")
    assert (codes(running), running.state_name, running.authenticated) == ([334, 334, 235], "READY", True)
    assert not running.pristine
    with pytest.raises(ClientError, match="succeeded already"):
        running.command(b"AUTH", b"LOGIN")


@pytest.mark.parametrize("line", [b"\r\n", b"QUIT", b"a b", b"AA\r\nMAIL", b"\0", b"**", b"A=A=", b"\xff", b"A" * 12287])
def test_an_answer_to_a_challenge_is_base64(line):
    running = hello(b"AUTH PLAIN")
    running.command(b"AUTH", b"PLAIN")
    running.feed(b"334 \r\n")
    if line == b"QUIT":         # it is base64
        assert running.auth_line(line) == b"QUIT\r\n"
        return
    with pytest.raises(ValueError):
        running.auth_line(line)
    assert running.auth_line(b"*") == b"*\r\n"
    running.feed(b"501 given up\r\n")
    assert (running.state_name, running.authenticated) == ("READY", False)


def test_auth_lines_may_be_long():
    running = hello(b"AUTH XOAUTH2")
    assert len(running.command(b"AUTH", b"XOAUTH2 " + b"A" * 12000)) == 12015
    running = hello(b"AUTH XOAUTH2")
    with pytest.raises(ValueError):
        running.command(b"AUTH", b"XOAUTH2 " + b"A" * 12280)


def test_auth_only_where_it_is_possible():
    with pytest.raises(ClientError, match="does not offer AUTH"):
        hello(b"SIZE").command(b"AUTH", b"PLAIN")
    running = hello(b"AUTH PLAIN")
    with pytest.raises(ClientError, match="does not wait for an answer"):
        running.auth_line(b"AAAA")
    envelope(running)
    with pytest.raises(ClientError, match="between transactions"):
        running.command(b"AUTH", b"PLAIN")


def test_tls_forgets_who_we_were():
    running = hello(b"AUTH PLAIN", b"STARTTLS")
    running.command(b"AUTH", b"PLAIN AAAA")
    running.feed(b"235 ok\r\n")
    running.starttls()
    running.feed(b"220 go\r\n")
    running.tls_started()
    assert not running.authenticated


# XCLIENT, XFORWARD.

def test_xclient_begins_anew():
    running = hello(b"XCLIENT NAME ADDR", b"SIZE 5")
    running.command(b"XCLIENT", b"NAME=x ADDR=192.0.2.1")
    running.feed(b"220 hello again\r\n")
    assert (codes(running), running.state_name, running.extensions, running.pristine) == ([220], "READY", {}, False)


@pytest.mark.parametrize("verb", [b"XCLIENT", b"xforward"])
def test_only_where_they_are_offered(verb):
    with pytest.raises(ClientError, match="does not offer"):
        hello(b"SIZE").command(verb, b"NAME=x")


def test_xforward():
    running = hello(b"XFORWARD NAME")
    assert running.command(b"XFORWARD", b"NAME=x") == b"XFORWARD NAME=x\r\n"
    running.feed(b"250 ok\r\n")
    assert running.state_name == "READY" and not running.pristine
