"""services/maildir.py: whole messages or nothing, whatever happens when."""
import errno
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mailfilter.errors import MailfilterError, ServiceUnavailable
from mailfilter.services import maildir as module
from mailfilter.services.maildir import (
    STALE_S,
    FolderNameRefused,
    Maildir,
    MaildirDenied,
    MaildirError,
    MaildirFull,
)

MESSAGE = b"Subject: one\r\n\r\nline\r\n.dot\r\n"
STORED = b"Subject: one\n\nline\n.dot\n"


@pytest.fixture(autouse=True)
def _nothing_cleaned_yet():
    module._cleaned.clear()


@pytest.fixture
def box(tmp_path):
    return Maildir(tmp_path / "Maildir")


def files(box, part, folder=None):
    base = Path(box.path if folder is None else box.folder_directory(folder))
    return sorted((base / part).iterdir())


def nothing_left(box):
    return not Path(box.path).exists() or files(box, "tmp") == files(box, "new") == files(box, "cur") == []


def test_a_message_lies_in_new_and_nowhere_else(box):
    delivered = box.deliver([MESSAGE])
    assert files(box, "new") == [Path(delivered.path)]
    assert delivered.name == Path(delivered.path).name
    assert Path(delivered.path).read_bytes() == STORED
    assert delivered.size_bytes == len(STORED)
    assert files(box, "tmp") == files(box, "cur") == []


def test_with_crlf_a_message_is_kept_octet_for_octet(tmp_path):
    box = Maildir(tmp_path / "Maildir", line_ends="crlf")
    delivered = box.deliver([MESSAGE])
    assert Path(delivered.path).read_bytes() == MESSAGE
    assert delivered.size_bytes == len(MESSAGE)


def test_other_line_ends_do_not_exist(tmp_path):
    with pytest.raises(ValueError):
        Maildir(tmp_path, line_ends="cr")


@pytest.mark.parametrize("message", [
    b"", b"\r\n", b"\r\n\r\n", b"a\r\n", b"\r", b"\r\r\n", b"a\rb\r\n", b"\0\r\n\xff\x80\0\r\n",
    b"x" * 300000 + b"\r\n",
])
def test_chunk_borders_make_no_difference(box, message):
    wanted = message.replace(b"\r\n", b"\n")
    whole = box.deliver([message])
    assert Path(whole.path).read_bytes() == wanted
    if len(message) < 1000:
        bytewise = box.deliver(message[i:i + 1] for i in range(len(message)))
        assert Path(bytewise.path).read_bytes() == wanted
        with_gaps = box.deliver([b"", *(message[i:i + 1] for i in range(len(message))), b""])
        assert Path(with_gaps.path).read_bytes() == wanted


def test_names_are_unique_and_carry_the_sizes(tmp_path):
    box = Maildir(tmp_path / "Maildir", hostname="host/with:odd,name", now=lambda: 1700000000.25)
    names = {Path(box.deliver([MESSAGE]).path).name for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert re.fullmatch(
            rf"1700000000\.M250000P{os.getpid()}Q\d+R[0-9a-f]{{8}}\.host\\057with\\072odd_name"
            rf",S={len(STORED)},W={len(MESSAGE)}", name)


def test_a_name_that_is_taken_is_not_taken_again(box, monkeypatch):
    taken = iter(["same", "same", "same", "other"])
    monkeypatch.setattr(box, "_unique_name", lambda: next(taken))
    box.create()
    (Path(box.path) / "tmp" / "same").write_bytes(b"of another writer")
    delivered = box.deliver([MESSAGE])
    assert Path(delivered.path).name.startswith("other,")
    assert (Path(box.path) / "tmp" / "same").read_bytes() == b"of another writer"


def test_a_message_in_new_is_never_replaced(box, monkeypatch):
    monkeypatch.setattr(box, "_unique_name", lambda: "same")
    first = box.deliver([MESSAGE])
    with pytest.raises(MaildirError) as caught:
        box.deliver([MESSAGE.replace(b"one", b"two")])
    assert caught.value.errno == errno.EEXIST
    assert Path(first.path).read_bytes() == STORED
    assert files(box, "tmp") == []


def test_permissions_whatever_the_umask(box):
    before = os.umask(0)
    try:
        delivered = box.deliver([MESSAGE], folder="Junk")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(delivered.path).st_mode) == 0o600
    for directory in (box.path, box.folder_directory("Junk")):
        for part in ("", "tmp", "new", "cur"):
            assert stat.S_IMODE(os.stat(os.path.join(directory, part)).st_mode) == 0o700


def test_only_the_last_directory_is_made(tmp_path):
    box = Maildir(tmp_path / "missing" / "Maildir")
    with pytest.raises(MaildirError) as caught:
        box.deliver([MESSAGE])
    assert caught.value.errno == errno.ENOENT
    assert not (tmp_path / "missing").exists()


# Folders

