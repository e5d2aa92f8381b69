# cython: nonecheck=True
"""Where the parts of a message begin and end (RFC 2046 §5.1, RFC 2045), found in one pass over a body that comes in chunks.

Lines are looked at where they lie; what is kept between chunks is the beginning of a line that has not ended, as long as a
delimiter may be. The work is linear in the size of the body, times the delimiters that are open at one time for a line that
begins with "--"; all else is memchr. What a part's header says is for `describe` to read: it is called once for each header,
so that numbers and sizes of headers bound it.

Lines end with LF, whether CR is before it or not. Places count from the beginning of the body, in the form that is fed. A
dot-stuffed body is fed as it is: a delimiter begins with "--", so that no dot can be before it.

Must not know: fields and their meaning, encodings, where the body comes from.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# What is not as it should be; bits of `problems`.
TOO_MANY_PARTS = 1      # what follows was not looked at
TOO_DEEP = 2            # the parts of what lies deeper were not looked for
HEADER_TOO_BIG = 4      # a header's rest was dropped
UNFINISHED = 8          # a multipart without its last delimiter

# Kinds of a part, as `describe` tells them.
cdef enum:
    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2

# RFC 2046 §5.1.1 allows 70 characters; what is longer than this is no delimiter. Behind it may be blanks, of which
# so many are looked at.
cdef enum:
    BOUNDARY_OCTETS = 256
    LINE_OCTETS = 768
    MOST_DEPTH = 64


@cython.final
cdef class MimeScanner:
    """feed() a body, then finish(); `parts` and `problems` tell what is in it.

    top, top_kind, top_boundary: what the message's own header says. describe(header, depth) is called with each further header
    (octets, as fed) and gives (anything, kind, boundary or None); kind is 0 (no parts inside), 1 (multipart) or 2 (a message).

    parts: [(anything, parent, delimiter, header_start, start, end), …] in the order in which they begin; the message itself is
    the first, its parent is -1. delimiter: where the line end before its delimiter is (header_start where it has none). start
    and end enclose the content: the line end before a delimiter belongs to the delimiter.
    """

    cdef readonly list parts
    cdef readonly int problems
    cdef object _describe
    cdef Py_ssize_t _most_parts
    cdef int _most_depth
    cdef Py_ssize_t _header_bytes
    cdef Py_ssize_t _headers_left
    # What is open, from the outside in: its place in `parts`, its kind, and its delimiter without dashes.
    cdef int _depth
    cdef Py_ssize_t _open[MOST_DEPTH]
    cdef int _kind[MOST_DEPTH]
    cdef list _boundaries
    cdef int _delimiters            # how many of them have one
    cdef Py_ssize_t _at             # the place of the line that begins now
    cdef Py_ssize_t _line_end       # octets of the line end before it, which is a delimiter's
    cdef char _carry[LINE_OCTETS]
    cdef Py_ssize_t _line_octets    # octets of it so far
    cdef bint _last_cr
    cdef bint _in_header
    cdef bint _dropping             # the header's rest is too big
    cdef bint _full
    cdef Py_ssize_t _delimiter_start
    cdef Py_ssize_t _header_start
    cdef list _header
    cdef Py_ssize_t _header_size

    def __init__(self, describe, top, int top_kind, top_boundary, Py_ssize_t most_parts=1000, int most_depth=30,
                 Py_ssize_t header_bytes=65536, Py_ssize_t headers_bytes=1048576):
        self._describe = describe
        self._most_parts = most_parts
        self._most_depth = min(most_depth, <int> MOST_DEPTH - 1)
        self._header_bytes = header_bytes
        self._headers_left = headers_bytes
        self.parts = []
        self.problems = 0
        self._depth = 0
        self._boundaries = []
        self._delimiters = 0
        self._at = 0
        self._line_end = 0
        self._line_octets = 0
        self._last_cr = False
        self._in_header = self._dropping = self._full = False
        self._delimiter_start = self._header_start = 0
        self._header = []
        self._header_size = 0
        self._begin(top, top_kind, top_boundary)

    def feed(self, bytes data):
        """The next octets of the body."""
        cdef const char* at = PyBytes_AS_STRING(data)
        cdef const char* end = at + PyBytes_GET_SIZE(data)
        cdef const char* newline
        cdef Py_ssize_t size
        if self._nothing_to_find():
            self._at += end - at
            return
        if self._line_octets:
            newline = <const char*> memchr(at, b'\n', end - at)
            size = (newline + 1 if newline != NULL else end) - at
            self._keep(at, size)
            if newline == NULL:
                return
            at += size
            self._carried_line(self._last_cr)
        while at < end:
            if self._nothing_to_find():
                self._at += end - at
                return
            newline = <const char*> memchr(at, b'\n', end - at)
            if newline == NULL:
                self._keep(at, end - at)
                return
            size = newline + 1 - at
            self._line(at, size, size > 1 and newline[-1] == b'\r')
            at += size

    def finish(self):
        """The body ends here."""
        if self._line_octets:
            self._carried_line(False)
        if self._in_header:
            self._header_ends()
            self._in_header = False     # a message without a single octet
        self._line_end = 0
        while self._depth:
            if self._kind[self._depth - 1] == MULTIPART and self._boundaries[self._depth - 1] is not None:
                self.problems |= UNFINISHED
            self._close(self._at)

    cdef bint _nothing_to_find(self) noexcept:
        return not self._in_header and (self._delimiters == 0 or self._full)

    cdef _keep(self, const char* at, Py_ssize_t size):
        """Remember the beginning of a line that has not ended."""
        cdef Py_ssize_t before = self._line_octets
        self._line_octets += size
        # For the CR before an LF: it may have come alone, in the chunk before.
        if at[size - 1] != b'\n':
            self._last_cr = at[size - 1] == b'\r'
        elif size > 1:
            self._last_cr = at[size - 2] == b'\r'
        if self._line_octets <= LINE_OCTETS:
            memcpy(self._carry + before, at, size)
        elif self._in_header:           # too long for a delimiter: whole lines are collected in _line
            if before <= LINE_OCTETS:
                self._collect(self._carry, before)
            self._collect(at, size)

    cdef _line(self, const char* line, Py_ssize_t octets, bint crlf):
        """A whole line; of one that was carried and is longer than the carry, `line` is nothing."""
        cdef bint last
        cdef int level
        if octets <= LINE_OCTETS and octets >= 3 and line[0] == b'-' and line[1] == b'-' and self._delimiters and not self._full:
            level = self._match(line, octets, &last)
            if level >= 0:
                self._delimiter(level, last, octets)
                return
        if self._in_header:
            if line != NULL:
                self._collect(line, octets)
            if (octets == 1 and line[0] == b'\n') or (octets == 2 and line[0] == b'\r' and line[1] == b'\n'):
                self._at += octets
                self._line_end = 0
                self._header_ends()
                return
        self._at += octets
        self._line_end = 2 if crlf else 1

    cdef _carried_line(self, bint crlf):
        self._line(self._carry if self._line_octets <= LINE_OCTETS else NULL, self._line_octets, crlf)
        self._line_octets = 0

    cdef int _match(self, const char* line, Py_ssize_t size, bint* last) except -2:
        """Which open delimiter this line is, the innermost first; -1 for none."""
        cdef int level
        cdef bytes boundary
        cdef Py_ssize_t length, at
        for level in range(self._depth - 1, -1, -1):
            boundary = <bytes> self._boundaries[level] if self._boundaries[level] is not None else None
            if boundary is None:
                continue
            length = PyBytes_GET_SIZE(boundary)
            if size < length + 2 or memcmp(line + 2, PyBytes_AS_STRING(boundary), length):
                continue
            at = length + 2
            last[0] = size >= at + 2 and line[at] == b'-' and line[at + 1] == b'-'
            if last[0]:
                at += 2
            while at < size and (line[at] == b' ' or line[at] == b'\t' or line[at] == b'\r' or line[at] == b'\n'):
                at += 1
            if at == size:
                return level
        return -1

    cdef _delimiter(self, int level, bint last, Py_ssize_t octets):
        cdef Py_ssize_t end = self._at - self._line_end
        if self._in_header:         # a part that is nothing but a header
            self._header_ends()
            self._in_header = False
            part = self.parts[-1]
            part[4] = part[5] = end
        while self._depth > level + 1:
            if self._kind[self._depth - 1] == MULTIPART and self._boundaries[self._depth - 1] is not None:
                self.problems |= UNFINISHED
            self._close(end)
        self._at += octets
        self._line_end = 0
        if last:
            # What follows, up to a delimiter of something further out, is nobody's; the multipart ends where its parent does.
            self._boundaries[level] = None
            self._delimiters -= 1
            return
        if len(self.parts) >= self._most_parts:
            self.problems |= TOO_MANY_PARTS
            self._full = True
            return
        self._begin_header(end)

    cdef _begin_header(self, Py_ssize_t delimiter):
        self._in_header = True
        self._dropping = False
        self._header = []
        self._header_size = 0
        self._delimiter_start = delimiter
        self._header_start = self._at

    cdef _collect(self, const char* at, Py_ssize_t size):
        """More of a header."""
        cdef Py_ssize_t room = min(self._header_bytes - self._header_size, self._headers_left)
        if self._dropping:
            return
        if size > room:
            self.problems |= HEADER_TOO_BIG
            self._dropping = True
            size = room
        if size > 0:
            self._header.append(PyBytes_FromStringAndSize(at, size))
            self._header_size += size
            self._headers_left -= size

    cdef _header_ends(self):
        cdef bytes header = b"".join(self._header)
        self._in_header = False
        self._header = []
        about, kind, boundary = self._describe(header, self._depth)
        self._begin(about, kind, boundary)

    cdef _begin(self, about, int kind, boundary):
        """A part whose content begins here."""
        cdef Py_ssize_t parent = self._open[self._depth - 1] if self._depth else -1
        self._open[self._depth] = len(self.parts)
        self.parts.append([about, parent, self._delimiter_start, self._header_start, self._at, self._at])
        if boundary is not None and not 0 < len(boundary) <= BOUNDARY_OCTETS:
            boundary = None
        if kind != LEAF and self._depth >= self._most_depth:
            self.problems |= TOO_DEEP
            kind = LEAF
            boundary = None
        if kind != MULTIPART:
            boundary = None
        self._kind[self._depth] = kind
        self._boundaries.append(boundary)
        self._depth += 1
        if boundary is not None:
            self._delimiters += 1
        if kind == MESSAGE:
            if len(self.parts) >= self._most_parts:
                self.problems |= TOO_MANY_PARTS
                self._full = True
            else:
                self._begin_header(self._at)

    cdef _close(self, Py_ssize_t end):
        """The innermost open part ends."""
        self._depth -= 1
        part = self.parts[self._open[self._depth]]
        part[5] = max(end, part[4])
        self.parts[self._open[self._depth]] = tuple(part)
        if self._boundaries.pop() is not None:
            self._delimiters -= 1
