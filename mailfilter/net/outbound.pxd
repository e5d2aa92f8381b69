# The types of outbound.py, which is compiled with them.

from mailfilter._core.client cimport Client
from mailfilter.policy.alarm cimport Alarm

cdef dict _HARMLESS, _LATE


cdef class NextHop:
    cdef readonly object loop
    cdef readonly str host
    cdef readonly object port
    cdef public object timeouts
    cdef readonly object source
    cdef readonly bytes preface
    cdef public bint touched
    cdef public bint beyond_recall
    cdef readonly object tls
    cdef public object hello
    cdef public bint _private
    cdef public object on_idle_end
    cdef object _log
    cdef str _session_id
    cdef bint _debug
    cdef readonly Client _client
    cdef object _transport
    cdef object _task
    cdef object _opened
    cdef object _receiver
    cdef object _sender
    cdef object _chunks
    cdef bytes _ahead
    cdef bint _by_chunks
    cdef bint _writable
    cdef object _upgraded
    cdef Alarm _alarm
    cdef str _late
    cdef double _late_s
    cdef list _patience
    cdef str _why_closed

    cpdef adopt(self, timeouts, log, session_id, debug)
    cpdef close(self)
    cdef _tell_opened(self, error)
    cpdef spoil(self, why)
    cdef _shut(self, why)
    cpdef command(self, verb, arguments)
    cdef _note(self, verb, arguments)
    cpdef receive(self, done)
    cpdef stop_receiving(self)
    cpdef resync(self)
    cdef _take(self)
    cdef _deliver(self)
    cdef _fail_protocol(self)
    cpdef begin_message(self)
    cpdef send_message(self, chunks, done)
    cdef bint _pump(self) except -1
    cdef bint _pump_chunks(self) except -1
    cdef _go_on(self)
    cdef _need_open(self)
    cdef _write(self, data, shown=*)
    cdef _report(self, error)
    cdef _start_timer(self, name)
    cdef _stop_timer(self)
    cdef _end_timer(self)
    cdef _not_opened(self, seconds)
