"""Makes an SQLite file ready that several processes open at the same moment.

Two things in it are not waited for by SQLite's own time-out: the change to the journal that lets others read while one writes
(two that have looked at a new file both want it for themselves, and neither is let wait for the other), and a transaction
that has read before it writes. So the first is tried again here, and tables are made in a transaction that takes the lock for
writing at its beginning.

Must not know: what is in the file.
"""
import random
import sqlite3
import time

__all__ = ["make_tables", "write_ahead"]

_PAUSE_S = 0.005


def write_ahead(database, seconds):
    """Give the file a write-ahead journal; a file that has one keeps it.

    seconds: how long others may keep it locked meanwhile. Raises sqlite3.OperationalError (SQLITE_BUSY) after that.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_S * (1 + random.random()))       # not in step with whoever else is waiting


def make_tables(database, statements):
    """Run statements that make what is not there yet, in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            database.execute(statement)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
