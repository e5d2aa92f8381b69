"""One JavaScript heap, and images to copy heaps from; see heap.pyx."""

from cpython.object cimport PyObject

from mailfilter._core.duktape cimport arena, duk_host, image, remains


cdef class Image:
    cdef image im
    cdef const unsigned char[::1] memory    # what a borrowed image lies in
    cdef bint counted

    cdef int _count(self) noexcept


cdef class Heap:
    cdef arena *region
    cdef duk_host host
    cdef object answer              # callable(name, *arguments) for host.now, or None
    cdef list headers               # what host.arrived points to
    cdef object interruption        # what ended an answer beyond an error, until JavaScript has been left; or None
    cdef Image origin               # what it was copied from, or None
    cdef remains kept               # of a sleeping heap
    cdef unsigned slice_ms          # CPU that one entry into JavaScript may burn
    cdef unsigned long long spent_ns    # inside JavaScript: the time of day, but no more than the watchdog allows for
    cdef bint fixed                 # the region is one of an image's builds
    cdef readonly bint running      # JavaScript is on the C stack right now
    cdef readonly bint asleep

    cdef int _enter(self) except -1
    cdef int _spend(self, unsigned long long took_ns) noexcept
    cdef object _leave(self, int status, PyObject *result, unsigned budget_ms)
    cpdef object enter(self, int entry, tuple arguments)
    cpdef close(self)
    cpdef wake(self)
    cpdef arrived(self, list headers)
