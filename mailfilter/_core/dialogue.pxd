# What a session is made of. The contract is in dialogue.pyx.

from mailfilter._core.address cimport Path
from mailfilter._core.buffer cimport LineBuffer, WriteBuffer
from mailfilter._core.event cimport Event
from mailfilter._core.extensions cimport Extensions
from mailfilter._core.fsm cimport ServerMachine
from mailfilter._core.limits cimport Limits
from mailfilter._core.reception cimport Reception
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span


cdef class Dialogue:
    cdef readonly ServerMachine machine
    cdef readonly Limits limits
    cdef readonly bytes hostname
    cdef readonly bytes hello
    cdef readonly bytes proto
    cdef readonly bint tls
    cdef readonly bytes authenticated
    cdef readonly Py_ssize_t errors
    cdef readonly Py_ssize_t chunks
    cdef LineBuffer _in
    cdef WriteBuffer _out
    cdef Extensions _extensions         # announced to this client
    cdef frozenset _offered             # what the shell can do
    cdef bint _auth_without_tls
    cdef bint _take_early
    cdef str _line_ends
    cdef int _asking                    # kind of the event that waits for its reply, or 0
    cdef Path _path                     # of the MAIL or RCPT that waits
    cdef object _size                   # declared by the MAIL that waits
    cdef int _flags                     # MAIL_... of the MAIL that waits
    cdef bytes _login                   # of the XCLIENT that waits
    cdef Reply _auth_over               # what the exchange of AUTH ends with, whatever is decided
    cdef bytes _hello_text              # of the HELO or EHLO that waits
    cdef bint _eof
    cdef bint _ended                    # EV_CLOSED was given
    cdef Reception _reception           # of messages; None before the first
    cdef bint _receiving                # from the 354 to EV_MESSAGE or EV_DISCARDED
    cdef bint _by_chunks                # the EV_DATA that waits came by BDAT
    cdef long long _chunk_bytes         # of the last BDAT; those still to be dropped while one is refused
    cdef bint _chunk_last
    cdef bytes _refused                 # the BDAT whose octets are being dropped
    cdef bytes _again                   # the command that is carried out at the next step
    cdef bint _lost                     # the client went away before the end of the message
    cdef Reply _deferred                # the refusal that goes out at the next step

    cpdef Py_ssize_t unread(self)
    cdef Event _unreadable(self, Reply reply, Span line)
    cdef bint _early(self) noexcept
    cdef Event _ask(self, int kind, bytes text)
    cdef Event _reject(self, Reply reply, Span line, bint error)
    cdef int _close(self) except -1
    cdef int _say(self, Reply reply) except -1
    cdef int _begin(self) except -1
    cdef Event _bdat(self, Span argument, Span line)
    cdef int _begin_chunks(self, Reply verdict) except -1
    cdef Event _swallow(self)
    cdef Event _give_up(self, Span line)
    cdef Event _receive(self)
    cdef Event _discarded(self, Reply reply)
