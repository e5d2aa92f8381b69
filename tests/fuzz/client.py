"""Fuzz target: the next-hop side. An input is what a next hop sends; it is tried with different commands waiting.

The first octet chooses what was sent before, the rest is received. Invariants:

- no exception from feed, eof and next_reply, whatever the next hop sends;
- the same replies, state and failure whether the input comes whole or octet by octet;
- never more replies than were asked for, but one 421; each can be formatted and parsed again;
- a command is accepted afterwards only when the sides are in step: no failure, no message, nothing half received.
"""
from mailfilter._core import fsm
from mailfilter._core.client import Client, ClientError
from mailfilter._core.reply import ReplyParser

from . import running

ENVELOPE = [(b"EHLO", b"x"), (b"MAIL", b"FROM:<a@b>"), (b"RCPT", b"TO:<c@d>"), (b"RCPT", b"TO:<e@f>")]
SENT = ([], ENVELOPE[:1], ENVELOPE, [*ENVELOPE, (b"DATA", None)], [(b"DATA", None)], [(b"RSET", None), (b"QUIT", None)],
        "resync", "sending", "final", "chunks", "last chunk", "lmtp", "prdr", "starttls", "auth", "challenge", "xclient")
EHLO = (b"250-x\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-XCLIENT NAME\r\n250-CHUNKING\r\n250-PRDR\r\n250 PIPELINING\r\n")
PIECES = [
    b"\r\n", b"\n", b"\r", b"250 ok\r\n", b"250-a\r\n", b"250\r\n", b"354 go\r\n", b"421 bye\r\n", b"550 no\r\n", b"-",
    b" ", b"\0", b"\xff", b"220 hi\r\n", b"221 x\r\n", b"199 x\r\n", b"x" * 120, b"251-\r\n",
    b"353 each\r\n", b"334 AAAA\r\n", b"334 \r\n", b"235 in\r\n", b"535 out\r\n", b"552 big\r\n", b"250-STARTTLS\r\n"]


def prepared(sent):
    """(a Client, how many replies it may give) after these commands."""
    client = Client(line_bytes=100)
    client.feed(b"220 hi\r\n")
    client.next_reply()
    if sent == "resync":
        client.command(b"NOOP")
        client.resync()
        client.command(b"MAIL", b"FROM:<a@b>")
        return client, 1
    if sent in SENT[9:]:
        return extended(sent)
    if sent in ("sending", "final"):
        client.command(b"DATA")
        client.feed(b"354 go\r\n")
        client.next_reply()
        client.begin_message()
        if sent == "final":
            client.end_message()
        return client, int(sent == "final")
    for verb, args in sent:
        client.command(verb, args)
    return client, len(sent)


def extended(sent):
    """The same for what needs an extension."""
    client = Client(line_bytes=100, lmtp=sent == "lmtp")
    client.feed(b"220 hi\r\n")
    client.command(b"EHLO", b"x")
    client.feed(EHLO)
    if sent in ("chunks", "last chunk", "lmtp", "prdr"):
        client.command(b"MAIL", b"FROM:<a@b> PRDR" if sent == "prdr" else b"FROM:<a@b>")
        client.command(b"RCPT", b"TO:<c@d>")
        client.command(b"RCPT", b"TO:<e@f>")
        client.feed(b"250 a\r\n250 b\r\n250 c\r\n")
    most = 1
    if sent in ("chunks", "last chunk"):
        client.chunk(5, False)
        client.chunk(5, sent == "last chunk")
    elif sent in ("lmtp", "prdr"):
        client.chunk(5, True)
        most = 2 if sent == "lmtp" else 4
    elif sent == "starttls":
        client.starttls()
    elif sent == "xclient":
        client.command(b"XCLIENT", b"NAME=x")
    else:
        client.command(b"AUTH", b"PLAIN")
        if sent == "challenge":
            client.feed(b"334 \r\n")
            client.auth_line(b"AAAA")
    while client.next_reply() is not None:
        pass
    return client, most


def received(client, chunks):
    replies = []
    for chunk in chunks:
        client.feed(chunk)
        client.take_output()
        while (reply := client.next_reply()) is not None:
            replies.append(reply)
    return replies


def check(data):
    """Nothing that a next hop says, whatever it was asked, breaks the client or puts the two out of step."""
    choice, octets = (data[0], data[1:]) if data else (0, b"")
    sent = SENT[choice % len(SENT)]
    whole, most = prepared(sent)
    single, _most = prepared(sent)
    replies = received(whole, [octets])
    assert replies == received(single, [octets[i:i + 1] for i in range(len(octets))])
    assert (whole.state, whole.failed, whole.outstanding) == (single.state, single.failed, single.outstanding)
    assert len(replies) <= most + (whole.failed is not None and whole.failed.startswith("421"))
    for reply in replies:
        parser = ReplyParser()
        parser.feed(reply.format())
        assert parser.next().code == reply.code
        assert parser.next() is None and parser.error is None
    assert whole.in_message == (whole.state in (fsm.NH_SENDING, fsm.NH_FINAL))
    if whole.state == fsm.NH_TLS:
        # Nothing that came without TLS is left to be read as if it had come with it.
        assert whole.failed is None
        whole.tls_started()
        assert whole.extensions == {} and not whole.authenticated and whole.pristine
    if whole.pristine:
        assert whole.failed is None and whole.outstanding == 0 and whole.state == fsm.NH_READY
    try:
        whole.command(b"NOOP")
        in_step = True
    except ClientError:
        in_step = False
    if in_step:
        assert whole.failed is None and whole.state in (fsm.NH_READY, fsm.NH_MAIL, fsm.NH_RCPT)
    whole.eof()
    assert whole.outstanding == 0 and whole.next_reply() is None
    assert whole.state == fsm.NH_CLOSED


if __name__ == "__main__":
    running.main("client", check, PIECES)
