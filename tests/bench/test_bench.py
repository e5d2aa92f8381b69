"""The benchmarks run, and print what they promise. For existence, not for speed."""
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from serving import PROJECT

from bench import __main__ as bench
from bench import figures, peers, picture, report, systems, talk, targets
from bench.workloads import messages

SBIN = "/usr/sbin:/usr/bin:/bin"

needs_postfix = pytest.mark.skipif(not shutil.which("smtp-sink", path=SBIN),
                                   reason="smtp-sink is not installed (Debian package postfix)")


def run(*words):
    return subprocess.run([sys.executable, *words], cwd=PROJECT, check=False, capture_output=True, text=True, timeout=110)


@needs_postfix
def test_systems_are_compared_and_drawn(tmp_path):
    done = run("-m", "bench", "--quick", "--no-install", "--systems", "smtp-sink,Mailfilter", "--workloads", "messages",
               "--picture", str(tmp_path / "picture.svg"))
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[2] for row in rows if row[1].startswith("discard, 4 KiB, one")] == ["smtp-sink"]
    assert sum(row[2] == "Mailfilter" for row in rows) == 2 * len(messages.SHAPES) + 1
    assert "| lock-step proxy, connection kept " in done.stdout and "≤ 1.6 ×" in done.stdout
    for word in ("commit", "Python", "Postfix", "cores"):
        assert word in done.stdout.partition("| ")[0]
    ElementTree.parse(tmp_path / "picture.svg")


def test_services_and_maps_are_measured():
    done = run("-m", "bench.services", "--quick", "--only", "Store, get")
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
    names = [row[0] for row in rows]
    assert "nobody is asked" in names and "Store, get: embedded" in names and "1,000, domains" in names
    assert all(row[1] for row in rows)


def test_words_of_the_command_line():
    chosen = bench.arguments(["--workloads", "tls,idle", "--systems", "Mailfilter,Mailfilter limit", "--long"])
    assert chosen.workloads == ["tls", "idle"] and chosen.systems == ["Mailfilter", "Mailfilter limit"]
    assert chosen.long and not chosen.record
    assert bench.arguments([]).workloads is None and not any("," in name for name in peers.ALL)
    for words in (["--workloads", "nonsense"], ["--systems", "Sendmail"], ["--long", "--quick"]):
        with pytest.raises(SystemExit):
            bench.arguments(words)


def test_what_is_missing_is_named_and_skipped(monkeypatch):
    class Missing(peers.Haraka):
        def version(self):
            raise systems.Unavailable("no Node.js here")

    monkeypatch.setattr(peers, "ALL", {"Haraka": Missing(), "uvloop floor": peers.Floor()})
    said = []
    available, versions, missing = bench.find_peers(bench.arguments(["--no-install"]), said.append)
    assert list(available) == ["uvloop floor"] and len(versions) == 1 and missing == [("Haraka", "no Node.js here")]
    assert said == ["skipping Haraka: no Node.js here"]


def found():
    """Figures as a run leaves them: our own cost twice those of the floor."""
    made = figures.Figures()
    for shape, *_ in messages.SHAPES:
        for mode in ("discard", "proxy"):
            for name, value in (("uvloop floor", 100.0), ("Mailfilter", 150.0), ("Haraka", 900.0), ("a & b <c>", 20_000.0)):
                figure = made.of(messages.label(mode, shape), name)
                figure.values += [value, value * 1.1, value * 0.9]
                figure.per_second.append(1000.0)
                figure.load_us.append(30.0)
                figure.latency.append((1.0, 2.0, 3.0))
    made.of("never taken", "Mailfilter")
    return made


