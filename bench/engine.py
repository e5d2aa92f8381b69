"""`python -m bench.engine`: what a JavaScript heap of its own for every connection costs, in CPU and in memory.

CPU: medians over rounds, one process, its own CPU time. Memory: PSS of a real server with held connections. Beside them
stand the figures that the project is held to. Exits 1 when something fails.
"""
import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mailfilter._core.heap import regions
from mailfilter.config import Settings
from mailfilter.policy import engine, load

from . import held, report, systems
from .launching import PROJECT
from .policy_source import long_policy
from .talk import LoadFailed

SMALL = PROJECT / "bench/policies/discard.js"
LOOPING = PROJECT / "bench/policies/looping.js"
LONG_BYTES = 30 << 10
HELD, HELD_LONG = 2000, 20_000
SLICE_MS = 50
SETTLED_S = 2.0

_WAITING = """
SmtpServer.prototype.smtpNoop = function () {
    var client = new SmtpClient('next.test', 25);
    for (;;) {
        client.connect();
    }
};
SmtpServer.prototype.smtpVrfy = function () {
    for (var i = 0; i < 1000; i++) {
        Sys.setting('x', '');
    }
    return new SmtpResponse(252, 'x');
};
SmtpServer.prototype.smtpHelp = function () {
    for (var i = 0; i < 1000; i++) {
    }
    return new SmtpResponse(252, 'x');
};
"""

PATH = [b"user", b"example.com", [], []]
HEADERS = [part for n in range(8) for part in (b"X-Header-%d" % n, [b"some value of the header"])]
HANDLERS = (
    ("smtpInit", ()), ("smtpEhlo", (b"client.test",)), ("smtpMail", (PATH,)), ("smtpRcpt", (PATH,)), ("smtpPreData", ()),
    ("smtpData, 8 fields", (HEADERS, 1, 1000)), ("smtpRset", ()), ("cleanup", ()))


def nothing(_name, *_arguments):
    """Answers every operation with null."""
    return None


def cpu_us(job, times, rounds):
    """Median over the rounds of the CPU µs that one of `times` calls takes."""
    found = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        for _ in range(times):
            job()
        found.append((time.process_time() - begun) / times * 1e6)
    return statistics.median(found[1:])


def opened(policy):
    """A heap of the policy in which a session has begun."""
    heap = policy.new_heap(nothing)
    heap.allow(5000)
    heap.call(engine.OPEN, "192.0.2.1", 25, "bench")
    return heap


def _loaded(folder, name, text):
    path = Path(folder, name)
    path.write_text(text, encoding="utf-8")
    # No cache: what compiling takes is not measured, and nothing is left behind.
    return load(path, Settings({"cacheDirectory": ""}, {}), hostname="bench.test")


def copies(label, policy, rounds, factor, target):
    """Rows about making heaps of one policy."""
    size = len(policy.source)

    def copy():
        policy.image.heap(nothing).close()

    def build():
        policy._build(nothing).close()

    if policy.image is None:
        raise LoadFailed(f"{label}: there is no image: {policy.no_image}")
    first = cpu_us(copy, int(3000 * factor), rounds)
    yield f"a heap by copying, {label} ({size:,} bytes of policy)", f"{first:.1f} µs", target
    yield f"a heap built from source, {label}", f"{cpu_us(build, int(max(20 * factor, 2)), rounds):,.0f} µs", ""
    yield f"image, {label}", f"{policy.image.image_bytes / 1024:,.0f} KiB, {policy.image.relocations:,} pointers", ""


def calls(policy, rounds, factor):
    """Rows about calling the handlers of a session."""
    for label, arguments in HANDLERS:
        job, found = (label.partition(",")[0], *arguments), []
        for _ in range(rounds):                 # a heap for each round: accepted recipients are kept
            heap = opened(policy)
            found.append(cpu_us(lambda heap=heap, job=job: heap.call(engine.START, job), int(max(1000 * factor, 10)), 1))
            heap.close()
        yield f"call of {label}", f"{statistics.median(found):.2f} µs", ""


def operations(policy, rounds, factor):
    """Rows about operations: one that is waited for, and one answered at once."""
    heap = opened(policy)
    result = heap.call(engine.START, ("smtpNoop",))
    if result[0] != "client.connect":
        raise LoadFailed(f"the handler did not wait but gave {result!r}")
    yield ("resume + yield (SmtpClient.connect, answered at once)",
           f"{cpu_us(lambda: heap.call(engine.RESUME, 7), int(10_000 * factor), rounds):.2f} µs", "")
    heap.close()
    heap = opened(policy)
    with_it = cpu_us(lambda: heap.call(engine.START, ("smtpVrfy",)), int(max(20 * factor, 2)), rounds)
    without = cpu_us(lambda: heap.call(engine.START, ("smtpHelp",)), int(max(20 * factor, 2)), rounds)
    yield "operation answered at once (host.now, Sys.setting)", f"{(with_it - without) / 1000:.2f} µs", ""
    heap.close()


