# The next-hop side of a connection. The contract is in client.pyx.

from mailfilter._core.fsm cimport ClientMachine
from mailfilter._core.reply cimport Reply, ReplyParser


# What a reply answers, and flags: DISCARD when nobody wants to see it any more.
cdef enum:
    ASKED_GREETING = 0
    ASKED_EHLO = 1          # or LHLO
    ASKED_MAIL = 2
    ASKED_RCPT = 3
    ASKED_DATA = 4
    ASKED_RSET = 5
    ASKED_QUIT = 6
    ASKED_OTHER = 7
    ASKED_FINAL = 8
    ASKED_AUTO_RSET = 9     # the RSET that we sent ourselves
    ASKED_HELO = 10
    ASKED_CHUNK = 11        # a chunk that is not the last
    ASKED_RECIPIENT = 12    # one of several replies to a message, and not the last
    ASKED_AUTH = 13
    ASKED_STARTTLS = 14
    ASKED_XCLIENT = 15
    NEEDED = 32             # this RSET answers to resync()
    DISCARD = 64


cdef class Client:
    cdef readonly ClientMachine machine
    cdef ReplyParser _parser
    cdef Py_ssize_t _line_bytes
    cdef bytearray _expected            # what each reply that is to come answers (ASKED_...)
    cdef Py_ssize_t _answered           # how many at the front of _expected have been
    cdef list _held                     # commands that wait for a reply; those of the last entries of _expected
    cdef list _output                   # commands that may be written
    cdef list _replies                  # parsed, not yet taken
    cdef Py_ssize_t _taken
    cdef bint _begun                    # begin_message was called
    cdef bint _chunked                  # the message goes out by BDAT
    cdef bint _prdr                     # MAIL has asked for a reply for each recipient
    cdef bint _reset_needed
    cdef bint _quitting
    cdef bint _impersonating            # XCLIENT or XFORWARD was sent
    cdef readonly bint lmtp
    cdef readonly bint authenticated
    cdef readonly Py_ssize_t recipients
    cdef readonly dict extensions
    cdef readonly str failed

    cpdef bytes command(self, bytes verb, bytes args=*)
    cpdef begin_message(self)
    cpdef bytes end_message(self)
    cpdef feed(self, bytes data)
    cpdef bytes take_output(self)
    cpdef eof(self)
    cpdef Reply next_reply(self)
    cpdef Py_ssize_t awaited(self) except -1
    cdef int _need_quiet(self) except -1
    cdef int _need_nothing_half(self) except -1
    cdef int _need_offer(self, bytes keyword) except -1
    cdef int _need_alone(self, bytes name) except -1
    cdef bint _may_chunk(self) except -1
    cdef int _send(self, bytes line, int asked) except -1
    cdef bint _may_follow(self) except -1
    cdef int _expect_end(self) except -1
    cdef int _forget(self) except -1
    cdef int _discard(self) except -1
    cdef int _fail(self, str reason) except -1
    cdef int _parse(self) except -1
    cdef int _check(self) except -1
    cdef int _answer(self, Reply reply) except -1
    cdef int _answer_command(self, Reply reply, int asked) except -1
    cdef int _reset(self) except -1
    cdef int _answer_message(self, Reply reply, int asked) except -1
    cdef int _refused(self) except -1
    cdef int _answer_exchange(self, Reply reply, int asked) except -1
