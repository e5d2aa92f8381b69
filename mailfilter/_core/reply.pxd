# Replies: the value, the one formatter, the parser of a next hop's replies. The contract is in reply.pyx.

from mailfilter._core.buffer cimport LineBuffer, WriteBuffer
from mailfilter._core.span cimport Span


cdef class Reply:
    cdef readonly int code
    cdef readonly list lines
    cdef readonly bytes enhanced


cdef class ReplyParser:
    cdef LineBuffer _lines
    cdef list _texts
    cdef Py_ssize_t _most_lines
    cdef int _code
    cdef readonly str error

    cpdef int feed(self, bytes data) except -1
    cpdef Reply next(self)
    cdef Py_ssize_t count(self) except -1
    cdef int _fail(self, str what, Span line) except -1


cdef int reply_write(WriteBuffer out, int code, object lines, bytes enhanced) except -1


cdef dict reply_extensions(Reply reply)
