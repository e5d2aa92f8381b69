"""Time-outs that are set and cleared all the time, and hardly ever happen.

Making a timer of the event loop and taking it back costs more than most of what it watches over. So an alarm is left
running: when it looks, it goes off, starts again for what is left, or has nothing to do. And alarms of a second or more
share one timer of the loop, in a timing wheel (Varghese and Lauck 1987): those that look within GRAIN_S of each other
look together. They look before time is up where that is far away: a shorter time-out that is set meanwhile seldom needs
another place.

Compiled: alarm.pxd. Must not know: what is late.
"""
from heapq import heappop, heappush

__all__ = ["COARSE_S", "GRAIN_S", "Alarm"]

GRAIN_S = 1 / 64
"""An alarm of COARSE_S or more may ring so many seconds late. Few enough for what rings together not to keep others waiting."""
COARSE_S = 1.0
"""A shorter one has a timer of the event loop for itself, and rings in its millisecond."""

# As numbers of C where this is compiled.
_TICKS, _COARSE = 1 / GRAIN_S, COARSE_S      # ticks of a second
# An alarm looks after so many seconds at most. Thousands of idle sessions should have little to look at.
_LOOKS = 120.0


class Wheel:
    """The alarms of one event loop that share a timer. Ticks are counted in GRAIN_S of the loop's clock."""

    def __init__(self, loop):
        self.loop = loop
        self._spokes = {}       # tick -> the alarms that look then; never an empty place in _ticks
        self._ticks = []        # the keys of _spokes, a heap
        self._timer = None
        self._wakes = 0         # the tick that the timer is for
        self._turning = False

    def add(self, alarm, when):
        """Have the alarm look at `when` or a little later; the tick under which remove() finds it, never 0."""
        tick = int(when * _TICKS) + 1
        spoke = self._spokes.get(tick)
        if spoke is None:
            self._spokes[tick] = spoke = set()
            heappush(self._ticks, tick)
            if not self._turning and (self._timer is None or tick < self._wakes):
                self._wind(tick)
        spoke.add(alarm)
        return tick

    def remove(self, alarm, tick):
        """Forget the alarm. Its spoke stays: others are to come."""
        spoke = self._spokes.get(tick)
        if spoke is not None:
            spoke.discard(alarm)

    def _wind(self, tick):
        if self._timer is not None:
            self._timer.cancel()
        self._wakes = tick
        self._timer = self.loop.call_later(max(tick / _TICKS - self.loop.time(), 0.001), self._turn)

    def _turn(self):
        """Let all look whose time has come. What one does to another is heeded; what one throws, the loop is told."""
        self._timer = None
        self._turning = True
        try:
            while self._ticks and self._ticks[0] / _TICKS <= self.loop.time():
                spoke = self._spokes[self._ticks[0]]
                while spoke:
                    alarm = spoke.pop()
                    try:
                        alarm.look()
                    except Exception as error:
                        self.loop.call_exception_handler({"message": "an alarm has failed", "exception": error})
                del self._spokes[heappop(self._ticks)]
        finally:
            self._turning = False
            if self._ticks:
                self._wind(self._ticks[0])


_last = None            # the wheel of the loop that asked last; a process serves with one


def _wheel_of(loop):
    global _last
    if _last is None or _last.loop is not loop:
        _last = Wheel(loop)
    return _last


class Alarm:
    """One time-out at a time. ring: called without arguments when time is up; not any more after close(), which must come, as
    the alarm and who it belongs to hold each other until then."""

    def __init__(self, loop, ring):
        self.loop = loop
        self._ring = ring
        self._timer = None      # a timer of its own, or
        self._wheel = None      # the wheel, and
        self._tick = 0          # its place there; 0: none
        self._due = 0.0         # when time is up, in seconds of the loop's clock; 0: nothing is waited for
        self._looks = 0.0       # when it looks
        self._time = loop.time

    def set(self, seconds):
        """Ring after so many seconds, whatever was set before."""
        now = self._time()
        self._due = now + seconds
        if self._tick or self._timer is not None:
            if self._looks <= self._due:
                return
            self._stop()
        self._start(now)

    def clear(self):
        """Do not ring."""
        self._due = 0.0

    def close(self):
        """Do not ring any more, and let go of the timer."""
        self._due = 0.0
        self._ring = None
        self._stop()

    def look(self):
        """For whoever keeps the time: the moment has come."""
        self._timer = None
        self._tick = 0
        if self._due == 0.0:
            return
        now = self._time()
        if self._due - now > 0.001:     # a loop counts in milliseconds
            self._start(now)
            return
        self._due = 0.0
        self._ring()

    def _start(self, now):
        seconds = min(self._due - now, _LOOKS)
        self._looks = now + seconds
        if seconds >= _COARSE:
            if self._wheel is None:
                self._wheel = _wheel_of(self.loop)
            self._tick = self._wheel.add(self, self._looks)
        else:
            self._timer = self.loop.call_later(seconds, self.look)

    def _stop(self):
        if self._tick:
            self._wheel.remove(self, self._tick)
            self._tick = 0
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None
