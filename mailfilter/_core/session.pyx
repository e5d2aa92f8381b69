# cython: nonecheck=True
"""The server side of one connection (RFC 5321), as a program without input and output.

    feed(bytes)     what has arrived; eof() when nothing more will
    next_event()    what happened, or None: more input is needed, or a reply is awaited (`awaiting`)
    reply()         exactly once for each event that asks (Event.asks)
    take_output()   what to write
    offer()         what the shell can do: TLS, and whom it trusts; tls_started() when TLS is there

What the peer does wrong is an event with its reply already queued (EV_REJECTED), or for a message one that comes at
its true end (EV_DISCARDED); it is never an exception. An exception means that the caller broke the
contract. Input that arrives while a reply is awaited stays in the buffer; `full` says when the caller should stop
reading from the socket.

One object for one connection. Every event is a new object that the caller may keep.

Must not know: sockets, clocks, policies, where a message goes. It says 250 to a message only when told to.
"""
cimport cython
from libc.string cimport memchr

from mailfilter._core.answers cimport (
    DEFAULT_REPLIES, R_ARGUMENT_MISSING, R_ARGUMENT_UNEXPECTED, R_AUTH_DONE, R_AUTH_LINE_TOO_LONG, R_AUTH_NEEDS_TLS,
    R_BARE_CR, R_BARE_LF, R_BINARY_BY_DATA, R_EARLY_DATA, R_EMPTY, R_LINE_TOO_LONG, R_NUL, R_SEQUENCE, R_SIZE,
    R_TLS_ACTIVE, R_TOO_MANY_ERRORS, R_TOO_MANY_RECIPIENTS)
from mailfilter._core.auth cimport auth_challenge, auth_fault, auth_line_fault
from mailfilter._core.buffer cimport LINE_BARE_LF, LINE_LONG, LINE_NONE, LINE_READY, LineBuffer, WriteBuffer
from mailfilter._core.command cimport (
    ARG_ATTRIBUTES, ARG_HOST, ARG_NONE, ARG_RECIPIENT, ARG_SENDER, ARG_TEXT, CMD_AUTH, CMD_BDAT, CMD_DATA, CMD_EXPN,
    CMD_RSET, CMD_STARTTLS, CMD_UNKNOWN, CMD_VRFY, CMD_XCLIENT, FLAG_ENDS_MESSAGE, FLAG_ENDS_SESSION, FLAG_JUNK,
    FLAG_OFFERED, command_parse, recipient_of, sender_of, text_fault, verb_row)
from mailfilter._core.data cimport line_ends_code
from mailfilter._core.dialogue cimport Dialogue
from mailfilter._core.event cimport (
    EV_AUTH, EV_AUTH_LINE, EV_CLOSED, EV_CONNECT, EV_DATA, EV_EHLO, EV_HELO, EV_MAIL, EV_MESSAGE, EV_RCPT, EV_STARTTLS,
    EV_XCLIENT, Event, event_new)
from mailfilter._core.extensions cimport Extensions, extensions_none, extensions_of
from mailfilter._core.fsm cimport (
    IN_AUTH_OVER, IN_CHALLENGE, IN_GREETING, IN_MESSAGE, IN_REFUSAL, IN_TLS, ST_AUTH, ST_CHUNKS, ST_CLOSED, ST_CONNECT,
    ST_DATA, ST_MAIL, ST_TLS, ServerMachine)
from mailfilter._core.limits cimport Limits
from mailfilter._core.parameters cimport attributes_of
from mailfilter._core.reply cimport Reply, reply_write
from mailfilter._core.span cimport Span, span_bytes

from mailfilter._core import event as _event_module
from mailfilter._core import limits as _limits_module
from mailfilter._core.answers import REPLIES
from mailfilter._core.command import VERBS
from mailfilter._core.extensions import OFFERS, XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "debug.h":
    const bint MAILFILTER_DEBUGGING

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# Limits and the kinds of events belong to the interface of this module, too.
globals()["Limits"] = _limits_module.Limits
globals().update({_name: _value for _name, _value in vars(_event_module).items() if _name[:2] in ("EV", "Ev")})

# An event of a command is numbered two above its verb.
cdef enum:
    FIRST_COMMAND = EV_HELO
