"""What the other side had said before writing to it failed, and the transport did not read any more.

Whoever does not want the rest of a message says why and closes, and closing with octets unread resets the connection: then
writing fails, and a transport gives up without looking whether something had come. It has stayed with the operating
system until the socket is closed, which a transport does after its protocol's connection_lost().

Must not know: protocols.
"""
import os

__all__ = ["OCTETS", "last_words"]

OCTETS = 262144
"""So many octets are read at most; what is behind them is lost."""


def last_words(transport):
    """The octets that have come on `transport` and were not read, bytes; to be called within connection_lost(), with an error."""
    connection = transport.get_extra_info("socket")
    words = bytearray()
    try:
        while connection is not None and len(words) < OCTETS:
            octets = os.read(connection.fileno(), 65536)
            if not octets:
                break
            words += octets
    except (OSError, ValueError):       # nothing is left, or it is closed
        pass
    return bytes(words)
