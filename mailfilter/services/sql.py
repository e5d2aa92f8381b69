"""SQL databases for policies: one Database for each address and worker, whatever its product.

    database = open_database(outside, parse("postgresql://user:secret@db.example/mail"))
    database.circuit.start(lambda: database.run("SELECT 1", [], False), 10, settled)

Values go as parameters of the statement, never as part of its text, by each server's own protocol. What a
product has of its own is in sql_sqlite.py, sql_postgresql.py and sql_mysql.py, each with one class:

    Driver(loop, address, report)   at_once (how many statements at one time)
        await open() -> connection; usable(connection); close(connection)
        await execute(connection, text, arguments, keys) -> Result; await control(connection, "BEGIN", "COMMIT" or "ROLLBACK")

Must not know: policies, JavaScript, sessions.
"""
import importlib
import importlib.util
import os
from collections import namedtuple
from urllib.parse import parse_qsl, unquote, urlsplit

from mailfilter.errors import ConfigError, MailfilterError, ServiceError, ServiceProtocolError, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.connections import Connections

__all__ = ["ARGUMENTS", "BYTES", "ROWS", "TEXT", "Address", "Database", "Result", "SqlError", "Transaction", "open_database",
           "parse"]

ROWS = 10_000
"""Rows of one result."""

BYTES = 4 << 20
"""Octets of the texts and blobs in one result, roughly."""

TEXT = 1 << 20
"""Characters of one statement."""

ARGUMENTS = 1000
"""Parameters of one statement."""

ROLLBACK_S = 5.0
"""How long a transaction that nobody wants any more may take to be rolled back; then its connection is closed."""

# scheme: (module, what has to be installed, the extra that brings it, default port, options of its URL)
_PRODUCTS = {
    "sqlite": ("sql_sqlite", "sqlite3", None, 0, ()),
    "postgresql": ("sql_postgresql", "asyncpg", "postgresql", 5432, ("socket", "sslmode", "sslrootcert", "sslcert", "sslkey")),
    "mysql": ("sql_mysql", "asyncmy", "mysql", 3306, ("socket", "tls")),
}
_ALIASES = {"postgres": "postgresql", "mariadb": "mysql", "sqlite3": "sqlite"}


class SqlError(MailfilterError):
    """The database has answered with an error. code: its SQLSTATE, five characters (ISO/IEC 9075-2 §24)."""

    def __init__(self, message, code="HY000"):
        super().__init__(message)
        self.code = code


class Result:
    """What a statement gave.

    columns: names, or None when it gives no rows at all. rows: list of lists. count: rows that were changed, -1 where that
    means nothing. key: the number that the database has given the last new row, or None. dates: numbers of the columns
    whose values are moments, in milliseconds since 1970.
    """

    __slots__ = ("columns", "rows", "count", "key", "dates")

    def __init__(self, columns=None, rows=(), count=-1, key=None, dates=()):
        self.columns = columns
        self.rows = rows
        self.count = count
        self.key = key
        self.dates = dates


Address = namedtuple("Address", "product host port database user password options label")
"""Where a database is. label: for the log, without password and options. options: a tuple of (name, value) pairs."""


def parse(url, user=None, password=None):
    """The Address for a URL (with or without `jdbc:` before it); ConfigError when it is none, or its driver is missing.

    `sqlite:/path/of/file`; `postgresql://user:password@host:port/database?sslmode=verify-full`, `mysql://…`, `mariadb://…`.
    In a URL of a server `?socket=/path` leads to its socket.
    """
    text = url.removeprefix("jdbc:")
    scheme, colon, rest = text.partition(":")
    product = _ALIASES.get(scheme.lower(), scheme.lower())
    if not colon or product not in _PRODUCTS:
        raise ConfigError(f"'{_shown(url)}' is not the URL of a database: it begins with sqlite:, postgresql:// or mysql://")
    _, module, extra, port, known = _PRODUCTS[product]
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f"{product}:// needs {module}, which is not installed: pip install 'mailfilter[{extra}]'")
    if product == "sqlite":
        path, _, query = rest.partition("?")
        path = unquote("/" + path.lstrip("/") if path.startswith("//") else path)
        if not path or "\0" in path or path == ":memory:":
            raise ConfigError("the URL of an SQLite database is sqlite: and the path of its file")
        path = os.path.abspath(path)
        if query:
            raise ConfigError("the URL of an SQLite database has no options")
        return Address(product, None, 0, path, None, None, (), f"sqlite:{path}")
    try:
        parts = urlsplit(f"{product}:{rest}")
        host, port = parts.hostname, parts.port or port
    except ValueError as error:
        raise ConfigError(f"'{_shown(url)}' is not the URL of a database: {error}") from None
    database = unquote(parts.path[1:])
    options = tuple(parse_qsl(parts.query, keep_blank_values=True))
    for name, _ in options:
        if name not in known:
            raise ConfigError(f"{product}:// knows no option {name}; it has {', '.join(known)}")
    if dict(options).get("tls", "verify") not in ("require", "verify"):
        raise ConfigError("tls= is require (encrypted, whoever it is) or verify (with a valid certificate of its name)")
    if not rest.startswith("//") or not database:
        raise ConfigError(f"'{_shown(url)}' names no database: {product}://host/database is needed")
    user = user if user is not None else None if parts.username is None else unquote(parts.username)
    password = password if password is not None else None if parts.password is None else unquote(parts.password)
    where = dict(options).get("socket") or f"{host or 'localhost'}:{port}"
    return Address(product, host or "localhost", port, database, user, password, options, f"{product}://{where}/{database}")


