"""_core/proxy: both versions of the PROXY protocol, whole, octet by octet, and with octets behind."""
import re
import struct

import pytest
from proxied import LOCAL, TCP4, TCP6, UNIX, UNSPEC, crc32c, ends, tls, triple, v2, with_checksum

from mailfilter._core.proxy import ProxyReader

FOUR = ends(("192.0.2.1", 56324), ("198.51.100.2", 25))
SIX = ends(("2001:db8::1", 1), ("2001:db8::2", 65535))
FOURS = {"source": ("192.0.2.1", 56324), "destination": ("198.51.100.2", 25)}
SIXES = {"source": ("2001:db8::1", 1), "destination": ("2001:db8::2", 65535)}
NOBODY = {"source": None, "destination": None}
TOLD = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "subject": None, "verified": False}

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", FOURS | {"version": 1, "local": False, "tls": None}),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:0DB8:0:0::2 1 65535\r\n", SIXES),
    "v1 longest": (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(105, b"x") + b"\r\n", NOBODY),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", NOBODY),
    "v1 IPv4 in IPv6": (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 25\r\n", FOURS),
    "v1 port 0": (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", {"source": ("1.2.3.4", 0)}),
    "v2 TCP4": (v2(*FOUR), FOURS | {"version": 2, "local": False, "tls": None, "authority": None, "unique_id": None}),
    "v2 TCP6": (v2(*SIX), SIXES),
    "v2 UNIX": (v2(UNIX, b"/a".ljust(216, b"\0")), {"source": ("local", 0), "destination": ("local", 0)}),
    "v2 LOCAL": (v2(UNSPEC, b"", command=LOCAL), NOBODY | {"local": True}),
    "v2 LOCAL with more": (v2(TCP4, b"any", b"thing", command=LOCAL), NOBODY | {"local": True, "tls": None}),
    "v2 UNSPEC": (v2(UNSPEC, b"addresses of what we do not know"), NOBODY | {"local": False}),
    "v2 with everything": (
        v2(*FOUR, triple(0x04, b"pad") + triple(0x02, b"mx.example.org") + triple(0x05, b"id") + triple(0x01, b"smtp")
           + tls(name=b"client") + triple(0x30, b"ns") + triple(0xE0, b"own")),
        FOURS | {"authority": "mx.example.org", "unique_id": b"id", "tls": TOLD | {"subject": "client", "verified": True}}),
    "v2 certificate not verified": (v2(*FOUR, tls(name=b"x", verify=18)), {"tls": TOLD | {"subject": "x"}}),
    "v2 no certificate": (v2(*SIX, tls()), SIXES | {"tls": TOLD}),
    "v2 no TLS": (v2(*FOUR, tls(flags=0)), {"tls": None}),
    "v2 control characters": (v2(*FOUR, tls(name=b"a\r\nb\xff")), {"tls": TOLD | {"subject": "a??b\ufffd", "verified": True}}),
    "v2 checksum": (with_checksum(*SIX, tls()), SIXES | {"tls": TOLD}),
    "v2 empty triple": (v2(*FOUR, triple(0x04, b"")), FOURS),
}

BAD = {
    "smtp": (b"EHLO client\r\n", "no PROXY header"),
    "tls": (b"\x16\x03\x01", "no PROXY header"),
    "lower case": (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
    "blank lines": (b"\r\n\r\n\r\n", "no PROXY header"),
    "v1 too long": (b"PROXY UNKNOWN".ljust(106, b"x") + b"\r\n", "longer than 107"),
    "v1 without end": (b"PROXY TCP4 " + b"1" * 200, "longer than 107"),
    "v1 family": (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "family"),
    "v1 without family": (b"PROXY \r\n", "family"),
    "v1 too few": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "two addresses"),
    "v1 too many": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "two addresses"),
    "v1 two blanks": (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "two addresses"),
    "v1 wrong family": (b"PROXY TCP4 ::1 ::1 1 2\r\n", "not one of its family"),
    "v1 short address": (b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "not one of its family"),
    "v1 NUL in the address": (b"PROXY TCP4 1.2.3.4\0x 1.2.3.4 1 2\r\n", "not one of its family"),
    "v1 octal": (b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "not one of its family"),
    "v1 scope": (b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "not one of its family"),
    "v1 port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "port"),
    "v1 signed port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "port"),
    "v1 padded port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 025 2\r\n", "port"),
    "v1 bare LF": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nHELO x\r\n", "port|two addresses"),
    "v2 version 1": (v2(*FOUR, version=1), "version"),
    "v2 command": (v2(*FOUR, command=2), "command"),
    "v2 datagram": (v2(0x12, FOUR[1]), "family"),
    "v2 half a family": (v2(0x10, FOUR[1]), "family"),
    "v2 cut IPv4": (v2(TCP4, FOUR[1][:-1]), "addresses are cut off"),
    "v2 cut IPv6": (v2(TCP6, FOUR[1]), "addresses are cut off"),
    "v2 cut UNIX": (v2(UNIX, b"/" * 215), "addresses are cut off"),
    "v2 too long": (v2(*FOUR, triple(0x04, b"x" * 5000)), "too long"),
    "v2 cut triple": (v2(*FOUR, b"\x04\0"), "triple is cut off"),
    "v2 long triple": (v2(*FOUR, b"\x04\0\x05abcd"), "longer than the header"),
    "v2 checksum": (v2(*FOUR, triple(0x03, b"\0\0\0\1")), "checksum is wrong"),
    "v2 short checksum": (v2(*FOUR, triple(0x03, b"\0\0\0")), "not four octets"),
    "v2 two checksums": (with_checksum(*FOUR, triple(0x03, b"\0\0\0\0")), "twice"),
    "v2 TLS twice": (v2(*FOUR, tls() + tls()), "twice"),
    "v2 cut TLS": (v2(*FOUR, triple(0x20, b"\1\0\0\0")), "TLS is cut off"),
    "v2 cut part of TLS": (v2(*FOUR, triple(0x20, b"\1\0\0\0\0\x21\0\x09abc")), "longer than the header"),
    "v2 unique id": (v2(*FOUR, triple(0x05, b"x" * 129)), "unique id"),
}


