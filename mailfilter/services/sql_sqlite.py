"""SQLite, in threads: every connection has one of its own, so that no file ever holds the event loop up.

Values: NULL, numbers, texts and blobs are what they are; moments are texts `YYYY-MM-DD HH:MM:SS.mmm` in UTC; whole numbers
beyond 2^53 come as texts.

Must not know: policies, other products.
"""
import asyncio
import datetime
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

from mailfilter.errors import ServiceTimeout, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.services import sqlite_file
from mailfilter.services.sql import BYTES, ROWS, Result, SqlError

__all__ = ["Driver"]

LOCKED_S = 5.0
"""How long a statement waits for others that have locked the file, in seconds."""

_LARGEST = 1 << 53
_STATES = {"SQLITE_CONSTRAINT_UNIQUE": "23505", "SQLITE_CONSTRAINT_PRIMARYKEY": "23505", "SQLITE_CONSTRAINT_NOTNULL": "23502",
           "SQLITE_CONSTRAINT_FOREIGNKEY": "23503", "SQLITE_CONSTRAINT_CHECK": "23514", "SQLITE_READONLY": "25006",
           "SQLITE_FULL": "53100", "SQLITE_TOOBIG": "54000", "SQLITE_MISMATCH": "22018", "SQLITE_ERROR": "42000",
           "SQLITE_AUTH": "42501"}
# The file itself is of no use.
_AWAY = {"SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_PERM"}


class _Connection:
    """A connection and its thread."""

    def __init__(self):
        self.database = None
        self.thread = ThreadPoolExecutor(1, "sqlite")
        self.closed = False


class Driver:
    """See sql.py."""

    at_once = 4

    def __init__(self, loop, address):
        self._loop = loop
        self._path = address.database

    async def open(self):
        """A connection. A file that is not there is made, with a journal that lets others read while one writes."""
        connection = _Connection()
        try:
            connection.database = await self._in_thread(connection, self._connect)
        except BaseException:
            connection.thread.shutdown(wait=False)
            raise
        return connection

    def _connect(self):
        fresh = not os.path.exists(self._path)
        try:
            database = sqlite3.connect(self._path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False,
                                       cached_statements=100)
        except sqlite3.Error as error:
            raise ServiceUnavailable(f"sqlite:{self._path}: {error}") from error
        try:
            if fresh:
                sqlite_file.write_ahead(database, LOCKED_S)
            database.execute("PRAGMA foreign_keys=ON")
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()      # is it a database at all
        except sqlite3.Error as error:
            database.close()
            raise self._error(error) from error
        return database

    def usable(self, connection):
        """Whether it is open."""
        return not connection.closed

    def close(self, connection):
        """Stop what it is doing; its thread closes it and ends."""
        if not connection.closed:
            connection.closed = True
            if connection.database is not None:
                connection.database.interrupt()
                connection.thread.submit(connection.database.close)
            connection.thread.shutdown(wait=False)

    async def execute(self, connection, text, arguments, keys):
        """Run a statement in the connection's thread."""
        return await self._in_thread(connection, self._execute, connection.database, text, [_bound(value) for value in arguments])

    async def control(self, connection, verb):
        """BEGIN takes the lock for writing at once: two transactions that want it later would lock each other out."""
        await self._in_thread(connection, self._execute, connection.database, "BEGIN IMMEDIATE" if verb == "BEGIN" else verb, ())

    async def _in_thread(self, connection, function, *arguments):
        future = self._loop.run_in_executor(connection.thread, function, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if connection.database is not None:
                connection.database.interrupt()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    def _execute(self, database, text, arguments):
        try:
            cursor = database.execute(text, arguments)
            try:
                if cursor.description is None:
                    return Result(count=cursor.rowcount, key=cursor.lastrowid)
                rows, size = [], 0
                for row in cursor:
                    if len(rows) == ROWS:
                        raise SqlError(f"the result has more than {ROWS} rows", "54000")
                    rows.append([_given(value) for value in row])
                    size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
                    if size > BYTES:
                        raise SqlError(f"the result has more than {BYTES} octets", "54000")
                return Result([column[0] for column in cursor.description], rows, cursor.rowcount, cursor.lastrowid)
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise self._error(error) from error
        except (ValueError, OverflowError) as error:
            raise SqlError(str(error), "22000") from error

    def _error(self, error):
        name = getattr(error, "sqlite_errorname", "")
        kind = "_".join(name.split("_")[:2])
        if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return ServiceTimeout(f"sqlite:{self._path}: {error}")
        if kind in _AWAY:
            return ServiceUnavailable(f"sqlite:{self._path}: {error}")
        if isinstance(error, sqlite3.ProgrammingError):
            return SqlError(str(error), "07001")
        return SqlError(str(error), _STATES.get(name) or _STATES.get(kind) or
                        ("23000" if kind == "SQLITE_CONSTRAINT" else "HY000"))


def _bound(value):
    if isinstance(value, str):
        return octets(value).decode("utf-8", "replace")
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03}"
    return value


def _given(value):
    if isinstance(value, bytes):
        return bytearray(value)
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return str(value)
    return value