def _shown(url):
    """A URL for a message, without a password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//…@{tail}" if at else url


def open_database(outside, address):
    """The Database at an Address, shared by all sessions of the worker whose Outside this is."""
    return outside.get("sql", address, lambda outside: Database(outside, address))


class Database:
    """A database as one worker uses it. circuit: where requests to it pass."""

    def __init__(self, outside, address):
        module = importlib.import_module(f"mailfilter.services.{_PRODUCTS[address.product][0]}")
        self.driver = driver = module.Driver(outside.loop, address)
        self.circuit = Circuit("sql", address.label, outside.loop, outside.report, at_once=driver.at_once)
        self.connections = Connections(outside.loop, self._open, driver.usable, driver.close, kept=driver.at_once)

    async def _open(self):
        try:
            return await self.driver.open()
        except (ServiceError, OSError, EOFError):
            raise
        except SqlError as error:
            # Who cannot even log in has no use for it; the next one may be luckier.
            raise ServiceUnavailable(f"{self.circuit.name}: {error}") from error
        except Exception as error:
            # Drivers fail in many ways at an answer that makes no sense.
            raise ServiceProtocolError(f"{self.circuit.name}: {type(error).__name__}: {error}") from error

    async def run(self, text, arguments, keys):
        """Execute one statement by itself; its Result. keys: whether generated keys are wanted."""
        connection = await self.connections.take()
        try:
            result = await self.driver.execute(connection, text, arguments, keys)
        except SqlError:
            self.connections.keep(connection)
            raise
        except BaseException:
            self.connections.drop(connection)       # who knows what it would say next
            raise
        self.connections.keep(connection)
        return result

    async def begin(self):
        """Begin a transaction: a Transaction, which has a place of the circuit until it ends."""
        connection = await self.connections.take()
        try:
            await self.driver.control(connection, "BEGIN")
        except BaseException:
            self.connections.drop(connection)
            raise
        return Transaction(self, connection)

    def close(self):
        """Close what is idle."""
        self.connections.close()


class Transaction:
    """A connection that one session has for itself. over: whether it has ended; then it has no connection."""

    def __init__(self, database, connection):
        self.database = database
        self.over = False
        self._connection = connection
        self._busy = False
        database.circuit.hold()

    async def run(self, text, arguments, keys):
        """Execute a statement in it."""
        if self.over:
            raise SqlError("the transaction is over", "25000")
        if self._busy:
            raise SqlError("a transaction runs one statement after the other", "25000")
        self._busy = True
        try:
            return await self.database.driver.execute(self._connection, text, arguments, keys)
        except SqlError:
            raise
        except BaseException:
            self._drop()
            raise
        finally:
            self._busy = False

    async def end(self, verb):
        """COMMIT or ROLLBACK it."""
        if self.over:
            raise SqlError("the transaction is over", "25000")
        self.over = True
        connection = self._connection
        try:
            await self.database.driver.control(connection, verb)
        except SqlError:
            self._give_back()           # refused, and with that rolled back
            raise
        except BaseException:
            self._drop()
            raise
        self._give_back()

    def abandon(self):
        """Nobody wants it any more: roll it back."""
        if self.over:
            return
        if self._busy:
            self.over = True
            self._drop()                # its statement has been cancelled and takes the connection with it
            return
        self.database.circuit.start(lambda: self.end("ROLLBACK"), ROLLBACK_S, lambda value, error: None, inside=True)

    close = abandon

    def _give_back(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            self.database.connections.keep(connection)
            self.database.circuit.release()

    def _drop(self):
        self.over = True
        connection, self._connection = self._connection, None
        if connection is not None:
            self.database.connections.drop(connection)
            self.database.circuit.release()
