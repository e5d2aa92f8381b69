# cython: nonecheck=True
"""What a session is made of: what may be asked about it, how it answers, and how messages are received.

The order of things, command by command, is in session.pyx, whose Session is the only Dialogue there is.

Must not know: which commands there are besides those that bring a message.
"""
from mailfilter._core.answers cimport R_BAD_CHUNK, R_BARE_LF, R_EARLY_DATA, R_SEQUENCE, R_TOO_MANY_ERRORS
from mailfilter._core.command cimport CMD_BDAT, chunk_parse, command_parse
from mailfilter._core.event cimport EV_BODY, EV_DATA, EV_DISCARDED, EV_MESSAGE, EV_REJECTED, Event, event_new
from mailfilter._core.fsm cimport IN_CHUNK, IN_CLOSE, IN_MESSAGE, ST_CHUNKS, ST_CLOSED
from mailfilter._core.reception cimport Reception
from mailfilter._core.reply cimport Reply, reply_write
from mailfilter._core.span cimport Span, span_bytes

from mailfilter._core.fsm import STATE_NAMES

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# After these nobody can say where the next command begins, or whose it is.
cdef tuple CLOSING = (R_BARE_LF, R_BAD_CHUNK, R_EARLY_DATA)


cdef class Dialogue:
    """The base of Session.

    machine: where the dialogue is (`state`), and its `transaction`. Who is compiled asks it and unread(), which are calls
    and loads of C; the properties below say the same, and cost a look-up each.
    """

    # -- what a caller may ask ------------------------------------------------------------------------------------

    @property
    def state(self):
        """ST_..., where the dialogue is."""
        return self.machine.state

    @property
    def state_name(self):
        return STATE_NAMES[self.machine.state]

    @property
    def transaction(self):
        """The running Transaction, or None."""
        return self.machine.transaction

    @property
    def announced(self):
        """The keywords in the reply to EHLO: a set, empty before and after HELO."""
        return self._extensions.announced

    @property
    def size_limit(self):
        """The largest message that is taken now: ours, or what the next hop announced; 0 for any."""
        return self._extensions.size_limit

    @property
    def awaiting(self):
        """Whether an event waits for its reply."""
        return self._asking != 0

    @property
    def closed(self):
        """Whether the connection is to be closed once the output is written."""
        return self.machine.state == ST_CLOSED

    @property
    def buffered(self):
        """Bytes of input that are not yet used."""
        return self._in.count()

    cpdef Py_ssize_t unread(self):
        """The same as `buffered`."""
        return self._in.count()

    @property
    def full(self):
        """Whether so much input waits (Limits.pending_bytes) that the caller should stop reading."""
        return self._in.count() >= self.limits.pending_bytes

    # -- answers --------------------------------------------------------------------------------------------------

    cdef bint _early(self) noexcept:
        """Whether the client has sent what it must not send before 354, and that matters."""
        cdef Py_ssize_t length = 0
        if self._take_early:
            return False
        self._in.peek(&length)
        return length > 0

    cdef Event _ask(self, int kind, bytes text):
        self._asking = kind
        return event_new(kind, text)

    cdef Event _reject(self, Reply reply, Span line, bint error):
        """Answer for ourselves. error: the peer broke a rule, and it counts."""
        cdef Event event = event_new(EV_REJECTED, span_bytes(line))
        if error:
            self.errors += 1
            if self.errors > self.limits.errors and reply not in CLOSING:
                reply = R_TOO_MANY_ERRORS
        self._say(reply)
        if reply in CLOSING or reply.code == 421:
            self._close()
        event.reply = reply
        return event

    cdef Event _unreadable(self, Reply reply, Span line):
        """A line that cannot be used. If it was to be BDAT, nobody knows how many octets follow it."""
        cdef Span argument
        return self._reject(R_BAD_CHUNK if command_parse(line, &argument) == CMD_BDAT else reply, line, True)

    cdef int _say(self, Reply reply) except -1:
        return reply_write(self._out, reply.code, reply.lines, reply.enhanced)

    cdef int _close(self) except -1:
        self._asking = 0
        self._path = None
        if self.machine.state != ST_CLOSED:
            self.machine.step(IN_CLOSE)
        return 0

    # -- messages -------------------------------------------------------------------------------------------------

    cdef int _begin(self) except -1:
        """A message is to be received."""
        if self._reception is None:
            self._reception = Reception(self._line_ends, self.limits.header_bytes, self.limits.header_fields)
        self._receiving = True
        return 0

    cdef Event _bdat(self, Span argument, Span line):
        """BDAT (RFC 3030). Whatever becomes of it, its octets are never taken for commands."""
        if not chunk_parse(argument, &self._chunk_bytes, &self._chunk_last):
            return self._reject(R_BAD_CHUNK, line, True)
        if b"CHUNKING" not in self._extensions.announced or not self.machine.allows(CMD_BDAT):
            self._refused = span_bytes(line)
            return None
        if self.machine.state == ST_CHUNKS:
            self.machine.step(CMD_BDAT)
            self._reception.chunk(self._chunk_bytes, self._chunk_last)
            self.chunks += 1
            return None
        self._by_chunks = True
        return self._ask(EV_DATA, b"BDAT")

    cdef int _begin_chunks(self, Reply verdict) except -1:
        """The first BDAT was answered; verdict: why the message is refused, which is said behind the chunk. The
        transaction ends then, so that a later chunk cannot pass for a message."""
        self.machine.step(CMD_BDAT)
        self._begin()
        self._reception.begin_chunks(self._extensions.size_limit, self.machine.transaction.binary)
        self._reception.verdict = verdict
        self._reception.chunk(self._chunk_bytes, self._chunk_last)
        return 0

    cdef Event _swallow(self):
        """Drop the octets of a chunk that nobody wants, and then say so; None: more of them are to come."""
        cdef Span line
        cdef bytes said = self._refused
        cdef Py_ssize_t length = 0
        while self._chunk_bytes > 0:
            self._in.peek(&length)
            if length == 0:
                return None
            length = <Py_ssize_t> min(self._chunk_bytes, length)
            self._in.advance(length)
            self._chunk_bytes -= length
        self._refused = None
        line.ptr = said
        line.len = len(said)
        return self._reject(R_SEQUENCE, line, True)

    cdef Event _give_up(self, Span line):
        """The client leaves a message between two chunks, by this command; it is carried out at the next step."""
        self._again = span_bytes(line)
        self.machine.step(IN_MESSAGE)
        return self._discarded(None)

    cdef Event _receive(self):
        """The state is DATA: body octets, or the end of the message; None: more is to come, or a chunk is over."""
        cdef Event event
        cdef bytes body
        while not self._reception.finished:
            body = self._reception.read(self._in)
            if body is not None:
                event = event_new(EV_BODY, b"")
                event.chunk = body
                event.wire = not self._reception.chunked
                return event
            if self._reception.chunk_over():
                self._deferred = self._reception.fault()
                if self._deferred is not None:
                    return self._discarded(self._deferred)
                reply_write(self._out, 250, [b"2.0.0 %d octets received" % self._chunk_bytes], None)
                self.machine.step(IN_CHUNK)
                return None
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
