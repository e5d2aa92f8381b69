"""Where Mailfilter's CPU goes, by `perf`: the kernel, Python, the JavaScript engine, what is compiled of ours, the event loop."""
import re
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .. import cpu, talk
from ..launching import launch
from ..peers.base import find

# The first that a program file's name matches.
KINDS = (
    ("kernel", r"\[kernel|\[k\]"), ("JavaScript engine", r"mailfilter-engine|dukpy"),
    ("Python", r"libpython|^python|_asyncio|_ssl|_socket"),
    ("event loop", r"^loop\."), ("compiled core", r"\.cpython-.*\.so"), ("C library", r"libc\.so|\[vdso\]"))
MODES = (("discard", "message"), ("proxy", "message"), ("refuse-connect", "connect"))
PER_SECOND = 1999


@contextmanager
def _recording(pid, file):
    process = launch([find("perf"), "record", "-q", "-F", PER_SECOND, "-o", file, "-p", ",".join(map(str, cpu.descendants(pid)))],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _shares(file):
    """{kind: per cent}, the largest first; empty when perf has recorded nothing."""
    report = subprocess.run([find("perf"), "report", "-i", file, "--sort", "dso", "--stdio", "-q"], capture_output=True,
                            text=True, stdin=subprocess.DEVNULL, check=False).stdout
    shares = {}
    for percent, name in re.findall(r"^\s*([0-9.]+)%\s+(\S+)", report, re.MULTILINE):
        kind = next((kind for kind, pattern in KINDS if re.search(pattern, name)), "other")
        shares[kind] = shares.get(kind, 0.0) + float(percent)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def measure(run):
    """A line for each mode; none without perf."""
    peer = run.peers.get("Mailfilter")
    if peer is None:
        return
    if not find("perf"):
        run.figures.lines["where the CPU goes"] = "not known: perf is missing (Debian's package linux-perf)"
        return
    number = 100 if run.quick else 3000
    for mode, kind in MODES:
        run.say(f"where the CPU goes: {mode}")
        with peer.start(mode, run.hop) as system, tempfile.TemporaryDirectory() as folder:
            talk.play(system.port, kind, 50 if run.quick else 500)
            with _recording(system.pid, Path(folder, "data")):
                talk.play(system.port, kind, number)
            shares = _shares(Path(folder, "data"))
        said = ", ".join(f"{name} {percent:.0f} %" for name, percent in shares.items() if percent >= 1)
        run.figures.lines[f"where the CPU goes: {mode}, one per connection"] = said or "perf has recorded nothing"
