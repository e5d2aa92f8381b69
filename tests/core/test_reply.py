"""The formatter of replies, and the parser for those of a next hop."""
import re

import pytest
from feeding import growing, three_ways
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.reply import Reply, ReplyParser

LINE = re.compile(rb"[2-5][0-9][0-9][- ][^\x00-\x08\x0a-\x1f\x7f]*\r\n")


def well_formed(octets, code):
    """Whether these octets are one reply with that code: as RFC 5321 §4.2.1 has it, no line over 512 octets."""
    lines = octets.splitlines(keepends=True) if b"\x85" not in octets else re.findall(rb"[^\n]*\n", octets)
    return (b"".join(lines) == octets and len(lines) > 0
            and all(LINE.fullmatch(line) and len(line) <= 512 and line[:3] == b"%d" % code for line in lines)
            and all(line[3:4] == b"-" for line in lines[:-1]) and lines[-1][3:4] == b" ")


@pytest.mark.parametrize(("reply", "octets"), [
    (Reply(250, [b"ok"]), b"250 ok\r\n"),
    (Reply(250, []), b"250 \r\n"),
    (Reply(250, [b"a", b"b"]), b"250-a\r\n250 b\r\n"),
    (Reply(550, [b"a", b""], b"5.1.1"), b"550-5.1.1 a\r\n550 5.1.1 \r\n"),
    (Reply(250, [b"a\r\n250 b\0\x7f\x1bc\td"]), b"250 a  250 b   c\td\r\n"),
    (Reply(250, ["Größe".encode()]), "250 Größe\r\n".encode()),
    (Reply(200, [b""]), b"200 \r\n"),
    (Reply(599, [b""]), b"599 \r\n"),
])
def test_format(reply, octets):
    assert reply.format() == octets


@pytest.mark.parametrize("length", [505, 506, 507, 1012, 1013])
def test_long_lines_are_continued_at_the_limit(length):
    octets = Reply(250, [b"x" * length]).format()
    assert well_formed(octets, 250)
    assert len(octets.splitlines()) == -(-length // 506)
    assert b"".join(line[4:] for line in octets.splitlines()) == b"x" * length


def test_long_lines_break_at_a_blank():
    octets = Reply(250, [b"word " * 200]).format()
    assert well_formed(octets, 250)
    assert all(line[4:].startswith(b"word") and line.endswith(b"word") for line in octets.splitlines()[:-1])


def test_long_lines_never_break_a_character():
    for shift in range(4):
        octets = Reply(250, [b"x" * shift + "€".encode() * 400], b"2.0.0").format()
        assert all(len(line) <= 510 and line[10:].decode() for line in octets.splitlines())
    assert well_formed(Reply(250, [b"\x80" * 1200]).format(), 250)


@pytest.mark.parametrize("code", [-1, 0, 100, 199, 600, 1000])
def test_bad_codes(code):
    with pytest.raises(ValueError):
        Reply(code, [b"x"])


@pytest.mark.parametrize("enhanced", [
    b"", b"5", b"5.1", b"5.1.", b"3.1.1", b"5.1234.1", b"5.1.1 ", b"5.1.1.1", b"x.y.z"])
def test_bad_enhanced_codes(enhanced):
    with pytest.raises(ValueError):
        Reply(550, [b"x"], enhanced).format()


@pytest.mark.parametrize("lines", [b"text", "text", ["text"], [b"fine", None], [bytearray(b"x")]])
def test_lines_are_bytes(lines):
    with pytest.raises(TypeError):
        Reply(250, lines).format()


@given(st.integers(200, 599), st.lists(st.binary(max_size=1200), max_size=5), st.sampled_from([None, b"4.7.1"]))
def test_whatever_is_formatted_is_one_reply(code, lines, enhanced):
    octets = Reply(code, lines, enhanced).format()
    assert well_formed(octets, code)
    parser = ReplyParser()
    parser.feed(octets)
    parsed = parser.next()
    assert parsed.code == code
    assert parser.next() is None
    assert parser.error is None
    assert parser.buffered == 0
    assert parsed.format() == octets


def test_text():
    assert Reply(250, [b"a", b"b"]).text == b"a\nb"
    assert repr(Reply(250, [b"a"])) == "Reply(250, [b'a'])"
    assert Reply(250, [b"a"]) != Reply(251, [b"a"])


def parse(chunks, **limits):
    """(first reply or error, what is left) of the parser; the rest is taken out of it reply by reply."""
    parser = ReplyParser(**limits)
    for chunk in chunks:
        parser.feed(chunk)
    reply = parser.next()
    if parser.error is not None:
        return parser.error, b""
    rest = b""
    while (more := parser.next()) is not None:
        rest += more.format()
    return reply, rest


@pytest.mark.parametrize(("octets", "reply"), [
    (b"250 ok\r\n", Reply(250, [b"ok"])),
    (b"250\r\n", Reply(250, [b""])),
    (b"250 \r\n", Reply(250, [b""])),
    (b"250-\r\n250\r\n", Reply(250, [b"", b""])),
    (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, [b"a", b"b", b"c"])),
    (b"250 ok\n", Reply(250, [b"ok"])),
    (b"250-a\n250 b\r\n", Reply(250, [b"a", b"b"])),
    (b"550 5.1.1 \xff\0\r x\r\n", Reply(550, [b"5.1.1 \xff\0\r x"])),
    (b"250 " + b"x" * 4090 + b"\r\n", Reply(250, [b"x" * 4090])),
])
def test_parse(octets, reply):
    assert three_ways(parse, octets, b"421 bye\r\n") == reply


def test_nothing_before_the_last_line():
    assert growing(parse, b"250-a\r\n250-b\r\n250 c\r\n") == Reply(250, [b"a", b"b", b"c"])


@pytest.mark.parametrize(("octets", "error"), [
    (b"hello\r\n", "not a reply"),
    (b"\r\n", "not a reply"),
    (b"25\r\n", "not a reply"),
    (b"25x ok\r\n", "not a reply"),
    (b"199 ok\r\n", "not a reply"),
    (b"600 ok\r\n", "not a reply"),
    (b"2500 ok\r\n", "not a reply"),
    (b"250_ok\r\n", "not a reply"),
    (b" 250 ok\r\n", "not a reply"),
    (b"250-a\r\n251 b\r\n", "code changed from 250"),
    (b"250-a\r\nb\r\n", "not a reply"),
    (b"250 " + b"x" * 4091 + b"\r\n", "reply line too long"),
    (b"250-x\r\n" * 513, "reply of too many lines"),
])
def test_errors(octets, error):
    assert three_ways(parse, octets, None).startswith(error)


def test_errors_are_for_ever():
    parser = ReplyParser()
    parser.feed(b"nonsense\r\n250 ok\r\n")
    assert parser.next() is None
    parser.feed(b"250 ok\r\n")
    assert parser.next() is None
    assert parser.error == "not a reply: b'nonsense'"


def test_most_lines():
    parser = ReplyParser(lines=3)
    parser.feed(b"250-a\r\n250-b\r\n250 c\r\n")
    assert len(parser.next().lines) == 3
    parser.feed(b"250-a\r\n250-b\r\n250-c\r\n250 d\r\n")
    assert parser.next() is None
    assert parser.error.startswith("reply of too many lines")


def test_buffered_is_zero_only_between_replies():
    parser = ReplyParser()
    parser.feed(b"250-a\r\n")
    assert parser.next() is None
    assert parser.buffered > 0
    parser.feed(b"250 b\r\n")
    assert parser.next() is not None
    assert parser.buffered == 0
