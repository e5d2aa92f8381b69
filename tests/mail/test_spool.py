"""mail/spool.py: in memory or in a file, a body reads the same."""
import errno
import gc
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.data import stuff
from mailfilter.mail import spool as module
from mailfilter.mail.spool import Spool

PLAIN = b"".join(b"." * (n % 4) + b"line %d\r\n" % n for n in range(300))
WIRE = stuff(PLAIN)


def filled(chunks, plain_bytes=None, **options):
    spool = Spool(**options)
    for chunk in chunks:
        spool.write(chunk)
    spool.finish(spool.wire_bytes if plain_bytes is None else plain_bytes)
    return spool


def pieces(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]


def open_files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("memory_bytes", [0, 1, 100, len(WIRE) - 1, len(WIRE), 1 << 20])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 1 << 20])
def test_what_was_written_is_read(tmp_path, memory_bytes, size):
    spool = filled(pieces(WIRE, size), len(PLAIN), memory_bytes=memory_bytes, directory=tmp_path)
    assert spool.in_memory == (memory_bytes >= len(WIRE))
    assert spool.wire_bytes == len(WIRE)
    assert spool.body_bytes == len(PLAIN)
    for _ in range(2):
        for read_bytes in (1, 10, 65536):
            assert b"".join(spool.wire_chunks(read_bytes)) == WIRE
            assert b"".join(spool.chunks(read_bytes)) == PLAIN
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.binary(max_size=3000), max_size=40), st.integers(0, 20000))
def test_any_chunks(chunks, memory_bytes):
    spool = filled(chunks, memory_bytes=memory_bytes)
    assert b"".join(spool.wire_chunks()) == b"".join(chunks)
    assert spool.in_memory == (sum(map(len, chunks)) <= memory_bytes)


def test_chunks_are_bytes():
    for spool in (filled(pieces(WIRE, 1)), filled(pieces(WIRE, 1), memory_bytes=10), filled([WIRE], len(PLAIN))):
        assert {type(chunk) for chunk in spool.wire_chunks()} == {bytes}
        assert {type(chunk) for chunk in spool.chunks()} == {bytes}


@pytest.mark.parametrize("plain", [False, True])
def test_large_chunks_among_small_ones(plain):
    text = (PLAIN if plain else WIRE) * 10
    spool = Spool(plain=plain)
    for chunk in (*pieces(text[:5000], 100), text[5000:8000], *pieces(text[8000:], 100)):
        spool.write(chunk)
    spool.finish(10 * len(PLAIN))
    for found, form in ((spool.wire_chunks(), WIRE * 10), (spool.chunks(), PLAIN * 10), (spool.stored_chunks(), text)):
        found = list(found)
        assert {type(chunk) for chunk in found} == {bytes} and b"".join(found) == form


def test_a_body_in_memory_is_not_copied():
    chunks = [b"x" * 3000, b"y" * 3000]
    spool = filled(chunks)
    assert all(given is read for given, read in zip(chunks, spool.wire_chunks(), strict=True))
    assert all(given is read for given, read in zip(chunks, spool.chunks(), strict=True))


def test_an_empty_body():
    spool = filled([])
    assert spool.wire_bytes == spool.body_bytes == 0
    assert list(spool.wire_chunks()) == list(spool.chunks()) == []


def test_tiny_chunks_do_not_cost_an_object_each():
    spool = Spool(memory_bytes=1 << 20)
    for n in range(100000):
        spool.write(b"%02d" % (n % 100))
    spool.finish(200000)
    assert len(spool._chunks) < 30
    assert b"".join(spool.wire_chunks()) == b"".join(b"%02d" % (n % 100) for n in range(100000))


def test_tiny_chunks_are_not_written_one_by_one(monkeypatch):
    writes = []
    real = os.writev
    monkeypatch.setattr(module.os, "writev", lambda fd, buffers: (writes.append(1), real(fd, buffers))[1])
    filled([b"xy"] * 200000, memory_bytes=10)
    assert len(writes) < 10


def test_more_chunks_than_one_write_takes():
    chunks = [bytes([n % 256]) * 2048 for n in range(3000)]
    spool = filled(chunks, memory_bytes=2999 * 2048)
    assert not spool.in_memory
    assert b"".join(spool.wire_chunks()) == b"".join(chunks)


def test_a_short_write_goes_on(monkeypatch):
    real = os.writev
    monkeypatch.setattr(module.os, "writev", lambda fd, buffers: real(fd, [b"".join(buffers)[:5]]))
    real_write = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: real_write(fd, data[:7]))
    assert b"".join(filled(pieces(WIRE, 500), memory_bytes=10).wire_chunks()) == WIRE


