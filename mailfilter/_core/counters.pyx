# cython: nonecheck=True
"""Counting in a row of numbers, which lie in memory of somebody else's (metrics.py) that processes may share.

A counter or gauge is one number. A histogram has one for each of its bounds (values up to it that are above the one before),
one for what is above them all, and the sum.

Must not know: what is counted, who shares the memory.
"""
from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef Py_buffer view                     # holds the memory
cdef double* numbers = NULL
cdef Py_ssize_t size = 0
cdef dict bounds_of = {}                # of histograms, by their slot


def count_in(cells, dict bounds not None):
    """Count in these from now on: a memoryview of doubles, of which this keeps hold. bounds: of each histogram, by its slot, a
    tuple of numbers in their order."""
    global view, numbers, size, bounds_of
    cdef Py_buffer fresh
    if cells.format != "d":
        raise ValueError("what is counted in are doubles")
    PyObject_GetBuffer(cells, &fresh, PyBUF_WRITABLE)
    if numbers != NULL:
        PyBuffer_Release(&view)
    view = fresh
    numbers = <double*> view.buf
    size = view.len // <Py_ssize_t> sizeof(double)
    bounds_of = bounds


cpdef int count(Py_ssize_t slot, double by=1) except -1:
    """Count something."""
    _check(slot, 1)
    numbers[slot] += by
    return 0


cpdef int put(Py_ssize_t slot, double value) except -1:
    """Set a gauge."""
    _check(slot, 1)
    numbers[slot] = value
    return 0


cpdef int observe(Py_ssize_t slot, double value) except -1:
    """Note a value of a histogram."""
    cdef tuple bounds = bounds_of[slot]
    cdef Py_ssize_t width = len(bounds), at = 0
    _check(slot, width + 2)
    while at < width and <double> bounds[at] < value:
        at += 1
    numbers[slot + at] += 1
    numbers[slot + width + 1] += value
    return 0


cdef inline int _check(Py_ssize_t slot, Py_ssize_t width) except -1:
    if slot < 0 or slot + width > size:
        raise IndexError("no such slot")
    return 0
