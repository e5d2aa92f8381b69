"""CLIENT_TABLE against the machine: every state of the next-hop side with everything that can be sent or come."""
import pytest

from mailfilter._core import fsm
from mailfilter._core.client import Client, ClientError

EHLO = (b"250-x\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-XCLIENT NAME\r\n250-XFORWARD NAME\r\n250-CHUNKING\r\n"
        b"250 PIPELINING\r\n")


def say(running, verb, args, reply):
    running.command(verb, args)
    running.feed(reply)


def reached(state):
    """A Client in that state whose replies are all taken."""
    running = Client()
    if state == fsm.NH_GREETING:
        return running
    running.feed(b"220 hello\r\n")
    say(running, b"EHLO", b"x", EHLO)
    if state in (fsm.NH_MAIL, fsm.NH_RCPT, fsm.NH_DATA, fsm.NH_SENDING, fsm.NH_CHUNKS, fsm.NH_FINAL):
        say(running, b"MAIL", b"FROM:<a@b>", b"250 ok\r\n")
    if state in (fsm.NH_RCPT, fsm.NH_DATA, fsm.NH_SENDING, fsm.NH_CHUNKS, fsm.NH_FINAL):
        say(running, b"RCPT", b"TO:<c@d>", b"250 ok\r\n")
    if state in (fsm.NH_DATA, fsm.NH_SENDING, fsm.NH_FINAL):
        running.command(b"DATA")
    if state in (fsm.NH_SENDING, fsm.NH_FINAL):
        running.feed(b"354 go\r\n")
    if state == fsm.NH_FINAL:
        running.begin_message()
        running.end_message()
    if state == fsm.NH_CHUNKS:
        running.chunk(5, False)
        running.feed(b"250 ok\r\n")
    if state in (fsm.NH_AUTH, fsm.NH_CHALLENGE):
        running.command(b"AUTH", b"PLAIN")
    if state == fsm.NH_CHALLENGE:
        running.feed(b"334 \r\n")
    if state in (fsm.NH_STARTTLS, fsm.NH_TLS):
        running.starttls()
    if state == fsm.NH_TLS:
        running.feed(b"220 go\r\n")
    if state == fsm.NH_XCLIENT:
        running.command(b"XCLIENT", b"NAME=x")
    if state == fsm.NH_CLOSED:
        running.eof()
    while running.next_reply():
        pass
    assert running.state == state
    return running


