"""Sql and the predecessor's API to databases, against SQLite, PostgreSQL and MariaDB as they are."""
import asyncio
import json

import pytest

from mailfilter.errors import ConfigError, TemporaryFailure
from mailfilter.services import sql
from mailfilter.services.sql_text import numbered

TEST_SECONDS = 120


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/test.db"
    return request.getfixturevalue(request.param).url


def product(url):
    return url.partition(":")[0]


def db(url, **options):
    return f"var db = Sql.connect({json.dumps(url)}, {json.dumps(options)});"


SERIAL = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY", "mysql": "INT AUTO_INCREMENT PRIMARY KEY"}
BLOB = {"sqlite": "BLOB", "postgresql": "BYTEA", "mysql": "BLOB"}


async def table(worker, url, name="t"):
    await worker.run(f"""{db(url)} db.execute('DROP TABLE IF EXISTS {name}');
        return db.execute('CREATE TABLE {name} (id {SERIAL[product(url)]}, n BIGINT, f DOUBLE PRECISION, s TEXT,
                                                b {BLOB[product(url)]}, u INT UNIQUE)');""".replace("\n", " "))


def test_what_goes_in_comes_out(url, work):
    async def test(worker):
        await table(worker, url)
        hostile = "'; DROP TABLE t; -- \\' \" ? $1 %s é 😀"
        found = await worker.run(f"""{db(url)}
            var done = db.execute('INSERT INTO t (n, f, s, b, u) VALUES (?, ?, ?, ?, ?)',
                                  [9007199254740993 - 1, 0.1, {json.dumps(hostile)}, new Uint8Array([0, 255, 39]), null]);
            db.execute("INSERT INTO t (n, s) VALUES (?, ?)", [-1, '']);
            var rows = db.query('SELECT n, f, s, b, u FROM t ORDER BY id');
            return [done.count, rows.length, rows[0].n, rows[0].f, rows[0].s, Array.prototype.slice.call(rows[0].b),
                    rows[0].u, rows[1]];
            """)
        assert found == [1, 2, 9007199254740992, 0.1, hostile, [0, 255, 39], None,
                         {"n": -1, "f": None, "s": "", "b": None, "u": None}]
    work(test)


def test_numbers_that_no_number_holds_are_texts(url, work):
    async def test(worker):
        await table(worker, url)
        found = await worker.run(f"""{db(url)} db.execute('INSERT INTO t (n) VALUES (9223372036854775807)');
            var first = db.query('SELECT n FROM t')[0].n;
            return [first, db.query('SELECT COUNT(*) AS c FROM t WHERE n = ?', ['9223372036854775807'])[0].c];""")
        assert found[0] == "9223372036854775807" and found[1] in (1, "1")
    work(test)


def test_octets_that_are_no_text(url, work):
    async def test(worker):
        await table(worker, url)
        found = await worker.run(f"""{db(url)} db.execute('INSERT INTO t (s) VALUES (?)', ['a\\udcffb\\ud800']);
            return db.query('SELECT s FROM t')[0].s;""")
        assert found == "a\ufffdb\ufffd"
    work(test)


def test_errors_have_an_sqlstate(url, work):
    async def test(worker):
        await table(worker, url)
        found = await worker.run(f"""{db(url)} var states = [];
            function state(f) {{ try {{ f(); states.push(null); }} catch (e) {{ states.push([e.name, e.sqlState, e.code]); }} }}
            state(function () {{ db.query('SELEKT 1'); }});
            state(function () {{ db.execute('INSERT INTO t (u) VALUES (1)'); db.execute('INSERT INTO t (u) VALUES (?)', [1]); }});
            state(function () {{ db.query('SELECT ?'); }});
            state(function () {{ db.query('SELECT * FROM nowhere'); }});
            states.push(db.query('SELECT 1 AS one')[0].one);
            return states;""")
        assert [name for name, _, _ in found[:4]] == ["SqlError"] * 4 and all(state == code for _, state, code in found[:4])
        states = [state for _, state, _ in found[:4]]
        assert states[0].startswith("42") and states[1].startswith("23") and states[2] == "07001" and states[3].startswith("42")
        assert found[4] == 1
    work(test)


def test_a_transaction_is_all_or_nothing(url, work):
    async def test(worker):
        await table(worker, url)
        found = await worker.run(f"""{db(url)} var said = [];
            function count() {{ return Number(db.query('SELECT COUNT(*) AS c FROM t')[0].c); }}
            said.push(db.transaction(function (tx) {{ tx.execute('INSERT INTO t (n) VALUES (1)'); return 'done'; }}), count());
            try {{
                db.transaction(function (tx) {{ tx.execute('INSERT INTO t (n) VALUES (2)'); throw new Error('no'); }});
            }} catch (e) {{ said.push(e.message); }}
            said.push(count());
            try {{
                db.transaction(function (tx) {{ tx.execute('INSERT INTO t (n) VALUES (3)'); tx.query('SELEKT'); }});
            }} catch (e) {{ said.push(e.sqlState.substring(0, 2)); }}
            said.push(count());
            var kept;
            db.transaction(function (tx) {{ kept = tx; }});
            try {{ kept.query('SELECT 1'); }} catch (e) {{ said.push(e.sqlState); }}
            return said;""")
        assert found == ["done", 1, "no", 1, "42", 1, "25000"]
    work(test)


