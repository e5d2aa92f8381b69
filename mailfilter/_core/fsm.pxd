# The states of both sides. The contract is in fsm.pyx.

from mailfilter._core.address cimport Path


cpdef enum:
    ST_CONNECT = 0      # connected, not greeted
    ST_REFUSED = 1      # greeted with 5xx: QUIT is all that is left
    ST_GREETED = 2      # no HELO or EHLO yet
    ST_READY = 3
    ST_MAIL = 4         # a transaction without a recipient
    ST_RCPT = 5         # a transaction with one at least
    ST_CHUNKS = 6       # a part of the message has come by BDAT, and another is to come
    ST_DATA = 7         # the message is being received or is waiting for its reply
    ST_AUTH = 8         # a challenge was sent, the client's line is to come
    ST_TLS = 9          # STARTTLS was accepted, TLS is not there yet
    ST_CLOSED = 10
    ST_COUNT = 11

# What moves the server side: a command that was accepted (the numbers of command.pxd), and these.
cpdef enum:
    IN_GREETING = 17    # greeted with 2xx
    IN_REFUSAL = 18     # greeted with 5xx
    IN_CHUNK = 19       # the octets of a chunk that is not the last have come
    IN_MESSAGE = 20     # the reply to the message was given, whichever it is, or it was given up
    IN_CHALLENGE = 21   # AUTH, or a line of its exchange, was answered 334
    IN_AUTH_OVER = 22   # the exchange has ended without success
    IN_TLS = 23         # TLS is there
    IN_CLOSE = 24
    IN_COUNT = 25

cpdef enum:
    NH_GREETING = 0     # waiting for the greeting
    NH_READY = 1
    NH_MAIL = 2
    NH_RCPT = 3
    NH_DATA = 4         # DATA was sent, its reply has not come
    NH_SENDING = 5      # 354 has come, the message is being sent
    NH_CHUNKS = 6       # a part of the message was sent by BDAT, and another is to come
    NH_FINAL = 7        # the end of the message was sent, the reply (or the last of several) has not come
    NH_AUTH = 8         # AUTH or a line of its exchange was sent, the reply has not come
    NH_CHALLENGE = 9    # 334 has come, a line is to be sent
    NH_STARTTLS = 10    # STARTTLS was sent, its reply has not come
    NH_TLS = 11         # the next hop waits for TLS
    NH_XCLIENT = 12     # XCLIENT was sent, its reply has not come
    NH_CLOSED = 13
    NH_COUNT = 14

cpdef enum:
    NI_GREETED = 0      # the greeting has come, whichever code
    NI_HELLO = 1        # HELO, EHLO, LHLO or RSET was accepted
    NI_MAIL = 2
    NI_RCPT = 3
    NI_DATA = 4         # DATA was sent
    NI_GO = 5           # 354
    NI_NO_GO = 6        # DATA was refused
    NI_CHUNK = 7        # a chunk that is not the last was sent
    NI_REFUSED = 8      # a chunk was refused
    NI_END = 9          # the final dot or the last chunk was sent
    NI_DONE = 10        # the reply to the message has come, whichever code
    NI_AUTH = 11        # AUTH was sent, or the line that a challenge asks for
    NI_CHALLENGE = 12   # 334 to AUTH
    NI_STARTTLS = 13    # STARTTLS was sent
    NI_SECURE = 14      # STARTTLS was accepted
    NI_XCLIENT = 15     # XCLIENT was sent
    NI_ANSWERED = 16    # the reply to one of these three has come, and the dialogue goes on; or TLS is there
    NI_CLOSE = 17
    NI_COUNT = 18


cdef class Transaction:
    cdef readonly Path sender
    cdef readonly list recipients
    cdef readonly object size
    cdef int flags


cdef class ServerMachine:
    cdef readonly int state
    cdef readonly Transaction transaction

    cdef bint allows(self, int what) noexcept
    cdef int step(self, int what) except -1
    cdef int open(self, Path sender, object size, int flags) except -1


cdef class ClientMachine:
    cdef readonly int state
    cdef int _before_data

    cdef bint allows(self, int what) noexcept
    cdef int step(self, int what) noexcept