def test_ratios_are_those_of_the_rounds():
    made = found()
    assert made.ratio(targets.PROXY, "Haraka") == pytest.approx(6.0)
    assert made.ratio(targets.PROXY, "Mailfilter", "uvloop floor") == pytest.approx(1.5)
    assert made.ratio("never taken", "Mailfilter") is None and made.get("never taken") is None
    head, rows = report.workloads(made)
    assert all(len(row) == len(head) for row in rows) and len(rows) == 4 * 2 * len(messages.SHAPES)
    assert rows[1][:4] == ["", "Mailfilter", "150 µs", "1.00"] and rows[1][6] == "1.00 / 2.00 / 3.00 ms"


def test_targets_are_met_or_missed():
    rows = {row[0]: row[1:] for row in targets.rows(found())}
    assert rows["lock-step proxy, one message per connection"] == ["≤ 250 µs", "150 µs", "met"]
    assert rows["proxy, one per connection: Haraka beside it"] == ["≥ 5 ×", "6.00 ×", "met"]
    assert rows["discard, one message per connection"] == ["≤ 120 µs", "150 µs", "missed"]
    assert not any("idle connection" in what for what in rows)       # what was not measured has no line


def test_the_picture_is_well_formed():
    made = found()
    drawing = picture.draw(made, ["first & <line>", "second"])
    root = ElementTree.fromstring(drawing)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "first & <line>" in texts and "a & b <c>" in texts and "never taken" not in texts
    assert texts.count("Mailfilter") == 1 + 2 * len(messages.SHAPES)     # the legend, and once in every panel
    assert "prefers-color-scheme:dark" in drawing
    height = int(root.get("height"))
    assert all(0 <= float(element.get("y")) < height for element in root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_load_that_is_not_answered_as_it_should_be_fails():
    with systems.canned("floor", "discard") as taking, systems.canned("floor", "refuse-rcpt") as refusing:
        assert talk.play(taking.port, "message", 7, at_once=3, kept=True).messages == 9
        assert talk.play(refusing.port, "rcpt", 5).messages == 5
        assert len(talk.play(taking.port, "hello", 4, rate=1000.0, timed=True).seconds) == 4
        for port, kind in ((refusing.port, "message"), (taking.port, "rcpt"), (taking.port, "connect"), (taking.port, "data")):
            with pytest.raises(talk.LoadFailed):
                talk.play(port, kind, 3)


@needs_postfix
def test_admission_is_measured():
    done = run("-m", "bench.admission", "--quick")
    assert done.returncode == 0, done.stderr
    for row in ("mailfilter, refused: connections of the address", "beside 100 slow clients", "100 × 421 4.4.2"):
        assert row in done.stdout, row


def test_a_missing_program_is_named():
    done = run("-c", "from bench import systems, __main__ as m; systems.SMTP_SINK = None; raise SystemExit(m.main([]))")
    assert done.returncode == 2
    assert "smtp-sink" in done.stderr and "apt-get install postfix" in done.stderr


def test_results_are_appended_and_what_is_there_stays(tmp_path):
    file = tmp_path / "results.md"
    code = ("import sys, pathlib; from bench import report\n"
            "report.record('first line\\nsecond\\n\\n| a |\\n| - |', pathlib.Path(sys.argv[1]))")
    assert run("-c", code, str(file)).returncode == 0
    first = file.read_text()
    assert "## first line\n\n- second\n\n| a |\n| - |\n" in first
    assert run("-c", code, str(file)).returncode == 0
    assert file.read_text().startswith(first) and file.read_text().count("## first line") == 2


def test_the_core_alone_is_timed():
    done = run("-m", "bench.parse", "--quick")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 8 and all(line.rsplit(" ", 1)[1] in ("ns", "µs", "GB/s") for line in lines)


def test_the_engine_is_measured():
    done = run("-m", "bench.engine", "--quick")
    assert done.returncode == 0, done.stderr
    for row in ("a heap by copying, small", "a heap by copying, long", "call of smtpRcpt", "resume + yield", "sleep, wake",
                "connections held, each after EHLO, at once", "idle", "rise of p99"):
        assert f"| {row}" in done.stdout or row in done.stdout, row
