"""Why the program itself ends a session, and what the client reads then.

Must not know: how it is found out, sessions.
"""

__all__ = ["ENDINGS", "ending"]

ENDINGS = {
    "early_bytes": (554, b"5.5.0 Talking before the greeting is a protocol error"),
    "foreign_commands": (521, b"5.5.1 This is an SMTP server, closing"),
    "pipelined_commands": (421, b"4.7.0 Too many commands sent ahead of replies, closing"),
    "commands": (421, b"4.7.0 Too many commands in one session, closing"),
    "transactions": (421, b"4.7.0 Too many transactions in one session, closing"),
    "session_recipients": (421, b"4.7.0 Too many recipients in one session, closing"),
    "session_bytes": (421, b"4.7.0 Too much data in one session, closing"),
    "command": (421, b"4.4.2 No command came for %d seconds, closing"),
    "data_block": (421, b"4.4.2 Nothing came for %d seconds, closing"),
    "data_rate": (421, b"4.4.2 The message comes too slowly, closing"),
    "transaction": (421, b"4.4.2 The transaction takes longer than %d seconds, closing"),
    "session": (421, b"4.4.2 The session takes longer than %d seconds, closing"),
}
"""By the limit or timeout: the code and the text; %d stands for the seconds of the timeout. What is not even text
ends without a reply, also for foreign_commands."""

def ending(name, timeouts):
    """(code, text) for one of ENDINGS."""
    code, text = ENDINGS[name]
    return code, text % getattr(timeouts, name) if b"%d" in text else text
