"""Fuzz target: the server side. An input is what a client sends; it is tried from every state that can be reached.

The first octet chooses the configuration and how the policy answers, the rest is sent. Invariants:

- no exception, whatever the client sends;
- the same events and the same output whether the input comes whole or octet by octet;
- the output is a sequence of well-formed replies, one for each event that asks or tells of a refusal, none besides;
- a transaction exists exactly in the states MAIL, RCPT, CHUNKS and DATA;
- what is handed on of an accepted message cannot end a message early, and its sizes are right; only the body of a
  binary one has bare CR or LF;
- octets of a chunk are never taken for commands, and nothing after an accepted STARTTLS is;
- a header is lost for nobody: the raw fields give back the section.
"""
import re

from mailfilter._core import fsm, session
from mailfilter._core.data import unstuff
from mailfilter._core.session import Limits, Session

from . import running

REPLY = re.compile(rb"(?:([2-5][0-9][0-9])-[^\x00-\x08\x0a-\x1f\x7f]*\r\n(?=\1))*"
                   rb"([2-5][0-9][0-9]) [^\x00-\x08\x0a-\x1f\x7f]*\r\n")
WAYS = {
    "CONNECT": (None, []), "REFUSED": (554, []), "GREETED": (220, []), "READY": (220, [b"EHLO x"]),
    "MAIL": (220, [b"EHLO x", b"MAIL FROM:<a@b>"]),
    "RCPT": (220, [b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>"]),
    "DATA": (220, [b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"])}
WAYS |= {
    "CHUNKS": (220, [*WAYS["RCPT"][1], b"BDAT 0"]), "AUTH": (220, [b"EHLO x", b"AUTH PLAIN"]),
    "BINARY": (220, [b"EHLO x", b"MAIL FROM:<a@b> BODY=BINARYMIME PRDR", b"RCPT TO:<c@d>"])}
SAID = [b"8BITMIME", b"SMTPUTF8", b"DSN", b"BINARYMIME", b"PRDR", b"REQUIRETLS", b"AUTH PLAIN LOGIN"]
LIMITS = Limits(line_bytes=80, auth_line_bytes=100, recipients=2, message_bytes=120, header_bytes=60, header_fields=4, errors=6,
                pending_bytes=64)
PIECES = [
    b"\r\n", b"\n", b"\r", b".\r\n", b"\r\n.\r\n", b".", b"..", b"\0", b"\xff", b" ", b"\t", b":", b"<", b">", b"@",
    b'"', b"\\", b"HELO x\r\n", b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"QUIT\r\n", b"VRFY x\r\n", b"HELP\r\n", b" SIZE=130", b" BODY=8BITMIME", b"<>", b"<postmaster>",
    b"BDAT 5\r\n", b"BDAT 12 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT x\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN AAAA\r\n", b"*\r\n",
    b"AAAA\r\n", b"STARTTLS\r\n", b"XCLIENT ADDR=192.0.2.1 LOGIN=me\r\n", b"XFORWARD NAME=a+2Bb SOURCE=LOCAL\r\n",
    b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS ENVID=a+20b", b" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d", b" PRDR",
    b" REQUIRETLS", b" AUTH=<>", b"\xc3\xa4", b"+0A", b"[UNAVAILABLE]",
    b"A: b\r\n", b" folded\r\n", b"no field\r\n", b"\r\n\r\n", b"x" * 70]


class Run:
    """One session, fed, with a policy that answers by a fixed rule."""

    def __init__(self, way, options):
        self.session = Session(LIMITS, "normalise" if options & 1 else "reject", early_data="take",
                               auth_without_tls=not options & 16)
        if options & 8 == 0:
            self.session.offer([b"STARTTLS", b"AUTH", b"XCLIENT", b"XFORWARD"])
        if options & 32:
            self.session.tls_started()
        self.refusing = options >> 1 & 3
        self.asked = 0
        self.seen = []          # what happened, without the cuts of the body
        self.body = b""
        self.output = b""
        self.replies = 0        # how many must be in the output
        code, lines = WAYS[way]
        if code is None:
            return
        self.session.next_event()
        self.session.reply(code, [b"hello"])
        for line in lines:
            self.session.feed(line + b"\r\n")
            event = self.session.next_event()
            if event.kind == session.EV_EHLO:
                self.session.reply(250, [b"ok", *SAID])
            elif event.kind == session.EV_AUTH:
                self.session.reply(334, [b""])
            elif event.asks:
                self.session.reply(354 if event.kind == session.EV_DATA else 250, [b"ok"])
        while self.session.next_event() is not None:
            pass
        self.session.take_output()
        assert self.session.state_name == way or way in ("AUTH", "BINARY")

    def feed(self, octets):
        self.session.feed(octets)
        self.pull()

    def pull(self):
        while (event := self.session.next_event()) is not None:
            self.look_at(event)
            if event.asks:
                self.answer(event)
            self.output += self.session.take_output()
            state = self.session.state
            assert (self.session.transaction is not None) == (fsm.ST_MAIL <= state <= fsm.ST_DATA)
            assert self.session.tls or self.session.state != fsm.ST_TLS or self.session.buffered == 0
        # The reply to a message that was lost is put out by the step after its event.
        self.output += self.session.take_output()

    def look_at(self, event):
        if event.kind == session.EV_BODY:
            assert event.chunk
            self.body += event.chunk
            return
        if event.kind == session.EV_MESSAGE:
            section = b"".join(field.raw for field in event.fields)
            assert event.body_bytes == len(unstuff(self.body) if event.wire else self.body)
            assert event.message_bytes == len(section) + event.body_bytes + (2 if event.separator else 0)
            assert not section or section.endswith(b"\r\n")
            for text in (section, b"" if event.binary else self.body):
                assert b"\r" not in text.replace(b"\r\n", b"") and b"\n" not in text.replace(b"\r\n", b"")
            assert not event.wire or not re.search(rb"(^|\n)\.\r\n", self.body)
            assert not (event.wire and event.binary)
            assert event.message_bytes <= self.session.size_limit
            assert len(section) <= LIMITS.header_bytes and len(event.fields) <= LIMITS.header_fields
        path = event.path and (event.path.text, event.path.params)
        fields = event.fields and [field.raw for field in event.fields]
        self.seen.append((event.name, event.text, event.attributes, event.wire, event.binary, path, fields, event.separator,
                          event.body_bytes, event.reply,
                          self.body if event.kind == session.EV_MESSAGE else None))
        if event.kind in (session.EV_MESSAGE, session.EV_DISCARDED):
            self.body = b""
        if event.kind == session.EV_AUTH_LINE:
            assert event.reply is None or event.text == b""
        if event.asks or event.reply is not None:
            self.replies += 1

    def answer(self, event):
        self.asked += 1
        unsaid = event.kind == session.EV_XCLIENT or (event.kind == session.EV_DATA and event.text == b"BDAT")
        if self.refusing and self.asked % (self.refusing + 1) == 0:
            self.session.reply(550 if self.refusing > 1 else 421, [b"no"])
            # The refusal of a chunk is told by EV_DISCARDED, unless it closes.
            self.replies -= event.kind == session.EV_DATA and unsaid and self.refusing > 1
        elif event.kind == session.EV_AUTH_LINE and event.reply is not None:
            self.session.reply_default()
        elif event.kind == session.EV_AUTH or event.kind == session.EV_AUTH_LINE:
            if self.asked % 3:
                self.session.reply(334, [b"AAAA"])
            else:
                self.session.reply(235, [b"ok"], identity=b"user")
        elif unsaid:
            self.session.reply_default()
            self.replies -= 1
        elif event.kind == session.EV_DATA:
            self.session.reply(354, [b"go"])
        elif event.kind == session.EV_EHLO:
            self.session.reply(250, [b"ok", *SAID])
        elif event.kind == session.EV_MESSAGE and self.session.transaction.prdr and self.asked % 2:
            count = len(self.session.transaction.recipients)
            self.session.reply_each([(550, [b"no"])] * count, 250, [b"ok"])
            self.replies += 1 + count
        else:
            self.session.reply(250, [b"ok"])


def check(data):
    """No input from a client, in any state, breaks the session or makes it say what it should not."""
    options, sent = (data[0], data[1:]) if data else (0, b"")
    for way in WAYS:
        whole, single = Run(way, options), Run(way, options)
        whole.pull()
        single.pull()
        whole.feed(sent)
        for i in range(len(sent)):
            single.feed(sent[i:i + 1])
        for run in (whole, single):
            run.session.eof()
            run.pull()
            assert run.session.closed
            assert run.session.buffered == 0
            rest, count = run.output, 0
            while rest:
                match = REPLY.match(rest)
                assert match, (way, rest)
                rest = rest[match.end():]
                count += 1
            assert count == run.replies + run.output.count(b" octets received\r\n"), (way, run.output, run.seen)
        assert whole.seen == single.seen, (way, whole.seen, single.seen)
        assert whole.output == single.output, way


if __name__ == "__main__":
    running.main("session", check, PIECES)
