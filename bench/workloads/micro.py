"""What can be timed alone, in one process: parsers, JavaScript heaps, calls of handlers, operations."""
from .. import engine, parse


def measure(run):
    """The rows of `bench.parse` and, of `bench.engine`, those that need no server."""
    if "Mailfilter" not in run.peers:
        return
    run.say("parsers")
    for name, value, unit in parse.rows(run.quick):
        run.figures.lines[f"parse: {name}"] = f"{value:,.2f} {unit}" if unit == "GB/s" else f"{value:,.0f} {unit}"
    rounds, factor = (1, 0.02) if run.quick else (15, 1) if run.long else (3, 0.5)
    for name, text, _target in engine.alone(rounds, factor, run.say):
        run.figures.lines[f"engine: {name}"] = text
