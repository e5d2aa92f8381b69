"""The benchmarks run, and print what they promise. For existence, not for speed."""
import shutil
import subprocess
import sys

import pytest
from serving import PROJECT

SBIN = "/usr/sbin:/usr/bin:/bin"

needs_postfix = pytest.mark.skipif(not shutil.which("smtp-source", path=SBIN),
                                   reason="smtp-source is not installed (Debian package postfix)")


def run(*words):
    return subprocess.run([sys.executable, *words], cwd=PROJECT, check=False, capture_output=True, text=True, timeout=55)


@needs_postfix
def test_the_table_has_every_system_and_load():
    done = run("-m", "bench", "--quick")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "smtp-sink", "canned discard", "mailfilter discard", "canned proxy", "mailfilter proxy"]
    assert len({row.count("|") for row in rows}) == 1
    assert "× floor" in rows[4] and "× sink" in rows[4] and "× floor" in rows[6]
    for word in ("commit", "Python", "uvloop", "Postfix", "cores"):
        assert word in done.stdout.partition("| ")[0]


@needs_postfix
def test_admission_is_measured():
    done = run("-m", "bench.admission", "--quick")
    assert done.returncode == 0, done.stderr
    for row in ("mailfilter, refused: connections of the address", "beside 100 slow clients", "100 × 421 4.4.2"):
        assert row in done.stdout, row


def test_a_missing_program_is_named():
    done = run("-c", "from bench import systems, __main__ as m; systems.SMTP_SOURCE = None; raise SystemExit(m.main([]))")
    assert done.returncode == 2
    assert "smtp-source" in done.stderr and "apt-get install postfix" in done.stderr


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
