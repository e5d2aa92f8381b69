"""What holds for all sessions of one listener: limits, timeouts, extensions. Made once, not for each connection.

Must not know: sessions.
"""
from typing import NamedTuple

from mailfilter._core import session as core

__all__ = ["Rules", "core_limits", "extensions_of", "rules_of"]


class Rules(NamedTuple):
    """Of one listener: config.Limits, config.Timeouts, the core's share of the limits, what EHLO can announce, and what this
    host is called, as text.

    offers: what the state machine may offer besides (core.session.Session.offer). in_clear, in_tls: the lines of EHLO that say
        so to clients without and with TLS.
    trusted: the Networks whose clients may use XCLIENT and XFORWARD; None where there are none.
    """

    limits: object
    timeouts: object
    core_limits: object
    extensions: list
    hostname: str
    offers: tuple
    in_clear: list
    in_tls: list
    trusted: object


MECHANISMS = ("PLAIN", "LOGIN")
"""What AUTH announces where the policy does not say."""

def rules_of(worker, label):
    """The Rules for the listener called `label`; kept in `worker.rules`, for as long as these terms hold."""
    limits = worker.limits_of(label)
    rules = worker.rules[label] = Rules(limits, worker.timeouts_of(label), core_limits(limits), extensions_of(limits),
                                        worker.hostname.decode("ascii", "replace"), *_offers(worker),
                                        None if worker.trusted.empty else worker.trusted)
    return rules


def _offers(worker):
    """`offers`, `in_clear` and `in_tls` of Rules."""
    offers, in_clear, in_tls = [], [], []
    if worker.tls is not None:
        offers.append(b"STARTTLS")
        in_clear.append("STARTTLS")
    if "smtpAuth" in worker.policy.handlers:
        offers.append(b"AUTH")
        line = " ".join(("AUTH", *(worker.policy.statics.get("authMechanisms") or MECHANISMS)))
        in_tls.append(line)
        if worker.auth_without_tls:
            in_clear.append(line)
    return tuple(offers), in_clear, in_tls


def core_limits(limits):
    """The core's share of config.Limits."""
    return core.Limits(**{name: getattr(limits, name) for name in (
        "line_bytes", "auth_line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors",
        "pending_bytes")})


def extensions_of(limits):
    """What EHLO can announce, in the words of an EHLO reply."""
    return ["PIPELINING", f"SIZE {limits.message_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"]
