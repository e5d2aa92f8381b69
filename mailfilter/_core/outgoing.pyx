# cython: nonecheck=True
"""Lines on their way to a next hop: whether they are what they must be before anything is written.

Must not know: states, replies, which command is possible.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")


cdef bint is_one_line(bytes line) noexcept:
    """Whether this is one line of text that begins with a verb: no CR, LF or NUL, and something but blanks."""
    cdef const char* ptr = PyBytes_AS_STRING(line)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line)
    if (memchr(ptr, b'\r', length) != NULL or memchr(ptr, b'\n', length) != NULL
            or memchr(ptr, b'\0', length) != NULL):
        return False
    return length > 0 and ptr[0] != b' ' and ptr[0] != b'\t'


cdef bint is_base64(bytes line) noexcept:
    """Whether this is base64, or empty, or the "=" that stands for an empty initial response."""
    cdef const char* ptr = PyBytes_AS_STRING(line)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line), i
    for i in range(length):
        if not (b'a' <= ptr[i] <= b'z' or b'A' <= ptr[i] <= b'Z' or b'0' <= ptr[i] <= b'9' or ptr[i] == b'+'
                or ptr[i] == b'/' or ptr[i] == b'=' and i >= length - 2):
            return False
    return True


cdef bytes tightened(bytes line):
    """MAIL FROM: and RCPT TO: without the blanks around the colon; anything else as it is."""
    cdef const char* ptr = PyBytes_AS_STRING(line)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line)
    cdef const char* at = <const char*> memchr(ptr, b':', length)
    # Most have none: one look at either side of the colon saves taking the line apart.
    if at == NULL or at == ptr or at + 1 == ptr + length or (
            at[1] != b' ' and at[1] != b'\t' and at[-1] != b' ' and at[-1] != b'\t'):
        return line
    head, colon, rest = line.partition(b":")
    if colon and head.upper().split() in ([b"MAIL", b"FROM"], [b"RCPT", b"TO"]):
        return head.rstrip(b" \t") + b":" + rest.lstrip(b" \t")
    return line
