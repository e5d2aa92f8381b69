"""Every service that a policy can ask, killed, hung, slow, late, talking nonsense, cut off: what the client is told.

The services are the real ones, each behind a relay that can hold back, spoil and cut its answers. All sessions are of one worker,
so that whoever held up the loop would hold up all. What is asked has two answers, "a" and "b", so that nobody can take
another's answer for his own.

A cell of (service, fault) has three sessions at a time, one for each value of `away`. The files (SQLite, the embedded store) have
no process to be killed and no protocol to be broken: they are locked by somebody else, or no database at all. For the DNS, whose
failures are answers, see test_the_dns.py; what such a failure does to SPF, DKIM, DMARC and blocklists is tested with those.
"""
import base64
import json
import os
import smtplib
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import databases
import pytest
import scanning
from peers.relay import Relay
from peers.waiting import wait_until

DEADLINE_MS = 400           # of those that will get no answer
PATIENCE_MS = 25_000        # of those that will
LONGEST_S = 15.0            # what a session may take that gets no answer, on a machine that has much else to do

POLICY = """
var there = JSON.parse(Sys.setting('there'));
function rows(url, text, which, options) {
    var found = Sql.connect(url, options).query(text, [which]);
    return found && found[0].one;
}
function together(url, text, which, options) {
    var found = Sql.connect(url, options).transaction(function (transaction) { return transaction.query(text, [which]); });
    return found && found[0].one;
}
function postgresql(work, which, options) {
    return work('postgresql://mail:secret@127.0.0.1:' + there.postgresql + '/postgres', 'SELECT CAST(? AS text) AS one', which,
                options);
}
function mariadb(work, which, options) {
    return work('mysql://mail:secret@127.0.0.1:' + there.mariadb + '/mail', 'SELECT CAST(? AS CHAR) AS one', which, options);
}
function kept(url, which, options) {
    var store = Store.open(url, options);
    return store.set(which, which, 600) ? store.get(which) : null;
}
var ask = {
    clamav: function (server, headers, body, which, options) {
        var found = new ClamAV('127.0.0.1', there.clamav, options).scan(headers, body);
        return found && (found.found ? 'a' : 'b');
    },
    spamassassin: function (server, headers, body, which, options) {
        var found = new SpamAssassin('127.0.0.1', there.spamassassin, null, options).scan(headers, body);
        return found && (found.spam ? 'a' : 'b');
    },
    rspamd: function (server, headers, body, which, options) {
        var found = new Rspamd('127.0.0.1', there.rspamd, options).check(server, headers, body);
        return found && (found.action === 'reject' ? 'a' : 'b');
    },
    milter: function (server, headers, body, which, options) {
        var found = new Milter('127.0.0.1', there.milter, options).check(server, headers, body);
        if (found) {
            found.apply(headers);
        }
        return found && (headers.some(function (header) { return header.name === 'DKIM-Signature'; }) ? 'a' : 'b');
    },
    postgresql: function (server, headers, body, which, options) { return postgresql(rows, which, options); },
    postgresqltogether: function (server, headers, body, which, options) { return postgresql(together, which, options); },
    mariadb: function (server, headers, body, which, options) { return mariadb(rows, which, options); },
    mariadbtogether: function (server, headers, body, which, options) { return mariadb(together, which, options); },
    redis: function (server, headers, body, which, options) {
        return kept('redis://127.0.0.1:' + there.redis + '/0', which, options);
    },
    http: function (server, headers, body, which, options) {
        var found = Http.get('http://127.0.0.1:' + there.http + '/' + which, options);
        return found && found.text;
    },
    sqlite: function (server, headers, body, which, options) {
        return rows('sqlite:' + there.folder + '/rows.db', 'INSERT INTO rows (one) VALUES (?) RETURNING one', which, options);
    },
    brokensqlite: function (server, headers, body, which, options) {
        return rows('sqlite:' + there.folder + '/broken.db', 'SELECT ? AS one', which, options);
    },
    store: function (server, headers, body, which, options) { return kept(there.folder + '/store.db', which, options); },
    otherstore: function (server, headers, body, which, options) { return kept(there.folder + '/other.db', which, options); },
    brokenstore: function (server, headers, body, which, options) { return kept(there.folder + '/broken.db', which, options); },
    nothing: function () { return 'nothing'; }
};
SmtpServer.prototype.smtpMail = function () { return new SmtpResponse(250, 'ok'); };
SmtpServer.prototype.smtpRcpt = function (path) {
    this.asked = path.mailbox.local.split('.');
    return new SmtpResponse(250, 'ok');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    var asked = this.asked, answer;
    if (body === null) {
        return null;
    }
    try {
        answer = ask[asked[0]](this, headers, body, asked[1], { away: asked[2], timeout: asked[3] / 1000 });
    } catch (error) {
        answer = error.name + ': ' + error.message;
    }
    return new SmtpResponse(550, encodeURIComponent(JSON.stringify(answer)).match(/.{1,400}/g));
};
"""