@pytest.mark.parametrize(("folder", "directory"), [
    ("Junk", ".Junk"), ("Archive.2026", ".Archive.2026"), ("With blank", ".With blank"), ("a&b", ".a&-b"),
    ("Entw\u00fcrfe", ".Entw&APw-rfe"), ("\u53f0\u5317", ".&U,BTFw-"), ("~peter.mail.\u53f0\u5317.\u65e5\u672c\u8a9e",
                                                                  ".~peter.mail.&U,BTFw-.&ZeVnLIqe-"),
    ("cur", ".cur"), ("\U0001f4e7", ".&2D3c5w-"),
])
def test_folders_are_those_of_maildir_plus_plus(box, folder, directory):
    delivered = box.deliver([MESSAGE], folder=folder)
    assert Path(delivered.path).parent == Path(box.path) / directory / "new"
    assert (Path(box.path) / directory / "maildirfolder").exists()
    assert files(box, "new") == []


@pytest.mark.parametrize("folder", [None, "INBOX", "inbox"])
def test_inbox_is_the_maildir_itself(box, folder):
    assert Path(box.deliver([MESSAGE], folder=folder).path).parent == Path(box.path) / "new"


@pytest.mark.parametrize("folder", [
    "", ".", "..", "...", "../evil", "/etc", "a/b", "a/../../b", "Junk/", "a..b", ".a", "a.", "a\0b", "a\nb", "a\x7f",
    "a\x85", "\udcff", "x" * 200, "\u00fc" * 100, b"Junk", 7,
])
def test_folder_names_that_are_refused(box, folder):
    with pytest.raises(FolderNameRefused):
        box.deliver([MESSAGE], folder=folder)
    assert not Path(box.path).exists()
    assert issubclass(FolderNameRefused, MailfilterError)


# Failures

@pytest.mark.parametrize(("number", "kind"), [
    (errno.ENOSPC, MaildirFull), (errno.EDQUOT, MaildirFull), (errno.EFBIG, MaildirFull), (errno.EACCES, MaildirDenied),
    (errno.EROFS, MaildirDenied), (errno.EIO, MaildirError),
])
@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_errors_are_typed_and_leave_nothing(box, monkeypatch, call, number, kind):
    box.create()

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(module.os, call, fail)
    with pytest.raises(MaildirError) as caught:
        box.deliver([MESSAGE])
    assert type(caught.value) is kind
    assert isinstance(caught.value, ServiceUnavailable)
    assert caught.value.errno == number
    assert box.path in str(caught.value)
    monkeypatch.undo()
    assert nothing_left(box)


def test_a_short_write_goes_on(box, monkeypatch):
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: real(fd, data[:7]))
    assert Path(box.deliver([MESSAGE]).path).read_bytes() == STORED


def test_an_error_of_the_message_passes_through(box):
    def chunks():
        yield b"x" * 400000
        raise OSError(errno.EIO, "the spool cannot be read")
    with pytest.raises(OSError, match="the spool"):
        box.deliver(chunks())
    assert nothing_left(box)


def test_a_file_system_without_links(box, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EPERM, "no links here")
    monkeypatch.setattr(module.os, "link", fail)
    assert Path(box.deliver([MESSAGE]).path).read_bytes() == STORED
    assert files(box, "tmp") == []


def test_a_file_where_a_directory_should_be(box):
    Path(box.path).write_bytes(b"")
    with pytest.raises(MaildirError) as caught:
        box.deliver([MESSAGE])
    assert caught.value.errno == errno.ENOTDIR


def run_python(code, *arguments, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True,
                          text=True, timeout=50, **options)


def test_a_real_limit_of_the_system(tmp_path):
    """EFBIG by RLIMIT_FSIZE: what a real short write and a real error look like."""
    done = run_python("""
        import resource, sys
        from mailfilter.services.maildir import Maildir, MaildirFull
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        box = Maildir(sys.argv[1])
        try:
            box.deliver([b"x" * 50000] * 10)
        except MaildirFull:
            box.deliver([b"small\\r\\n"])
            print("typed")
    """, tmp_path / "Maildir")
    assert done.stdout == "typed\n", done.stderr
    box = Maildir(tmp_path / "Maildir")
    assert files(box, "tmp") == []
    assert [path.read_bytes() for path in files(box, "new")] == [b"small\n"]


@pytest.mark.root
def test_a_directory_that_is_not_ours(tmp_path):
    tmp_path.chmod(0o755)
    done = run_python("""
        import os, sys
        from mailfilter.services.maildir import Maildir, MaildirDenied
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            Maildir(sys.argv[1]).deliver([b""])
        except MaildirDenied as error:
            print(error.errno)
    """, tmp_path / "Maildir")
    assert done.stdout == f"{errno.EACCES}\n", done.stderr


# Durability