def sleeps(policy, rounds, factor):
    """Rows about sleeping and waking, after EHLO and after a message."""
    for label, jobs in (("after EHLO", HANDLERS[:2]), ("after a message", HANDLERS[:6])):
        heap = opened(policy)
        for name, arguments in jobs:
            heap.call(engine.START, (name.partition(",")[0], *arguments))
        asleep, awake, number = [], [], int(max(300 * factor, 5))
        for _ in range(rounds + 1):
            down = up = 0.0
            for _ in range(number):
                begun = time.process_time()
                heap.sleep()
                slept = time.process_time()
                heap.wake()
                up += time.process_time() - slept
                down += slept - begun
            asleep.append(down / number * 1e6)
            awake.append(up / number * 1e6)
        heap.sleep()
        yield (f"sleep, wake {label}", f"{statistics.median(asleep[1:]):.1f} µs, {statistics.median(awake[1:]):.1f} µs; "
               f"keeps {heap.kept_bytes:,} bytes", "")
        heap.close()


def memory(number, say, active):
    """Rows about held connections: asleep, before the first handler, and, where `active`, awake."""
    workers = held.workers_for(number)
    within = f"{number:,} connections held" + (f" by {workers} workers" if workers > 1 else "")
    common = ("--workers", workers, "--limit", f"connections={number + 100}", "--limit", "lag_ms=0", "--timeout", "command=900")

    def measured(label, kind, *options):
        say(f"{within}, {label}")
        with systems.mailfilter(label, SMALL, *common, *options) as server:
            return held.hold(server, number, kind, 0 if label == "active" else SETTLED_S)

    if active:
        each, _, _ = measured("active", "ehlo", "--timeout", "idle_heap=900")
        yield f"{within}, each after EHLO, at once", f"{each:.1f} KiB", "≤ 256 KiB"
    tables = []
    for label, kind in (("after EHLO", "ehlo"), ("after a message of 4 KiB", "message")):
        _, each, table = measured(f"idle {label}", kind, "--timeout", "idle_heap=1")
        tables.append(table)
        yield f"{within}, {label}, idle", f"{each:.1f} KiB", "≤ 8 KiB"
    _, each, _ = measured("before the first handler", "nothing", "--timeout", "greeting_delay=900")
    yield f"{within}, before the first handler (greeting delayed)", f"{each:.1f} KiB", "≤ 8 KiB"
    yield f"{within}, idle: page tables besides", f"{max(tables):.2f} KiB", ""


def beside(seconds, say):
    """Rows about what others notice of JavaScript that does not return."""
    say("others, while one session after the other loops for ever")
    unlimited = [word for name in ("transactions", "commands", "lag_ms") for word in ("--limit", f"{name}=0")]
    with systems.mailfilter("looping", LOOPING, "--limit", f"slice_ms={SLICE_MS}", *unlimited) as server:
        quiet, _ = held.beside(server.port, seconds, 10)
        busy, ended = held.beside(server.port, seconds, 10, b"loop")

    def words(times):
        return f"{times[len(times) // 2] * 1e3:.1f} / {times[len(times) * 99 // 100] * 1e3:.1f} ms"

    rise = (busy[len(busy) * 99 // 100] - quiet[len(quiet) * 99 // 100]) * 1e3
    yield "replies of 10 other sessions, nobody loops, p50 / p99", words(quiet), ""
    yield (f"replies of 10 others, one session after the other loops ({ended} ended), p50 / p99", words(busy), "")
    yield "rise of p99", f"{rise:.0f} ms", f"about the slice of {SLICE_MS} ms"


def alone(rounds, factor, say):
    """Rows of what is timed in this process, without a server: (what, figure, target)."""
    with tempfile.TemporaryDirectory() as folder:
        small = _loaded(folder, "small.js", SMALL.read_text(encoding="utf-8"))
        long = _loaded(folder, "long.js", long_policy(LONG_BYTES))
        waiting = _loaded(folder, "waiting.js", SMALL.read_text(encoding="utf-8") + _WAITING)
        say("heaps")
        yield from copies("small", small, rounds, factor, "≤ 15 µs")
        yield from copies("long", long, rounds, factor, "≤ 30 µs")
        say("calls")
        yield from calls(small, rounds, factor)
        yield from operations(waiting, rounds, factor)
        say("sleeping")
        yield from sleeps(small, rounds, factor)
    if regions()[0]:
        raise LoadFailed(f"{regions()[0]} regions are left over")


def measure(chosen, say):
    """All rows: (what, figure, target)."""
    yield from alone(chosen.rounds, chosen.factor, say)
    for number in chosen.held:
        yield from memory(number, say, number <= HELD)
    yield from beside(chosen.seconds, say)


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--long", action="store_true", help=f"more rounds, and {HELD_LONG:,} connections besides")
    parser.add_argument("--quick", action="store_true", help="see whether everything works; the figures mean little")
    parser.add_argument("--record", action="store_true", help="append the table to bench/results.md")
    chosen = parser.parse_args(words)
    chosen.rounds = 1 if chosen.quick else 15 if chosen.long else 7
    chosen.factor = 0.02 if chosen.quick else 1
    chosen.seconds = 0.5 if chosen.quick else 15 if chosen.long else 5
    chosen.held = (20,) if chosen.quick else (HELD, HELD_LONG) if chosen.long else (HELD,)
    return chosen


def main(words=None):
    chosen = arguments(words)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    try:
        rows = list(measure(chosen, say))
    except systems.Unavailable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except LoadFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = report.table([*report.conditions(chosen.rounds)], ["the JavaScript engine", "measured", "target"], rows)
    print(text)
    if chosen.record:
        report.record(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
