"""Where sessions wait that a policy wants to slow down: a number of places, and no more.

Each one that waits keeps a socket, a descriptor and some memory: without a bound, slowing attackers down would be an
attack on ourselves.

Must not know: who waits, and for how long.
"""

from mailfilter import metrics

__all__ = ["Tarpit"]

_FULL, _WAITING = metrics.slot("limits_total", "tarpits"), metrics.slot("tarpit")


class Tarpit:
    """So many places. `waiting`: how many are taken; `turned_away`: how many found no place."""

    def __init__(self, places):
        self.places = places
        self.waiting = 0
        self.turned_away = 0

    def enter(self):
        """Take a place; False when there is none, and nobody waits then."""
        if self.waiting >= self.places:
            self.turned_away += 1
            metrics.count(_FULL)
            return False
        self.waiting += 1
        metrics.put(_WAITING, self.waiting)
        return True

    def leave(self):
        """Give a place back."""
        self.waiting -= 1
        metrics.put(_WAITING, self.waiting)
