"""Memory of connections that have said EHLO and nothing since. PSS of the server's processes, without the kernel's buffers."""
from .. import held
from ..peers.own import Mailfilter
from ..systems import Unavailable
from ..talk import LoadFailed

NUMBER, MANY = 2000, 20_000
SETTLED_S = 2.0
# A heap sleeps after so many seconds without a word; three by default, fewer here so that nobody waits for it.
ASLEEP_S = 1
IDLE, BEFORE = f"idle for {SETTLED_S:g} s", "before its first handler"


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
        own = isinstance(peer, Mailfilter)
        common = ("--limit", f"connections={number + 100}", "--limit", "lag_ms=0", "--timeout", "command=900")
        # What is looked at, what each connection says, and what Mailfilter is told so that nothing else happens meanwhile.
        looks = [(IDLE, "ehlo", ("--timeout", f"idle_heap={ASLEEP_S}"))]
        if own:
            looks += [("at once", "ehlo", ("--timeout", "idle_heap=900"))]
            looks += [(BEFORE, "nothing", ("--timeout", "greeting_delay=900"))]
        for when, kind, more in looks:
            run.say(f"{number:,} connections {when} - {name}")
            try:
                with peer.start("discard", workers=workers, **({"more": (*common, *more)} if own else {})) as system:
                    at_once, settled, _ = held.hold(system, number, kind, 0.0 if when == "at once" else SETTLED_S)
            except (LoadFailed, Unavailable) as error:
                run.figures.failed.append((label(number, when), name, str(error)))
                continue
            figure = run.figures.of(label(number, when), name, "KiB")
            figure.values.append(at_once if settled is None else settled)
            if workers > 1:
                figure.notes.append(f"{workers} workers")
