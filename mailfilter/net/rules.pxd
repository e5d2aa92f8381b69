# The types of rules.py, which is compiled with them.


cdef class Rules:
    cdef readonly object limits
    cdef readonly object timeouts
    cdef readonly object core_limits
    cdef readonly list extensions
    cdef readonly str hostname
    cdef readonly tuple offers
    cdef readonly list in_clear
    cdef readonly list in_tls
    cdef readonly object trusted
