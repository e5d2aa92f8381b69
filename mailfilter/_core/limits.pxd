# What one session may take. The contract is in limits.pyx.


cdef class Limits:
    cdef readonly Py_ssize_t line_bytes
    cdef readonly Py_ssize_t auth_line_bytes
    cdef readonly Py_ssize_t recipients
    cdef readonly long long message_bytes
    cdef readonly Py_ssize_t header_bytes
    cdef readonly Py_ssize_t header_fields
    cdef readonly Py_ssize_t errors
    cdef readonly Py_ssize_t pending_bytes
