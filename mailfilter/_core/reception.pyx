# cython: nonecheck=True
"""The receiving of a message, from the 354 (or the first BDAT) to its true end: its header is gathered, its body
handed on.

A DataReader finds the end, or a ChunkReader counts octets, and a HeaderCollector finds the blank line; this puts them
together over the session's input, and says at the end whether the message must be refused, and with what.

Must not know: commands, states, transactions.
"""
cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from libc.string cimport memchr

from mailfilter._core.buffer cimport LineBuffer
from mailfilter._core.chunk cimport ChunkReader
from mailfilter._core.data cimport DataReader, DataRun, run_bytes
from mailfilter._core.event cimport Event
from mailfilter._core.header cimport HeaderCollector, split_header
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span, span_drop

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# Why a message is refused by the core. A part of session.REPLIES.
FAULTS = {
    "size": Reply(552, [b"Message too big"], b"5.3.4"),
    "header_bytes": Reply(552, [b"Message header too big"], b"5.3.4"),
    "header_fields": Reply(552, [b"Too many header fields"], b"5.3.4"),
    "bare_line_end": Reply(554, [b"Bare CR or LF in the message, lines end with CR LF"], b"5.6.0"),
    "nul_dot": Reply(554, [b"A line of one dot and NUL octets"], b"5.6.0"),
}
cdef Reply R_SIZE = FAULTS["size"]
cdef Reply R_HEADER_BYTES = FAULTS["header_bytes"]
cdef Reply R_HEADER_FIELDS = FAULTS["header_fields"]
cdef Reply R_BARE_LINE_END = FAULTS["bare_line_end"]
cdef Reply R_NUL_DOT = FAULTS["nul_dot"]


@cython.final
cdef class Reception:
    """Receives the messages of one session, one after the other.

    Over header_bytes or header_fields, a message is refused; so it is over the size limit given to begin().
    """

    def __init__(self, str line_ends, Py_ssize_t header_bytes, Py_ssize_t header_fields):
        self._line_ends = line_ends
        self._reader = DataReader(line_ends)
        self._header_bytes = header_bytes
        self._header_fields = header_fields

    cdef int begin(self, long long size_limit) except -1:
        """A message begins that comes by DATA."""
        self._reader.restart(size_limit)
        self._size_limit = size_limit
        self._header = HeaderCollector(self._header_bytes, self._header_fields)
        self.verdict = None
        self.finished = self.chunked = self._binary = False
        return 0

    cdef int begin_chunks(self, long long size_limit, bint binary) except -1:
        """A message begins that comes by BDAT. binary: it is declared as BINARYMIME."""
        if self._chunks is None:
            self._chunks = ChunkReader(self._line_ends)
        self._chunks.restart()
        self._chunks.strict = binary
        self._size_limit = size_limit
        self._header = HeaderCollector(self._header_bytes, self._header_fields, True)
        self.verdict = None
        self.finished = False
        self.chunked = True
        self._binary = binary
        return 0

    cdef int chunk(self, long long size, bint last) except -1:
        """A chunk of so many octets begins."""
        self._chunks.left = self._chunk_bytes = size
        self._last = last
        return 0

    cdef bint chunk_over(self) noexcept:
        """Whether the octets of a chunk have come, and another chunk is to follow."""
        return self.chunked and not self._last and self._chunks.left == 0

    cdef bytes read(self, LineBuffer source):
        """Octets of the body as they come (wire form, or plain when chunked); or None: `finished` is set, the chunk is
        over, or all input is used."""
        cdef DataRun run
        cdef const char* ptr
        cdef Py_ssize_t length = 0, used
        cdef bytes whole, body
        if self.chunked:
            return self._read_chunk(source)
        while not self.finished:
            ptr = source.peek(&length)
            if length == 0:
                return None
            whole = source.whole_chunk()
            used = self._reader.scan(ptr, length, &run)
            self.finished = run.done
            body = self._absorb(&run, whole)
            source.advance(used)
            if body is not None:
                return body
        return None

    cdef bytes _read_chunk(self, LineBuffer source):
        cdef DataRun run
        cdef const char* ptr
        cdef const char* lf
        cdef Py_ssize_t length = 0, used
        cdef bytes whole, body
        while self._chunks.left > 0:
            ptr = source.peek(&length)
            if length == 0:
                return None
            if self._binary and not self._chunks.raw:
                # The header of a binary message is text like any other: look at it line by line, up to its end.
                lf = <const char*> memchr(ptr, b'\n', length)
                if lf != NULL:
                    length = lf - ptr + 1
            whole = source.whole_chunk()
            used = self._chunks.scan(ptr, length, &run)
            body = self._absorb(&run, whole)
            source.advance(used)
            if self._binary and self._header.complete:
                self._chunks.raw = True
            if body is not None:
                return body
        if not self._last or self.finished:
            return None
        self.finished = True
        self._chunks.finish(&run)
        body = self._absorb(&run, None)
        if not self._header.complete and self._header.inside_line():
            # The last line of the header has no end. It gets one: what follows it on the way must not be glued to it.
            run.run.ptr = b"\r\n"
            run.run.len = 2
            self._chunks.octets += 2
            self._header.scan(run.run)
        return body

    cdef bint _bare(self) noexcept:
        """Whether there were bare line ends that must not be."""
        if self.chunked:
            return self._chunks.bare_cr or self._chunks.bare_lf
        return self._reader.bare_cr or self._reader.bare_lf

    cdef bytes _absorb(self, DataRun* run, bytes whole):
        """Put what was read where it belongs; return what is body, or None.

        Nothing of a message that is lost anyway is handed on. Its header is still counted to the end, so that
        which of several faults is told does not depend on where the chunks were cut.
        """
        cdef Span held
        cdef Py_ssize_t used
        if self._bare():
            return None
        if not self._header.complete:
            if run.held > 0:
                # A dot alone never completes the section: with a CR LF behind it, it would be the end of the message.
                held.ptr = b".\r"
                held.len = run.held
                self._header.scan(held)
                run.held = 0
            used = self._header.scan(run.run)
            span_drop(&run.run, used)
            if not self._header.complete:
                return None
        if run.held + run.run.len == 0 or self.fault() is not None:
            return None
        return run_bytes(run, whole)

    cdef Reply fault(self):
        """Why this message must be refused, or None. The order is fixed: see _absorb."""
        if self.verdict is not None:
            return self.verdict
        if self._bare():
            return R_BARE_LINE_END
        if self._chunks.nul_dot if self.chunked else self._reader.nul_dot:
            return R_NUL_DOT
        if self._header.oversized():
            return R_HEADER_BYTES
        if self._header.overcrowded():
            return R_HEADER_FIELDS
        if self._size_limit > 0 and self.octets() > self._size_limit:
            return R_SIZE
        return None

    cdef int tell(self, Event event) except -1:
        """Write header and sizes of the finished message into the event, and forget the message."""
        cdef bytes section = self._header.section()
        event.fields = split_header(section)
        event.separator = self._header.complete
        event.message_bytes = self.octets()
        if event.separator:
            event.body_bytes = event.message_bytes - PyBytes_GET_SIZE(section) - 2
        event.wire = not self.chunked
        event.binary = self._binary
        self.drop()
        return 0

    cdef void drop(self) noexcept:
        """Forget the message."""
        self._header = None
        self.verdict = None

    cdef long long octets(self) noexcept:
        """The size of the message so far, the sender's dots not counted."""
        return self._chunks.octets if self.chunked else self._reader.octets
