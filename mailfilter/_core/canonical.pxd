# Bodies as DKIM hashes them. The contract is in canonical.pyx.

cimport cython


@cython.final
cdef class BodyCanonicalizer:
    cdef bint _relaxed
    cdef bint _any
    cdef bint _text
    cdef bint _blank
    cdef bint _cr
    cdef Py_ssize_t _empty_lines
    cpdef bytes feed(self, bytes chunk)
    cpdef bytes finish(self)
    cdef char* _put(self, char* at, char c) noexcept
    cdef char* _line_end(self, char* at) noexcept
