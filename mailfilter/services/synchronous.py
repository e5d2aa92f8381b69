"""Runs libraries that know only blocking DNS look-ups (pyspf, dkimpy) on the event loop, without a thread for each.

The library's function runs in a greenlet. Its look-ups come to `look_up` here, which switches back to the loop until
the Answer is there: for the library it was a call that took a while, and a thousand of them can be under way.

Must not know: what the libraries do, policies.
"""
import greenlet

from mailfilter.services.dns_answer import Answer

__all__ = ["Synchronous", "look_up"]


class _Cancelled(BaseException):
    """Thrown into a library's function that nobody waits for any more; no `except Exception` of its own stops it."""


class Synchronous:
    """One call of a blocking function on the loop's own thread.

    `settled(value, None)` or `settled(None, exception)` is called when the function has ended, once; at once when it
    needed no look-up that had to go out. Must be made outside any other Synchronous.
    """

    __slots__ = ("_resolver", "_settled", "_greenlet", "_question")

    def __init__(self, resolver, function, settled):
        self._resolver = resolver
        self._settled = settled
        self._question = None
        self._greenlet = _Caller(function)
        self._go(None)

    def cancel(self):
        """End it where it waits: `settled` will not be called."""
        self._settled = None
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
            try:
                wanted = self._greenlet.switch(answer)
            except Exception as error:
                self._end(None, error)
                return
            if self._greenlet.dead:
                self._end(wanted, None)
                return
            question = self._resolver.lookup(*wanted, self._go)
            if type(question) is not Answer:
                self._question = question
                return
            answer = question

    def _end(self, value, error):
        settled, self._settled = self._settled, None
        self._greenlet = None
        if settled is not None:
            settled(value, error)


class _Caller(greenlet.greenlet):
    """The greenlet of one call. Its parent, to which look-ups switch, is whoever resumes it."""

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
