"""Fuzz target: the header of the PROXY protocol. An input is what a connection from a trusted address begins with.

Invariants:

- no exception, whatever comes; an error is final;
- the same header, error and remaining octets whether the input comes whole, octet by octet, or cut anywhere;
- header and remaining octets are together what came, and the header is no longer than its limit;
- addresses are addresses, ports are ports, texts have no control characters.
"""
import ipaddress

from mailfilter._core.proxy import V1_SIGNATURE, V2_SIGNATURE, ProxyReader

from . import running

MOST = 300
NAMES = ("version", "local", "source", "destination", "authority", "tls", "unique_id")
PIECES = [
    V1_SIGNATURE, V2_SIGNATURE, b"\r\n", b" ", b"TCP4", b"TCP6", b"UNKNOWN", b"1.2.3.4", b"::ffff:1.2.3.4", b"65535", b"0",
    b"\x21\x11\0\x0c", b"\x21\x21\0\x24", b"\x21\x31\0\xd8", b"\x20\0\0\0", b"\x21\0\0\0", b"\0\0", b"\xff\xff", b"\x03\0\4",
    b"\x20\0\5\1\0\0\0\0", b"\x02\0\1a", b"\x04\0\0", b"\x21\0\7TLSv1.3", b"\n", b"\0", b"x" * 50]


def outcome(chunks):
    """What a header says, or why it is none; with the octets that are left."""
    reader = ProxyReader(MOST)
    rest = b""
    header = None
    for chunk in chunks:
        if header is not None:
            rest += chunk
        elif reader.error is None:
            header = reader.feed(chunk)
            rest = reader.rest
    if header is None:
        assert reader.buffered <= MOST
        return reader.error, None, b""
    said = {name: getattr(header, name) for name in NAMES}
    return None, said, rest


def check(data):
    """Headers are read the same however they come, and say nothing that is not in them."""
    whole = outcome([data])
    assert whole == outcome([data[i:i + 1] for i in range(len(data))])
    half = len(data) // 2
    assert whole == outcome([data[:half], data[half:]])
    error, header, rest = whole
    if header is None:
        assert error or (V2_SIGNATURE.startswith(data[:12]) or data[:12] == V2_SIGNATURE or V1_SIGNATURE.startswith(data[:6]))
        return
    assert data.endswith(rest) and len(data) - len(rest) <= MOST
    for end in (header["source"], header["destination"]):
        if end is not None and end != ("local", 0):
            ipaddress.ip_address(end[0])
            assert 0 <= end[1] <= 65535
    for text in (header["authority"], *(header["tls"] or {}).values()):
        assert text is None or isinstance(text, bool) or text.isprintable()


if __name__ == "__main__":
    running.main("proxy", check, PIECES)
