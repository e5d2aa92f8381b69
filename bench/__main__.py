"""`python -m bench`: one table of server CPU per message, Mailfilter beside its references, in one run.

Rounds are interleaved (every system once per round, for each kind of load), so that whatever else the machine does hits
all of them alike; a cell is the median over the rounds, a ratio the median of the rounds' own ratios.
Exits 1 when something fails or when a lone message stalls, 2 when a needed program is missing.
"""
import argparse
import statistics
import sys
from contextlib import ExitStack

from . import cpu, load, report, systems

WORKLOADS = (  # label, octets, kept, sessions, messages per round
    ("4 KiB, one per connection", 4096, False, 20, 1500),
    ("4 KiB, connection kept", 4096, True, 20, 3000),
    ("1 MiB, one per connection", 1 << 20, False, 10, 40),
    ("1 MiB, connection kept", 1 << 20, True, 10, 40),
)
STALL_LENGTHS = (4096, 16384, 65536)
STALL_MS = 20.0  # a delayed acknowledgement costs 40
RATE = 200


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--long", action="store_true", help="three times the rounds, twice the messages, longer load")
    parser.add_argument("--quick", action="store_true", help="see whether everything works; the figures mean little")
    parser.add_argument("--rounds", type=int, help="rounds of every system and load (default 3)")
    parser.add_argument("--record", action="store_true", help="append the table to bench/results.md")
    chosen = parser.parse_args(words)
    chosen.rounds = chosen.rounds or (1 if chosen.quick else 9 if chosen.long else 3)
    chosen.factor = 0.05 if chosen.quick else 2 if chosen.long else 1
    chosen.latency_s = 0.5 if chosen.quick else 20 if chosen.long else 8
    chosen.alone = 3 if chosen.quick else 40
    return chosen


def start(stack):
    """Start everything; returns the systems by name, references first."""
    sink = stack.enter_context(systems.smtp_sink())
    hop = stack.enter_context(systems.smtp_sink("next hop"))
    to_hop = f"nextHop=127.0.0.1:{hop.port}"
    return {system.name: system for system in (
        sink,
        stack.enter_context(systems.canned("canned discard", "discard")),
        stack.enter_context(systems.mailfilter("mailfilter discard", systems.PROJECT / "bench/policies/discard.js")),
        stack.enter_context(systems.canned("canned proxy", "lockstep", hop.port)),
        stack.enter_context(systems.mailfilter("mailfilter proxy", "proxy", "--set", to_hop)),
    )}


def measure_cpu(running, rounds, factor, say):
    """{workload label: {system name: [µs per message, one per round]}}."""
    results = {label: {name: [] for name in running} for label, *_ in WORKLOADS}
    for number in range(rounds + 1):  # the first one warms up and is not kept
        for label, length, kept, sessions, messages in WORKLOADS:
            messages = int(max(2, messages * factor / (1 if number else 3)))
            say(f"round {number} of {rounds}: {label}" if number else f"warming up: {label}")
            for name, system in running.items():
                before = cpu.settled_cpu_seconds(system.pid)
                try:
                    load.blast(system.port, messages, length, sessions, kept)
                except load.LoadFailed as error:
                    raise load.LoadFailed(f"{name}, {label}: {error}") from None
                used = cpu.settled_cpu_seconds(system.pid) - before
                if number:
                    results[label][name].append(used / messages * 1e6)
    return results


def measure_latency(running, seconds, say):
    """{system name: (p50 ms, p99 ms)} of one-message sessions at RATE a second."""
    results = {}
    for name, system in running.items():
        say(f"latency at {RATE} sessions/s: {name}")
        times = load.latency(system.port, RATE, seconds)
        results[name] = (times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3)
    return results


def measure_stalls(running, number, say):
    """{system name: the worst median over STALL_LENGTHS, in ms, of `number` lone messages}."""
    results = {}
    for name, system in running.items():
        say(f"lone messages: {name}")
        results[name] = 1e3 * max(statistics.median(load.stalls(system.port, length, number))
                                  for length in STALL_LENGTHS)
    return results


def main(words=None):
    chosen = arguments(words)

    def say(text):
        print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n",
              file=sys.stderr, flush=True)

    try:
        systems.require_tools()
        with ExitStack() as stack:
            running = start(stack)
            warnings = [f"{name}: {text}" for name, system in running.items() for text in system.warnings]
            results = measure_cpu(running, chosen.rounds, chosen.factor, say)
            delays = measure_latency(running, chosen.latency_s, say)
            lone = measure_stalls(running, chosen.alone, say)
            say("")
    except systems.Unavailable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except load.LoadFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = report.render(results, delays, lone, [*report.conditions(chosen.rounds), *warnings])
    print(text)
    if chosen.record:
        report.record(text)
    stalled = [f"{name}: {ms:.0f} ms" for name, ms in lone.items() if ms >= STALL_MS]
    if stalled:
        print(f"bench: a lone message stalls (Nagle?): {', '.join(stalled)}", file=sys.stderr)
    return 1 if stalled else 0


if __name__ == "__main__":
    sys.exit(main())
