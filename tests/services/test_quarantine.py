"""services/quarantine.py: what is held is whole and there, or it is not held."""
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mailfilter.services import quarantine as module
from mailfilter.services.quarantine import (
    NoSuchMessage,
    Quarantine,
    QuarantineBusy,
    QuarantineDenied,
    QuarantineError,
    QuarantineFull,
)

MESSAGE = b"Subject: x\r\n\r\n.\r\nbody\r\n"
ENVELOPE = {"sender": {"path": "<a@example.net>", "parameters": {}}, "subject": "x\udcff"}


@pytest.fixture(autouse=True)
def nothing_looked_at():
    module._looked_at.clear()


@pytest.fixture
def store(tmp_path):
    return Quarantine(tmp_path / "held")


def hold(store, message=MESSAGE, **options):
    return store.hold(ENVELOPE, [message[:3], message[3:]], len(message), **options)


def names(store):
    return sorted(os.listdir(store.path))


def usage(store):
    return [int(word) for word in (Path(store.path) / "usage").read_text().split()[:2]]


def there(store):
    """(octets, messages) that the directory really has."""
    sizes = [path.stat().st_size for path in Path(store.path).glob("*.mail")]
    return [sum(sizes), len(sizes)]


def test_held_and_found(store):
    name = hold(store)
    assert names(store) == sorted([f"{name}.mail", "tmp", "usage"]) and os.listdir(Path(store.path) / "tmp") == []
    assert os.stat(store.path).st_mode & 0o777 == 0o700
    (entry,) = store.entries()
    assert entry.id == name and entry.problem is None
    assert {**ENVELOPE, "id": name, "size": len(MESSAGE), "time": entry.envelope["time"]} == entry.envelope
    assert (Path(store.path) / f"{name}.mail").read_bytes().partition(b"\n")[2] == MESSAGE
    with store.taken(name) as held:
        assert b"".join(held.chunks(5)) == MESSAGE and held.size == len(MESSAGE) and held.entry == entry
    assert usage(store) == there(store)


def test_the_oldest_first(tmp_path):
    times = iter(range(1000, 2000))
    store = Quarantine(tmp_path / "held", now=lambda: next(times))
    held = [hold(store) for _ in range(5)]
    assert [entry.id for entry in store.entries()] == held


def test_names_may_be_shortened(store):
    first, second = hold(store), hold(store)
    short = next(first[:n] for n in range(1, 11) if not second.startswith(first[:n]))
    assert store.find(short) == store.find(first.upper()) == first
    common = os.path.commonprefix([first, second])
    if common:
        with pytest.raises(NoSuchMessage, match="may be"):
            store.find(common)
    for wrong in ("", "../x", "u", first + "0", "zzzzzzzzzz"):
        with pytest.raises(NoSuchMessage):
            store.find(wrong)


def test_too_many_and_too_much(store):
    first = hold(store, most_messages=2)
    hold(store, most_messages=2)
    with pytest.raises(QuarantineFull, match="quarantine_messages of 2") as caught:
        hold(store, most_messages=2)
    assert caught.value.limit == "quarantine_messages"
    with pytest.raises(QuarantineFull, match="quarantine_bytes") as caught:
        hold(store, most_bytes=there(store)[0] + 10)
    assert caught.value.limit == "quarantine_bytes" and len(store.entries()) == 2 and usage(store) == there(store)
    with store.taken(first) as held:
        held.remove()
    hold(store, most_messages=2)
    assert usage(store) == there(store)


def test_a_wrong_count_is_counted_again(tmp_path):
    now = [1000.0]
    store = Quarantine(tmp_path / "held", now=lambda: now[0])
    hold(store)
    (Path(store.path) / "usage").write_text("99999999 100 1000.0\n")
    with pytest.raises(QuarantineFull):
        hold(store, most_messages=100)
    now[0] += module.COUNT_AGAIN_S
    hold(store, most_messages=100)
    assert usage(store) == there(store)
    for spoilt in ("", "nonsense", "1 2"):
        (Path(store.path) / "usage").write_text(spoilt)
        hold(store, most_messages=100)
        assert usage(store) == there(store)


def test_what_is_being_written_counts(store):
    hold(store)
    (Path(store.path) / "tmp" / "0000000000.5000").write_bytes(b"x")
    (Path(store.path) / "usage").unlink()
    with pytest.raises(QuarantineFull):
        hold(store, most_bytes=5000)


@pytest.mark.parametrize(("number", "kind"), [
    (errno.ENOSPC, QuarantineFull), (errno.EDQUOT, QuarantineFull), (errno.EFBIG, QuarantineFull),
    (errno.EACCES, QuarantineDenied), (errno.EROFS, QuarantineDenied), (errno.EIO, QuarantineError)])
@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_errors_are_typed_and_leave_nothing(store, monkeypatch, call, number, kind):
    hold(store)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(QuarantineError) as caught:
        hold(store)
    monkeypatch.undo()
    assert type(caught.value) is kind and caught.value.errno == number
    assert len(store.entries()) == 1 and os.listdir(Path(store.path) / "tmp") == [] and usage(store) == there(store)


def test_chunks_that_fail_or_are_too_few(store):
    def chunks():
        yield b"x" * 300000
        raise OSError(errno.EIO, "the spool cannot be read")
    with pytest.raises(OSError, match="the spool"):
        store.hold(ENVELOPE, chunks(), 400000)
    with pytest.raises(QuarantineError, match="not as long"):
        store.hold(ENVELOPE, [b"abc"], 4)
    assert store.entries() == [] and usage(store) == [0, 0]


