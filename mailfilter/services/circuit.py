"""Guards a service outside: so many requests at one time, a deadline for each, and no request to one that is away.

    circuit = Circuit("http", "https://scores.example", loop, report, at_once=20)
    request = circuit.start(lambda: ask(…), 5.0, settled)       settled(value, None) or settled(None, error)

`ask(…)` gives a coroutine. What it raises is sorted: a ServiceError, an OSError or a time-out says that the service is
away; any other error is an answer, though not a welcome one. After FAILURES failures in a row the circuit is open: for
OPEN_S seconds every request fails at once and nothing goes out, so that a dead service costs no session its deadline;
then one request tries, and its outcome decides. Nothing has to be restarted for a service to be used again.

Must not know: policies, what is asked, over which protocol.
"""
from collections import deque

from mailfilter import metrics
from mailfilter.errors import ServiceError, ServiceProtocolError, ServiceTimeout, ServiceUnavailable

__all__ = ["AT_ONCE", "FAILURES", "OPEN_S", "WAITING", "Circuit"]

AT_ONCE = 20
"""Requests under way to one service from one worker."""

WAITING = 1000
"""Requests that wait for one of these to end; the next one fails at once."""

FAILURES = 5
"""So many failures in a row open the circuit."""

OPEN_S = 5.0
"""For how long, in seconds; then one request tries."""

_OUTCOMES = ("answered", "timeout", "unavailable", "protocol", "open", "busy", "cancelled")
_SLOTS = {(service, outcome): metrics.slot("service_requests_total", service, outcome)
          for service in metrics.SERVICES for outcome in _OUTCOMES}
_OPENED = {service: metrics.slot("circuits_opened_total", service) for service in metrics.SERVICES}
_TIMEOUTS = {service: metrics.slot("timeouts_total", service) for service in metrics.SERVICES}
_SECONDS = {service: metrics.slot("service_seconds", service) for service in metrics.SERVICES}


class Circuit:
    """One service as one worker uses it.

    Attributes:
        kind: a row of metrics.SERVICES. name: what the log calls it; has no password in it.
        under_way: requests that have gone out and not ended. waiting: requests that have not gone out yet (a deque).
        failures: failures in a row. open_until: the loop's time before which nothing goes out.
    """

    __slots__ = ("kind", "name", "under_way", "waiting", "failures", "open_until", "_loop", "_report", "_at_once",
                 "_most_waiting", "_failures_allowed", "_open_s", "_trial")

    def __init__(self, kind, name, loop, report, *, at_once=AT_ONCE, waiting=WAITING, failures=FAILURES, open_s=OPEN_S):
        """report(text) is called when the circuit is opened, and when the service answers again."""
        self.kind = kind
        self.name = name
        self.under_way = 0
        self.waiting = deque()
        self.failures = 0
        self.open_until = 0.0
        self._loop = loop
        self._report = report
        self._at_once = at_once
        self._most_waiting = waiting
        self._failures_allowed = failures
        self._open_s = open_s
        self._trial = None

    def start(self, make, seconds, settled, inside=False):
        """Ask: make() gives the coroutine. settled(value, error) is called once, maybe at once, at the latest after `seconds`.

        inside: whether whoever asks has a place already (hold()), so that this waits for none.

        Returns the Request, whose cancel() drops it.
        """
        request = Request(self, make, settled)
        if inside:
            request.timer = self._loop.call_later(seconds, request.late, seconds)
            self.begin(request)
            return request
        if self._is_open():
            self.count("open")
            request.settle(None, ServiceUnavailable(
                f"{self.name} is away: it failed {self.failures} times in a row, and is not asked for a while"))
            return request
        if self.under_way >= self._at_once and len(self.waiting) >= self._most_waiting:
            self.count("busy")
            request.settle(None, ServiceUnavailable(f"{self.name} has too much to do: {len(self.waiting)} requests wait"))
            return request
        request.timer = self._loop.call_later(seconds, request.late, seconds)
        if self.under_way < self._at_once:
            self.begin(request)
        else:
            self.waiting.append(request)
        return request

    async def run(self, make, seconds):
        """The same for a caller that is a coroutine itself: the value; what fails, is raised."""
        future = self._loop.create_future()

        def settled(value, error):
            if not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

        request = self.start(make, seconds, settled)
        try:
            return await future
        finally:
            request.cancel()

    def hold(self):
        """Take a place, beyond the request that is under way, for what takes several requests; release() gives it back."""
        self.under_way += 1

    def release(self):
        """Give back a place that was held."""
        self.under_way -= 1
        self._let_in()

    def _is_open(self):
        if self.failures < self._failures_allowed:
            return False
        return self._trial is not None or self._loop.time() < self.open_until

    # For Request.

    def begin(self, request):
        """Let a request go out."""
        self.under_way += 1
        if self.failures >= self._failures_allowed:
            self._trial = request
        request.begun = self._loop.time()
        try:
            request.task = self._loop.create_task(request.make())
        except BaseException:
            self.under_way -= 1
            raise
        request.task.add_done_callback(request.ended)

    def left(self, request):
        """A request that had gone out has ended: another one may go out."""
        self.under_way -= 1
        if self._trial is request:
            self._trial = None
        self._let_in()

    def _let_in(self):
        while self.waiting and self.under_way < self._at_once:
            following = self.waiting.popleft()
            if following.settled is None:
                continue
            if self._is_open():
                self.count("open")
                following.settle(None, ServiceUnavailable(f"{self.name} is away"))
                continue
            self.begin(following)

    def answered(self, begun):
        """The service has answered."""
        self.count("answered")
        metrics.observe(_SECONDS[self.kind], self._loop.time() - begun)
        if self.failures >= self._failures_allowed:
            self._report(f"{self.name} answers again")
        self.failures = 0

    def failed(self, why):
        """The service is away, says `why`."""
        self.failures += 1
        if self.failures >= self._failures_allowed:
            if self.failures == self._failures_allowed:
                metrics.count(_OPENED[self.kind])
                self._report(f"{self.name} is away, and is asked every {self._open_s:g} s only: {why}")
            self.open_until = self._loop.time() + self._open_s

    def count(self, outcome):
        """Count how a request ended."""
        metrics.count(_SLOTS[self.kind, outcome])


