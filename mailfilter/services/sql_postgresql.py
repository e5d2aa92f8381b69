"""PostgreSQL by asyncpg: statements are prepared by the server, and values are sent as what its parameters are.

Values that are given: `timestamptz` is a moment, `timestamp`, `date`, `time`, `interval`, `numeric`, `uuid`, `inet`, `json` and
whole numbers beyond 2^53 are texts, `bytea` is octets, arrays are arrays.
Values that are taken: whatever can be read as the parameter's type: "2026-11-22" for a date, "192.0.2.1" for an inet.

Must not know: policies, other products.
"""
import datetime
import decimal

import asyncpg

from mailfilter.errors import ServiceProtocolError, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.services.sql import ARGUMENTS, BYTES, ROWS, Result, SqlError
from mailfilter.services.sql_text import numbered

__all__ = ["Driver"]

STATEMENTS = 100
"""Prepared statements that each connection keeps."""

_LARGEST = 1 << 53
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
# The server is going away, coming back, or has no room: SQLSTATE classes 08 and 57P, and too_many_connections.
_AWAY = ("08", "57P", "53300")
_INTEGERS = frozenset(("int2", "int4", "int8", "oid"))
_TEXTS = frozenset(("text", "varchar", "bpchar", "name", "json", "jsonb", "xml", "citext"))
_SSL = ("sslmode", "sslrootcert", "sslcert", "sslkey")


class Driver:
    """See sql.py."""

    at_once = 10

    def __init__(self, loop, address):
        self._loop = loop
        self._address = address
        options = dict(address.options)
        self._socket = options.get("socket")
        query = "&".join(f"{name}={options[name]}" for name in _SSL if name in options)
        self._dsn = f"postgresql://?{query}" if query else None

    async def open(self):
        """A connection."""
        address = self._address
        try:
            connection = await asyncpg.connect(
                self._dsn, host=self._socket or address.host, port=address.port, user=address.user, password=address.password,
                database=address.database, statement_cache_size=0, server_settings={"application_name": "mailfilter"},
                timeout=3600)       # the deadline is the circuit's
        except asyncpg.PostgresError as error:
            raise ServiceUnavailable(f"{address.label}: {error}") from error
        return _Connection(connection)

    def usable(self, connection):
        """Whether it is open."""
        return not connection.server.is_closed()

    def close(self, connection):
        """Close it, politely where that is possible at once."""
        server = connection.server
        if not server.is_closed():
            server.terminate()

    async def execute(self, connection, text, arguments, keys):
        """Prepare (once) and execute a statement. keys: add what gives the new rows back."""
        sql, count = numbered(text)
        if count != len(arguments):
            raise SqlError(f"the statement has {count} parameters, {len(arguments)} are given", "07001")
        if keys:
            sql = f"{sql.rstrip().rstrip(';')} RETURNING {keys if isinstance(keys, str) else '*'}"
        try:
            statement = await connection.prepared(sql)
            types = statement.get_parameters()
            values = [_bound(value, kind.name, kind.kind) for value, kind in zip(arguments, types, strict=True)]
            limited = getattr(statement, "_PreparedStatement__bind_execute", None)
            if limited is not None:
                records = await limited(values, ROWS + 1, None)
            else:
                records = await statement.fetch(*values)
            return _result(statement, records)
        except asyncpg.PostgresError as error:
            raise self._error(error) from error
        except asyncpg.InternalClientError as error:
            raise ServiceProtocolError(f"{self._address.label}: {error}") from error
        except (asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError) as error:
            if connection.server.is_closed():
                raise ServiceUnavailable(f"{self._address.label}: {error}") from error
            raise SqlError(str(error), "22000") from error
        except (ValueError, OverflowError, ArithmeticError, TypeError) as error:
            raise SqlError(f"a parameter is not of its type: {error}", "22000") from error

    async def control(self, connection, verb):
        """BEGIN, COMMIT or ROLLBACK."""
        try:
            await connection.server.execute(verb)
        except asyncpg.PostgresError as error:
            raise self._error(error) from error
        except asyncpg.InternalClientError as error:
            raise ServiceProtocolError(f"{self._address.label}: {error}") from error
        except asyncpg.InterfaceError as error:
            raise ServiceUnavailable(f"{self._address.label}: {error}") from error

    def _error(self, error):
        state = getattr(error, "sqlstate", None) or "HY000"
        if state.startswith(_AWAY):
            return ServiceUnavailable(f"{self._address.label}: {error}")
        return SqlError(str(error), state)


