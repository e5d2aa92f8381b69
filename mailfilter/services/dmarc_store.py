"""What DMARC said of messages, kept for aggregate reports (RFC 7489 §7.2): one SQLite file that all workers share.

A worker hands over what it found and goes on. A thread of its own counts equal findings together and writes them every now and
then, each time in one transaction. Nothing here delays or fails a message: when the thread is behind, or the file cannot be
written, findings are dropped and counted, and the log says so. File and memory are bounded, whatever strangers send.

Must not know: how DMARC comes to a result, reports as XML, policies.
"""
import contextlib
import ipaddress
import json
import queue
import sqlite3
import threading
import time
from collections import Counter

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter.errors import MailfilterError, ServiceUnavailable
from mailfilter.services import sqlite_file

__all__ = ["Store", "close_all", "read", "store"]

QUEUE = 10000
"""Findings that wait to be written; further ones are dropped."""

BATCH_S = 1.0
"""How long findings are gathered before they are written, in seconds."""

BATCH = 5000
"""How many are written in one transaction at most."""

BUSY_S = 10.0
"""How long one worker waits for another that is writing, in seconds; then what it has is dropped."""

FILE_BYTES = 256 << 20
"""The largest the file becomes. When it is full the oldest hour is forgotten."""

DAYS = 60
"""How long findings are kept."""

DOMAIN_ROWS = 5000
"""Different findings about one domain in one hour; further ones are dropped. Senders can invent as many as they like."""

STORES = 16
"""Files that one worker writes to."""

SIGNATURES, TEXT = 10, 255
"""Signatures of one message that are told of, and characters of any text."""

COMPLAIN_S = 60.0
"""How often the log is told that findings are dropped."""

_KEPT, _DROPPED = (metrics.slot("dmarc_findings_total", outcome) for outcome in ("kept", "dropped"))

_LAYOUT = 1
_TABLE = """CREATE TABLE IF NOT EXISTS findings (
    hour INTEGER NOT NULL, domain TEXT NOT NULL, published TEXT NOT NULL, address TEXT NOT NULL, evaluated TEXT NOT NULL,
    identifiers TEXT NOT NULL, results TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (hour, domain, published, address, evaluated, identifiers, results)) WITHOUT ROWID"""
_ADD = """INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count"""

_POLICIES = ("none", "quarantine", "reject")
_DKIM = ("none", "pass", "fail", "policy", "neutral", "temperror", "permerror")
_SPF = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")

_stores = {}


def store(path, log):
    """The Store of this process for a file. Made when it is first asked for; MailfilterError when there are too many."""
    found = _stores.get(path)
    if found is None:
        if len(_stores) >= STORES:
            raise MailfilterError(f"more than {STORES} files for findings of DMARC")
        found = _stores[path] = Store(path, log)
    return found


def close_all(seconds):
    """Write what is left of all Stores of this process, within so many seconds in all. Blocks."""
    end = time.monotonic() + seconds
    for one in _stores.values():
        one.finish()
    for one in _stores.values():
        one.join(max(end - time.monotonic(), 0))
    _stores.clear()