def test_what_a_session_that_ends_has_begun_is_rolled_back(url, work):
    async def test(worker):
        await table(worker, url)
        session = worker.session(f"""{db(url)} SmtpServer.prototype.smtpVrfy = function () {{
            this.connection = DriverManager.getConnection({json.dumps(url)});
            this.connection.setAutoCommit(false);
            this.connection.createStatement().executeUpdate('INSERT INTO t (n) VALUES (1)');
            return new SmtpResponse(250, 'x'); }};""")
        assert (await session()).fault is None
        session.context.close()
        assert await worker.run(f"{db(url)} return Number(db.query('SELECT COUNT(*) AS c FROM t')[0].c);") == 0
    work(test)


def test_what_a_handler_that_is_cut_off_has_begun_is_rolled_back(url, work):
    async def test(worker):
        await table(worker, url)
        session = worker.session(f"""{db(url)} SmtpServer.prototype.smtpVrfy = function () {{
            db.transaction(function (tx) {{ tx.execute('INSERT INTO t (n) VALUES (1)'); Sys.sleepForEver(); }}); }};""")
        assert (await session()).fault is not None
        assert await worker.run(f"{db(url)} return Number(db.query('SELECT COUNT(*) AS c FROM t')[0].c);") == 0
    work(test)


def test_more_at_one_time_than_there_are_connections(url, work):
    async def test(worker):
        await table(worker, url)
        await asyncio.gather(*(worker.run(f"{db(url)} return db.execute('INSERT INTO t (n) VALUES (?)', [{n}]).count;")
                               for n in range(40)))
        assert await worker.run(f"{db(url)} return Number(db.query('SELECT COUNT(*) AS c FROM t')[0].c);") == 40
    work(test)


def test_transactions_that_take_all_connections(url, work):
    async def test(worker):
        await table(worker, url)
        code = f"""{db(url)} return db.transaction(function (tx) {{
            tx.execute('INSERT INTO t (n) VALUES (1)');
            return Number(tx.query('SELECT COUNT(*) AS c FROM t')[0].c) > 0; }});"""
        assert all(await asyncio.gather(*(worker.run(code) for _ in range(25))))
        assert sql.open_database(worker.outside, sql.parse(url)).circuit.under_way == 0
    work(test)


def test_too_many_rows(url, work):
    async def test(worker):
        found = await worker.run(f"""{db(url)} try {{
            db.query('WITH RECURSIVE x(n) AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 12000) SELECT n FROM x');
            }} catch (e) {{ return e.sqlState; }}""")
        # MariaDB stops recursion by itself after a thousand rows, without a word.
        assert found == "54000" or product(url) == "mysql"
    work(test)


def test_the_predecessors_way(url, work):
    async def test(worker):
        await table(worker, url)
        generated = "['id']" if product(url) == "postgresql" else "Statement.RETURN_GENERATED_KEYS"
        found = await worker.run(f"""
            Sys.loadModule('mod_sql.so');
            var c = DriverManager.getConnection({json.dumps(url)}), said = [];
            var p = c.prepareStatement('INSERT INTO t (n, s) VALUES (?, ?)', {generated});
            p.setNumber(1, 5); p.setString(2, 'five');
            said.push(p.executeUpdate());
            var keys = p.getGeneratedKeys();
            said.push(keys.next(), keys.getNumber(1) > 0, keys.next());
            p.setNumber(1, 6); p.setNull(2);
            said.push(p.execute(), p.getUpdateCount());
            var s = c.createStatement(), r = s.executeQuery('SELECT n, s FROM t ORDER BY n');
            while (r.next()) {{ said.push(r.getNumber(1), r.getString('S'), r.wasNull()); }}
            said.push(r.first(), r.getString(2), r.last(), r.getNumber('n'), c.nativeSQL('x'), s.getConnection() === c);
            said.push(s.executeUpdate("UPDATE t SET n = n + 1"), s.getUpdateCount(), s.getResultSet());
            c.setAutoCommit(false);
            s.executeUpdate('DELETE FROM t'); c.rollback();
            r = s.executeQuery('SELECT COUNT(*) AS c FROM t'); r.next(); said.push(r.getNumber('c'));
            s.executeUpdate('DELETE FROM t'); c.commit();
            r = s.executeQuery('SELECT COUNT(*) AS c FROM t'); r.next(); said.push(r.getNumber('c'));
            c.close();
            try {{ s.execute('SELECT 1'); }} catch (e) {{ said.push(e.message); }}
            return said;""")
        assert found == [1, True, True, False, False, 1, 5, "five", False, 6, None, True, True, "five", True, 6, "x", True,
                         2, 2, None, 2, 0, "the connection is closed"]
    work(test)


