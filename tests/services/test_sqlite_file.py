"""SQLite files that several processes make at the same moment."""
import sqlite3
import threading

import pytest

from mailfilter.services import dmarc_store, sql_sqlite, sqlite_file, store_sqlite

TABLE = "CREATE TABLE IF NOT EXISTS t (n INTEGER)"


def opened_by(*functions):
    """Call all at the same moment, each in a thread of its own; returns what they raised."""
    faults, barrier = [], threading.Barrier(len(functions))

    def call(function):
        barrier.wait()
        try:
            function()
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def plain(path):
    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    sqlite_file.write_ahead(database, 30)
    sqlite_file.make_tables(database, [TABLE])
    database.execute("INSERT INTO t VALUES (1)")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def store(path):
    store = store_sqlite.Store(None, path, None)
    store._open()
    store._database.close()


def database(path):
    address = type("Address", (), {"database": path})
    sql_sqlite.Driver(None, address)._connect().close()


def findings(path):
    dmarc_store._open(path).close()


@pytest.mark.parametrize("open_", [plain, store, database, findings])
def test_a_new_file_is_opened_by_many_at_once(open_, tmp_path):
    for number in range(20):
        path = str(tmp_path / f"{number}.db")
        assert opened_by(*[lambda path=path: open_(path)] * 4) == []


def test_a_file_that_stays_locked(tmp_path):
    path = str(tmp_path / "locked.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    mine = sqlite3.connect(path, timeout=0, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_file.write_ahead(mine, 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_file.make_tables(mine, [TABLE])
    other.execute("ROLLBACK")
    sqlite_file.write_ahead(mine, 0.0)
    sqlite_file.make_tables(mine, [TABLE])
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        sqlite_file.make_tables(mine, ["CREATE TABLE IF NOT EXISTS u (n INTEGER)", "no statement"])
    assert mine.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)] and not mine.in_transaction
    mine.close()
    other.close()
