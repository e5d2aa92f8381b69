"""Messages taken and dropped, or passed on in lock step: one for each connection or many on one, of 4 KiB or 1 MiB."""
from .. import turns
from ..talk import LoadFailed, play

SHAPES = (  # label, octets, kept, sessions at once
    ("4 KiB, one per connection", 4096, False, 20),
    ("4 KiB, connection kept", 4096, True, 20),
    ("1 MiB, one per connection", 1 << 20, False, 10),
    ("1 MiB, connection kept", 1 << 20, True, 10),
)
LONE = (4096, 16384, 65536)
STALL_MS = 20.0         # a delayed acknowledgement costs 40
STALLS = "every message stalls: Nagle's algorithm"
LONE_LABEL = "proxy, a lone message of up to 64 KiB"


def label(mode, shape):
    """The workload's name in tables."""
    return f"{mode}, {shape}"


def measure(run):
    """All shapes on all systems, dropping and passing on; then lone messages, which show stalls."""
    for mode in ("discard", "proxy"):
        with run.systems(mode) as running:
            taken = run.taken if mode == "proxy" else None
            turns.take(run, [
                turns.Job(label(mode, shape), system, run.figures.of(label(mode, shape), name), length=length, kept=kept,
                          at_once=at_once, taken=taken, warm=turns.WARM if (length, kept) == (4096, False) else 100)
                for shape, length, kept, at_once in SHAPES for name, system in running.items()])
            if mode == "proxy":
                _lone(run, running)


def _lone(run, running):
    """Milliseconds of a message of up to 64 KiB on an otherwise idle system: 40 where Nagle's algorithm waits."""
    number = 3 if run.quick else 20
    for name, system in running.items():
        run.say(f"one message at a time - {name}")
        try:
            taken = [play(system.port, "message", number, length=length, at_once=1, timed=True) for length in LONE]
        except LoadFailed as error:
            run.figures.failed.append((LONE_LABEL, name, str(error)))
            continue
        figure = run.figures.of(LONE_LABEL, name, "ms")
        figure.values.append(max(outcome.ms(.5) for outcome in taken))
        # Each one waits, then, and not only some, which may have been the machine.
        if max(outcome.ms(0) for outcome in taken) >= STALL_MS:
            figure.notes.append(STALLS)
