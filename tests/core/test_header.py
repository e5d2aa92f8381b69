"""Header fields: gathered, taken apart, written."""
import re

import pytest
from feeding import growing, three_ways
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.data import stuff
from mailfilter._core.header import Field, HeaderCollector, canonical, render_field, split_header

SECTIONS = st.lists(st.sampled_from([
    b"A: b\r\n", b"From x\r\n", b" c\r\n", b"\t\r\n", b"no colon\r\n", b": x\r\n", b".D: e\r\n", b"\xe4: x\r\n",
    b"Name :  v \r\n", b"N:\r\n", b"\0: \0\r\n", b"..\r\n"]), max_size=8).map(b"".join)


@pytest.mark.parametrize(("raw", "name", "parts"), [
    (b"A: b\r\n", b"A", [b"b"]),
    (b"A:b\r\n", b"A", [b"b"]),
    (b"A: \t b \t\r\n", b"A", [b"b \t"]),
    (b"A:\r\n", b"A", [b""]),
    (b"A:  \r\n", b"A", [b""]),
    (b"Subject : x\r\n", b"Subject", [b"x"]),
    (b"Subject\t \t: x\r\n", b"Subject", [b"x"]),
    (b"D:\r\n\tx\r\n", b"D", [b"", b"\tx"]),
    (b"D: a\r\n  b\r\n\tc \r\n", b"D", [b"a", b"  b", b"\tc "]),
    (b"A: b: c\r\n", b"A", [b"b: c"]),
    (b"X-!#%/~: y\r\n", b"X-!#%/~", [b"y"]),
    (b"A: \x83\x56\xff\0\r\n", b"A", [b"\x83\x56\xff\0"]),
    # lines that are no field
    (b"hello\r\n", b"", [b"hello"]),
    (b"A b: c\r\n", b"", [b"A b: c"]),
    (b": c\r\n", b"", [b": c"]),
    (b" A: b\r\n", b"", [b" A: b"]),
    (b"\xe4: b\r\n", b"", [b"\xe4: b"]),
    (b"A\xe4: b\r\n", b"", [b"A\xe4: b"]),
    (b"A\0: b\r\n", b"", [b"A\0: b"]),
    (b"From alice Mon Jan  1 00:00:00 2024\r\n", b"", [b"From alice Mon Jan  1 00:00:00 2024"]),
    (b"hello\r\n folded\r\n", b"", [b"hello", b" folded"]),
    # the last line may lack its end
    (b"A: b", b"A", [b"b"]),
    (b"A:", b"A", [b""]),
    (b"A", b"", [b"A"]),
])
def test_one_field(raw, name, parts):
    fields = split_header(raw)
    assert [(field.name, field.raw, field.parts) for field in fields] == [(name, raw, parts)]


def test_no_line_hides_what_follows():
    """The predecessor's D4: a line without a colon was glued to the next name."""
    fields = split_header(b"hello\r\nfoo: bar\r\n:\r\nSubject: x\r\n")
    assert [field.name for field in fields] == [b"", b"foo", b"", b"Subject"]


def test_a_blank_line_ends_the_section():
    for blank in (b"\r\n", b"\n"):
        assert [field.name for field in split_header(b"A: b\r\n" + blank + b"C: d\r\n")] == [b"A"]
    assert split_header(b"\r\nA: b\r\n") == []
    assert split_header(b"") == []


def test_a_line_of_blanks_continues():
    assert split_header(b"A: b\r\n \t\r\nC: d\r\n")[0].parts == [b"b", b" \t"]


@given(SECTIONS)
def test_nothing_is_lost_or_doubled(section):
    assert b"".join(field.raw for field in split_header(section)) == section


@given(st.binary(max_size=60))
def test_any_bytes(section):
    fields = split_header(section)
    raw = b"".join(field.raw for field in fields)
    assert section.startswith(raw)
    assert raw == section or re.match(rb"\r?\n", section[len(raw):])
    for field in fields:
        assert b"\n" not in b"".join(field.parts)
        assert re.fullmatch(rb"[!-9;-~]*", field.name)
        assert canonical(field).startswith(field.name + b": ")


def test_canonical():
    fields = split_header(b"A:b\r\nC :  d\r\n\te\r\nF:\r\n g\r\nno field\r\n")
    assert [canonical(field) for field in fields] == [b"A: b", b"C: d\r\n\te", b"F: \r\n g", b": no field"]


def test_fields_are_made_by_split_header_only():
    with pytest.raises(TypeError):
        Field()


def test_fields_keep_their_section():
    fields = split_header(b"A: " + b"x" * 1000 + b"\r\n")
    assert fields[0].parts is not fields[0].parts
    assert fields[0].raw == b"A: " + b"x" * 1000 + b"\r\n"


