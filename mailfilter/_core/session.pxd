# The server side of a connection. The contract is in session.pyx.

from mailfilter._core.dialogue cimport Dialogue
from mailfilter._core.event cimport Event
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span


cdef class Session(Dialogue):
    cpdef feed(self, bytes data)
    cpdef eof(self)
    cpdef bytes take_output(self)
    cpdef Event next_event(self)
    cpdef reply(self, int code, lines, bint close=*, bytes identity=*)
    cpdef reply_default(self)
    cpdef refuse(self, int code, lines)
    cdef Event _step(self)
    cdef int _check(self, Event event) except -1
    cdef Event _command(self, Span line)
    cdef Event _mail(self, Span argument, Span line)
    cdef Event _rcpt(self, Span argument, Span line)
    cdef Event _attributes(self, int verb, Span argument, Span line)
    cdef Event _auth(self, Span argument, Span line)
    cdef Event _auth_line(self, Span line, Reply fault)
    cdef int _authenticate(self, int code, bytes identity) except -1
    cdef int _set_line_limit(self) except -1
    cdef int _forget(self) except -1
    cdef int _accepted(self, int kind) except -1
