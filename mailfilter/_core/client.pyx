# cython: nonecheck=True
"""The next-hop side of a connection: what we send to the server behind, and what it answers (RFC 5321).

    command(verb, args)   bytes to write, or ClientError: nothing may be sent now
    begin_message(), end_message()   around a message, after 354
    feed(bytes)           what has arrived; eof() when nothing more will
    next_reply()          the replies in their order

Every reply is matched with what it answers as soon as it is whole. `failed` tells that the two sides are out of
step or the connection is gone: then it must be dropped, and nothing it says later counts. What the next hop does
wrong is told by `failed`, never by an exception.

What keeps the sides in step:
- a command that cannot be sent now is refused here, because inside a message it would become text;
- CR, LF and NUL never leave in a command: one call is one command;
- a reply that nobody asked for is a failure, except 421, which a server may say at any time (RFC 5321 §3.8);
- after a fault of ours resync() drops what is still to come and has RSET sent before the next MAIL, and when the
  fault lies inside a message, fails: nothing but closing the connection takes back a message without its end.

Must not know: sockets, clocks, policies, the client on the other side.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr

from mailfilter._core.fsm cimport (
    NH_CLOSED, NH_DATA, NH_FINAL, NH_GREETING, NH_SENDING, NI_CLOSE, NI_DATA, NI_DONE, NI_END, NI_GO, NI_GREETED,
    NI_HELLO, NI_MAIL, NI_NO_GO, NI_RCPT, ClientMachine)
from mailfilter._core.reply cimport Reply, ReplyParser

from mailfilter._core.fsm import CLIENT_STATE_NAMES

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "debug.h":
    const bint MAILFILTER_DEBUGGING

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# What a reply answers, and flags: DISCARD when nobody wants to see it any more.
cdef enum:
    ASKED_GREETING = 0
    ASKED_HELLO = 1
    ASKED_MAIL = 2
    ASKED_RCPT = 3
    ASKED_DATA = 4
    ASKED_RSET = 5
    ASKED_QUIT = 6
    ASKED_OTHER = 7
    ASKED_FINAL = 8
    ASKED_AUTO_RSET = 9     # the RSET that we sent ourselves
    NEEDED = 32             # this RSET answers to resync()
    DISCARD = 64

cdef dict ASKED = {b"HELO": ASKED_HELLO, b"EHLO": ASKED_HELLO, b"LHLO": ASKED_HELLO, b"MAIL": ASKED_MAIL,
                   b"RCPT": ASKED_RCPT, b"DATA": ASKED_DATA, b"RSET": ASKED_RSET, b"QUIT": ASKED_QUIT}
# Commands after which the next hop reads something else than commands.
cdef frozenset IMPOSSIBLE = frozenset((b"BDAT", b"STARTTLS"))
# Commands that may wait for replies at a time. More is our own fault: no policy has that many recipients in one group.
cdef Py_ssize_t MOST_OUTSTANDING = 10000


class ClientError(Exception):
    """This cannot be sent to the next hop now. reason: a few words for people."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


