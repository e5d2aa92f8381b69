"""`python -m bench.admission`: what a refused connection costs, and what very many slow clients do to the others.

A refused connection is compared with smtp-sink accepting one message, and with Mailfilter doing so. The slow clients say
EHLO an octet at a time, slower than anybody waits for; the others are one-message sessions at a steady rate, measured
before, beside and after them. The time is scaled: a deadline of a minute instead of five, an octet each twenty seconds
instead of each sixty. Exits 1 when the slow ones are not gone soon after their deadline.
"""
import argparse
import multiprocessing
import socket
import statistics
import sys
import time

from . import cpu, held, report, systems, talk, trickle
from .launching import PROJECT

DISCARD = PROJECT / "bench/policies/discard.js"
COUNT_US = ("--exempt", "192.0.2.0/24")     # otherwise the machine itself is not counted
RATE = 50
LATE_S = 6.0            # a deadline is looked at when JavaScript memory is, and the clients' own process is busy, too


def arguments(words=None):
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="see whether everything works; the figures mean little")
    parser.add_argument("--record", action="store_true", help="append the table to bench/results.md")
    parser.add_argument("--slow", type=int, help="how many slow clients (default 10000)")
    chosen = parser.parse_args(words)
    chosen.rounds = 1 if chosen.quick else 7
    chosen.connections = 50 if chosen.quick else 3000
    chosen.slow = chosen.slow or (100 if chosen.quick else 10_000)
    chosen.deadline_s = 3.0 if chosen.quick else 60.0
    chosen.octet_s = 0.5 if chosen.quick else 20.0
    chosen.seconds = 1.0 if chosen.quick else 20.0
    return chosen


def knock(port, number):
    """Connect so many times, one after the other, and wait each time to be sent away."""
    for _ in range(number):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            said = b""
            while data := client.recv(512):
                said += data
        if not said.startswith(b"421 "):
            raise talk.LoadFailed(f"not refused: {said!r}")


def _used(system, number, what):
    before = cpu.settled_cpu_seconds(system.pid)
    what()
    return (cpu.settled_cpu_seconds(system.pid) - before) / number * 1e6


def refused(rounds, number, say):
    """{name: [µs of server CPU per connection, one per round]}."""
    results = {"smtp-sink, one message accepted": [], "mailfilter, one message accepted": [],
               "mailfilter, refused: connections of the address": [], "mailfilter, refused: connections of the worker": []}
    sink_row, taken_row, address_row, full_row = results
    with systems.smtp_sink() as sink, systems.mailfilter("open", DISCARD) as taking, systems.mailfilter(
            "address", DISCARD, *COUNT_US, "--limit", "address_connections=1") as address, systems.mailfilter(
            "full", DISCARD, *COUNT_US, "--limit", "connections=1") as full:
        held_open = [socket.create_connection(("127.0.0.1", system.port)) for system in (address, full)]
        for client in held_open:
            client.recv(512)
        for count in range(rounds + 1):      # the first one warms up and is not kept
            say(f"refused connections, round {count} of {rounds}")
            for row, system, what in (
                    (sink_row, sink, lambda: talk.play(sink.port, "message", number, at_once=1)),
                    (taken_row, taking, lambda: talk.play(taking.port, "message", number, at_once=1)),
                    (address_row, address, lambda: knock(address.port, number)),
                    (full_row, full, lambda: knock(full.port, number))):
                used = _used(system, number, what)
                if count:
                    results[row].append(used)
        for client in held_open:
            client.close()
    return results


def _latency(port, seconds):
    """Seconds of each one-message session, sorted, when RATE of them begin every second."""
    return talk.play(port, "message", int(RATE * seconds), rate=RATE, timed=True).seconds


def _p(times, share):
    return times[min(len(times) - 1, int(len(times) * share))] * 1e3


def beside_slow(chosen, workers, say):
    """(rows of the table, whether all slow clients were gone in time)."""
    server = ("--workers", str(workers), "--timeout", f"command={chosen.deadline_s}", "--limit", "connections=20000")
    with systems.mailfilter("slow", DISCARD, *server) as system:
        say("others alone")
        _latency(system.port, chosen.seconds / 4)
        before = _latency(system.port, chosen.seconds)
        say(f"{chosen.slow} slow clients connect")
        mine, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=trickle.hold, args=(theirs, system.port, chosen.slow, chosen.octet_s), daemon=True)
        process.start()
        theirs.close()
        mine.recv()                         # all of them are there
        memory = sum(held.pss_kib(pid) for pid in cpu.descendants(system.pid)) / chosen.slow
        cpu_before, since = cpu.cpu_seconds(system.pid), time.monotonic()
        during = _latency(system.port, min(chosen.seconds, chosen.deadline_s / 2))
        busy = (cpu.cpu_seconds(system.pid) - cpu_before) / (time.monotonic() - since)
        say("waiting for their deadline")
        lives, answers = mine.recv()
        process.join(30)
        after = _latency(system.port, chosen.seconds)
    rows = [[f"{RATE} sessions/s alone, before and after, p50 / p99",
             *(f"{_p(times, .5):.2f} / {_p(times, .99):.2f} ms" for times in (before, after))],
            [f"beside {chosen.slow:,} slow clients, {workers} workers, p50 / p99",
             f"{_p(during, .5):.2f} / {_p(during, .99):.2f} ms",
             f"p99 {_p(during, .99) / statistics.mean((_p(before, .99), _p(after, .99))):.2f} × alone"],
            ["the server's memory for each slow client, CPU beside the load", f"{memory:.1f} KiB",
             f"{busy * 100:.0f} % of a core"],
            [f"slow clients are gone after (deadline {chosen.deadline_s:g} s), median / last",
             f"{statistics.median(lives):.1f} / {max(lives):.1f} s", ", ".join(f"{n:,} × {a}" for a, n in answers.items())]]
    return rows, max(lives) < chosen.deadline_s + LATE_S


def main(words=None):
    chosen = arguments(words)

    def say(text):
        print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n",
              file=sys.stderr, flush=True)

    try:
        systems.require_tools()
        held.room_for(1)                    # raises the soft limit of files, for us and for whom we start
        costs = refused(chosen.rounds, chosen.connections, say)
        slow, in_time = beside_slow(chosen, 2, say)
        say("")
    except systems.Unavailable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except talk.LoadFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    sink = next(iter(costs.values()))
    rows = [[f"{name}, server CPU", f"{statistics.median(values):.0f} µs",
             f"{statistics.median(a / b for a, b in zip(values, sink, strict=True)):.2f} × sink"]
            for name, values in costs.items()]
    text = report.table(report.conditions(chosen.rounds), ["admission", "", ""], rows + slow)
    print(text)
    if chosen.record:
        report.record(text)
    if not in_time:
        print("bench: slow clients stayed beyond their deadline", file=sys.stderr)
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
