"""The figures that the project is held to, beside what a run has found. Ratios are those of the same run."""
from .workloads import idle, opened, refusals, workers
from .workloads.messages import SHAPES, label

DISCARD, DISCARD_KEPT = (label("discard", shape[0]) for shape in SHAPES[:2])
PROXY, PROXY_KEPT, LARGE, LARGE_KEPT = (label("proxy", shape[0]) for shape in SHAPES)
(ALONE, _), (KEPT, _) = workers.SHAPES
OWN, LIMIT, FLOOR, SINK, HARAKA = "Mailfilter", "Mailfilter limit", "uvloop floor", "smtp-sink", "Haraka"


def _us(figures, workload):
    figure = figures.get(workload)
    return None if figure is None else figure.value


def _times(figures, workload, of, than):
    """How many times the CPU of `than` that of `of` is."""
    return figures.ratio(workload, of, than)


def _first(text):
    return None if text is None else float(text.split()[0].replace(",", ""))


def _ms_times(figures, place):
    own, floor = figures.get(opened.PROXIED), figures.get(opened.PROXIED, FLOOR)
    return None if own is None or floor is None else own.ms(place) / floor.ms(place)


def _kib(figures, when, number=idle.NUMBER):
    figure = figures.get(idle.label(number, when))
    return None if figure is None else figure.value


def _rise(figures):
    """By how much a session costs more or less beside any number of open connections than beside the fewest, at most."""
    found = [figures.get(opened.label(number)) for number in opened.LEVELS]
    if None in found:
        return None
    values = [figure.value for figure in found]
    return max(abs(value / values[0] - 1) for value in values) * 100


def _workers(figures, mode, shape, name=OWN):
    one, two = (figures.get(workers.label(mode, shape, number), name) for number in (1, 2))
    return None if one is None or two is None else (two.value / one.value - 1) * 100


def _beside(figures, what):
    """What the floor does where the machine has a say: four busy processes on two cores get in each other's way."""
    for mode in ("discard", "proxy"):
        for shape, words in ((ALONE, "one per connection"), (KEPT, "kept")):
            if what == f"two workers against one, {mode}, {words}":
                rise = _workers(figures, mode, shape, FLOOR)
                return "" if rise is None else f" (the floor {rise:+.0f} %)"
    return ""


def _flood(figures, step, name=OWN):
    """How many times the CPU of smtp-sink accepting a message a refusal costs; both come at the same rate."""
    own, sink = figures.get(refusals.flooded(step), name), figures.get(refusals.ACCEPTED, SINK)
    return None if own is None or sink is None else own.value / sink.value


# (what, the bound, its unit, whether the measured one must be at most (True) or at least the bound, how it is found)
LINES = (
    ("discard, one message per connection", 120, "µs", True, lambda f: _us(f, DISCARD)),
    ("discard, connection kept", 60, "µs", True, lambda f: _us(f, DISCARD_KEPT)),
    ("lock-step proxy, one message per connection", 250, "µs", True, lambda f: _us(f, PROXY)),
    ("lock-step proxy, connection kept", 130, "µs", True, lambda f: _us(f, PROXY_KEPT)),
    ("discard, one per connection, beside smtp-sink", 1.6, "×", True, lambda f: _times(f, DISCARD, OWN, SINK)),
    ("discard, one per connection: Haraka beside it", 4, "×", False, lambda f: _times(f, DISCARD, HARAKA, OWN)),
    ("proxy, one per connection, beside the floor", 1.6, "×", True, lambda f: _times(f, PROXY, OWN, FLOOR)),
    ("proxy, connection kept, beside the floor", 1.6, "×", True, lambda f: _times(f, PROXY_KEPT, OWN, FLOOR)),
    ("proxy, one per connection: Haraka beside it", 5, "×", False, lambda f: _times(f, PROXY, HARAKA, OWN)),
    ("proxy, connection kept: Haraka beside it", 5, "×", False, lambda f: _times(f, PROXY_KEPT, HARAKA, OWN)),
    ("1 MiB proxied, one per connection, beside the floor", 1.5, "×", True, lambda f: _times(f, LARGE, OWN, FLOOR)),
    ("1 MiB proxied, connection kept, beside the floor", 1.5, "×", True, lambda f: _times(f, LARGE_KEPT, OWN, FLOOR)),
    ("latency of a proxied session at 200/s, p50, beside the floor", 1.6, "×", True, lambda f: _ms_times(f, 0)),
    ("latency of a proxied session at 200/s, p99, beside the floor", 1.6, "×", True, lambda f: _ms_times(f, 1)),
    ("a fresh JavaScript context, small policy", 15, "µs", True,
     lambda f: _first(next((t for n, t in f.lines.items() if "by copying, small" in n), None))),
    ("a fresh JavaScript context, 30 KB of policy", 30, "µs", True,
     lambda f: _first(next((t for n, t in f.lines.items() if "by copying, long" in n), None))),
    ("an idle connection, policy called, at once", 256, "KiB", True, lambda f: _kib(f, "at once")),
    ("an idle connection, policy called, after seconds", 8, "KiB", True, lambda f: _kib(f, idle.IDLE)),
    ("a connection before its first handler", 8, "KiB", True, lambda f: _kib(f, idle.BEFORE)),
    ("cost of a session beside 10, 500, 5,000 open connections differs by", 15, "%", True, _rise),
    ("two workers against one, discard, one per connection", 10, "%", True, lambda f: _workers(f, "discard", ALONE)),
    ("two workers against one, discard, kept", 10, "%", True, lambda f: _workers(f, "discard", KEPT)),
    ("two workers against one, proxy, one per connection", 10, "%", True, lambda f: _workers(f, "proxy", ALONE)),
    ("two workers against one, proxy, kept", 10, "%", True, lambda f: _workers(f, "proxy", KEPT)),
    ("flood refused by a limit, beside smtp-sink accepting", 1, "×", True, lambda f: _flood(f, "connect", LIMIT)),
    ("flood refused by a policy at connect, beside smtp-sink accepting", 1, "×", True, lambda f: _flood(f, "connect")),
    ("flood refused by a policy at RCPT, beside smtp-sink accepting", 1, "×", True, lambda f: _flood(f, "rcpt")),
)


def _text(value, unit):
    if unit == "×":
        return f"{value:.2f} ×"
    if unit == "%":
        return f"{value:+.0f} %"
    return f"{value:.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def rows(figures):
    """[what, target, measured, "met" or "missed"] for each line that the run has the figures of."""
    found = []
    for what, bound, unit, most, find in LINES:
        value = find(figures)
        if value is not None:
            good = value <= bound if most else value >= bound
            found.append([what, f"{'≤' if most else '≥'} {bound} {unit}", _text(value, unit) + _beside(figures, what),
                          "met" if good else "missed"])
    return found