def test_the_order_of_the_steps(box, monkeypatch):
    """File synced before it gets its name in new/, new/ synced before anybody is told."""
    box.create()
    steps = []

    def note(name, real):
        def noted(*arguments, **options):
            what = arguments[0]
            if isinstance(what, int):
                what = os.readlink(f"/proc/self/fd/{what}")
            steps.append((name, Path(what).relative_to(box.path).parts[0]))
            return real(*arguments, **options)
        return noted
    for name in ("write", "fsync", "link", "unlink"):
        monkeypatch.setattr(module.os, name, note(name, getattr(os, name)))
    box.deliver([MESSAGE])
    assert steps == [("write", "tmp"), ("fsync", "tmp"), ("link", "tmp"), ("unlink", "tmp"), ("fsync", "new")]


def test_new_directories_are_synced(box, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    box.create("Junk")
    assert synced == [box.path, os.path.dirname(box.path), box.folder_directory("Junk"), box.path]


def test_an_unsynced_delivery_is_not_reported_as_one(box, monkeypatch):
    box.create()

    def fail(path):
        raise module.StepFailed(path, OSError(errno.EIO, "the disk is gone"))
    monkeypatch.setattr(module, "sync_directory", fail)
    with pytest.raises(MaildirError):
        box.deliver([MESSAGE])


@pytest.mark.parametrize("call", ["write", "fsync", "link", "unlink", "close"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step(tmp_path, call, when):
    """What a kill -9 leaves is whole in new/ or litter in tmp/, and the next delivery works."""
    done = run_python("""
        import os, signal, sys
        from mailfilter.services import maildir
        path, call, when = sys.argv[1:]
        box = maildir.Maildir(path)
        box.create()
        real = getattr(os, call)
        def fatal(*arguments, **options):
            if when == "after":
                real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(os, call, fatal)
        box.deliver([b"line\\r\\n" * 100000])
    """, tmp_path / "Maildir", call, when)
    assert done.returncode == -signal.SIGKILL, done.stderr
    box = Maildir(tmp_path / "Maildir")
    for path in files(box, "new"):
        assert path.read_bytes() == b"line\n" * 100000
    if call in ("write", "fsync") or (call, when) == ("link", "before"):
        assert files(box, "new") == []
    assert files(box, "cur") == []
    assert len(files(box, "tmp")) <= 1
    assert Path(box.deliver([MESSAGE]).path).read_bytes() == STORED


def test_killed_while_the_message_still_comes(tmp_path):
    done = run_python("""
        import os, signal, sys
        from mailfilter.services.maildir import Maildir
        def chunks():
            yield b"x" * 1000000
            os.kill(os.getpid(), signal.SIGKILL)
        Maildir(sys.argv[1]).deliver(chunks())
    """, tmp_path / "Maildir")
    assert done.returncode == -signal.SIGKILL, done.stderr
    box = Maildir(tmp_path / "Maildir")
    assert files(box, "new") == files(box, "cur") == []
    assert len(files(box, "tmp")) == 1


# Cleaning

def test_old_leavings_are_removed_and_young_ones_kept(tmp_path):
    box = Maildir(tmp_path / "Maildir")
    box.create("Junk")
    old = time.time() - STALE_S - 60
    for folder in (None, "Junk"):
        base = Path(box.path if folder is None else box.folder_directory(folder))
        for name in ("dead", "young", "read lately", "link", "directory"):
            path = base / "tmp" / name
            if name == "directory":
                path.mkdir()
            elif name == "link":
                path.symlink_to("/etc/passwd")
            else:
                path.write_bytes(b"x")
            times = {"young": (None, None), "read lately": (time.time(), old)}.get(name, (old, old))
            if times[0] is not None:
                os.utime(path, times, follow_symlinks=False)
        box.deliver([MESSAGE], folder=folder)
        assert [path.name for path in files(box, "tmp", folder)] == ["directory", "link", "read lately", "young"]


def test_cleaning_is_done_once_an_hour(tmp_path, monkeypatch):
    clock = [1e9]
    box = Maildir(tmp_path / "Maildir", now=lambda: clock[0])
    calls = []
    monkeypatch.setattr(module, "clean_temporary", lambda directory, now: calls.append(directory))
    for seconds in (0, 10, 3000, 700, 3700):
        clock[0] += seconds
        box.deliver([MESSAGE])
    assert len(calls) == 3


def test_the_memory_of_cleaned_folders_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDERS_REMEMBERED", 3)
    box = Maildir(tmp_path / "Maildir")
    for n in range(10):
        box.deliver([MESSAGE], folder=f"f{n}")
    assert len(module._cleaned) <= 3


def test_many_threads_deliver_at_a_time(tmp_path):
    box = Maildir(tmp_path / "Maildir")
    failures = []

    def work(number):
        try:
            for n in range(10):
                box.deliver([f"{number} {n}\r\n".encode()], folder="Junk" if n % 2 else None)
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = {path.read_bytes() for folder in (None, "Junk") for path in files(box, "new", folder)}
    assert found == {f"{number} {n}\n".encode() for number in range(8) for n in range(10)}
    assert files(box, "tmp") == []
