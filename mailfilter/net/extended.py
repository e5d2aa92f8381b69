"""The part of a session that is beyond RFC 5321: what it offers, STARTTLS.

`Inbound` is made with it.

Must not know: handlers' results, messages, JavaScript values.
"""
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_TLS
from mailfilter.net import tls_inbound
from mailfilter.net.rules import extensions_of

__all__ = ["EXTENDED", "Extended"]

# The events that are asked here.
EXTENDED = frozenset((core.EV_STARTTLS,))


class Extended:
    """What `Inbound` inherits. The attributes are declared there."""

    __slots__ = ()

    def _offer(self):
        """Tell the state machine, and the policy, what this session may be offered now."""
        base = self.rules.extensions if self.limits is self.rules.limits else extensions_of(self.limits)
        offers, lines = [], []
        if self.worker.tls is not None:
            offers.append(b"STARTTLS")
            if self.tls is None:
                lines.append("STARTTLS")
        if offers:
            self.session.offer(offers)
        self.context.extensions = base + lines if lines else base

    def _ask_extended(self, event):
        if "smtpStartTls" in self.driver.policy.handlers:
            self._run(event, "smtpStartTls", (), self.timeouts.handler)
        else:
            self.session.reply_default()

    # TLS.

    def _start_tls(self):
        """If STARTTLS was accepted, and its reply is on its way: begin the handshake."""
        if self.session.state == ST_TLS and not self.handshaking and self._writable and not self._lost:
            self._reading = True                # the stream reads on
            tls_inbound.begin(self, self._tls_started)

    def _tls_started(self):
        """The client is a stranger again (RFC 3207 §4.2)."""
        self.session.tls_started()
        self.context.tls = self.tls
        self._offer()
        self.driver.tell({"clientname": None, "proto": "SMTP"})
        self._progressed()
        self._advance()
