"""Connections to next hops that wait for another session of the same worker.

A connection is kept only where the policy asks for it and when nothing of its former session is left on it: no
transaction, no reply to come, nobody authenticated, no XCLIENT, no header of the PROXY protocol. It is found again by
what it was made with: host, port, LMTP, source address, and what the policy adds (the name in EHLO, what TLS must be).
Whatever happens on it while it waits ends it.

Must not know: SMTP, JavaScript.
"""
from collections import deque

from mailfilter import metrics

__all__ = ["Pool"]

_OUTCOMES = {outcome: metrics.slot("next_hop_connections_total", outcome) for outcome in ("reused", "kept", "dropped")}
_FULL, _IDLE = metrics.slot("limits_total", "kept_connections"), metrics.slot("timeouts_total", "kept_connection")


class _Kept:
    """One connection that waits."""

    __slots__ = ("key", "hop", "note", "timer")

    def __init__(self, key, hop, note, timer):
        self.key = key
        self.hop = hop
        self.note = note
        self.timer = timer


class Pool:
    """The connections that wait; at most `most`, each for at most `seconds`."""

    def __init__(self, loop, most, seconds):
        self._loop = loop
        self._most = most
        self._seconds = seconds
        self._by_key = {}               # key -> deque of _Kept, the oldest first
        self._count = 0

    def __len__(self):
        return self._count

    def keep(self, key, hop, note):
        """Keep an open connection for others; False when it is not fit for them or there is no room.

        note: a value that take() gives back with it.
        """
        if not hop.pristine:
            metrics.count(_OUTCOMES["dropped"])
            return False
        if self._count >= self._most:
            metrics.count(_OUTCOMES["dropped"])
            metrics.count(_FULL)
            return False
        kept = _Kept(key, hop, note, None)
        kept.timer = self._loop.call_later(self._seconds, self._expired, kept)
        hop.on_idle_end = lambda: self._drop(kept)
        self._by_key.setdefault(key, deque()).append(kept)
        self._count += 1
        metrics.count(_OUTCOMES["kept"])
        return True

    def take(self, key):
        """(connection, note) of the one that was kept last for this key, or None. It may be dead without knowing yet."""
        waiting = self._by_key.get(key)
        if not waiting:
            return None
        kept = waiting[-1]
        self._forget(kept)
        metrics.count(_OUTCOMES["reused"])
        return kept.hop, kept.note

    def close(self):
        """End them all, with QUIT."""
        for waiting in list(self._by_key.values()):
            for kept in list(waiting):
                self._end(kept)

    def _forget(self, kept):
        waiting = self._by_key[kept.key]
        waiting.remove(kept)
        if not waiting:
            del self._by_key[kept.key]
        self._count -= 1
        kept.timer.cancel()
        kept.hop.on_idle_end = None

    def _end(self, kept):
        self._forget(kept)
        kept.hop.leave()

    def _expired(self, kept):
        metrics.count(_IDLE)
        self._end(kept)

    def _drop(self, kept):
        """The next hop has closed it, or says something that nobody asked for."""
        self._forget(kept)
        kept.hop.close()
