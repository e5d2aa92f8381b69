"""`python -m bench.soak`: very many sessions against one worker, half of them ended by a limit; memory must stay flat.

The worker's resident memory and its open files are looked at all the time; the run fails when the last third of it is
larger than the first, at its lowest, by more than a few per cent, when a session or a heap is left at the end, when a
session is not answered as it should be, or when the worker is another one. Must not know how limits work.
"""
import argparse
import asyncio
import os
import statistics
import sys
import time

import uvloop

from . import report, systems
from .launching import PROJECT
from .talk import LoadFailed

SESSIONS = 100_000
SECONDS = 1500.0
AT_ONCE = 16
GROWTH = 0.03           # of the floor of the first third, tolerated in that of the last
SAMPLES = 90
ENDING_S = 10.0         # for the last sessions, whose clients are gone, to end
POLICY = PROJECT / "bench/policies/limits.js"

# What a session says, and the codes it must get for it; each of "fails" is ended by a limit.
FINE = ("EHLO fine", "MAIL FROM:<a@client.test>", "RCPT TO:<b@example.test>", "DATA", "Subject: x\r\n\r\ntext\r\n.", "QUIT")
FAILS = ("memory", "slice", "operations", "session", "recursion")


class Counts:
    """What has happened so far."""

    def __init__(self):
        self.begun = self.done = 0
        self.sessions = self.heaps = 0      # that the server still has at the end
        self.by_reply = {}


async def _reply(reader):
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line


async def _session(port, number, counts):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        line = await _reply(reader)
        if not line.startswith(b"220"):
            raise LoadFailed(f"session {number} was greeted with {line!r}")
        if number % 2:
            kind = FAILS[number // 2 % len(FAILS)]
            writer.write(b"EHLO x\r\nMAIL FROM:<" + kind.encode() + b"@client.test>\r\n")
            await _reply(reader)
            line = await _reply(reader)
            if line[:3] not in (b"421", b"451"):
                raise LoadFailed(f"{kind}: {line!r}")
            counts.by_reply[kind, line[:3].decode()] = counts.by_reply.get((kind, line[:3].decode()), 0) + 1
            return
        for step in FINE:
            writer.write(step.encode() + b"\r\n")
            line = await _reply(reader)
            if line[:1] not in b"23":
                raise LoadFailed(f"{step}: {line!r}")
    finally:
        writer.close()


async def _run(server, sessions, seconds, counts, samples, say):
    end = time.monotonic() + seconds

    async def work():
        while counts.begun < sessions and time.monotonic() < end:
            number, counts.begun = counts.begun, counts.begun + 1
            await _session(server.port, number, counts)
            counts.done += 1

    async def look():
        step = max(sessions // SAMPLES, 1)
        due, told = step, time.monotonic()
        while True:
            await asyncio.sleep(0.02)
            if counts.done >= due:
                due += step
                samples.append((counts.done, resident_kib(server.pid), len(os.listdir(f"/proc/{server.pid}/fd"))))
            if samples and time.monotonic() - told > 10:
                told = time.monotonic()
                say(f"{counts.done:,} of {sessions:,} sessions, {samples[-1][1]:,} KiB, {samples[-1][2]} files")

    looking = asyncio.ensure_future(look())
    try:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    finally:
        looking.cancel()


def resident_kib(pid):
    """Resident memory of a process in KiB."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def floor(samples):
    """KiB that a tenth of these looks did not exceed."""
    return statistics.quantiles([kib for _, kib, _ in samples], n=10)[0] if len(samples) > 1 else samples[0][1]


def soak(sessions, seconds, say):
    """(Counts, [(sessions done, KiB, open files)], problem or None)."""
    counts, samples = Counts(), []
    limits = [word for limit in ("slice_ms=5", "heap_bytes=2m", "session_ms=50", "operations=200", "connections=1000")
              for word in ("--limit", limit)]
    with systems.mailfilter("soak", POLICY, *limits, "--metrics", "127.0.0.1:0") as server:
        uvloop.run(_run(server, sessions, seconds, counts, samples, say))
        os.kill(server.pid, 0)
        end = time.monotonic() + ENDING_S
        while True:
            counts.sessions, counts.heaps = (server.gauge(f"mailfilter_{name}") for name in ("sessions", "heaps"))
            if not counts.sessions and not counts.heaps or time.monotonic() > end:
                break
            time.sleep(0.1)
    third = len(samples) // 3
    if not third:
        return counts, samples, "too few sessions to compare"
    # The lowest looks count: between them lie the heaps that are in use at the moment, some of them full. The very first
    # ones are left out, while pools and caches fill.
    first, last = (floor(part) for part in (samples[third // 3:third], samples[-third:]))
    problem = None
    if last > first * (1 + GROWTH):
        problem = f"memory grew from {first:,.0f} to {last:,.0f} KiB"
    elif counts.sessions or counts.heaps:
        problem = f"{counts.sessions:.0f} sessions and {counts.heaps:.0f} heaps are left over"
    elif samples[-1][2] > samples[0][2] + 2 * AT_ONCE:
        problem = f"open files grew from {samples[0][2]} to {samples[-1][2]}"
    return counts, samples, problem


def main(words=None):
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="stop after so long")
    parser.add_argument("--record", action="store_true", help="append the figures to bench/results.md")
    chosen = parser.parse_args(words)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    begun = time.monotonic()
    try:
        counts, samples, problem = soak(chosen.sessions, chosen.seconds, say)
    except (systems.Unavailable, LoadFailed) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    third = len(samples) // 3
    rows = [("sessions", f"{counts.done:,} in {time.monotonic() - begun:,.0f} s")]
    rows += [(f"ended by a limit: {kind}, {code}", f"{number:,}") for (kind, code), number in sorted(counts.by_reply.items())]
    for label, part in (("first", samples[:third]), ("second", samples[third:2 * third]), ("last", samples[2 * third:])):
        if part:
            rows.append((f"resident memory, {label} third, lowest decile / median",
                         f"{floor(part):,.0f} / {statistics.median(k for _, k, _ in part):,.0f} KiB"))
    rows.append(("sessions and heaps left at the end", f"{counts.sessions:.0f}, {counts.heaps:.0f}"))
    rows.append(("open files at the end", str(samples[-1][2]) if samples else "?"))
    text = report.table(report.conditions(1), ["one worker, very many sessions", ""], rows)
    print(text)
    if chosen.record:
        report.record(text)
    if problem:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
