# A span: a pointer and a length over bytes that somebody else owns.
#
# Header only. A span is valid until its owner says otherwise; for a line of a LineBuffer that is the next
# call of take_line or feed. Whoever wants to keep one makes bytes of it (span_bytes). Nothing here looks
# for a NUL: the end of a span is its length and nothing else.
#
# Must not know: what the bytes mean.

from cpython.bytes cimport PyBytes_FromStringAndSize

from mailfilter._core.chars cimport char_lower


cdef struct Span:
    const char* ptr
    Py_ssize_t len


cdef inline bytes span_bytes(Span span):
    """A copy of the span that outlives its owner."""
    return PyBytes_FromStringAndSize(span.ptr, span.len)


cdef inline void span_drop(Span* span, Py_ssize_t count) noexcept nogil:
    """Take `count` bytes off the front; the caller knows that they are there."""
    span.ptr += count
    span.len -= count


cdef inline void span_skip_blanks(Span* span) noexcept nogil:
    """Take spaces and tabs off the front."""
    while span.len > 0 and (span.ptr[0] == b' ' or span.ptr[0] == b'\t'):
        span.ptr += 1
        span.len -= 1


cdef inline void span_trim_blanks(Span* span) noexcept nogil:
    """Take spaces and tabs off the end (RFC 5321 §4.1.1 asks receivers to tolerate them there)."""
    while span.len > 0 and (span.ptr[span.len - 1] == b' ' or span.ptr[span.len - 1] == b'\t'):
        span.len -= 1


cdef inline bint span_starts_with(Span span, const char* lower, Py_ssize_t length) noexcept nogil:
    """Whether the span begins with the word `lower`, whatever the case of its letters."""
    cdef Py_ssize_t i
    if span.len < length:
        return False
    for i in range(length):
        if char_lower(span.ptr[i]) != lower[i]:
            return False
    return True
