# The receiving of a message. The contract is in reception.pyx.

from mailfilter._core.buffer cimport LineBuffer
from mailfilter._core.data cimport DataReader, DataRun
from mailfilter._core.event cimport Event
from mailfilter._core.header cimport HeaderCollector
from mailfilter._core.reply cimport Reply


cdef class Reception:
    cdef DataReader _reader
    cdef HeaderCollector _header
    cdef Py_ssize_t _header_bytes
    cdef Py_ssize_t _header_fields
    cdef Reply verdict              # the refusal of this message, decided by others before its end
    cdef bint finished              # the true end was read

    cdef int begin(self, long long size_limit) except -1
    cdef bytes read(self, LineBuffer source)
    cdef Reply fault(self)
    cdef int tell(self, Event event) except -1
    cdef void drop(self) noexcept
    cdef long long octets(self) noexcept
    cdef bytes _absorb(self, DataRun* run, bytes whole)
