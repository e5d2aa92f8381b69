"""What holds for all sessions of one listener: limits, timeouts, extensions. Made once, not for each connection.

Compiled: rules.pxd. Must not know: sessions.
"""
from mailfilter._core import session as core

__all__ = ["MECHANISMS", "Rules", "core_limits", "extensions_of", "rules_of"]

MECHANISMS = ("PLAIN", "LOGIN")
"""What AUTH announces where the policy does not say."""


class Rules:
    """The rules of one listener.

    limits, timeouts: config.Limits, config.Timeouts; core_limits: the core's share of the limits.
    extensions: what EHLO can announce to everybody; hostname: what this host is called, as text.
    offers: what the state machine may offer besides (core.session.Session.offer); in_clear, in_tls: the lines of EHLO that
        say so to clients without and with TLS.
    trusted: the Networks whose clients may use XCLIENT and XFORWARD; None where there are none.
    """

    def __init__(self, worker, label):
        self.limits = worker.limits_of(label)
        self.timeouts = worker.timeouts_of(label)
        self.core_limits = core_limits(self.limits)
        self.extensions = extensions_of(self.limits)
        self.hostname = worker.hostname.decode("ascii", "replace")
        self.trusted = None if worker.trusted.empty else worker.trusted
        offers, self.in_clear, self.in_tls = [], [], []
        if worker.tls is not None:
            offers.append(b"STARTTLS")
            self.in_clear.append("STARTTLS")
        if "smtpAuth" in worker.policy.handlers:
            offers.append(b"AUTH")
            line = " ".join(("AUTH", *(worker.policy.statics.get("authMechanisms") or MECHANISMS)))
            self.in_tls.append(line)
            if worker.auth_without_tls:
                self.in_clear.append(line)
        self.offers = tuple(offers)


def rules_of(worker, label):
    """The Rules for the listener called `label`; kept in `worker.rules`, for as long as these terms hold."""
    rules = worker.rules[label] = Rules(worker, label)
    return rules


def core_limits(limits):
    """The core's share of config.Limits."""
    return core.Limits(**{name: getattr(limits, name) for name in (
        "line_bytes", "auth_line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors",
        "pending_bytes")})


def extensions_of(limits):
    """What EHLO can announce, in the words of an EHLO reply."""
    return ["PIPELINING", f"SIZE {limits.message_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"]
