# cython: nonecheck=True
"""The header section of a message (RFC 5322 §2.2, §3.6).

Three things: HeaderCollector gathers the section of a message, without the sender's dots and up to limits; split_header takes it apart into fields; render_field writes a field that is new or was changed.

A field keeps its bytes. What nobody touched goes onward exactly as it came in, spacing and folding and all: a DKIM
signature over it stays valid, and nothing has to be understood to be passed on.

A line that is no field (no colon, a blank or an octet outside ASCII in the name, the `From ` line of a mailbox
file, a first line that begins with a blank) is a Field with an empty name, and the section goes on behind it.
The predecessor glued such a line to the name of the next field, which hid that field from the policy and
from scanners while the server behind saw it. Ending the section there instead would hide all that follow.

Must not know: what any field means.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr

from mailfilter._core.buffer cimport WriteBuffer
from mailfilter._core.chars cimport CHAR_FTEXT, char_is
from mailfilter._core.span cimport Span

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")


@cython.final
@cython.freelist(64)
cdef class Field:
    """One header field, or a line that is none, as split_header found it.

    Its parts are cut out of the section when they are asked for: most fields of most messages are not.
    """

    def __init__(self):
        raise TypeError("fields are made by split_header")

    @property
    def name(self):
        """The name as it is spelled, without blanks behind it; b"" for a line that is no field."""
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self._section) + self._start, self._name_len)

    @property
    def raw(self):
        """The octets of the field with all its line ends, as received."""
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self._section) + self._start, self._end - self._start)

    @property
    def parts(self):
        """The value by lines, without line ends (a new list each time): first what follows the colon and its
        blanks, then each continuation line with the blanks at its beginning. Blanks at the end are kept.
        For a line that is no field, the line."""
        cdef const char* ptr = PyBytes_AS_STRING(self._section)
        cdef Py_ssize_t at = self._value_at, end
        cdef const char* lf
        cdef list parts = []
        while True:
            lf = <const char*> memchr(ptr + at, b'\n', self._end - at) if at < self._end else NULL
            end = self._end if lf == NULL else lf - ptr
            if lf != NULL and end > at and ptr[end - 1] == b'\r':
                parts.append(PyBytes_FromStringAndSize(ptr + at, end - 1 - at))
            else:
                parts.append(PyBytes_FromStringAndSize(ptr + at, end - at))
            at = end + 1
            if at >= self._end:
                return parts

    def __repr__(self):
        return f"Field({self.raw!r})"


cpdef list split_header(bytes section):
    """The fields of a header section, in their order. A blank line ends it; what is behind is not looked at.

    Joining the `raw` of all of them gives the section back.
    """
    cdef const char* ptr
    cdef Py_ssize_t length = len(section), at = 0, end, i
    cdef const char* lf
    cdef list fields = []
    cdef Field field = None
    ptr = PyBytes_AS_STRING(section)
    while at < length:
        lf = <const char*> memchr(ptr + at, b'\n', length - at)
        end = length if lf == NULL else lf - ptr + 1
        if lf != NULL and (end - at == 1 or (end - at == 2 and ptr[at] == b'\r')):
            break
        if field is not None and (ptr[at] == b' ' or ptr[at] == b'\t'):
            field._end = end
            at = end
            continue
        field = Field.__new__(Field)
        field._section = section
        field._start = field._value_at = at
        field._end = end
        fields.append(field)
        i = at
        while i < end and char_is(ptr[i], CHAR_FTEXT):
            i += 1
        if i > at:
            field._name_len = i - at
            while i < end and (ptr[i] == b' ' or ptr[i] == b'\t'):
                i += 1
            if i < end and ptr[i] == b':':
                i += 1
                while i < end and (ptr[i] == b' ' or ptr[i] == b'\t'):
                    i += 1
                field._value_at = i
            else:
                field._name_len = 0
        at = end
    return fields


def render_field(bytes name not None, parts):
    """A field as it goes onward, line ends included: name, colon, blank, and the parts as its lines.

    Whatever the parts hold, the result is one field: a CR or LF inside a part begins a continuation line, a
    continuation line that does not begin with a blank gets a TAB, and one of nothing but blanks is left out,
    because some receivers take it for the end of the header. ValueError: a name that is empty or holds
    anything but printable ASCII without the colon (RFC 5322 §3.6.8), or a NUL in a part.
    """
    cdef list lines = []
    cdef Py_ssize_t i
    cdef bytes text, line
    if len(name) == 0:
        raise ValueError("a header field needs a name")
    for i in range(len(name)):
        if not char_is(PyBytes_AS_STRING(name)[i], CHAR_FTEXT):
            raise ValueError(f"{name!r} is no name for a header field")
    if isinstance(parts, (bytes, str)):
        raise TypeError("the parts of a field are a list of bytes")
    for part in parts:
        if not isinstance(part, bytes):
            raise TypeError(f"a part of a field is bytes, not {type(part).__name__}")
        text = part if type(part) is bytes else bytes(part)
        if b"\0" in text:
            raise ValueError(f"NUL in header field {name.decode('ascii')}")
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" in text:
            lines.extend(text.split(b"\n"))
        else:
            lines.append(text)
    first = lines.pop(0) if lines else b""
    written = [name + b": " + first]
    for line in lines:
        if not line.strip(b" \t"):
            continue
        written.append(line if line[:1] in (b" ", b"\t") else b"\t" + line)
    written.append(b"")
    return b"\r\n".join(written)


def canonical(Field field not None):
    """The field as JavaScript's toString() gives it: name, ": ", parts joined with CR LF, no CR LF at the end.

    As long as the text that a policy gives back is equal to this, the policy has not touched the field.
    """
    return field.name + b": " + b"\r\n".join(field.parts)


@cython.final
cdef class HeaderCollector:
    """Gathers the header section of a message that comes in runs.

    header_bytes: the largest section in octets, line ends included, blank line and sender's dots not;
    header_fields: the most fields. Over a limit nothing more is kept, but the search for the blank line goes on.
    plain: no line has a dot of the sender's in front (BDAT), otherwise they are taken off (the wire form of DATA).

    complete: the blank line was there. fields: how many there were so far.
    """

    def __cinit__(self, Py_ssize_t header_bytes, Py_ssize_t header_fields, bint plain=False):
        self._section = WriteBuffer.__new__(WriteBuffer)
        self._most_bytes = header_bytes
        self._most_fields = header_fields
        self._plain = self._dotted = plain

    def feed(self, bytes run not None):
        """How much of the run belongs to the section and its blank line; the rest is body."""
        cdef Span span
        span.ptr = PyBytes_AS_STRING(run)
        span.len = PyBytes_GET_SIZE(run)
        return self.scan(span)

    @property
    def too_big(self):
        return self.oversized()

    @property
    def too_many(self):
        return self.overcrowded()

    def take(self):
        """The section so far, without the blank line and without dots."""
        return self.section()

    cdef bint inside_line(self) noexcept:
        """Whether a line of the section has begun and not ended."""
        return self._column > 0

    cdef bint oversized(self) noexcept:
        return self._seen > self._most_bytes

    cdef bint overcrowded(self) noexcept:
        return self.fields > self._most_fields

    cdef bytes section(self):
        return self._section.take()

    cdef Py_ssize_t scan(self, Span run) except -1:
        """The same as feed."""
        cdef Py_ssize_t at = 0, end
        cdef const char* lf
        cdef char c
        if self.complete:
            return 0
        while at < run.len:
            if self._column == 0:
                c = run.ptr[at]
                if self._cr_first:
                    # The line so far is a CR: with a LF it is the blank line, and its CR is not of the section.
                    self._cr_first = False
                    if c == b'\n':
                        self.complete = True
                        return at + 1
                    self._begin_line(b'\r')
                    self._keep(b"\r", 1)
                    continue
                if c == b'\r':
                    self._cr_first = True
                    at += 1
                    continue
                if c == b'.' and not self._dotted:
                    self._dotted = True
                    at += 1
                    continue
                self._begin_line(c)
            lf = <const char*> memchr(run.ptr + at, b'\n', run.len - at)
            end = run.len if lf == NULL else lf - run.ptr + 1
            self._keep(run.ptr + at, end - at)
            at = end
            if lf != NULL:
                self._column = 0
                self._dotted = self._plain
        return at

    cdef void _begin_line(self, char first) noexcept:
        """A line that is not blank begins; unless it continues a field, it is one (see split_header)."""
        if (first != b' ' and first != b'\t') or self.fields == 0:
            self.fields += 1

    cdef int _keep(self, const char* ptr, Py_ssize_t length) except -1:
        self._column += length
        self._seen += length
        if self._seen <= self._most_bytes and self.fields <= self._most_fields:
            self._section.write(ptr, length)
        return 0
