"""The end of data, dots, and bare line ends; stuffing and un-stuffing."""
import re

import pytest
from feeding import growing, three_ways
from hypothesis import example, given
from hypothesis import strategies as st

from mailfilter._core.data import DataReader, Unstuffer, stuff, unstuff

# Texts made of what matters.
AWKWARD = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"x", b"..", b"\r\n.\0", b"\0.",
                                   b"long text"]),
                   max_size=12).map(b"".join)


def reader(line_ends="reject", message_bytes=0):
    """A consume function for a DataReader: (text, octets, bare_cr, bare_lf, too_big), or None without an end."""
    def consume(chunks):
        reading = DataReader(line_ends, message_bytes)
        text, rest = bytearray(), bytearray()
        for chunk in chunks:
            if reading.done:
                rest += chunk
                continue
            used, found = reading.feed(chunk)
            text += found
            rest += chunk[used:]
        if not reading.done:
            return None, bytes(rest)
        return (bytes(text), reading.octets, reading.bare_cr, reading.bare_lf, reading.too_big), bytes(rest)
    return consume


@pytest.mark.parametrize(("data", "text", "octets"), [
    (b".\r\n", b"", 0),
    (b"\r\n.\r\n", b"\r\n", 2),
    (b"a\r\n.\r\n", b"a\r\n", 3),
    (b"..\r\n.\r\n", b"..\r\n", 3),
    (b".a\r\n.\r\n", b"a\r\n", 3),
    (b"...\r\n..\r\n.\r\n", b"...\r\n..\r\n", 7),
    (b"a.\r\n.\r\n", b"a.\r\n", 4),
    (b"a\r\n..\r\n.b\r\n.\r\n", b"a\r\n..\r\nb\r\n", 9),
    (b". \r\n.\t\r\n.\0\r\n.\r\n", b" \r\n\t\r\n\0\r\n", 9),
    (b".\0..\r\n.\r\n", b"\0..\r\n", 5),
    (b"\0\0.x\r\n\0\r\n.\r\n", b"\0\0.x\r\n\0\r\n", 9),
    (b"\0\xff\r\n.\r\n", b"\0\xff\r\n", 4),
    (b"x" * 100 + b"\r\n.\r\n", b"x" * 100 + b"\r\n", 102),
])
def test_clean(data, text, octets):
    for line_ends in ("reject", "normalise"):
        assert three_ways(reader(line_ends), data) == (text, octets, False, False, False)


def test_no_end_before_the_end():
    assert growing(reader(), b"a\r\n..\r\n\r.\r\n\n.\r\nb\r\n.\r\n")[2:4] == (True, True)


@pytest.mark.parametrize(("before", "bare_cr", "bare_lf"), [
    (b"a\n.\n", False, True),
    (b"a\n.\r\n", False, True),
    (b"a\r\n.\n", False, True),
    (b"a\r.\r", True, False),
    (b"a\r.\r\n", True, False),
    (b"a\r\n.\r", True, False),
    (b"a\r\n.\r\r\n", True, False),
    (b"a\r\r\n", True, False),
    (b"\n", False, True),
    (b"\r", True, False),
    (b"\n.\r\n", False, True),
    (b"\r.\r\n", True, False),
    (b"\r\n.\r.\r\n", True, False),
    (b"\r\n.\n.\r\n", False, True),
    (b".\r\r.\r\n", True, False),
    (b"a\n\r\n", False, True),
    (b"a\n\r", True, True),
])
def test_smuggling_is_noted_and_never_ends_the_message(before, bare_cr, bare_lf):
    data = before + b"QUIT\r\n.\r\n"
    text, octets, *found, too_big = three_ways(reader(), data)
    assert found == [bare_cr, bare_lf]
    assert text == data[:-3]