def test_the_file_has_no_name_and_is_private(tmp_path):
    spool = filled([WIRE], memory_bytes=10, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []
    status = os.fstat(spool._file._fd)
    assert status.st_nlink == 0
    assert status.st_mode & 0o777 == 0o600
    assert not os.get_inheritable(spool._file._fd)


def test_where_the_file_system_has_no_nameless_files(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *mode, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no such thing here")
        return real(path, flags, *mode, **options)
    monkeypatch.setattr(module.os, "open", refuse)
    spool = filled([WIRE], memory_bytes=10, directory=tmp_path)
    assert b"".join(spool.wire_chunks()) == WIRE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_an_error_while_writing_surfaces_and_frees_all(tmp_path, monkeypatch, number):
    before = open_files()

    def fail(*_):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(module.os, "writev", fail)
    spool = Spool(memory_bytes=10, directory=tmp_path)
    spool.write(b"0123456789")
    with pytest.raises(OSError) as caught:
        spool.write(b"x")
    assert caught.value.errno == number
    assert spool.closed
    assert open_files() == before
    for use in (lambda: spool.write(b"x"), lambda: spool.finish(0), spool.wire_chunks, spool.chunks):
        with pytest.raises(ValueError):
            use()
    spool.close()


def test_an_error_of_the_last_write_surfaces(monkeypatch):
    spool = Spool(memory_bytes=10)
    spool.write(b"x" * 20)
    spool.write(b"y")
    monkeypatch.setattr(module.os, "writev", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError):
        spool.finish(21)
    assert spool.closed


def test_a_directory_that_is_not_there(tmp_path):
    spool = Spool(memory_bytes=0, directory=tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        spool.write(b"x")


def test_a_real_limit_of_the_system(tmp_path):
    """EFBIG by RLIMIT_FSIZE: what a real short write and a real error look like."""
    code = textwrap.dedent("""
        import errno, resource, sys
        from mailfilter.mail.spool import Spool
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        spool = Spool(memory_bytes=1000, directory=sys.argv[1])
        try:
            for _ in range(1000):
                spool.write(b"x" * 777)
        except OSError as error:
            print(errno.errorcode[error.errno], spool.closed)
    """)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=50)
    assert done.stdout == "EFBIG True\n", done.stderr


def test_a_file_that_lost_its_end_is_an_error():
    spool = filled([WIRE], memory_bytes=10)
    os.ftruncate(spool._file._fd, 100)
    with pytest.raises(OSError):
        b"".join(spool.wire_chunks())


def test_use_out_of_order_is_a_mistake():
    spool = Spool()
    for use in (spool.wire_chunks, spool.chunks):
        with pytest.raises(ValueError):
            use()
    spool.finish(0)
    for use in (lambda: spool.write(b"x"), lambda: spool.finish(0)):
        with pytest.raises(ValueError):
            use()
    spool.close()
    spool.close()
    with pytest.raises(ValueError):
        spool.wire_chunks()


@pytest.mark.parametrize("memory_bytes", [10, 1 << 20])
def test_closing_does_not_disturb_a_reader(memory_bytes):
    before = open_files()
    spool = filled(pieces(WIRE, 3000), memory_bytes=memory_bytes)
    reader = spool.wire_chunks(100)
    first = next(reader)
    spool.close()
    assert first + b"".join(reader) == WIRE
    del reader
    assert open_files() == before


def test_a_forgotten_spool_leaks_no_file():
    before = open_files()
    for _ in range(20):
        filled([WIRE], memory_bytes=10)
    assert open_files() == before


def test_readers_in_many_threads():
    data = random.Random(1).randbytes(300000)
    spool = filled([data], memory_bytes=10)
    wrong = []

    def read(size):
        if b"".join(spool.wire_chunks(size)) != data:
            wrong.append(size)
    threads = [threading.Thread(target=read, args=(size,)) for size in (1000, 1001, 4096, 65536)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("text", "plain"), [
    ("", b""), (b"", b""), ("x", b"x\r\n"), ("x\n", b"x\r\n"), ("x\r\n", b"x\r\n"), ("x\r", b"x\r\n"),
    ("\n", b"\r\n"), ("a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"), ("a\r\r\nb", b"a\r\n\r\nb\r\n"),
    ("a\n\rb", b"a\r\n\r\nb\r\n"),
    (".", b".\r\n"), (".\n..\n.x", b".\r\n..\r\n.x\r\n"), ("\r\n.\r\n", b"\r\n.\r\n"),
    ("a\n.\nMAIL", b"a\r\n.\r\nMAIL\r\n"),
    ("a\r.\rb", b"a\r\n.\r\nb\r\n"), ("\0", b"\0\r\n"), ("Gr\u00fc\udcff", b"Gr\xc3\xbc\xff\r\n"),
    (b"\xff\x80\n", b"\xff\x80\r\n"), (" ", b" \r\n"),
])
def test_a_body_of_a_policys_text(text, plain):
    """It ends with CR LF or is empty, has no bare line end, and no line of it ends the message."""
    spool = Spool.of_text(text)
    wire = b"".join(spool.wire_chunks())
    assert b"".join(spool.chunks()) == plain
    assert wire == stuff(plain)
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    assert (spool.wire_bytes, spool.body_bytes) == (len(wire), len(plain))
    assert spool.in_memory


@given(st.text(alphabet=st.sampled_from("\r\n.a"), max_size=30))
def test_a_body_of_any_text_is_safe(text):
    wire = b"".join(Spool.of_text(text).wire_chunks())
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    assert wire == b"" or wire.endswith(b"\r\n")
    assert b"\r" not in wire.replace(b"\r\n", b"") and b"\n" not in wire.replace(b"\r\n", b"")


def test_a_big_body_of_a_policy_stays_in_memory(tmp_path):
    assert Spool.of_text("x" * (module.MEMORY_BYTES * 2)).in_memory
