"""The table that a run prints, and the file it is appended to. Must not measure anything."""
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .systems import PROJECT, SBIN

RESULTS = Path(__file__).with_name("results.md")

# What each system is compared with, in the words of the table.
REFERENCES = {
    "mailfilter discard": (("smtp-sink", "sink"), ("canned discard", "floor")),
    "mailfilter proxy": (("canned proxy", "floor"),),
}


def _output(*command):
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _commit():
    commit = _output("git", "rev-parse", "--short=10", "HEAD") or "unknown commit"
    return commit + (" with changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else "")


def _processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def conditions(rounds):
    """Where and with what the figures were taken, one line each."""
    postconf = shutil.which("postconf", path=SBIN)
    postfix = _output(postconf, "-dh", "mail_version") if postconf else ""
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {rounds} interleaved rounds",
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {platform.system()} {platform.release()}, "
        f"load average {os.getloadavg()[0]:.1f}",
        f"mailfilter {metadata.version('mailfilter')}, Python {platform.python_version()}, "
        f"uvloop {metadata.version('uvloop')}, Postfix {postfix or 'unknown'}",
    ]


def _cell(name, values, column):
    """Median µs, with the median ratio to each reference of the same round."""
    text = f"{statistics.median(values):,.0f}"
    ratios = [f"{statistics.median(a / b for a, b in zip(values, column[other], strict=True)):.2f} × {word}"
              for other, word in REFERENCES.get(name, ())]
    return f"{text} ({', '.join(ratios)})" if ratios else text


def render(results, delays, lone, circumstances):
    """The Markdown text of one run; `results`, `delays` and `lone` as `bench.__main__` measures them.

    `circumstances` are lines that stand before the table.
    """
    labels = list(results)
    head = ["server CPU, µs per message", *labels, "session at 200/s, p50 / p99 ms", "lone message ≤ 64 KiB, ms"]
    rows = []
    for name in results[labels[0]]:
        p50, p99 = delays[name]
        rows.append([name, *[_cell(name, results[label][name], results[label]) for label in labels],
                     f"{p50:.2f} / {p99:.2f}", f"{lone[name]:.1f}"])
    return table(circumstances, head, rows)


def table(circumstances, head, rows):
    """The Markdown text of a table (lists of texts, the first column to the left), `circumstances` before it."""
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    widths = [max(len(row[i]) for row in rows[:1] + rows[2:]) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths, strict=True))) + " |" for row in rows]
    return "\n".join([*circumstances, "", *lines])


HEADER = """\
# Benchmark results

Appended by `make bench` with `--record` (`python -m bench --record`), never edited. Server CPU is user and system time
of the server's whole process tree; the ratios in brackets are to the references of the same run: `sink` is Postfix's
smtp-sink, `floor` is a uvloop server with canned replies (`bench/canned.py`) that discards or passes on in lock step.
"""


def record(text, path=RESULTS):
    """Append one run to the results file."""
    before = path.read_text(encoding="utf-8") if path.exists() else HEADER
    conditions_text, _, table = text.partition("\n\n")
    title, *rest = conditions_text.split("\n")
    path.write_text(f"{before.rstrip()}\n\n## {title}\n\n" + "\n".join(f"- {line}" for line in rest) + f"\n\n{table}\n",
                    encoding="utf-8")
    print(f"appended to {path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path}", file=sys.stderr)
