# cython: nonecheck=True
"""Replies (RFC 5321 §4.2): the value, the one place where replies are written, and the parser for those of
a next hop.

The formatter builds a reply from values and never from somebody's bytes: whatever text it is given, what comes
out is one well-formed reply. CR, LF, NUL and every other control but TAB become a space; a line that would
be over 512 octets with its CR LF (RFC 5321 §4.5.3.1.5) is continued on the next, broken at a blank where there
is one and never inside a UTF-8 sequence. A caller who wants several lines gives several lines.

The parser is lenient where next hops are known to be sloppy and nothing can be smuggled by it: a line may end
with a bare LF, the text may be missing (`250`, `250-`), lines may be as long as `line_bytes`. It is strict where a
guess would put the two sides out of step: a line that is no reply, or two codes in one reply, is an
error, and an error is for ever.

Must not know: who says the reply, or why.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from mailfilter._core.buffer cimport ENDS_LF, LINE_LONG, LINE_NONE, LineBuffer, WriteBuffer
from mailfilter._core.chars cimport CHAR_KEYWORD, CHAR_UNPRINTABLE, char_is
from mailfilter._core.span cimport Span

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# RFC 5321 §4.5.3.1.5: 512 octets with the code and CR LF.
cdef Py_ssize_t REPLY_LINE_BYTES = 510


cdef Py_ssize_t _fitting(const char* text, Py_ssize_t length, Py_ssize_t room) noexcept nogil:
    """How much of a text that is longer than `room` goes on this line; at least one octet."""
    cdef Py_ssize_t at = room
    while at > 0 and text[at] != b' ' and text[at] != b'\t':
        at -= 1
    if at > 0:
        return at
    at = room
    while at > room - 4 and (<unsigned char> text[at] & 0xC0) == 0x80:
        at -= 1
    if (<unsigned char> text[at] & 0xC0) == 0x80:
        at = room  # not UTF-8: any place is as good
    return at


cdef int _write_text(WriteBuffer out, int code, const char* text, Py_ssize_t length, bytes enhanced,
                     bint last) except -1:
    """One line of the reply, continued as often as its length needs."""
    cdef Py_ssize_t prefix = 4, taken, i
    cdef char* to
    if enhanced is not None:
        prefix += PyBytes_GET_SIZE(enhanced) + 1
    while True:
        taken = length
        if prefix + length > REPLY_LINE_BYTES:
            taken = _fitting(text, length, REPLY_LINE_BYTES - prefix)
        to = out.reserve(prefix + taken + 2)
        to[0] = <char> (48 + code // 100)
        to[1] = <char> (48 + code // 10 % 10)
        to[2] = <char> (48 + code % 10)
        to[3] = b' ' if last and taken == length else b'-'
        to += 4
        if enhanced is not None:
            for i in range(prefix - 5):
                to[i] = PyBytes_AS_STRING(enhanced)[i]
            to[prefix - 5] = b' '
            to += prefix - 4
        for i in range(taken):
            to[i] = b' ' if char_is(text[i], CHAR_UNPRINTABLE) else text[i]
        to[taken] = b'\r'
        to[taken + 1] = b'\n'
        out._len += prefix + taken + 2
        if taken == length:
            return 0
        text += taken
        length -= taken
        if text[0] == b' ' or text[0] == b'\t':
            # The line was broken at this blank; the line end stands for it. At least one octet follows,
            # or is an empty continuation line: neither loses text.
            text += 1
            length -= 1


cdef int reply_write(WriteBuffer out, int code, object lines, bytes enhanced) except -1:
    """Write a reply of these lines (bytes each; none counts as one empty line). Nothing is written on an error."""
    cdef Py_ssize_t before = out._len, i, count
    cdef list texts
    cdef object text
    if not 200 <= code <= 599:
        raise ValueError(f"reply code {code} is not within 200..599")
    if type(lines) is list:
        texts = <list> lines
    elif isinstance(lines, (bytes, str)):
        raise TypeError("the lines of a reply are a list of bytes")
    else:
        texts = list(lines)
    if enhanced is not None and not _is_enhanced(enhanced):
        raise ValueError(f"{enhanced!r} is not an enhanced status code")
    count = len(texts)
    if count == 0:
        return _write_text(out, code, b"", 0, enhanced, True)
    try:
        for i in range(count):
            text = texts[i]
            if type(text) is not bytes:
                raise TypeError(f"a line of a reply is bytes, not {type(text).__name__}")
            _write_text(out, code, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), enhanced, i == count - 1)
    except BaseException:
        out.truncate(before)
        raise
    return 0


cdef bint _is_enhanced(bytes text) noexcept:
    """RFC 3463 §2: class "." subject "." detail, class 2, 4 or 5, the others up to three digits."""
    cdef const char* ptr = PyBytes_AS_STRING(text)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(text), i, digits = 0, dots = 0
    if length < 5 or ptr[1] != b'.' or not (ptr[0] == b'2' or ptr[0] == b'4' or ptr[0] == b'5'):
        return False
    for i in range(2, length):
        if ptr[i] == b'.':
            if digits == 0:
                return False
            dots += 1
            digits = 0
        elif b'0' <= ptr[i] <= b'9' and digits < 3:
            digits += 1
        else:
            return False
    return dots == 1 and digits > 0


@cython.final
cdef class Reply:
    """A reply: what one side of an SMTP conversation answers.

    code: 200..599; anything else raises ValueError.
    lines: the text of each line, bytes without line ends.
    enhanced: enhanced status code (RFC 3463), b"5.5.1", written in front of every line (RFC 2034 §4), or None.
        A reply that came from a next hop has None here: its code, if any, stays in the text, so that
        formatting the reply again gives what was received.
    """

    def __init__(self, int code, lines=(), bytes enhanced=None):
        if not 200 <= code <= 599:
            raise ValueError(f"reply code {code} is not within 200..599")
        if isinstance(lines, (bytes, str)):
            raise TypeError("the lines of a reply are a list of bytes")
        self.code = code
        self.lines = list(lines)
        self.enhanced = enhanced

    @property
    def text(self):
        """The lines joined with LF: one line of text, most of the time."""
        return b"\n".join(self.lines)

    def format(self):
        """The reply as it goes over the wire: `250-...` CR LF `250 ...` CR LF, whatever the texts contain."""
        cdef WriteBuffer out = WriteBuffer.__new__(WriteBuffer)
        reply_write(out, self.code, self.lines, self.enhanced)
        return out.take()

    def __repr__(self):
        return f"Reply({self.code}, {self.lines!r}" + (f", {self.enhanced!r})" if self.enhanced else ")")

    def __eq__(self, other):
        if not isinstance(other, Reply):
            return NotImplemented
        return (self.code == (<Reply> other).code and self.lines == (<Reply> other).lines
                and self.enhanced == (<Reply> other).enhanced)

    __hash__ = None


@cython.final
cdef class ReplyParser:
    """Replies out of what a next hop sends.

    line_bytes: longest line in octets, its end included; lines: most lines in one reply. Going over either
    is an error, as is everything that is no reply.
    error: None, or what was wrong, for the log. Once set, next() gives None for ever.
    """

    def __cinit__(self, Py_ssize_t line_bytes=4096, Py_ssize_t lines=512):
        self._lines = LineBuffer(line_bytes, ENDS_LF)
        self._most_lines = lines

    cpdef int feed(self, bytes data) except -1:
        """Take what has arrived."""
        if self.error is None:
            self._lines.feed(data)
        return 0

    @property
    def buffered(self):
        """Bytes and lines of a reply that is not whole yet: 0 only between two replies."""
        return self.count()

    cdef Py_ssize_t count(self) except -1:
        return self._lines.count() + (0 if self._texts is None else len(self._texts))

    cpdef Reply next(self):
        """The next whole reply, or None: more is needed, or there was an error."""
        cdef Span line
        cdef int got, code
        cdef Reply reply
        while self.error is None:
            got = self._lines.take_line(&line)
            if got == LINE_NONE:
                return None
            if got == LINE_LONG:
                self._fail("reply line too long", line)
                return None
            code = _code(line)
            if code == 0:
                self._fail("not a reply", line)
                return None
            if self._texts is None:
                self._texts = []
                self._code = code
            elif code != self._code:
                self._fail(f"code changed from {self._code} within a reply", line)
                return None
            if len(self._texts) >= self._most_lines:
                self._fail("reply of too many lines", line)
                return None
            self._texts.append(b"" if line.len <= 4 else PyBytes_FromStringAndSize(line.ptr + 4, line.len - 4))
            if line.len > 3 and line.ptr[3] == b'-':
                continue
            reply = Reply.__new__(Reply)
            reply.code = code
            reply.lines = self._texts
            self._texts = None
            return reply
        return None

    cdef int _fail(self, str what, Span line) except -1:
        shown = PyBytes_FromStringAndSize(line.ptr, min(line.len, 80))
        self.error = f"{what}: {shown!r}"
        self._lines.clear()
        self._texts = None
        return 0


cdef int _code(Span line) noexcept nogil:
    """The code of a reply line, or 0 if the line is none (RFC 5321 §4.2; the text and its blank may be missing)."""
    if line.len < 3 or not b'2' <= line.ptr[0] <= b'5':
        return 0
    if not (b'0' <= line.ptr[1] <= b'9' and b'0' <= line.ptr[2] <= b'9'):
        return 0
    if line.len > 3 and line.ptr[3] != b' ' and line.ptr[3] != b'-':
        return 0
    return (line.ptr[0] - 48) * 100 + (line.ptr[1] - 48) * 10 + (line.ptr[2] - 48)


cdef dict reply_extensions(Reply reply):
    """{keyword in capitals: what follows it} of a reply to EHLO (RFC 5321 §4.1.1.1). A line that names none is left
    out; of a keyword that comes twice the first counts. "AUTH=LOGIN" is how some once wrote AUTH."""
    cdef dict found = {}
    cdef bytes line, word, rest
    cdef Py_ssize_t i
    for line in reply.lines[1:]:
        word, _, rest = line.strip().partition(b" ")
        word = word.upper()
        if word[:5] == b"AUTH=":
            rest = word[5:] + b" " + rest
            word = b"AUTH"
        for i in range(len(word)):
            if not char_is(word[i], CHAR_KEYWORD) and word[i] != b'-':
                break
        else:
            if word:
                found.setdefault(word, rest.strip())
    return found
