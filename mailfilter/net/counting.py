"""Counting clients over all workers of one machine: memory that they share, and which part of it is whose.

It is made before the workers are forked. Each worker takes a part when it starts and writes only there, so there is
nothing to lock; the part of one that died is cleared by the next that needs one. How the counts are kept, and why they
may be a little too high and never too low: _core/tally.pyx.

Must not know: limits, what is refused.
"""
import fcntl
import mmap
import os
import secrets
from contextlib import suppress

from mailfilter._core.tally import PART_BYTES, Tally

__all__ = ["TABLES", "Counts", "SharedMemory"]

TABLES = ("connections", "rates", "accepted")
"""The tables: connections open now, connections begun lately, and messages accepted lately."""

# A worker that is being replaced may still finish its sessions while the next one starts.
_SPARE = 2


class SharedMemory:
    """The memory, with room for `workers` and their successors. What is never written to takes no room."""

    def __init__(self, workers=1):
        self.parts = workers * _SPARE
        self._secret = secrets.token_bytes(16)
        self._table_bytes = self.parts * PART_BYTES
        # A file in memory, for its locks: the kernel knows which process holds one, and lets go when it dies.
        self._fd = os.memfd_create("mailfilter-counts", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, len(TABLES) * self._table_bytes)
        self._memory = mmap.mmap(self._fd, 0)
        self._taken = set()

    def take(self):
        """A part for this process, as `Counts`; None when all are taken. The parts of the dead are cleared."""
        mine = None
        for part in range(self.parts):
            if part in self._taken:
                continue
            with suppress(OSError):             # somebody else's
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
                self._clear(part)
                if mine is None:
                    mine = part
                else:
                    fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, part)
        if mine is None:
            return None
        self._taken.add(mine)
        return Counts(self, mine)

    def give_back(self, part):
        """This process counts no more in that part."""
        self._clear(part)
        self._taken.discard(part)
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, part)

    def table(self, name, part):
        """One of TABLES for the writer of `part`."""
        return Tally(self._memory, TABLES.index(name) * self._table_bytes, self.parts, part, self._secret)

    def _clear(self, part):
        for table in range(len(TABLES)):
            # The pages are given back, and read as zeros.
            self._memory.madvise(mmap.MADV_REMOVE, table * self._table_bytes + part * PART_BYTES, PART_BYTES)


class Counts:
    """The tables as one worker has them: `connections`, `rates`, `accepted`."""

    def __init__(self, shared, part):
        self._shared = shared
        self.part = part
        self.connections = shared.table("connections", part)
        self.rates = shared.table("rates", part)
        self.accepted = shared.table("accepted", part)

    def close(self):
        """Count no more: what this worker had counted is gone from the sums."""
        if self._shared is not None:
            self._shared.give_back(self.part)
            self._shared = None
