# Counting in shared memory. The contract is in counters.pyx.

cpdef int count(Py_ssize_t slot, double by=*) except -1
cpdef int put(Py_ssize_t slot, double value) except -1
cpdef int observe(Py_ssize_t slot, double value) except -1
