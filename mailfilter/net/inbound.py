"""One client's connection: the asyncio shell around _core.session.

Octets go into the state machine, its events go to the policy's handlers (or are answered by the machine
itself), the outcome goes back as a reply. What a command means, when it is allowed and what the reply looks like is
the core's business; what is decided is the policy's. Here are time, back-pressure, the body's spool, and the
order of things when a session ends.

Compiled: inbound.pxd. Must not know: JavaScript values, SMTP syntax.
"""
import traceback
from functools import partial
from time import monotonic

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core import session as core
from mailfilter._core.fsm import ST_CHUNKS, ST_CONNECT, ST_DATA, ST_TLS
from mailfilter.errors import PolicyError, TemporaryFailure
from mailfilter.mail.message import Message
from mailfilter.mail.octets import octets
from mailfilter.mail.spool import Spool
from mailfilter.net import next_hops, tls_inbound
from mailfilter.net.admission import REFUSALS
from mailfilter.net.authentication import Authenticating
from mailfilter.net.budget import Budget
from mailfilter.net.deadlines import Deadlines
from mailfilter.net.extended import EXTENDED, Extended
from mailfilter.net.rejections import count_rejection
from mailfilter.net.restraint import TURN_S
from mailfilter.net.rules import core_limits, rules_of
from mailfilter.net.session_log import Told
from mailfilter.policy.alarm import Alarm
from mailfilter.policy.context import SessionContext
from mailfilter.policy.driver import Driver, Outcome

__all__ = ["Inbound"]

# After the last reply the client may take this long to fetch it, in seconds; then the connection is cut.
LINGER_S = 10.0

# Asked only when the policy defines them; without them the core's table has the reply.
_OPTIONAL = {
    core.EV_DATA: "smtpPreData", core.EV_NOOP: "smtpNoop", core.EV_VRFY: "smtpVrfy", core.EV_EXPN: "smtpExpn",
    core.EV_HELP: "smtpHelp", core.EV_UNKNOWN: "smtpUnknown", core.EV_QUIT: "smtpQuit", core.EV_STARTTLS: "smtpStartTls",
    core.EV_AUTH: "smtpAuth",
}

# As numbers of C where this is compiled.
_CONNECT = core.EV_CONNECT
_HELO = core.EV_HELO
_EHLO = core.EV_EHLO
_MAIL = core.EV_MAIL
_RCPT = core.EV_RCPT
_DATA = core.EV_DATA
_RSET = core.EV_RSET
_UNKNOWN = core.EV_UNKNOWN
_STARTTLS = core.EV_STARTTLS
_XCLIENT = core.EV_XCLIENT
_MESSAGE = core.EV_MESSAGE
_BODY = core.EV_BODY
_DISCARDED = core.EV_DISCARDED
_REJECTED = core.EV_REJECTED
_CLOSED = core.EV_CLOSED
_AUTH, _AUTH_LINE = core.EV_AUTH, core.EV_AUTH_LINE
_IN_CONNECT, _IN_CHUNKS, _IN_DATA, _IN_TLS = ST_CONNECT, ST_CHUNKS, ST_DATA, ST_TLS
_INFO, _DEBUG = logs.INFO, logs.DEBUG

# What is counted of a session.
_TAKEN = metrics.slot("connections_total")
_MESSAGES = {outcome: metrics.slot("messages_total", outcome)
             for outcome in ("accepted", "refused", "deferred", "faulted", "rejected", "lost")}
_MESSAGE_BYTES, _SECONDS = metrics.slot("message_bytes"), metrics.slot("session_seconds")
_REFUSED = {(name, first): metrics.slot("commands_refused_total", name, f"{first}xx")
            for name in metrics.COMMANDS for first in (4, 5)}
_PENDING, _INTERNAL = metrics.slot("limits_total", "pending_bytes"), metrics.slot("internal_errors_total")


