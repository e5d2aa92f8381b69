"""mail/octets.py: text of a policy becomes octets and loses nothing."""
import pytest

from mailfilter.mail.octets import octets


@pytest.mark.parametrize("given", [b"", b"abc", bytes(range(256))])
def test_octets_stay(given):
    assert octets(given) is given
    assert octets(bytearray(given)) == octets(memoryview(given)) == given


def test_every_octet_survives_a_trip_through_text():
    text = "Gr\u00fc\u00dfe \U0001f4e7".encode()
    for data in (bytes(range(256)), bytes(range(255, -1, -1)), text + b"\xff\xed\xa0\x80"):
        assert octets(data.decode("utf-8", "surrogateescape")) == data


@pytest.mark.parametrize("lone", ["\ud800", "\ud83d", "\udbff", "\udc00", "\udc7f", "\udd00", "\udfff"])
def test_a_surrogate_that_stands_for_nothing_is_replaced(lone):
    assert octets("a" + lone + "\udcff\u00fc") == b"a\xef\xbf\xbd\xff\xc3\xbc"


@pytest.mark.parametrize("given", [None, 5, [b"x"], object()])
def test_anything_else_is_no_text(given):
    with pytest.raises(TypeError):
        octets(given)
