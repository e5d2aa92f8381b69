# cython: nonecheck=True
"""The next-hop side of a connection: what we send to the server behind, and what it answers (RFC 5321, RFC 2033).

    command(verb, args)   bytes to write, or ClientError: nothing may be sent now
    begin_message(), end_message()   around a message, after 354
    chunk(size, last)     what stands in front of so many octets of a message sent by BDAT (RFC 3030)
    starttls(), tls_started()        around a handshake (RFC 3207)
    auth_line(line)       the answer to a challenge (RFC 4954)
    feed(bytes)           what has arrived; eof() when nothing more will
    take_output()         commands that had to wait for a reply and are to be written now
    next_reply()          the replies in their order

Every reply is matched with what it answers as soon as it is whole. `failed` tells that the two sides are out of
step or the connection is gone: then it must be dropped, and nothing it says later counts. What the next hop does
wrong is told by `failed`, never by an exception.

What keeps the sides in step:
- a command that cannot be sent now is refused here, because inside a message it would become text;
- CR, LF and NUL never leave in a command: one call is one command;
- commands go out together only where the next hop offers PIPELINING (RFC 2920), else each waits for the reply before it;
- a reply that nobody asked for is a failure, except 421, which a server may say at any time (RFC 5321 §3.8); what has
  come before TLS and behind the reply to STARTTLS is one, too, as it would be read as if it had come in secret;
- after a fault of ours resync() drops what is still to come and has RSET sent before the next MAIL, and when the
  fault lies inside a message, fails: nothing but closing the connection takes back a message without its end;
- a refused chunk has the same effect, as the next hop's state is unknown then (RFC 3030 §2).

Must not know: sockets, clocks, policies, the client on the other side, what TLS is.
"""
cimport cython
from mailfilter._core.fsm cimport (
    NH_AUTH, NH_CHALLENGE, NH_CHUNKS, NH_CLOSED, NH_DATA, NH_FINAL, NH_GREETING, NH_MAIL, NH_RCPT, NH_READY,
    NH_SENDING, NH_STARTTLS, NH_TLS, NH_XCLIENT, NI_ANSWERED, NI_AUTH, NI_CHALLENGE, NI_CHUNK, NI_CLOSE, NI_DATA, NI_DONE, NI_END,
    NI_GO, NI_GREETED, NI_HELLO, NI_MAIL, NI_NO_GO, NI_RCPT, NI_REFUSED, NI_SECURE, NI_STARTTLS, NI_XCLIENT, ClientMachine)
from mailfilter._core.outgoing cimport command_line, is_base64, tightened
from mailfilter._core.reply cimport Reply, ReplyParser, reply_extensions

from mailfilter._core.fsm import CLIENT_STATE_NAMES

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "debug.h":
    const bint MAILFILTER_DEBUGGING

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef dict ASKED = {b"HELO": ASKED_HELO, b"EHLO": ASKED_EHLO, b"LHLO": ASKED_EHLO, b"MAIL": ASKED_MAIL,
                   b"RCPT": ASKED_RCPT, b"DATA": ASKED_DATA, b"RSET": ASKED_RSET, b"QUIT": ASKED_QUIT,
                   b"AUTH": ASKED_AUTH, b"XCLIENT": ASKED_XCLIENT}
# Commands after which the next hop reads something else than commands: they have methods of their own.
cdef dict ELSEWHERE = {b"BDAT": "chunk()", b"STARTTLS": "starttls()"}
# Commands that a next hop without the extension must not be sent.
cdef dict EXTENSION_OF = {b"AUTH": b"AUTH", b"XCLIENT": b"XCLIENT", b"XFORWARD": b"XFORWARD"}
# Why nothing can be sent in a state.
cdef dict SILENT = {
    NH_CLOSED: "connection closed", NH_GREETING: "the next hop has not greeted yet", NH_DATA: "DATA is not answered yet",
    NH_SENDING: "a message is being sent", NH_FINAL: "a message is being sent", NH_AUTH: "AUTH is not answered yet",
    NH_CHALLENGE: "the next hop waits for an answer to its challenge", NH_STARTTLS: "STARTTLS is not answered yet",
    NH_TLS: "the next hop waits for TLS", NH_XCLIENT: "XCLIENT is not answered yet"}
