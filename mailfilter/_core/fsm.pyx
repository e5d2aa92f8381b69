# cython: nonecheck=True
"""The state machines of both sides, as tables (RFC 5321 §4.1.4). Nothing but this file writes a state.

SERVER_TABLE: (state, what happened) -> next state, for the side that faces the client. A command happens when it
has been accepted. What is not in the table is answered 503 5.5.1 and changes nothing.

CLIENT_TABLE: the same for the side that faces the next hop. It is wider: whether a command is in order is for the
next hop to say. The table only knows when nothing may be sent at all, because the next hop would take it
for text of a message.

A transaction is one object, which lives in ServerMachine: it is made on entering ST_MAIL and dropped on leaving
ST_MAIL, ST_RCPT, ST_CHUNKS and ST_DATA. There are no fields that somebody must remember to clear.

Must not know: bytes, replies, texts, limits.
"""
cimport cython

from mailfilter._core.address cimport Path
from mailfilter._core.command cimport (
    CMD_AUTH, CMD_BDAT, CMD_DATA, CMD_EHLO, CMD_EXPN, CMD_HELO, CMD_HELP, CMD_MAIL, CMD_NOOP, CMD_QUIT, CMD_RCPT, CMD_RSET,
    CMD_STARTTLS, CMD_UNKNOWN, CMD_VRFY, CMD_XCLIENT, CMD_XFORWARD)
from mailfilter._core.parameters cimport MAIL_8BIT, MAIL_BINARY, MAIL_PRDR, MAIL_REQUIRETLS, MAIL_UTF8

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

STATE_NAMES = ("CONNECT", "REFUSED", "GREETED", "READY", "MAIL", "RCPT", "CHUNKS", "DATA", "AUTH", "TLS", "CLOSED")
INPUT_NAMES = ("HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT", "BDAT", "AUTH",
               "STARTTLS", "XCLIENT", "XFORWARD", "unknown verb", "greeting", "refusal", "chunk received",
               "message answered", "challenge", "authentication failed", "TLS started", "close")

SERVER_TABLE = {
    (ST_CONNECT, IN_GREETING): ST_GREETED,
    (ST_CONNECT, IN_REFUSAL): ST_REFUSED,
    (ST_CONNECT, IN_TLS): ST_CONNECT,
    (ST_CONNECT, IN_CLOSE): ST_CLOSED,

    (ST_REFUSED, CMD_QUIT): ST_CLOSED,
    (ST_REFUSED, IN_CLOSE): ST_CLOSED,

    (ST_GREETED, CMD_HELO): ST_READY,
    (ST_GREETED, CMD_EHLO): ST_READY,
    (ST_GREETED, CMD_RSET): ST_GREETED,
    (ST_GREETED, CMD_NOOP): ST_GREETED,
    (ST_GREETED, CMD_VRFY): ST_GREETED,
    (ST_GREETED, CMD_EXPN): ST_GREETED,
    (ST_GREETED, CMD_HELP): ST_GREETED,
    (ST_GREETED, CMD_UNKNOWN): ST_GREETED,
    (ST_GREETED, CMD_STARTTLS): ST_TLS,
    (ST_GREETED, CMD_XCLIENT): ST_CONNECT,
    (ST_GREETED, CMD_XFORWARD): ST_GREETED,
    (ST_GREETED, CMD_QUIT): ST_CLOSED,
    (ST_GREETED, IN_CLOSE): ST_CLOSED,

    (ST_READY, CMD_HELO): ST_READY,
    (ST_READY, CMD_EHLO): ST_READY,
    (ST_READY, CMD_MAIL): ST_MAIL,
    (ST_READY, CMD_RSET): ST_READY,
    (ST_READY, CMD_NOOP): ST_READY,
    (ST_READY, CMD_VRFY): ST_READY,
    (ST_READY, CMD_EXPN): ST_READY,
    (ST_READY, CMD_HELP): ST_READY,
    (ST_READY, CMD_UNKNOWN): ST_READY,
    (ST_READY, CMD_AUTH): ST_READY,
    (ST_READY, IN_CHALLENGE): ST_AUTH,
    (ST_READY, CMD_STARTTLS): ST_TLS,
    (ST_READY, CMD_XCLIENT): ST_CONNECT,
    (ST_READY, CMD_XFORWARD): ST_READY,
    (ST_READY, CMD_QUIT): ST_CLOSED,
    (ST_READY, IN_CLOSE): ST_CLOSED,

    (ST_MAIL, CMD_HELO): ST_READY,
    (ST_MAIL, CMD_EHLO): ST_READY,
    (ST_MAIL, CMD_RCPT): ST_RCPT,
    (ST_MAIL, CMD_RSET): ST_READY,
    (ST_MAIL, CMD_NOOP): ST_MAIL,
    (ST_MAIL, CMD_VRFY): ST_MAIL,
    (ST_MAIL, CMD_EXPN): ST_MAIL,
    (ST_MAIL, CMD_HELP): ST_MAIL,
    (ST_MAIL, CMD_UNKNOWN): ST_MAIL,
    (ST_MAIL, CMD_QUIT): ST_CLOSED,
    (ST_MAIL, IN_CLOSE): ST_CLOSED,

    (ST_RCPT, CMD_HELO): ST_READY,
    (ST_RCPT, CMD_EHLO): ST_READY,
    (ST_RCPT, CMD_RCPT): ST_RCPT,
    (ST_RCPT, CMD_DATA): ST_DATA,
    (ST_RCPT, CMD_BDAT): ST_DATA,
    (ST_RCPT, CMD_RSET): ST_READY,
    (ST_RCPT, CMD_NOOP): ST_RCPT,
    (ST_RCPT, CMD_VRFY): ST_RCPT,
    (ST_RCPT, CMD_EXPN): ST_RCPT,
    (ST_RCPT, CMD_HELP): ST_RCPT,
    (ST_RCPT, CMD_UNKNOWN): ST_RCPT,
    (ST_RCPT, CMD_QUIT): ST_CLOSED,
    (ST_RCPT, IN_CLOSE): ST_CLOSED,

    (ST_CHUNKS, CMD_HELO): ST_READY,
    (ST_CHUNKS, CMD_EHLO): ST_READY,
    (ST_CHUNKS, CMD_BDAT): ST_DATA,
    (ST_CHUNKS, CMD_RSET): ST_READY,
    (ST_CHUNKS, CMD_NOOP): ST_CHUNKS,
    (ST_CHUNKS, CMD_VRFY): ST_CHUNKS,
    (ST_CHUNKS, CMD_EXPN): ST_CHUNKS,
    (ST_CHUNKS, CMD_HELP): ST_CHUNKS,
    (ST_CHUNKS, CMD_UNKNOWN): ST_CHUNKS,
    (ST_CHUNKS, CMD_QUIT): ST_CLOSED,
    (ST_CHUNKS, IN_MESSAGE): ST_READY,
    (ST_CHUNKS, IN_CLOSE): ST_CLOSED,

    (ST_DATA, IN_CHUNK): ST_CHUNKS,
    (ST_DATA, IN_MESSAGE): ST_READY,
    (ST_DATA, IN_CLOSE): ST_CLOSED,

    (ST_AUTH, CMD_AUTH): ST_READY,
    (ST_AUTH, IN_CHALLENGE): ST_AUTH,
    (ST_AUTH, IN_AUTH_OVER): ST_READY,
    (ST_AUTH, IN_CLOSE): ST_CLOSED,

    (ST_TLS, IN_TLS): ST_GREETED,
    (ST_TLS, IN_CLOSE): ST_CLOSED,
}

