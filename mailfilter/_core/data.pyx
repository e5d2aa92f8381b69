# cython: nonecheck=True
"""A message on its way through DATA (RFC 5321 §4.5.2): where it ends, and its dots.

DataReader finds the end: CR LF . CR LF, and nothing else. It never stops early: a message that is too big or has
bare line ends is read to its true end, because whoever answers before that executes the rest of the message
as commands (the predecessor did). What it hands on is the WIRE form, with the dots that the sender put in
front of lines and without the final one, so that passing a message on unchanged is a copy. A dot in front of a line
that needs none is taken off, as every receiver must, so that no line handed on begins with a single dot: whoever stops
reading a line at a NUL or trims blanks would take `. ` for the end. A line of one dot and NULs, which is the end for
whoever drops NULs, cannot be made harmless; it is noted (nul_dot) and the message must be refused.

Bare CR and bare LF come in two ways.
    reject     They are noted (bare_cr, bare_lf) and the message must be refused. A dot after a bare line end is not
               at the start of a line.
    normalise  Each becomes CR LF in what is handed on. A line may then start after a bare line end, but a lone
               dot that has a bare line end on either side never ends the message: it is text, and is
               stuffed, so that the next hop does not take it for the end either.

The search is done by memchr, line by line, and its state is kept from chunk to chunk: a byte at a time costs
linear time. A chunk without a dot at its edge is handed on as it is, without a copy.

stuff, Stuffer, unstuff and Unstuffer add and remove dots. For them a line starts after every LF: what comes from a
DataReader has no bare ones, and for any other text the dot too many is the harmless side.

Must not know: header fields, envelopes, replies.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

from mailfilter._core.buffer cimport ENDS_NORMALISE, ENDS_REJECT, WriteBuffer

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# Where in the text the reader stands. The last three occur only when line ends are normalised.
cdef enum:
    AT_START = 0        # after CR LF, or at the very beginning: DATA's own CR LF counts (RFC 5321 §4.1.1.4)
    AT_TEXT = 1         # inside a line
    AT_CR = 2           # after a CR inside a line
    AT_DOT = 3          # after a dot at AT_START, which is held back
    AT_DOT_CR = 4       # after dot and CR, which are held back
    AT_NUL = 5          # after NULs at AT_START
    AT_NUL_DOT = 6      # after a dot at AT_NUL, and after NULs behind that
    AT_BARE_START = 7   # after a bare CR or LF
    AT_BARE_DOT = 8     # after a dot at AT_BARE_START, held back
    AT_BARE_DOT_CR = 9


@cython.final
cdef class DataReader:
    """Reads one message.

    line_ends: "reject" or "normalise". message_bytes: the largest message in octets, counted as RFC 1870 §3 does,
    header and CR LFs included, the sender's dots not; 0 for no limit.

    done: the end was found. bare_cr, bare_lf: there were such; nul_dot: there was a line of one dot and NULs;
    too_big: it is larger than message_bytes.
    octets: the size so far.
    """

    def __cinit__(self, str line_ends="reject", long long message_bytes=0):
        self._normalise = line_ends_code(line_ends) == ENDS_NORMALISE
        self.restart(message_bytes)

    @property
    def too_big(self):
        return self.oversized()

    def feed(self, bytes data not None, Py_ssize_t start=0):
        """(position behind what was used, bytes in wire form to hand on): use data from `start` on.

        All of it is used, or everything to the end of the message if it is in there.
        """
        cdef DataRun run
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t used
        if not 0 <= start <= length:
            raise ValueError("start is outside data")
        if self.done:
            return start, b""
        used = self.scan(PyBytes_AS_STRING(data) + start, length - start, &run)
        return start + used, run_bytes(&run, data)

    cdef void restart(self, long long message_bytes) noexcept:
        """Begin another message."""
        self._state = AT_START
        self.done = self.bare_cr = self.bare_lf = self.nul_dot = False
        self.octets = 0
        self.message_bytes = message_bytes

    cdef bint oversized(self) noexcept:
        return self.message_bytes > 0 and self.octets > self.message_bytes

    cdef Py_ssize_t scan(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1:
        """Look at bytes; return how many were used. `run` is valid as long as `ptr` and until the next call."""
        cdef int state = self._state
        cdef long long octets = self.octets
        cdef bint bare_cr = self.bare_cr, bare_lf = self.bare_lf
        cdef Py_ssize_t used
        # Bare line ends and needless dots are rare: look for them first, and convert only where there are some.
        if state < AT_BARE_START:
            used = self._scan_strict(ptr, length, run)
            if used >= 0 and not (self._normalise and (self.bare_cr or self.bare_lf)):
                return used
            self._state = state
            self.octets = octets
            self.done = False
            self.bare_cr = bare_cr
            self.bare_lf = bare_lf
        return self._convert(ptr, length, run)

    cdef Py_ssize_t _scan_strict(self, const char* ptr, Py_ssize_t length, DataRun* run) noexcept:
        """`scan` where nothing has to be changed; -1, and nothing is right any more, where a dot must go."""
        cdef Py_ssize_t at = 0, end
        cdef Py_ssize_t dot = -1          # where the dot that is held back is, if it is in these bytes
        cdef Py_ssize_t dots = 0          # dots that the sender put in front
        cdef int state = self._state
        cdef int held = 1 if state == AT_DOT else 2 if state == AT_DOT_CR else 0
        cdef const char* lf
        cdef char c
        run.held = 0
        run.done = False
        while at < length:
            if state == AT_TEXT:
                lf = <const char*> memchr(ptr + at, b'\n', length - at)
                end = length if lf == NULL else lf - ptr
                if end > at and ptr[end - 1] == b'\r':
                    state = AT_CR if lf == NULL else AT_START
                    if not self.bare_cr and memchr(ptr + at, b'\r', end - 1 - at) != NULL:
                        self.bare_cr = True
                else:
                    if lf != NULL:
                        self.bare_lf = True
                    if not self.bare_cr and memchr(ptr + at, b'\r', end - at) != NULL:
                        self.bare_cr = True
                at = end + 1 if lf != NULL else length
                continue
            c = ptr[at]
            if state == AT_START:
                if c == b'.':
                    state = AT_DOT
                    dot = at
                    at += 1
                elif c == 0:
                    state = AT_NUL
                    at += 1
                else:
                    state = AT_TEXT
            elif state == AT_NUL or state == AT_NUL_DOT:
                state = self._after_nul(state, c)
                if state != AT_TEXT:
                    at += 1
            elif state == AT_CR:
                if c == b'\n':
                    state = AT_START
                    at += 1
                else:
                    self.bare_cr = True
                    state = AT_TEXT
            elif state == AT_DOT and c == b'\r':
                state = AT_DOT_CR
                at += 1
            elif state == AT_DOT_CR and c == b'\n':
                run.done = self.done = True
                at += 1
                break
            elif state == AT_DOT and c != b'.' and c != b'\n':
                return -1
            else:
                # The dot was only the sender's dot in front of a line; what was held back is text.
                if state == AT_DOT_CR:
                    self.bare_cr = True
                dots += 1
                if dot < 0:
                    run.held = held
                dot = -1
                state = AT_TEXT
        self._state = state
        run.run.ptr = ptr
        if state == AT_DOT or state == AT_DOT_CR:
            run.run.len = dot if dot >= 0 else 0
        else:
            run.run.len = at
        self.octets += run.run.len + run.held - dots
        return at

    cdef int _after_nul(self, int state, char c) noexcept:
        """The state after one more octet of a line that began with NULs; AT_TEXT: look at the octet again as text."""
        if c == 0:
            return state
        if state == AT_NUL:
            return AT_NUL_DOT if c == b'.' else AT_TEXT
        if c == b'\r' or c == b'\n':
            self.nul_dot = True
        return AT_TEXT

    cdef Py_ssize_t _convert(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1:
        """The same, octet by octet, without needless dots; to normalise, with every bare CR and LF turned into CR LF."""
        cdef WriteBuffer out
        cdef char* to
        cdef Py_ssize_t at = 0, n = 0, dots = 0
        cdef int state = self._state
        cdef char c
        if self._converted is None:
            self._converted = WriteBuffer.__new__(WriteBuffer)
        out = self._converted
        out.take()
        # At worst each octet is a bare line end (two octets), and four more for what was held back.
        to = out.reserve(2 * length + 4)
        run.held = 0
        run.done = False
        while at < length:
            c = ptr[at]
            if state == AT_TEXT:
                if c == b'\n' and self._normalise:
                    to[n] = b'\r'
                    to[n + 1] = b'\n'
                    n += 2
                    state = AT_BARE_START
                else:
                    to[n] = c
                    n += 1
                    if c == b'\r':
                        state = AT_CR
                    elif c == b'\n':
                        self.bare_lf = True
                at += 1
            elif state == AT_CR:
                if c == b'\n':
                    to[n] = c
                    n += 1
                    at += 1
                    state = AT_START
                elif self._normalise:
                    to[n] = b'\n'
                    n += 1
                    state = AT_BARE_START
                else:
                    self.bare_cr = True
                    state = AT_TEXT
            elif state == AT_START or state == AT_BARE_START:
                if c == b'.':
                    state = AT_DOT if state == AT_START else AT_BARE_DOT
                    at += 1
                else:
                    state = AT_NUL if c == 0 else AT_TEXT
            elif state == AT_NUL or state == AT_NUL_DOT:
                state = self._after_nul(state, c)
                if state != AT_TEXT:
                    to[n] = c
                    n += 1
                    at += 1
            elif (state == AT_DOT or state == AT_BARE_DOT) and c == b'\r':
                state = AT_DOT_CR if state == AT_DOT else AT_BARE_DOT_CR
                at += 1
            elif state == AT_DOT_CR and c == b'\n':
                run.done = self.done = True
                at += 1
                break
            elif (state == AT_DOT or state == AT_BARE_DOT) and c != b'\n':
                if c == b'.':
                    to[n] = b'.'
                    n += 1
                    dots += 1
                state = AT_NUL if c == 0 else AT_TEXT
            elif not self._normalise:
                to[n] = b'.'
                n += 1
                dots += 1
                if state == AT_DOT_CR:
                    to[n] = b'\r'
                    n += 1
                    self.bare_cr = True
                state = AT_TEXT
            else:
                # A lone dot that is not between two CR LFs: text that must not look like the end.
                to[n] = b'.'
                to[n + 1] = b'.'
                to[n + 2] = b'\r'
                to[n + 3] = b'\n'
                n += 4
                dots += 1
                if c == b'\n':
                    at += 1
                    state = AT_START if state == AT_BARE_DOT_CR else AT_BARE_START
                else:
                    state = AT_BARE_START
        self._state = state
        out._len = n
        run.run.ptr = to
        run.run.len = n
        self.octets += n - dots
        return at


cdef int line_ends_code(str line_ends) except -1:
    """ENDS_... of "reject" or "normalise"; ValueError for anything else."""
    if line_ends == "reject":
        return ENDS_REJECT
    if line_ends == "normalise":
        return ENDS_NORMALISE
    raise ValueError(f"line_ends is {line_ends!r}; it must be 'reject' or 'normalise'")


cdef bytes run_bytes(DataRun* run, bytes whole):
    """The run as bytes: `whole` itself when that is what it is."""
    cdef bytes data
    if run.held == 0:
        if (whole is not None and run.run.ptr == <const char*> PyBytes_AS_STRING(whole)
                and run.run.len == PyBytes_GET_SIZE(whole)):
            return whole
        return PyBytes_FromStringAndSize(run.run.ptr, run.run.len)
    data = PyBytes_FromStringAndSize(NULL, run.held + run.run.len)
    memcpy(PyBytes_AS_STRING(data), <const char*> b".\r", run.held)
    memcpy(PyBytes_AS_STRING(data) + run.held, run.run.ptr, run.run.len)
    return data


def stuff(bytes text not None):
    """The text with one more dot in front of each line that begins with a dot. The text begins at a line start."""
    return _stuff(text, True)


@cython.final
cdef class Stuffer:
    """Puts the dots into a text that comes in chunks and begins at a line start.

    line_start: whether what was fed so far ends with a line end; what DATA sends must.
    """

    def __cinit__(self):
        self._line_start = True

    @property
    def line_start(self):
        return self._line_start

    cpdef bytes feed(self, bytes chunk):
        """The chunk with its dots; the very object if there are none. One chunk in, one out."""
        cdef Py_ssize_t length = len(chunk)
        cdef bint line_start = self._line_start
        if length == 0:
            return chunk
        self._line_start = PyBytes_AS_STRING(chunk)[length - 1] == b'\n'
        return _stuff(chunk, line_start)


def unstuff(bytes text not None):
    """The text without the first dot of each line that begins with one. The text begins at a line start."""
    return _unstuff(text, True)


@cython.final
cdef class Unstuffer:
    """Takes the dots off a text that comes in chunks and begins at a line start."""

    def __cinit__(self):
        self._line_start = True

    cpdef bytes feed(self, bytes chunk):
        """The chunk without its dots; the very object if there are none. One chunk in, one out."""
        cdef Py_ssize_t length = len(chunk)
        cdef bint line_start = self._line_start
        if length == 0:
            return chunk
        self._line_start = PyBytes_AS_STRING(chunk)[length - 1] == b'\n'
        return _unstuff(chunk, line_start)


cdef Py_ssize_t _line_dots(const char* ptr, Py_ssize_t length, bint line_start) noexcept nogil:
    """How many lines begin with a dot."""
    cdef const char* stop = ptr + length
    cdef Py_ssize_t dots = 0
    if length > 0 and line_start and ptr[0] == b'.':
        dots += 1
    while True:
        ptr = <const char*> memchr(ptr, b'\n', stop - ptr)
        if ptr == NULL or ptr + 1 == stop:
            return dots
        ptr += 1
        if ptr[0] == b'.':
            dots += 1


cdef bytes _stuff(bytes text, bint line_start):
    cdef const char* ptr = PyBytes_AS_STRING(text)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t dots = _line_dots(ptr, length, line_start)
    cdef bytes result
    cdef char* to
    cdef const char* stop = ptr + length
    cdef const char* line_end
    if dots == 0:
        return text
    result = PyBytes_FromStringAndSize(NULL, length + dots)
    to = PyBytes_AS_STRING(result)
    while ptr < stop:
        if line_start and ptr[0] == b'.':
            to[0] = b'.'
            to += 1
        line_end = <const char*> memchr(ptr, b'\n', stop - ptr)
        line_end = stop if line_end == NULL else line_end + 1
        memcpy(to, ptr, line_end - ptr)
        to += line_end - ptr
        ptr = line_end
        line_start = True
    return result


cdef bytes _unstuff(bytes text, bint line_start):
    cdef const char* ptr = PyBytes_AS_STRING(text)
    cdef const char* stop = ptr + PyBytes_GET_SIZE(text)
    cdef Py_ssize_t dots = _line_dots(ptr, PyBytes_GET_SIZE(text), line_start)
    cdef const char* line_end
    cdef bytes result
    cdef char* to
    if dots == 0:
        return text
    result = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(text) - dots)
    to = PyBytes_AS_STRING(result)
    while ptr < stop:
        if line_start and ptr[0] == b'.':
            ptr += 1
        line_end = <const char*> memchr(ptr, b'\n', stop - ptr)
        line_end = stop if line_end == NULL else line_end + 1
        memcpy(to, ptr, line_end - ptr)
        to += line_end - ptr
        ptr = line_end
        line_start = True
    return result
