# The message as bytes on the wire: end of data, dots, line ends. The contract is in data.pyx.

from mailfilter._core.buffer cimport WriteBuffer
from mailfilter._core.span cimport Span


# What one call of DataReader.scan found, to be used before the next call: `held` octets of ".\r" that were held
# back by an earlier call and turned out to be text, then `run`.
cdef struct DataRun:
    int held
    Span run
    bint done


cdef class DataReader:
    cdef int _state
    cdef bint _normalise
    cdef WriteBuffer _converted
    cdef readonly bint done
    cdef readonly bint bare_cr
    cdef readonly bint bare_lf
    cdef readonly bint nul_dot
    cdef readonly long long octets
    cdef readonly long long message_bytes

    cdef void restart(self, long long message_bytes) noexcept
    cdef bint oversized(self) noexcept
    cdef Py_ssize_t scan(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1
    cdef Py_ssize_t _scan_strict(self, const char* ptr, Py_ssize_t length, DataRun* run) noexcept
    cdef int _after_nul(self, int state, char c) noexcept
    cdef Py_ssize_t _convert(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1


cdef int line_ends_code(str line_ends) except -1
cdef bytes run_bytes(DataRun* run, bytes whole)


cdef class Stuffer:
    cdef bint _line_start

    cpdef bytes feed(self, bytes chunk)


cdef class Unstuffer:
    cdef bint _line_start
    cpdef bytes feed(self, bytes chunk)
