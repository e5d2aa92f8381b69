"""The part of a session that holds a client to its limits: deadlines, numbers, early talk, other protocols, the tarpit.

`Inbound` is made with it. What the deadlines and numbers are is in deadlines.py and budget.py, what the client reads when
the session ends for one of them in endings.py.

Must not know: handlers, messages, JavaScript.
"""
from functools import lru_cache

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_CONNECT, ST_DATA
from mailfilter.net import foreign
from mailfilter.net.endings import ENDINGS, ending

__all__ = ["Restrained", "core_limits"]

_TIMEOUTS = ("command", "data_block", "transaction", "session")
_ENDED = {name: metrics.slot("timeouts_total" if name in _TIMEOUTS else "limits_total", name) for name in ENDINGS}
_DELAYED = metrics.slot("timeouts_total", "greeting_delay")


class Restrained:
    """What `Inbound` inherits. The attributes are declared there."""

    __slots__ = ()

    # Limits and deadlines.

    def _restrained(self, data):
        """Count what has come, and look at when it came; whether the session ends for it."""
        budget, state = self.budget, self.session.state
        if not budget.octets and foreign.opening_of(data):
            self._silent = True
            self._end_for("foreign_commands", protocol=foreign.opening_of(data))
            return True
        budget.octets += len(data)
        if state == ST_DATA:
            self.deadlines.progress = self.worker.loop.time()
        elif state == ST_CONNECT:
            self._talks_early()
        if 0 < self.limits.session_bytes < budget.octets:
            self._end_for("session_bytes")
        return self.ended_by is not None

    def _tick(self):
        """Is the client still in time? Looked at when a time could have passed, not at every input."""
        now, session = self.worker.loop.time(), self.session
        late, wait = self.deadlines.look(now, self.limits, self.timeouts, session.transaction is not None,
                                         session.state == ST_DATA, self.budget.octets)
        if late is not None:
            if self._asked is None and self._held is None:
                self._timer = None
                self._writable = True
                self._end_for(late)
                return
            wait = 1.0                  # the handler has a time limit of its own
        idle = now - self.deadlines.progress
        if idle >= self.timeouts.idle_heap:
            self.driver.sleep()
            self._slept = True          # what happens next sets the clock anew
        else:
            wait = min(wait, self.timeouts.idle_heap - idle)
        self._timer = self.worker.loop.call_later(max(wait, 0.001), self._tick)

    def _progressed(self):
        """The client has completed something, or was answered."""
        self.deadlines.progress = self.worker.loop.time()
        if self._slept:
            self._slept = False
            self._look_again(self.timeouts.idle_heap)

    def _look_again(self, seconds):
        if self._timer is not None and not self._closing:
            self._timer.cancel()
            self._timer = self.worker.loop.call_later(seconds, self._tick)

    def _exceeds(self, event):
        """Whether the session has used up what it may have with this event; it ends then."""
        name = self.budget.exceeded_by(event.kind, self.limits)
        facts = {}
        if name is None and event.kind == core.EV_UNKNOWN:
            protocol = foreign.command_of(event.text)
            if protocol is not None:
                self.budget.foreign += 1
                if self.budget.foreign > self.limits.foreign_commands:
                    name, facts = "foreign_commands", {"protocol": protocol}
        if name is None:
            return False
        self._note_end(name, facts)
        return True

    def _end_for(self, name, **facts):
        """End the session for this limit or timeout, a running handler first; `facts` are for the log."""
        self._note_end(name, facts)
        if self._held is not None:
            self._go_on()
        elif self._asked is None:
            self._advance()

    def _note_end(self, name, facts):
        if self.ended_by is None and not self.session.closed:
            self.ended_by = name
            metrics.count(_ENDED[name])
            self.log.write(logs.INFO, self.session_id, "ended by a limit", limit=name, client=self.remote[0], **facts)

    def _end(self):
        code, text = ending(self.ended_by, self.timeouts)
        self.session.refuse(code, [text])
        if self._silent:
            self.session.take_output()

    def _talks_early(self):
        """Octets before the greeting."""
        self.context.early = True
        if self._held is not None and self.budget.octets > self.limits.early_bytes:
            self._end_for("early_bytes")

    # Waiting on purpose.

    def _hold(self):
        """Keep back what is to be said, if the tarpit has a place; whether it is kept."""
        output = self.session.take_output()
        if not output or self._lost:
            return False
        if self._draining or not self.worker.tarpit.enter():
            self._write(output)
            return False
        self._late_output = output
        self._held = self.worker.loop.call_later(self.context.tarpit, self._go_on)
        return True

    def _let_go(self):
        """End the waiting, if any; what was kept back, or None."""
        if self._held is None:
            return None
        self._held.cancel()
        self._held = None
        output, self._late_output = self._late_output, None
        if output is not None:
            self.worker.tarpit.leave()
        return output

    def _go_on(self):
        """The waiting is over, or cut short."""
        if self._late_output is None:
            metrics.count(_DELAYED)
        self._write(self._let_go())
        self._progressed()
        if self._writable:
            self._advance()


@lru_cache(maxsize=8)
def core_limits(limits):
    """The core's share of config.Limits; one object for all sessions that have the same."""
    return core.Limits(**{name: getattr(limits, name) for name in (
        "line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors", "pending_bytes")})
