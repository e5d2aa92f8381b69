"""Recognising what is not SMTP: other protocols' first octets, and their commands among ours.

Browsers can be made to post to port 25, scanners try TLS, SSH and RDP on any port. Nothing that follows is for us, and
some of it is meant to be taken for mail.

Must not know: sessions, replies.
"""
import re

__all__ = ["command_of", "opening_of"]

_METHODS = rb"GET|POST|PUT|HEAD|OPTIONS|DELETE|CONNECT|PATCH|TRACE|PRI|PROPFIND"

# A request line of HTTP (RFC 9112 §3), of RTSP or SIP; the lines that SSH and RDP, or a Git client, begin with.
_COMMAND = re.compile(
    rb"(?P<http>(?:" + _METHODS + rb") (?:/|\*|[a-z]+://|[^ ]+:[0-9]+ )|(?:" + _METHODS + rb") [^ ]+ HTTP/[0-9])"
    rb"|(?P<sip>[A-Z]+ [^ ]+ (?:RTSP|SIP)/[0-9])"
    rb"|(?P<ssh>SSH-[0-9])"
    rb"|(?P<header>(?:Host|User-Agent|Accept|Content-Type|Content-Length|Connection): )", re.IGNORECASE)

# The first octet of what is no text: a record of TLS, TPKT (RDP), SOCKS.
_OPENINGS = {0x16: "tls", 0x03: "rdp", 0x04: "socks", 0x05: "socks"}
_TEXT = frozenset((*range(0x20, 0x7F), 0x09, 0x0A, 0x0D))


def opening_of(data):
    """The protocol that the first octets of a connection belong to, when they are not even text; else None.

    "tls", "rdp", "socks", or "binary".
    """
    first = data[0]
    return None if first in _TEXT else _OPENINGS.get(first, "binary")


def command_of(line):
    """The protocol that a line of text belongs to, which is no command of SMTP: "http", "sip", "ssh"; else None."""
    found = _COMMAND.match(line)
    if found is None:
        return None
    return "http" if found.lastgroup == "header" else found.lastgroup
