"""200 sessions a second: beside 10, 500 and 5,000 connections that are open and idle, and through a proxy. Latency and CPU."""
from contextlib import ExitStack

from .. import held, turns
from ..peers.own import Mailfilter
from ..talk import LoadFailed

RATE = 200
LEVELS = (10, 500, 5000)
# Beside open connections in a short run; the others would double the time.
SYSTEMS = ("smtp-sink", "uvloop floor", "Mailfilter")
PROXIED = f"proxy, {RATE} sessions/s"
OPEN_S = 5.0            # a heap that has nothing to do goes to sleep in that time


def label(number):
    """The workload's name in tables."""
    return f"{RATE} sessions/s beside {number:,} open connections"


def measure(run):
    """Every level has a system of its own that holds its connections all the time, so that levels take turns, too."""
    seconds = 0.3 if run.quick else 5.0 if run.long else 1.0
    with run.systems("proxy") as running:
        turns.take(run, [turns.Job(PROXIED, system, run.figures.of(PROXIED, name), rate=RATE, seconds=seconds, taken=run.taken)
                         for name, system in running.items()])
    levels = (2, 5) if run.quick else LEVELS
    names = [name for name in run.peers if name in SYSTEMS or run.long]
    with ExitStack() as stack:
        jobs = []
        for name in names:
            peer = run.peers[name]
            if "discard" not in peer.modes:
                continue
            more = {"more": ("--limit", f"connections={levels[-1] + 1000}", "--timeout", "command=3600")} if isinstance(
                peer, Mailfilter) else {}
            for number in levels:
                run.say(f"{number:,} open connections - {name}")
                system = stack.enter_context(peer.start("discard", **more))
                try:
                    stack.enter_context(held.holding(system.port, number, "ehlo"))
                except LoadFailed as error:
                    run.figures.failed.append((label(number), name, str(error)))
                    continue
                jobs.append(turns.Job(label(number), system, run.figures.of(label(number), name), rate=RATE, seconds=seconds))
        run.wait(0 if run.quick else OPEN_S, "connections fall asleep")
        turns.take(run, jobs)
