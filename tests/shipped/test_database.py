"""database: what stands in its tables, with SQLite, PostgreSQL and MariaDB and the tables that come with the program."""
import re
import sqlite3
import subprocess

import databases
import pytest
from peers.next_hop import Say
from peers.waiting import wait_until
from scanning import GTUBE, Spamd
from shipped.conftest import HAM

from mailfilter.policy import library

TEST_SECONDS = 120

SPAM = b"From: a@sender.example\r\nSubject: =?utf-8?q?J=C3=A4h?=\r\n\r\n" + GTUBE + b"\r\n"
COLUMNS = "remote_addr, remote_port, envelope_sender, subject, smtp_status_code, smtp_status_message, module, size"


def schema(product):
    return (library.directory() / "policies" / f"database.{product}.sql").read_text()


class Tables:
    """A database with the tables in it. `url`, and what is in the tables: `rows()`."""

    def __init__(self, product, url, ask, servers=()):
        self.product = product
        self.url = url
        self.ask = ask          # a statement → a list of tuples
        self.servers = servers
        self.seen = set()

    def next(self, count=1):
        """The (columns…, [recipient, …]) of so many new transactions; they may be written when the client has gone."""
        new = []
        wait_until(lambda: new.extend(self.rows()) or len(new) >= count, f"{count} new rows", 30)
        assert len(new) == count, new
        return new if count > 1 else new[0]

    def rows(self):
        """The same of the transactions that are new since the last call."""
        new = []
        for row in self.ask(f"SELECT smtp_transaction_id, {COLUMNS} FROM smtp_transactions ORDER BY smtp_transaction_id"):
            if row[0] not in self.seen:
                self.seen.add(row[0])
                recipients = self.ask("SELECT recipient FROM smtp_transaction_recipients WHERE smtp_transaction_id = "
                                      f"{row[0]} ORDER BY smtp_transaction_recipient_id")
                new.append((*row[1:], [one for one, in recipients]))
        return new


def of_client(server, command):
    """What asks a server's own client program, which is also the documented way to make the tables."""
    def ask(text):
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=50, check=True)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return [tuple(None if cell in ("NULL", "") else int(cell) if re.fullmatch(r"\d+", cell) else cell for cell in row)
                for row in rows]
    return ask


def in_sqlite(path):
    def ask(text):
        with sqlite3.connect(path) as database:
            return database.execute(text).fetchall()
    return ask


@pytest.fixture(scope="module")
def mariadb():
    server = databases.MariaDb()
    yield server
    server.finish()


@pytest.fixture(scope="module")
def postgresql():
    server = databases.PostgreSql()
    yield server
    server.finish()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def tables(request, tmp_path_factory):
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("db") / "mail.db"
        return Tables("sqlite", f"sqlite:{path}", in_sqlite(path))
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        ask = of_client(server, [databases.program("psql", "/usr/lib/postgresql/*/bin"), "-XqAt", "-F", "\t", "-P", "null=NULL",
                                 "-v", "ON_ERROR_STOP=1", server.url])
    else:
        server = request.getfixturevalue("mariadb")
        ask = of_client(server, [databases.program("mariadb"), "--no-defaults", "-N", "-B", "-h127.0.0.1", f"-P{server.port}",
                                 "-umail", "-psecret", "--default-character-set=utf8mb4", "mail"])
    ask(schema(request.param))
    return Tables(request.param, server.url, ask)


@pytest.fixture(scope="module")
def spamd():
    server = Spamd()
    yield server
    server.finish()


@pytest.fixture(scope="module")
def logged(front, tables, spamd):
    """A Front of the policy, with filter under it."""
    return front("database", database=tables.url, databaseDecides="filter", clamav="", spamassassin=f"127.0.0.1:{spamd.port}",
                 spf="false")


