# cython: nonecheck=True
"""The verb table, and a command line taken apart (RFC 5321 §4.1.1).

VERBS has one row for each verb and one for everything else. What a verb may be followed by, and how the session
treats it, stands in its row and nowhere else: the session reads flags, it does not list verbs. The last column
is the reply for the case that nobody else has an opinion (Session.reply_default).

A verb of four letters, as all of RFC 5321's are, is compared as one 32-bit number; the few longer ones are looked for
after that. Blanks in front of the verb are skipped and blanks at the end do not count (RFC 5321 §4.1.1 asks receivers to
tolerate the latter).

Must not know: states; whether the command is in order now.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8

from mailfilter._core.address cimport PATH_NON_ASCII, PATH_OK, PathParts, params_scan, path_make, path_scan
from mailfilter._core.chars cimport char_upper
from mailfilter._core.parameters cimport MAIL_UTF8, recipient_fault, sender_fault
from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport (
    Span, span_bytes, span_drop, span_skip_blanks, span_starts_with, span_trim_blanks)

from mailfilter._core.parameters import FAULTS as PARAMETER_FAULTS

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# number, name, argument, flags, default reply (code, enhanced code, text; %h stands for our host name)
VERBS = (
    (CMD_HELO, b"HELO", ARG_HOST, FLAG_ENDS_MESSAGE, (250, None, b"%h")),
    (CMD_EHLO, b"EHLO", ARG_HOST, FLAG_LAST_IN_GROUP | FLAG_ENDS_MESSAGE, (250, None, b"%h")),
    (CMD_MAIL, b"MAIL", ARG_SENDER, 0, (250, b"2.1.0", b"Sender ok")),
    (CMD_RCPT, b"RCPT", ARG_RECIPIENT, 0, (250, b"2.1.5", b"Recipient ok")),
    (CMD_DATA, b"DATA", ARG_NONE, FLAG_LAST_IN_GROUP, (354, None, b"End data with <CR><LF>.<CR><LF>")),
    (CMD_RSET, b"RSET", ARG_NONE, FLAG_ENDS_MESSAGE, (250, b"2.0.0", b"Flushed")),
    (CMD_NOOP, b"NOOP", ARG_ANY, FLAG_LAST_IN_GROUP, (250, b"2.0.0", b"OK")),
    (CMD_VRFY, b"VRFY", ARG_TEXT, FLAG_LAST_IN_GROUP, (252, b"2.5.0", b"Cannot verify, send mail and see")),
    (CMD_EXPN, b"EXPN", ARG_TEXT, FLAG_LAST_IN_GROUP, (502, b"5.5.1", b"Command not implemented")),
    (CMD_HELP, b"HELP", ARG_ANY, FLAG_LAST_IN_GROUP, (214, b"2.0.0", b"See RFC 5321")),
    (CMD_QUIT, b"QUIT", ARG_NONE, FLAG_LAST_IN_GROUP | FLAG_ENDS_SESSION | FLAG_ENDS_MESSAGE,
     (221, b"2.0.0", b"Closing connection")),
    # Nobody hears the replies to BDAT and XCLIENT: see Session.reply.
    (CMD_BDAT, b"BDAT", ARG_CHUNK, 0, (354, None, b"")),
    (CMD_AUTH, b"AUTH", ARG_TEXT, FLAG_LAST_IN_GROUP | FLAG_OFFERED,
     (454, b"4.7.0", b"Temporary authentication failure")),
    (CMD_STARTTLS, b"STARTTLS", ARG_NONE, FLAG_LAST_IN_GROUP | FLAG_OFFERED, (220, b"2.0.0", b"Ready to start TLS")),
    (CMD_XCLIENT, b"XCLIENT", ARG_ATTRIBUTES, FLAG_LAST_IN_GROUP | FLAG_OFFERED, (220, None, b"")),
    (CMD_XFORWARD, b"XFORWARD", ARG_ATTRIBUTES, FLAG_OFFERED, (250, b"2.0.0", b"OK")),
    (CMD_UNKNOWN, b"", ARG_ANY, FLAG_JUNK, (500, b"5.5.1", b"Command not recognized")),
)

# Why the argument of MAIL or RCPT is refused. A part of session.REPLIES.
FAULTS = {
    "no_from": Reply(501, [b"Syntax: MAIL FROM:<address>"], b"5.5.4"),
    "no_to": Reply(501, [b"Syntax: RCPT TO:<address>"], b"5.5.4"),
    "bad_sender": Reply(501, [b"Bad sender address"], b"5.1.7"),
    "bad_recipient": Reply(501, [b"Bad recipient address"], b"5.1.3"),
    "non_ascii": Reply(553, [b"Address outside ASCII"], b"5.6.7"),
    "bad_text": Reply(501, [b"Not valid UTF-8"], b"5.5.2"),
    **PARAMETER_FAULTS,
}
cdef Reply R_NO_FROM = FAULTS["no_from"]
cdef Reply R_NO_TO = FAULTS["no_to"]
cdef Reply R_BAD_SENDER = FAULTS["bad_sender"]
cdef Reply R_BAD_RECIPIENT = FAULTS["bad_recipient"]
cdef Reply R_NON_ASCII = FAULTS["non_ascii"]
cdef Reply R_BAD_PARAMETER = FAULTS["bad_parameter"]
cdef Reply R_BAD_TEXT = FAULTS["bad_text"]

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
        _words[number] = _word(PyBytes_AS_STRING(row[1])) if len(row[1]) == 4 else 0


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
        return _long_verb(line, length)
    word = _word(line.ptr)
    for verb in range(CMD_STARTTLS):
        if _words[verb] == word:
            return verb
    return CMD_UNKNOWN


cdef int _long_verb(Span line, Py_ssize_t length) noexcept:
    if length == 8 and span_starts_with(line, b"starttls", 8):
        return CMD_STARTTLS
    if length == 7 and span_starts_with(line, b"xclient", 7):
        return CMD_XCLIENT
    if length == 8 and span_starts_with(line, b"xforward", 8):
        return CMD_XFORWARD
    return CMD_UNKNOWN


cdef object sender_of(Span argument, set announced, int* flags, Py_ssize_t* size_at):
    """The Path in the argument of MAIL (RFC 5321 §4.1.1.2), with its parameters; or the Reply that refuses it.

    announced: the extensions of this session. flags: MAIL_... of the parameters. size_at: where SIZE is among them,
    or -1.
    """
    cdef PathParts parts
    cdef list params = None
    cdef Py_ssize_t offset = 0
    cdef bint wide = False
    cdef int problem
    cdef Reply fault
    flags[0] = 0
    size_at[0] = -1
    if not _after_word(&argument, b"from", 4):
        return R_NO_FROM
    problem = path_scan(argument.ptr, argument.len, True, False, &parts)
    if problem == PATH_NON_ASCII and b"SMTPUTF8" in announced:
        wide = True
        problem = path_scan(argument.ptr, argument.len, True, True, &parts)
    if problem == PATH_NON_ASCII:
        return R_NON_ASCII
    # <postmaster> without a domain is a recipient only (RFC 5321 §4.1.1.3).
    if problem != PATH_OK or (parts.local_len > 0 and parts.domain_at < 0):
        return R_BAD_SENDER
    if parts.end < argument.len:
        params = []
        if params_scan(argument.ptr + parts.end, argument.len - parts.end, b"SMTPUTF8" in announced, params,
                       &offset) != PATH_OK:
            return R_BAD_PARAMETER
        fault = sender_fault(params, announced, flags, size_at)
        if fault is not None:
            return fault
    if wide:
        if not flags[0] & MAIL_UTF8:
            return R_NON_ASCII
        if not _is_utf8(argument.ptr, parts.end):
            return R_BAD_SENDER
    return path_make(argument.ptr, &parts, params)


cdef object recipient_of(Span argument, set announced, bint utf8):
    """The Path in the argument of RCPT (RFC 5321 §4.1.1.3); or the Reply that refuses it.

    announced: the extensions of this session. utf8: whether MAIL had the parameter SMTPUTF8.
    """
    cdef PathParts parts
    cdef list params = None
    cdef Py_ssize_t offset = 0
    cdef int problem
    cdef Reply fault
    if not _after_word(&argument, b"to", 2):
        return R_NO_TO
    problem = path_scan(argument.ptr, argument.len, False, utf8, &parts)
    if problem == PATH_NON_ASCII:
        return R_NON_ASCII
    if problem != PATH_OK or (utf8 and not _is_utf8(argument.ptr, parts.end)):
        return R_BAD_RECIPIENT
    if parts.end < argument.len:
        params = []
        if params_scan(argument.ptr + parts.end, argument.len - parts.end, utf8, params, &offset) != PATH_OK:
            return R_BAD_PARAMETER
        fault = recipient_fault(params, announced)
        if fault is not None:
            return fault
    return path_make(argument.ptr, &parts, params)


cdef Reply text_fault(Span argument, set announced):
    """Why the text of VRFY or EXPN must be refused, or None. It may be outside ASCII when the parameter SMTPUTF8
    follows it (RFC 6531 §3.7.4.2), and is UTF-8 then."""
    cdef bytes text = span_bytes(argument)
    if text.isascii():
        return None
    if b"SMTPUTF8" not in announced or text.split()[-1].upper() != b"SMTPUTF8":
        return R_NON_ASCII
    return None if _is_utf8(argument.ptr, argument.len) else R_BAD_TEXT


cdef bint chunk_parse(Span argument, long long* size, bint* last) noexcept:
    """The argument of BDAT (RFC 3030 §2): a number of octets of at most 18 digits, and perhaps LAST."""
    cdef Py_ssize_t digits = 0
    size[0] = 0
    while digits < argument.len and b'0' <= argument.ptr[digits] <= b'9':
        if digits == 18:
            return False
        size[0] = size[0] * 10 + (argument.ptr[digits] - 48)
        digits += 1
    if digits == 0:
        return False
    span_drop(&argument, digits)
    last[0] = argument.len > 0
    if argument.len == 0:
        return True
    if argument.ptr[0] != b' ' and argument.ptr[0] != b'\t':
        return False
    span_skip_blanks(&argument)
    return argument.len == 4 and span_starts_with(argument, b"last", 4)


cdef bint _is_utf8(const char* ptr, Py_ssize_t length):
    try:
        PyUnicode_DecodeUTF8(ptr, length, "strict")
    except UnicodeDecodeError:
        return False
    return True


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