def test_only_the_last_directory_is_made(tmp_path):
    with pytest.raises(QuarantineError) as caught:
        hold(Quarantine(tmp_path / "missing" / "held"))
    assert caught.value.errno == errno.ENOENT and not (tmp_path / "missing").exists()


def test_an_envelope_that_is_too_long(store, monkeypatch):
    monkeypatch.setattr(module, "ENVELOPE_BYTES", 50)
    with pytest.raises(QuarantineError, match="too long"):
        hold(store)


def test_old_ones_go(tmp_path):
    now = [1e9]
    store = Quarantine(tmp_path / "held", now=lambda: now[0])
    old, young = hold(store), hold(store)
    os.utime(Path(store.path) / f"{old}.mail", (0, 1e9 - 86400 * 31))
    os.utime(Path(store.path) / f"{young}.mail", (0, 1e9))
    assert store.older(1e9 - 86400 * 30) == [old]
    now[0] += module.EXPIRE_EVERY_S
    new = hold(store, days=30)
    assert store.expired == [old]
    assert {entry.id for entry in store.entries()} == {young, new} and usage(store) == there(store)


def test_old_ones_that_are_being_released_stay(store):
    name = hold(store)
    with store.taken(name):
        assert store.expire(1e12) == []
    assert store.expire(1e12) == [name]


def test_one_at_a_time(store):
    name = hold(store)
    with store.taken(name) as held:
        with pytest.raises(QuarantineBusy), store.taken(name):
            pass
        waiting = open(Path(store.path) / f"{name}.mail", "rb")     # opened before it goes
        held.remove()
        waiting.close()
    with pytest.raises(NoSuchMessage), store.taken(name):
        pass
    assert names(store) == ["tmp", "usage"] and usage(store) == [0, 0]


def test_who_has_it_already(store):
    name = hold(store)
    with store.taken(name) as held:
        assert held.done() == {}
        held.note({"<a@b>": "250 ok"})
        with open(Path(store.path) / f"{name}.done", "ab") as file:
            file.write(b'["<torn')
        held.note({"<c@d>": "250 ok", "<e@f>": "250 2.1.5"})
        assert held.done() == {"<a@b>": "250 ok", "<c@d>": "250 ok", "<e@f>": "250 2.1.5"}
        held.remove()
    assert names(store) == ["tmp", "usage"]


def test_spoilt_files_are_told(store):
    name = hold(store)
    path = Path(store.path) / f"{name}.mail"
    path.write_bytes(path.read_bytes()[:-1])
    (Path(store.path) / "1111111111.mail").write_bytes(b"no envelope")
    (Path(store.path) / "2222222222.mail").symlink_to("/etc/passwd")
    problems = {entry.id: entry.problem for entry in store.entries()}
    assert "not as long" in problems[name] and "no envelope" in problems["1111111111"] and problems["2222222222"]


def test_a_directory_that_is_not_there(tmp_path):
    for act in (lambda store: store.entries(), lambda store: store.find("0"), lambda store: store.older(1)):
        with pytest.raises(QuarantineError):
            act(Quarantine(tmp_path / "none"))


def run_python(code, *arguments):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True,
                          timeout=50)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["write", "fsync", "link", "unlink"])
def test_killed_at_any_step(store, call, when):
    """What a kill -9 leaves is whole or litter in tmp/, and counted too much at most."""
    hold(store)
    done = run_python("""
        import os, signal, sys
        from mailfilter.services.quarantine import Quarantine
        path, call, when = sys.argv[1:]
        real = getattr(os, call)
        def fatal(*arguments, **options):
            if when == "after":
                real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(os, call, fatal)
        Quarantine(path).hold({}, [b"line\\r\\n" * 100000], 600000)
    """, store.path, call, when)
    assert done.returncode == -signal.SIGKILL, done.stderr
    entries = store.entries()
    assert [entry.problem for entry in entries] == [None] * len(entries)
    assert len(entries) == (2 if call == "unlink" or (call, when) == ("link", "after") else 1)
    assert all(ours >= real for ours, real in zip(usage(store), there(store), strict=True))
    hold(store)


def test_many_writers_keep_within_the_limit(store):
    hold(store)
    code = """
        import sys
        from mailfilter.services.quarantine import Quarantine, QuarantineFull
        store, held = Quarantine(sys.argv[1]), 0
        for _ in range(20):
            try:
                store.hold({}, [b"x" * 100], 100, most_messages=25)
                held += 1
            except QuarantineFull:
                pass
        print(held)
    """
    writers = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), store.path], stdout=subprocess.PIPE)
               for _ in range(3)]
    held = [int(writer.communicate(timeout=50)[0]) for writer in writers]
    assert sum(held) == 24 and len(store.entries()) == 25 and usage(store) == there(store)


@pytest.mark.root
def test_what_root_makes_belongs_to_the_owner_of_the_directory(store):
    name = hold(store)
    (Path(store.path) / "usage").unlink()
    os.chown(store.path, 12345, 12345)
    with store.taken(name) as held:
        held.note({"<a@b>": "250"})
    hold(store)
    assert os.stat(Path(store.path) / "usage").st_uid == os.stat(Path(store.path) / f"{name}.done").st_uid == 12345


def test_the_line_is_json_for_everybody(store):
    name = hold(store)
    line = (Path(store.path) / f"{name}.mail").read_bytes().partition(b"\n")[0]
    assert line.isascii() and json.loads(line)["id"] == name
