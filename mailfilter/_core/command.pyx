# cython: nonecheck=True
"""The verb table, and a command line taken apart (RFC 5321 §4.1.1).

VERBS has one row for each verb and one for everything else. What a verb may be followed by, and how the session
treats it, stands in its row and nowhere else: the session reads flags, it does not list verbs. The last column
is the reply for the case that nobody else has an opinion (Session.reply_default).

A verb is compared as one 32-bit number: all of RFC 5321's have four letters. Blanks in front of the verb are
skipped and blanks at the end do not count (RFC 5321 §4.1.1 asks receivers to tolerate the latter).

Must not know: states; whether the command is in order now.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from mailfilter._core.address cimport PATH_NON_ASCII, PATH_OK, Path, PathParts, params_scan, path_make, path_scan
from mailfilter._core.reply cimport Reply
from mailfilter._core.chars cimport char_upper
from mailfilter._core.span cimport (
    Span, span_bytes, span_drop, span_skip_blanks, span_starts_with, span_trim_blanks)

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# number, name, argument, flags, default reply (code, enhanced code, text; %h stands for our host name)
VERBS = (
    (CMD_HELO, b"HELO", ARG_HOST, 0, (250, None, b"%h")),
    (CMD_EHLO, b"EHLO", ARG_HOST, FLAG_LAST_IN_GROUP, (250, None, b"%h")),
    (CMD_MAIL, b"MAIL", ARG_SENDER, 0, (250, b"2.1.0", b"Sender ok")),
    (CMD_RCPT, b"RCPT", ARG_RECIPIENT, 0, (250, b"2.1.5", b"Recipient ok")),
    (CMD_DATA, b"DATA", ARG_NONE, FLAG_LAST_IN_GROUP, (354, None, b"End data with <CR><LF>.<CR><LF>")),
    (CMD_RSET, b"RSET", ARG_NONE, 0, (250, b"2.0.0", b"Flushed")),
    (CMD_NOOP, b"NOOP", ARG_ANY, FLAG_LAST_IN_GROUP, (250, b"2.0.0", b"OK")),
    (CMD_VRFY, b"VRFY", ARG_TEXT, FLAG_LAST_IN_GROUP, (252, b"2.5.0", b"Cannot verify, send mail and see")),
    (CMD_EXPN, b"EXPN", ARG_TEXT, FLAG_LAST_IN_GROUP, (502, b"5.5.1", b"Command not implemented")),
    (CMD_HELP, b"HELP", ARG_ANY, FLAG_LAST_IN_GROUP, (214, b"2.0.0", b"See RFC 5321")),
    (CMD_QUIT, b"QUIT", ARG_NONE, FLAG_LAST_IN_GROUP | FLAG_ENDS_SESSION, (221, b"2.0.0", b"Closing connection")),
    (CMD_UNKNOWN, b"", ARG_ANY, FLAG_JUNK, (500, b"5.5.1", b"Command not recognized")),
)

# Why the argument of MAIL or RCPT is refused. A part of session.REPLIES.
FAULTS = {
    "no_from": Reply(501, [b"Syntax: MAIL FROM:<address>"], b"5.5.4"),
    "no_to": Reply(501, [b"Syntax: RCPT TO:<address>"], b"5.5.4"),
    "bad_sender": Reply(501, [b"Bad sender address"], b"5.1.7"),
    "bad_recipient": Reply(501, [b"Bad recipient address"], b"5.1.3"),
    "non_ascii": Reply(553, [b"Address outside ASCII"], b"5.6.7"),
    "bad_parameter": Reply(501, [b"Bad parameter"], b"5.5.4"),
    "unknown_parameter": Reply(555, [b"Parameter not recognized"], b"5.5.4"),
}
cdef Reply R_NO_FROM = FAULTS["no_from"]
cdef Reply R_NO_TO = FAULTS["no_to"]
cdef Reply R_BAD_SENDER = FAULTS["bad_sender"]
cdef Reply R_BAD_RECIPIENT = FAULTS["bad_recipient"]
cdef Reply R_NON_ASCII = FAULTS["non_ascii"]
cdef Reply R_BAD_PARAMETER = FAULTS["bad_parameter"]
cdef Reply R_UNKNOWN_PARAMETER = FAULTS["unknown_parameter"]

cdef unsigned int[CMD_COUNT] _words
cdef Verb[CMD_COUNT] _rows


cdef unsigned int _word(const char* ptr) noexcept nogil:
    """Four octets as one number, letters in upper case."""
    return (<unsigned int> <unsigned char> char_upper(ptr[0]) << 24
            | <unsigned int> <unsigned char> char_upper(ptr[1]) << 16
            | <unsigned int> <unsigned char> char_upper(ptr[2]) << 8
            | <unsigned int> <unsigned char> char_upper(ptr[3]))


def _fill():
    cdef int number
    for row in VERBS:
        number = row[0]
        _rows[number].argument = row[2]
        _rows[number].flags = row[3]
        _words[number] = _word(PyBytes_AS_STRING(row[1])) if row[1] else 0


_fill()


cdef Verb* verb_row(int verb) noexcept:
    """The row of a verb."""
    return &_rows[verb]


cdef int command_parse(Span line, Span* argument) noexcept:
    """The verb of a line (CMD_...), and what follows it without the blanks around; -1 if the line is empty."""
    cdef Py_ssize_t length = 0
    cdef unsigned int word
    cdef int verb
    span_skip_blanks(&line)
    span_trim_blanks(&line)
    if line.len == 0:
        return -1
    while length < line.len and line.ptr[length] != b' ' and line.ptr[length] != b'\t':
        length += 1
    argument[0] = line
    span_drop(argument, length)
    span_skip_blanks(argument)
    if length != 4:
        return CMD_UNKNOWN
    word = _word(line.ptr)
    for verb in range(CMD_UNKNOWN):
        if _words[verb] == word:
            return verb
    return CMD_UNKNOWN


cdef object sender_of(Span argument, set announced):
    """The Path in the argument of MAIL (RFC 5321 §4.1.1.2), with its parameters; or the Reply that refuses it.

    announced: the extensions of this session. SIZE is taken whether or not it was announced: we heed it anyway.
    """
    cdef PathParts parts
    cdef list params = None
    cdef Py_ssize_t offset = 0
    cdef int problem
    if not _after_word(&argument, b"from", 4):
        return R_NO_FROM
    problem = path_scan(argument.ptr, argument.len, True, False, &parts)
    if problem == PATH_NON_ASCII:
        return R_NON_ASCII
    # <postmaster> without a domain is a recipient only (RFC 5321 §4.1.1.3).
    if problem != PATH_OK or (parts.local_len > 0 and parts.domain_at < 0):
        return R_BAD_SENDER
    if parts.end < argument.len:
        params = []
        if params_scan(argument.ptr + parts.end, argument.len - parts.end, params, &offset) != PATH_OK:
            return R_BAD_PARAMETER
        seen = set()
        for name, value in params:
            if name in seen:
                return R_BAD_PARAMETER
            seen.add(name)
            if name == b"SIZE":
                # RFC 1870 §3: up to twenty digits.
                if value is None or len(value) > 20 or not value.isdigit():
                    return R_BAD_PARAMETER
            elif name == b"BODY":
                # RFC 6152 §2.
                body = b"" if value is None else value.upper()
                if body == b"8BITMIME":
                    if body not in announced:
                        return R_UNKNOWN_PARAMETER
                elif body != b"7BIT":
                    return R_BAD_PARAMETER
            else:
                return R_UNKNOWN_PARAMETER
    return path_make(argument.ptr, &parts, params)


cdef object recipient_of(Span argument):
    """The Path in the argument of RCPT (RFC 5321 §4.1.1.3); or the Reply that refuses it.

    No parameter of RCPT belongs to an extension that we have.
    """
    cdef PathParts parts
    cdef list params
    cdef Py_ssize_t offset = 0
    cdef int problem
    if not _after_word(&argument, b"to", 2):
        return R_NO_TO
    problem = path_scan(argument.ptr, argument.len, False, False, &parts)
    if problem == PATH_NON_ASCII:
        return R_NON_ASCII
    if problem != PATH_OK:
        return R_BAD_RECIPIENT
    if parts.end < argument.len:
        params = []
        if params_scan(argument.ptr + parts.end, argument.len - parts.end, params, &offset) != PATH_OK:
            return R_BAD_PARAMETER
        if params:
            return R_UNKNOWN_PARAMETER
    return path_make(argument.ptr, &parts, None)


cdef object declared_size(Path path):
    """What SIZE says in a path that sender_of gave (RFC 1870 §3), or None."""
    if path._params is not None:
        for name, value in path._params:
            if name == b"SIZE":
                return int(value)
    return None


cdef bint _after_word(Span* argument, const char* lower, Py_ssize_t length) noexcept:
    """Drop the word `lower` and its colon, with blanks around the colon, off the front; False if it is not there."""
    if not span_starts_with(argument[0], lower, length):
        return False
    span_drop(argument, length)
    span_skip_blanks(argument)
    if argument.len == 0 or argument.ptr[0] != b':':
        return False
    span_drop(argument, 1)
    return True


def parse_command(bytes line not None):
    """(CMD_..., argument) of a command line without its end; (-1, b"") for an empty one."""
    cdef Span span, argument
    cdef int verb
    span.ptr = PyBytes_AS_STRING(line)
    span.len = PyBytes_GET_SIZE(line)
    verb = command_parse(span, &argument)
    return (verb, span_bytes(argument)) if verb >= 0 else (verb, b"")
