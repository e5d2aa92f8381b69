# The types of budget.py, which is compiled with them.


cdef class Budget:
    cdef public long long commands
    cdef public long long foreign
    cdef public long long octets
    cdef public long long pipelined
    cdef public long long recipients
    cdef public long long transactions
    cdef public long long most_commands
    cdef public long long most_octets
    cdef public long long most_recipients
    cdef public long long most_transactions

    cpdef go_by(self, limits)
