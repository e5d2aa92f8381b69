# cython: nonecheck=True
"""The server side of one connection (RFC 5321), as a program without input and output.

    feed(bytes)     what has arrived; eof() when nothing more will
    next_event()    what happened, or None: more input is needed, or a reply is awaited (`awaiting`)
    reply()         exactly once for each event that asks (Event.asks)
    take_output()   what to write

What the peer does wrong is an event with its reply already queued (EV_REJECTED), or for a message one that comes at
its true end (EV_DISCARDED); it is never an exception. An exception means that the caller broke the
contract. Input that arrives while a reply is awaited stays in the buffer; `full` says when the caller should stop
reading from the socket.

One object for one connection. Every event is a new object that the caller may keep.

Must not know: sockets, clocks, policies, where a message goes. It says 250 to a message only when told to.
"""
cimport cython
from libc.string cimport memchr

from mailfilter._core.buffer cimport (
    LINE_BARE_LF, LINE_LONG, LINE_NONE, LINE_READY, LineBuffer, WriteBuffer)
from mailfilter._core.command cimport (
    ARG_HOST, ARG_NONE, ARG_RECIPIENT, ARG_SENDER, ARG_TEXT, CMD_RSET, CMD_UNKNOWN, FLAG_ENDS_SESSION,
    FLAG_JUNK, command_parse, declared_size, recipient_of, sender_of, verb_row)
from mailfilter._core.data cimport line_ends_code
from mailfilter._core.event cimport (
    EV_BODY, EV_CLOSED, EV_CONNECT, EV_DATA, EV_DISCARDED, EV_EHLO, EV_HELO, EV_MAIL, EV_MESSAGE, EV_RCPT, EV_REJECTED,
    Event, event_new)
from mailfilter._core.fsm cimport (
    IN_CLOSE, IN_GREETING, IN_MESSAGE, IN_REFUSAL, ST_CLOSED, ST_CONNECT, ST_DATA, ST_MAIL, ServerMachine)
from mailfilter._core.reception cimport Reception
from mailfilter._core.reply cimport Reply, reply_write
from mailfilter._core.span cimport Span, span_bytes

from mailfilter._core.command import FAULTS as ARGUMENT_FAULTS, VERBS
from mailfilter._core import event as _event_module
from mailfilter._core.fsm import STATE_NAMES
from mailfilter._core.reception import FAULTS as MESSAGE_FAULTS

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "debug.h":
    const bint MAILFILTER_DEBUGGING

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# The kinds of events belong to the interface of this module, too.
globals().update({_name: _value for _name, _value in vars(_event_module).items() if _name[:2] in ("EV", "Ev")})

# An event of a command is numbered two above its verb, and the default reply stands in the verb's row.
cdef enum:
    FIRST_COMMAND = EV_HELO
cdef dict DEFAULT_REPLIES = {FIRST_COMMAND + number: reply for number, _name, _argument, _flags, reply in VERBS}
DEFAULT_REPLIES[EV_CONNECT] = (220, None, b"%h ESMTP Mailfilter")
DEFAULT_REPLIES[EV_MESSAGE] = (451, b"4.3.0", b"Message not taken, try again later")

# What the session itself answers. One place, so that docs and tests can list it.
REPLIES = {
    "empty": Reply(500, [b"Empty command"], b"5.5.2"),
    "nul": Reply(500, [b"NUL in a command"], b"5.5.2"),
    "line_too_long": Reply(500, [b"Line too long"], b"5.5.2"),
    "bare_cr": Reply(500, [b"Bare CR in a command"], b"5.5.2"),
    "bare_lf": Reply(521, [b"Bare LF received, lines end with CR LF"], b"5.5.2"),
    "sequence": Reply(503, [b"Bad sequence of commands"], b"5.5.1"),
    "argument_missing": Reply(501, [b"Argument required"], b"5.5.4"),
    "argument_unexpected": Reply(501, [b"No argument allowed"], b"5.5.4"),
    "too_many_recipients": Reply(452, [b"Too many recipients"], b"4.5.3"),
    "too_many_errors": Reply(421, [b"Too many errors, closing connection"], b"4.7.0"),
    **ARGUMENT_FAULTS,
    **MESSAGE_FAULTS,
}
cdef Reply R_EMPTY = REPLIES["empty"]
cdef Reply R_NUL = REPLIES["nul"]
cdef Reply R_LINE_TOO_LONG = REPLIES["line_too_long"]
cdef Reply R_BARE_CR = REPLIES["bare_cr"]
cdef Reply R_BARE_LF = REPLIES["bare_lf"]
cdef Reply R_SEQUENCE = REPLIES["sequence"]
cdef Reply R_ARGUMENT_MISSING = REPLIES["argument_missing"]
cdef Reply R_ARGUMENT_UNEXPECTED = REPLIES["argument_unexpected"]
cdef Reply R_TOO_MANY_RECIPIENTS = REPLIES["too_many_recipients"]
cdef Reply R_TOO_MANY_ERRORS = REPLIES["too_many_errors"]
cdef Reply R_SIZE = REPLIES["size"]

