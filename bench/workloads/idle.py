"""Memory of connections that have said EHLO and nothing since. PSS of the server's processes, without the kernel's buffers."""
from .. import held
from ..peers.own import Mailfilter
from ..systems import Unavailable
from ..talk import LoadFailed

NUMBER, MANY = 2000, 20_000
SETTLED_S = 2.0
# A heap sleeps after so many seconds without a word; three by default, fewer here so that nobody waits for it.
ASLEEP_S = 1
BEFORE = "before its first handler"


def label(number, when):
    """The workload's name in tables."""
    return f"{number:,} connections, {'each ' if when == BEFORE else 'each after EHLO, '}{when}"


def measure(run):
    """One system after the other: what it holds more for each of the connections."""
    _measure(run, 20 if run.quick else NUMBER, 1)
    if run.long:
        _measure(run, MANY, held.workers_for(MANY))


def _measure(run, number, workers):
    for name, peer in run.peers.items():
        if "discard" not in peer.modes or peer.most_workers < workers:
            continue
        run.say(f"{number:,} idle connections - {name}")
        more = {}
        if isinstance(peer, Mailfilter):
            more = {"more": ("--limit", f"connections={number + 100}", "--limit", "lag_ms=0", "--timeout", "command=900",
                             "--timeout", f"idle_heap={ASLEEP_S}")}
        try:
            with peer.start("discard", workers=workers, **more) as system:
                at_once, settled, _ = held.hold(system, number, "ehlo", SETTLED_S)
            if more:
                with peer.start("discard", workers=workers, more=(*more["more"], "--timeout", "greeting_delay=900")) as system:
                    _, before, _ = held.hold(system, number, "nothing", SETTLED_S)
                run.figures.of(label(number, BEFORE), name, "KiB").values.append(before)
        except (LoadFailed, Unavailable) as error:
            run.figures.failed.append((label(number, "idle"), name, str(error)))
            continue
        run.figures.of(label(number, "at once"), name, "KiB").values.append(at_once)
        figure = run.figures.of(label(number, f"idle for {SETTLED_S:g} s"), name, "KiB")
        figure.values.append(settled)
        if workers > 1:
            figure.notes.append(f"{workers} workers")
