# cython: nonecheck=True
"""The octets of a message that comes by BDAT (RFC 3030): counted, and looked at for bare line ends.

Where a chunk ends is told by its count, and nothing in it can end it: there are no dots here. But what came in chunks
may leave by DATA, where a bare CR or LF would be read differently by different servers. So a text has none, as with
DATA:
    reject     They are noted (bare_cr, bare_lf), and the message must be refused.
    normalise  Each becomes CR LF in what is handed on.
A line of NULs, one dot and NULs is noted (nul_dot) and must be refused: for a server behind that drops NULs it is the end
of DATA. A CR LF may be cut in two by the end of a chunk. Only the body of what was declared as BINARYMIME is left
alone (`raw`); its header is text, where nothing is normalised, since nobody knows what a guess would do to the rest.

Must not know: header fields, envelopes, replies, who counts the chunks.
"""
cimport cython
from libc.string cimport memchr

from mailfilter._core.buffer cimport ENDS_NORMALISE, WriteBuffer
from mailfilter._core.data cimport DataRun, line_ends_code

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# What the present line is so far.
cdef enum:
    LINE_EMPTY = 0
    LINE_NULS = 1
    LINE_NULS_DOT = 2       # NULs, a dot, and perhaps more NULs
    LINE_TEXT = 3


@cython.final
cdef class ChunkReader:
    """Reads the octets of one message.

    line_ends: "reject" or "normalise"; strict: reject all the same. raw: take the octets as they are from now on. left: octets of the present chunk
    that have not come yet.

    bare_cr, bare_lf: there were such; nul_dot: there was a line of NULs and one dot. octets: the size so far.
    """

    def __cinit__(self, str line_ends="reject"):
        self._normalise = line_ends_code(line_ends) == ENDS_NORMALISE

    cdef void restart(self) noexcept:
        """Begin another message."""
        self._after_cr = self.bare_cr = self.bare_lf = self.nul_dot = self.raw = self.strict = False
        self._line = LINE_EMPTY
        self.octets = self.left = 0

    cdef Py_ssize_t scan(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1:
        """Look at bytes of the present chunk; return how many were used (all, or what is left of the chunk). `run` is
        valid as long as `ptr` and until the next call."""
        cdef bint after_cr = self._after_cr, nul_dot = self.nul_dot
        cdef int line = self._line
        if length > self.left:
            length = <Py_ssize_t> self.left
        self.left -= length
        run.held = 0
        run.run.ptr = ptr
        run.run.len = length
        if not self.raw and length > 0 and self._check(ptr, length) and self._normalise and not self.strict:
            # Bare line ends are rare: look for them first, and convert only where there are some.
            self._after_cr = after_cr
            self._line = line
            self.bare_cr = self.bare_lf = False
            self.nul_dot = nul_dot
            self._convert(ptr, length, run)
        self.octets += run.run.len
        return length

    cdef int finish(self, DataRun* run) except -1:
        """The last chunk has come: `run` is what is still to be handed on."""
        run.held = 0
        run.run.ptr = b"\n"
        run.run.len = 0
        if self._after_cr and not self.raw:
            if self._normalise and not self.strict:
                run.run.len = 1
                self.octets += 1
            else:
                self.bare_cr = True
        self._after_cr = False
        if not self.raw:
            self._line_over()
        return 0

    cdef void _line_over(self) noexcept:
        if self._line == LINE_NULS_DOT:
            self.nul_dot = True
        self._line = LINE_EMPTY

    cdef void _look_for_nul_dot(self, const char* ptr, Py_ssize_t length) noexcept:
        """Go on in the present line; nearly always its first octet says that it is text."""
        cdef Py_ssize_t at = 0
        while at < length and self._line != LINE_TEXT:
            if ptr[at] != 0:
                self._line = LINE_NULS_DOT if ptr[at] == b'.' and self._line == LINE_NULS else LINE_TEXT
            elif self._line == LINE_EMPTY:
                self._line = LINE_NULS
            at += 1

    cdef int _check(self, const char* ptr, Py_ssize_t length) noexcept:
        """Note bare line ends; whether there are any in what has come so far."""
        cdef Py_ssize_t at = 0, end
        cdef const char* lf
        if self._after_cr and ptr[0] != b'\n':
            self.bare_cr = True
        while at < length:
            lf = <const char*> memchr(ptr + at, b'\n', length - at)
            end = length if lf == NULL else lf - ptr
            if lf != NULL:
                if (ptr[end - 1] == b'\r') if end > 0 else self._after_cr:
                    end -= 1
                else:
                    self.bare_lf = True
            elif ptr[length - 1] == b'\r':
                end -= 1
            if end > at:
                if self._line != LINE_TEXT:
                    self._look_for_nul_dot(ptr + at, end - at)
                if memchr(ptr + at, b'\r', end - at) != NULL:
                    self.bare_cr = True
            if lf == NULL:
                break
            self._line_over()
            at = lf - ptr + 1
        self._after_cr = ptr[length - 1] == b'\r'
        return self.bare_cr or self.bare_lf

    cdef int _convert(self, const char* ptr, Py_ssize_t length, DataRun* run) except -1:
        """The same, octet by octet, with every bare CR and LF turned into CR LF."""
        cdef char* to
        cdef Py_ssize_t at, n = 0
        cdef char c
        if self._converted is None:
            self._converted = WriteBuffer.__new__(WriteBuffer)
        self._converted.take()
        to = self._converted.reserve(2 * length + 1)
        for at in range(length):
            c = ptr[at]
            if self._after_cr:
                self._after_cr = False
                to[n] = b'\n'
                n += 1
                self._line_over()
                if c == b'\n':
                    continue
            if c == b'\n':
                to[n] = b'\r'
                n += 1
                self._line_over()
            elif c != b'\r':
                self._look_for_nul_dot(&c, 1)
            to[n] = c
            n += 1
            self._after_cr = c == b'\r'
        self._converted._len = n
        run.run.ptr = to
        run.run.len = n
        return 0