# What "a" and "b" are for those that look into messages: a virus, spam, and mail of a domain that is signed for; or none of it.
MESSAGES = {
    "a": b"\r\n".join([
        b"From: someone@example.net", b"Subject: a", b"Date: Sun, 22 Nov 2026 21:00:00 +0000", b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=limit", b"", b"--limit", b"", b"cheap watches", scanning.GTUBE, b"--limit",
        b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: base64", b"", base64.b64encode(scanning.EICAR),
        b"--limit--", b""]),
    "b": b"From: someone@example.com\r\nSubject: b\r\nDate: Sun, 22 Nov 2026 21:00:00 +0000\r\n\r\nGood day\r\n"}


class HttpFiles(databases.Server):
    """Python's own web server, with the files "a" and "b"."""

    def prepare(self):
        self._identity = {}         # not everybody may run this Python
        for name in "ab":
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                file.write(name)

    def command(self):
        return [sys.executable, "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1", "--directory",
                self.folder, str(self.port)]


SERVICES = {"clamav": scanning.Clamd, "spamassassin": scanning.Spamd, "rspamd": scanning.RspamdServer,
            "milter": lambda: scanning.OpenDkim("s", *scanning.dkim_keys()), "postgresql": databases.PostgreSql,
            "mariadb": databases.MariaDb, "redis": databases.Redis, "http": HttpFiles}


class World:
    """The services behind their relays, and a server whose policy asks them."""

    def __init__(self, serve, folder):
        self.relays = {kind: Relay(None) for kind in SERVICES}
        self.folder = folder
        there = {kind: relay.port for kind, relay in self.relays.items()} | {"folder": str(folder)}
        self.server = serve(POLICY, settings={"there": json.dumps(there)},
                            limits={"address_connections": 0, "address_rate": 0, "network_connections": 0, "network_rate": 0})
        self.skipped = {}

    def service(self, kind):
        """The service, started when it is first asked for."""
        if kind in self.skipped:
            pytest.skip(self.skipped[kind])
        relay = self.relays[kind]
        if relay.server is None:
            try:
                relay.server = started(SERVICES[kind])
            except pytest.skip.Exception as reason:
                self.skipped[kind] = str(reason)
                raise
        return relay.server

    def finish(self):
        for relay in self.relays.values():
            relay.__exit__()
            if relay.server is not None:
                relay.server.finish()

    def ask(self, kind, which="a", away="tempfail", ms=PATIENCE_MS):
        """What a session's policy has got for an answer, or the text of the reply that the program gave instead."""
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=60) as client:
            client.ehlo("client.example")
            client.mail("someone@example.net")
            client.rcpt(f"{kind}.{which}.{away}.{ms}@example.org")
            code, text = client.data(MESSAGES[which])
        return json.loads(unquote(text.decode().replace("\n", ""))) if code == 550 else f"{code} {text.decode()}"

    def assert_away(self, kind, ms, *errors):
        """Three sessions find it away, and each is told in time what its policy wanted; others do not notice."""
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            told = {away: pool.submit(self.ask, kind, "a", away, ms) for away in ("tempfail", "accept", "throw")}
            assert self.ask("nothing") == "nothing"
        assert time.monotonic() - begun < ms / 1000 + LONGEST_S
        assert told["tempfail"].result().startswith("451 4.3.0 "), told["tempfail"].result()
        assert told["accept"].result() is None
        name, _, why = told["throw"].result().partition(": ")
        assert name in errors and why, told["throw"].result()

    def assert_back(self, kind):
        """It is used again, without anybody doing anything about it; and whoever asks gets the answer to what he asked."""
        wait_until(lambda: self.ask(kind, "b") == "b", f"{kind} to be used again", 40)
        assert self.ask(kind, "a") == "a"


def started(kind):
    """A service that runs. Its port may be taken between being chosen and being used: then another one."""
    for last in (False, False, True):
        try:
            return kind()
        except AssertionError:
            if last:
                raise


def start_again(service):
    """Start it on its old port, which somebody's outgoing connection may have for a moment."""
    def comes():
        try:
            service.start()
        except AssertionError:
            return False
        return True
    wait_until(comes, "the service to start again", 40)