@cython.final
cdef class Client:
    """One connection to a next hop. The first reply is its greeting.

    line_bytes: the longest line of a reply, and of a command, in octets.
    failed: None; or why the connection can no longer be used: "closed", "421 ...", "protocol error: ...",
        "message abandoned".
    """

    def __init__(self, Py_ssize_t line_bytes=4096):
        self._line_bytes = line_bytes
        self._parser = ReplyParser(line_bytes)
        self._machine = ClientMachine.__new__(ClientMachine)
        self._expected = bytearray((ASKED_GREETING,))
        self._replies = []

    @property
    def state(self):
        """NH_..., where the dialogue is as far as the replies tell."""
        return self._machine.state

    @property
    def state_name(self):
        return CLIENT_STATE_NAMES[self._machine.state]

    @property
    def outstanding(self):
        """How many replies are still to come, the greeting included; those that will be discarded, too."""
        return self._outstanding()

    @property
    def in_message(self):
        """Whether 354 has come and the reply to the message has not: what is written now is message text."""
        return self._machine.state == NH_SENDING or self._machine.state == NH_FINAL

    def command(self, bytes verb not None, bytes args=None):
        """The command as bytes to write; its reply is now expected.

        verb, args: joined by a blank. Blanks behind the colon of FROM: and TO: are left out (RFC 5321 §3.3 forbids
        them, and strict servers refuse them). After resync() the bytes for MAIL have RSET in front, whose reply
        is not shown.

        ValueError: CR, LF or NUL, an empty verb or one that begins with a blank, or a line over line_bytes. ClientError: not now.
        """
        cdef bytes line = verb if args is None else verb + b" " + args
        cdef bytes name, before = b""
        cdef int asked
        if not _is_one_line(line):
            raise ValueError("a command is one line of text")
        if len(line) + 2 > self._line_bytes:
            raise ValueError(f"command of more than {self._line_bytes} octets")
        name = verb.upper()
        if name not in ASKED:
            name = line.split(None, 1)[0].upper()
        asked = ASKED.get(name, ASKED_OTHER)
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self._machine.state == NH_CLOSED:
            raise ClientError("connection closed")
        if self._machine.state == NH_GREETING:
            raise ClientError("the next hop has not greeted yet")
        if self._machine.state == NH_SENDING or self._machine.state == NH_FINAL:
            raise ClientError("a message is being sent")
        if self._machine.state == NH_DATA:
            raise ClientError("DATA is not answered yet")
        if self._quitting:
            raise ClientError("QUIT was sent")
        if name in IMPOSSIBLE:
            raise ClientError(f"{name.decode('ascii')} cannot be sent as a command")
        if self._reset_needed and asked in (ASKED_RCPT, ASKED_DATA, ASKED_OTHER):
            raise ClientError("RSET, QUIT, HELO, EHLO or MAIL must come first after a fault")
        if self._outstanding() >= MOST_OUTSTANDING:
            raise ClientError("too many commands without a reply")
        if self._outstanding() == 0 and self._parser.count() > 0:
            # Half a reply that nobody asked for would be taken for the answer to this command.
            self._fail("protocol error: unsolicited reply")
            raise ClientError(f"connection lost: {self.failed}")

        if asked == ASKED_MAIL or asked == ASKED_RCPT:
            line = _tightened(line)
        if self._reset_needed and asked == ASKED_MAIL:
            before = b"RSET\r\n"
            self._expected.append(ASKED_AUTO_RSET | DISCARD)
        if self._reset_needed and asked == ASKED_RSET:
            asked |= NEEDED
        if asked == ASKED_MAIL or asked & NEEDED:
            self._reset_needed = False
        elif asked == ASKED_DATA:
            self._machine.step(NI_DATA)
        elif asked == ASKED_QUIT:
            self._quitting = True
        self._expected.append(asked)
        return before + line + b"\r\n"

    def begin_message(self):
        """The caller begins to write the message (dot-stuffed, its last line ended). ClientError: there was no 354."""
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self._machine.state != NH_SENDING or self._begun:
            raise ClientError("the next hop does not wait for a message")
        self._begun = True

    def end_message(self):
        """What ends the message, to be written behind it; its reply is now expected. ClientError: none was begun."""
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self._machine.state != NH_SENDING or not self._begun:
            raise ClientError("no message is being sent")
        self._begun = False
        self._machine.step(NI_END)
        self._expected.append(ASKED_FINAL)
        return b".\r\n"

    def feed(self, bytes data not None):
        """Take what has arrived. Ignored once the connection is closed or failed."""
        if self.failed is None and self._machine.state != NH_CLOSED:
            self._parser.feed(data)
            self._parse()

    def eof(self):
        """The next hop sends nothing more. A reply without its end is dropped."""
        if self._machine.state != NH_CLOSED:
            self._fail("closed")

    def next_reply(self):
        """The next Reply, or None. Replies that came before a failure are still given."""
        cdef Reply reply
        if self._taken == len(self._replies):
            return None
        reply = self._replies[self._taken]
        self._taken += 1
        if self._taken == len(self._replies):
            self._replies = []
            self._taken = 0
        return reply

    def resync(self):
        """Get back into step after a fault between us and the next hop (a policy that threw, a handler that timed out).

        Replies to what was sent already are dropped when they come, and until RSET, HELO or EHLO only those, QUIT and
        MAIL (which then has RSET in front) may be sent. Inside a message, or when DATA waits for its reply,
        the connection fails: it must be dropped.
        """
        cdef Py_ssize_t i
        if self._machine.state == NH_DATA or self.in_message:
            self._fail("message abandoned")
            return
        self._replies = []
        self._taken = 0
        for i in range(self._answered, len(self._expected)):
            self._expected[i] |= DISCARD
        self._reset_needed = True

    cdef Py_ssize_t _outstanding(self) noexcept:
        return len(self._expected) - self._answered

    cdef int _fail(self, str reason) except -1:
        if self.failed is None:
            self.failed = reason
        self._machine.step(NI_CLOSE)
        self._expected = bytearray()
        self._answered = 0
        self._begun = False
        return 0

    cdef int _parse(self) except -1:
        """Match every whole reply with what it answers."""
        cdef Reply reply
        while self._machine.state != NH_CLOSED:
            reply = self._parser.next()
            if reply is None:
                if self._parser.error is not None:
                    self._fail(f"protocol error: {self._parser.error}")
                return 0
            self._answer(reply)
            if MAILFILTER_DEBUGGING:
                self._check()
        return 0

    cdef int _check(self) except -1:
        """Debug builds: where a reply is all that leads on, one is awaited."""
        if (self._machine.state == NH_DATA and ASKED_DATA not in self._expected
                or self._machine.state == NH_FINAL and ASKED_FINAL not in self._expected):
            raise AssertionError(f"{self.state_name} without a reply to come")
        return 0

    cdef int _answer(self, Reply reply) except -1:
        cdef int asked
        cdef bint good = reply.code < 300
        if self._outstanding() == 0:
            if reply.code == 421:
                self._replies.append(reply)
            self._fail(_shown(reply) if reply.code == 421 else f"protocol error: unsolicited reply {_shown(reply)}")
            return 0
        asked = self._expected[self._answered]
        self._answered += 1
        if self._answered == len(self._expected):
            self._expected = bytearray()
            self._answered = 0
        if asked & DISCARD:
            asked &= ~DISCARD
        else:
            self._replies.append(reply)
        if reply.code == 421:
            self._fail(_shown(reply))
        elif asked == ASKED_GREETING:
            self._machine.step(NI_GREETED)
        elif asked == ASKED_HELLO or asked & ~NEEDED == ASKED_RSET:
            if asked & NEEDED and not good:
                self._reset_needed = True
            if good:
                self._machine.step(NI_HELLO)
                if asked == ASKED_HELLO:
                    self._reset_needed = False
        elif asked == ASKED_MAIL:
            if good:
                self._machine.step(NI_MAIL)
        elif asked == ASKED_RCPT:
            if good:
                self._machine.step(NI_RCPT)
        elif asked == ASKED_DATA:
            if reply.code == 354:
                self._machine.step(NI_GO)
            elif good:
                # Neither "go on" nor a refusal: what it expects next cannot be known.
                self._fail(f"protocol error: {_shown(reply)} to DATA")
            else:
                self._machine.step(NI_NO_GO)
        elif asked == ASKED_FINAL:
            self._machine.step(NI_DONE)
        elif asked == ASKED_AUTO_RSET:
            if not good:
                self._fail(f"protocol error: {_shown(reply)} to RSET")
            else:
                self._machine.step(NI_HELLO)
        elif asked == ASKED_QUIT:
            self._machine.step(NI_CLOSE)
        return 0


