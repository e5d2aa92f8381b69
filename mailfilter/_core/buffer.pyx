# cython: nonecheck=True
"""Buffers between the bytes of a connection and the lines of a protocol.

LineBuffer: chunks go in as they come from the socket, lines come out as spans. A line that lies inside one
chunk is a span into that chunk, without a copy; a line that straddles chunks is put together once in a small
carry buffer. Every byte is looked at once: what was searched in vain goes into the carry buffer and is not
searched again, so that a peer who sends one byte at a time costs linear time. No line makes the carry
buffer larger than the limit: the rest of a longer line is counted and dropped.

WriteBuffer: what is to be written is gathered and taken in one piece (RFC 2920 §3.2 asks that replies to a
group of commands go out together).

Must not know: commands, replies, or what a line means.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memchr, memcpy, memset

from mailfilter._core.span cimport Span

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# Chunks that wait are joined below this size, so that many tiny ones cost bytes and not objects.
cdef Py_ssize_t JOIN_BYTES = 4096
# A carry buffer above this size is given back as soon as its line is done.
cdef Py_ssize_t CARRY_KEPT_BYTES = 512
# What is gathered begins with so much room; most replies are shorter.
cdef Py_ssize_t WRITE_BYTES = 256


@cython.final
cdef class LineBuffer:
    """Lines out of chunks.

    limit: the longest line in octets, CR LF included (RFC 5321 §4.5.3.1.4 counts like this).
    ends: one of ENDS_REJECT, ENDS_NORMALISE, ENDS_LF.
    """

    def __cinit__(self, Py_ssize_t limit, int ends=ENDS_REJECT):
        if limit < 3:
            raise ValueError("a line needs room for at least one octet and CR LF")
        self._limit = limit
        self._ends = ends
        self._queue = []

    def __dealloc__(self):
        PyMem_Free(self._carry)

    cpdef int feed(self, bytes data) except -1:
        """Take what has arrived. The bytes object is kept and not copied."""
        cdef Py_ssize_t length = len(data)
        cdef bytes tail
        if length == 0:
            return 0
        if self._pos >= self._end and self._queued == 0:
            self._chunk = data
            self._ptr = PyBytes_AS_STRING(data)
            self._pos = 0
            self._end = length
            return 0
        if length < JOIN_BYTES and self._queued > 0:
            tail = self._queue[len(self._queue) - 1]
            if len(tail) < JOIN_BYTES:
                self._queue[len(self._queue) - 1] = tail + data
                self._queued += length
                return 0
        self._queue.append(data)
        self._queued += length
        return 0

    def next_line(self):
        """(LINE_... result, bytes of the line without its end): the same as take_line, for Python callers."""
        cdef Span line
        cdef int got = self.take_line(&line)
        if got == LINE_NONE:
            return got, b""
        return got, PyBytes_FromStringAndSize(line.ptr, line.len)

    @property
    def buffered(self):
        """Bytes that were fed and not yet taken, the beginning of an unfinished line included."""
        return self.count()

    cdef int take_line(self, Span* line) except -1:
        """The next line without its end. The span is valid until the next call of feed or take_line.

        A LINE_LONG or LINE_BARE_LF line is given cut to the limit. Where a line is both, LINE_BARE_LF is told:
        it is the sign of an attack, the length is not.
        """
        cdef const char* start = NULL
        cdef const char* stop = NULL
        cdef const char* cr
        cdef Py_ssize_t length, content, used = 1
        cdef char last
        cdef int result = LINE_READY
        while True:
            if self._pos >= self._end and not self._next_chunk():
                return LINE_NONE
            start = self._ptr + self._pos
            length = self._end - self._pos
            if self._skip_lf:
                # The line before ended with a CR at the end of its chunk; this LF is the other half.
                self._skip_lf = False
                if start[0] == b'\n':
                    self._pos += 1
                    continue
            stop = <const char*> memchr(start, b'\n', length)
            used = 1
            if self._ends == ENDS_NORMALISE:
                cr = <const char*> memchr(start, b'\r', length if stop == NULL else stop - start)
                if cr != NULL:
                    if cr + 1 == stop:
                        used = 2
                    elif cr + 1 == start + length:
                        self._skip_lf = True
                    stop = cr
            if stop != NULL:
                break
            self._keep(start, length)
            self._pos = self._end

        length = stop - start
        self._pos += length + used
        last = b'\0'
        if length > 0:
            last = start[length - 1]
        elif self._line_len > 0:
            last = self._last
        if self._line_len > 0:
            self._keep(start, length)
            content = self._line_len
            line.ptr = self._carry
        else:
            content = length
            line.ptr = start
        self._line_len = 0
        self._carry_len = 0

        if self._ends != ENDS_NORMALISE:
            if last == b'\r':
                content -= 1
            elif self._ends == ENDS_REJECT:
                result = LINE_BARE_LF
        if content > self._limit - 2:
            content = self._limit - 2
            if result == LINE_READY:
                result = LINE_LONG
        line.len = content
        if result == LINE_READY and self._ends == ENDS_REJECT and memchr(line.ptr, b'\r', content) != NULL:
            result = LINE_BARE_CR
        return result

    cdef const char* peek(self, Py_ssize_t* length) except? NULL:
        """The bytes at the front that lie together, for what is not read in lines; length 0 when there are none."""
        while True:
            if self._pos >= self._end and not self._next_chunk():
                length[0] = 0
                return NULL
            if self._skip_lf:
                self._skip_lf = False
                if self._ptr[self._pos] == b'\n':
                    self._pos += 1
                    continue
            length[0] = self._end - self._pos
            return self._ptr + self._pos

    cdef bytes whole_chunk(self):
        """The very object that was fed, if nothing of it has been taken; else None."""
        if self._pos == 0 and self._end > 0:
            return self._chunk
        return None

    cdef void advance(self, Py_ssize_t count) noexcept:
        """Take `count` of the bytes that peek showed."""
        self._pos += count

    cdef Py_ssize_t count(self) noexcept:
        """How many bytes wait."""
        return self._end - self._pos + self._queued + self._carry_len

    cdef int clear(self) except -1:
        """Forget everything."""
        self._chunk = None
        self._pos = self._end = 0
        del self._queue[:]
        self._queue_head = self._queued = 0
        self._line_len = self._carry_len = 0
        self._skip_lf = False
        return 0

    cdef void poison(self) noexcept:
        """Debug builds: overwrite what no longer belongs to a line, so that a span kept too long shows itself."""
        if self._carry != NULL:
            memset(self._carry + self._carry_len, 0xDB, self._carry_size - self._carry_len)

    cdef bint _next_chunk(self) except -1:
        cdef bytes chunk
        self._chunk = None
        self._pos = self._end = 0
        if self._queued == 0:
            return False
        chunk = <bytes> self._queue[self._queue_head]
        self._queue[self._queue_head] = None
        self._queue_head += 1
        if self._queue_head == len(self._queue):
            del self._queue[:]
            self._queue_head = 0
        self._chunk = chunk
        self._ptr = PyBytes_AS_STRING(chunk)
        self._end = PyBytes_GET_SIZE(chunk)
        self._queued -= self._end
        return True

    cdef int _keep(self, const char* ptr, Py_ssize_t length) except -1:
        """Add to the unfinished line, up to the limit (one octet less: the LF is never kept)."""
        cdef Py_ssize_t room = self._limit - 1 - self._carry_len
        cdef Py_ssize_t wanted, size
        cdef char* grown
        if length == 0:
            return 0
        self._line_len += length
        self._last = ptr[length - 1]
        if length > room:
            length = room
        wanted = self._carry_len + length
        if self._carry_len == 0 and self._carry_size > CARRY_KEPT_BYTES:
            PyMem_Free(self._carry)
            self._carry = NULL
            self._carry_size = 0
        if wanted > self._carry_size:
            size = 128
            while size < wanted:
                size *= 2
            grown = <char*> PyMem_Realloc(self._carry, size)
            if grown == NULL:
                raise MemoryError()
            self._carry = grown
            self._carry_size = size
        memcpy(self._carry + self._carry_len, ptr, length)
        self._carry_len = wanted
        return 0


@cython.final
cdef class WriteBuffer:
    """Bytes to be written, gathered until they are taken. An empty one has no memory: most of a session's time it is."""

    def __dealloc__(self):
        PyMem_Free(self._ptr)

    def __len__(self):
        return self._len

    def append(self, bytes data):
        """Add bytes (for Python callers)."""
        self.write(PyBytes_AS_STRING(data), len(data))

    cdef char* reserve(self, Py_ssize_t count) except NULL:
        """Room for `count` more bytes; the caller fills it and adds to _len what it has used."""
        cdef Py_ssize_t size = self._size
        cdef char* grown
        if self._ptr == NULL or self._len + count > size:
            size = size or WRITE_BYTES
            while size < self._len + count:
                size *= 2
            grown = <char*> PyMem_Realloc(self._ptr, size)
            if grown == NULL:
                raise MemoryError()
            self._ptr = grown
            self._size = size
        return self._ptr + self._len

    cdef int write(self, const char* ptr, Py_ssize_t length) except -1:
        """Add bytes."""
        memcpy(self.reserve(length), ptr, length)
        self._len += length
        return 0

    cdef void truncate(self, Py_ssize_t length) noexcept:
        """Take back everything after the first `length` bytes (a reply that turned out to be impossible)."""
        self._len = length

    cpdef bytes take(self):
        """All that was gathered; the buffer is empty again."""
        cdef bytes data
        if self._len == 0:
            return b""
        data = PyBytes_FromStringAndSize(self._ptr, self._len)
        PyMem_Free(self._ptr)
        self._ptr = NULL
        self._len = self._size = 0
        return data
