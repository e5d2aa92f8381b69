"""Counting by key in memory that processes share. See tally.pyx."""
from libc.stdint cimport uint32_t, uint64_t

cdef class Tally:
    cdef readonly int parts             # how many writers there is room for
    cdef readonly int part              # the one that this object writes
    cdef uint64_t _k0
    cdef uint64_t _k1
    cdef object _memory                 # keeps the buffer alive
    cdef unsigned char* _base

    cdef uint64_t* _labels(self, int part) noexcept
    cdef uint32_t* _cells(self, int part, int half) noexcept
    cdef uint64_t _sum(self, uint64_t key, int half, uint64_t label) noexcept
    cdef uint32_t* _current(self, uint64_t period) noexcept
