"""What holds for all sessions of one listener: limits, timeouts, extensions. Made once, not for each connection.

Must not know: sessions.
"""
from typing import NamedTuple

from mailfilter._core import session as core

__all__ = ["Rules", "core_limits", "extensions_of", "rules_of"]


class Rules(NamedTuple):
    """Of one listener: config.Limits, config.Timeouts, the core's share of the limits, what EHLO can announce, and what this
    host is called, as text."""

    limits: object
    timeouts: object
    core_limits: object
    extensions: list
    hostname: str


def rules_of(worker, label):
    """The Rules for the listener called `label`; kept in `worker.rules`, for as long as these terms hold."""
    limits = worker.limits_of(label)
    rules = worker.rules[label] = Rules(limits, worker.timeouts_of(label), core_limits(limits), extensions_of(limits),
                                        worker.hostname.decode("ascii", "replace"))
    return rules


def core_limits(limits):
    """The core's share of config.Limits."""
    return core.Limits(**{name: getattr(limits, name) for name in (
        "line_bytes", "auth_line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors",
        "pending_bytes")})


def extensions_of(limits):
    """What EHLO can announce, in the words of an EHLO reply."""
    return ["PIPELINING", f"SIZE {limits.message_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"]
