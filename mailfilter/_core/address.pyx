# cython: nonecheck=True
"""Paths (RFC 5321 §4.1.2) and the ESMTP parameters that follow them.

The grammar is followed to the letter, with quoted local parts, address literals, source routes and `<postmaster>`,
and is wider in two places where real mail is: dots may stand anywhere in a local part (mobile carriers gave
out addresses like `a..b@` for years), and a domain may hold underscores. Nothing else is guessed: what does not
parse is refused, and never becomes an empty path.

Limits: local part 256 octets, domain 255 octets, a label 63. RFC 5321 §4.5.3.1.1 says 64 for a local part as the
least that must be taken; longer ones (VERP, signed bounce addresses) are in use.

The parts keep the spelling of the wire: a quoted local part keeps its quotes, because `"a b"` without them
would be another address to whoever reads it next.

Must not know: which command the path came from, or whether the address exists.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcpy

from mailfilter._core.chars cimport (
    CHAR_ATEXT, CHAR_DCONTENT, CHAR_KEYWORD, CHAR_LET_DIG, CHAR_QTEXT, CHAR_VALUE, char_is, char_lower, char_upper)

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "arpa/inet.h" nogil:
    const int AF_INET6
    int inet_pton(int family, const char* text, void* to)

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef enum:
    LOCAL_BYTES = 256
    DOMAIN_BYTES = 255
    LABEL_BYTES = 63

_REASONS = {
    PATH_NO_OPEN: "no '<'",
    PATH_NO_CLOSE: "no '>' where the path should end",
    PATH_NULL: "the null path is not allowed here",
    PATH_LOCAL: "bad local part",
    PATH_QUOTED: "bad quoted local part",
    PATH_DOMAIN: "bad domain",
    PATH_LITERAL: "bad address literal",
    PATH_ROUTE: "bad source route",
    PATH_LOCAL_LONG: "local part too long",
    PATH_DOMAIN_LONG: "domain too long",
    PATH_NON_ASCII: "octet outside ASCII",
    PATH_NO_DOMAIN: "no domain",
    PARAM_KEYWORD: "bad parameter name",
    PARAM_VALUE: "bad parameter value",
    PARAM_BLANK: "no blank before a parameter",
}


class PathError(ValueError):
    """A text is no path (or no list of parameters).

    reason: a few words, for people; offset: where in the text the first wrong octet is.
    """

    def __init__(self, reason, offset):
        super().__init__(f"{reason} at octet {offset}")
        self.reason = reason
        self.offset = offset


@cython.final
cdef class Path:
    """A reverse-path or forward-path, as parse_path found it.

    text: the path as it was written, `<` to `>`, without parameters.
    """

    def __init__(self):
        raise TypeError("paths are made by parse_path")

    @property
    def is_null(self):
        """Whether this is `<>`, the reverse-path of bounces (RFC 5321 §4.5.5)."""
        return self._local_len == 0

    @property
    def local(self):
        """The local part in its wire spelling, quotes included; None for `<>`."""
        return None if self._local_len == 0 else self._piece(self._local_at, self._local_len)

    @property
    def domain(self):
        """The domain or address literal; None for `<>` and `<postmaster>`."""
        return None if self._domain_at < 0 else self._piece(self._domain_at, self._domain_len)

    @property
    def route(self):
        """The hosts of the source route without their @, or an empty list (a new list each time)."""
        if self._route_len == 0:
            return []
        return [host[1:] for host in self._piece(self._route_at, self._route_len).split(b",")]

    cpdef list parts(self):
        """[local, domain, route, [name, value, name, value, ...]]: all of it, for JavaScript."""
        cdef list flat = []
        if self._params is not None:
            for name, value in self._params:
                flat.append(name)
                flat.append(value)
        return [None if self._local_len == 0 else self._piece(self._local_at, self._local_len),
                None if self._domain_at < 0 else self._piece(self._domain_at, self._domain_len),
                [] if self._route_len == 0 else self.route, flat]

    cdef bytes _piece(self, Py_ssize_t at, Py_ssize_t length):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.text) + at, length)

    @property
    def params(self):
        """The ESMTP parameters in their order, (name in upper case, value or None) each (a new list each time)."""
        return [] if self._params is None else list(self._params)

    def __repr__(self):
        return f"Path({self.text!r})"

    def __eq__(self, other):
        if not isinstance(other, Path):
            return NotImplemented
        return self.text == (<Path> other).text and self.params == (<Path> other).params

    def __hash__(self):
        return hash(self.text)


def parse_path(bytes text not None, *, bint allow_null, bint utf8=False):
    """(Path, rest of the text behind the `>`), or PathError.

    Blanks in front of the `<` are skipped. allow_null: whether `<>` is a path here. utf8: whether octets outside
    ASCII may stand in it, which then must be valid UTF-8 (RFC 6531 §3.3). `<postmaster>` is a path without a
    domain, whatever the case of its letters; no other name is.
    """
    cdef PathParts parts
    cdef int problem = path_scan(PyBytes_AS_STRING(text), len(text), allow_null, utf8, &parts)
    if problem != PATH_OK:
        raise PathError(_REASONS[problem], parts.offset)
    if utf8:
        try:
            text[parts.start:parts.end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise PathError("not valid UTF-8", parts.start + error.start) from None
    return path_make(PyBytes_AS_STRING(text), &parts, None), text[parts.end:]


def parse_params(bytes text not None):
    """The ESMTP parameters in a text that begins behind the `>`: a list of (name in upper case, value or None).

    A text that is not empty begins with a blank; several blanks count as one, those at the end do not count.
    Raises PathError.
    """
    cdef list params = []
    cdef Py_ssize_t offset = 0
    cdef int problem = params_scan(PyBytes_AS_STRING(text), len(text), False, params, &offset)
    if problem != PATH_OK:
        raise PathError(_REASONS[problem], offset)
    return params


cdef Path path_make(const char* text, PathParts* parts, list params):
    """The Path of what path_scan found in `text`."""
    cdef Path path = Path.__new__(Path)
    path.text = PyBytes_FromStringAndSize(text + parts.start, parts.end - parts.start)
    path._route_at = parts.route_at - parts.start
    path._route_len = parts.route_len
    path._local_at = parts.local_at - parts.start
    path._local_len = parts.local_len
    path._domain_at = parts.domain_at - parts.start if parts.domain_at >= 0 else -1
    path._domain_len = parts.domain_len
    path._params = params
    return path


cdef int path_scan(const char* text, Py_ssize_t length, bint allow_null, bint utf8, PathParts* parts) noexcept nogil:
    """Find a path at the front of `text`. PATH_OK, or what is wrong, with parts.offset."""
    cdef Py_ssize_t at = 0
    cdef int problem
    parts.route_at = parts.route_len = parts.local_at = parts.local_len = parts.domain_len = 0
    parts.domain_at = -1
    while at < length and (text[at] == b' ' or text[at] == b'\t'):
        at += 1
    parts.start = parts.offset = at
    if at >= length or text[at] != b'<':
        return PATH_NO_OPEN
    at += 1
    if at < length and text[at] == b'>':
        parts.end = at + 1
        return PATH_OK if allow_null else PATH_NULL
    if at < length and text[at] == b'@':
        problem = _scan_route(text, length, utf8, parts, &at)
        if problem != PATH_OK:
            parts.offset = at
            return problem
    parts.local_at = at
    problem = _scan_local(text, length, utf8, &at)
    parts.local_len = at - parts.local_at
    parts.offset = at
    if problem != PATH_OK:
        return problem
    if parts.local_len > LOCAL_BYTES:
        return PATH_LOCAL_LONG
    if at < length and text[at] == b'@':
        at += 1
        parts.domain_at = at
        problem = _scan_domain(text, length, utf8, &at)
        parts.domain_len = at - parts.domain_at
        parts.offset = at
        if problem != PATH_OK:
            return problem
    elif at < length and text[at] == b'>':
        if not _is_postmaster(text + parts.local_at, parts.local_len):
            return PATH_NO_DOMAIN
    if at >= length or text[at] != b'>':
        return _unexpected(text, length, at, PATH_NO_CLOSE)
    parts.end = at + 1
    return PATH_OK


cdef int _unexpected(const char* text, Py_ssize_t length, Py_ssize_t at, int problem) noexcept nogil:
    """The problem, unless the octet that stopped the parser is one outside ASCII: that has a reply of its own."""
    if at < length and <unsigned char> text[at] >= 0x80:
        return PATH_NON_ASCII
    return problem


cdef bint _is_postmaster(const char* text, Py_ssize_t length) noexcept nogil:
    cdef const char* word = b"postmaster"
    cdef Py_ssize_t i
    if length != 10:
        return False
    for i in range(10):
        if char_lower(text[i]) != word[i]:
            return False
    return True


cdef int _scan_route(const char* text, Py_ssize_t length, bint utf8, PathParts* parts, Py_ssize_t* at) noexcept nogil:
    """A-d-l ":" (RFC 5321 §4.1.2): @host,@host: in front of the mailbox. It is kept, and nobody has to use it."""
    cdef int problem
    parts.route_at = at[0]
    while True:
        if at[0] >= length or text[at[0]] != b'@':
            return PATH_ROUTE
        at[0] += 1
        problem = _scan_domain(text, length, utf8, at)
        if problem != PATH_OK:
            return problem
        if at[0] < length and text[at[0]] == b',':
            at[0] += 1
            continue
        if at[0] >= length or text[at[0]] != b':':
            return _unexpected(text, length, at[0], PATH_ROUTE)
        parts.route_len = at[0] - parts.route_at
        at[0] += 1
        return PATH_OK


cdef int _scan_local(const char* text, Py_ssize_t length, bint utf8, Py_ssize_t* at) noexcept nogil:
    """A local part: a quoted string, or atoms and dots in any order, at least one octet."""
    cdef Py_ssize_t i = at[0], start = at[0]
    if i < length and text[i] == b'"':
        i += 1
        while i < length:
            if text[i] == b'"':
                at[0] = i + 1
                return PATH_OK
            if text[i] == b'\\':
                i += 1
                at[0] = i
                if i >= length or not 32 <= <unsigned char> text[i] <= 126:
                    return _unexpected(text, length, i, PATH_QUOTED)
            elif not char_is(text[i], CHAR_QTEXT) and not (utf8 and <unsigned char> text[i] >= 0x80):
                break
            i += 1
        at[0] = i
        return _unexpected(text, length, i, PATH_QUOTED)
    while i < length and (char_is(text[i], CHAR_ATEXT) or text[i] == b'.'
                          or (utf8 and <unsigned char> text[i] >= 0x80)):
        i += 1
    at[0] = i
    if i == start or (i < length and text[i] != b'@' and text[i] != b'>'):
        return _unexpected(text, length, i, PATH_LOCAL)
    return PATH_OK


cdef int _scan_domain(const char* text, Py_ssize_t length, bint utf8, Py_ssize_t* at) noexcept nogil:
    """A domain (labels of letters, digits, underscores and inner hyphens) or an address literal."""
    cdef Py_ssize_t i = at[0], start = at[0], label
    cdef bint wide
    if i < length and text[i] == b'[':
        return _scan_literal(text, length, at)
    while True:
        label = i
        wide = False
        while i < length:
            if utf8 and <unsigned char> text[i] >= 0x80:
                wide = True
            elif not char_is(text[i], CHAR_LET_DIG) and text[i] != b'-':
                break
            i += 1
        at[0] = i
        if i == label or text[label] == b'-' or text[i - 1] == b'-':
            return _unexpected(text, length, i, PATH_DOMAIN)
        # The limit is one on the form in the DNS, which for a label outside ASCII has another length.
        if i - label > LABEL_BYTES and not wide:
            return PATH_DOMAIN_LONG
        if i - start > DOMAIN_BYTES:
            return PATH_DOMAIN_LONG
        if i >= length or text[i] != b'.':
            return PATH_OK
        i += 1


cdef int _scan_literal(const char* text, Py_ssize_t length, Py_ssize_t* at) noexcept nogil:
    """An address literal (RFC 5321 §4.1.3): [192.0.2.1], [IPv6:2001:db8::1], or [tag:anything printable]."""
    cdef Py_ssize_t start = at[0] + 1, i = start, tag
    cdef const char* close = <const char*> memchr(text + start, b']', length - start)
    cdef char[64] address
    cdef char[16] binary
    if close == NULL:
        return PATH_LITERAL
    length = close - text
    if length + 1 - at[0] > DOMAIN_BYTES:
        return PATH_DOMAIN_LONG
    if _is_ipv4(text + start, length - start):
        at[0] = length + 1
        return PATH_OK
    while i < length and (char_is(text[i], CHAR_KEYWORD) or text[i] == b'-'):
        i += 1
    tag = i - start
    if tag == 0 or i >= length or text[i] != b':' or text[i - 1] == b'-':
        at[0] = i
        return _unexpected(text, length, i, PATH_LITERAL)
    i += 1
    at[0] = i
    if tag == 4 and char_lower(text[start]) == b'i' and char_lower(text[start + 1]) == b'p' \
            and char_lower(text[start + 2]) == b'v' and text[start + 3] == b'6':
        if length - i >= <Py_ssize_t> sizeof(address) or memchr(text + i, b'\0', length - i) != NULL:
            return PATH_LITERAL
        memcpy(address, text + i, length - i)
        address[length - i] = b'\0'
        if inet_pton(AF_INET6, address, binary) != 1:
            return PATH_LITERAL
    else:
        if i >= length:
            return PATH_LITERAL
        while i < length:
            if not char_is(text[i], CHAR_DCONTENT):
                at[0] = i
                return _unexpected(text, length, i, PATH_LITERAL)
            i += 1
    at[0] = length + 1
    return PATH_OK


cdef bint _is_ipv4(const char* text, Py_ssize_t length) noexcept nogil:
    """Four numbers of one to three digits, 0 to 255 each (RFC 5321 §4.1.3 Snum)."""
    cdef Py_ssize_t i
    cdef int value = 0, digits = 0, dots = 0
    for i in range(length):
        if text[i] == b'.':
            if digits == 0:
                return False
            dots += 1
            value = digits = 0
        elif b'0' <= text[i] <= b'9':
            value = value * 10 + (text[i] - 48)
            digits += 1
            if digits > 3 or value > 255:
                return False
        else:
            return False
    return dots == 3 and digits > 0


cdef int params_scan(const char* text, Py_ssize_t length, bint utf8, list params, Py_ssize_t* offset) except -1:
    """Parse parameters (RFC 5321 §4.1.2 Mail-parameters) and add them to `params`. PATH_OK, or what is wrong.

    utf8: whether octets outside ASCII may stand in values (RFC 6531 §3.3); whether they are UTF-8 is not looked at.
    """
    cdef Py_ssize_t at = 0, start, i
    cdef bytes name
    cdef char* upper
    while True:
        start = at
        while at < length and (text[at] == b' ' or text[at] == b'\t'):
            at += 1
        if at >= length:
            return PATH_OK
        offset[0] = at
        if at == start:
            return PARAM_BLANK
        start = at
        if not char_is(text[at], CHAR_KEYWORD):
            return PARAM_KEYWORD
        while at < length and (char_is(text[at], CHAR_KEYWORD) or text[at] == b'-'):
            at += 1
        name = PyBytes_FromStringAndSize(NULL, at - start)
        upper = PyBytes_AS_STRING(name)
        for i in range(at - start):
            upper[i] = char_upper(text[start + i])
        offset[0] = at
        if at >= length or text[at] == b' ' or text[at] == b'\t':
            params.append((name, None))
            continue
        if text[at] != b'=':
            return PARAM_KEYWORD
        at += 1
        start = at
        while at < length and (char_is(text[at], CHAR_VALUE) or (utf8 and <unsigned char> text[at] >= 0x80)):
            at += 1
        offset[0] = at
        if at == start or (at < length and text[at] != b' ' and text[at] != b'\t'):
            return PARAM_VALUE
        params.append((name, PyBytes_FromStringAndSize(text + start, at - start)))
