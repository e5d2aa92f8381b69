"""xtext (RFC 3461 §4): how octets travel in parameters of SMTP commands, and in XCLIENT and XFORWARD.

Must not know: which parameter it is for.
"""

__all__ = ["xtext"]

_PLAIN = frozenset(range(33, 127)) - {ord("+"), ord("=")}


def xtext(octets):
    """The octets as xtext: whatever is not printable ASCII, and "+", "=", as "+" and two hexadecimal digits."""
    return b"".join(bytes((octet,)) if octet in _PLAIN else b"+%02X" % octet for octet in octets)