class Request:
    """One request to a service; made by Circuit.start."""

    __slots__ = ("circuit", "make", "settled", "timer", "task", "begun")

    def __init__(self, circuit, make, settled):
        self.circuit = circuit
        self.make = make
        self.settled = settled
        self.timer = None
        self.task = None
        self.begun = 0.0

    def cancel(self):
        """Nobody waits for it any more; without effect when it has been settled."""
        if self.settled is not None:
            self.circuit.count("cancelled")
            self._drop()

    def settle(self, value, error):
        """Tell whoever waits."""
        settled = self.settled
        self._drop()
        settled(value, error)

    def late(self, seconds):
        """The deadline is over."""
        circuit = self.circuit
        self.timer = None
        error = ServiceTimeout(f"{circuit.name}: no answer within {seconds:g} s")
        circuit.count("timeout")
        metrics.count(_TIMEOUTS[circuit.kind])
        if self.task is not None:           # one that never went out says nothing of the service
            circuit.failed(error)
        self.settle(None, error)

    def _drop(self):
        self.settled = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.task is not None:
            self.task.cancel()

    def ended(self, task):
        """The task is done, whoever may still wait for it."""
        circuit = self.circuit
        error = None if task.cancelled() else task.exception()      # fetched in any case: else asyncio complains
        try:
            if self.settled is None:
                return
            if task.cancelled():
                error = ServiceUnavailable(f"{circuit.name}: given up")
            if error is None:
                circuit.answered(self.begun)
                self.settle(task.result(), None)
                return
            away = as_away(error, circuit.name)
            if away is None:
                circuit.answered(self.begun)
                self.settle(None, error)
                return
            circuit.count("timeout" if isinstance(away, ServiceTimeout) else
                          "protocol" if isinstance(away, ServiceProtocolError) else "unavailable")
            circuit.failed(away)
            self.settle(None, away)
        finally:
            circuit.left(self)


def as_away(error, name):
    """The ServiceError that an exception is, if it says that the service called `name` is away; else None."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, TimeoutError):
        return ServiceTimeout(f"{name}: no answer in time")
    if isinstance(error, (OSError, EOFError)):
        return ServiceUnavailable(f"{name}: {error.strerror if getattr(error, 'strerror', None) else error}")
    return None
