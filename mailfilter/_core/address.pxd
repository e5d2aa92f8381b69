# Paths and ESMTP parameters of MAIL and RCPT. The contract is in address.pyx.

cdef enum:
    PATH_OK = 0
    PATH_NO_OPEN = 1
    PATH_NO_CLOSE = 2
    PATH_NULL = 3
    PATH_LOCAL = 4
    PATH_QUOTED = 5
    PATH_DOMAIN = 6
    PATH_LITERAL = 7
    PATH_ROUTE = 8
    PATH_LOCAL_LONG = 9
    PATH_DOMAIN_LONG = 10
    PATH_NON_ASCII = 11
    PATH_NO_DOMAIN = 12
    PARAM_KEYWORD = 13
    PARAM_VALUE = 14
    PARAM_BLANK = 15

# Where the parts of a path are, as offsets into the text it was found in; domain_at is -1 when there is none.
cdef struct PathParts:
    Py_ssize_t start        # of the "<"
    Py_ssize_t end          # behind the ">"
    Py_ssize_t route_at
    Py_ssize_t route_len    # without the colon
    Py_ssize_t local_at
    Py_ssize_t local_len
    Py_ssize_t domain_at
    Py_ssize_t domain_len
    Py_ssize_t offset       # of the first octet that is wrong


cdef class Path:
    cdef readonly bytes text
    cdef Py_ssize_t _route_at
    cdef Py_ssize_t _route_len
    cdef Py_ssize_t _local_at
    cdef Py_ssize_t _local_len
    cdef Py_ssize_t _domain_at
    cdef Py_ssize_t _domain_len
    cdef list _params

    cpdef list parts(self)
    cdef bytes _piece(self, Py_ssize_t at, Py_ssize_t length)


cdef int path_scan(const char* text, Py_ssize_t length, bint allow_null, bint utf8, PathParts* parts) noexcept nogil
cdef Path path_make(const char* text, PathParts* parts, list params)
cdef int params_scan(const char* text, Py_ssize_t length, bint utf8, list params, Py_ssize_t* offset) except -1
