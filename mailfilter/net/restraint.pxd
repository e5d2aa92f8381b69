# The types of restraint.py, which is compiled with them.

from mailfilter._core.event cimport Event
from mailfilter.net.session_state cimport SessionState

cdef int _IN_DATA


cdef class Restrained(SessionState):
    cpdef bint _may_say(self, bytes data) except -1
    cpdef _progressed(self)
    cpdef _look_again(self, seconds)
    cpdef _goes_ahead(self)
    cpdef bint _too_many_chunks(self) except -1
    cpdef bint _hurries(self, Event event) except -1
    cpdef _note_end(self, name, facts=*)
    cpdef bint _restrain(self) except -1
    cdef _end(self)
    cpdef _talks_early(self)
    cpdef bint _yield(self) except -1
    cdef bint _hold(self) except -1
    cpdef _let_go(self)
