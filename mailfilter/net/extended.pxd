# The types of extended.py, which is compiled with them.

from mailfilter._core.event cimport Event
from mailfilter.net.restraint cimport Restrained
from mailfilter.net.rules cimport Rules
from mailfilter.policy.driver cimport Outcome

cimport cython


cdef class Extended(Restrained):
    @cython.locals(rules=Rules)
    cpdef _offer(self)
    cpdef _ask_extended(self, Event event)
    cpdef _start_tls(self)
    cpdef _become(self, Event event)
    cpdef _reply_each(self, Outcome outcome, list lines)
