# The receiving of a message. The contract is in reception.pyx.

from mailfilter._core.buffer cimport LineBuffer
from mailfilter._core.chunk cimport ChunkReader
from mailfilter._core.data cimport DataReader, DataRun
from mailfilter._core.event cimport Event
from mailfilter._core.header cimport HeaderCollector
from mailfilter._core.reply cimport Reply


cdef class Reception:
    cdef str _line_ends
    cdef DataReader _reader
    cdef ChunkReader _chunks        # None before the first BDAT
    cdef HeaderCollector _header
    cdef Py_ssize_t _header_bytes
    cdef Py_ssize_t _header_fields
    cdef long long _size_limit
    cdef long long _chunk_bytes     # of the present chunk
    cdef bint _last                 # it is the last
    cdef bint _binary
    cdef Reply verdict              # the refusal of this message, decided by others before its end
    cdef bint chunked               # it comes by BDAT
    cdef bint finished              # the true end was read

    cdef int begin(self, long long size_limit) except -1
    cdef int begin_chunks(self, long long size_limit, bint binary) except -1
    cdef int chunk(self, long long size, bint last) except -1
    cdef bint chunk_over(self) noexcept
    cdef bytes read(self, LineBuffer source)
    cdef bytes _read_chunk(self, LineBuffer source)
    cdef Reply fault(self)
    cdef int tell(self, Event event) except -1
    cdef void drop(self) noexcept
    cdef long long octets(self) noexcept
    cdef bint _bare(self) noexcept
    cdef bytes _absorb(self, DataRun* run, bytes whole)
