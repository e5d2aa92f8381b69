"""One JavaScript heap; see heap.pyx."""

from cpython.object cimport PyObject

from mailfilter._core.duktape cimport arena, duk_host


cdef class Heap:
    cdef arena *region
    cdef duk_host host
    cdef object answer              # callable(name, *arguments) for host.now, or None
    cdef readonly bint running      # JavaScript is on the C stack right now

    cdef int _enter(self) except -1
    cdef object _leave(self, int status, PyObject *result)
    cpdef close(self)
