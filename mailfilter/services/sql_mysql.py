"""MySQL and MariaDB by asyncmy: statements are prepared by the server, and values are sent beside them in binary.

Values that are given: TIMESTAMP is a moment; DATETIME, DATE, TIME, DECIMAL and whole numbers beyond 2^53 are texts; BLOB and
BINARY are octets; BIT and whatever else has no name here is a text.

Must not know: policies, other products.
"""
import datetime
import decimal
import ssl

import asyncmy
from asyncmy import errors

from mailfilter.errors import ServiceProtocolError, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.services.sql import BYTES, ROWS, Result, SqlError

__all__ = ["Driver"]

STATEMENTS = 100
"""Prepared statements that each connection keeps; a server has 16,382 for all."""

_LARGEST = 1 << 53
_EPOCH = datetime.datetime(1970, 1, 1)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_TIMESTAMP = 7                      # the protocol's number of that type
_UNSUPPORTED = 1295                 # "This command is not supported in the prepared statement protocol yet"
# Connections that broke or cannot be had: 2xxx are the client's own; too many, shutting down, killed.
_AWAY = frozenset((1040, 1053, 1077, 1079, 1203, 1205, 1317, 1927, 2002, 2003, 2006, 2012, 2013, 2026, 2055))
_GARBAGE = (IndexError, AssertionError, UnicodeError, KeyError, AttributeError)


class Driver:
    """See sql.py."""

    at_once = 10

    def __init__(self, loop, address):
        self._loop = loop
        self._address = address
        options = dict(address.options)
        self._socket = options.get("socket")
        tls = options.get("tls")
        self._ssl = None
        if tls is not None:
            self._ssl = ssl.create_default_context()
            if tls == "require":
                self._ssl.check_hostname = False
                self._ssl.verify_mode = ssl.CERT_NONE

    async def open(self):
        """A connection: UTF-8, UTC, strict, and no more rows than we take."""
        address = self._address
        try:
            server = await asyncmy.connect(
                host=address.host, port=address.port, unix_socket=self._socket, user=address.user,
                password=address.password or "", db=address.database, charset="utf8mb4", autocommit=True,
                connect_timeout=3600, ssl=self._ssl,
                init_command=f"SET time_zone='+00:00', sql_select_limit={ROWS + 1}")
        except errors.MySQLError as error:
            raise ServiceUnavailable(f"{address.label}: {_words(error)}") from error
        return _Connection(server)

    def usable(self, connection):
        """Whether it is open, as far as we have heard."""
        server = connection.server
        return server.connected and not server._stream_broken and not connection.doubtful

    def close(self, connection):
        """Close it."""
        connection.server.close()

    async def execute(self, connection, text, arguments, keys):
        """Prepare (once) and execute a statement."""
        try:
            try:
                statement = await connection.prepared(text)
            except errors.MySQLError as error:
                if error.args[0] != _UNSUPPORTED or arguments:
                    raise
                return Result(count=await connection.server.query(text))
            if statement.parameter_count != len(arguments):
                raise SqlError(f"the statement has {statement.parameter_count} parameters, {len(arguments)} are given", "07001")
            return _result(await statement.execute(tuple(_bound(value) for value in arguments)))
        except errors.MySQLError as error:
            raise self._error(error) from error
        except _GARBAGE as error:
            raise ServiceProtocolError(f"{self._address.label}: {type(error).__name__}: {error}") from error
        except (ValueError, OverflowError, TypeError) as error:
            # A value that cannot be sent, or an answer that was not read to its end: what is left of it is nobody else's.
            connection.doubtful = True
            raise SqlError(str(error), "22000") from error

    async def control(self, connection, verb):
        """BEGIN, COMMIT or ROLLBACK."""
        try:
            await connection.server.query(verb)
        except errors.MySQLError as error:
            raise self._error(error) from error
        except (*_GARBAGE, ValueError, TypeError) as error:
            raise ServiceProtocolError(f"{self._address.label}: {type(error).__name__}: {error}") from error

    def _error(self, error):
        number = error.args[0] if error.args else 0
        if isinstance(error, errors.InternalError) and not isinstance(number, int):     # the driver's own: no answer of a server
            return ServiceProtocolError(f"{self._address.label}: {_words(error)}")
        if number in _AWAY or isinstance(error, errors.InterfaceError) and not isinstance(number, int):
            return ServiceUnavailable(f"{self._address.label}: {_words(error)}")
        return SqlError(_words(error), getattr(error, "sqlstate", None) or "HY000")


class _Connection:
    """A connection and the statements that it has prepared, the one used last at the end. doubtful: it may be out of step."""

    def __init__(self, server):
        self.server = server
        self.doubtful = False
        self._statements = {}

    async def prepared(self, text):
        statement = self._statements.pop(text, None)
        if statement is None:
            statement = await self.server.prepare(text)
            if len(self._statements) >= STATEMENTS:
                await self._statements.pop(next(iter(self._statements))).close()
        self._statements[text] = statement
        return statement


def _words(error):
    return str(error.args[1]) if len(error.args) > 1 else str(error)


def _result(done):
    if done.description is None:
        return Result(count=done.affected_rows, key=_given(done.insert_id) if done.insert_id else None)
    records = done.rows or ()
    if len(records) > ROWS:
        raise SqlError(f"the result has more than {ROWS} rows", "54000")
    dates = [number for number, column in enumerate(done.description) if column[1] == _TIMESTAMP]
    moments = frozenset(dates)
    rows = [[_given(value, number in moments) for number, value in enumerate(record)] for record in records]
    if sum(len(value) for row in rows for value in row if isinstance(value, (str, bytearray))) > BYTES:
        raise SqlError(f"the result has more than {BYTES} octets", "54000")
    return Result([column[0] for column in done.description], rows, len(rows), None, dates)


def _bound(value):
    if isinstance(value, str):
        return octets(value).decode("utf-8", "replace")
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo is not None else value
    return value


def _given(value, moment=False):
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if isinstance(value, (bytes, bytearray)):
        return bytearray(value)
    if isinstance(value, datetime.datetime):
        return (value - _EPOCH) / _MILLISECOND if moment else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.timedelta, decimal.Decimal)):
        return str(value)
    return str(value)
