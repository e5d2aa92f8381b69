"""AUTH in a session (RFC 4954): a handler decides, and while it waits for the client's answer to a challenge, the session
reads on.

`Inbound` is made with it. What a client says here is never logged: it is a password, or as good as one.

Must not know: mechanisms, JavaScript values.
"""
from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_AUTH
from mailfilter.mail.octets import octets

__all__ = ["AUTH", "Authenticating"]

AUTH = frozenset((core.EV_AUTH, core.EV_AUTH_LINE))

_ENDED = {outcome: metrics.slot("authentications_total", outcome)
          for outcome in ("accepted", "refused", "failed", "cancelled")}


class Authenticating:
    """What `Inbound` inherits. The attributes are declared there."""

    __slots__ = ()

    def _ask_auth(self, event):
        if event.kind == core.EV_AUTH:
            mechanism, *initial = event.text.split(None, 1)
            self._mechanism = mechanism.upper()
            self.context.identity = None
            self._run(event, "smtpAuth", (self._mechanism, initial[0] if initial else None), self.timeouts.handler)
            return
        waiting, self._challenged = self._challenged, None
        if waiting is None:                 # the handler has been given up
            self.session.reply_default()
            return
        self._asked = event
        waiting.done("*" if event.reply is not None else event.text)

    def _challenge(self, waiting, text):
        """A handler asks the client; `waiting` gets the answer. ValueError: it cannot be asked now, or not that."""
        asked = self._asked
        if asked is None or asked.kind not in AUTH:
            raise ValueError("the client has not said AUTH")
        if asked.reply is not None:
            raise ValueError("the client has given up")
        self.session.reply(334, [text])
        self._asked = None
        self._challenged = waiting
        waiting.on_cancel = self._forget_challenge
        self._progressed()
        self._flush()
        self.worker.loop.call_soon(self._read_on)

    def _forget_challenge(self):
        self._challenged = None

    def _read_on(self):
        """What has come while the handler ran may be the answer."""
        if not self._closing and not self._lost:
            self._advance()

    def _overdue(self, outcome):
        """The handler's time is up while the client was to answer."""
        self._log_fault(outcome.fault)
        if self.session.state == ST_AUTH:
            metrics.count(_ENDED["failed"])
            self.session.refuse(421, [b"4.4.2 Authentication took too long, closing"])
        self._advance()

    def _answer_auth(self, event, outcome):
        session, fate = self.session, "failed"
        if event.reply is not None:
            fate = "cancelled"
            if outcome.dead:
                session.refuse(421, [self._sorry()])
            else:
                session.reply_default()
        elif outcome.fault is not None:
            self._log_fault(outcome.fault)
            if outcome.dead:
                session.reply(421, [self._sorry()], True)
            else:
                session.reply(454, [b"4.7.0 Temporary authentication failure"], outcome.disconnect)
        elif outcome.code == 0:
            session.reply_default()
        else:
            lines, identity = [octets(line) for line in outcome.lines], None
            if outcome.code < 300:
                fate, identity = "accepted", octets(self.context.identity)
            elif outcome.code >= 500:
                fate = "refused"
            session.reply(outcome.code, lines, outcome.disconnect, identity)
        metrics.count(_ENDED[fate])
        self.log.write(logs.INFO, self.session_id, f"AUTH {fate}", mechanism=self._mechanism, client=self.remote[0],
                       **({"identity": session.authenticated} if session.authenticated else {}),
                       **({"reply": f"{outcome.code} {outcome.lines[0]}"} if outcome.code >= 400 and event.reply is None else {}))
