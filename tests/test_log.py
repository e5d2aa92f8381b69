"""The log: one line per event whatever is in it, as text, as JSON and to syslog."""
import json
import os
import re
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter import log as logs
from mailfilter.log import escape


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.events = []

    def emit(self, *event):
        self.events.append(event)


@pytest.fixture
def pipe():
    """(reading end, writing end), closed at the end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def written(pipe, sink_class, *event):
    """What a sink of this class writes for one event."""
    sink_class(pipe[1]).emit(*event)
    return os.read(pipe[0], 1 << 20).decode()


@pytest.mark.parametrize("value, text", [
    ("plain text, with blanks", "plain text, with blanks"),
    ("Grüße 日本", "Grüße 日本"),
    (b"bytes", "bytes"),
    ("Grüße".encode(), "Grüße"),
    (b"\x93\xfa\x96{", "\\x93\\xfa\\x96{"),
    ("\udc93\udcfa", "\\x93\\xfa"),
    ("\ud800", "\\ud800"),
    ("a\r\nb", "a\\x0d\\x0ab"),
    ("tab\there", "tab\\x09here"),
    ("\x00\x1b[31m\x7f\x85", "\\x00\\x1b[31m\\x7f\\x85"),
    ("\u2028\u2029", "\\u2028\\u2029"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("back\\slash", "back\\\\slash"),
    (17, "17"),
    (None, "None"),
    (bytearray(b"x\n"), "x\\x0a"),
    (memoryview(b"x\n"), "x\\x0a"),
])
def test_escaping(value, text):
    assert escape(value) == text


@given(st.one_of(st.binary(), st.text(st.characters(exclude_categories=[]))))
def test_escaped_text_is_printable_and_one_line(value):
    text = escape(value)
    assert len(text.splitlines()) <= 1
    assert text.encode("utf-8").decode("utf-8") == text
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)


@given(st.binary(max_size=300))
def test_escaping_loses_nothing(value):
    """Octets can be had back from the log, for whoever has to find out what a client really sent."""
    units = re.findall(r"\\\\|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|[^\\]", escape(value))
    back = b"".join(
        b"\\" if unit == "\\\\" else
        bytes.fromhex(unit[2:]) if unit.startswith("\\x") and int(unit[2:], 16) not in range(0x80, 0xA0) else
        unit.encode() if not unit.startswith("\\") else unit.encode() for unit in units)
    # C1 controls and the marks above U+FF are named by code point instead of octets; they are left out here.
    if not re.search("[\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", value.decode("utf-8", "surrogateescape")) \
            and not any(0x80 <= octet < 0xA0 for octet in value):
        assert back == value


def test_a_long_value_is_cut():
    assert escape("x" * 5000) == "x" * logs.VALUE_CHARS + "..."
    assert escape(b"x" * 5000) == "x" * logs.VALUE_CHARS + "..."
    assert escape(b"x" * logs.VALUE_CHARS) == "x" * logs.VALUE_CHARS


@pytest.mark.parametrize("name, number", [
    ("emergency", 0), ("info", 6), ("INFO", 6), ("warn", 4), ("warning", 4), ("err", 3), ("0", 0), ("7", 7),
    ("8", None), ("", None), ("loud", None), ("-1", None), ("12", None)])
def test_names_of_severities(name, number):
    assert logs.severity_named(name) == number


@pytest.mark.parametrize("number, name", [
    (0, "emergency"), (3, "error"), (7, "debug"), (-5, "emergency"), (99, "debug")])
def test_severities_outside_the_range_count_as_the_nearest(number, name):
    assert logs.severity_name(number) == name


def test_the_readable_line(pipe):
    line = written(pipe, logs.TextSink, logs.INFO, "3F2K-17", "mail accepted", {
        "sender": b"<a@b.example>", "why": "no reason", "empty": "", "quoted": 'say "x"', "sum": "a=b", "bytes": 12})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info 3F2K-17 mail accepted sender=<a@b\.example> "
        r'why="no reason" empty="" quoted="say \\"x\\"" sum="a=b" bytes=12\n', line)


def test_a_client_cannot_forge_a_line(pipe):
    """D24: untrusted text was not escaped."""
    forged = b"x\r\n2026-01-01T00:00:00.000Z error - forged\n"
    line = written(pipe, logs.TextSink, logs.INFO, "A-1", forged, {"name": forged})
    assert line.count("\n") == 1 and "\r" not in line and line.endswith("\n")


def test_the_json_line(pipe):
    line = written(pipe, logs.JsonSink, logs.WARNING, "A-1", b"odd \xff\n", {
        "count": 3, "ratio": 0.5, "yes": True, "none": None, "path": b"<\xfe>", "time": "forged",
        "lone": "\ud800", "infinite": float("inf")})
    event = json.loads(line, parse_constant=pytest.fail)
    assert line.count("\n") == 1
    assert list(event)[:4] == ["time", "level", "session", "text"]
    assert event["time"] != "forged" and event["level"] == "warning" and event["session"] == "A-1"
    assert event["text"] == "odd \\xff\n"
    assert {name: event[name] for name in ("count", "ratio", "yes", "none", "path", "lone", "infinite")} == {
        "count": 3, "ratio": 0.5, "yes": True, "none": None, "path": "<\\xfe>", "lone": "\\ud800", "infinite": "inf"}


@given(st.text(st.characters(exclude_categories=[])), st.dictionaries(st.sampled_from("abc"), st.binary()))
def test_json_is_one_line_that_strict_readers_take(text, fields):
    reading, writing = os.pipe()
    try:
        line = written((reading, writing), logs.JsonSink, logs.INFO, "A-1", text, fields)
    finally:
        os.close(reading)
        os.close(writing)
    assert line.count("\n") == 1
    json.loads(line)["text"].encode("utf-8")


def test_the_clock_keeps_up(monkeypatch):
    clock = logs._Clock()
    for now, stamp in [(0.0, "1970-01-01T00:00:00.000Z"), (0.9999, "1970-01-01T00:00:00.999Z"),
                       (1.25, "1970-01-01T00:00:01.250Z"), (86400.5, "1970-01-02T00:00:00.500Z")]:
        monkeypatch.setattr(logs.time, "time", lambda now=now: now)
        assert clock.stamp() == stamp


def test_the_level_filters():
    kept = Kept()
    log = logs.Log(kept, logs.WARNING)
    log.write(logs.INFO, "A-1", "not written")
    log.write(logs.WARNING, "A-1", "written", a=1)
    assert kept.events == [(4, "A-1", "written", {"a": 1})]
    assert log.enabled(logs.WARNING) and not log.enabled(logs.NOTICE)


def test_a_closed_log_costs_lines_and_nothing_else(pipe):
    sink = logs.TextSink(pipe[1])
    os.close(pipe[0])
    for _ in range(3):
        sink.emit(logs.INFO, "-", "lost", {})
    assert sink.lost_lines == 3


def test_a_full_log_loses_lines_and_says_so_later(pipe, monkeypatch):
    """Nobody reads for a while: whoever logs waits a little and goes on; then the count is told."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    monkeypatch.setattr(logs.TextSink, "PATIENCE_MS", 1)
    sink = logs.TextSink(writing)
    text = "x" * 4000
    while not sink.lost_lines:
        sink.emit(logs.INFO, "-", text, {})
    sink.emit(logs.INFO, "-", text, {})
    assert sink.lost_lines >= 1
    lost = sink.lost_lines
    os.set_blocking(reading, False)
    try:
        while os.read(reading, 1 << 16):
            pass
    except BlockingIOError:
        pass
    sink.emit(logs.INFO, "-", "after", {})
    lines = os.read(reading, 1 << 16).decode().splitlines()
    assert f"warning - {lost} log lines were lost" in lines[-2]
    assert lines[-1].endswith("info - after")
    assert sink.lost_lines == 0


