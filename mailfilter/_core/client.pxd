# The next-hop side of a connection. The contract is in client.pyx.

from mailfilter._core.fsm cimport ClientMachine
from mailfilter._core.reply cimport Reply, ReplyParser


cdef class Client:
    cdef ReplyParser _parser
    cdef ClientMachine _machine
    cdef Py_ssize_t _line_bytes
    cdef bytearray _expected            # what each reply that is to come answers (ASKED_...)
    cdef Py_ssize_t _answered           # how many at the front of _expected have been
    cdef list _replies                  # parsed, not yet taken
    cdef Py_ssize_t _taken
    cdef bint _begun                    # begin_message was called
    cdef bint _reset_needed
    cdef bint _quitting
    cdef readonly str failed

    cdef Py_ssize_t _outstanding(self) noexcept
    cdef int _fail(self, str reason) except -1
    cdef int _parse(self) except -1
    cdef int _check(self) except -1
    cdef int _answer(self, Reply reply) except -1
