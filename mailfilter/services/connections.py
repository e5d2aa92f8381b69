"""Connections to one service that are kept for whoever asks next.

How many there are is not bounded here: whoever takes one does so in a request of a Circuit, and that bounds them.

Must not know: any protocol.
"""

__all__ = ["IDLE_S", "KEPT", "Connections"]

KEPT = 10
"""Idle connections to one service that one worker keeps."""

IDLE_S = 60.0
"""An idle connection is closed after so many seconds."""


class Connections:
    """A stack of idle connections: the one used last is taken first, so that those that are too many grow old.

    open(): a coroutine that makes one. usable(connection): whether it can still be used, told without asking the other side.
    close(connection): ends it; must not wait.
    """

    def __init__(self, loop, open, usable, close, *, kept=KEPT, idle_s=IDLE_S):
        self._loop = loop
        self._open = open
        self._usable = usable
        self._close = close
        self._kept = kept
        self._idle_s = idle_s
        self._idle = []             # (connection, since when), oldest first
        self._timer = None
        self._closed = False

    def __len__(self):
        return len(self._idle)

    async def take(self):
        """A connection: one that was kept, or a new one."""
        while self._idle:
            connection, _ = self._idle.pop()
            if self._usable(connection):
                return connection
            self._close(connection)
        return await self._open()

    def keep(self, connection):
        """Nobody uses this one now, and the other side expects nothing but a request."""
        if self._closed or len(self._idle) >= self._kept or not self._usable(connection):
            self._close(connection)
            return
        self._idle.append((connection, self._loop.time()))
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s, self._expire)

    def drop(self, connection):
        """This one is of no use any more."""
        self._close(connection)

    def close(self):
        """Close all that are idle; those in use are closed when they are given back."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            self._close(connection)

    def _expire(self):
        self._timer = None
        old = self._loop.time() - self._idle_s
        while self._idle and self._idle[0][1] <= old:
            self._close(self._idle.pop(0)[0])
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0][1] + self._idle_s, self._expire)
