"""The embedded store: an SQLite file that all workers of a machine share and that outlives them.

One thread for each worker. Whatever has come while it was busy goes into one transaction: one change by itself costs 15 µs
of CPU, with others 5 µs (a journal of its own, written to disk at its checkpoints, so that after a crash of the machine the last
seconds may be missing, and nothing is torn). A store in memory that processes share would be faster, and gone
after a restart.

Must not know: policies, other kinds of stores.
"""
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

from mailfilter.errors import MailfilterError, ServiceTimeout, ServiceUnavailable
from mailfilter.services import sqlite_file
from mailfilter.services.store import slide

__all__ = ["AT_ONCE", "BYTES", "Store"]

AT_ONCE = 1000
"""Requests under way: they are done together."""

BYTES = 1 << 30
"""How large the file may become. When it is full, what would expire soonest goes."""

TOGETHER = 200
"""Requests in one transaction."""

LOCKED_S = 5.0
"""How long other processes may keep the file to themselves, in seconds."""

_PURGE_S, _PURGED, _EVICTED = 1.0, 500, 2000
_TABLES = ("entries", "counters", "members")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS counters (key BLOB PRIMARY KEY, slot INTEGER NOT NULL, current REAL NOT NULL, previous REAL NOT NULL,
                                     expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS members (key BLOB NOT NULL, member BLOB NOT NULL, expires REAL NOT NULL, PRIMARY KEY (key, member));
CREATE INDEX IF NOT EXISTS entries_expire ON entries (expires);
CREATE INDEX IF NOT EXISTS counters_expire ON counters (expires);
CREATE INDEX IF NOT EXISTS members_expire ON members (expires);
"""


class Store:
    """See store.py. path: of the file, which is made with its folder when it is not there."""

    def __init__(self, loop, path, circuit, clock=time.time):
        self.circuit = circuit
        self._loop = loop
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "store")
        self._database = None
        self._waiting = []          # (verb, key, arguments, future)
        self._running = False
        self._purged = 0.0

    async def perform(self, verb, key, arguments):
        """Do one thing; see VERBS."""
        future = self._loop.create_future()
        self._waiting.append((verb, key, arguments, future))
        if not self._running:
            self._go()
        return await future

    def _go(self):
        batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        self._running = True
        done = self._loop.run_in_executor(self._thread, self._together, batch)
        done.add_done_callback(lambda done: self._done(batch, done))

    def _done(self, batch, done):
        self._running = False
        if done.cancelled():
            return
        error = done.exception()
        answers = [(None, error)] * len(batch) if error is not None else done.result()
        for (*_, future), (value, failure) in zip(batch, answers, strict=True):
            if not future.done():
                if failure is None:
                    future.set_result(value)
                else:
                    future.set_exception(failure)
        if self._waiting:
            self._go()

    def close(self):
        """End the thread when it has done what it is doing."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    # In the thread.

    def _close(self):
        if self._database is not None:
            self._database.close()
            self._database = None

    def _together(self, batch):
        """[(value, None) or (None, error), …] for what is to be done."""
        for last in (False, True):
            try:
                return self._transaction(batch)
            except sqlite3.Error as error:
                self._undo()
                name = getattr(error, "sqlite_errorname", "") or ""
                if name == "SQLITE_FULL" and not last:
                    self._evict()
                    continue
                self._close()       # the next one begins anew: the file may have been replaced
                if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                    raise ServiceTimeout(f"store {self._path}: {error}") from error
                raise ServiceUnavailable(f"store {self._path}: {error}") from error
            except OSError as error:
                raise ServiceUnavailable(f"store {self._path}: {error.strerror}") from error

    def _undo(self):
        if self._database is not None and self._database.in_transaction:
            try:
                self._database.execute("ROLLBACK")
            except sqlite3.Error:
                self._close()

    def _open(self):
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False)
        try:
            sqlite_file.write_ahead(database, LOCKED_S)
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(f"PRAGMA max_page_count={BYTES // 4096}")
            sqlite_file.make_tables(database, _SCHEMA.split(";"))
        except BaseException:
            database.close()
            raise
        self._database = database

    def _transaction(self, batch):
        if self._database is None:
            self._open()
        database, now, answers = self._database, self._clock(), []
        database.execute("BEGIN IMMEDIATE")
        for verb, key, arguments, _ in batch:
            try:
                answers.append((getattr(self, f"_{verb}")(database, now, key, *arguments), None))
            except MailfilterError as error:
                answers.append((None, error))
        if now >= self._purged + _PURGE_S:
            self._purged = now
            for table in _TABLES:
                database.execute(f"DELETE FROM {table} WHERE rowid IN "
                                 f"(SELECT rowid FROM {table} WHERE expires <= ? LIMIT {_PURGED})", (now,))
        database.execute("COMMIT")
        return answers

    def _evict(self):
        """Make room: what would expire soonest goes."""
        try:
            for table in _TABLES:
                self._database.execute(f"DELETE FROM {table} WHERE rowid IN "
                                       f"(SELECT rowid FROM {table} ORDER BY expires LIMIT {_EVICTED})")
        except sqlite3.Error:
            self._close()

    def _counted(self, database, now, key, window):
        row = database.execute("SELECT slot, current, previous FROM counters WHERE key = ? AND expires > ?",
                               (key, now)).fetchone()
        return slide(now, window, *(row or (-1, 0, 0)))

    def _counts(self, database, now, key, window, slot, current, previous):
        database.execute("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?, ?)",
                         (key, slot, current, previous, now + 2 * window))

    def _count(self, database, now, key, window, by):
        slot, current, previous, within = self._counted(database, now, key, window)
        if by:
            self._counts(database, now, key, window, slot, current + by, previous)
        return within + by

    def _take(self, database, now, key, window, most, by):
        slot, current, previous, within = self._counted(database, now, key, window)
        if within + by > most:
            return [False, within]
        self._counts(database, now, key, window, slot, current + by, previous)
        return [True, within + by]

    def _get(self, database, now, key):
        row = database.execute("SELECT value FROM entries WHERE key = ? AND expires > ?", (key, now)).fetchone()
        return None if row is None else row[0]

    def _set(self, database, now, key, value, seconds):
        database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (key, value, now + seconds))
        return True

    def _add(self, database, now, key, value, seconds):
        there = self._get(database, now, key)
        if there is None:
            self._set(database, now, key, value, seconds)
        return there

    def _remove(self, database, now, key):
        return database.execute("DELETE FROM entries WHERE key = ? AND expires > ?", (key, now)).rowcount > 0

    def _age(self, database, now, key, seconds, after, then):
        first = self._add(database, now, key, repr(now).encode(), seconds)
        if first is None:
            return None
        age = max(now - float(first), 0.0)
        if age >= after:
            database.execute("UPDATE entries SET expires = ? WHERE key = ?", (now + then, key))
        return age

    def _include(self, database, now, key, member, seconds):
        fresh = not self._has(database, now, key, member)
        database.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (key, member, now + seconds))
        return fresh

    def _has(self, database, now, key, member):
        return database.execute("SELECT 1 FROM members WHERE key = ? AND member = ? AND expires > ?",
                                (key, member, now)).fetchone() is not None

    def _discard(self, database, now, key, member):
        return database.execute("DELETE FROM members WHERE key = ? AND member = ? AND expires > ?",
                                (key, member, now)).rowcount > 0

    def _members(self, database, now, key, most):
        return [row[0] for row in database.execute("SELECT member FROM members WHERE key = ? AND expires > ? LIMIT ?",
                                                   (key, now, int(most)))]