def read(chunks):
    """(header, reader) after the chunks, fed until something is known."""
    reader = ProxyReader()
    for chunk in chunks:
        header = reader.feed(chunk)
        if header is not None or reader.error is not None:
            return header, reader
    return None, reader


def bytewise(data):
    return [data[i:i + 1] for i in range(len(data))]


@pytest.mark.parametrize("name", GOOD)
def test_headers(name):
    data, expected = GOOD[name]
    for chunks, rest in (([data], b""), (bytewise(data), b""), ([data + b"EHLO x\r\n"], b"EHLO x\r\n"),
                         ([data[:-1], data[-1:] + b"\x16\x03"], b"\x16\x03")):
        header, reader = read(chunks)
        assert reader.error is None and reader.rest == rest
        assert {key: getattr(header, key) for key in expected} == expected
        assert repr(header).startswith("<ProxyHeader v")
        with pytest.raises(RuntimeError):
            reader.feed(b"")


@pytest.mark.parametrize("name", GOOD)
def test_half_a_header_is_none(name):
    data = GOOD[name][0]
    header, reader = read([data[:-1]])
    assert header is None and reader.error is None and reader.buffered == len(data) - 1


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header(name):
    data, words = BAD[name]
    errors = set()
    for chunks in ([data], bytewise(data), [data + b"EHLO x\r\n"]):
        header, reader = read(chunks)
        assert header is None
        errors.add(reader.error)
        with pytest.raises(RuntimeError):
            reader.feed(b"")
    assert len(errors) == 1
    assert re.search(words, errors.pop())


def test_the_limit_is_that_of_the_whole_header():
    data = v2(*FOUR, triple(0x04, b"x" * 100))
    assert ProxyReader(len(data)).feed(data) is not None
    reader = ProxyReader(len(data) - 1)
    assert reader.feed(data[:16]) is None and reader.error == "the header is too long"


def test_the_checksum_covers_every_octet():
    data = with_checksum(*FOUR, tls())
    assert crc32c(b"123456789") == 0xE3069283           # RFC 3720's check value
    for at in set(range(16, len(data))) - {28}:         # where the checksum's type stands
        reader = ProxyReader()
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
        assert reader.feed(broken) is None and reader.error is not None, at
    assert struct.unpack("!I", data[31:35])[0]
