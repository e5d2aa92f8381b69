# cython: nonecheck=True
"""Lines on their way to a next hop: whether they are what they must be before anything is written.

Must not know: states, replies, which command is possible.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")


cdef bytes command_line(bytes verb, bytes args):
    """The verb, and behind a blank the arguments unless they are None, as a line with its CR LF. None where that would not
    be one line of text that begins with a verb: there is CR, LF or NUL in it, or white space or nothing at its beginning."""
    cdef Py_ssize_t first, length
    cdef bytes line
    cdef char* to
    if verb is None:
        raise TypeError("a command is bytes")
    first = PyBytes_GET_SIZE(verb)
    if first == 0 or PyBytes_AS_STRING(verb)[0] in b" \t\v\f" or _breaks(verb) or args is not None and _breaks(args):
        return None
    # In one piece: joining them one after the other makes as many texts.
    length = first + 2 if args is None else first + 1 + PyBytes_GET_SIZE(args) + 2
    line = PyBytes_FromStringAndSize(NULL, length)
    to = PyBytes_AS_STRING(line)
    memcpy(to, PyBytes_AS_STRING(verb), first)
    if args is not None:
        to[first] = b' '
        memcpy(to + first + 1, PyBytes_AS_STRING(args), PyBytes_GET_SIZE(args))
    to[length - 2] = b'\r'
    to[length - 1] = b'\n'
    return line


cdef bint _breaks(bytes text) noexcept:
    """Whether this is not the text of one line: there is CR, LF or NUL in it."""
    cdef const char* ptr = PyBytes_AS_STRING(text)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(text)
    return (memchr(ptr, b'\r', length) != NULL or memchr(ptr, b'\n', length) != NULL
            or memchr(ptr, b'\0', length) != NULL)


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