CLIENT_STATE_NAMES = ("GREETING", "READY", "MAIL", "RCPT", "DATA", "SENDING", "CHUNKS", "FINAL", "AUTH", "CHALLENGE",
                      "STARTTLS", "TLS", "XCLIENT", "CLOSED")
CLIENT_INPUT_NAMES = ("greeted", "hello or reset", "MAIL", "RCPT", "DATA sent", "354", "DATA refused", "chunk sent",
                      "chunk refused", "end sent", "message answered", "AUTH or its line sent", "334 to AUTH",
                      "STARTTLS sent", "STARTTLS accepted", "XCLIENT sent", "answered or TLS started", "close")

CLIENT_TABLE = {
    (NH_GREETING, NI_GREETED): NH_READY,
    (NH_GREETING, NI_CLOSE): NH_CLOSED,

    (NH_READY, NI_HELLO): NH_READY,
    (NH_READY, NI_MAIL): NH_MAIL,
    (NH_READY, NI_DATA): NH_DATA,
    (NH_READY, NI_AUTH): NH_AUTH,
    (NH_READY, NI_STARTTLS): NH_STARTTLS,
    (NH_READY, NI_XCLIENT): NH_XCLIENT,
    (NH_READY, NI_CLOSE): NH_CLOSED,

    (NH_MAIL, NI_HELLO): NH_READY,
    (NH_MAIL, NI_MAIL): NH_MAIL,
    (NH_MAIL, NI_RCPT): NH_RCPT,
    (NH_MAIL, NI_DATA): NH_DATA,
    (NH_MAIL, NI_CLOSE): NH_CLOSED,

    (NH_RCPT, NI_HELLO): NH_READY,
    (NH_RCPT, NI_MAIL): NH_MAIL,
    (NH_RCPT, NI_RCPT): NH_RCPT,
    (NH_RCPT, NI_DATA): NH_DATA,
    (NH_RCPT, NI_CHUNK): NH_CHUNKS,
    (NH_RCPT, NI_END): NH_FINAL,
    (NH_RCPT, NI_CLOSE): NH_CLOSED,

    # What was sent before DATA and is answered now moves the state that DATA falls back to: see ClientMachine.
    (NH_DATA, NI_GO): NH_SENDING,
    (NH_DATA, NI_CLOSE): NH_CLOSED,

    (NH_SENDING, NI_END): NH_FINAL,
    (NH_SENDING, NI_CLOSE): NH_CLOSED,

    # A refused chunk leaves the next hop in a state that only RSET makes known again (RFC 3030 §2).
    (NH_CHUNKS, NI_CHUNK): NH_CHUNKS,
    (NH_CHUNKS, NI_END): NH_FINAL,
    (NH_CHUNKS, NI_REFUSED): NH_READY,
    (NH_CHUNKS, NI_HELLO): NH_READY,
    (NH_CHUNKS, NI_CLOSE): NH_CLOSED,

    (NH_FINAL, NI_REFUSED): NH_READY,
    (NH_FINAL, NI_DONE): NH_READY,
    (NH_FINAL, NI_CLOSE): NH_CLOSED,

    (NH_AUTH, NI_CHALLENGE): NH_CHALLENGE,
    (NH_AUTH, NI_ANSWERED): NH_READY,
    (NH_AUTH, NI_CLOSE): NH_CLOSED,

    (NH_CHALLENGE, NI_AUTH): NH_AUTH,
    (NH_CHALLENGE, NI_CLOSE): NH_CLOSED,

    (NH_STARTTLS, NI_SECURE): NH_TLS,
    (NH_STARTTLS, NI_ANSWERED): NH_READY,
    (NH_STARTTLS, NI_CLOSE): NH_CLOSED,

    (NH_TLS, NI_ANSWERED): NH_READY,
    (NH_TLS, NI_CLOSE): NH_CLOSED,

    (NH_XCLIENT, NI_ANSWERED): NH_READY,
    (NH_XCLIENT, NI_CLOSE): NH_CLOSED,
}

