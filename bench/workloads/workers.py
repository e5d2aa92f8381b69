"""Two workers beside one, for the systems that can have more: under the same load CPU for each message must not rise.

The same load is as many sessions at a time in all. Twice as many cost more with one worker, too: what belongs to a session does
not stay in the processor's cache until the session's next command."""
from contextlib import ExitStack

from .. import turns
from ..systems import Unavailable

# In a short run; everything that has workers in a long one.
SHORT = ("uvloop floor", "Mailfilter")
AT_ONCE = 40
SHAPES = (("4 KiB, one per connection", False), ("4 KiB, connection kept", True))


def label(mode, shape, workers):
    """The workload's name in tables."""
    return f"{mode}, {shape}, {workers} worker{'s' if workers > 1 else ''}"


def measure(run):
    """Both modes, each with one worker and with two, in turns."""
    for mode in ("discard", "proxy"):
        with ExitStack() as stack:
            running = []
            for workers in (1, 2):
                for name, peer in run.peers.items():
                    if mode in peer.modes and peer.most_workers > 1 and (run.long or name in SHORT):
                        run.say(f"{workers} workers - {name}")
                        try:
                            running.append((name, workers, stack.enter_context(peer.start(mode, run.hop, workers))))
                        except Unavailable as error:
                            run.figures.failed.append((label(mode, SHAPES[0][0], workers), name, str(error)))
            turns.take(run, [
                turns.Job(label(mode, shape, workers), system, run.figures.of(label(mode, shape, workers), name), kept=kept,
                          at_once=AT_ONCE,
                          taken=run.taken if mode == "proxy" else None, warm=200 if kept else turns.WARM)
                for shape, kept in SHAPES for name, workers, system in running])