@pytest.mark.parametrize(("data", "text"), [
    (b"a\nb\n\r\n.\r\n", b"a\r\nb\r\n\r\n"),
    (b"a\rb\r\n.\r\n", b"a\r\nb\r\n"),
    (b"a\r\r\n.\r\n", b"a\r\n\r\n"),
    (b"a\n\r\n.\r\n", b"a\r\n\r\n"),
    (b"a\n.\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"a\n.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"a\r\n.\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"a\r\n.\rb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"a\r.\rb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"a\r.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n"),
    (b"\n.\r\n.\r\n", b"\r\n..\r\n"),
    (b"a\n..b\r\n.\r\n", b"a\r\n..b\r\n"),
    (b"a\n.b\r\n.\r\n", b"a\r\nb\r\n"),
    (b".\n.\r\n", None),
    (b"a\r\n.\r\r\n.\r\n", b"a\r\n..\r\n\r\n"),
    (b"\r.\r.\r\n.\r\n", b"\r\n..\r\n..\r\n"),
])
def test_normalised(data, text):
    if text is None:
        assert reader("normalise")([data])[0] is None
        return
    assert three_ways(reader("normalise"), data)[:2] == (text, len(unstuff(text)))


@pytest.mark.parametrize("line", [b"\0.", b"\0\0.", b"\0.\0", b"\0.\0\0", b".\0.", b".\0.\0"])
@pytest.mark.parametrize("line_ends", ["reject", "normalise"])
def test_a_line_of_one_dot_and_nuls_is_noted(line, line_ends):
    for before in (b"", b"a\r\n", b"\r\n", b"..\r\n"):
        data = before + line + b"\r\nb\r\n.\r\n"
        for cut in range(len(data)):
            reading = DataReader(line_ends)
            for chunk in (data[:cut], data[cut:]):
                reading.feed(chunk)
            assert reading.done and reading.nul_dot and not reading.bare_cr


@pytest.mark.parametrize("line", [b"\0", b".\0", b"..\0", b".\0\0", b"\0..", b"\0.x", b"\0.\0x", b"x\0.", b"\0 ."])
def test_other_lines_with_nuls_are_text(line):
    reading = DataReader()
    reading.feed(b"a\r\n" + line + b"\r\nb\r\n.\r\n")
    assert reading.done and not reading.nul_dot


def ends(text):
    """Where a strict or a sloppy server might see the end of a message in this text."""
    return re.search(rb"(^|[\r\n])\.([\r\n\t \0]|$)", text)


@given(AWKWARD)
@example(b"\r\n.\n\r\n.\r")
def test_what_is_handed_on_can_never_end_a_message_early(data):
    """Clean or normalised, the text has no line of a single dot for anybody; and it ends with a line end."""
    for line_ends in ("reject", "normalise"):
        found, rest = reader(line_ends)([data + b"\r\n.\r\n"])
        text, octets, bare_cr, bare_lf, _big = found
        if bare_cr or bare_lf:
            continue
        assert not ends(text)
        assert b"\r" not in text.replace(b"\r\n", b"")
        assert b"\n" not in text.replace(b"\r\n", b"")
        assert text == b"" or text.endswith(b"\r\n")
        assert octets == len(unstuff(text))


@given(AWKWARD)
def test_the_same_whichever_way_it_comes(data):
    for line_ends in ("reject", "normalise"):
        consume = reader(line_ends)
        whole = consume([data])
        assert consume([data[i:i + 1] for i in range(len(data))]) == whole
        for i in range(len(data)):
            assert consume([data[:i], data[i:]]) == whole


@given(AWKWARD)
def test_strict_reading_against_a_plain_search(data):
    """The end is the first CR LF . CR LF, the CR LF of the command before counted in; bare is what has no partner.

    A line that is handed on has two dots in front or none, whatever the sender has put there.
    """
    found, rest = reader()([data])
    whole = b"\r\n" + data
    end = whole.find(b"\r\n.\r\n")
    if end < 0:
        assert found is None
        return
    text = whole[2:end + 2]
    assert found[0] == re.sub(rb"(^|(?<=\r\n))\.(?![.\n]|\r(?!\n))", b"", text)
    assert rest == whole[end + 5:]
    assert found[2] == (re.search(rb"\r(?!\n)", text) is not None)
    assert found[3] == (re.search(rb"(?<!\r)\n", text) is not None)


def test_message_bytes_at_the_limit():
    assert reader(message_bytes=10)([b"..2345678\r\n.\r\n"])[0][4] is False
    assert reader(message_bytes=10)([b"..23456789\r\n.\r\n"])[0][4] is True
    assert reader(message_bytes=0)([b"x" * 100 + b"\r\n.\r\n"])[0][4] is False


def test_too_big_is_read_to_its_end():
    found = three_ways(reader(message_bytes=5), b"1234\r\nQUIT\r\n.\r\n")
    assert found == (b"1234\r\nQUIT\r\n", 12, False, False, True)


def test_whole_chunks_are_handed_on_without_a_copy():
    reading = DataReader()
    for chunk in (b"text\r\n" * 1000, b"more", b"\r", b"\nand a.\r\n"):
        assert reading.feed(chunk) == (len(chunk), chunk)
        assert reading.feed(chunk)[1] is chunk


def test_start():
    reading = DataReader()
    assert reading.feed(b"DATA\r\ntext\r\n.\r\nNOOP", 6) == (15, b"text\r\n")
    assert reading.feed(b"NOOP", 1) == (1, b"")
    for start in (-1, 5):
        with pytest.raises(ValueError):
            DataReader().feed(b"NOOP", start)


def test_line_ends_are_named_right():
    with pytest.raises(ValueError, match="'reject' or 'normalise'"):
        DataReader("normalize")


@pytest.mark.parametrize(("text", "stuffed"), [
    (b"", b""),
    (b".", b".."),
    (b".\r\n", b"..\r\n"),
    (b"a.b\r\n.c\r\n", b"a.b\r\n..c\r\n"),
    (b"..\r\n.", b"...\r\n.."),
    (b"a\n.b", b"a\n..b"),
    (b"a\r\n", b"a\r\n"),
])
def test_stuff(text, stuffed):
    assert stuff(text) == stuffed
    assert unstuff(stuffed) == text


def test_without_dots_nothing_is_copied():
    text = b"a.b\r\nc\r\n"
    assert stuff(text) is text
    assert unstuff(text) is text
    assert Unstuffer().feed(text) is text


@given(AWKWARD)
def test_stuffing_is_undone_by_unstuffing(text):
    assert unstuff(stuff(text)) == text
    assert not re.search(rb"(^|\n)\.(\r?\n|$)", stuff(text))


@given(AWKWARD, st.integers(1, 5))
def test_unstuffing_in_chunks(text, size):
    unstuffer = Unstuffer()
    assert b"".join(unstuffer.feed(text[i:i + size]) for i in range(0, len(text), size)) == unstuff(text)
    assert unstuffer.feed(b"") == b""
