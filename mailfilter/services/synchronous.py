"""Runs libraries that know only blocking DNS look-ups (pyspf, dkimpy) on the event loop, without a thread for each.

The library's function runs in a greenlet. Its look-ups come to `look_up` here, which switches back to the loop until
the Answer is there: for the library it was a call that took a while, and a thousand of them can be under way. What
computes long calls `breathe` now and then, so that others get their turn.

Must not know: what the libraries do, policies.
"""
import asyncio
import time

import greenlet

from mailfilter.services.dns_answer import TIMEOUT, Answer

__all__ = ["Synchronous", "ahead", "breathe", "look_up"]

TURN_S = 0.005
"""How long a function may compute, in seconds, before `breathe` lets others go on."""


_BREATH = object()          # what a function that only lets others go on asks for


class _Cancelled(BaseException):
    """Thrown into a library's function that nobody waits for any more; no `except Exception` of its own stops it."""


class Synchronous:
    """One call of a blocking function on the loop's own thread.

    `settled(value, None)` or `settled(None, exception)` is called when the function has ended, once; at once when it
    needed no look-up that had to go out. Must be made outside any other Synchronous.

    seconds: for all its look-ups together; what is not answered by then, and what is asked later, is a time-out. None: each has
    the resolver's deadline and no other.
    """

    __slots__ = ("_resolver", "_settled", "_greenlet", "_question", "_seconds", "_timer", "_wanted")

    def __init__(self, resolver, function, settled, *, seconds=None):
        self._resolver = resolver
        self._settled = settled
        self._question = None
        self._seconds = seconds
        self._timer = self._wanted = None
        self._greenlet = _Caller(function)
        self._go(None)

    def cancel(self):
        """End it where it waits: `settled` will not be called."""
        self._settled = None
        if self._timer is not None:
            self._timer.cancel()
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
            self._throw()

    def _throw(self):
        caller, self._greenlet = self._greenlet, None
        try:
            # A function that goes on asking while it is thrown out is thrown out of that, too.
            while not caller.dead:
                caller.throw(_Cancelled)
        except _Cancelled:
            pass
        except Exception:
            pass        # what it threw instead has no reader

    def _go(self, answer):
        while True:
            self._question = None
            self._greenlet.since = time.perf_counter()
            try:
                wanted = self._greenlet.switch(answer)
            except Exception as error:
                self._end(None, error)
                return
            if self._greenlet.dead:
                self._end(wanted, None)
                return
            if wanted is _BREATH:
                self._question = asyncio.get_running_loop().call_soon(self._go, None)
                return
            if self._seconds == 0:
                answer = self._too_late(wanted)
                continue
            question = self._resolver.lookup(*wanted, self._go)
            if type(question) is not Answer:
                self._question, self._wanted = question, wanted
                if self._seconds is not None and self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)
                return
            answer = question

    def _expire(self):
        self._seconds, wanted = 0, self._wanted
        if wanted is not None and self._question is not None:
            self._question.cancel()
            self._go(self._too_late(wanted))

    @staticmethod
    def _too_late(wanted):
        return Answer(TIMEOUT, *wanted, reason="no time left")

    def _end(self, value, error):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        settled, self._settled = self._settled, None
        self._greenlet = None
        if settled is not None:
            settled(value, error)


class _Caller(greenlet.greenlet):
    """The greenlet of one call. Its parent, to which look-ups switch, is whoever resumes it; since: when that was."""

    def __init__(self, function):
        super().__init__(lambda _: function())

    def switch(self, *arguments):
        self.parent = greenlet.getcurrent()
        return super().switch(*arguments)

    def throw(self, *arguments):
        self.parent = greenlet.getcurrent()
        return super().throw(*arguments)


def look_up(name, kind):
    """The Answer for records of type `kind` (a number) of `name`; only inside a Synchronous, RuntimeError elsewhere."""
    caller = greenlet.getcurrent()
    if not isinstance(caller, _Caller):
        raise RuntimeError("look_up is for functions that a Synchronous runs")
    return caller.parent.switch((name, kind))


def breathe():
    """Let the loop go on with others when the function has computed for long; anywhere, and only inside a Synchronous with
    an effect."""
    caller = greenlet.getcurrent()
    if isinstance(caller, _Caller) and time.perf_counter() - caller.since > TURN_S:
        caller.parent.switch(_BREATH)


def ahead(resolver, names, kind):
    """Begin look-ups that are going to be wanted one after the other, so that they are under way at the same time.

    Nobody waits for them here: whoever asks later is merged with what is under way, or is answered from the cache.
    """
    for name in names:
        resolver.lookup(name, kind, _ignore)


def _ignore(answer):
    pass
