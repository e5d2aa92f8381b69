"""When a worker has more to do than it can: how hard pressed it is, and whom it turns away for it.

A beat, a few times a second, looks how late it comes itself (the event loop lags by that much), how much memory the
machine and the worker's control group have left, and whether another file can be opened. The worst of them is the
pressure: 1 is where strangers are turned away, at 2 those go whose mail was accepted lately, at 4 the exempt networks.
Sessions that are there go on.

Must not know: sessions, addresses.
"""
import errno
import os
import time

from mailfilter import log as logs

__all__ = ["BEAT_S", "EXEMPT", "GOOD", "STRANGER", "Pressure", "free_memory"]

STRANGER, GOOD, EXEMPT = 1.0, 2.0, 4.0
"""The pressures at which clients of each kind are turned away."""

BEAT_S = 0.25
"""Between two looks, in seconds."""

# Memory and files are looked at once in so many beats.
_SELDOM = 4

# Between two lines about the same in the log.
_LOG_S = 60.0

_CGROUP = "/sys/fs/cgroup"


class Pressure:
    """How hard pressed a worker is.

    Attributes:
        level: 0 when all is well; see above.
        cause: "lag", "memory" or "files", what it comes from; "" when there is none.
    """

    def __init__(self, limits, log, *, clock=time.monotonic, free=None, can_open=None):
        """clock: gives seconds. free: octets of memory left, or None when unknown. can_open: whether a file can be opened."""
        self._limits = limits
        self._log = log
        self._clock = clock
        self._free = free_memory if free is None else free
        self._can_open = _can_open if can_open is None else can_open
        self._loop = self._timer = None
        self._due = 0.0
        self._late = 0.0                # of the beat before
        self._beats = 0
        self._seldom = (0.0, "")        # pressure of memory and files
        self._told = -_LOG_S
        self.level = 0.0
        self.cause = ""

    def go_by(self, limits):
        """Take other limits from now on."""
        self._limits = limits

    def start(self, loop):
        """Begin to look, on this event loop."""
        self._loop = loop
        self._due = self._clock() + BEAT_S
        self._timer = loop.call_later(BEAT_S, self._on_beat)

    def stop(self):
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_beat(self):
        self.beat()
        self._due = self._clock() + BEAT_S
        self._timer = self._loop.call_later(BEAT_S, self._on_beat)

    def beat(self):
        """One look, at the time when it was due or later."""
        now = self._clock()
        late = max(0.0, now - self._due)
        # Both of the last two: one long step (a collection of garbage, a policy that was loaded) is no lack of time.
        lag, self._late = min(late, self._late), late
        if self._beats % _SELDOM == 0:
            self._seldom = self._look()
        self._beats += 1
        level, cause = self._seldom
        allowed = self._limits.lag_ms / 1000
        if allowed and lag / allowed > level:
            level, cause = lag / allowed, "lag"
        self.level, self.cause = (level, cause) if level >= STRANGER else (0.0, "")
        if self.level and now - self._told >= _LOG_S:
            self._told = now
            self._log.write(logs.WARNING, "-", "too much to do, clients are turned away", pid=os.getpid(), cause=cause,
                            pressure=f"{level:.1f}", lag_ms=int(lag * 1000))

    def _look(self):
        needed = self._limits.free_memory_bytes
        free = self._free() if needed else None
        if free is not None and free < needed:
            return needed / max(free, 1), "memory"
        if not self._can_open():
            return EXEMPT, "files"
        return 0.0, ""


def _can_open():
    """Whether one more descriptor is to be had."""
    try:
        os.close(os.dup(2))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True


def free_memory():
    """Octets that the machine, and the control group where there is one, has left; None when that cannot be known."""
    left = [octets for octets in (_of_machine(), _of_group()) if octets is not None]
    return min(left) if left else None


def _of_machine():
    try:
        with open("/proc/meminfo", "rb") as lines:
            for line in lines:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return None


def _of_group():
    """By the second version of control groups, where this process sees its own as the root of them all."""
    try:
        limit = _number(f"{_CGROUP}/memory.max")
        if limit is None:
            return None
        # What is cached of files can be dropped at once, and is counted as used all the same.
        cached = 0
        with open(f"{_CGROUP}/memory.stat", "rb") as lines:
            for line in lines:
                if line.startswith(b"inactive_file "):
                    cached = int(line.split()[1])
        return max(0, limit - _number(f"{_CGROUP}/memory.current") + cached)
    except (OSError, ValueError, TypeError):
        return None


def _number(path):
    with open(path, "rb") as file:
        text = file.read().strip()
    return None if text == b"max" else int(text)
