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

from .figures import OWN
from .launching import PROJECT
from .systems import SBIN

RESULTS = Path(__file__).with_name("results.md")

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


def conditions(rounds, versions=None):
    """Where and with what the figures were taken, one line each. versions: what else took part, as texts."""
    if versions is None:
        postconf = shutil.which("postconf", path=SBIN)
        postfix = _output(postconf, "-dh", "mail_version") if postconf else ""
        versions = [f"mailfilter {metadata.version('mailfilter')}", f"uvloop {metadata.version('uvloop')}",
                    f"Postfix {postfix or 'unknown'}"]
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {rounds} interleaved rounds",
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {platform.system()} {platform.release()}, "
        f"load average {os.getloadavg()[0]:.1f}",
        ", ".join([*versions, f"Python {platform.python_version()}"]),
    ]


def _number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def workloads(figures):
    """Rows for `table`, a line for each workload and system, and their head."""
    head = ["workload", "system", "server CPU, each", f"× {OWN}", "each second", "load's CPU, each",
            "p50 / p99 / p99.9, and notes"]
    rows = []
    for label, systems in figures.workloads.items():
        shown = label
        for name, figure in systems.items():
            if not figure.values:
                continue
            more = []
            if figure.latency:
                more.append(" / ".join(f"{figure.ms(place):.2f}" for place in range(3)) + " ms")
            ratio = figures.ratio(label, name)
            rows.append([
                shown, name, f"{_number(figure.value)} {figure.unit}", f"{ratio:.2f}" if ratio is not None else "",
                f"{statistics.median(figure.per_second):,.0f}" if figure.per_second else "",
                f"{_number(statistics.median(figure.load_us))} µs" if figure.load_us else "", "; ".join(more + figure.notes)])
            shown = ""
    return head, rows


def table(circumstances, head, rows, left=1):
    """The Markdown text of a table (lists of texts, so many columns to the left), `circumstances` before it."""
    rows = [head, [*["---"] * left, *["---:"] * (len(head) - left)], *rows]
    widths = [max(len(row[i]) for row in rows[:1] + rows[2:]) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) if i < left else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths, strict=True))) + " |" for row in rows]
    return "\n".join([*circumstances, "", *lines]) if circumstances else "\n".join(lines)


HEADER = """\
# Benchmark results

Appended by `make bench RECORD=1` (`python -m bench --record`), never edited. Server CPU is user and system time of the
server's whole process tree, for each message, session or refusal; ratios are the medians of the rounds' own. What is
compared and how is said in [README.md](README.md). Older runs have tables of other forms; `sink` in them is Postfix's
smtp-sink, `floor` a uvloop server with canned replies (`canned.py`) that discards or passes on in lock step.
"""


def record(text, path=RESULTS):
    """Append one run to the results file."""
    before = path.read_text(encoding="utf-8") if path.exists() else HEADER
    conditions_text, _, tables = text.partition("\n\n")
    title, *rest = conditions_text.split("\n")
    path.write_text(f"{before.rstrip()}\n\n## {title}\n\n" + "\n".join(f"- {line}" for line in rest) + f"\n\n{tables}\n",
                    encoding="utf-8")
    print(f"appended to {path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path}", file=sys.stderr)
