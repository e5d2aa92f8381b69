# The server side of a connection. The contract is in session.pyx.

from mailfilter._core.address cimport Path
from mailfilter._core.buffer cimport LineBuffer, WriteBuffer
from mailfilter._core.event cimport Event
from mailfilter._core.fsm cimport ServerMachine
from mailfilter._core.reception cimport Reception
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span


cdef class Limits:
    cdef readonly Py_ssize_t line_bytes
    cdef readonly Py_ssize_t recipients
    cdef readonly long long message_bytes
    cdef readonly Py_ssize_t header_bytes
    cdef readonly Py_ssize_t header_fields
    cdef readonly Py_ssize_t errors
    cdef readonly Py_ssize_t pending_bytes


cdef class Session:
    cdef readonly Limits limits
    cdef readonly bytes hostname
    cdef readonly bytes hello
    cdef readonly bytes proto
    cdef readonly set announced
    cdef readonly long long size_limit  # the largest message taken now: ours, or what the next hop announced
    cdef readonly Py_ssize_t errors
    cdef LineBuffer _in
    cdef WriteBuffer _out
    cdef ServerMachine _machine
    cdef str _line_ends
    cdef int _asking                    # kind of the event that waits for its reply, or 0
    cdef Path _path                     # of the MAIL or RCPT that waits
    cdef object _size                   # declared by the MAIL that waits
    cdef bytes _hello_text              # of the HELO or EHLO that waits
    cdef bint _eof
    cdef bint _ended                    # EV_CLOSED was given
    cdef Reception _reception           # of messages; None before the first
    cdef bint _receiving                # from the 354 to EV_MESSAGE or EV_DISCARDED
    cdef bint _lost                     # the client went away before the end of the message
    cdef Reply _deferred                # the refusal that goes out at the next step

    cpdef Event next_event(self)
    cdef Event _step(self)
    cdef int _check(self, Event event) except -1
    cdef Event _command(self, Span line)
    cdef Event _mail(self, Span argument, Span line)
    cdef Event _rcpt(self, Span argument, Span line)
    cdef Event _ask(self, int kind, bytes text)
    cdef Event _reject(self, Reply reply, Span line, bint error)
    cdef tuple _extensions(self, list lines)
    cdef int _close(self) except -1
    cdef int _say(self, Reply reply) except -1
    cdef int _accepted(self, int kind) except -1
    cdef Event _receive(self)
    cdef Event _discarded(self, Reply reply)
