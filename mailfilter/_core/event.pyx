# cython: nonecheck=True
"""What a session tells its caller: one object for each thing that happened.

An event is never used twice: whoever gets one may keep it, and may change the session while doing so.

Must not know: how the session came to it.
"""
cimport cython

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

EVENT_NAMES = ("", "CONNECT", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT",
               "BDAT", "AUTH", "STARTTLS", "XCLIENT", "XFORWARD", "UNKNOWN", "AUTH_LINE", "MESSAGE", "BODY", "DISCARDED", "REJECTED", "CLOSED")


@cython.final
@cython.freelist(32)
cdef class Event:
    """Something that happened. Which attributes mean something depends on the kind; the others are b"", None, 0.

    asks: the session waits for Session.reply.

    EV_CONNECT              (asks) the first event; the reply is the greeting
    EV_HELO, EV_EHLO        (asks) text: the first word of the argument
    EV_MAIL, EV_RCPT        (asks) path
    EV_DATA                 (asks) before the message; 3xx lets it come. text: b"" after DATA, b"BDAT" when it comes in
                            chunks
    EV_BODY                 chunk: octets of the body; wire: in wire form (dot-stuffed), as DATA has it, or plain, as
                            BDAT has it
    EV_MESSAGE              (asks) the whole message is there. fields: its header; separator: there was a blank line;
                            body_bytes, message_bytes: octets without the sender's dots; wire: as above; binary: it was
                            declared as BINARYMIME, and its body may hold any octets
    EV_DISCARDED            the message is refused by the core or by abort_message, and ends here: reply is what
                            the client gets; None when the client went away before the end, or gave it up by RSET, HELO,
                            EHLO or QUIT between two chunks
    EV_RSET, EV_NOOP, EV_VRFY, EV_EXPN, EV_HELP, EV_QUIT  (asks) text: the argument
    EV_AUTH                 (asks) text: mechanism and initial response as sent. 2xx authenticates, 334 is a challenge
    EV_AUTH_LINE            (asks) text: the client's answer to a challenge, in base64 as sent. reply: None; or what it
                            gets whatever is decided, because the exchange is over (cancelled, or no base64)
    EV_STARTTLS             (asks) after 220 nothing more happens before Session.tls_started
    EV_XCLIENT              (asks) attributes: a list of (name, value or None); 2xx is followed by a new EV_CONNECT, whose
                            reply is the answer to the command
    EV_XFORWARD             (asks) attributes
    EV_BDAT                 never given: see EV_DATA
    EV_UNKNOWN              (asks) text: the line
    EV_REJECTED             the core refused a command; reply: what was answered, text: the line (at most line_bytes)
    EV_CLOSED               the last event
    """

    def __init__(self):
        raise TypeError("events are made by a Session")

    @property
    def name(self):
        """The kind in words, EV_MAIL is "MAIL"."""
        return EVENT_NAMES[self.kind]

    @property
    def asks(self):
        return self.kind <= EV_MESSAGE

    def __repr__(self):
        shown = [f"{key}={value!r}" for key in ("text", "path", "chunk", "fields", "attributes", "reply")
                 if (value := getattr(self, key))]
        return f"Event({', '.join([self.name, *shown])})"


cdef Event event_new(int kind, bytes text):
    """A new event of this kind."""
    cdef Event event = Event.__new__(Event)
    event.kind = kind
    event.text = text
    return event
