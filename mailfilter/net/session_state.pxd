# The types of session_state.py, which is compiled with them.

from mailfilter._core.event cimport Event
from mailfilter._core.session cimport Session
from mailfilter.net.budget cimport Budget
from mailfilter.net.deadlines cimport Deadlines
from mailfilter.policy.alarm cimport Alarm
from mailfilter.policy.context cimport SessionContext
from mailfilter.policy.driver cimport Driver


cdef class SessionState:
    cdef public object worker
    cdef public str label
    cdef public object log
    cdef public object clock
    cdef public str session_id
    cdef public tuple remote
    cdef public object visit
    cdef public object rules
    cdef public object limits
    cdef public object timeouts
    cdef public object transport
    cdef public Session session
    cdef public SessionContext context
    cdef public Driver driver
    cdef public Deadlines deadlines
    cdef public Budget budget
    cdef public str ended_by
    cdef public object _done
    cdef public Event _asked
    cdef public object _held
    cdef public bytes _late_output
    cdef public object _spool
    cdef public Alarm _timer
    cdef public bint _slept
    cdef public bint _silent
    cdef public bint _reading
    cdef public bint _writable
    cdef public bint _yielding
    cdef public bint _draining
    cdef public bint _restrained
    cdef public bint _closing
    cdef public bint _lost
    cdef public bint _cleaned
    cdef public bytes _debug_line
    cdef public int messages
    cdef public int accepted
    cdef public int refused
    cdef public int faults
    cdef public bint implicit_tls
    cdef public object proxied
    cdef public dict tls
    cdef public bint handshaking
    cdef public object _challenged
    cdef public bytes _mechanism
    cdef public dict _xclient
    cdef public dict _forwarded
