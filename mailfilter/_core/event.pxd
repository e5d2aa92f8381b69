# What a session tells its caller. The contract is in event.pyx.

from mailfilter._core.address cimport Path
from mailfilter._core.reply cimport Reply


cpdef enum:
    EV_CONNECT = 1
    EV_HELO = 2
    EV_EHLO = 3
    EV_MAIL = 4
    EV_RCPT = 5
    EV_DATA = 6
    EV_RSET = 7
    EV_NOOP = 8
    EV_VRFY = 9
    EV_EXPN = 10
    EV_HELP = 11
    EV_QUIT = 12
    EV_BDAT = 13
    EV_AUTH = 14
    EV_STARTTLS = 15
    EV_XCLIENT = 16
    EV_XFORWARD = 17
    EV_UNKNOWN = 18
    EV_AUTH_LINE = 19
    EV_MESSAGE = 20
    EV_BODY = 21
    EV_DISCARDED = 22
    EV_REJECTED = 23
    EV_CLOSED = 24


cdef class Event:
    cdef readonly int kind
    cdef readonly bytes text
    cdef readonly Path path
    cdef readonly bytes chunk
    cdef readonly list fields
    cdef readonly list attributes
    cdef readonly bint separator
    cdef readonly bint wire
    cdef readonly bint binary
    cdef readonly long long body_bytes
    cdef readonly long long message_bytes
    cdef readonly Reply reply


cdef Event event_new(int kind, bytes text)
