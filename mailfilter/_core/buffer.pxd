# Bytes in as chunks, out as lines (LineBuffer); bytes in as pieces, out as one (WriteBuffer).
# The contract is in buffer.pyx.

from mailfilter._core.span cimport Span


cpdef enum:
    ENDS_REJECT = 0     # a line ends with CR LF; a bare CR or LF is reported
    ENDS_NORMALISE = 1  # CR LF, CR and LF each end a line
    ENDS_LF = 2         # a line ends with LF; one CR before it belongs to the end (what next hops send)

cpdef enum:
    LINE_NONE = 0       # no whole line yet
    LINE_READY = 1
    LINE_LONG = 2       # longer than the limit; swallowed, the span holds its beginning
    LINE_BARE_LF = 3    # ENDS_REJECT: ended with a LF that has no CR before it
    LINE_BARE_CR = 4    # ENDS_REJECT: a CR in the middle


cdef class LineBuffer:
    cdef bytes _chunk
    cdef const char* _ptr
    cdef Py_ssize_t _pos
    cdef Py_ssize_t _end
    cdef list _queue
    cdef Py_ssize_t _queue_head
    cdef Py_ssize_t _queued
    cdef char* _carry
    cdef Py_ssize_t _carry_len
    cdef Py_ssize_t _carry_size
    cdef Py_ssize_t _line_len
    cdef Py_ssize_t _limit
    cdef int _ends
    cdef char _last
    cdef bint _skip_lf

    cpdef int feed(self, bytes data) except -1
    cdef int take_line(self, Span* line) except -1
    cdef const char* peek(self, Py_ssize_t* length) except? NULL
    cdef bytes whole_chunk(self)
    cdef void advance(self, Py_ssize_t count) noexcept
    cdef Py_ssize_t count(self) noexcept
    cdef int clear(self) except -1
    cdef void poison(self) noexcept
    cdef bint _next_chunk(self) except -1
    cdef int _keep(self, const char* ptr, Py_ssize_t length) except -1


cdef class WriteBuffer:
    cdef char* _ptr
    cdef Py_ssize_t _len
    cdef Py_ssize_t _size

    cdef char* reserve(self, Py_ssize_t count) except NULL
    cdef int write(self, const char* ptr, Py_ssize_t length) except -1
    cdef void truncate(self, Py_ssize_t length) noexcept
    cpdef bytes take(self)
