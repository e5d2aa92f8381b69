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
               "UNKNOWN", "MESSAGE", "BODY", "DISCARDED", "REJECTED", "CLOSED")


@cython.final
@cython.freelist(32)
cdef class Event:
    """Something that happened. Which attributes mean something depends on the kind; the others are b"", None, 0.

    asks: the session waits for Session.reply.

    EV_CONNECT              (asks) the first event; the reply is the greeting
    EV_HELO, EV_EHLO        (asks) text: the first word of the argument
    EV_MAIL, EV_RCPT        (asks) path
    EV_DATA                 (asks) before the message; 3xx lets it come
    EV_BODY                 chunk: octets of the body in wire form (dot-stuffed)
    EV_MESSAGE              (asks) the whole message is there. fields: its header; separator: there was a blank line;
                            body_bytes, message_bytes: octets without the sender's dots
    EV_DISCARDED            the message is refused by the core or by abort_message, and ends here: reply is what
                            the client gets; None when the client went away before the end
    EV_RSET, EV_NOOP, EV_VRFY, EV_EXPN, EV_HELP, EV_QUIT  (asks) text: the argument
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
        shown = [f"{key}={value!r}" for key in ("text", "path", "chunk", "fields", "reply")
                 if (value := getattr(self, key))]
        return f"Event({', '.join([self.name, *shown])})"


cdef Event event_new(int kind, bytes text):
    """A new event of this kind."""
    cdef Event event = Event.__new__(Event)
    event.kind = kind
    event.text = text
    return event