def test_accepted_and_refused_messages_have_a_row_each(logged, tables):
    logged.send(recipients=(b"<me@example.org>", b"<\"'); DROP TABLE x; --\"@example.org>", b"<you@example.org>"))
    logged.send(SPAM)
    accepted, refused = tables.next(2)
    assert accepted == ("192.0.2.1", 1025, "<a@sender.example>", "hello", 250, "2.0.0 taken as H1", "next hop", 16,
                        ["<me@example.org>", "<\"'); DROP TABLE x; --\"@example.org>", "<you@example.org>"])
    assert refused[3:5] == ("Jäh", 550) and refused[6] == "spamassassin"
    assert refused[5].startswith("5.7.1 Requested action not taken: spam")


def test_the_time_is_there(tables, logged):
    logged.send()
    tables.next()
    [(time,)] = tables.ask("SELECT max(time) FROM smtp_transactions")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(time))


def test_many_recipients(logged, tables):
    people = [b"<user%d@example.org>" % number for number in range(250)]
    assert logged.send(recipients=people)[0][-1].code == 250
    assert tables.next()[-1] == [one.decode() for one in people]


def test_refusals_of_the_next_hop_have_a_row(logged, tables):
    logged.hop.begin({"rcpt": [Say(b"550 5.1.1 nobody\r\n")]})
    assert [reply.code for reply in logged.send()[0]] == [250, 550]
    rcpt = tables.next()
    logged.hop.begin({"mail": [Say(b"452 4.3.1 full\r\n")]})
    assert [reply.code for reply in logged.send()[0]] == [452]
    mail = tables.next()
    logged.hop.begin({"dot": [Say(b"554 5.6.0 not that\r\n")]})
    assert logged.send()[0][-1].code == 554
    dot = tables.next()
    logged.hop.begin()
    assert rcpt[4:] == (550, "5.1.1 nobody", "next hop", 0, ["<me@example.org>"])
    assert mail[2:] == ("<a@sender.example>", None, 452, "4.3.1 full", "next hop", 0, [])
    assert dot[4:7] == (554, "5.6.0 not that", "next hop")


def test_a_message_that_is_given_up_has_a_row(logged, tables):
    with logged.client() as client:
        client.command(b"MAIL FROM:<a@sender.example>")
        client.command(b"RCPT TO:<me@example.org>")
        assert client.command(b"DATA").code == 354
        client.send(b"Subject: x\r\n\r\na\nb\r\n.\r\n")         # a bare LF
        assert client.reply().code == 554
    assert tables.next()[4:] == (None, "the message was given up", "engine", 0, ["<me@example.org>"])


def test_transactions_in_which_nothing_was_refused_have_none(logged, tables):
    with logged.client() as client:
        client.command(b"MAIL FROM:<a@sender.example>")
        client.command(b"RCPT TO:<me@example.org>")
        client.command(b"RSET")
        client.deliver(HAM, sender=b"<b@sender.example>")
    assert tables.next()[2] == "<b@sender.example>"


def test_a_scanner_that_is_away_is_told_of_in_the_row(front, tables):
    away = front("database", database=tables.url, databaseDecides="mark", clamav="127.0.0.1:9", spamassassin="", spf="false")
    with away.client() as client:
        assert client.transaction(HAM)[-1].code == 451
        assert client.command(b"RSET").code == 250
    assert tables.next()[4:7] == (451, "4.3.0 Cannot process this now", "fault")


def test_without_a_row_no_message_unless_that_is_wanted(front, hop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("none")
    strict = front("database", database=f"sqlite:{folder}/missing/mail.db")
    replies, taken = strict.send()
    assert taken is None and replies[-1].code == 451
    lax = front("database", database=f"sqlite:{folder}/missing/mail.db", databaseAway="accept")
    assert lax.send()[1] is not None
    assert "Traceback" not in lax.server.log


def test_the_tables_that_the_policy_makes_are_those_of_the_file(front, hop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    front("database", database=f"sqlite:{folder}/made").send()
    with sqlite3.connect(folder / "file") as database:
        database.executescript(schema("sqlite"))
    made = []
    for name in ("made", "file"):
        ask = in_sqlite(folder / name)
        names = [one for one, in ask("SELECT name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]
        made.append([(one, ask(f"PRAGMA table_info({one})"), ask(f"PRAGMA index_info({one})"),
                      ask(f"PRAGMA foreign_key_list({one})")) for one in names])
    assert made[0] == made[1] and len(made[0]) == 4
