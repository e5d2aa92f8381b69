# cython: nonecheck=True
"""What may follow the path in MAIL and RCPT, extension by extension, and the attributes of XCLIENT and XFORWARD.

    SIZE             RFC 1870      BODY             RFC 6152, RFC 3030
    SMTPUTF8         RFC 6531      RET ENVID NOTIFY ORCPT  RFC 3461
    AUTH             RFC 4954 §5   REQUIRETLS       RFC 8689
    PRDR             draft-hall-prdr, as Exim has it

A parameter is taken only when its extension was announced to this client; everything else is 555, whatever a next
hop might make of it: what we do not know we can neither check nor keep out of harm. Values are checked here and
handed on as they were written.

Values in xtext (RFC 3461 §4) that decode to anything but printable ASCII are refused. Somebody will decode them, and
then a line end in one must not be there.

Must not know: paths, states, which command is in order.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from mailfilter._core.address cimport PATH_OK, params_scan
from mailfilter._core.chars cimport CHAR_KEYWORD, char_is
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "arpa/inet.h" nogil:
    const int AF_INET
    const int AF_INET6
    int inet_pton(int family, const char* text, void* to)

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef enum:
    ENVID_BYTES = 100       # RFC 3461 §4.4
    ORCPT_BYTES = 500       # RFC 3461 §4.2
    ATTRIBUTE_BYTES = 255   # Postfix's XCLIENT_README

# Why parameters or attributes are refused. A part of session.REPLIES.
FAULTS = {
    "bad_parameter": Reply(501, [b"Bad parameter"], b"5.5.4"),
    "unknown_parameter": Reply(555, [b"Parameter not recognized"], b"5.5.4"),
    "bad_attribute": Reply(501, [b"Bad attribute"], b"5.5.4"),
}
cdef Reply R_BAD_PARAMETER = FAULTS["bad_parameter"]
cdef Reply R_UNKNOWN_PARAMETER = FAULTS["unknown_parameter"]
cdef Reply R_BAD_ATTRIBUTE = FAULTS["bad_attribute"]


cdef Reply sender_fault(list params, set announced, int* flags, Py_ssize_t* size_at):
    """Why these parameters of MAIL, (name, value or None) each, must be refused; None if they are fine.

    flags: MAIL_... of what they ask for. size_at: where SIZE is among them, -1 if it is not. SIZE is taken
    whether or not it was announced: we heed it anyway.
    """
    cdef Py_ssize_t i
    cdef bytes name, value, body
    cdef set seen = set()
    flags[0] = 0
    size_at[0] = -1
    for i in range(len(params)):
        name, value = <tuple> params[i]
        if name in seen:
            return R_BAD_PARAMETER
        seen.add(name)
        if name == b"SIZE":
            # RFC 1870 §3: up to twenty digits.
            if value is None or len(value) > 20 or not value.isdigit():
                return R_BAD_PARAMETER
            size_at[0] = i
        elif name == b"BODY":
            body = b"" if value is None else value.upper()
            if body == b"8BITMIME" or body == b"BINARYMIME":
                if body not in announced:
                    return R_UNKNOWN_PARAMETER
                flags[0] |= MAIL_8BIT if body == b"8BITMIME" else MAIL_BINARY
            elif body != b"7BIT":
                return R_BAD_PARAMETER
        elif name == b"SMTPUTF8" or name == b"PRDR" or name == b"REQUIRETLS":
            if name not in announced:
                return R_UNKNOWN_PARAMETER
            if value is not None:
                return R_BAD_PARAMETER
            flags[0] |= MAIL_UTF8 if name == b"SMTPUTF8" else MAIL_PRDR if name == b"PRDR" else MAIL_REQUIRETLS
        elif name == b"RET" or name == b"ENVID":
            if b"DSN" not in announced:
                return R_UNKNOWN_PARAMETER
            if value is None:
                return R_BAD_PARAMETER
            if name == b"RET":
                if value.upper() not in (b"FULL", b"HDRS"):
                    return R_BAD_PARAMETER
            elif len(value) > ENVID_BYTES or xtext_decoded(value) is None:
                return R_BAD_PARAMETER
        elif name == b"AUTH":
            if b"AUTH" not in announced:
                return R_UNKNOWN_PARAMETER
            if value is None or xtext_decoded(value) is None:
                return R_BAD_PARAMETER
        else:
            return R_UNKNOWN_PARAMETER
    return None


cdef Reply recipient_fault(list params, set announced):
    """The same for RCPT, whose parameters all belong to DSN (RFC 3461 §4.1, §4.2)."""
    cdef bytes name, value
    cdef set seen = set()
    for name, value in params:
        if name in seen:
            return R_BAD_PARAMETER
        seen.add(name)
        if name != b"NOTIFY" and name != b"ORCPT" or b"DSN" not in announced:
            return R_UNKNOWN_PARAMETER
        if value is None:
            return R_BAD_PARAMETER
        if name == b"NOTIFY":
            words = value.upper().split(b",")
            if words != [b"NEVER"] and any(word not in (b"SUCCESS", b"FAILURE", b"DELAY") for word in words):
                return R_BAD_PARAMETER
        elif not _is_orcpt(value, b"SMTPUTF8" in announced):
            return R_BAD_PARAMETER
    return None


cdef bint _is_orcpt(bytes value, bint utf8):
    """addr-type ";" xtext (RFC 3461 §4.2). The address type utf-8 has a form of its own (RFC 6533 §3): UTF-8 as it
    is, where the client may use that, and `\\x{...}` for what ASCII has no place for."""
    cdef Py_ssize_t i
    kind, semicolon, address = value.partition(b";")
    if not semicolon or not kind or not address or len(value) > ORCPT_BYTES:
        return False
    for i in range(len(kind)):
        if not char_is(PyBytes_AS_STRING(kind)[i], CHAR_KEYWORD) and kind[i] != b'-':
            return False
    if kind.upper() != b"UTF-8":
        return xtext_decoded(address) is not None
    if address.isascii():
        return True
    return utf8 and _is_utf8(address)


cdef bint _is_utf8(bytes text):
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


cpdef bytes xtext_decoded(bytes text):
    """The octets that an xtext stands for (RFC 3461 §4): `+2B` is `+`. Hexadecimal digits may be small, as some write.

    None: it is no xtext, or there is a control character in what it stands for. Octets beyond ASCII are none of RFC 3461's,
    but Postfix writes an internationalised address like that (ORCPT=rfc822;+C3+BCser@example.test).
    """
    cdef const char* ptr = PyBytes_AS_STRING(text)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(text), at = 0, n = 0
    cdef bytes decoded = PyBytes_FromStringAndSize(NULL, length)
    cdef char* to = PyBytes_AS_STRING(decoded)
    cdef int high, low
    while at < length:
        if ptr[at] == b'+':
            if at + 2 >= length:
                return None
            high = _hex_digit(ptr[at + 1])
            low = _hex_digit(ptr[at + 2])
            if high < 0 or low < 0:
                return None
            to[n] = <char> (high * 16 + low)
            at += 3
        elif 33 <= ptr[at] <= 126 and ptr[at] != b'=':
            to[n] = ptr[at]
            at += 1
        else:
            return None
        if <unsigned char> to[n] < 32 or to[n] == 127:
            return None
        n += 1
    return decoded[:n]


cdef int _hex_digit(char c) noexcept nogil:
    if b'0' <= c <= b'9':
        return c - 48
    if b'A' <= c <= b'F':
        return c - 55
    if b'a' <= c <= b'f':
        return c - 87
    return -1


cdef object attributes_of(Span argument, frozenset known, bint numeric):
    """The attributes of XCLIENT or XFORWARD as a list of (name, value): the value decoded, None for [UNAVAILABLE] and
    [TEMPUNAVAIL]; or the Reply that refuses them.

    argument: what follows the verb, not empty; the octet in front of it is a blank. known: the names that we have.
    numeric: whether ADDR must be an IP address (in XFORWARD it may be something else).
    """
    cdef list params = [], found = []
    cdef Py_ssize_t offset = 0
    cdef bytes name, value
    if params_scan(argument.ptr - 1, argument.len + 1, False, params, &offset) != PATH_OK:
        return R_BAD_ATTRIBUTE
    for name, value in params:
        if name not in known or value is None:
            return R_BAD_ATTRIBUTE
        if value.upper() in (b"[UNAVAILABLE]", b"[TEMPUNAVAIL]"):
            found.append((name, None))
            continue
        value = xtext_decoded(value)
        if value is None or not 0 < len(value) <= ATTRIBUTE_BYTES:
            return R_BAD_ATTRIBUTE
        if name == b"ADDR" or name == b"DESTADDR":
            if value[:5].upper() == b"IPV6:":
                value = value[5:]
            if numeric and not _is_address(value) or b" " in value:
                return R_BAD_ATTRIBUTE
        elif name == b"PORT" or name == b"DESTPORT":
            if not value.isdigit() or len(value) > 5 or int(value) > 65535:
                return R_BAD_ATTRIBUTE
        elif name == b"PROTO":
            value = value.upper()
            if value != b"SMTP" and value != b"ESMTP":
                return R_BAD_ATTRIBUTE
        elif name == b"SOURCE":
            value = value.upper()
            if value != b"LOCAL" and value != b"REMOTE":
                return R_BAD_ATTRIBUTE
        elif name != b"LOGIN" and b" " in value:
            return R_BAD_ATTRIBUTE
        found.append((name, value))
    return found


cdef bint _is_address(bytes text):
    """An IPv4 or IPv6 address."""
    cdef char[16] binary
    return inet_pton(AF_INET, PyBytes_AS_STRING(text), binary) == 1 or inet_pton(AF_INET6, PyBytes_AS_STRING(text), binary) == 1
