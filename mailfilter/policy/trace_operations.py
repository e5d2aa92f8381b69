"""The operation behind receivedHeader: the trace field of a message (RFC 5321 §4.4).

Compiled: trace_operations.pxd. Must not know: connections, headers of messages.
"""
import re
import time
from email.utils import formatdate

__all__ = ["date", "received"]

# What does not go into a comment (RFC 5322 §3.2.2) or for a name in HELO; a client or a proxy in front may say anything.
_ODD_IN_COMMENT = re.compile(r"[^A-Za-z0-9._+-]")
_ODD_IN_HELO = re.compile(r"[^A-Za-z0-9._:\[\]-]")

_second, _text = 0, ""


def date(context):
    """Now, as RFC 5322 §3.3 writes it, with the time zone's name as a comment."""
    global _second, _text
    now = int(time.time())
    if now != _second:
        _second, _text = now, f"{formatdate(now, localtime=True)} ({time.strftime('%Z', time.localtime(now))})"
    return _text


def _plain(value):
    return _ODD_IN_COMMENT.sub("?", str(value))


def received(context, hostname, helo, name, address, protocol, identifier, recipient):
    """The value, in parts. helo and name (that of the client's address) may be null; identifier may be empty."""
    told = "unknown" if helo is None else _ODD_IN_HELO.sub("?", helo)
    by = f"\tby {hostname} (Mailfilter) with {protocol}"
    if identifier:
        by += f" id {identifier}"
    tls = context.tls
    if tls:
        bits = "" if tls["bits"] is None else f" bits={tls['bits']}"
        version, cipher = ("unknown" if value is None else _plain(value) for value in (tls["version"], tls["cipher"]))
        by += f"\r\n\t(version={version} cipher={cipher}{bits})"
    if recipient is not None:
        by += f"\r\n\tfor {recipient}"
    where = f"IPv6:{address}" if ":" in address else address
    return [f"from {told} ({'unknown' if name is None else _plain(name)} [{where}])", *(by + ";").split("\r\n"),
            "\t" + date(context)]