# The extensions we can do, whatever a next hop offers (STARTTLS comes from the shell when it has TLS).
cdef frozenset KEYWORDS = frozenset((b"PIPELINING", b"SIZE", b"8BITMIME", b"ENHANCEDSTATUSCODES"))


@cython.final
cdef class Limits:
    """What one session may take, all int.

    line_bytes: octets of a command line with its CR LF (500 5.5.2). RFC 5321 §4.5.3.1.4 asks for 512, extensions
        for more.
    recipients: of one transaction (452 4.5.3). RFC 5321 §4.5.3.1.8 asks for 100.
    message_bytes: octets of a message as RFC 1870 §3 counts them, 0 for no limit (552 5.3.4).
    header_bytes, header_fields: of its header section (552 5.3.4).
    errors: bad commands that are answered; the next one is 421 4.7.0 and closes. An accepted message sets the
        count back.
    pending_bytes: input that waits, above which `Session.full` asks the caller to stop reading.
    """

    def __init__(self, *, line_bytes=2048, recipients=1000, message_bytes=52428800, header_bytes=262144,
                 header_fields=1000, errors=20, pending_bytes=65536):
        if line_bytes < 64:
            raise ValueError("line_bytes must be 64 or more")
        if min(recipients, header_bytes, header_fields, pending_bytes) < 1 or min(message_bytes, errors) < 0:
            raise ValueError("a limit is too small")
        self.line_bytes = line_bytes
        self.recipients = recipients
        self.message_bytes = message_bytes
        self.header_bytes = header_bytes
        self.header_fields = header_fields
        self.errors = errors
        self.pending_bytes = pending_bytes