class Store:
    """Writes findings into one file, from a thread that begins with the first one.

    log: a Log, for what goes wrong. now: gives the time in seconds since 1970.
    """

    def __init__(self, path, log, now=time.time):
        self.path = path
        self._log = log
        self._now = now
        self._queue = queue.Queue(QUEUE)
        self._thread = None
        self._complained = None
        self._dropped = 0

    def add(self, finding):
        """Hand over one finding, a dict (see `_row`); never waits, never fails."""
        try:
            self._queue.put_nowait((int(self._now()) // 3600 * 3600, finding))
        except queue.Full:
            self._drop(1, "they come faster than they can be written")
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dmarc-findings", daemon=True)
            self._thread.start()

    def finish(self):
        """Let the thread end when it has written what waits."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=BATCH_S)

    def join(self, seconds):
        """Wait for that; gives whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    def _drop(self, number, why):
        metrics.count(_DROPPED, number)
        self._dropped += number
        now = time.monotonic()
        if self._complained is None or now - self._complained > COMPLAIN_S:
            self._complained = now
            self._log.write(logs.WARNING, "-", "findings of DMARC are dropped", file=self.path, why=why, so_far=self._dropped)

    # In the thread.

    def _run(self):
        connection, ended = None, False
        while not ended:
            rows, ended = self._gather()
            if not rows:
                continue
            try:
                if connection is None:
                    connection = _open(self.path)
                self._write(connection, rows)
            except (sqlite3.Error, OSError, MailfilterError) as error:
                self._drop(sum(rows.values()), str(error))
                if connection is not None:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    def _gather(self):
        """(rows with their numbers as they come within BATCH_S after the first, whether the end was among them)."""
        rows, left, until = Counter(), BATCH, None
        while left:
            try:
                item = self._queue.get(timeout=None if until is None else max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if item is None:
                return rows, True
            hour, finding = item
            try:
                rows[(hour, *_row(finding))] += 1
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self._drop(1, f"{type(error).__name__}: {error}")
            left -= 1
            if until is None:
                until = time.monotonic() + BATCH_S
        return rows, False

    def _write(self, connection, rows):
        for attempt in range(3):
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    kept = self._add(connection, rows)
                break
            except sqlite3.OperationalError as error:
                if "full" not in str(error) or attempt == 2:
                    raise
                _forget_oldest(connection)
        metrics.count(_KEPT, kept)
        if kept < sum(rows.values()):
            self._drop(sum(rows.values()) - kept, f"more than {DOMAIN_ROWS} different ones about one domain in an hour")

    def _add(self, connection, rows):
        room, kept = {}, 0
        for row, number in rows.items():
            key = row[:2]
            if key not in room:
                [[there]] = connection.execute(
                    "SELECT count(*) FROM (SELECT 1 FROM findings WHERE hour = ? AND domain = ? LIMIT ?)", (*key, DOMAIN_ROWS))
                room[key] = DOMAIN_ROWS - there
            if room[key] <= 0 and not connection.execute(
                    "SELECT 1 FROM findings WHERE hour = ? AND domain = ? AND published = ? AND address = ? AND evaluated = ? "
                    "AND identifiers = ? AND results = ?", row).fetchone():
                continue
            room[key] -= 1
            connection.execute(_ADD, (*row, number))
            kept += number
        oldest = int(self._now()) - DAYS * 86400
        connection.execute("DELETE FROM findings WHERE hour < ?", (oldest,))
        return kept


def _open(path):
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        [[layout]] = connection.execute("PRAGMA user_version")
        if layout not in (0, _LAYOUT):
            raise MailfilterError(f"the layout of the file has version {layout}, this program knows {_LAYOUT}")
        sqlite_file.write_ahead(connection, BUSY_S)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        [[page]] = connection.execute("PRAGMA page_size")
        connection.execute(f"PRAGMA max_page_count = {FILE_BYTES // page}")
        sqlite_file.make_tables(connection, [_TABLE, f"PRAGMA user_version = {_LAYOUT}"])
    except BaseException:
        connection.close()
        raise
    return connection


def _forget_oldest(connection):
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM findings WHERE hour = (SELECT min(hour) FROM findings)")


# -- what a finding is -----------------------------------------------------------------------------------------------


def _text(value):
    """A text as it may stand in the file and in XML: short, and without what is no character."""
    return "".join(char if char.isprintable() else "?" for char in str(value)[:TEXT])


def _one_of(value, known, other):
    return value if value in known else other


def _json(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _row(finding):
    """(domain, published, address, evaluated, identifiers, results) of a finding; raises what is wrong with it.

    finding: `address`: the client's; `from`: the author's domain; `sender`: that of the envelope, or ""; `disposition`: what was
    done; `reasons`: [[type, comment], …], why it is not what the owner wants; `published`: the record: domain, p, sp, np, adkim,
    aspf, pct, fo, rua; `spf`: [result, identity, domain, aligned] or None; `dkim`: [[result, domain, selector, aligned], …].
    """
    published, spf = finding["published"], finding["spf"]
    policy = _one_of(published["p"], _POLICIES, "none")
    told = {
        "p": policy, "sp": _one_of(published["sp"], _POLICIES, policy), "adkim": _one_of(published["adkim"], ("r", "s"), "r"),
        "aspf": _one_of(published["aspf"], ("r", "s"), "r"), "pct": min(max(int(published["pct"]), 0), 100),
        "fo": _text(published["fo"] or "0"), "rua": [_text(uri) for uri in published["rua"][:SIGNATURES]],
    }
    results = {"dkim": [], "spf": ["mfrom", "none", _text(finding["sender"])]}
    aligned = {"dkim": False, "spf": False}
    for result, domain, selector, speaks in finding["dkim"][:SIGNATURES]:
        aligned["dkim"] |= speaks is True
        if domain:
            results["dkim"].append([_text(domain), _text(selector or ""), _one_of(result, _DKIM, "neutral")])
    if spf is not None:
        result, identity, domain, speaks = spf
        aligned["spf"] = speaks is True
        results["spf"] = ["helo" if identity == "helo" else "mfrom", _one_of(result, _SPF, "none"), _text(domain or "")]
    evaluated = {
        "disposition": _one_of(finding["disposition"], _POLICIES, "none"),
        "dkim": "pass" if aligned["dkim"] else "fail", "spf": "pass" if aligned["spf"] else "fail",
        "reasons": [[_text(kind), _text(comment)] for kind, comment in finding["reasons"][:SIGNATURES]],
    }
    identifiers = {"header_from": _text(finding["from"]), "envelope_from": _text(finding["sender"])}
    address = ipaddress.ip_address(finding["address"].partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return (_text(published["domain"]), _json(told), str(address), _json(evaluated), _json(identifiers), _json(results))


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path, begin, end, domains=()):
    """Rows (domain, published, address, evaluated, identifiers, results, count) of the hours from begin up to end.

    begin, end: seconds since 1970. domains: only these, all when empty. What was JSON in the file is values here. In the order
    of domain and published. Raises ServiceUnavailable.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            [[layout]] = connection.execute("PRAGMA user_version")
            if layout != _LAYOUT:
                raise ServiceUnavailable(f"{path}: this is no file of DMARC findings, or one of another version")
            only = f"AND domain IN ({','.join('?' * len(domains))})" if domains else ""
            for domain, published, address, evaluated, identifiers, results, count in connection.execute(
                    "SELECT domain, published, address, evaluated, identifiers, results, sum(count) FROM findings "
                    f"WHERE hour >= ? AND hour < ? {only} GROUP BY domain, published, address, evaluated, identifiers, results "
                    "ORDER BY domain, published, address, evaluated, identifiers, results", (begin, end, *domains)):
                yield (domain, json.loads(published), address, json.loads(evaluated), json.loads(identifiers),
                       json.loads(results), count)
    except (sqlite3.Error, ValueError) as error:
        raise ServiceUnavailable(f"{path}: {error}") from None


def _quoted(path):
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
