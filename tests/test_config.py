"""Limits, timeouts and settings: what texts mean, and what is refused with which words."""
import dataclasses

import pytest

from mailfilter import config
from mailfilter.config import Limits, Settings, Timeouts
from mailfilter.errors import ConfigError


@pytest.mark.parametrize("text, number", [
    ("0", 0), ("1000", 1000), ("64k", 65536), ("64K", 65536), ("50m", 50 << 20), ("1g", 1 << 30), ("2MiB", 2 << 20),
    ("1 kb", 1024), (" 7 ", 7), (12, 12), (12.0, 12)])
def test_sizes(text, number):
    assert config.parse_size(text) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5", "0x10", "1e3", "1t", "١", "many", None, True, -1, 1.5, [], {},
                                  float("nan"), float("inf"), "9" * 30])
def test_sizes_that_are_refused(text):
    with pytest.raises(ConfigError):
        config.parse_size(text)


@pytest.mark.parametrize("text, seconds", [
    ("300", 300), ("1.5", 1.5), (".5", .5), ("500ms", .5), ("30s", 30), ("5m", 300), ("5min", 300), ("2h", 7200),
    (" 1 s ", 1), (10, 10), (0.25, 0.25)])
def test_durations(text, seconds):
    assert config.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "1d", "1e3", "inf", "nan", "soon", "999999h", None, False, 0,
                                  -1, float("nan"), float("inf"), []])
def test_durations_that_are_refused(text):
    with pytest.raises(ConfigError):
        config.parse_duration(text)


def test_defaults_are_what_rfc_5321_asks_for():
    """RFC 5321 §4.5.3.2: the least a client has to wait; §4.5.3.1: the least a server has to take."""
    timeouts, limits = Timeouts(), Limits()
    assert timeouts.greeting >= 300 and timeouts.mail >= 300 and timeouts.rcpt >= 300 and timeouts.data >= 120
    assert timeouts.data_block >= 180 and timeouts.data_end >= 600 and timeouts.command >= 300
    # Our own waiting has to end before the client's does.
    assert timeouts.handler < 300 and timeouts.message_handler < 600
    assert limits.line_bytes >= 512 and limits.recipients >= 100 and limits.message_bytes >= 64 << 10


def test_replacing_makes_a_copy():
    before = Limits()
    after = before.replaced({"recipients": "5", "message_bytes": "1m"}, "--limit")
    assert (after.recipients, after.message_bytes) == (5, 1 << 20)
    assert before == Limits() and after.errors == before.errors
    assert before.replaced(None, "x") is before and before.replaced({}, "x") is before


@pytest.mark.parametrize("kind, values, words", [
    (Limits, {"recipient": 5}, ["--x: there is no limit 'recipient'", "recipients"]),
    (Timeouts, {"nope": 5}, ["--x: there is no timeout 'nope'", "command"]),
    (Limits, {"recipients": "many"}, ["--x recipients: 'many' is not a whole number"]),
    (Limits, {"recipients": 0}, ["--x recipients: 0 is too small; at least 1"]),
    (Limits, {"line_bytes": 100}, ["--x line_bytes: 100 is too small; at least 512"]),
    (Timeouts, {"command": "soon"}, ["--x command: 'soon' is not a number of seconds"]),
])
def test_what_is_wrong_is_said_with_its_source(kind, values, words):
    with pytest.raises(ConfigError) as failure:
        kind().replaced(values, "--x")
    for word in words:
        assert word in str(failure.value)


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda field: field.name)
def test_every_limit_has_a_least_value_that_can_be_set(field):
    least = config._LEAST[field.name]
    assert getattr(Limits().replaced({field.name: least}, "x"), field.name) == least
    if least:
        with pytest.raises(ConfigError):
            Limits().replaced({field.name: least - 1}, "x")


def test_numbers_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().recipients = 5


def test_assignments():
    assert config.assignments(["a=1", "b=", "c=x=y", " d =z", "a=2"], "--set") == {
        "a": "2", "b": "", "c": "x=y", "d": "z"}
    assert config.assignments(None, "--set") == {}


@pytest.mark.parametrize("text", ["a", "=1", " =1", ""])
def test_assignments_that_are_refused(text):
    with pytest.raises(ConfigError, match="--set .*expected NAME=VALUE"):
        config.assignments([text], "--set")


ENVIRONMENT = {"MAILFILTER_NEXTHOP": "1.2.3.4:25", "MAILFILTER_MAX_SIZE": "7", "MAILFILTER_": "x", "PATH": "/bin",
               "MAILFILTERX": "x"}


def test_settings_come_from_the_command_line_then_the_environment():
    settings = Settings({"nextHop": "5.6.7.8:25"}, ENVIRONMENT)
    assert settings["nextHop"] == "5.6.7.8:25"
    assert settings["maxSize"] == settings["max_size"] == settings["MAXSIZE"] == "7"
    assert list(settings) == ["nextHop", "maxsize"] and len(settings) == 2
    assert settings.get("PATH") is None and settings.get("") is None
    assert "nextHop" in settings and "domains" not in settings


def test_names_of_the_command_line_match_exactly():
    assert Settings({"nextHop": "x"}, {}).get("nexthop") is None


@pytest.mark.parametrize("variable", ["MAILFILTER_NEXTHOP", "MAILFILTER_NEXT_HOP", "MAILFILTER_nextHop"])
def test_the_spellings_of_a_variable(variable):
    assert Settings({}, {variable: "x"})["nextHop"] == "x"


def test_settings_do_not_show_values_in_tracebacks():
    assert "secret" not in repr(Settings({"password": "secret"}, {}))


def test_the_environment_is_the_process_s_own(monkeypatch):
    monkeypatch.setenv("MAILFILTER_DOMAINS", "example.org")
    assert Settings()["domains"] == "example.org"


def test_settings_of_files(tmp_path):
    file = tmp_path / "value"
    file.write_bytes(b"\n one \xff\n two\r\n")
    settings = Settings({"x": "1"}, {"MAILFILTER_SECRET": "no"}, {"secret": file})
    assert settings["secret"] == "one \udcff\n two" and settings["x"] == "1"
    assert sorted(settings) == ["secret", "x"]
    file.write_text("newer")
    assert settings["secret"] != "newer"
    settings.read()
    assert settings["secret"] == "newer" and settings.of_files == {"secret": "newer"}
    settings.take({"secret": "newest"})
    assert settings["secret"] == "newest"
    file.write_bytes(b"x" * (1 << 20) + b"x")
    with pytest.raises(ConfigError, match="more than 1048576 characters"):
        settings.read()
    file.unlink()
    with pytest.raises(ConfigError, match="--set-file secret=.*No such file"):
        settings.read()
    assert settings["secret"] == "newest"
