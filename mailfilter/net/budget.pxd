# The types of budget.py, which is compiled with them.


cdef class Budget:
    cdef public long long commands
    cdef public long long foreign
    cdef public long long octets
    cdef public long long pipelined
    cdef public long long recipients
    cdef public long long transactions
