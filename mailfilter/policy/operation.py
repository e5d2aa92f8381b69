"""What an operation is: a named thing that JavaScript asks of the program, answered at once or waited for.

The rows themselves are in operations.py; who runs the handlers that wait is driver.py. Compiled: operation.pxd.

Must not know: what any operation does.
"""
import asyncio
import traceback

from mailfilter import log as logs
from mailfilter._core.heap import UNDEFINED, HostError
from mailfilter.errors import MailfilterError, ServiceTimeout

__all__ = ["PENDING", "UNDEFINED", "Operation", "Waiting", "failure_of"]


class Pending:
    """The type of PENDING."""

    __slots__ = ()

    def __repr__(self):
        return "PENDING"


PENDING = Pending()
"""Returned by an operation that will call waiting.done() or waiting.failed() later, never before it returned."""


class Operation:
    """One row of the table of operations.

    name: "subject.verb", as JavaScript gives it to host.now or host.wait.
    run: the function. Answered at once: run(context, *arguments). Waited for: run(context, waiting, *arguments).
    arguments: the Python type (or tuple of types) of each argument.
    waits: whether the handler waits for it (host.wait) or it is answered at once (host.now).
    deadline: the timeout that bounds it, by its name in config.Timeouts, in words where it is several.
    effects: whether anything outside the session changes (or is told) by it.
    loading: whether it may be used while the policy is loaded.
    failure: what happens when it fails, for the documentation.
    """

    def __init__(self, name, run, arguments=(), waits=False, deadline="", effects=False, loading=False, failure="throws"):
        self.name = name
        self.run = run
        self.arguments = arguments
        self.waits = waits
        self.deadline = deadline
        self.effects = effects
        self.loading = loading
        self.failure = failure

    def check(self, given):
        """Raise HostError (a TypeError for the policy) unless the arguments have the right number and types."""
        wanted = self.arguments
        if len(given) != len(wanted):
            raise HostError(f"{self.name} takes {len(wanted)} arguments, {len(given)} given", "TypeError")
        position = 0
        for value in given:
            if not isinstance(value, wanted[position]):
                raise HostError(f"{self.name}: argument {position + 1} is of the wrong type", "TypeError")
            position += 1

    def perform(self, context, given):
        """Answer an operation that is answered at once; an error of ours on purpose reaches the policy."""
        self.check(given)
        try:
            return _called(self.run, given, context)
        except MailfilterError as error:
            raise HostError(str(error), type(error).__name__) from error


def _called(run, given, context, waiting=None):
    """run(context, *given), or run(context, waiting, *given): for as many arguments as most have, without a new tuple."""
    count = len(given)
    if waiting is None:
        if count == 1:
            return run(context, given[0])
        return run(context, *given)
    if count == 1:
        return run(context, waiting, given[0])
    if count == 3:
        return run(context, waiting, given[0], given[1], given[2])
    if count == 4:
        return run(context, waiting, given[0], given[1], given[2], given[3])
    return run(context, waiting, *given)


def failure_of(context, error):
    """What a failed operation throws into JavaScript: (class name, message, code or None).

    An error that no operation raises on purpose is our bug: the policy learns that there was one, the log gets the stack.
    """
    if not isinstance(error, (HostError, MailfilterError)):
        context.log.write(logs.ERR, context.session_id, "an operation failed",
                          stack="".join(traceback.format_exception(error)))
        error = MailfilterError("internal error")
    name = error.name if isinstance(error, HostError) else type(error).__name__
    return name, str(error), getattr(error, "code", None)


class Waiting:
    """One handler waiting for one operation. The operation ends it by done() or failed(), once, also before it has returned.

    on_cancel: set by the operation; called without arguments when the handler waits no longer.
    form: set by the operation where what ended() is given is not yet what the handler gets: a function of it that is.
    """

    def __init__(self, loop, name, settled):
        self.loop = loop
        self.name = name
        self.on_cancel = None
        self.form = None
        self._settled = settled
        self._timer = None
        self._starting = False
        self._early = None

    def start(self, operation, context, arguments):
        """Start the operation: its value when it has one at once, or PENDING. What it raises, it raises."""
        self._starting = True
        try:
            value = _called(operation.run, arguments, context, self)
        finally:
            self._starting = False
        if self._early is None:
            return value
        (value, error), self._early = self._early, None
        if error is not None:
            raise error
        return value

    def done(self, value=UNDEFINED):
        """The operation has its answer."""
        self._settle(value, None)

    def failed(self, error):
        """The operation has failed: `error` (an exception) is thrown into the handler."""
        self._settle(None, error)

    def ended(self, value, error):
        """Both in one, for who calls back with a value or an error, the other of them None."""
        if error is None and self.form is not None and self._settled is not None:
            try:
                value = self.form(value)
            except Exception as problem:
                error = problem
        self._settle(value, error)

    def _settle(self, value, error):
        settled = self._settled
        if settled is None:
            return              # cancelled, or a second call: the handler has gone on without us
        self._settled = None
        self.on_cancel = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._starting:
            self._early = value, error
        else:
            settled(value, error)

    def cancel(self):
        """The handler waits no longer: whatever the operation answers now is dropped."""
        self._settled = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()

    def limit(self, seconds, what):
        """Fail with ServiceTimeout "Connection timed out: WHAT" unless settled within `seconds`."""
        self._timer = self.loop.call_later(seconds, self._expire, seconds, what)

    def _expire(self, seconds, what):
        self._timer = None
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()
        self.failed(ServiceTimeout(f"Connection timed out: {what} within {seconds:g} s"))

    def run(self, coroutine):
        """Let an asyncio coroutine answer; returns PENDING. Cancelled with the handler."""
        task = self.loop.create_task(coroutine)
        self.on_cancel = task.cancel
        task.add_done_callback(self._task_done)
        return PENDING

    def _task_done(self, task):
        if task.cancelled():
            self.failed(ServiceTimeout("cancelled"))
        elif task.exception() is not None:
            error = task.exception()
            self.failed(error if isinstance(error, Exception) else MailfilterError(str(error)))
        else:
            self.done(task.result())

    def run_in_thread(self, function, *arguments):
        """Let a blocking function answer from a thread of the loop's pool; returns PENDING."""
        future = self.loop.run_in_executor(None, function, *arguments)
        future.add_done_callback(self._future_done)
        return PENDING

    def _future_done(self, future):
        try:
            value = future.result()
        except asyncio.CancelledError:
            self.failed(ServiceTimeout("cancelled"))
        except Exception as error:
            self.failed(error)
        else:
            self.done(value)