class Inbound(Extended, Authenticating, Told):
    """The session of one client; made by the worker for each connection."""

    # asyncio's calls.

    def connection_made(self, transport):
        """A client has connected."""
        self.transport = transport
        header = self.proxied
        peer = header.source if header is not None and header.source else transport.get_extra_info("peername")
        self.remote = (peer[0], peer[1]) if isinstance(peer, tuple) and peer else ("local", 0)
        self.visit = self.worker.opened(self, self.remote[0])
        if self.visit.refusal is not None:
            if not self.implicit_tls:
                transport.write(REFUSALS[self.visit.refusal])
            self._closing = self._cleaned = True
            transport.close()
            return
        metrics.count(_TAKEN)
        self.tls = None if header is None else tls_inbound.facts_of_proxy(header)
        self.session_id = self.worker.session_id()
        self.rules = rules = self.worker.rules.get(self.label) or rules_of(self.worker, self.label)
        self.limits = rules.limits
        self.timeouts = rules.timeouts
        if self.implicit_tls:
            tls_inbound.begin(self, self._begin)
        else:
            self._begin()

    def _begin(self):
        """The session begins: a client is there, and TLS where it comes first."""
        worker = self.worker
        self.session = core.Session(self.rules.core_limits, worker.line_ends, worker.hostname, worker.early_data,
                                    worker.auth_without_tls)
        if self.tls is not None:
            self.session.tls_started()
        self._make_policy()
        if worker.policy.debug_protocol:
            self._debug_line = b""
        self.budget = Budget(self.limits)
        self.deadlines = Deadlines(self.clock())
        self._done = self._handled      # once for all: each look at a method makes an object
        self._timer = Alarm(worker.loop, self._tick)
        self._timer.set(min(self.timeouts.idle_heap, self.timeouts.command))
        if self.timeouts.greeting_delay:
            self._held = worker.loop.call_later(self.timeouts.greeting_delay, self._go_on)
        else:
            self._advance()

    def _make_policy(self):
        """What runs the policy for this client."""
        worker = self.worker
        # In their order: names would be put into a dict first, for each session.
        self.context = SessionContext(
            worker.loop, worker.log, self.session_id, worker.settings, self.rules.hostname, self.timeouts, self.limits,
            worker.resolver, self.rules.extensions, partial(next_hops.next_hop, self), next_hops.demands, worker.pool,
            worker.tarpit, self._limits_changed, worker.outside)
        self.context.tls = self.tls
        self.context.challenge = self._challenge
        self._offer()
        self.driver = Driver(worker.policy, self.context, self.remote)

    def data_received(self, data):
        """Octets from the client."""
        session = self.session
        if self._closing or session is None or self.ended_by is not None:
            return
        if self._debug_line is not None:
            self._debug_input(data)
        session.feed(data)
        budget = self.budget
        before, budget.octets = budget.octets, budget.octets + len(data)
        if (not before or 0 < budget.most_octets < budget.octets) and not self._may_say(data):
            return
        if self._asked is None and self._held is None and not self._yielding:
            if self._writable:
                self._advance()
            return
        if session.machine.state == _IN_CONNECT:
            self._talks_early()
        if session.unread() > self.limits.pending_bytes and self._reading:
            metrics.count(_PENDING)
            self._reading = False
            self.transport.pause_reading()

    def eof_received(self):
        """The client sends no more; what it has sent is still answered. True keeps our side open."""
        if self._closing or self.session is None:
            return False
        self.session.eof()
        if self._held is not None:
            self._go_on()               # nothing more can be learned by waiting
        elif self._asked is None and self._writable:
            self._advance()
        return not self._closing

    def connection_lost(self, error):
        """The connection is gone."""
        self._lost = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        if self.session is None:
            self.worker.closed(self, self.visit)
            return
        if not self._closing:
            self.session.eof()
        self._let_go()
        if self._asked is None:
            self._advance()
            self._clean_up()
        elif not self.context.delivering:
            self._give_up()

    def pause_writing(self):
        """The client does not fetch its replies: it gets no further ones until it does."""
        self._writable = False
        self._pause()

    def resume_writing(self):
        """The client has fetched its replies."""
        self._writable = True
        if self._asked is None and self.session is not None:
            self._advance()

    # The worker's calls.

    def drain(self):
        """The server stops: end after the running transaction."""
        self._draining = self._restrained = True
        if self.context is not None:
            self.context.end_pauses()
        if self._held is not None:
            self._go_on()
        elif self._asked is None and self.session is not None and not self._closing:
            self._advance()

    def abort(self):
        """The server's time is up: end at once."""
        self._let_go()
        if self.driver is not None:
            self.driver.close()
            self._asked = None
        self._cleaned = True
        self._finish()
        if self.transport is not None:
            self.transport.abort()

    # Events.

    def _advance(self):
        """Work on what has come until a handler has to be waited for or there is nothing more."""
        if self._held is not None or (self.handshaking or self._yielding) and not self._lost:
            return
        try:
            self._work()
        except Exception as error:
            self._broken(error)

    def _broken(self, error):
        """A mistake of this program: this client gets 421, the log gets the stack, nobody else notices."""
        metrics.count(_INTERNAL)
        self.log.write(logs.CRIT, self.session_id, f"internal error: {type(error).__name__}: {error}",
                       stack="".join(traceback.format_exception(error)))
        self._asked = None
        if not self._lost and not self._closing:
            self.transport.write(b"421 4.3.0 Internal error, try again later\r\n")
            self.transport.close()
        self.session.refuse(421, [b"4.3.0 Internal error, try again later"])
        self._closing = True
        self._cleaned = True
        self._finish()

    def _work(self):
        session, budget, progress, begun = self.session, self.budget, False, monotonic()
        while self._asked is None:
            if self._restrained and self._restrain():
                return
            event = session.next_event()
            if event is None:
                if session.chunks and self._too_many_chunks():
                    continue
                break
            kind = event.kind
            progress = True
            if kind == _BODY:
                self._take_body(event)
            elif kind == _CLOSED:
                self._close()
                return
            elif kind <= _MESSAGE:          # it asks
                if self._lost:          # nobody is there to be answered
                    if kind == _MESSAGE:
                        self._note_lost(event)
                    return
                budget.commands += 1
                if 0 < budget.most_commands < budget.commands:
                    self._note_end("commands")
                elif not session.unread() or not self._hurries(event):
                    self._ask(event)
            elif kind == _DISCARDED:
                metrics.count(_MESSAGES["lost" if event.reply is None else "rejected"])
                if event.reply is not None:
                    count_rejection(event.reply)
                self._drop_spool()
                self._run(event, "smtpData", (), self.timeouts.handler)
            elif kind == _REJECTED:
                budget.commands += 1
                if 0 < budget.most_commands < budget.commands:
                    self._note_end("commands")
                count_rejection(event.reply)
                if self.log.level >= _DEBUG:
                    self.log.write(logs.DEBUG, self.session_id, b"refused: " + event.reply.format().rstrip())
            if session.unread() and monotonic() - begun > TURN_S and self._yield():
                break
        state = session.machine.state
        if progress or state == _IN_DATA or state == _IN_CHUNKS:
            self.deadlines.progress = self.clock()
            if progress and self._slept:
                self._progressed()
        self._flush()
        if state == _IN_TLS:
            self._start_tls()
        if not self._reading and self._writable and not self._closing and self._asked is None and not self._yielding:
            self._reading = True
            self.transport.resume_reading()

    def _ask(self, event):
        kind, timeouts = event.kind, self.timeouts
        if kind == _RCPT:
            if 0 < self.budget.most_recipients <= self.budget.recipients:
                self._note_end("session_recipients")
                return
            self._run(event, "smtpRcpt", (event.path.parts(),), timeouts.handler)
        elif kind == _MESSAGE:
            self._ask_message(event)
        elif kind == _MAIL:
            if 0 < self.budget.most_transactions <= self.budget.transactions:
                self._note_end("transactions")
                return
            self._run(event, "smtpMail", (event.path.parts(),), timeouts.handler)
        elif kind == _EHLO:
            self._run(event, "smtpEhlo", (event.text,), timeouts.handler)
        elif kind == _HELO:
            self._run(event, "smtpHelo", (event.text,), timeouts.handler)
        elif kind == _CONNECT:
            self._run(event, "smtpInit", (), timeouts.handler)
        elif kind == _RSET:
            self._run(event, "smtpRset", (), timeouts.handler)
        elif kind == _UNKNOWN and self._is_foreign(event):
            return
        elif kind in EXTENDED:
            self._ask_extended(event)
        elif _OPTIONAL[kind] in self.driver.policy.handlers:
            self._run(event, _OPTIONAL[kind], (event.text,) if event.text else (), timeouts.handler)
        else:
            self.session.reply_default()
            if kind == _DATA:
                self._goes_ahead()

    def _ask_message(self, event):
        spool, self._spool = self._spool, None
        if spool is None:
            spool = self._new_spool(event)
        spool.finish(event.body_bytes, event.binary)
        context = self.context
        context.message = message = Message(event.fields, event.separator, spool)
        context.message_handle += 1
        self.messages += 1
        metrics.observe(_MESSAGE_BYTES, event.message_bytes)
        flat = []
        for pair in message.header_pairs():
            flat += pair
        self._run(event, "smtpData", (flat, context.message_handle, event.body_bytes), self.timeouts.message_handler)

    def _run(self, event, handler, arguments, seconds):
        self._asked = event
        outcome = self.driver.run(handler, arguments, seconds, self._done)
        if outcome is not None:
            self._apply(outcome)

    def _handled(self, outcome):
        """A handler that had to wait has ended."""
        if self._asked is None:
            if self._cleaned:               # cleanup, which nobody waits for
                self._finish()
            else:
                self._overdue(outcome)
            return
        try:
            self._apply(outcome)
        except Exception as error:
            self._broken(error)
            return
        self._progressed()
        self._advance()
        if self._lost:
            self._clean_up()

    def _apply(self, outcome):
        """Answer the event that a handler has decided."""
        event, self._asked = self._asked, None
        kind, session = event.kind, self.session
        if kind == _DISCARDED:
            self.context.transaction_over()
        elif kind == _XCLIENT:
            if outcome.fault is not None:
                self._log_fault(outcome.fault)
            self._become(event)
            return
        if outcome.fault is None and kind == _DATA and 200 <= outcome.code < 300:
            outcome = Outcome(fault=_wrong_predata(self.worker.policy, outcome.code))
        if kind != _MESSAGE and kind != _DISCARDED and outcome.code >= 400:
            self.refused += 1
            metrics.count(_REFUSED.get((event.name, outcome.code // 100)) or _REFUSED["other", outcome.code // 100])
        if kind == _AUTH or kind == _AUTH_LINE:
            self._answer_auth(event, outcome)
            return
        if self.log.level >= _INFO:
            self._log_outcome(event, outcome)
        if kind == _MESSAGE:
            self._end_message(outcome)
        if outcome.fault is not None:
            self._log_fault(outcome.fault)
            if kind == _DISCARDED:
                if outcome.dead:
                    session.refuse(421, [self._sorry()])
            elif kind == _CONNECT or outcome.dead:
                session.reply(421, [self._sorry()], True)
            else:
                session.reply(451, [self._sorry()], outcome.disconnect)
                if kind == _RSET:
                    # RFC 5321 §4.1.1.5 knows no refusal of RSET; the client goes on as if there was none.
                    session.drop_transaction()
        elif kind == _DISCARDED:
            return
        elif outcome.code == 0 or kind == _STARTTLS and outcome.code < 400:
            session.reply_default()         # RFC 3207 §4: clients begin with TLS at 220 and at nothing else
        else:
            lines = [octets(line) for line in outcome.lines]
            if kind != _MESSAGE or self.context.replies is None or not self._reply_each(outcome, lines):
                session.reply(outcome.code, lines, outcome.disconnect)
            if kind == _MAIL:
                if session.machine.transaction is not None:
                    self.budget.transactions += 1
                    self.deadlines.transaction = self.clock()
            elif kind == _RCPT and outcome.code < 300:
                self.budget.recipients += 1
        if kind == _DATA:
            self._goes_ahead()

    def _sorry(self):
        return b"4.3.0 Cannot process this now, try again later (" + self.session_id.encode() + b")"

    def _end_message(self, outcome):
        if outcome.fault is not None:
            metrics.count(_MESSAGES["deferred" if type(outcome.fault) is TemporaryFailure else "faulted"])
        elif 200 <= outcome.code < 300:
            self.accepted += 1
            metrics.count(_MESSAGES["accepted"])
            self.worker.admission.accepted(self.remote[0])
        else:
            # Without an opinion of the policy the core's own reply defers it.
            metrics.count(_MESSAGES["refused" if outcome.code >= 500 else "deferred"])
        self.context.message.close()
        self.context.message = None
        self.context.transaction_over()

    def _give_up(self):
        """The client is gone and a handler waits that has delivered nothing yet. Whatever it is going to decide, nobody
        would learn of it: a message that is delivered now comes again."""
        event, self._asked = self._asked, None
        self.driver.give_up()
        if event.kind == _MESSAGE:
            self._note_lost(event)
            self.context.message.close()
            self.context.message = None
        self.context.transaction_over()
        self._clean_up()

    # The body.

    def _new_spool(self, event):
        return Spool(self.limits.spool_memory_bytes, self.worker.spool_directory, plain=not event.wire,
                     room=self.worker.spool_room)

    def _take_body(self, event):
        if self._spool is None:
            self._spool = self._new_spool(event)
        try:
            self._spool.write(event.chunk)
        except OSError as error:
            self.log.write(logs.ERR, self.session_id, "the message cannot be stored", error=error.strerror,
                           directory=self.worker.spool_directory or "default")
            self.session.abort_message(452, [b"4.3.1 Insufficient system storage"])
            self._drop_spool()

    def _drop_spool(self):
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    # Output, time, pressure.

    def _flush(self):
        output = self.session.take_output()
        if output:
            self._write(output)

    def _write(self, output):
        if not self._lost:
            if self._debug_line is not None:
                for line in output.split(b"\r\n"):
                    if line:
                        self.log.write(logs.INFO, self.session_id, b"client < " + line)
            self.transport.write(output)

    def _pause(self):
        if self._reading and not self._closing:
            self._reading = False
            self.transport.pause_reading()

    def _limits_changed(self):
        """The policy has changed the limits of this session, or begun to slow it down."""
        self._restrained = True
        self.limits, self.timeouts = self.context.limits, self.context.timeouts
        self.budget.go_by(self.limits)
        self.session.set_limits(core_limits(self.limits))
        self._offer()
        self._look_again(0.001)

    @property
    def local(self):
        """(address, port) that the client has connected to; None for a UNIX socket."""
        if self.proxied is not None and self.proxied.source:
            return self.proxied.destination
        name = self.transport.get_extra_info("sockname") if self.transport is not None else None
        return (name[0], name[1]) if isinstance(name, tuple) and name else None

    @property
    def debugging(self):
        """Whether the dialogue is logged."""
        return self._debug_line is not None

    # The end.

    def _close(self):
        """The state machine has ended: last replies out, then the connection."""
        if self._closing:
            return
        self._flush()
        self._closing = True
        if not self._lost:
            self.transport.close()
            self._timer.set(LINGER_S)
        self._clean_up()

    def _clean_up(self):
        """Let the policy tidy up, once; then nothing of the session is left."""
        if self._cleaned:
            return
        self._cleaned = True
        self._drop_spool()
        if self.driver.handler is not None:     # in the middle of AUTH
            self.driver.give_up()
        # The library's own does nothing: no need to wake a sleeping heap for it.
        if self.driver.policy.has_cleanup and self.driver.started and not self.driver.heap.dead:
            outcome = self.driver.run("cleanup", (), self.timeouts.handler, self._done)
            if outcome is None:
                return
            if outcome.fault is not None:
                self._log_fault(outcome.fault)
        self._finish()

    def _finish(self):
        self._drop_spool()
        if self.driver is not None:
            self.driver.close()
            self.context.close()
            metrics.observe(_SECONDS, self.clock() - self.deadlines.begun)
            if self.log.level >= _INFO:
                self._log_summary()
        self._done = None               # it holds us
        self.worker.closed(self, self.visit)


def _wrong_predata(policy, code):
    return PolicyError(f"smtpPreData returned the code {code}; it must be 354 to go ahead, or a refusal", policy.name)
