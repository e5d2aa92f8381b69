"""Time-outs that are set and cleared all the time, and hardly ever happen.

Making a timer of the event loop and taking it back costs more than most of what it watches over. So there is one that is
left running: when it looks, it goes off, starts again for what is left, or has nothing to do. It looks before time is up where
that is far away: a shorter time-out that is set meanwhile seldom needs another timer.

Compiled: alarm.pxd. Must not know: what is late.
"""

__all__ = ["Alarm"]

# The timer looks after so many seconds at most.
_LOOKS_S = 20.0


class Alarm:
    """One time-out at a time. ring: called without arguments when time is up; not any more after close(), which must come, as
    the alarm and who it belongs to hold each other until then."""

    def __init__(self, loop, ring):
        self.loop = loop
        self._ring = ring
        self._timer = None
        self._due = 0.0         # when time is up, in seconds of the loop's clock; 0: nothing is waited for
        self._looks = 0.0       # when the timer looks
        self._time = loop.time

    def set(self, seconds):
        """Ring after so many seconds, whatever was set before."""
        now = self._time()
        self._due = now + seconds
        if self._timer is not None:
            if self._looks <= self._due:
                return
            self._timer.cancel()
        self._start(now)

    def clear(self):
        """Do not ring."""
        self._due = 0.0

    def close(self):
        """Do not ring any more, and let go of the timer."""
        self._due = 0.0
        self._ring = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, now):
        seconds = min(self._due - now, _LOOKS_S)
        self._looks = now + seconds
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self):
        self._timer = None
        if self._due == 0.0:
            return
        now = self._time()
        if self._due - now > 0.001:     # a loop counts in milliseconds
            self._start(now)
            return
        self._due = 0.0
        self._ring()
