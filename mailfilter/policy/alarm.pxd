# The types of alarm.py, which is compiled with them.

cimport cython

cdef double _TICKS, _COARSE, _LOOKS


cdef class Wheel:
    cdef readonly object loop
    cdef dict _spokes
    cdef list _ticks
    cdef object _timer
    cdef long long _wakes
    cdef bint _turning

    @cython.locals(tick=cython.longlong)
    cpdef long long add(self, Alarm alarm, double when) except -1
    cpdef remove(self, Alarm alarm, long long tick)
    cdef _wind(self, long long tick)


cdef Wheel _last

cdef Wheel _wheel_of(loop)


cdef class Alarm:
    cdef object loop
    cdef object _ring
    cdef object _timer
    cdef Wheel _wheel
    cdef long long _tick
    cdef double _due
    cdef double _looks
    cdef object _time

    @cython.locals(now=double)
    cpdef set(self, double seconds)
    cpdef clear(self)
    cpdef close(self)
    @cython.locals(now=double)
    cpdef look(self)
    @cython.locals(seconds=double)
    cdef _start(self, double now)
    cdef _stop(self)
