"""Canonical bodies for DKIM: the examples of RFC 6376, and a definition by regular expressions, however the body is cut."""
import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.canonical import BodyCanonicalizer


def canonical(kind, *chunks):
    canonicalizer = BodyCanonicalizer(kind)
    return b"".join([*(canonicalizer.feed(chunk) for chunk in chunks), canonicalizer.finish()])


def defined(kind, body):
    """RFC 6376 §3.4.3 and §3.4.4, word by word, for a whole body."""
    if kind == "relaxed":
        body = re.sub(rb"[ \t]+\r\n", b"\r\n", body)
        body = re.sub(rb"[ \t]+\Z", b"", body)
        body = re.sub(rb"[ \t]+", b" ", body)
    body = re.sub(rb"(?:\r\n)+\Z", b"\r\n", body)
    if body == b"\r\n":
        body = b""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return body or (b"\r\n" if kind == "simple" else b"")


@pytest.mark.parametrize("kind, body, expected", [
    ("relaxed", b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),          # RFC 6376 §3.4.5
    ("simple", b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"),
    ("simple", b"", b"\r\n"), ("relaxed", b"", b""), ("simple", b"\r\n\r\n", b"\r\n"), ("relaxed", b" \t\r\n\r\n", b""),
    ("simple", b"no end", b"no end\r\n"), ("relaxed", b"no end  ", b"no end\r\n"),
    ("relaxed", b"a\r\n\r\nb\r\n\r\n", b"a\r\n\r\nb\r\n"), ("simple", b"a\rb\nc\r\n", b"a\rb\nc\r\n"),
    ("simple", b"a\r\n\r", b"a\r\n\r\r\n"), ("relaxed", b"a\r\n \r", b"a\r\n \r\r\n"),
])
def test_examples(kind, body, expected):
    assert canonical(kind, body) == expected == defined(kind, body)
    assert canonical(kind, *(body[i:i + 1] for i in range(len(body)))) == expected


@pytest.mark.hypothesis
@given(st.sampled_from(["simple", "relaxed"]), st.lists(st.lists(st.sampled_from(
    [b"a", b"bc", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\xff"]), max_size=8).map(b"".join), max_size=8))
def test_every_cut_gives_what_the_standard_says(kind, chunks):
    assert canonical(kind, *chunks) == defined(kind, b"".join(chunks))


def test_hashes_of_the_empty_body():
    """RFC 6376 §3.4.3 and §3.4.4 print them."""
    assert base64.b64encode(hashlib.sha256(canonical("simple")).digest()) == b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
    assert base64.b64encode(hashlib.sha256(canonical("relaxed")).digest()) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_there_are_two_kinds():
    with pytest.raises(ValueError, match="there is no canonicalization 'nofws'"):
        BodyCanonicalizer("nofws")