def test_moments(postgresql, mariadb, work):
    async def test(worker):
        for url, kind in ((postgresql.url, "TIMESTAMPTZ"), (mariadb.url, "TIMESTAMP(3)")):
            found = await worker.run(f"""{db(url)} db.execute('DROP TABLE IF EXISTS m');
                db.execute('CREATE TABLE m (a {kind}, b {"TIMESTAMP" if "TZ" in kind else "DATETIME(3)"}, d DATE, '
                           + 'x NUMERIC(20, 5))');
                var when = new Date(Date.UTC(2026, 10, 22, 12, 30, 5, 250));
                db.execute('INSERT INTO m VALUES (?, ?, ?, ?)', [when, when, '2026-11-22', '12345678901234.56789']);
                var row = db.query('SELECT a, b, d, x FROM m')[0];
                return [row.a instanceof Date, row.a.getTime() === when.getTime(), row.b, row.d, row.x];""")
            assert found == [True, True, "2026-11-22 12:30:05.250000", "2026-11-22", "12345678901234.56789"]
    work(test)


def test_types_of_postgresql(postgresql, work):
    async def test(worker):
        found = await worker.run(f"""{db(postgresql.url)} return db.query('SELECT ?::inet AS a, ?::uuid AS u, ?::int[] AS l, ' +
            '?::jsonb AS j, ?::bool AS b, ?::text AS t, ? = ANY(?::text[]) AS x',
            ['192.0.2.1', '6f2fb92a-0000-4000-8000-000000000001', [1, 2], '{{"a": 1}}', true, 12, 'a', ['a', 'b']])[0];""")
        assert found == {"a": "192.0.2.1", "u": "6f2fb92a-0000-4000-8000-000000000001", "l": [1, 2], "j": '{"a": 1}', "b": True,
                         "t": "12", "x": True}
    work(test)


# Away.

ASK = "return new SmtpResponse(250, 'x' + JSON.stringify(db.query('SELECT 1 AS one')));"


def handler(url, **options):
    return f"{db(url, **options)} SmtpServer.prototype.smtpVrfy = function () {{ {ASK} }};"


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_what_becomes_of_it_when_the_database_is_away(kind, work):
    async def test(worker):
        url = f"{kind}://mail:secret@127.0.0.1:1/mail"
        outcome = await worker.session(handler(url))()
        assert type(outcome.fault) is TemporaryFailure and "secret" not in str(outcome.fault)
        outcome = await worker.session(handler(url, away="accept"))()
        assert (outcome.fault, outcome.lines) == (None, ["xnull"])
        outcome = await worker.session(handler(url, away="throw"))()
        assert "ServiceUnavailable" in outcome.fault.message
    work(test)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_killed_hung_and_back_again(request, kind, work):
    server = request.getfixturevalue(kind)

    async def test(worker):
        ask = worker.session(handler(server.url, timeout=0.5))
        database = sql.open_database(worker.outside, sql.parse(server.url))
        assert (await ask(seconds=20.0)).lines == ['x[{"one":1}]']
        begun = worker.loop.time()
        server.hang()
        try:
            outcome = await ask()
            assert type(outcome.fault) is TemporaryFailure and worker.loop.time() - begun < 5
        finally:
            server.wake()
        database.circuit.failures = 0
        server.kill()
        assert type((await ask()).fault) is TemporaryFailure
        await asyncio.to_thread(server.start)
        database.circuit.failures = 0
        for _ in range(100):        # it may say for a while that it is starting
            outcome = await ask()
            database.circuit.failures = 0
            if outcome.fault is None:
                break
        assert outcome.lines == ['x[{"one":1}]']
    work(test)


