"""What one operation of a policy costs: a handler does it very often, and again without it; the difference, for each.

"at once" is answered while JavaScript runs; the others are waited for: the handler stands still, the event loop has a turn.
"""
import socket
import statistics
import tempfile
from pathlib import Path

from .. import authentication, cpu, systems
from ..launching import PROJECT
from ..talk import LoadFailed

WORDS = {
    "setting": "answered at once (Sys.setting)", "pause": "waited for: a pause of nothing",
    "dns": "waited for: DNS, known to the cache", "store": "waited for: the store of this machine, get"}
EACH = 2000             # in one handler


def _ask(port, kind, number):
    """In a session of its own: the operations of one are limited."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        for line in (b"", b"EHLO client.test\r\n", f"VRFY {kind} {number}\r\n".encode()):
            client.sendall(line)
            reply = client.recv(4096)
        if not reply.startswith(b"252 2.0.0"):
            raise LoadFailed(f"{kind}: {reply!r}")


def measure(run):
    """A figure for each kind."""
    if "Mailfilter" not in run.peers:
        return
    number = 20 if run.quick else EACH
    messages = authentication.Messages()
    with tempfile.TemporaryDirectory() as folder, authentication.dns_serving(messages) as dns, systems.mailfilter(
            "operations", PROJECT / "bench/policies/operations.js", "--set", f"file={Path(folder, 'store')}",
            "--dns-server", f"127.0.0.1:{dns}", "--limit", "session_ms=600000") as system:
        found = {kind: [] for kind in ("nothing", *WORDS)}
        for round_ in range(run.rounds + 2):
            for kind, values in found.items():
                run.say(f"operations - {kind}")
                before = cpu.settled_cpu_seconds(system.pid)
                _ask(system.port, kind, number)
                if round_:
                    values.append((cpu.settled_cpu_seconds(system.pid) - before) / number * 1e6)
    nothing = statistics.median(found.pop("nothing"))
    for kind, values in found.items():
        run.figures.lines[f"operation: {WORDS[kind]}"] = f"{statistics.median(values) - nothing:.2f} µs"