def test_a_line_that_was_cut_off_does_not_run_into_the_next(pipe, monkeypatch):
    """Lines longer than a pipe takes at once may be written in part."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    monkeypatch.setattr(logs.TextSink, "PATIENCE_MS", 1)
    sink = logs.TextSink(writing)
    fields = dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "x" * 4000)
    sink.emit(logs.INFO, "-", "cut", fields)
    assert sink.lost_lines == 1
    sink.emit(logs.INFO, "-", "cut again", fields)
    got = os.read(reading, 1 << 20)
    sink.emit(logs.INFO, "-", "after", {})
    lines = (got + os.read(reading, 1 << 20)).decode().splitlines()
    assert " info - cut " in lines[0] and lines[0].endswith("x")
    assert "2 log lines were lost" in lines[-2] and lines[-1].endswith("info - after")


def test_a_slow_reader_gets_whole_lines(pipe):
    reading, writing = pipe
    os.set_blocking(writing, False)
    sink = logs.TextSink(writing)
    got = []

    def read():
        while chunk := os.read(reading, 1000):
            got.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        sink.emit(logs.INFO, f"A-{number}", "x" * 1000, {})
    os.close(writing)
    reader.join(10)
    lines = b"".join(got).decode().splitlines()
    assert [line.split()[2] for line in lines] == [f"A-{number}" for number in range(200)]
    assert sink.lost_lines == 0


@pytest.fixture
def fake_syslog(monkeypatch):
    """Stands in for the C library; keeps (opened, lines)."""
    opened, lines = [], []
    monkeypatch.setattr(logs.syslog, "openlog", lambda *arguments: opened.append(arguments))
    monkeypatch.setattr(logs.syslog, "syslog", lambda *arguments: lines.append(arguments))
    return opened, lines


def test_syslog(fake_syslog, monkeypatch):
    opened, lines = fake_syslog
    monkeypatch.setattr(logs.os.path, "exists", lambda path: True)
    log = logs.Log(Kept())
    log.openlog("my filter", 184)
    log.write(logs.NOTICE, "A-1", "100 %s\n", name="a b")
    log.sink.emit(99, "A-1", "odd severity", {})
    assert opened == [("my filter", logs.syslog.LOG_PID, 184)]
    assert lines == [(5, 'A-1 100 %s\\x0a name="a b"'), (7, "A-1 odd severity")]


def test_d17_the_ident_stays_what_it_was(fake_syslog, monkeypatch):
    """D17: the ident was a string that had been freed. The opened log holds its own."""
    opened, _ = fake_syslog
    monkeypatch.setattr(logs.os.path, "exists", lambda path: True)
    logs.Log(Kept()).openlog("nul\0inside", 16)
    assert opened == [("nul\\x00inside", logs.syslog.LOG_PID, 16)]


def test_without_a_system_log_lines_go_on_where_they_went(fake_syslog, monkeypatch):
    opened, lines = fake_syslog
    monkeypatch.setattr(logs.os.path, "exists", lambda path: False)
    kept = Kept()
    log = logs.Log(kept)
    log.openlog()
    log.write(logs.INFO, "A-1", "still here")
    assert not opened and not lines
    assert "no system log" in kept.events[0][2] and kept.events[1][2] == "still here"


def test_a_filtered_line_costs_little():
    """Debug lines are written at every command; nearly always they are filtered out."""
    log = logs.Log(None, logs.INFO)
    before = sys.getallocatedblocks()
    for _ in range(1000):
        log.write(logs.DEBUG, "A-1", b"text", a=1)
    assert sys.getallocatedblocks() - before < 100
