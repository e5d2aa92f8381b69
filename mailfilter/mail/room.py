"""Memory that the bodies of one worker share, those that are larger than what each may have anyway.

A message of a megabyte that goes by way of a file costs twice the CPU of one that stays in memory. How much memory such bodies
take together is bounded here; when there is no room, they go to files.

Must not know: bodies, files.
"""
from threading import RLock

from mailfilter import metrics

__all__ = ["Room", "Share"]

_FULL, _TAKEN = metrics.slot("limits_total", "spool_shared_bytes"), metrics.slot("spool_shared_bytes")

STEP = 262144
"""What is taken at a time."""

BODIES = 8
"""One body has at most this part of the room: an eighth."""


class Room:
    """So many octets. `taken`: how many are in use. 0: there is no room for anybody."""

    def __init__(self, octets):
        self.octets = octets
        self.taken = 0
        # Bodies are also made in threads; and a share may end, in the middle of anything, when garbage is collected.
        self._lock = RLock()

    def _take(self, octets):
        with self._lock:
            if self.taken + octets > self.octets:
                return False
            self.taken += octets
            metrics.put(_TAKEN, self.taken)
        return True

    def _give(self, octets):
        with self._lock:
            self.taken -= octets
            metrics.put(_TAKEN, self.taken)


class Share:
    """What one body has of a Room, `octets`; given back when nobody has this object any more."""

    __slots__ = ("octets", "_room")

    def __init__(self, room):
        self.octets = 0
        self._room = room

    def __del__(self):
        if self.octets:
            self._room._give(self.octets)

    def grow(self, octets):
        """Have `octets` or more; False, and nothing has changed, when there is no room."""
        wanted = -(-octets // STEP) * STEP
        if wanted <= self.octets:
            return True
        room = self._room
        if wanted * BODIES > room.octets or not room._take(wanted - self.octets):
            if room.octets:
                metrics.count(_FULL)
            return False
        self.octets = wanted
        return True
