# cython: nonecheck=True
"""The canonical form of a body that DKIM hashes (RFC 6376 §3.4.3, §3.4.4), chunk by chunk.

A body of any size is hashed without being held: what is kept between chunks is the number of empty lines that may
be the last ones, and whether a blank or a CR is pending. Lines end with CR LF; a CR or LF alone is text.

Must not know: hashes, signatures, where a body comes from.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# What finish() and the beginning of a chunk may add to its own octets: a pending blank and CR.
cdef enum:
    PENDING_OCTETS = 4


@cython.final
cdef class BodyCanonicalizer:
    """kind: "simple" or "relaxed". feed() the un-stuffed body, then finish(); both give octets to hash."""

    def __init__(self, str kind):
        if kind not in ("simple", "relaxed"):
            raise ValueError(f"there is no canonicalization {kind!r}")
        self._relaxed = kind == "relaxed"

    cpdef bytes feed(self, bytes chunk):
        """The canonical octets that are certain now."""
        cdef const char* ptr = PyBytes_AS_STRING(chunk)
        cdef const char* end = ptr + PyBytes_GET_SIZE(chunk)
        cdef Py_ssize_t most = 2 * self._empty_lines + PyBytes_GET_SIZE(chunk) + PENDING_OCTETS
        cdef bytes result = PyBytes_FromStringAndSize(NULL, most)
        cdef char* out = PyBytes_AS_STRING(result)
        cdef char* at = out
        cdef const char* stop
        cdef char c
        while ptr < end:
            c = ptr[0]
            if self._cr:
                self._cr = False
                if c == b'\n':
                    ptr += 1
                    at = self._line_end(at)
                    continue
                at = self._put(at, b'\r')
                continue
            if c == b'\r':
                self._cr = True
                ptr += 1
                continue
            if self._relaxed and (c == b' ' or c == b'\t'):
                self._blank = True
                ptr += 1
                continue
            at = self._put(at, c)
            ptr += 1
            # The rest of the line, as far as nothing in it is changed, is one copy.
            stop = ptr
            if self._relaxed:
                while stop < end and stop[0] != b'\r' and stop[0] != b' ' and stop[0] != b'\t':
                    stop += 1
            else:
                stop = <const char*> memchr(ptr, b'\r', end - ptr)
                if stop == NULL:
                    stop = end
            memcpy(at, ptr, stop - ptr)
            at += stop - ptr
            ptr = stop
        return result[:at - out]

    cpdef bytes finish(self):
        """The last octets."""
        cdef char[PENDING_OCTETS] out
        cdef char* at = out
        if self._cr:
            # Not the end of a line: nothing follows it. Empty lines before it are none of the last ones.
            self._cr = False
            lines = b"\r\n" * self._empty_lines
            self._empty_lines = 0
            at = self._put(at, b'\r')
            at[0] = b'\r'
            at[1] = b'\n'
            return lines + out[:at + 2 - out]
        self._blank = False
        if self._text:
            return b"\r\n"
        # An empty body is one empty line for "simple", nothing for "relaxed".
        return b"" if self._any or self._relaxed else b"\r\n"

    cdef char* _put(self, char* at, char c) noexcept:
        """One octet of text: what was pending before it is certain now."""
        while self._empty_lines > 0:
            self._empty_lines -= 1
            at[0] = b'\r'
            at[1] = b'\n'
            at += 2
        if self._blank:
            self._blank = False
            at[0] = b' '
            at += 1
        at[0] = c
        self._text = self._any = True
        return at + 1

    cdef char* _line_end(self, char* at) noexcept:
        """CR LF: an empty line may be one of the last ones."""
        self._blank = False
        if not self._text:
            self._empty_lines += 1
            return at
        self._text = False
        at[0] = b'\r'
        at[1] = b'\n'
        return at + 2
