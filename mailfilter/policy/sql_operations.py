"""Operations of Sql: statements and transactions in databases.

Must not know: any database, what a policy asks it.
"""
import datetime

from mailfilter._core.heap import UNDEFINED, HostError
from mailfilter.policy.guarded import ask, outside, seconds_of
from mailfilter.policy.operation import PENDING
from mailfilter.services import sql

__all__ = ["TRANSACTIONS", "begin", "check", "end", "run"]

TRANSACTIONS = 4
"""Transactions that one session has open at one time."""


def check(context, url, user, password):
    """What a database is called in the log. Throws when the URL is none, or what it needs is not installed."""
    return sql.parse(url, user, password).label


def _database(context, where):
    if len(where) != 3:
        raise HostError("a database is an array of URL, user and password", "TypeError")
    return sql.open_database(outside(context), sql.parse(*where))


def _held(context, handle):
    transaction = (context.held or {}).get(int(handle))
    if transaction is None or transaction.over:
        raise sql.SqlError("the transaction is over", "25000")
    return transaction


def _argument(value):
    """A value of a policy's: js/sql.js makes {date: milliseconds} of a Date."""
    if isinstance(value, dict):
        if value.keys() != {"date"} or not isinstance(value["date"], (int, float)):
            raise HostError("a parameter is null, a boolean, number, string, Date, octets, or an array of these", "TypeError")
        try:
            return datetime.datetime.fromtimestamp(value["date"] / 1000, datetime.UTC)
        except (ValueError, OverflowError, OSError):
            raise HostError("a Date that is none, or too far away", "RangeError") from None
    if isinstance(value, list):
        return [_argument(element) for element in value]
    return value


def run(context, waiting, where, handle, text, arguments, keys, seconds, away):
    """Execute a statement, in the transaction with this number (0: by itself): [columns or null, rows, count, key or null,
    numbers of the columns with moments]."""
    if len(text) > sql.TEXT or len(arguments) > sql.ARGUMENTS:
        raise HostError(f"a statement has at most {sql.TEXT} characters and {sql.ARGUMENTS} parameters", "RangeError")
    arguments = [_argument(value) for value in arguments]
    if isinstance(keys, str) and not all(part.strip().replace("_", "").isalnum() for part in keys.split(",")):
        raise HostError("columns of generated keys are names", "TypeError")
    target = _held(context, handle) if handle else _database(context, where)
    circuit = target.database.circuit if handle else target.circuit

    async def make():
        result = await target.run(text, arguments, keys)
        return [result.columns, result.rows, result.count, result.key, list(result.dates)]

    return ask(context, waiting, circuit, make, seconds=seconds_of(seconds, context.timeouts.sql), away=away, inside=bool(handle))


def begin(context, waiting, where, seconds, away):
    """Begin a transaction; its number, or null (away: "accept")."""
    held = context.held
    if held is None:
        held = context.held = {}
    for number in [number for number, transaction in held.items() if transaction.over]:
        del held[number]
    if len(held) >= TRANSACTIONS:
        raise sql.SqlError(f"a session has at most {TRANSACTIONS} transactions open", "25000")
    database = _database(context, where)
    number = max(held, default=0) + 1
    unwanted = []

    async def make():
        transaction = await database.begin()
        if unwanted or context.held is None:
            transaction.abandon()
            return None
        context.held[number] = transaction
        return number

    value = ask(context, waiting, database.circuit, make, seconds=seconds_of(seconds, context.timeouts.sql), away=away)
    cancel = waiting.on_cancel

    def cancelled():
        unwanted.append(True)
        cancel()

    waiting.on_cancel = cancelled
    return value


def end(context, waiting, handle, commit, seconds, away):
    """Commit a transaction, or roll it back, which never fails."""
    transaction = (context.held or {}).pop(int(handle), None)
    if not commit:
        if transaction is not None:
            transaction.abandon()
        context.loop.call_soon(waiting.done, UNDEFINED)
        return PENDING
    if transaction is None or transaction.over:
        raise sql.SqlError("the transaction is over, and was rolled back", "25000")

    async def make():
        await transaction.end("COMMIT")
        return True

    # Whether it was committed nobody can tell when the database is away now.
    return ask(context, waiting, transaction.database.circuit, make, seconds=seconds_of(seconds, context.timeouts.sql),
               away=away, inside=True)