class Babbler:
    """A server that says what it likes to whoever connects; None: nothing at all."""

    def __init__(self, says):
        self.says = says

    async def __aenter__(self):
        async def babble(reader, writer):
            if self.says is not None:
                writer.write(self.says)
            try:
                while await reader.read(1000):
                    if self.says is not None:
                        writer.write(self.says)
            except ConnectionError:
                pass
            writer.close()

        self.server = await asyncio.start_server(babble, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self.server.close()


@pytest.mark.parametrize("says", [None, b"\0" * 100, b"\xff" * 100, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mx ESMTP\r\n"])
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_silence_and_nonsense(kind, says, work):
    async def test(worker):
        async with Babbler(says) as babbler:
            ask = worker.session(handler(f"{kind}://mail:secret@127.0.0.1:{babbler.port}/mail", timeout=0.3))
            begun = worker.loop.time()
            outcome = await ask()
            assert type(outcome.fault) is TemporaryFailure, outcome.fault
            assert worker.loop.time() - begun < 5
    work(test)


def test_a_file_that_cannot_be_opened_or_is_none(work, tmp_path):
    async def test(worker):
        (tmp_path / "text").write_text("this is not a database, and long enough to be none " * 20)
        for path in (tmp_path / "no/folder/x.db", tmp_path / "text"):
            outcome = await worker.session(handler(f"sqlite:{path}"))()
            assert type(outcome.fault) is TemporaryFailure, outcome.fault
    work(test)


def test_a_locked_file_holds_nobody_else_up(work, tmp_path):
    async def test(worker):
        import sqlite3
        url = f"sqlite:{tmp_path}/a.db"
        await worker.run(f"{db(url)} return db.execute('CREATE TABLE t (n INT)').count;")
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked = worker.session(f"""{db(url, timeout=3)} SmtpServer.prototype.smtpVrfy = function () {{
            db.execute('INSERT INTO t VALUES (1)'); }};""")
        waiting = asyncio.ensure_future(locked())
        assert await worker.run(f"{db(url)} return db.query('SELECT 1 AS one')[0].one;") == 1
        assert not waiting.done()
        assert type((await waiting).fault) is TemporaryFailure
        other.execute("ROLLBACK")
        other.close()
        assert await worker.run(f"{db(url)} return db.execute('INSERT INTO t VALUES (1)').count;") == 1
    work(test)


def test_a_statement_that_never_ends_is_stopped(work, tmp_path):
    async def test(worker):
        forever = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x"
        url = f"sqlite:{tmp_path}/b.db"
        ask = worker.session(f"""{db(url, timeout=0.3)} SmtpServer.prototype.smtpVrfy = function () {{
            db.query({json.dumps(forever)}); }};""")
        assert type((await ask()).fault) is TemporaryFailure
        database = sql.open_database(worker.outside, sql.parse(url))
        for _ in range(500):
            if not database.circuit.under_way:
                break
            await asyncio.sleep(0.01)
        assert database.circuit.under_way == 0
    work(test)


# Addresses, texts.

@pytest.mark.parametrize("url, label", [
    ("postgres://u:p%40@db.example/mail", "postgresql://db.example:5432/mail"),
    ("jdbc:mariadb://db.example:33/mail", "mysql://db.example:33/mail"),
    ("mysql:///mail?socket=/run/mysqld/mysqld.sock", "mysql:///run/mysqld/mysqld.sock/mail"),
    ("sqlite:///var/lib/x.db", "sqlite:/var/lib/x.db"), ("sqlite:/x%20y", "sqlite:/x y")])
def test_urls(url, label):
    assert sql.parse(url).label == label


@pytest.mark.parametrize("url, words", [
    ("oracle://x/y", "is not the URL"), ("postgresql://host", "names no database"), ("sqlite:", "path of its file"),
    ("sqlite::memory:", "path of its file"), ("mysql://u:secret@h:99999/x", "Port out of range"),
    ("mysql://h/x?tls=perhaps", "tls= is"), ("postgresql://h/x?sslmod=x", "knows no option sslmod"), ("mail", "is not the URL")])
def test_urls_that_are_none(url, words):
    with pytest.raises(ConfigError, match=words) as raised:
        sql.parse(url)
    assert "secret" not in str(raised.value)


def test_a_driver_that_is_missing_is_told_when_the_policy_is_loaded(monkeypatch, tmp_path, capsys):
    from mailfilter import cli
    monkeypatch.setitem(sql._PRODUCTS, "mysql", ("sql_mysql", "no_such_module", "mysql", 3306, ()))
    (tmp_path / "policy.js").write_text("\nvar db = Sql.connect('mysql://h/x');\n")
    assert cli.main(["check", str(tmp_path / "policy.js")]) == 1
    said = capsys.readouterr().err
    assert "policy.js:2:" in said and "pip install 'mailfilter[mysql]'" in said


@pytest.mark.parametrize("text, expected", [
    ("a = ? AND b = ?", ("a = $1 AND b = $2", 2)), ("'?' || ? || \"?\"", ("'?' || $1 || \"?\"", 1)),
    ("'it''s ?' ?", ("'it''s ?' $1", 1)), ("-- ?\n?", ("-- ?\n$1", 1)), ("/* ? */ ?", ("/* ? */ $1", 1)),
    ("$$?$$ $x$ ? $x$ ?", ("$$?$$ $x$ ? $x$ $1", 1)), ("E'\\'?' ?", ("E'\\'?' $1", 1)), ("a ?? b", ("a ? b", 0))])
def test_question_marks(text, expected):
    assert numbered(text) == expected
