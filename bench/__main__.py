"""`python -m bench`: Mailfilter beside other SMTP servers, on this machine, in one run; one table and one picture.

Every system that can be had is installed into bench/.peers and started; one that cannot is named, with the reason, and
skipped. Every workload goes to every system that can do it, in turns, so that whatever else the machine does hits all
of them alike. The figure is the server's CPU (user and system, all of its processes) for each message, session or
refusal: the median of the rounds.

Exit status: 1 when a workload failed or a lone message stalls in Mailfilter, 2 when something needed is missing.
"""
import argparse
import contextlib
import copy
import os
import signal
import sys
import time

from . import held, launching, peers, picture, report, systems, targets
from .figures import OWN, Figures
from .launching import PROJECT
from .workloads import ALL
from .workloads.messages import LONE_LABEL

NICENESS = -15          # before others' work: what runs beside us is not to be measured
LENGTHS = {"quick": (1, 0.02), "short": (2, 0.3), "long": (5, 0.8)}     # rounds, seconds of each


def _chosen(text, known):
    """The words of a list with commas, each of which must be known; all for none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    return words


def arguments(words=None):
    """The command line."""
    described = "\n".join(f"  {name:10} {text}" for name, (_, text) in ALL.items())
    named = "\n".join(f"  {name:18} {peer.words}" for name, peer in peers.ALL.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"workloads:\n{described}\n\nsystems:\n{named}")
    for option, known in (("--workloads", ALL), ("--systems", peers.ALL)):
        parser.add_argument(option, type=lambda text, known=known: _chosen(text, list(known)), metavar="A,B",
                            help="only these (default: all)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--long", action="store_true", help="more and longer rounds (half an hour instead of minutes)")
    length.add_argument("--quick", action="store_true", help="see whether everything works; the figures mean little")
    parser.add_argument("--rounds", type=int, help="so many rounds")
    parser.add_argument("--no-install", action="store_true", help="take what is there already")
    parser.add_argument("--picture", metavar="FILE", default="bench/results.svg",
                        help="where the picture goes (default: %(default)s)")
    parser.add_argument("--no-picture", action="store_true", help="no picture")
    parser.add_argument("--nice", type=int, metavar="N",
                        help=f"niceness of servers and load (default: {NICENESS} for root, but for --quick)")
    parser.add_argument("--record", action="store_true", help="append the table to bench/results.md")
    return parser.parse_args(words)


class Run:
    """What workloads need to know: `peers` by name, `figures`, `rounds`, `seconds` of each, `quick`, `long`, the next hop."""

    def __init__(self, chosen, available, hop, taken, say):
        kind = "quick" if chosen.quick else "long" if chosen.long else "short"
        self.quick, self.long, self.peers = chosen.quick, chosen.long, available
        self.rounds, self.seconds = LENGTHS[kind]
        self.rounds = chosen.rounds or self.rounds
        self.hop, self.taken, self.say, self.niceness = hop, taken, say, chosen.nice
        self.figures, self.took = Figures(), []

    @contextlib.contextmanager
    def systems(self, mode):
        """{name: System} of all that can do this, started; what does not start is among the figures that failed."""
        with contextlib.ExitStack() as stack:
            running = {}
            for name, peer in self.peers.items():
                if mode not in peer.modes:
                    continue
                self.say(f"starting {name} ({mode})")
                try:
                    running[name] = stack.enter_context(peer.start(mode, self.hop))
                except systems.Unavailable as error:
                    self.figures.failed.append((mode, name, str(error)))
            yield running

    def with_rounds(self, most):
        """The same, with so many rounds at most."""
        other = copy.copy(self)
        other.rounds = min(self.rounds, most)
        return other

    def wait(self, seconds, why):
        """Do nothing for so long."""
        if seconds:
            self.say(f"waiting {seconds:g} s: {why}")
            time.sleep(seconds)


def find_peers(chosen, say):
    """({name: Peer} of those that are here, [version of each], [(name, why it is not here)])."""
    available, versions, missing = {}, [], []
    for name, peer in peers.ALL.items():
        if chosen.systems and name not in chosen.systems:
            continue
        try:
            if not chosen.no_install:
                peer.install(say)
            version = peer.version()
            available[name] = peer
            if version not in versions:
                versions.append(version)
        except systems.Unavailable as error:
            missing.append((name, str(error)))
            say(f"skipping {name}: {error}")
    return available, versions, missing


def _progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def render(run, versions, missing):
    """The Markdown text of a run: conditions, the table, the parts alone, the targets, what is missing."""
    figures = run.figures
    lines = report.conditions(run.rounds, versions)
    if run.niceness:
        lines.append(f"servers and load at niceness {run.niceness}")
    lines += [f"{name} is missing: {why}" for name, why in missing]
    lines += [f"failed: {workload}, {name}: {why.splitlines()[0][:200]}" for workload, name, why in figures.failed]
    parts = []
    head, rows = report.workloads(figures)
    if rows:
        parts.append(report.table([], head, rows, left=2))
    if figures.lines:
        parts.append(report.table([], ["a part alone", "measured"], [list(line) for line in figures.lines.items()]))
    held_to = targets.rows(figures)
    if held_to:
        parts.append(report.table([], ["held to", "target", "measured", ""], held_to))
    return "\n".join(lines) + "\n\n" + "\n\n".join(parts)


def main(words=None):
    """The program."""
    chosen = arguments(words)
    # So that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        systems.require_tools()
        if chosen.nice is None and os.geteuid() == 0 and not chosen.quick:
            chosen.nice = NICENESS
        if chosen.nice:
            launching.set_niceness(chosen.nice)
        held.room_for(1)                    # raises the soft limit of files, for us and for whom we start
        available, versions, missing = find_peers(chosen, _progress)
        with systems.counting_sink() as (hop, taken):
            run = Run(chosen, available, hop.port, taken, _progress)
            for name in chosen.workloads or ALL:
                begun = time.monotonic()
                ALL[name][0](run)
                run.took.append(f"{name} {time.monotonic() - begun:.0f} s")
    except (systems.Unavailable, PermissionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbench: stopped", file=sys.stderr)
        return 130
    _progress("it took: " + ", ".join(run.took))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    text = render(run, versions, missing)
    print(text)
    if not chosen.no_picture and picture.drawn(run.figures):
        path = PROJECT / chosen.picture
        path.write_text(picture.draw(run.figures, report.conditions(run.rounds, versions)), encoding="utf-8")
        print(f"picture: {path}", file=sys.stderr)
    if chosen.record:
        report.record(text)
    lone = run.figures.get(LONE_LABEL)
    if lone is not None and lone.notes:
        print(f"bench: {OWN}: {lone.notes[0]}", file=sys.stderr)
        return 1
    return 1 if run.figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())