cdef str _shown(Reply reply):
    """The reply for a log: its code and the beginning of its text."""
    return f"{reply.code} {reply.text[:80].decode('ascii', 'backslashreplace')}".rstrip()


cdef bint _is_one_line(bytes line) noexcept:
    """Whether this is one line of text that begins with a verb: no CR, LF or NUL, and something but blanks."""
    cdef const char* ptr = PyBytes_AS_STRING(line)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line)
    if (memchr(ptr, b'\r', length) != NULL or memchr(ptr, b'\n', length) != NULL
            or memchr(ptr, b'\0', length) != NULL):
        return False
    return length > 0 and ptr[0] != b' ' and ptr[0] != b'\t'


cdef bytes _tightened(bytes line):
    """MAIL FROM: and RCPT TO: without the blanks around the colon; anything else as it is."""
    cdef const char* ptr = PyBytes_AS_STRING(line)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line)
    cdef const char* at = <const char*> memchr(ptr, b':', length)
    # Most have none: one look at either side of the colon saves taking the line apart.
    if at == NULL or at == ptr or at + 1 == ptr + length or (
            at[1] != b' ' and at[1] != b'\t' and at[-1] != b' ' and at[-1] != b'\t'):
        return line
    head, colon, rest = line.partition(b":")
    if colon and head.upper().split() in ([b"MAIL", b"FROM"], [b"RCPT", b"TO"]):
        return head.rstrip(b" \t") + b":" + rest.lstrip(b" \t")
    return line
