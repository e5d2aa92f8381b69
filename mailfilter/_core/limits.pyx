# cython: nonecheck=True
"""How much one session may take.

Must not know: what is done when a limit is reached.
"""
cimport cython

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")


@cython.final
cdef class Limits:
    """What one session may take, all int.

    line_bytes: octets of a command line with its CR LF (500 5.5.2). RFC 5321 §4.5.3.1.4 asks for 512, extensions
        for more.
    auth_line_bytes: the same for AUTH and the lines of its exchange (500 5.5.6). RFC 4954 §4 asks for 12288.
    recipients: of one transaction (452 4.5.3). RFC 5321 §4.5.3.1.8 asks for 100.
    message_bytes: octets of a message as RFC 1870 §3 counts them, 0 for no limit (552 5.3.4).
    header_bytes, header_fields: of its header section (552 5.3.4).
    errors: bad commands that are answered; the next one is 421 4.7.0 and closes. An accepted message sets the
        count back.
    pending_bytes: input that waits, above which `Session.full` asks the caller to stop reading.
    """

    def __init__(self, *, line_bytes=2048, auth_line_bytes=12288, recipients=1000, message_bytes=52428800,
                 header_bytes=262144, header_fields=1000, errors=20, pending_bytes=65536):
        if min(line_bytes, auth_line_bytes) < 64:
            raise ValueError("line_bytes and auth_line_bytes must be 64 or more")
        if min(recipients, header_bytes, header_fields, pending_bytes) < 1 or min(message_bytes, errors) < 0:
            raise ValueError("a limit is too small")
        self.line_bytes = line_bytes
        self.auth_line_bytes = auth_line_bytes
        self.recipients = recipients
        self.message_bytes = message_bytes
        self.header_bytes = header_bytes
        self.header_fields = header_fields
        self.errors = errors
        self.pending_bytes = pending_bytes
