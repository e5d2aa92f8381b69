"""LineBuffer and WriteBuffer."""
import pytest
from feeding import cuts, three_ways

from mailfilter._core.buffer import (
    ENDS_LF,
    ENDS_NORMALISE,
    ENDS_REJECT,
    LINE_BARE_CR,
    LINE_BARE_LF,
    LINE_LONG,
    LINE_NONE,
    LINE_READY,
    LineBuffer,
    WriteBuffer,
)


def lines(data, ends=ENDS_REJECT, limit=64, count=None):
    """The first `count` results for `data` (default: all), the same whichever way it arrives."""
    def consume(chunks):
        buffer = LineBuffer(limit, ends)
        found = []
        for chunk in chunks:
            buffer.feed(chunk)
            while count is None or len(found) < count:
                got = buffer.next_line()
                if got[0] == LINE_NONE:
                    break
                found.append(got)
        return found, buffer.buffered
    first = consume([data])
    for chunks in cuts(data):
        assert consume(chunks) == first, chunks
    return first[0]


@pytest.mark.parametrize(("data", "expected"), [
    (b"abc\r\n", [(LINE_READY, b"abc")]),
    (b"\r\n", [(LINE_READY, b"")]),
    (b"a\r\nb\r\n\r\nc", [(LINE_READY, b"a"), (LINE_READY, b"b"), (LINE_READY, b"")]),
    (b"a\n", [(LINE_BARE_LF, b"a")]),
    (b"\n", [(LINE_BARE_LF, b"")]),
    (b"a\rb\r\n", [(LINE_BARE_CR, b"a\rb")]),
    (b"a\r\r\n", [(LINE_BARE_CR, b"a\r")]),
    (b"\r\r\n", [(LINE_BARE_CR, b"\r")]),
    (b"a\rb\n", [(LINE_BARE_LF, b"a\rb")]),
    (b"a\0b\r\n", [(LINE_READY, b"a\0b")]),
    (b"a\r", []),
])
def test_reject(data, expected):
    assert lines(data) == expected


@pytest.mark.parametrize(("data", "expected"), [
    (b"a\r\nb\nc\rd\r\n", [b"a", b"b", b"c", b"d"]),
    (b"\r\r\n\n\r\n", [b"", b"", b"", b""]),
    (b"\n\r", [b"", b""]),
    (b"a\r", [b"a"]),
])
def test_normalise(data, expected):
    assert lines(data, ENDS_NORMALISE) == [(LINE_READY, text) for text in expected]


@pytest.mark.parametrize(("data", "expected"), [
    (b"a\nb\r\n\n", [b"a", b"b", b""]),
    (b"a\rb\n", [b"a\rb"]),
    (b"a\r\r\n", [b"a\r"]),
])
def test_lf(data, expected):
    assert lines(data, ENDS_LF) == [(LINE_READY, text) for text in expected]


@pytest.mark.parametrize("ends", [ENDS_REJECT, ENDS_NORMALISE, ENDS_LF])
def test_limit_counts_the_line_end(ends):
    assert lines(b"x" * 14 + b"\r\n", ends, 16) == [(LINE_READY, b"x" * 14)]
    assert lines(b"x" * 15 + b"\r\n", ends, 16) == [(LINE_LONG, b"x" * 14)]
    assert lines(b"x" * 150 + b"\r\nok\r\n", ends, 16) == [(LINE_LONG, b"x" * 14), (LINE_READY, b"ok")]


def test_a_long_line_with_a_bare_lf_is_told_as_bare():
    assert lines(b"x" * 100 + b"\nok\r\n", limit=16) == [(LINE_BARE_LF, b"x" * 14), (LINE_READY, b"ok")]


def test_a_long_line_that_ends_in_cr_at_the_limit():
    assert lines(b"x" * 14 + b"\r\r\n", limit=16) == [(LINE_LONG, b"x" * 14)]
    assert lines(b"x" * 13 + b"\r\r\n", limit=16) == [(LINE_BARE_CR, b"x" * 13 + b"\r")]


def test_three_ways():
    def consume(chunks):
        buffer = LineBuffer(64, ENDS_REJECT)
        for chunk in chunks:
            buffer.feed(chunk)
        got = buffer.next_line()
        rest = bytearray()
        while (more := buffer.next_line())[0] != LINE_NONE:
            rest += more[1] + b"\r\n"
        return got, bytes(rest)
    assert three_ways(consume, b"HELO x\r\n", b"MORE\r\nAND\r\n") == (LINE_READY, b"HELO x")


def test_an_endless_line_needs_no_memory():
    buffer = LineBuffer(64, ENDS_REJECT)
    for _ in range(1000):
        buffer.feed(b"x" * 1000)
        assert buffer.next_line() == (LINE_NONE, b"")
    assert buffer.buffered <= 64


def test_many_small_chunks_are_joined_while_they_wait():
    buffer = LineBuffer(64, ENDS_REJECT)
    data = b"0123456\r\n" * 5000
    for i in range(len(data)):
        buffer.feed(data[i:i + 1])
    assert buffer.buffered == len(data)
    for _ in range(5000):
        assert buffer.next_line() == (LINE_READY, b"0123456")
    assert buffer.buffered == 0


def test_lines_outlive_their_chunk():
    buffer = LineBuffer(64, ENDS_REJECT)
    buffer.feed(b"one\r\ntw")
    first = buffer.next_line()
    buffer.feed(b"o\r\n")
    assert (first, buffer.next_line()) == ((LINE_READY, b"one"), (LINE_READY, b"two"))


def test_a_limit_without_room_is_refused():
    with pytest.raises(ValueError):
        LineBuffer(2, ENDS_REJECT)


def test_write_buffer():
    buffer = WriteBuffer()
    assert buffer.take() == b""
    expected = b""
    for i in range(300):
        buffer.append(b"%d," % i)
        expected += b"%d," % i
    assert len(buffer) == len(expected)
    assert buffer.take() == expected
    assert buffer.take() == b""
    buffer.append(b"again")
    assert buffer.take() == b"again"
