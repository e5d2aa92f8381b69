"""Runs the handlers of one session: starts one, performs the operations it waits for, gives back its outcome.

A fault of the policy (a throw, nonsense, no time left) is an outcome like any other, with a PolicyError in it;
it is never a success. The heap is made when the first handler is called.

Compiled: driver.pxd. Must not know: sockets, the SMTP state machine, what an operation does.
"""
import time
import traceback

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core.heap import HeapDead, HeapStopped, HostError, ScriptError
from mailfilter.errors import PolicyError, TemporaryFailure
from mailfilter.policy import engine
from mailfilter.policy.alarm import Alarm
from mailfilter.policy.operation import PENDING, Waiting, failure_of
from mailfilter.policy.operations import AT_ONCE, WAITED_FOR

__all__ = ["REFUSALS", "TURN_S", "Driver", "Outcome"]

_CALLS = {handler: metrics.slot("handlers_total", handler) for handler in metrics.HANDLERS}
_FAULTS = {handler: metrics.slot("faults_total", handler) for handler in metrics.HANDLERS}
_COPIED, _BUILT = metrics.slot("heaps_total", "copied"), metrics.slot("heaps_total", "built")
_STOPPED, _NO_MEMORY = metrics.slot("limits_total", "slice_ms"), metrics.slot("limits_total", "heap_bytes")
_SESSION_MS = metrics.slot("limits_total", "session_ms")
_TOO_LONG = metrics.slot("timeouts_total", "handler")
_TOO_LONG_WITH_MESSAGE = metrics.slot("timeouts_total", "message_handler")
_ASLEEP = metrics.slot("timeouts_total", "idle_heap")

# As numbers of C where this is compiled.
_OPEN, _START, _RESUME, _FAIL = engine.OPEN, engine.START, engine.RESUME, engine.FAIL
_ABANDON, _FAULT, _TELL = engine.ABANDON, engine.FAULT, engine.TELL

_clock = time.monotonic

# The tables, as dicts of C.
_AT_ONCE, _WAITED_FOR = AT_ONCE, WAITED_FOR

# A handler whose operations are all answered at once lets others have a turn after so many seconds.
TURN_S = 0.005

# So many operations beyond the limit are refused with an error that a handler may catch; then the session is ended.
REFUSALS = 1000


class Outcome:
    """How a handler ended.

    code: the reply's code, 0 for no opinion and after a fault. lines: the reply's text, list of str.
    disconnect: close after the reply. fault: None, or a PolicyError. dead: the heap cannot go on; end the session.
    """

    def __init__(self, code=0, lines=(), disconnect=False, fault=None, dead=False):
        self.code = code
        self.lines = lines
        self.disconnect = disconnect
        self.fault = fault
        self.dead = dead


def _is_ours(result):
    """Whether js/engine.js made this: ["operation", argument, …], [0], or [code, disconnect, line, …]."""
    if type(result) is not list or not result:
        return False
    head = result[0]
    if type(head) is str:
        return True
    count = len(result)
    if count == 1:
        return head == 0
    if type(head) is not int or not 200 <= head <= 599 or count < 3 or type(result[1]) is not bool:
        return False
    for place in range(2, count):
        if type(result[place]) is not str:
            return False
    return True


