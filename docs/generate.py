"""Writes the tables of the documents that exist in the program or its tests already: states, operations, metrics, line ends.

    .venv/bin/python docs/generate.py           bring the documents up to date
    .venv/bin/python docs/generate.py --check   exit status 1 if one is not (a test does the same)

A generated part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`. Everything around it is written by
hand. Must not know what a table means: that is the business of the text around it.
"""
import importlib.util
import re
import sys
from pathlib import Path

from mailfilter import metrics
from mailfilter._core import fsm
from mailfilter.net.metrics_page import PREFIX
from mailfilter.policy.operations import OPERATIONS

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def _rows(*rows):
    head, *rest = rows
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ["---"] * len(head), *rest))


def _states(table, states, inputs):
    """One row for each thing that happens, one column for each state."""
    open_states = [(number, name) for number, name in enumerate(states) if name != "CLOSED"]
    body = []
    for number, name in enumerate(inputs):
        cells = [states[table[state, number]] if (state, number) in table else "–" for state, _ in open_states]
        if any(cell != "–" for cell in cells):
            body.append([name, *cells])
    return _rows(["", *(f"in {name}" for _, name in open_states)], *body)


def server_states():
    """The machine that faces the client."""
    return _states(fsm.SERVER_TABLE, fsm.STATE_NAMES, fsm.INPUT_NAMES)


def client_states():
    """The machine that faces the next hop."""
    return _states(fsm.CLIENT_TABLE, fsm.CLIENT_STATE_NAMES, fsm.CLIENT_INPUT_NAMES)


def operations():
    """The table of operations."""
    def yes(flag):
        return "yes" if flag else "no"
    return _rows(["operation", "waits", "deadline", "effects", "while loading", "when it fails"], *(
        [f"`{operation.name}`", yes(operation.waits), operation.deadline or "–", yes(operation.effects),
         yes(operation.loading), operation.failure] for operation in OPERATIONS))


def counted():
    """The table of metrics."""
    def labels(metric):
        told = [f"`{label}`: " + ", ".join(values) for label, values in metric.labels.items()]
        if metric.bounds:
            told.append("`le`: " + ", ".join(f"{bound:g}" for bound in metric.bounds))
        return "<br>".join(told) or "–"
    return _rows(["name", "kind", "what it tells", "unit", "labels"], *(
        [f"`{PREFIX}{metric.name}`", metric.kind, metric.help, metric.unit, labels(metric)] for metric in metrics.TABLE))


def line_ends():
    """What tests/interop/test_line_ends.py holds every next hop to."""
    found = importlib.util.spec_from_file_location("line_ends", DOCS.parent / "tests/messages/line_ends.py")
    table = importlib.util.module_from_spec(found)
    sys.modules[found.name] = table  # dataclasses look their module up
    found.loader.exec_module(table)
    ways = [f"{verb}, `{way}`" for verb in ("DATA", "BDAT") for way in ("reject", "normalise")]
    return _rows(["", "sequence", "where", *ways], *(
        [str(number), sequence.words, sequence.place, *map(str, sequence.data + sequence.chunks)]
        for number, sequence in enumerate(table.SEQUENCES, 1)))


PARTS = {"server-states": server_states, "client-states": client_states, "operations": operations, "metrics": counted,
         "line-ends": line_ends}


def renewed(text):
    """`text` with its generated parts as they should be. KeyError: a part that nothing generates."""
    return _PART.sub(lambda found: found[1] + "\n" + PARTS[found[2]]() + "\n" + found[3], text)


def main():
    """Write, or with --check compare; the exit status."""
    stale = []
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text("utf-8")
        if renewed(text) != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(renewed(text), "utf-8")
    for path in stale:
        print(f"{path}: {'is not up to date' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
