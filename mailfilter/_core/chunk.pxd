# A message that comes in chunks (BDAT). The contract is in chunk.pyx.

from mailfilter._core.buffer cimport WriteBuffer
from mailfilter._core.data cimport DataRun


cdef class ChunkReader:
    cdef bint _normalise
    cdef bint _after_cr
    cdef int _line
    cdef WriteBuffer _converted
    cdef readonly bint bare_cr
    cdef readonly bint bare_lf
    cdef readonly bint nul_dot
    cdef readonly long long octets
    cdef long long left
    cdef bint raw
    cdef bint strict

    cdef void restart(self) noexcept
    cdef Py_ssize_t scan(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1
    cdef int finish(self, DataRun* run) except -1
    cdef void _line_over(self) noexcept
    cdef void _look_for_nul_dot(self, const char* ptr, Py_ssize_t length) noexcept
    cdef int _check(self, const char* ptr, Py_ssize_t length) noexcept
    cdef int _convert(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1
