# cython: nonecheck=True
"""What a session says by itself, in one place, so that docs and tests can list it.

Must not know: when any of it is said.
"""
from mailfilter._core.event cimport EV_AUTH, EV_AUTH_LINE, EV_CONNECT, EV_HELO, EV_MESSAGE
from mailfilter._core.reply cimport Reply

from mailfilter._core.auth import FAULTS as AUTH_FAULTS
from mailfilter._core.command import FAULTS as ARGUMENT_FAULTS, VERBS
from mailfilter._core.reception import FAULTS as MESSAGE_FAULTS

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# An event of a command is numbered two above its verb, and the default reply stands in the verb's row.
DEFAULT_REPLIES = {EV_HELO + number: reply for number, _name, _argument, _flags, reply in VERBS}
DEFAULT_REPLIES[EV_CONNECT] = (220, None, b"%h ESMTP Mailfilter")
DEFAULT_REPLIES[EV_MESSAGE] = (451, b"4.3.0", b"Message not taken, try again later")
DEFAULT_REPLIES[EV_AUTH_LINE] = DEFAULT_REPLIES[EV_AUTH]

# What the session itself answers. One place, so that docs and tests can list it.
REPLIES = {
    "empty": Reply(500, [b"Empty command"], b"5.5.2"),
    "nul": Reply(500, [b"NUL in a command"], b"5.5.2"),
    "line_too_long": Reply(500, [b"Line too long"], b"5.5.2"),
    "bare_cr": Reply(500, [b"Bare CR in a command"], b"5.5.2"),
    "bare_lf": Reply(521, [b"Bare LF received, lines end with CR LF"], b"5.5.2"),
    "sequence": Reply(503, [b"Bad sequence of commands"], b"5.5.1"),
    "argument_missing": Reply(501, [b"Argument required"], b"5.5.4"),
    "argument_unexpected": Reply(501, [b"No argument allowed"], b"5.5.4"),
    "too_many_recipients": Reply(452, [b"Too many recipients"], b"4.5.3"),
    "too_many_errors": Reply(421, [b"Too many errors, closing connection"], b"4.7.0"),
    "bad_chunk": Reply(521, [b"Syntax: BDAT size [LAST]"], b"5.5.4"),
    "binary_by_data": Reply(503, [b"BINARYMIME needs BDAT"], b"5.5.1"),
    "early_data": Reply(503, [b"Data sent before 354"], b"5.5.0"),
    "tls_active": Reply(503, [b"TLS is active already"], b"5.5.1"),
    "auth_done": Reply(503, [b"Authenticated already"], b"5.5.1"),
    "auth_needs_tls": Reply(538, [b"Encryption required for authentication"], b"5.7.11"),
    "auth_line_too_long": Reply(500, [b"Authentication line too long"], b"5.5.6"),
    **ARGUMENT_FAULTS,
    **AUTH_FAULTS,
    **MESSAGE_FAULTS,
}
R_EMPTY = REPLIES["empty"]
R_NUL = REPLIES["nul"]
R_LINE_TOO_LONG = REPLIES["line_too_long"]
R_BARE_CR = REPLIES["bare_cr"]
R_BARE_LF = REPLIES["bare_lf"]
R_SEQUENCE = REPLIES["sequence"]
R_ARGUMENT_MISSING = REPLIES["argument_missing"]
R_ARGUMENT_UNEXPECTED = REPLIES["argument_unexpected"]
R_TOO_MANY_RECIPIENTS = REPLIES["too_many_recipients"]
R_TOO_MANY_ERRORS = REPLIES["too_many_errors"]
R_SIZE = REPLIES["size"]
R_BAD_CHUNK = REPLIES["bad_chunk"]
R_BINARY_BY_DATA = REPLIES["binary_by_data"]
R_EARLY_DATA = REPLIES["early_data"]
R_TLS_ACTIVE = REPLIES["tls_active"]
R_AUTH_DONE = REPLIES["auth_done"]
R_AUTH_NEEDS_TLS = REPLIES["auth_needs_tls"]
R_AUTH_LINE_TOO_LONG = REPLIES["auth_line_too_long"]