@cython.final
cdef class Session:
    """The server side of one connection.

    limits: Limits, or None for the defaults. line_ends: "reject" or "normalise", what happens to bare CR and LF in
    commands and messages. hostname: what default replies call this host.

    hello: the name that the client gave in its last accepted HELO or EHLO, or None; proto: b"SMTP", or b"ESMTP" after
    EHLO; announced: the extensions in the reply to it; size_limit: the largest message that is taken now.
    errors: bad commands so far.
    """

    def __init__(self, Limits limits=None, str line_ends="reject", bytes hostname=b"localhost"):
        self.limits = Limits() if limits is None else limits
        self.hostname = hostname
        self.proto = b"SMTP"
        self.announced = set()
        self.size_limit = self.limits.message_bytes
        self._line_ends = line_ends
        self._in = LineBuffer(self.limits.line_bytes, line_ends_code(line_ends))
        self._out = WriteBuffer.__new__(WriteBuffer)
        self._machine = ServerMachine.__new__(ServerMachine)

    # -- what a caller may ask ------------------------------------------------------------------------------------

    @property
    def state(self):
        """ST_..., where the dialogue is."""
        return self._machine.state

    @property
    def state_name(self):
        return STATE_NAMES[self._machine.state]

    @property
    def transaction(self):
        """The running Transaction, or None."""
        return self._machine.transaction

    @property
    def awaiting(self):
        """Whether an event waits for its reply."""
        return self._asking != 0

    @property
    def closed(self):
        """Whether the connection is to be closed once the output is written."""
        return self._machine.state == ST_CLOSED

    @property
    def buffered(self):
        """Bytes of input that are not yet used."""
        return self._in.count()

    @property
    def full(self):
        """Whether so much input waits (Limits.pending_bytes) that the caller should stop reading."""
        return self._in.count() >= self.limits.pending_bytes

    def set_limits(self, Limits limits not None):
        """Use other limits from now on; line_bytes stays, a message that is being received keeps its own, and what SIZE
        announced is not exceeded."""
        self.limits = limits
        self.size_limit = min(self.size_limit, limits.message_bytes) if self.size_limit else limits.message_bytes
        if not self._receiving:
            self._reception = None

    # -- in and out -----------------------------------------------------------------------------------------------

    def feed(self, bytes data not None):
        """Take what has arrived. Ignored once the session is closed."""
        if self._eof:
            raise RuntimeError("input after eof()")
        if self._machine.state != ST_CLOSED:
            self._in.feed(data)

    def eof(self):
        """The client sends nothing more. Whole commands that are buffered are still carried out, a line
        without its end is not; a message without its end is discarded."""
        self._eof = True

    def take_output(self):
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
        if (self._machine.transaction is not None) != (ST_MAIL <= self._machine.state <= ST_DATA):
            raise AssertionError(f"transaction is {self._machine.transaction} in {self.state_name}")
        if (self._asking != 0) != (event is not None and event.kind <= EV_MESSAGE):
            raise AssertionError(f"{event} while {self._asking} is asked")
        if self._receiving and self._machine.state != ST_DATA:
            raise AssertionError(f"receiving in {self.state_name}")
        # Whatever an event holds has been copied out of the carry buffer by now. None leaves a line unfinished in it.
        if event is not None:
            self._in.poison()
        return 0

    def reply(self, int code, lines, bint close=False):
        """Answer the event that asks.

        code: 200..599. lines: list of bytes. 2xx and 3xx accept, and change the state as RFC 5321 §4.1.4 says. 421
        closes, as does close=True, and any reply to QUIT. EV_CONNECT: 4xx closes; after 5xx only QUIT is taken
        (RFC 5321 §3.1). EV_DATA: only 3xx lets the message come. EV_MESSAGE: any code ends the transaction. EV_EHLO:
        see announced; keywords of things that we cannot do are left out, and PIPELINING and SIZE added.

        RuntimeError: nothing asks, or 2xx to EV_DATA. ValueError, TypeError: no possible reply; the event still asks.
        """
        cdef int kind = self._asking
        cdef bint closing = close or code == 421
        cdef set announced = None
        cdef long long size_limit = 0
        if kind == 0:
            raise RuntimeError("no event waits for a reply")
        if kind == EV_DATA and 200 <= code < 300:
            raise RuntimeError("DATA is answered by 3xx or refused, never by 2xx")
        if kind == EV_EHLO and 200 <= code < 300:
            lines, announced, size_limit = self._extensions(list(lines))
        reply_write(self._out, code, lines, None)

        self._asking = 0
        if kind == EV_CONNECT:
            if closing or 400 <= code < 500:
                closing = True
            else:
                self._machine.step(IN_GREETING if code < 400 else IN_REFUSAL)
        elif kind == EV_MESSAGE:
            self._machine.step(IN_MESSAGE)
            if code < 300:
                self.errors = 0
        else:
            if verb_row(kind - FIRST_COMMAND).flags & FLAG_ENDS_SESSION:
                closing = True
            elif code < 400:
                self._accepted(kind)
                if kind == EV_EHLO or kind == EV_HELO:
                    self.announced = set() if announced is None else announced
                    self.size_limit = self.limits.message_bytes if announced is None else size_limit
            self._path = None
        if closing:
            self._close()

    def reply_default(self):
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
        self.reply(code, lines)

    def drop_transaction(self):
        """End the transaction as an accepted RSET does, without a reply: for when RSET could not be carried out, and
        the client goes on as if it was (RFC 5321 §4.1.1.5 knows no refusal). Nothing if there is none. RuntimeError:
        its message is being received or waits for its reply."""
        if self._machine.state == ST_DATA:
            raise RuntimeError("the message of this transaction is not answered yet")
        if self._machine.transaction is not None:
            self._machine.step(CMD_RSET)

    def abort_message(self, int code, lines):
        """Refuse the message that is being received: the rest is read to its true end and dropped, then this reply
        goes out (EV_DISCARDED tells). RuntimeError: no message is being received; ValueError: the code accepts."""
        if not self._receiving or self._machine.state != ST_DATA:
            raise RuntimeError("no message is being received")
        if not 400 <= code <= 599:
            raise ValueError(f"a message cannot be aborted with {code}")
        self._reception.verdict = Reply(code, lines)

    def refuse(self, int code, lines):
        """Say this and close, whatever goes on (a timeout, a shutdown): legal anywhere, nothing if already closed.

        An event that asks needs no reply any more. A message that was being received gives EV_DISCARDED.
        """
        cdef Reply reply
        if self._machine.state == ST_CLOSED:
            return
        reply = Reply(code, lines)
        self._say(reply)
        if self._receiving:
            self._reception.verdict = reply
        self._close()

    # -- commands -------------------------------------------------------------------------------------------------

    cdef Event _step(self):
        cdef Span line
        cdef Reply reply
        cdef int got
        if self._lost:
            self._lost = False
            self._close()
        if self._deferred is not None:
            reply = self._deferred
            self._deferred = None
            if self._machine.state != ST_CLOSED:
                self._say(reply)
                self._machine.step(IN_MESSAGE)
                if reply.code == 421:
                    self._close()
        while True:
            if self._machine.state == ST_CLOSED:
                if self._receiving:
                    return self._discarded(self._reception.verdict)
                if self._ended:
                    return None
                self._ended = True
                self._in.clear()
                return event_new(EV_CLOSED, b"")
            if self._machine.state == ST_DATA:
                return self._receive()
            if self._machine.state == ST_CONNECT:
                return self._ask(EV_CONNECT, b"")
            got = self._in.take_line(&line)
            if got == LINE_READY:
                return self._command(line)
            if got == LINE_NONE:
                if not self._eof:
                    return None
                self._close()
            elif got == LINE_BARE_LF:
                return self._reject(R_BARE_LF, line, True)
            elif got == LINE_LONG:
                return self._reject(R_LINE_TOO_LONG, line, True)
            else:
                return self._reject(R_BARE_CR, line, True)

    cdef Event _command(self, Span line):
        """A line is there: an event that asks, or a rejection."""
        cdef Span argument
        cdef int verb = command_parse(line, &argument)
        cdef int kind, flags
        cdef Py_ssize_t length = 0
        if verb < 0:
            return self._reject(R_EMPTY, line, True)
        if _has_nul(line):
            return self._reject(R_NUL, line, True)
        if not self._machine.allows(verb):
            return self._reject(R_SEQUENCE, line, True)
        kind = verb_row(verb).argument
        flags = verb_row(verb).flags
        if kind == ARG_SENDER:
            return self._mail(argument, line)
        if kind == ARG_RECIPIENT:
            return self._rcpt(argument, line)
        if kind == ARG_NONE and argument.len > 0:
            return self._reject(R_ARGUMENT_UNEXPECTED, line, True)
        if (kind == ARG_TEXT or kind == ARG_HOST) and argument.len == 0:
            return self._reject(R_ARGUMENT_MISSING, line, True)
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
        return self._ask(FIRST_COMMAND + verb, span_bytes(line if verb == CMD_UNKNOWN else argument))

    cdef Event _mail(self, Span argument, Span line):
        cdef object found = sender_of(argument, self.announced)
        cdef Event event
        if type(found) is Reply:
            return self._reject(found, line, True)
        self._path = found
        self._size = declared_size(self._path)
        if self._size is not None and 0 < self.size_limit < self._size:
            return self._reject(R_SIZE, line, False)
        event = self._ask(EV_MAIL, b"")
        event.path = self._path
        return event

    cdef Event _rcpt(self, Span argument, Span line):
        cdef object found = recipient_of(argument)
        cdef Event event
        if type(found) is Reply:
            return self._reject(found, line, True)
        if len(self._machine.transaction.recipients) >= self.limits.recipients:
            return self._reject(R_TOO_MANY_RECIPIENTS, line, False)
        self._path = found
        event = self._ask(EV_RCPT, b"")
        event.path = self._path
        return event

    cdef Event _ask(self, int kind, bytes text):
        self._asking = kind
        return event_new(kind, text)

    cdef Event _reject(self, Reply reply, Span line, bint error):
        """Answer for ourselves. error: the peer broke a rule, and it counts."""
        cdef Event event = event_new(EV_REJECTED, span_bytes(line))
        if error:
            self.errors += 1
            if self.errors > self.limits.errors and reply is not R_BARE_LF:
                reply = R_TOO_MANY_ERRORS
        self._say(reply)
        if reply is R_BARE_LF or reply.code == 421:
            self._close()
        event.reply = reply
        return event

    cdef int _say(self, Reply reply) except -1:
        return reply_write(self._out, reply.code, reply.lines, reply.enhanced)

    cdef int _close(self) except -1:
        self._asking = 0
        self._path = None
        if self._machine.state != ST_CLOSED:
            self._machine.step(IN_CLOSE)
        return 0

    cdef int _accepted(self, int kind) except -1:
        """The command was accepted: the next state, and what is remembered of it."""
        if kind == EV_MAIL:
            self._machine.open(self._path, self._size)
            return 0
        self._machine.step(kind - FIRST_COMMAND)
        if kind == EV_RCPT:
            self._machine.transaction.recipients.append(self._path)
        elif kind == EV_HELO or kind == EV_EHLO:
            self.hello = self._hello_text
            self.proto = b"SMTP" if kind == EV_HELO else b"ESMTP"
        elif kind == EV_DATA:
            if self._reception is None:
                self._reception = Reception(self._line_ends, self.limits.header_bytes, self.limits.header_fields)
            self._reception.begin(self.size_limit)
            self._receiving = True
        return 0

    cdef tuple _extensions(self, list lines):
        """(lines of the EHLO reply, their keywords, the size limit) out of what the policy wants to say.

        The first line is the greeting. SIZE becomes the smaller of the policy's and ours, 0 being none (RFC 1870 §4).
        """
        cdef list kept = lines[:1] if lines else [self.hostname]
        cdef set announced = set()
        cdef long long size_limit = self.limits.message_bytes
        cdef Py_ssize_t size_at = -1
        for line in lines[1:]:
            if type(line) is not bytes:
                raise TypeError(f"a line of a reply is bytes, not {type(line).__name__}")
            words = line.upper().split()
            if not words or words[0] not in KEYWORDS or words[0] in announced:
                continue
            announced.add(words[0])
            if words[0] == b"SIZE":
                size_at = len(kept)
                if len(words) > 1 and words[1].isdigit():
                    theirs = min(int(words[1]), 1 << 62)
                    if theirs and (size_limit == 0 or theirs < size_limit):
                        size_limit = theirs
            kept.append(b" ".join(words))
        if b"PIPELINING" not in announced:
            announced.add(b"PIPELINING")
            kept.append(b"PIPELINING")
        size = b"SIZE %d" % size_limit if size_limit else b"SIZE"
        if size_at >= 0:
            kept[size_at] = size
        else:
            announced.add(b"SIZE")
            kept.append(size)
        return kept, announced, size_limit

    # -- messages -------------------------------------------------------------------------------------------------

    cdef Event _receive(self):
        """The state is DATA: body octets, or the end of the message, or None."""
        cdef Event event
        cdef bytes body
        while not self._reception.finished:
            body = self._reception.read(self._in)
            if body is not None:
                event = event_new(EV_BODY, b"")
                event.chunk = body
                return event
            if not self._reception.finished:
                if not self._eof:
                    return None
                # The transaction stays until the event was seen; the next step closes.
                self._lost = True
                return self._discarded(None)
        self._deferred = self._reception.fault()
        if self._deferred is not None:
            return self._discarded(self._deferred)
        self._receiving = False
        event = self._ask(EV_MESSAGE, b"")
        self._reception.tell(event)
        return event

    cdef Event _discarded(self, Reply reply):
        cdef Event event = event_new(EV_DISCARDED, b"")
        event.reply = reply
        event.message_bytes = self._reception.octets()
        self._receiving = False
        self._reception.drop()
        return event


cdef bint _has_nul(Span line) noexcept:
    return memchr(line.ptr, b'\0', line.len) != NULL