class _Connection:
    """A connection and the statements that it has prepared, the one used last at the end."""

    def __init__(self, server):
        self.server = server
        self._statements = {}

    async def prepared(self, sql):
        statement = self._statements.pop(sql, None)
        if statement is None:
            statement = await self.server.prepare(sql)
            if len(self._statements) >= STATEMENTS:
                del self._statements[next(iter(self._statements))]
        self._statements[sql] = statement
        return statement


def _result(statement, records):
    if len(records) > ROWS:
        raise SqlError(f"the result has more than {ROWS} rows", "54000")
    attributes = statement.get_attributes()
    words = (statement.get_statusmsg() or "").split()
    count = int(words[-1]) if words and words[-1].isdigit() else -1
    if not attributes:
        return Result(count=count)
    dates = [number for number, attribute in enumerate(attributes) if attribute.type.name == "timestamptz"]
    rows = [[_given(value) for value in record] for record in records]
    size = sum(len(value) for row in rows for value in row if isinstance(value, (str, bytearray)))
    if size > BYTES:
        raise SqlError(f"the result has more than {BYTES} octets", "54000")
    return Result([attribute.name for attribute in attributes], rows, count, None, dates)


def _bound(value, kind, family):
    """A value of a policy's as asyncpg wants it for a parameter of a type."""
    if value is None:
        return None
    if family == "array":
        if not isinstance(value, list) or len(value) > ARGUMENTS:
            raise ValueError(f"an array of at most {ARGUMENTS} values is needed")
        return [_bound(element, kind.removesuffix("[]"), "scalar") for element in value]
    if kind in _INTEGERS:
        return int(value)
    if kind == "bool":
        return bool(value) if not isinstance(value, str) else value.lower() in ("t", "true", "1", "yes", "on")
    if kind in ("float4", "float8"):
        return float(value)
    if kind == "numeric":
        return decimal.Decimal(str(value))
    if kind == "bytea":
        return value if isinstance(value, bytes) else octets(value)
    if kind in ("timestamptz", "timestamp", "date", "time", "timetz", "interval"):
        return _moment(value, kind)
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, bytes):
        raise ValueError(f"octets are no {kind}")
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind in _TEXTS or isinstance(value, str):
        # PostgreSQL's texts have neither octets that are not UTF-8 nor NUL.
        return octets(str(value)).decode("utf-8", "replace").replace("\0", "\ufffd")
    return str(value)


def _moment(value, kind):
    if kind == "interval":
        return datetime.timedelta(seconds=float(value))
    if isinstance(value, (int, float)):
        raise ValueError(f"a number is no {kind}; give a Date, or a text")
    if kind in ("time", "timetz"):
        return value.timetz() if isinstance(value, datetime.datetime) else datetime.time.fromisoformat(value)
    if kind == "date":
        return value.date() if isinstance(value, datetime.datetime) else datetime.date.fromisoformat(value)
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.fromisoformat(value)
    if kind == "timestamp":
        return value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)


def _given(value):
    """A value of the database's as a policy gets it."""
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if isinstance(value, bytes):
        return bytearray(value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            return (value - _EPOCH) / _MILLISECOND
        return value.isoformat(" ")
    if isinstance(value, (list, tuple)) and not isinstance(value, asyncpg.Record):
        return [_given(element) for element in value]
    if isinstance(value, asyncpg.Record):
        return [_given(element) for element in value.values()]
    return str(value)
