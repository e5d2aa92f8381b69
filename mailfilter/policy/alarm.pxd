# The types of alarm.py, which is compiled with them.

cimport cython

cdef double _LOOKS_S


cdef class Alarm:
    cdef object loop
    cdef object _ring
    cdef object _timer
    cdef object _time
    cdef double _due
    cdef double _looks

    @cython.locals(now=double)
    cpdef set(self, double seconds)
    cpdef clear(self)
    cpdef close(self)
    @cython.locals(seconds=double)
    cdef _start(self, double now)
