# The types of deadlines.py, which is compiled with them.


cdef class Deadlines:
    cdef public double begun
    cdef public double message
    cdef public long long message_at
    cdef public double progress
    cdef public double transaction

    cpdef begin_message(self, double now, long long received)
