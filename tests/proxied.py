"""Headers of the PROXY protocol, version 2, put together piece by piece (version 1 is written as it stands)."""
import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY, LOCAL = 1, 0
TCP4, TCP6, UNIX, UNSPEC = 0x11, 0x21, 0x31, 0x00


def triple(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def tls(version=b"TLSv1.3", cipher=b"TLS_AES_256_GCM_SHA384", name=None, verify=0, flags=None):
    flags = (1 if name is None else 7) if flags is None else flags
    parts = triple(0x21, version) + triple(0x23, cipher) + (triple(0x22, name) if name is not None else b"")
    return triple(0x20, struct.pack("!BI", flags, verify) + parts)


def ends(source, destination):
    """(family, octets) of two (address, port)."""
    kind = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    octets = b"".join(socket.inet_pton(kind, address) for address, _ in (source, destination))
    return (TCP6 if kind == socket.AF_INET6 else TCP4), octets + struct.pack("!HH", source[1], destination[1])


def v2(family=TCP4, addresses=b"", triples=b"", command=PROXY, version=2):
    body = addresses + triples
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, len(body)) + body


def crc32c(data):
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF


def with_checksum(family, addresses, triples=b""):
    """A header whose first triple is its checksum."""
    blank = v2(family, addresses, triple(0x03, b"\0" * 4) + triples)
    at = 16 + len(addresses) + 3
    return blank[:at] + struct.pack("!I", crc32c(blank)) + blank[at + 4:]