@pytest.mark.parametrize(("name", "parts", "octets"), [
    (b"A", [b"b"], b"A: b\r\n"),
    (b"A", [], b"A: \r\n"),
    (b"A", [b""], b"A: \r\n"),
    (b"A", [b"b", b" c", b"\td"], b"A: b\r\n c\r\n\td\r\n"),
    (b"A", [b"b", b"c"], b"A: b\r\n\tc\r\n"),
    (b"A", [b"b\r\nBcc: c"], b"A: b\r\n\tBcc: c\r\n"),
    (b"A", [b"b\nBcc: c"], b"A: b\r\n\tBcc: c\r\n"),
    (b"A", [b"b\rBcc: c"], b"A: b\r\n\tBcc: c\r\n"),
    (b"A", [b"b\r\n\r\nbody"], b"A: b\r\n\tbody\r\n"),
    (b"A", [b"b", b"", b" \t", b" c"], b"A: b\r\n c\r\n"),
    (b"A", [b"b\r\n"], b"A: b\r\n"),
    (b"A", [b"\r\n b"], b"A: \r\n b\r\n"),
    (b"A", [b"\xe4\xff"], b"A: \xe4\xff\r\n"),
    (b"A", (part for part in [b"b", b"c"]), b"A: b\r\n\tc\r\n"),
])
def test_render(name, parts, octets):
    assert render_field(name, parts) == octets


@pytest.mark.parametrize("name", [b"", b"A ", b" A", b"A:", b"A\r\n", b"A\nB", b"A\0", b"\xe4", b"A B"])
def test_render_bad_names(name):
    with pytest.raises(ValueError):
        render_field(name, [b"x"])


def test_render_nul():
    with pytest.raises(ValueError, match="NUL in header field A"):
        render_field(b"A", [b"x", b" y\0"])


@pytest.mark.parametrize("parts", [b"text", "text", ["text"], [None]])
def test_render_types(parts):
    with pytest.raises(TypeError):
        render_field(b"A", parts)


@given(st.lists(st.text("ab: \t\r\n.", max_size=12).map(str.encode), max_size=5))
def test_whatever_is_rendered_is_one_field(parts):
    octets = render_field(b"Name", parts)
    fields = split_header(octets)
    assert len(fields) == 1
    assert fields[0].raw == octets
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert all(line.strip() for line in octets.split(b"\r\n")[:-1])


def collect(header_bytes=1000, header_fields=100):
    """A consume function: (section, fields) when the blank line was there, else None."""
    def consume(chunks):
        collector = HeaderCollector(header_bytes, header_fields)
        rest = bytearray()
        for chunk in chunks:
            rest += chunk[collector.feed(chunk):]
        if not collector.complete:
            return None, bytes(rest)
        state = (collector.too_big, collector.too_many, collector.fields)
        return (collector.take() if not any(state[:2]) else None, *state), bytes(rest)
    return consume


@pytest.mark.parametrize(("wire", "section", "fields"), [
    (b"\r\n", b"", 0),
    (b"A: b\r\n\r\n", b"A: b\r\n", 1),
    (b"A: b\r\n c\r\nD: e\r\n\r\n", b"A: b\r\n c\r\nD: e\r\n", 2),
    (b"..A: b\r\n\r\n", b".A: b\r\n", 1),
    (b"A: b\r\n. c\r\n\r\n", b"A: b\r\n c\r\n", 1),
    (b"..\r\n\r\n", b".\r\n", 1),
    (b" first\r\n\r\n", b" first\r\n", 1),
])
def test_collect(wire, section, fields):
    assert three_ways(collect(), wire, b"body\r\n..\r\n\r\n") == (section, False, False, fields)


def test_collect_needs_the_blank_line():
    assert growing(collect(), b"A: b\r\n. c\r\n..\r\n\r\n")[0] == b"A: b\r\n c\r\n.\r\n"


@given(SECTIONS)
def test_collected_is_what_was_stuffed(section):
    found, rest = collect()([stuff(section) + b"\r\nbody"])
    assert found == (section, False, False, len(split_header(section)))
    assert rest == b"body"


def test_limits_at_the_boundary():
    section = b"A: b\r\nC: d\r\n e\r\n"
    assert three_ways(collect(len(section), 2), section + b"\r\n") == (section, False, False, 2)
    assert three_ways(collect(len(section) - 1, 2), section + b"\r\n") == (None, True, False, 2)
    assert three_ways(collect(len(section), 1), section + b"\r\n") == (None, False, True, 2)


def test_over_the_limit_nothing_is_kept():
    collector = HeaderCollector(100, 10)
    for _ in range(1000):
        collector.feed(b"A: " + b"x" * 1000 + b"\r\n")
    assert collector.too_big and collector.too_many
    assert collector.fields == 1000
    assert len(collector.take()) <= 100