cdef signed char[ST_COUNT][IN_COUNT] _server
cdef signed char[NH_COUNT][NI_COUNT] _client


def _fill():
    for state in range(ST_COUNT):
        for what in range(IN_COUNT):
            _server[state][what] = SERVER_TABLE.get((state, what), -1)
    for state in range(NH_COUNT):
        for what in range(NI_COUNT):
            _client[state][what] = CLIENT_TABLE.get((state, what), -1)


_fill()


@cython.final
cdef class Transaction:
    """One mail transaction: from the accepted MAIL to the reply to the message.

    sender: Path; recipients: the accepted ones, a list of Path in their order; size: what MAIL declared (RFC 1870), or
    None.
    """

    def __init__(self):
        raise TypeError("a transaction begins with an accepted MAIL")

    @property
    def eight_bit(self):
        """Whether MAIL said BODY=8BITMIME (RFC 6152)."""
        return self.flags & MAIL_8BIT != 0

    @property
    def binary(self):
        """Whether MAIL said BODY=BINARYMIME (RFC 3030 §3)."""
        return self.flags & MAIL_BINARY != 0

    @property
    def utf8(self):
        """Whether MAIL said SMTPUTF8 (RFC 6531)."""
        return self.flags & MAIL_UTF8 != 0

    @property
    def prdr(self):
        """Whether the client wants a reply to the message for each recipient."""
        return self.flags & MAIL_PRDR != 0

    @property
    def requiretls(self):
        """Whether MAIL said REQUIRETLS (RFC 8689)."""
        return self.flags & MAIL_REQUIRETLS != 0


@cython.final
cdef class ServerMachine:
    """The state of a session, and its transaction, which is there from ST_MAIL to ST_DATA and only there."""

    cdef bint allows(self, int what) noexcept:
        """Whether `what` (CMD_... or IN_...) is in the table for the present state."""
        return _server[self.state][what] >= 0

    cdef int step(self, int what) except -1:
        """Move. The caller has asked allows(): what is not in the table is a fault of ours."""
        cdef int state = _server[self.state][what]
        if state < 0:
            raise RuntimeError(f"{INPUT_NAMES[what]} is impossible in {STATE_NAMES[self.state]}")
        self.state = state
        if not ST_MAIL <= state <= ST_DATA:
            self.transaction = None
        return 0

    cdef int open(self, Path sender, object size, int flags) except -1:
        """Accept MAIL: move, and begin a transaction."""
        cdef Transaction transaction = Transaction.__new__(Transaction)
        transaction.sender = sender
        transaction.recipients = []
        transaction.size = size
        transaction.flags = flags
        self.step(CMD_MAIL)
        self.transaction = transaction
        return 0


@cython.final
cdef class ClientMachine:
    """Where the next hop is, as far as its replies tell."""

    cdef bint allows(self, int what) noexcept:
        """Whether `what` (NI_...) is in the table for the present state."""
        return _client[self.state][what] >= 0

    cdef int step(self, int what) noexcept:
        """Move; what is not in the table changes nothing.

        In NH_DATA the replies to commands that were sent before DATA (RFC 2920) may still come. They move
        the state that a refused DATA leads back to, by the same table.
        """
        cdef int state
        if self.state == NH_DATA and what == NI_NO_GO:
            self.state = self._before_data
            return 0
        if self.state == NH_DATA and what < NI_DATA:
            state = _client[self._before_data][what]
            if state >= 0:
                self._before_data = state
            return 0
        state = _client[self.state][what]
        if state < 0:
            return 0
        if state == NH_DATA:
            self._before_data = self.state
        self.state = state
        return 0