cdef frozenset XCLIENT_NAMES = frozenset(XCLIENT_ATTRIBUTES)
cdef frozenset XFORWARD_NAMES = frozenset(XFORWARD_ATTRIBUTES)


@cython.final
cdef class Session(Dialogue):
    """The server side of one connection.

    limits: Limits, or None for the defaults. line_ends: "reject" or "normalise", what happens to bare CR and LF in
    commands and messages. hostname: what default replies call this host. early_data: "refuse" or "take", what happens
    to input behind DATA that came before 354 was said. auth_without_tls: whether AUTH may be used in clear text.

    hello: the name that the client gave in its last accepted HELO or EHLO, or None; proto: b"SMTP", or b"ESMTP" after
    EHLO. tls: whether TLS is active; authenticated: None, or who AUTH has shown the client to be (see reply).
    errors: bad commands and refused AUTHs so far. chunks: how often BDAT went on with a message, which no event tells.
    """

    def __init__(self, Limits limits=None, str line_ends="reject", bytes hostname=b"localhost", str early_data="refuse",
                 bint auth_without_tls=False):
        if early_data not in ("refuse", "take"):
            raise ValueError(f"early_data is {early_data!r}; it must be 'refuse' or 'take'")
        self.limits = Limits() if limits is None else limits
        self.hostname = hostname
        self.proto = b"SMTP"
        self._extensions = extensions_none(self.limits)
        self._offered = frozenset()
        self._auth_without_tls = auth_without_tls
        self._take_early = early_data == "take"
        self._line_ends = line_ends
        self._in = LineBuffer(self.limits.line_bytes, line_ends_code(line_ends))
        self._out = WriteBuffer.__new__(WriteBuffer)
        self.machine = ServerMachine.__new__(ServerMachine)

    def set_limits(self, Limits limits not None):
        """Use other limits from now on; line_bytes stays, a message that is being received keeps its own, and what SIZE
        announced is not exceeded."""
        cdef long long announced = self._extensions.size_limit
        self.limits = limits
        self._extensions.size_limit = min(announced, limits.message_bytes) if announced else limits.message_bytes
        if not self._receiving:
            self._reception = None

    # -- in and out -----------------------------------------------------------------------------------------------

    def offer(self, keywords):
        """What this session may be offered besides what it can do alone: names of b"STARTTLS", b"AUTH", b"XCLIENT",
        b"XFORWARD". Takes the place of what was offered before, from the next EHLO on. ValueError: another name."""
        offered = frozenset(keywords)
        if not offered <= OFFERS.keys():
            raise ValueError(f"{sorted(offered - OFFERS.keys())} cannot be offered")
        self._offered = offered

    def tls_started(self):
        """TLS is there, before the greeting (implicit TLS) or after the 220 to STARTTLS. What the client said before
        counts no more (RFC 3207 §4.2): it is not greeted by name, not authenticated, and nothing is buffered.
        RuntimeError: nobody has asked for TLS."""
        if self.machine.state != ST_TLS and (self.machine.state != ST_CONNECT or self._asking):
            raise RuntimeError(f"TLS cannot start in {self.state_name}")
        self._in.clear()
        self.machine.step(IN_TLS)
        self.tls = True
        self._forget()

    cpdef feed(self, bytes data):
        """Take what has arrived. Ignored once the session is closed, and from the 220 to STARTTLS to tls_started():
        whatever comes in clear text behind STARTTLS counts for nothing (CVE-2011-0411)."""
        if self._eof:
            raise RuntimeError("input after eof()")
        if self.machine.state < ST_TLS:
            self._in.feed(data)

    cpdef eof(self):
        """The client sends nothing more. Whole commands that are buffered are still carried out, a line
        without its end is not; a message without its end is discarded."""
        self._eof = True

    cpdef bytes take_output(self):
        """What is to be written to the client now; b"" if nothing."""
        return self._out.take()

    cpdef Event next_event(self):
        """The next event, or None."""
        cdef Event event
        if self._asking:
            return None
        event = self._step()
        if MAILFILTER_DEBUGGING:
            self._check(event)
        return event

    cdef int _check(self, Event event) except -1:
        """Debug builds, after each event: what must hold whatever the peer does."""
        cdef int state = self.machine.state
        if (self.machine.transaction is not None) != (ST_MAIL <= state <= ST_DATA):
            raise AssertionError(f"transaction is {self.machine.transaction} in {self.state_name}")
        if (self._asking != 0) != (event is not None and event.kind <= EV_MESSAGE):
            raise AssertionError(f"{event} while {self._asking} is asked")
        if self._receiving != (state == ST_CHUNKS) and state != ST_DATA and state != ST_CLOSED:
            raise AssertionError(f"receiving in {self.state_name}")
        # Whatever an event holds has been copied out of the carry buffer by now. None leaves a line unfinished in it.
        if event is not None:
            self._in.poison()
        return 0

    cpdef reply(self, int code, lines, bint close=False, bytes identity=None):
        """Answer the event that asks.

        code: 200..599. lines: list of bytes. 2xx and 3xx accept, and change the state as RFC 5321 §4.1.4 says. 421
        closes, as does close=True, and any reply to QUIT.

        EV_CONNECT: 4xx closes; after 5xx only QUIT is taken (RFC 5321 §3.1). EV_DATA: only 3xx lets the message come;
        when it comes by BDAT nothing is said then, and a refusal when the octets have come. EV_MESSAGE: any code ends
        the transaction. EV_EHLO: what is said of extensions is changed as extensions.pyx has it. EV_AUTH,
        EV_AUTH_LINE: 2xx makes the client `identity`, which is needed then; 334 is a challenge, one line in base64.
        EV_STARTTLS: after a 2xx comes tls_started(). EV_XCLIENT: an accepting reply is not said; the greeting is.

        RuntimeError: nothing asks, 2xx to EV_DATA, 3xx other than 334 or a success without identity to AUTH, acceptance
        of an AUTH that is over. ValueError, TypeError: no possible reply. The event still asks after either.
        """
        cdef int kind = self._asking
        cdef bint closing = close or code == 421
        cdef list told
        cdef Extensions extensions = None
        if kind == 0:
            raise RuntimeError("no event waits for a reply")
        if kind == EV_EHLO and 200 <= code < 300:
            lines = list(lines)
            told = lines[:1] if lines else [self.hostname]
            extensions = extensions_of(lines, told, self.limits, self._offered, self.tls, self._auth_without_tls)
            lines = told
        elif kind == EV_DATA:
            if 200 <= code < 300:
                raise RuntimeError("DATA is answered by 3xx or refused, never by 2xx")
            if self._by_chunks and not closing:
                self._asking = 0
                self._begin_chunks(None if code < 400 else Reply(code, lines))
                return
            if code < 400 and self._early():
                self._asking = 0
                self._accepted(kind)
                self.refuse(R_EARLY_DATA.code, [R_EARLY_DATA.enhanced + b" " + R_EARLY_DATA.lines[0]])
                return
        elif kind == EV_AUTH or kind == EV_AUTH_LINE:
            if code < 400 and (self._auth_over is not None or (identity is None if code < 300 else code != 334)):
                raise RuntimeError("AUTH is answered by 2xx with an identity, by 334, or refused")
            if self._auth_over is not None:
                code, lines = self._auth_over.code, [self._auth_over.enhanced + b" " + self._auth_over.lines[0]]
            if code == 334:
                lines = auth_challenge(lines)
                self._out.append(lines)
        if (code != 334 or kind < EV_AUTH) and (kind != EV_XCLIENT or code >= 400):
            reply_write(self._out, code, lines, None)

        self._asking = 0
        if kind == EV_CONNECT:
            if closing or 400 <= code < 500:
                closing = True
            else:
                self.machine.step(IN_GREETING if code < 400 else IN_REFUSAL)
        elif kind == EV_MESSAGE:
            self.machine.step(IN_MESSAGE)
            if code < 300:
                self.errors = 0
        elif kind == EV_AUTH or kind == EV_AUTH_LINE:
            self._authenticate(code, identity)
        else:
            if verb_row(kind - FIRST_COMMAND).flags & FLAG_ENDS_SESSION:
                closing = True
            elif code < 400:
                self._accepted(kind)
                if kind == EV_EHLO or kind == EV_HELO:
                    self._extensions = extensions_none(self.limits) if extensions is None else extensions
                    self._set_line_limit()
            self._path = None
        if closing:
            self._close()

    def reply_each(self, replies, int code, lines, bint close=False):
        """Answer EV_MESSAGE of a transaction with PRDR: 353, a reply for each recipient in their order, and one for all.

        replies: as many (code, lines) as there are recipients. RuntimeError: it is not such a transaction; ValueError,
        TypeError: no possible replies. The event still asks after either.
        """
        cdef Py_ssize_t before = self._out._len
        replies = list(replies)
        if self._asking != EV_MESSAGE or not self.machine.transaction.prdr:
            raise RuntimeError("the client wants no reply for each recipient")
        if len(replies) != len(self.machine.transaction.recipients):
            raise ValueError(f"{len(replies)} replies for {len(self.machine.transaction.recipients)} recipients")
        try:
            reply_write(self._out, 353, [b"A reply for each recipient follows"], None)
            for each, texts in replies:
                reply_write(self._out, each, texts, None)
            self.reply(code, lines, close)
        except BaseException:
            self._out.truncate(before)
            raise

    cpdef reply_default(self):
        """Answer the event that asks with the reply that its verb's row has, for when nobody has an opinion.

        It accepts envelopes and refuses every message for now (451): a silent policy loses no mail.
        """
        if self._asking == 0:
            raise RuntimeError("no event waits for a reply")
        code, enhanced, text = DEFAULT_REPLIES[self._asking]
        text = text.replace(b"%h", self.hostname)
        lines = [enhanced + b" " + text if enhanced else text]
        if self._asking == EV_EHLO:
            lines += [b"8BITMIME", b"ENHANCEDSTATUSCODES"]
        elif self._auth_over is not None:
            code = self._auth_over.code     # reply() says the rest
        self.reply(code, lines)

    def drop_transaction(self):
        """End the transaction as an accepted RSET does, without a reply: for when RSET could not be carried out, and
        the client goes on as if it was (RFC 5321 §4.1.1.5 knows no refusal). Nothing if there is none. RuntimeError:
        its message is being received or waits for its reply."""
        if self._receiving or self.machine.state == ST_DATA:
            raise RuntimeError("the message of this transaction is not answered yet")
        if self.machine.transaction is not None:
            self.machine.step(CMD_RSET)

    def abort_message(self, int code, lines):
        """Refuse the message that is being received: the rest is read to its true end and dropped, then this reply
        goes out (EV_DISCARDED tells). RuntimeError: no message is being received; ValueError: the code accepts."""
        if not self._receiving or self.machine.state != ST_DATA:
            raise RuntimeError("no message is being received")
        if not 400 <= code <= 599:
            raise ValueError(f"a message cannot be aborted with {code}")
        self._reception.verdict = Reply(code, lines)

    cpdef refuse(self, int code, lines):
        """Say this and close, whatever goes on (a timeout, a shutdown): legal anywhere, nothing if already closed.

        An event that asks needs no reply any more. A message that was being received gives EV_DISCARDED.
        """
        cdef Reply reply
        if self.machine.state == ST_CLOSED:
            return
        reply = Reply(code, lines)
        self._say(reply)
        if self._receiving:
            self._reception.verdict = reply
        self._close()

    # -- commands -------------------------------------------------------------------------------------------------

    cdef Event _step(self):
        cdef Span line
        cdef Event event
        cdef Reply reply
        cdef int got, state
        if self._lost:
            self._lost = False
            self._close()
        if self._deferred is not None:
            reply = self._deferred
            self._deferred = None
            if self.machine.state != ST_CLOSED:
                self._say(reply)
                self.machine.step(IN_MESSAGE)
                if reply.code == 421:
                    self._close()
        while True:
            state = self.machine.state
            if state >= ST_CHUNKS:
                if state == ST_CLOSED:
                    if self._receiving:
                        return self._discarded(self._reception.verdict)
                    if self._ended:
                        return None
                    self._ended = True
                    self._in.clear()
                    return event_new(EV_CLOSED, b"")
                if state == ST_DATA:
                    event = self._receive()
                    if event is not None or self.machine.state == ST_DATA:
                        return event
                    continue
                if state == ST_TLS:
                    if not self._eof:
                        return None
                    self._close()
                    continue
            if state == ST_CONNECT:
                return self._ask(EV_CONNECT, b"")
            if self._refused is not None:
                event = self._swallow()
                if event is not None or not self._eof:
                    return event
                self._close()
                continue
            if self._again is not None:
                line.ptr = self._again
                line.len = len(self._again)
                event = self._command(line)
                self._again = None
                return event
            got = self._in.take_line(&line)
            if got == LINE_READY:
                event = self._command(line) if state != ST_AUTH else self._auth_line(line, auth_line_fault(line))
                if event is None:
                    continue
                return event
            if got == LINE_NONE:
                if not self._eof:
                    return None
                if state == ST_CHUNKS:
                    self.machine.step(IN_MESSAGE)
                    return self._discarded(None)
                self._close()
            elif got == LINE_BARE_LF:
                return self._reject(R_BARE_LF, line, True)
            elif state == ST_AUTH:
                return self._auth_line(line, R_AUTH_LINE_TOO_LONG if got == LINE_LONG else R_BARE_CR)
            else:
                return self._unreadable(R_LINE_TOO_LONG if got == LINE_LONG else R_BARE_CR, line)

    cdef Event _command(self, Span line):
        """A line is there: an event that asks, or a rejection; None: the octets of a chunk are to come."""
        cdef Span argument
        cdef Reply fault
        cdef int verb = command_parse(line, &argument)
        cdef int kind, flags
        cdef Py_ssize_t length = 0
        if verb < 0:
            return self._reject(R_EMPTY, line, True)
        if line.len > self.limits.line_bytes - 2 and verb != CMD_AUTH:
            line.len = self.limits.line_bytes - 2
            return self._unreadable(R_LINE_TOO_LONG, line)
        if _has_nul(line):
            return self._unreadable(R_NUL, line)
        if verb >= CMD_BDAT:
            if verb == CMD_BDAT:
                return self._bdat(argument, line)
            if verb_row(verb).flags & FLAG_OFFERED:
                if VERBS[verb][1] not in self._offered:
                    verb = CMD_UNKNOWN
                elif verb == CMD_STARTTLS and self.tls:
                    return self._reject(R_TLS_ACTIVE, line, True)
        if not self.machine.allows(verb):
            return self._reject(R_SEQUENCE, line, True)
        kind = verb_row(verb).argument
        flags = verb_row(verb).flags
        if kind == ARG_SENDER:
            return self._mail(argument, line)
        if kind == ARG_RECIPIENT:
            return self._rcpt(argument, line)
        if kind == ARG_NONE:
            if argument.len > 0:
                return self._reject(R_ARGUMENT_UNEXPECTED, line, True)
            if verb == CMD_DATA:
                if self.machine.transaction.binary:
                    return self._reject(R_BINARY_BY_DATA, line, True)
                self._by_chunks = False
                if self._early():
                    return self._reject(R_EARLY_DATA, line, True)
        elif kind >= ARG_TEXT and argument.len == 0:
            return self._reject(R_ARGUMENT_MISSING, line, True)
        if flags & FLAG_ENDS_MESSAGE and self.machine.state == ST_CHUNKS:
            return self._give_up(line)
        if kind == ARG_HOST:
            while length < argument.len and argument.ptr[length] != b' ' and argument.ptr[length] != b'\t':
                length += 1
            argument.len = length
            self._hello_text = span_bytes(argument)
            return self._ask(FIRST_COMMAND + verb, self._hello_text)
        if flags & FLAG_JUNK:
            if self.errors >= self.limits.errors:
                return self._reject(R_TOO_MANY_ERRORS, line, False)
            self.errors += 1
        elif verb == CMD_AUTH:
            return self._auth(argument, line)
        elif kind == ARG_ATTRIBUTES:
            return self._attributes(verb, argument, line)
        elif verb == CMD_VRFY or verb == CMD_EXPN:
            fault = text_fault(argument, self._extensions.announced)
            if fault is not None:
                return self._reject(fault, line, True)
        return self._ask(FIRST_COMMAND + verb, span_bytes(line if verb == CMD_UNKNOWN else argument))

    cdef Event _mail(self, Span argument, Span line):
        cdef Py_ssize_t size_at
        cdef object found = sender_of(argument, self._extensions.announced, &self._flags, &size_at)
        cdef Event event
        if type(found) is Reply:
            return self._reject(found, line, True)
        self._path = found
        self._size = None
        if size_at >= 0:
            self._size = int(self._path._params[size_at][1])
            if 0 < self._extensions.size_limit < self._size:
                return self._reject(R_SIZE, line, False)
        event = self._ask(EV_MAIL, b"")
        event.path = self._path
        return event

    cdef Event _rcpt(self, Span argument, Span line):
        cdef object found = recipient_of(argument, self._extensions.announced, self.machine.transaction.utf8)
        cdef Event event
        if type(found) is Reply:
            return self._reject(found, line, True)
        if len(self.machine.transaction.recipients) >= self.limits.recipients:
            return self._reject(R_TOO_MANY_RECIPIENTS, line, False)
        self._path = found
        event = self._ask(EV_RCPT, b"")
        event.path = self._path
        return event

    cdef Event _attributes(self, int verb, Span argument, Span line):
        """XCLIENT or XFORWARD."""
        cdef bint client = verb == CMD_XCLIENT
        cdef object found = attributes_of(argument, XCLIENT_NAMES if client else XFORWARD_NAMES, client)
        cdef Event event
        if type(found) is Reply:
            return self._reject(found, line, True)
        if client:
            self._login = dict(found).get(b"LOGIN")
        event = self._ask(FIRST_COMMAND + verb, span_bytes(argument))
        event.attributes = found
        return event

    # -- authentication (RFC 4954) --------------------------------------------------------------------------------

    cdef Event _auth(self, Span argument, Span line):
        cdef Reply fault
        if self.authenticated is not None:
            return self._reject(R_AUTH_DONE, line, True)
        if b"AUTH" not in self._extensions.announced:
            return self._reject(R_SEQUENCE if self.tls or self._auth_without_tls else R_AUTH_NEEDS_TLS, line, True)
        if self.errors >= self.limits.errors:
            return self._reject(R_TOO_MANY_ERRORS, line, False)
        fault = auth_fault(argument, self._extensions.mechanisms)
        if fault is not None:
            return self._reject(fault, line, True)
        return self._ask(EV_AUTH, span_bytes(argument))

    cdef Event _auth_line(self, Span line, Reply fault):
        """The client's answer to a challenge; fault: why the exchange is over."""
        cdef Event event = self._ask(EV_AUTH_LINE, b"" if fault is not None else span_bytes(line))
        event.reply = self._auth_over = fault
        return event

    cdef int _authenticate(self, int code, bytes identity) except -1:
        """AUTH or a line of its exchange was answered."""
        self._auth_over = None
        if 300 <= code < 400:
            self.machine.step(IN_CHALLENGE)
        elif code < 300:
            self.machine.step(CMD_AUTH)
            self.authenticated = identity
            self._set_line_limit()
        else:
            if self.machine.state == ST_AUTH:
                self.machine.step(IN_AUTH_OVER)
            if code >= 500:
                self.errors += 1
        return 0

    cdef int _set_line_limit(self) except -1:
        """While AUTH is possible, lines may be as long as it needs; `_command` keeps all others to line_bytes."""
        self._in._limit = self.limits.line_bytes
        if b"AUTH" in self._extensions.announced and self.authenticated is None:
            self._in._limit = max(self.limits.line_bytes, self.limits.auth_line_bytes)
        return 0

    cdef int _forget(self) except -1:
        """The client is a stranger again: TLS has begun, or XCLIENT says that it is somebody else."""
        self.hello = self.authenticated = None
        self.proto = b"SMTP"
        self._extensions = extensions_none(self.limits)
        self._set_line_limit()
        return 0

    cdef int _accepted(self, int kind) except -1:
        """The command was accepted: the next state, and what is remembered of it."""
        if kind == EV_MAIL:
            self.machine.open(self._path, self._size, self._flags)
            return 0
        self.machine.step(kind - FIRST_COMMAND)
        if kind == EV_RCPT:
            self.machine.transaction.recipients.append(self._path)
        elif kind == EV_HELO or kind == EV_EHLO:
            self.hello = self._hello_text
            self.proto = b"SMTP" if kind == EV_HELO else b"ESMTP"
        elif kind == EV_DATA:
            self._begin()
            self._reception.begin(self._extensions.size_limit)
        elif kind == EV_STARTTLS:
            self._in.clear()
        elif kind == EV_XCLIENT:
            self._forget()
            self.authenticated = self._login
        return 0

cdef bint _has_nul(Span line) noexcept:
    return memchr(line.ptr, b'\0', line.len) != NULL
