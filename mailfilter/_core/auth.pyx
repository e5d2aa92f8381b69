# cython: nonecheck=True
"""What AUTH and the lines of its exchange look like (RFC 4954 §4): mechanism, base64, `*` and `=`.

Must not know: what any mechanism means, who the client is, states.
"""
from mailfilter._core.chars cimport CHAR_KEYWORD, char_is
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span, span_bytes, span_drop, span_skip_blanks

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef enum:
    CHALLENGE_BYTES = 12288 - 6

# Why an exchange ends before anybody is asked. A part of session.REPLIES.
FAULTS = {
    "auth_mechanism": Reply(504, [b"Authentication mechanism not offered"], b"5.5.4"),
    "auth_base64": Reply(501, [b"Cannot decode base64"], b"5.5.2"),
    "auth_cancelled": Reply(501, [b"Authentication cancelled"], b"5.7.0"),
}
cdef Reply R_MECHANISM = FAULTS["auth_mechanism"]
cdef Reply R_BASE64 = FAULTS["auth_base64"]
cdef Reply R_CANCELLED = FAULTS["auth_cancelled"]


cdef Reply auth_fault(Span argument, frozenset mechanisms):
    """Why the argument of AUTH must be refused, or None. It is a mechanism (in capitals in `mechanisms`), and perhaps
    an initial response in base64, or `=` for an empty one."""
    cdef Span word = argument
    word.len = 0
    while word.len < argument.len and argument.ptr[word.len] != b' ' and argument.ptr[word.len] != b'\t':
        word.len += 1
    if span_bytes(word).upper() not in mechanisms:
        return R_MECHANISM
    span_drop(&argument, word.len)
    span_skip_blanks(&argument)
    if argument.len == 1 and argument.ptr[0] == b'=':
        return None
    return None if _is_base64(argument) else R_BASE64


cdef Reply auth_line_fault(Span line):
    """Why a line of the exchange ends it, or None."""
    if line.len == 1 and line.ptr[0] == b'*':
        return R_CANCELLED
    return None if _is_base64(line) else R_BASE64


cdef bytes auth_challenge(object lines):
    """The line that carries a challenge; it is never broken into several, as other replies are. ValueError: the lines
    are not one of base64, or it is too long (RFC 4954 §4)."""
    cdef Span span
    cdef list texts = list(lines)
    cdef bytes text = texts[0] if len(texts) == 1 else None
    if text is not None:
        span.ptr = text
        span.len = len(text)
    if text is None or span.len > CHALLENGE_BYTES or not _is_base64(span):
        raise ValueError("a challenge is one line of base64")
    return b"334 " + text + b"\r\n"


cdef bint _is_base64(Span text) noexcept:
    """RFC 4648 §4, padded, without blanks. Empty is fine."""
    cdef Py_ssize_t i, length = text.len
    if length % 4 != 0:
        return False
    if length > 0 and text.ptr[length - 1] == b'=':
        length -= 2 if text.ptr[length - 2] == b'=' else 1
    for i in range(length):
        if not char_is(text.ptr[i], CHAR_KEYWORD) and text.ptr[i] != b'+' and text.ptr[i] != b'/':
            return False
    return True
