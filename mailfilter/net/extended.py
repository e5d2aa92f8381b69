"""The part of a session that is beyond RFC 5321: what it offers, STARTTLS, XCLIENT and XFORWARD, a reply for each recipient.

`Inbound` inherits it.

Compiled: extended.pxd. Must not know: handlers, messages, JavaScript values.
"""
from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_TLS
from mailfilter.mail.octets import octets
from mailfilter.net import tls_inbound
from mailfilter.net.authentication import AUTH
from mailfilter.net.restraint import Restrained
from mailfilter.net.rules import extensions_of

__all__ = ["EXTENDED", "Extended"]

# The events that are asked here.
EXTENDED = frozenset((core.EV_STARTTLS, core.EV_XCLIENT, core.EV_XFORWARD, *AUTH))

_XCLIENT = metrics.slot("xclients_total")


class Extended(Restrained):
    """What `Inbound` inherits. It has no attributes of its own."""

    def _offer(self):
        """Tell the state machine, and the policy, what this session may be offered now."""
        rules = self.rules
        base = rules.extensions if self.limits is rules.limits else extensions_of(self.limits)
        offers, lines = rules.offers, rules.in_clear if self.tls is None else rules.in_tls
        # After XCLIENT who speaks is the same as before.
        if rules.trusted is not None and self.remote[0] in rules.trusted or self._xclient is not None:
            offers += (b"XCLIENT", b"XFORWARD")
        if offers:
            self.session.offer(offers)
        self.context.extensions = base + lines if lines else base

    def _ask_extended(self, event):
        kind = event.kind
        if kind in AUTH:
            self._ask_auth(event)
        elif kind == core.EV_XCLIENT:
            if self.driver.started and not self.driver.heap.dead:
                self._run(event, "cleanup", (), self.timeouts.handler)
            else:
                self._become(event)
        elif kind == core.EV_XFORWARD:
            self._forwarded = {**(self._forwarded or {}), **_properties(event.attributes)}
            self.driver.tell({"forwarded": self._forwarded})
            self.log.write(logs.INFO, self.session_id, "XFORWARD", **_of_log(event.attributes))
            self.session.reply_default()
        elif "smtpStartTls" in self.driver.policy.handlers:
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
        self.driver.tell({"clientname": None, "proto": "SMTP", "authenticated": None})
        self._progressed()
        self._advance()

    # XCLIENT and XFORWARD, as Postfix has them.

    def _become(self, event):
        """The client is somebody else from now on: its session begins anew, with a policy that knows nothing of before."""
        metrics.count(_XCLIENT)
        self.log.write(logs.INFO, self.session_id, "XCLIENT", **_of_log(event.attributes))
        self._xclient = told = {**(self._xclient or {}), **_properties(event.attributes)}
        if "ADDR" in told or "PORT" in told:
            self.remote = (told.get("ADDR", self.remote[0]) or "unknown", int(told.get("PORT", self.remote[1]) or 0))
        self.driver.close()
        self.context.close()
        self._make_policy()
        properties = {"xclient": told, "authenticated": told.get("LOGIN")}
        if told.get("HELO"):
            properties["clientname"] = told["HELO"]
        if told.get("PROTO"):
            properties["proto"] = told["PROTO"]
        self.driver.tell(properties)
        self.session.reply_default()

    # PRDR.

    def _reply_each(self, outcome, lines):
        """Answer a message for each recipient where the client has asked for it; whether it was answered."""
        replies, self.context.replies = self.context.replies, None
        if replies is None or not self.session.transaction.prdr or len(replies) != len(self.session.transaction.recipients):
            return False
        self.session.reply_each([(code, [octets(line) for line in texts]) for code, *texts in replies], outcome.code, lines,
                                outcome.disconnect)
        return True


def _properties(attributes):
    # Postfix says what is not ASCII in xtext as it is; that need not be UTF-8.
    return {name.decode(): None if value is None else value.decode("utf-8", "surrogateescape") for name, value in attributes}


def _of_log(attributes):
    return {name.decode().lower(): "-" if value is None else value for name, value in attributes}
