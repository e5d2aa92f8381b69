"""`python -m bench.services`: what a message costs the server more, for each service that its policy asks.

Messages of 4 KiB, one for each connection, 20 at a time, to one worker for each service and one whose policy asks nobody: all
in turns. The figure is our own CPU, not that of the service; how many messages a second come through says how fast that is.
Beside it what greylist and rate limit cost a session, and maps of a million entries (`map_lookups.py`).

The services are the real ones that the tests start (tests/databases.py, tests/scanning.py), each with its defaults there.
"""
import argparse
import os
import smtplib
import statistics
import sys
import tempfile
from contextlib import ExitStack
from types import SimpleNamespace

from . import map_lookups, report, systems, talk
from .figures import Figures
from .launching import PROJECT
from .turns import Job, take

sys.path.append(str(PROJECT / "tests"))

import databases
import pytest
import scanning

FREELY = [word for limit in ("address_connections", "network_connections", "address_rate", "network_rate", "lag_ms")
          for word in ("--limit", f"{limit}=0")]
BASE = "nobody is asked"


class Files(databases.Server):
    """A web server with one small file."""

    def prepare(self):
        self._identity = {}         # not everybody may run this Python
        with open(os.path.join(self.folder, "answer"), "w", encoding="ascii") as file:
            file.write('{"score": 1}')

    def command(self):
        return [sys.executable, "-c", _FILES, self.folder, str(self.port)]


# Python's own, without a line of log and without Nagle's delay.
_FILES = """
import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    def log_message(self, *_): pass
handler = functools.partial(Handler, directory=sys.argv[1])
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()
"""


def _started(kind, running, said):
    """The server of this kind, one for all that ask it; None, with the reason said, where it is not to be had."""
    if kind not in running:
        try:
            running[kind] = kind()
        except pytest.skip.Exception as reason:
            said(f"left out: {reason}")
            running[kind] = None
    return running[kind]


def _dkim_verifier():
    return scanning.OpenDkim("v", *scanning.dkim_keys())


def _services(folder, quick, said, running):
    """[(its name in the table, settings), …] of those that can be had."""
    found = [(BASE, {"what": "nothing"})]

    def add(name, kind, what, where=None):
        server = _started(kind, running, said)
        if server is not None:
            found.append((name, {"what": what, "port": server.port, "where": where(server) if where else ""}))

    def url(server):
        return server.url

    if not quick:
        add("ClamAV (clamd, INSTREAM)", scanning.Clamd, "clamav")
        add("SpamAssassin (spamd)", scanning.Spamd, "spamassassin")
        add("Rspamd (/checkv2)", scanning.RspamdServer, "rspamd")
        add("Milter (opendkim, verifying)", _dkim_verifier, "milter")
    found.append(("Sql, insert: SQLite", {"what": "sql", "where": f"sqlite:{folder}/rows.db"}))
    if not quick:
        add("Sql, insert: PostgreSQL", databases.PostgreSql, "sql", url)
        add("Sql, insert: MariaDB", databases.MariaDb, "sql", url)
    found += [("Store, get: embedded", {"what": "get", "where": f"{folder}/store.db"}),
              ("Store, count: embedded", {"what": "count", "where": f"{folder}/store.db"})]
    if not quick:
        add("Store, get: Redis", databases.Redis, "get", url)
        add("Store, count: Redis", databases.Redis, "count", url)
    add("Http, get on a kept connection", Files, "http", lambda server: f"http://127.0.0.1:{server.port}/answer")
    found.append(("greylist + rate limit: embedded", {"what": "limits", "where": f"{folder}/limits.db"}))
    if not quick:
        add("greylist + rate limit: Redis", databases.Redis, "limits", url)
    return found


def _tables(port):
    """Let the policy make its table."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        code, text = client.verify("table")
        assert code == 252, text


def _measure(chosen, folder, stack, said):
    """(Figures, names in order)"""
    running, wanted = {}, chosen.only
    stack.callback(lambda: [server.finish() for server in running.values() if server is not None])
    figures, jobs = Figures(), []
    for name, settings in _services(folder, chosen.quick, said, running):
        if name != BASE and wanted not in name:
            continue
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        system = stack.enter_context(systems.mailfilter(name, PROJECT / "bench/policies/services.js", *words, *FREELY))
        if settings["what"] == "sql":
            _tables(system.port)
        jobs.append(Job("services", system, figures.of("services", name), warm=200))
    take(SimpleNamespace(rounds=chosen.rounds, seconds=chosen.seconds, say=said, figures=figures), jobs)
    return figures


def rows_of(figures):
    """Rows of the table: what each service adds, as the median of the rounds' own differences."""
    found = figures.workloads["services"]
    base = found[BASE]
    rows = [[BASE, f"{base.value:,.0f}", "", f"{statistics.median(base.per_second):,.0f}"]]
    for name, figure in found.items():
        if name == BASE or not figure.values:
            continue
        more = [one - less for one, less in zip(figure.values, base.values, strict=True)]
        rows.append([name, f"+ {statistics.median(more):,.0f}",
                     f"{statistics.median(one / less for one, less in zip(figure.values, base.values, strict=True)):.2f}",
                     f"{statistics.median(figure.per_second):,.0f}"])
    return rows


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.services", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="see whether it works, without servers of others")
    parser.add_argument("--only", default="", help="only services whose names have this in them")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every service (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each takes in a round (default 2)")
    parser.add_argument("--record", action="store_true", help="append the tables to bench/results.md")
    chosen = parser.parse_args(words)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 0.1
    return chosen


def main(words=None):
    """The program."""
    chosen = arguments(words)

    def said(text):
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="mailfilter-bench-") as folder:
        try:
            with ExitStack() as stack:
                figures = _measure(chosen, folder, stack, said)
            maps = map_lookups.measure(folder, 1000 if chosen.quick else 1_000_000, said)
        except (systems.Unavailable, talk.LoadFailed, OSError, AssertionError) as error:
            print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    for _, name, why in figures.failed:
        said(f"failed: {name}: {why}")
    text = "\n\n".join([
        report.table(report.conditions(chosen.rounds),
                     ["a message of 4 KiB, and whom its policy asks", "our CPU, µs", "× nobody", "messages a second"],
                     rows_of(figures)),
        report.table([], map_lookups.HEAD, maps)])
    print(text)
    if chosen.record:
        report.record(text)
    return 1 if figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())