# Commands that may wait for replies at a time. More is our own fault: no policy has that many recipients in one group.
cdef Py_ssize_t MOST_OUTSTANDING = 10000
# RFC 4954 §4: the longest line of an exchange, in octets with its CR LF; the command with its initial response, too.
cdef Py_ssize_t AUTH_LINE_BYTES = 12288


class ClientError(Exception):
    """This cannot be sent to the next hop now. reason: a few words for people."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


@cython.final
cdef class Client:
    """One connection to a next hop. The first reply is its greeting.
    machine, awaited(): the same as the properties `state` and `outstanding`, as a load and a call of C.

    line_bytes: the longest line of a reply, and of a command, in octets. lmtp: whether the next hop speaks LMTP, and
        answers a message once for each recipient that it accepted (RFC 2033 §4.2).
    failed: None; or why the connection can no longer be used: "closed", "421 ...", "protocol error: ...",
        "message abandoned".
    extensions: what the last accepted EHLO or LHLO has brought: parameters by keyword in capitals, both bytes. Empty
        before, after HELO, and after TLS and XCLIENT, which ask for another EHLO.
    authenticated: whether AUTH has succeeded. recipients: how many the next hop has accepted in this transaction.
    """

    def __init__(self, Py_ssize_t line_bytes=4096, bint lmtp=False):
        self._line_bytes = line_bytes
        self.lmtp = lmtp
        self.extensions = {}
        self._parser = ReplyParser(line_bytes)
        self.machine = ClientMachine.__new__(ClientMachine)
        self._expected = bytearray((ASKED_GREETING,))
        self._replies = []
        self._held = []
        self._output = []

    @property
    def state(self):
        """NH_..., where the dialogue is as far as the replies tell."""
        return self.machine.state

    @property
    def state_name(self):
        return CLIENT_STATE_NAMES[self.machine.state]

    @property
    def outstanding(self):
        """How many replies are still to come, the greeting included; those that will be discarded, too."""
        return self.awaited()

    @property
    def in_message(self):
        """Whether 354 has come and the reply to the message has not: what is written now is message text. The same
        after the last chunk."""
        return self.machine.state == NH_SENDING or self.machine.state == NH_FINAL

    @property
    def pristine(self):
        """Whether another transaction, of anybody, could follow: nothing is open, awaited, half received or broken,
        and nobody was authenticated or announced by XCLIENT."""
        return (self.failed is None and self.machine.state == NH_READY and self.awaited() == 0
                and self._parser.count() == 0 and not self._quitting and not self.authenticated
                and not self._impersonating and self._taken == len(self._replies))

    cpdef bytes command(self, bytes verb, bytes args=None):
        """The command as bytes to write; its reply is now expected. b"" where it must wait for the replies before it:
        then take_output() gives it later.

        verb, args: joined by a blank. Blanks behind the colon of FROM: and TO: are left out (RFC 5321 §3.3 forbids
        them, and strict servers refuse them). After resync() the bytes for MAIL have RSET in front, whose reply
        is not shown.

        ValueError: CR, LF or NUL, an empty verb or one that begins with a blank, or a line over line_bytes (AUTH: over
        12288). ClientError: not now, or not with this next hop.
        """
        cdef bytes line, name = verb
        cdef object known
        cdef int asked
        line = command_line(verb, args)
        if line is None:
            raise ValueError("a command is one line of text")
        known = ASKED.get(verb)
        if known is None:       # written otherwise, with its arguments in it, or another one
            name = line.split(None, 1)[0].upper()
            known = ASKED.get(name, ASKED_OTHER)
        asked = known
        if len(line) > (AUTH_LINE_BYTES if asked == ASKED_AUTH else self._line_bytes):
            raise ValueError(f"command of more than {AUTH_LINE_BYTES if asked == ASKED_AUTH else self._line_bytes} octets")
        self._need_quiet()
        if asked == ASKED_OTHER and name in ELSEWHERE:
            raise ClientError(f"{name.decode('ascii')} cannot be sent as a command")
        if self._reset_needed and asked not in (ASKED_MAIL, ASKED_RSET, ASKED_QUIT, ASKED_EHLO, ASKED_HELO):
            raise ClientError("RSET, QUIT, HELO, EHLO or MAIL must come first after a fault")
        if self.machine.state == NH_CHUNKS and not self._reset_needed and asked not in (
                ASKED_RSET, ASKED_QUIT, ASKED_EHLO, ASKED_HELO):
            raise ClientError("a message is being sent")
        if asked >= ASKED_OTHER and name in EXTENSION_OF:
            self._need_offer(EXTENSION_OF[name])
        if asked == ASKED_AUTH or asked == ASKED_XCLIENT:
            self._need_alone(name)
            if asked == ASKED_AUTH and self.authenticated:
                raise ClientError("AUTH has succeeded already")

        if asked == ASKED_MAIL or asked == ASKED_RCPT:
            line = tightened(line)
        if self._reset_needed and asked == ASKED_MAIL:
            self._send(b"RSET\r\n", ASKED_AUTO_RSET | DISCARD)
        if self._reset_needed and asked == ASKED_RSET:
            asked |= NEEDED
        if asked == ASKED_MAIL or asked & NEEDED:
            self._reset_needed = False
        if asked == ASKED_MAIL:
            self._chunked = False
            self._prdr = b"PRDR" in self.extensions and b" PRDR" in line.upper()
        elif asked == ASKED_DATA:
            self.machine.step(NI_DATA)
        elif asked == ASKED_QUIT:
            self._quitting = True
        elif asked == ASKED_AUTH:
            self.machine.step(NI_AUTH)
        elif asked == ASKED_XCLIENT:
            self.machine.step(NI_XCLIENT)
        if asked == ASKED_XCLIENT or asked == ASKED_OTHER and name == b"XFORWARD":
            self._impersonating = True
        self._send(line, asked)
        return self.take_output()

    def starttls(self):
        """STARTTLS as bytes to write. Once it is accepted the state is NH_TLS: the caller makes TLS at once, without
        writing or feeding anything, and then says tls_started(). ClientError: not now, or not with this next hop."""
        self._need_quiet()
        self._need_offer(b"STARTTLS")
        self._need_alone(b"STARTTLS")
        self.machine.step(NI_STARTTLS)
        self._send(b"STARTTLS\r\n", ASKED_STARTTLS)
        return self.take_output()

    def tls_started(self):
        """TLS is there. What the next hop has said before counts no more (RFC 3207 §4.2): say EHLO again."""
        if self.machine.state != NH_TLS:
            raise ClientError("the next hop does not wait for TLS")
        self.machine.step(NI_ANSWERED)
        self._forget()

    def auth_line(self, bytes line not None):
        """The answer to a challenge, in base64, as bytes to write; b"*" gives the exchange up (RFC 4954 §4).

        ValueError: anything but base64, or too long. ClientError: no challenge waits.
        """
        if len(line) + 2 > AUTH_LINE_BYTES or line != b"*" and not is_base64(line):
            raise ValueError("the answer to a challenge is one line of base64")
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self.machine.state != NH_CHALLENGE:
            raise ClientError("the next hop does not wait for an answer to a challenge")
        self._need_nothing_half()
        self.machine.step(NI_AUTH)
        self._send(line + b"\r\n", ASKED_AUTH)
        return self.take_output()

    cpdef begin_message(self):
        """The caller begins to write the message (dot-stuffed, its last line ended). ClientError: there was no 354."""
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self.machine.state != NH_SENDING or self._begun:
            raise ClientError("the next hop does not wait for a message")
        self._begun = True
        self._chunked = False

    cpdef bytes end_message(self):
        """What ends the message, to be written behind it; its reply is now expected, or with LMTP one for each accepted
        recipient. ClientError: none was begun."""
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        if self.machine.state != NH_SENDING or not self._begun:
            raise ClientError("no message is being sent")
        self._begun = False
        self.machine.step(NI_END)
        self._expect_end()
        return b".\r\n"

    def chunk(self, Py_ssize_t size, bint last):
        """What stands in front of a chunk: the caller writes it and exactly `size` octets behind it.

        Replies to chunks that are not the last are not shown when they accept. One that refuses is shown and is the
        reply to the message: there are no more chunks then, and RSET is needed. The last chunk's reply is the message's,
        or with LMTP one for each accepted recipient.

        ClientError: not now (see may_chunk), or not with this next hop; ValueError: a negative size.
        """
        if size < 0:
            raise ValueError("a chunk of less than nothing")
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        self._need_offer(b"CHUNKING")
        if self._quitting or self._reset_needed or self.machine.state != NH_RCPT and self.machine.state != NH_CHUNKS:
            raise ClientError("no chunk of a message can be sent")
        if not self._may_chunk():
            raise ClientError("a reply must come before the next chunk")
        self._need_nothing_half()
        self._chunked = True
        self.machine.step(NI_END if last else NI_CHUNK)
        if last:
            self._expect_end()
        else:
            self._expected.append(ASKED_CHUNK)
        return b"BDAT %d LAST\r\n" % size if last else b"BDAT %d\r\n" % size

    @property
    def may_chunk(self):
        """Whether a chunk may be sent now: CHUNKING is offered, the replies to the envelope are there, none refused an earlier chunk, and
        without PIPELINING (and with LMTP) the one to the chunk before has come."""
        return (self.failed is None and not self._reset_needed and not self._quitting and self._may_chunk()
                and b"CHUNKING" in self.extensions
                and (self.machine.state == NH_RCPT or self.machine.state == NH_CHUNKS))

    cpdef feed(self, bytes data):
        """Take what has arrived. Ignored once the connection is closed or failed."""
        if self.failed is None and self.machine.state != NH_CLOSED:
            if self.machine.state == NH_TLS:
                self._fail("protocol error: octets without TLS behind the reply to STARTTLS")
                return
            self._parser.feed(data)
            self._parse()

    cpdef bytes take_output(self):
        """What is to be written now; b"" if nothing."""
        cdef bytes output
        if not self._output:
            return b""
        output = b"".join(self._output)
        self._output = []
        return output

    cpdef eof(self):
        """The next hop sends nothing more. A reply without its end is dropped."""
        if self.machine.state != NH_CLOSED:
            self._fail("closed")

    cpdef Reply next_reply(self):
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

        What waited for a reply is not sent. Replies to what was sent are dropped when they come, and until RSET, HELO or
        EHLO only those, MAIL (which then has RSET in front) and QUIT (which then waits for nothing) may be sent. Inside a message, when DATA waits for its reply, or between
        STARTTLS, AUTH or XCLIENT and their end, the connection fails: it must be dropped.
        """
        if self.machine.state == NH_CLOSED:
            return
        if self.machine.state == NH_DATA or self.machine.state >= NH_AUTH or self.in_message:
            self._fail("message abandoned" if self.machine.state < NH_AUTH else "exchange abandoned")
            return
        self._replies = []
        self._taken = 0
        if self._held:
            del self._expected[len(self._expected) - len(self._held):]
            self._held = []
        self._discard()
        self._reset_needed = True

    # Below.

    cdef int _need_quiet(self) except -1:
        """ClientError when no command can be sent in this state."""
        if self.failed is not None:
            raise ClientError(f"connection lost: {self.failed}")
        reason = SILENT.get(self.machine.state)
        if reason is not None:
            raise ClientError(reason)
        if self._quitting:
            raise ClientError("QUIT was sent")
        if self.awaited() >= MOST_OUTSTANDING:
            raise ClientError("too many commands without a reply")
        return self._need_nothing_half()

    cdef int _need_nothing_half(self) except -1:
        """Half a reply that nobody asked for would be taken for the answer to what is sent next."""
        if self.awaited() == 0 and self._parser.count() > 0:
            self._fail("protocol error: unsolicited reply")
            raise ClientError(f"connection lost: {self.failed}")
        return 0

    cdef int _need_offer(self, bytes keyword) except -1:
        if keyword not in self.extensions:
            raise ClientError(f"the next hop does not offer {keyword.decode('ascii')}")
        return 0

    cdef int _need_alone(self, bytes name) except -1:
        """What changes the meaning of all that follows is sent between transactions, when nothing is awaited."""
        if self.awaited() or self._reset_needed or self.machine.state != NH_READY:
            raise ClientError(f"{name.decode('ascii')} is possible between transactions only")
        return 0

    cdef bint _may_chunk(self) except -1:
        cdef Py_ssize_t i
        if self.awaited() == 0:
            return True
        if self.lmtp or b"PIPELINING" not in self.extensions:
            return False
        for i in range(self._answered, len(self._expected)):
            if self._expected[i] != ASKED_CHUNK:
                return False
        return True

    cdef int _send(self, bytes line, int asked) except -1:
        """A command goes out now, or waits for the replies before it. Its own is expected behind those."""
        if not self._held and (self._may_follow() or asked == ASKED_QUIT and self._reset_needed):
            self._output.append(line)
        else:
            self._held.append(line)
        self._expected.append(asked)
        return 0

    cdef bint _may_follow(self) except -1:
        """Whether the first command that is not sent yet may go out. Which may have others behind it before its reply
        has come is said in RFC 2920 §3.1."""
        cdef Py_ssize_t end = len(self._expected) - len(self._held)
        cdef int last
        if end == self._answered:
            return True
        last = self._expected[end - 1] & ~(DISCARD | NEEDED)
        return b"PIPELINING" in self.extensions and (
            last == ASKED_RSET or last == ASKED_AUTO_RSET or last == ASKED_MAIL or last == ASKED_RCPT)

    cdef int _expect_end(self) except -1:
        """The whole message was sent."""
        cdef Py_ssize_t i
        if self.lmtp:
            for i in range(self.recipients - 1):
                self._expected.append(ASKED_RECIPIENT)
        self._expected.append(ASKED_FINAL)
        return 0

    cdef int _forget(self) except -1:
        """The next hop begins anew."""
        self.extensions = {}
        self.authenticated = False
        self._prdr = False
        self.recipients = 0
        return 0

    cdef int _discard(self) except -1:
        """Nobody wants to see the replies that are still to come."""
        cdef Py_ssize_t i
        for i in range(self._answered, len(self._expected)):
            self._expected[i] |= DISCARD
        return 0

    cpdef Py_ssize_t awaited(self) except -1:
        return len(self._expected) - self._answered

    cdef int _fail(self, str reason) except -1:
        if self.failed is None:
            self.failed = reason
        self.machine.step(NI_CLOSE)
        self._expected = bytearray()
        self._answered = 0
        self._held = []
        self._output = []
        self._begun = False
        return 0

    cdef int _parse(self) except -1:
        """Match every whole reply with what it answers."""
        cdef Reply reply
        while self.machine.state != NH_CLOSED:
            reply = self._parser.next()
            if reply is None:
                if self._parser.error is not None:
                    self._fail(f"protocol error: {self._parser.error}")
                return 0
            self._answer(reply)
            while self._held and self._may_follow():
                self._output.append(self._held.pop(0))
            if MAILFILTER_DEBUGGING:
                self._check()
        return 0

    cdef int _check(self) except -1:
        """Debug builds: where a reply is all that leads on, one is awaited."""
        cdef dict awaited = {NH_DATA: ASKED_DATA, NH_FINAL: ASKED_FINAL, NH_AUTH: ASKED_AUTH, NH_STARTTLS: ASKED_STARTTLS,
                             NH_XCLIENT: ASKED_XCLIENT}
        if self.machine.state in awaited and awaited[self.machine.state] not in self._expected[self._answered:]:
            raise AssertionError(f"{self.state_name} without a reply to come")
        if len(self._held) > self.awaited():
            raise AssertionError("more commands wait than replies are to come")
        return 0

    cdef int _answer(self, Reply reply) except -1:
        cdef int asked
        cdef bint discarded
        if self.awaited() == len(self._held):
            if reply.code == 421:
                self._replies.append(reply)
            self._fail(_shown(reply) if reply.code == 421 else f"protocol error: unsolicited reply {_shown(reply)}")
            return 0
        asked = self._expected[self._answered]
        self._answered += 1
        if self._answered == len(self._expected):
            self._expected = bytearray()
            self._answered = 0
        discarded = asked & DISCARD != 0
        if 300 <= reply.code < 400 and (asked & ~(DISCARD | NEEDED)) in (
                ASKED_GREETING, ASKED_HELO, ASKED_EHLO, ASKED_MAIL, ASKED_RCPT, ASKED_RSET):
            # It may read what we say next as something else than a command. Nobody is to take that for an acceptance.
            self._fail(f"protocol error: unexpected reply {_shown(reply)}")
            return 0
        if discarded:
            asked &= ~DISCARD
        elif asked != ASKED_CHUNK or reply.code >= 300:
            self._replies.append(reply)
        if reply.code == 421:
            self._fail(_shown(reply))
        elif asked >= ASKED_AUTH and asked <= ASKED_XCLIENT:
            self._answer_exchange(reply, asked)
        elif asked == ASKED_CHUNK or asked == ASKED_FINAL or asked == ASKED_RECIPIENT:
            if not discarded:       # what was sent after a refused chunk is not to blame for it
                self._answer_message(reply, asked)
        else:
            self._answer_command(reply, asked)
        return 0

    cdef int _answer_command(self, Reply reply, int asked) except -1:
        cdef bint good = reply.code < 300
        if asked == ASKED_GREETING:
            self.machine.step(NI_GREETED)
        elif asked == ASKED_EHLO or asked == ASKED_HELO:
            if good:
                self.extensions = reply_extensions(reply) if asked == ASKED_EHLO else {}
                self._reset_needed = False
                self._reset()
        elif asked & ~NEEDED == ASKED_RSET:
            if good:
                self._reset()
            elif asked & NEEDED:
                self._reset_needed = True
        elif asked == ASKED_MAIL:
            if good:
                self.recipients = 0
                self.machine.step(NI_MAIL)
        elif asked == ASKED_RCPT:
            if good:
                self.recipients += 1
                self.machine.step(NI_RCPT)
        elif asked == ASKED_DATA:
            if reply.code == 354:
                self.machine.step(NI_GO)
                if self.lmtp and self.recipients == 0:
                    # RFC 2033 §4.2 forbids it, and how many replies would follow the message cannot be known.
                    self._fail(f"protocol error: {_shown(reply)} to DATA without a recipient")
            elif reply.code < 400:
                # Neither "go on" nor a refusal: what it expects next cannot be known.
                self._fail(f"protocol error: {_shown(reply)} to DATA")
            else:
                self.machine.step(NI_NO_GO)
        elif asked == ASKED_AUTO_RSET:
            if not good:
                self._fail(f"protocol error: {_shown(reply)} to RSET")
            else:
                self._reset()
        elif asked == ASKED_QUIT:
            self.machine.step(NI_CLOSE)
        return 0

    cdef int _reset(self) except -1:
        self.recipients = 0
        self.machine.step(NI_HELLO)
        return 0

    cdef int _answer_message(self, Reply reply, int asked) except -1:
        """A reply to a message, or to a part of it."""
        cdef Py_ssize_t i
        if asked == ASKED_CHUNK:
            if reply.code >= 400:
                self._refused()
            elif reply.code >= 300:
                self._fail(f"protocol error: {_shown(reply)} to BDAT")
        elif asked == ASKED_FINAL:
            if self._prdr and reply.code == 353:
                # Replies for each recipient come first, then the one for all.
                self._prdr = False
                for i in range(self.recipients):
                    self._expected.append(ASKED_RECIPIENT)
                self._expected.append(ASKED_FINAL)
                return 0
            if self._chunked and reply.code >= 400 and not self.lmtp:
                self._refused()
            else:
                self.machine.step(NI_DONE)
            self._chunked = False
            self.recipients = 0
        return 0

    cdef int _refused(self) except -1:
        """What a next hop does with chunks after one that it refused cannot be known (RFC 3030 §2)."""
        self._discard()
        self._chunked = False
        self._reset_needed = True
        self.machine.step(NI_REFUSED)
        return 0

    cdef int _answer_exchange(self, Reply reply, int asked) except -1:
        """A reply to AUTH (or to an answer to a challenge), to STARTTLS, to XCLIENT."""
        if asked == ASKED_AUTH and reply.code == 334:
            self.machine.step(NI_CHALLENGE)
        elif 300 <= reply.code < 400 or asked == ASKED_STARTTLS and reply.code < 300 and reply.code != 220:
            name = "AUTH" if asked == ASKED_AUTH else "STARTTLS" if asked == ASKED_STARTTLS else "XCLIENT"
            self._fail(f"protocol error: {_shown(reply)} to {name}")
        elif reply.code >= 400:
            self.machine.step(NI_ANSWERED)
        elif asked == ASKED_AUTH:
            self.authenticated = True
            self.machine.step(NI_ANSWERED)
        elif asked == ASKED_XCLIENT:
            self.machine.step(NI_ANSWERED)
            self._forget()
        else:
            self.machine.step(NI_SECURE)
            if self._parser.count() > 0:
                self._fail("protocol error: octets without TLS behind the reply to STARTTLS")
        return 0


cdef str _shown(Reply reply):
    """The reply for a log: its code and the beginning of its text."""
    return f"{reply.code} {reply.text[:80].decode('ascii', 'backslashreplace')}".rstrip()