class Driver:
    """One session's handlers. One runs at a time."""

    def __init__(self, policy, context, remote):
        """remote: (address, port) of the client as SmtpServer instances have it."""
        self.policy = policy
        self.context = context
        self.remote = remote
        self.handler = None             # name of the running handler
        self._told = {}                 # properties of the instance that is yet to be made
        self._heap = None
        self._waiting = None
        self._done = None
        self._alarm = None              # when its operations take too long
        self._waited = False            # the running handler has set it
        self._seconds = 0.0

    @property
    def started(self):
        """Whether any handler was ever called (a heap exists)."""
        return self._heap is not None

    @property
    def heap(self):
        """The session's heap, or None."""
        return self._heap

    def run(self, handler, arguments, seconds, done):
        """Call `handler` with `arguments` (a tuple, what js/engine.js expects for it).

        Returns its Outcome when it ended at once; otherwise None, and done(outcome) is called later. After
        `seconds` of waiting it is given up, which is a fault.
        """
        if self.handler is not None:
            raise RuntimeError(f"{handler} called while {self.handler} is running")
        self.handler = handler
        self._done = done
        self._seconds = seconds
        self.context.handler_starts()
        metrics.count(_CALLS.get(handler) or _CALLS["other"])
        try:
            if self._heap is None:
                self._heap = self.policy.new_heap(self._answer)
                metrics.count(_COPIED if self.policy.image is not None else _BUILT)
                self._heap.allow(self.context.limits.slice_ms)
                self._heap.enter(_OPEN, (self.remote[0], self.remote[1], self.context.session_id))
                if self._told:
                    self._heap.enter(_TELL, (self._told,))
            if handler == "smtpData" and arguments:
                self._heap.arrived(arguments[0])
            result = self._heap.enter(_START, ((handler, *arguments),))
        except (ScriptError, HeapDead, PolicyError, MemoryError) as error:
            return self._faulted(error)
        return self._go_on(result)

    def tell(self, properties):
        """Set properties of the SmtpServer instance, {name: value}. A policy that makes that impossible has its own
        values."""
        if self._heap is None:
            self._told.update(properties)
        elif not self._heap.dead:
            try:
                self._heap.enter(_TELL, (properties,))
            except ScriptError:
                pass
            except HeapDead:
                self._heap.close()

    def _go_on(self, result):
        """Perform operations until one has to be waited for (None) or the handler has ended (its Outcome).

        Operations that are answered at once, one after the other, take turns with the rest of the worker.
        """
        begun = _clock()
        while True:
            if not _is_ours(result):
                self._abandon()         # its coroutine still stands in the middle of the handler
                return self._faulted(PolicyError("a handler yielded something of its own; only library calls may wait"))
            head = result[0]
            if type(head) is not str:
                return self._finished(result)
            excess = self._excess()
            if excess is not None:
                self._heap.close()
                return self._faulted(PolicyError(excess))
            try:
                value, failure = self._start(head, result[1:]), None
            except TemporaryFailure as error:
                return self._cannot_go_on(error)
            except Exception as error:
                value, failure = None, error
            if value is PENDING:
                if not self._waited:
                    self._waited = True
                    if self._alarm is None:
                        self._alarm = Alarm(self.context.loop, self._expired)
                    self._alarm.set(self._seconds)
                return None
            self._waiting = None
            if _clock() - begun > TURN_S:
                self._waiting = turn = Waiting(self.context.loop, head, self._settled)
                if failure is None:
                    self.context.loop.call_soon(turn.done, value)
                else:
                    self.context.loop.call_soon(turn.failed, failure)
                return None
            try:
                result = self._resume(value, failure)
            except (ScriptError, HeapDead) as error:
                return self._faulted(error)

    def _excess(self):
        """Why a handler may not go on, though it returns in time and only waits again and again; None: it may."""
        context = self.context
        if self._heap.spent_ms > context.most_ms:
            metrics.count(_SESSION_MS)
            return f"the session's JavaScript has used up its {context.limits.session_ms} ms"
        if context.operations > context.most_operations + REFUSALS:
            return f"it goes on asking, though the session has used up its {context.most_operations} operations"
        return None

    def _start(self, name, arguments):
        operation = _WAITED_FOR.get(name)
        if operation is None:
            raise HostError(f"there is no operation {name}")
        operation.check(arguments)
        self.context.charge(name)
        self._waiting = waiting = Waiting(self.context.loop, name, self._settled)
        return waiting.start(operation, self.context, arguments)

    def _resume(self, value, failure):
        if failure is None:
            return self._heap.enter(_RESUME, (value,))
        return self._heap.enter(_FAIL, (failure_of(self.context, failure),))

    def _settled(self, value, error):
        """The operation that the handler waited for has ended."""
        self._waiting = None
        if type(error) is TemporaryFailure:
            self._report(self._cannot_go_on(error))
            return
        try:
            result = self._resume(value, error)
        except (ScriptError, HeapDead) as fault:
            outcome = self._faulted(fault)
        else:
            outcome = self._go_on(result)
        if outcome is not None:
            self._report(outcome)

    def _report(self, outcome):
        done, self._done = self._done, None
        done(outcome)

    def _end(self):
        if self.handler == "smtpData" and self._heap is not None:
            self._heap.arrived(None)
        self.handler = None
        if self._waited:
            self._waited = False
            self._alarm.clear()

    def _finished(self, result):
        if self._heap.spent_ms > self.context.most_ms:
            metrics.count(_SESSION_MS)
            self._heap.close()
            return self._faulted(PolicyError(f"the session's JavaScript has used up its {self.context.limits.session_ms} ms"))
        self._end()
        if len(result) == 1:
            return Outcome()
        return Outcome(result[0], result[2:], result[1])

    def _cannot_go_on(self, error):
        """The Outcome of a handler that a service's absence ends, wherever it stands."""
        self._abandon()
        return self._faulted(error)

    def _faulted(self, error):
        handler = self.handler
        self._end()
        self.context.handler_failed()
        if type(error) is not TemporaryFailure:
            metrics.count(_FAULTS.get(handler) or _FAULTS["other"])
        disconnect, thrown_at, dead = False, None, self._heap is None or self._heap.dead
        over_limit = self._heap is not None and self._heap.over_limit
        if not dead:
            try:
                disconnect, thrown_at = self._heap.enter(_FAULT, ())
                if type(error) is ScriptError:
                    # What it asked for could not be taken over: its coroutine still stands in the middle of the handler.
                    self._heap.enter(_ABANDON, (handler,))
            except (ScriptError, HeapDead):
                dead = self._heap.dead
        if isinstance(error, (ScriptError, HeapDead)):
            fault = self._explained(error, thrown_at)
        elif isinstance(error, PolicyError):
            fault = error
        else:
            fault = PolicyError(str(error) or type(error).__name__)
        if fault.line is None:
            fault.file, fault.line, fault.column, fault.source_line = self.policy.place_of_handler(handler)
        if isinstance(error, HeapStopped):
            metrics.count(_STOPPED)
        if over_limit:
            metrics.count(_NO_MEMORY)
            fault.message += f" (the heap's limit of {self._heap.limit_bytes} bytes was reached)"
        fault.message = f"{handler}: {fault.message}"
        return Outcome(disconnect=disconnect, fault=fault, dead=dead)

    def _explained(self, error, thrown_at):
        """The fault for what the engine says. Where it was is found by guessing; a guess that goes wrong is no reason not to
        answer the client."""
        try:
            return self.policy.fault(error, thrown_at)
        except Exception as ours:
            self.context.log.write(logs.ERR, self.context.session_id, "the place of a fault was not found",
                                   stack="".join(traceback.format_exception(ours)))
            return PolicyError(str(error))

    def _abandon(self):
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        try:
            self._heap.enter(_ABANDON, (self.handler,))
        except (ScriptError, HeapDead):
            self._heap.close()

    def _expired(self):
        metrics.count(_TOO_LONG_WITH_MESSAGE if self.handler in ("smtpData", "smtpBody") else _TOO_LONG)
        name = self._waiting.name if self._waiting is not None else "?"
        self._abandon()
        self._report(self._faulted(PolicyError(f"no time left after {self._seconds:g} s of waiting (for {name})")))

    def sleep(self):
        """The session is idle: give the pages of its heap back until the next handler."""
        if self._heap is not None and self._heap.sleep():
            metrics.count(_ASLEEP)

    def give_up(self):
        """Forget the running handler, if any, without an outcome: the session ends."""
        if self.handler is not None:
            self._abandon()
            self._end()
            self._done = None
            self.context.handler_failed()

    def close(self):
        """End the session's JavaScript. Harmless when there is none, and when closed."""
        self.give_up()
        self._done = None       # it may lead back to who holds us
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        if self._heap is not None:
            self._heap.close()

    def _answer(self, name, *arguments):
        operation = _AT_ONCE.get(name)
        if operation is None:
            raise HostError(f"there is no operation {name}")
        self.context.charge(name)
        return operation.perform(self.context, arguments)
