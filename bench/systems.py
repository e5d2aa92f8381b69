"""Starting and stopping what is measured: each system is a process tree with a port.

Every starter returns a `System` whose `port` is ready. Must not know how it is measured.
"""
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from .launching import end_group, launch

SBIN = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", os.defpath)
SMTP_SINK = shutil.which("smtp-sink", path=SBIN)
START_S = 15.0


class Unavailable(Exception):
    """Something the benchmark needs is not installed or does not start; the text says what and what to do."""


def require_tools():
    """Raise Unavailable unless Postfix's smtp-sink is there: next hop of every proxy, and measure of all that discards."""
    if not SMTP_SINK:
        raise Unavailable("smtp-sink is missing; it is in Debian's package postfix (apt-get install postfix)")


class System:
    """A running system: `name`, `port` on 127.0.0.1, and `pid`, the root of its process tree.

    `warnings`: what it said at its start that a reader of its figures must know. `metrics`: the port of its metrics page, or
    None.
    """

    def __init__(self, name, port, pid, warnings=(), metrics=None):
        self.name, self.port, self.pid, self.warnings, self.metrics = name, port, pid, list(warnings), metrics

    def gauge(self, name):
        """The value of a metric without labels, as a float."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as page:
            text = page.read().decode()
        return float(re.search(rf"^{name} (.*)$", text, re.MULTILINE)[1])

    def __repr__(self):
        return f"System({self.name}, port {self.port}, pid {self.pid})"


def _greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            return probe.recv(3) == b"220"
    except OSError:
        return False


@contextmanager
def smtp_sink(name="smtp-sink"):
    """Postfix's smtp-sink: discards in one small C process; also the next hop behind every proxy."""
    with _sink(name, [], subprocess.DEVNULL) as system:
        yield system


@contextmanager
def counting_sink():
    """A next hop that counts: (a System, a function that gives how many messages it has taken since it began)."""
    with tempfile.TemporaryFile() as counts:
        def taken():
            text = os.pread(counts.fileno(), 64, max(0, os.fstat(counts.fileno()).st_size - 64))
            return int(text.rpartition(b"mesg=")[2] or 0)

        with _sink("next hop", ["-c"], counts) as system:
            yield system, taken


@contextmanager
def _sink(name, options, output):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [SMTP_SINK, *options, "-m", "10000"]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
    process = launch([*command, f"127.0.0.1:{port}", "4096"], stdout=output, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_S
        while not _greets(port):
            if process.poll() is not None or time.monotonic() > end:
                raise Unavailable(f"smtp-sink does not start on port {port}")
            time.sleep(0.02)
        yield System(name, port, process.pid)
    finally:
        end_group(process)


@contextmanager
def canned(name, *mode, workers=1):
    """The uvloop server of `bench.canned`, with the given arguments."""
    process = launch([sys.executable, "-m", "bench.canned", *mode], stdout=subprocess.PIPE,
                     env={**os.environ, "WORKERS": str(workers)})
    try:
        line = process.stdout.readline()
        if not line:
            raise Unavailable("the canned-reply server does not start")
        yield System(name, int(line), process.pid)
    finally:
        end_group(process)
        process.stdout.close()


@contextmanager
def mailfilter(name, policy, *arguments):
    """`mailfilter serve POLICY` on a free port, logging warnings only; ready when its log says so."""
    program = Path(sys.executable).parent / "mailfilter"
    command = [program, "serve", policy, "--listen", "127.0.0.1:0", "--log-level", "notice", *arguments]
    # A file, not a pipe: nobody reads it while the load runs, and a full pipe would stop the server.
    with tempfile.TemporaryFile() as log:
        try:
            process = launch(command, stdout=log, stderr=log)
        except FileNotFoundError:
            raise Unavailable(f"{program} is missing; `make build` installs it") from None
        try:
            port, text = _port_in(log, process)
            warnings = re.findall(r" warning - (.*)", text)
            pages = re.search(r"metrics on 127\.0\.0\.1:([0-9]+)", text)
            yield System(name, port, process.pid, [w for w in warnings if not w.startswith("running as root")],
                         int(pages[1]) if pages else None)
        finally:
            end_group(process)


def _port_in(log, process):
    """Wait for `ready` in the log and return the port of its `listening on` line, and the log."""
    end = time.monotonic() + START_S
    while True:
        text = os.pread(log.fileno(), 1 << 20, 0).decode("utf-8", "replace")
        listening = re.search(r"listening on 127\.0\.0\.1:([0-9]+)", text)
        if listening and re.search(r"\bready\b", text):
            return int(listening.group(1)), text
        if process.poll() is not None or time.monotonic() > end:
            raise Unavailable(f"mailfilter does not start:\n{text}")
        select.select([], [], [], 0.02)
