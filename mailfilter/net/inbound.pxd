# The types of inbound.py, which is compiled with them.

from mailfilter._core.event cimport Event
from mailfilter.net.extended cimport Extended
from mailfilter.policy.driver cimport Outcome

cdef int _CONNECT, _HELO, _EHLO, _MAIL, _RCPT, _DATA, _RSET, _UNKNOWN, _STARTTLS, _XCLIENT
cdef int _MESSAGE, _BODY, _DISCARDED, _REJECTED, _CLOSED, _AUTH, _AUTH_LINE
cdef int _IN_CONNECT, _IN_CHUNKS, _IN_DATA, _IN_TLS
cdef int _INFO, _DEBUG
cdef dict _MESSAGES, _REFUSED


cdef class Inbound(Extended):
    cdef _begin(self)
    cpdef _make_policy(self)
    cpdef _advance(self)
    cdef _broken(self, error)
    cdef _work(self)
    cdef _ask(self, Event event)
    cdef _ask_message(self, Event event)
    cpdef _run(self, Event event, handler, arguments, seconds)
    cdef _apply(self, Outcome outcome)
    cpdef _sorry(self)
    cdef _end_message(self, Outcome outcome)
    cdef _give_up(self)
    cdef _new_spool(self, Event event)
    cdef _take_body(self, Event event)
    cdef _drop_spool(self)
    cpdef _flush(self)
    cpdef _write(self, output)
    cdef _pause(self)
    cdef _close(self)
    cdef _clean_up(self)
    cdef _finish(self)
