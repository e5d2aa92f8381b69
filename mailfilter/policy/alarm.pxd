# The types of alarm.py, which is compiled with them.


cdef class Alarm:
    cdef object loop
    cdef object _ring
    cdef object _timer
    cdef double _due
    cdef double _looks

    cpdef set(self, double seconds)
    cpdef clear(self)
    cpdef close(self)
    cdef _start(self, double seconds)
