# Commands: the verb table and the parser of a command line. The contract is in command.pyx.

from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span


cpdef enum:
    CMD_HELO = 0
    CMD_EHLO = 1
    CMD_MAIL = 2
    CMD_RCPT = 3
    CMD_DATA = 4
    CMD_RSET = 5
    CMD_NOOP = 6
    CMD_VRFY = 7
    CMD_EXPN = 8
    CMD_HELP = 9
    CMD_QUIT = 10
    CMD_BDAT = 11
    CMD_AUTH = 12
    CMD_STARTTLS = 13
    CMD_XCLIENT = 14
    CMD_XFORWARD = 15
    CMD_UNKNOWN = 16
    CMD_COUNT = 17

cpdef enum:
    ARG_NONE = 0        # none allowed (RFC 5321 §4.1.1)
    ARG_ANY = 1         # free text, may be missing
    ARG_TEXT = 2        # free text, must be there
    ARG_HOST = 3        # a word, must be there
    ARG_SENDER = 4      # FROM: and a reverse-path
    ARG_RECIPIENT = 5   # TO: and a forward-path
    ARG_CHUNK = 6       # a number of octets, and perhaps LAST
    ARG_ATTRIBUTES = 7  # NAME=value, one at least

cpdef enum:
    FLAG_LAST_IN_GROUP = 1  # RFC 2920 §3.1: the client waits for the reply before it sends more
    FLAG_JUNK = 2           # counts towards Limits.errors
    FLAG_ENDS_SESSION = 4   # the connection closes after the reply, whatever it is
    FLAG_ENDS_MESSAGE = 8   # a message that comes in chunks is given up by it
    FLAG_OFFERED = 16       # a command only where it was offered (Session.offer); otherwise an unknown one


cdef struct Verb:
    int argument
    int flags


cdef Verb* verb_row(int verb) noexcept
cdef int command_parse(Span line, Span* argument) noexcept
cdef object sender_of(Span argument, set announced, int* flags, Py_ssize_t* size_at)
cdef object recipient_of(Span argument, set announced, bint utf8)
cdef Reply text_fault(Span argument, set announced)
cdef bint chunk_parse(Span argument, long long* size, bint* last) noexcept
