"""xtext: what goes in comes out, and nothing in it could end a parameter."""
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.mail.xtext import xtext


def test_examples():
    assert xtext(b"plain.text") == b"plain.text"
    assert xtext(b"a+b=c d\r\n\xff") == b"a+2Bb+3Dc+20d+0D+0A+FF"
    assert xtext(b"") == b""


@given(st.binary())
def test_any_octets(octets):
    text = xtext(octets)
    assert all(33 <= octet <= 126 and octet != ord("=") for octet in text)
    decoded, at = bytearray(), 0
    while at < len(text):
        if text[at] == ord("+"):
            decoded.append(int(text[at + 1:at + 3], 16))
            at += 3
        else:
            decoded.append(text[at])
            at += 1
    assert bytes(decoded) == octets
