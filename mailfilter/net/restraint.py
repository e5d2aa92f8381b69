"""The part of a session that holds a client to its limits: deadlines, numbers, early talk, other protocols, the tarpit.

`Inbound` inherits it; it is looked at with every command. What the deadlines and numbers are is in deadlines.py
and budget.py, what the client reads when the session ends for one of them in endings.py.

Compiled: restraint.pxd. Must not know: handlers, messages, JavaScript.
"""
from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_CHUNKS, ST_DATA
from mailfilter.net import foreign
from mailfilter.net.endings import ENDINGS, ending
from mailfilter.net.session_state import SessionState

__all__ = ["TURN_S", "Restrained"]

TURN_S = 0.005
"""A client that has sent many commands at once has them carried out for so long, in seconds; then it is the turn of others."""

STOPPING = b"4.3.2 The server is shutting down, try again later"

# Events whose command may have others behind it where PIPELINING was announced (RFC 2920 §3.1); and those of which something
# else says what may be sent ahead: a message, DATA (early_data), the greeting (early_bytes), the end.
_GROUPED = frozenset((core.EV_MAIL, core.EV_RCPT, core.EV_RSET, core.EV_XFORWARD))
_FREE = frozenset((core.EV_MESSAGE, core.EV_DATA, core.EV_CONNECT, core.EV_QUIT))

# As a number of C where this is compiled.
_IN_DATA = ST_DATA

_TIMEOUTS = ("command", "data_block", "transaction", "session")
_ENDED = {name: metrics.slot("timeouts_total" if name in _TIMEOUTS else "limits_total", name) for name in ENDINGS}
_DELAYED = metrics.slot("timeouts_total", "greeting_delay")


class Restrained(SessionState):
    """What `Inbound` inherits. It has no attributes of its own."""

    # Limits and deadlines.

    def _may_say(self, data):
        """Of the first octets, and when there were too many: whether the session goes on."""
        if self.budget.octets == len(data):
            protocol = foreign.opening_of(data)
            if protocol is not None:
                self._silent = True
                self._end_for("foreign_commands", protocol=protocol)
                return False
        if 0 < self.budget.most_octets < self.budget.octets:
            self._end_for("session_bytes")
            return False
        return True

    def _tick(self):
        """Is the client still in time? Looked at when a time could have passed, not at every input. One that does not fetch its
        last replies is waited for no longer."""
        if self._closing:
            self.transport.abort()
            return
        now, session = self.clock(), self.session
        in_message = session.machine.state in (ST_DATA, ST_CHUNKS)
        late, wait = self.deadlines.look(now, self.limits, self.timeouts, session.transaction is not None, in_message,
                                         self.budget.octets)
        if late is not None:
            if self._asked is None and self._held is None and not self.handshaking:
                self._writable = True
                self._end_for(late)
                return
            wait = 1.0                  # the handler has a time limit of its own
        # No handler runs before a message has ended, however slowly it comes.
        idle = now - (self.deadlines.message if in_message else self.deadlines.progress)
        if idle >= self.timeouts.idle_heap:
            self.driver.sleep()
            self._slept = True          # what happens next sets the clock anew
        else:
            wait = min(wait, self.timeouts.idle_heap - idle)
        self._timer.set(max(wait, 0.001))

    def _progressed(self):
        """The client has completed something, or was answered."""
        self.deadlines.progress = self.clock()
        if self._slept:
            self._slept = False
            self._look_again(self.timeouts.idle_heap)

    def _look_again(self, seconds):
        if self._timer is not None and not self._closing:
            self._timer.set(seconds)

    def _goes_ahead(self):
        """DATA was answered: when the message is to come, its clock runs."""
        if self.session.machine.state == _IN_DATA:
            self.deadlines.begin_message(self.clock(), self.budget.octets)

    def _too_many_chunks(self):
        """Commands that no event tells of count, too; whether the session ends for it now."""
        if self.ended_by is None and 0 < self.budget.most_commands < self.budget.commands + self.session.chunks:
            self._note_end("commands")
            return self.ended_by is not None
        return False

    def _hurries(self, event):
        """The client has sent more behind a command: whether it should have waited for the reply, once too often. The session
        ends then."""
        kind = event.kind
        if kind in _FREE or kind in _GROUPED and b"PIPELINING" in self.session.announced:
            return False
        self.budget.pipelined += 1
        if self.budget.pipelined <= self.limits.pipelined_commands:
            return False
        self._note_end("pipelined_commands")
        return self.ended_by is not None

    def _is_foreign(self, event):
        """Whether an unknown command is one of another protocol, and one too many: the session ends then."""
        protocol = foreign.command_of(event.text)
        if protocol is None:
            return False
        self.budget.foreign += 1
        if self.budget.foreign <= self.limits.foreign_commands:
            return False
        self._note_end("foreign_commands", {"protocol": protocol})
        return True

    def _end_for(self, name, **facts):
        """End the session for this limit or timeout, a running handler first; `facts` are for the log."""
        self._note_end(name, facts)
        if self._held is not None:
            self._go_on()
        elif self._asked is None:
            self._advance()

    def _note_end(self, name, facts=None):
        if self.ended_by is None and not self.session.closed:
            self.ended_by = name
            self._restrained = True
            metrics.count(_ENDED[name])
            self.log.write(logs.INFO, self.session_id, "ended by a limit", limit=name, client=self.remote[0],
                           **(facts or {}))

    def _restrain(self):
        """Before the session goes on: whether it is kept back now. It is ended here when that is due."""
        session = self.session
        if self.context.tarpit and self._hold():
            return True
        if self.ended_by is not None and not session.closed:
            self._end()
        if self._draining and not session.closed and session.transaction is None and not self._lost:
            session.refuse(421, [STOPPING])
        return False

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

    # Taking turns.

    def _yield(self):
        """Go on after all others that have something to do; False where that cannot be waited for."""
        if self._asked is not None or self._lost:
            return False
        self._yielding = True
        self.worker.loop.call_soon(self._next_turn)
        return True

    def _next_turn(self):
        self._yielding = False
        if self._asked is None and self._writable and not self._cleaned and not self._closing and not self._lost:
            self._advance()

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
        output = self._let_go()
        if output:
            self._write(output)
        self._progressed()
        if self._writable:
            self._advance()