# What can be sent: a function that sends it, what it is in the table at once, and for each reply what it is then.
SENT = {
    "EHLO": (lambda c: c.command(b"EHLO", b"x"), None, {b"250": fsm.NI_HELLO, b"550": None}),
    "HELO": (lambda c: c.command(b"HELO", b"x"), None, {b"250": fsm.NI_HELLO, b"550": None}),
    "RSET": (lambda c: c.command(b"RSET"), None, {b"250": fsm.NI_HELLO, b"450": None}),
    "MAIL": (lambda c: c.command(b"MAIL", b"FROM:<a@b>"), None, {b"250": fsm.NI_MAIL, b"450": None, b"550": None}),
    "RCPT": (lambda c: c.command(b"RCPT", b"TO:<a@b>"), None, {b"250": fsm.NI_RCPT, b"450": None, b"550": None}),
    "NOOP": (lambda c: c.command(b"NOOP"), None, {b"250": None, b"550": None}),
    "VRFY": (lambda c: c.command(b"VRFY", b"x"), None, {b"252": None, b"550": None}),
    "XYZZY": (lambda c: c.command(b"XYZZY"), None, {b"250": None, b"500": None}),
    "XFORWARD": (lambda c: c.command(b"XFORWARD", b"NAME=x"), None, {b"250": None, b"501": None}),
    "QUIT": (lambda c: c.command(b"QUIT"), None, {b"221": fsm.NI_CLOSE, b"500": fsm.NI_CLOSE}),
    "DATA": (lambda c: c.command(b"DATA"), fsm.NI_DATA, {b"354": fsm.NI_GO, b"554": fsm.NI_NO_GO, b"250": fsm.NI_CLOSE}),
    "end of data": (lambda c: (c.begin_message(), c.end_message()), fsm.NI_END, {b"250": fsm.NI_DONE, b"550": fsm.NI_DONE}),
    "BDAT": (lambda c: c.chunk(3, False), fsm.NI_CHUNK, {b"250": None, b"552": fsm.NI_REFUSED, b"354": fsm.NI_CLOSE}),
    "BDAT LAST": (lambda c: c.chunk(3, True), fsm.NI_END, {b"250": fsm.NI_DONE, b"552": fsm.NI_REFUSED}),
    "AUTH": (lambda c: c.command(b"AUTH", b"PLAIN"), fsm.NI_AUTH,
             {b"235": fsm.NI_ANSWERED, b"535": fsm.NI_ANSWERED, b"334": fsm.NI_CHALLENGE, b"354": fsm.NI_CLOSE}),
    "line of AUTH": (lambda c: c.auth_line(b"AAAA"), fsm.NI_AUTH,
                     {b"235": fsm.NI_ANSWERED, b"535": fsm.NI_ANSWERED, b"334": fsm.NI_CHALLENGE, b"354": fsm.NI_CLOSE}),
    "STARTTLS": (lambda c: c.starttls(), fsm.NI_STARTTLS,
                 {b"220": fsm.NI_SECURE, b"454": fsm.NI_ANSWERED, b"250": fsm.NI_CLOSE, b"354": fsm.NI_CLOSE}),
    "XCLIENT": (lambda c: c.command(b"XCLIENT", b"NAME=x"), fsm.NI_XCLIENT,
                {b"220": fsm.NI_ANSWERED, b"550": fsm.NI_ANSWERED, b"354": fsm.NI_CLOSE}),
}
# Where each can be sent. That is for the next hop to say, but for what would put the two out of step.
COMMANDS = (fsm.NH_READY, fsm.NH_MAIL, fsm.NH_RCPT)
WHERE = dict.fromkeys(("EHLO", "HELO", "RSET", "QUIT"), (*COMMANDS, fsm.NH_CHUNKS)) | {
    "end of data": (fsm.NH_SENDING,), "BDAT": (fsm.NH_RCPT, fsm.NH_CHUNKS), "BDAT LAST": (fsm.NH_RCPT, fsm.NH_CHUNKS),
    "AUTH": (fsm.NH_READY,), "STARTTLS": (fsm.NH_READY,), "XCLIENT": (fsm.NH_READY,), "line of AUTH": (fsm.NH_CHALLENGE,)}


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("state", range(fsm.NH_COUNT), ids=fsm.CLIENT_STATE_NAMES)
def test_every_pair(state, name):
    send, at_once, by_reply = SENT[name]
    allowed = state in WHERE.get(name, COMMANDS)
    if at_once is not None:
        assert ((state, at_once) in fsm.CLIENT_TABLE) >= allowed
    for code, then in by_reply.items():
        running = reached(state)
        if not allowed:
            outstanding = running.outstanding
            with pytest.raises(ClientError):
                send(running)
            assert (running.state, running.outstanding) == (state, outstanding)
            continue
        send(running)
        middle = state if at_once is None else fsm.CLIENT_TABLE[state, at_once]
        assert running.state == middle
        running.feed(code + b" x\r\n")
        if then == fsm.NI_NO_GO:
            target = state          # a refused DATA leads back to where it was sent
        elif then is None:
            target = middle
        else:
            target = fsm.CLIENT_TABLE.get((middle, then), middle)
        assert running.state == target, code
        assert running.outstanding == 0
        shown = running.next_reply()
        # A chunk that was taken is not worth a word.
        assert shown is None if name == "BDAT" and code == b"250" else shown.code == int(code)
        assert (running.failed is not None) == (then == fsm.NI_CLOSE and name != "QUIT")


@pytest.mark.parametrize("state", range(fsm.NH_COUNT), ids=fsm.CLIENT_STATE_NAMES)
def test_421_closes_in_every_state(state):
    running = reached(state)
    running.feed(b"421 4.3.2 going down\r\n")
    assert running.state == fsm.NH_CLOSED
    reply = running.next_reply()
    # Where TLS is to begin, nothing counts that comes without.
    assert (reply.code if reply else None) == (None if state in (fsm.NH_CLOSED, fsm.NH_TLS) else 421)
    why = {fsm.NH_CLOSED: "closed", fsm.NH_TLS: "protocol error: octets without TLS behind the reply to STARTTLS"}
    assert running.failed == why.get(state, "421 4.3.2 going down")
    with pytest.raises(ClientError):
        running.command(b"NOOP")


@pytest.mark.parametrize("state", range(fsm.NH_COUNT), ids=fsm.CLIENT_STATE_NAMES)
def test_what_nobody_asked_for_fails_in_every_state_that_waits_for_nothing(state):
    running = reached(state)
    if running.outstanding or state == fsm.NH_CLOSED:
        return
    running.feed(b"250 what\r\n")
    assert running.failed.startswith("protocol error: ") and running.next_reply() is None


@pytest.mark.parametrize("state", range(fsm.NH_COUNT), ids=fsm.CLIENT_STATE_NAMES)
def test_resync_in_every_state(state):
    """Either the connection is lost, or the next MAIL begins anew."""
    running = reached(state)
    running.resync()
    if state in (fsm.NH_READY, fsm.NH_MAIL, fsm.NH_RCPT, fsm.NH_CHUNKS):
        assert running.failed is None
        assert running.command(b"MAIL", b"FROM:<a@b>") == b"RSET\r\nMAIL FROM:<a@b>\r\n"
        running.feed(b"250 reset\r\n250 sender\r\n")
        assert running.state == fsm.NH_MAIL
    elif state != fsm.NH_GREETING:
        assert running.failed is not None and running.state == fsm.NH_CLOSED


@pytest.mark.parametrize("state", range(fsm.NH_COUNT), ids=fsm.CLIENT_STATE_NAMES)
def test_only_between_transactions_may_somebody_else_go_on(state):
    assert reached(state).pristine == (state == fsm.NH_READY)
