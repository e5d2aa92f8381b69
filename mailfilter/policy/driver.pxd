# The types of driver.py, which is compiled with them.

cimport cython

from mailfilter._core.heap cimport Heap
from mailfilter.policy.alarm cimport Alarm
from mailfilter.policy.context cimport SessionContext
from mailfilter.policy.operation cimport Operation, Waiting


cdef class Outcome:
    cdef readonly int code
    cdef readonly object lines
    cdef readonly bint disconnect
    cdef readonly object fault
    cdef readonly bint dead


cdef int _OPEN, _START, _RESUME, _FAIL, _ABANDON, _FAULT, _TELL

cdef dict _AT_ONCE, _WAITED_FOR

cdef bint _is_ours(result) except -1


cdef class Driver:
    cdef readonly object policy
    cdef readonly SessionContext context
    cdef readonly tuple remote
    cdef readonly str handler
    cdef dict _told
    cdef Heap _heap
    cdef Waiting _waiting
    cdef object _done
    cdef Alarm _alarm
    cdef bint _waited
    cdef double _seconds

    cpdef run(self, handler, arguments, double seconds, done)
    @cython.locals(begun=double)
    cdef _go_on(self, result)
    @cython.locals(context=SessionContext)
    cdef _excess(self)
    @cython.locals(operation=Operation, waiting=Waiting)
    cdef _start(self, name, arguments)
    cdef _resume(self, value, failure)
    cdef _report(self, outcome)
    cdef _end(self)
    cdef _finished(self, list result)
    cdef _cannot_go_on(self, error)
    cdef _faulted(self, error)
    cdef _explained(self, error, thrown_at)
    cdef _abandon(self)
    cpdef give_up(self)
    cpdef close(self)
