"""What the log is told of a session: every message with its fate, why anything was refused, faults, and a summary at its end.

`Inbound` is made with it. Must not know: how anything was decided.
"""
from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_AUTH, ST_DATA
from mailfilter.errors import TemporaryFailure
from mailfilter.net import tls_inbound

__all__ = ["Told"]

_LOST = metrics.slot("messages_total", "lost")


class Told:
    """What `Inbound` inherits. The attributes are declared there."""

    __slots__ = ()

    def _log_outcome(self, event, outcome):
        """What a mail administrator looks for: every message with its fate, and why anything was refused."""
        kind, code = event.kind, outcome.code
        if kind == core.EV_DISCARDED or (kind != core.EV_MESSAGE and code < 400):
            return
        if outcome.fault is not None:
            reply = "the policy failed"
        else:
            reply = f"{code} {outcome.lines[0] if outcome.lines else ''}" if code else "default"
        if self._lost:
            reply += " (the client has left)"
        if kind == core.EV_MESSAGE:
            self._log_message(event, "accepted" if 200 <= code < 300 else "refused", reply)
            return
        about = event.path.text if event.path is not None else _harmless(event.text)
        self.log.write(logs.INFO, self.session_id, f"refused {event.name}", **({"of": about} if about else {}),
                       client=self.remote[0], reply=reply)

    def _log_message(self, event, fate, reply):
        transaction = self.session.transaction
        recipients = transaction.recipients
        self.log.write(logs.INFO, self.session_id, fate, sender=transaction.sender.text, recipient=recipients[0].text,
                       recipients=len(recipients), size=event.message_bytes, reply=reply)

    def _note_lost(self, event):
        """The log: a whole message that nobody is there to be answered for."""
        metrics.count(_LOST)
        if self.log.level >= logs.INFO:
            self._log_message(event, "lost", "the client has left without an answer")

    def _log_fault(self, fault):
        if type(fault) is TemporaryFailure:     # no mistake of the policy's: whose, the line says
            self.log.write(logs.WARNING, self.session_id, str(fault))
            return
        self.faults += 1
        excerpt = (fault.source_line or "").strip()
        self.log.write(logs.ERR, self.session_id, str(fault), **({"source": excerpt} if excerpt else {}))

    def _log_summary(self):
        session = self.session
        self.log.write(
            logs.INFO, self.session_id, "session", client=self.remote[0], port=self.remote[1],
            helo=session.hello or b"-", **tls_inbound.of_log(self.tls), messages=self.messages, accepted=self.accepted,
            refused=self.refused, faults=self.faults,
            seconds=f"{self.worker.loop.time() - self.deadlines.begun:.3f}", policy=self.worker.policy.version)

    def _debug_input(self, data):
        """debugProtocol: what the client says, line by line; of a message only how much came."""
        if self.session.state == ST_DATA:
            self.log.write(logs.INFO, self.session_id, f"client > {len(data)} bytes of message")
            return
        secret = self.session.state == ST_AUTH
        lines = (self._debug_line + data).split(b"\n")
        self._debug_line = lines.pop()[-4096:]
        for line in lines:
            shown = b"(not shown)" if secret else _harmless(line.rstrip(b"\r"))
            secret = secret or shown[:5].upper() == b"AUTH "    # what is sent behind it may be its answer
            self.log.write(logs.INFO, self.session_id, b"client > " + shown)


def _harmless(line):
    """A command as it may stand in the log: behind AUTH and its mechanism there is a password, or as good as one."""
    words = line.split(None, 2)
    return b" ".join((*words[:2], b"(not shown)")) if len(words) > 2 and words[0].upper() == b"AUTH" else line