@pytest.fixture(scope="module")
def world(serve_module, tmp_path_factory):
    world = World(serve_module, tmp_path_factory.mktemp("files"))
    yield world
    world.finish()


@pytest.fixture(params=SERVICES)
def kind(request, world):
    """A service that is there, and has just been used."""
    world.service(request.param)
    world.assert_back(request.param)
    return request.param


def test_killed(world, kind):
    service = world.service(kind)
    service.kill()
    world.assert_away(kind, PATIENCE_MS, "ServiceUnavailable")
    start_again(service)
    world.assert_back(kind)


def test_hung(world, kind):
    service = world.service(kind)
    service.hang()
    try:
        world.assert_away(kind, DEADLINE_MS, "ServiceTimeout")
    finally:
        service.wake()
    world.assert_back(kind)


def test_slow(world, kind):
    """Whoever waits for it waits alone, and gets his answer."""
    relay = world.relays[kind]
    relay.hold()
    try:
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(world.ask, kind, "a")
            try:
                assert relay.held.wait(30)
                assert world.ask("nothing") == "nothing"
                assert world.ask("store", "b") == "b"
                assert not slow.done()
            finally:
                relay.release()
        assert slow.result() == "a"
    finally:
        relay.release()


def test_answering_after_the_deadline(world, kind):
    relay = world.relays[kind]
    relay.hold()
    try:
        world.assert_away(kind, DEADLINE_MS, "ServiceTimeout")
    finally:
        relay.release()
    world.assert_back(kind)


@pytest.mark.parametrize("answers", ["nonsense", "cut"])
def test_answering_what_is_none(world, kind, answers):
    relay = world.relays[kind]
    relay.answers = answers
    try:
        # Nonsense may look like the beginning of a longer answer, which the deadline ends.
        world.assert_away(kind, 1000, "ServiceProtocolError", "ServiceUnavailable", "ServiceTimeout")
    finally:
        relay.release()
    world.assert_back(kind)


@pytest.mark.parametrize("answers", ["nonsense", "cut"])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_transaction_with_what_answers_nonsense(world, kind, answers):
    """Its first word is another one than a statement's."""
    world.service(kind)
    world.assert_back(f"{kind}together")
    world.relays[kind].answers = answers
    try:
        world.assert_away(f"{kind}together", 1000, "ServiceProtocolError", "ServiceUnavailable", "ServiceTimeout")
    finally:
        world.relays[kind].release()
    world.assert_back(f"{kind}together")
    world.assert_back(kind)


def test_left_alone_while_away_and_found_again(world):
    """All of them are killed for so long that they are not asked any more; then they come back."""
    kinds = []
    for kind in SERVICES:
        try:
            world.service(kind).kill()
        except pytest.skip.Exception:
            continue
        kinds.append(kind)
    with ThreadPoolExecutor(len(kinds)) as pool:
        def left_alone(kind):
            wait_until(lambda: "and is not asked for a while" in world.ask(kind, away="throw"), f"{kind} to be left alone", 40)

        def found_again(kind):
            start_again(world.service(kind))
            world.assert_back(kind)

        list(pool.map(left_alone, kinds))
        assert world.ask("store", "b") == "b"
        list(pool.map(found_again, kinds))
    assert world.server.log.count("answers again") >= len(kinds)


# Files.


@pytest.mark.parametrize("kind, name", [("sqlite", "rows.db"), ("store", "store.db")])
def test_a_file_that_somebody_else_has_locked(world, kind, name):
    if kind == "sqlite":
        with sqlite3.connect(world.folder / name) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE rows (one TEXT)")
        database.close()
    world.assert_back(kind)
    other = sqlite3.connect(world.folder / name, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    world.assert_away(kind, DEADLINE_MS, "ServiceTimeout")
    other.execute("ROLLBACK")
    world.assert_back(kind)
    # Unlocked in time.
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(world.ask, kind, "a")
        assert world.ask("nothing") == "nothing"
        assert world.ask("otherstore", "b") == "b"
        other.execute("ROLLBACK")
    assert slow.result() == "a"
    other.close()


@pytest.mark.parametrize("kind, name", [("brokensqlite", "broken.db"), ("brokenstore", "broken.db")])
def test_a_file_that_is_no_database(world, kind, name):
    """It is away until somebody puts another one there."""
    for path in world.folder.glob(f"{name}*"):
        path.unlink()
    (world.folder / name).write_bytes(b"\xff no database, and long enough to be none. " * 100)
    world.assert_away(kind, PATIENCE_MS, "ServiceUnavailable")
    (world.folder / name).unlink()
    world.assert_back(kind)
