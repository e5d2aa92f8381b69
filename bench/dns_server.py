"""`python -m bench.dns_server PORT MILLISECONDS KEY`: a DNS server on 127.0.0.1 that answers every question late, for measuring.

What it answers follows from the name, so that there are as many domains as one likes: `dN.bench` lets 10.0.0.0/8 send and has a
DMARC record and the DKIM key KEY (base64) at selector k; every address has the name `cN.bench`; `*.listN.bench` does not exist.
PORT 0 lets the system choose; the port is printed. Must not know who asks.
"""
import asyncio
import re
import socket
import sys

import uvloop

TTL = (300).to_bytes(4, "big")
_A, _PTR, _TXT = 1, 12, 16
_DOMAIN = re.compile(r"(_dmarc\.|k\._domainkey\.)?d[0-9]+\.bench")
_BUFFER = 16 << 20


def _labels(question):
    """(name, type, length of the question) of what stands behind a packet's header."""
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1"))
        at += 1 + question[at]
    return ".".join(labels).lower(), int.from_bytes(question[at + 1:at + 3], "big"), at + 5


def _strings(text):
    pieces = [text[at:at + 255] for at in range(0, len(text), 255)]
    return b"".join(bytes((len(piece),)) + piece for piece in pieces)


def _wire(name):
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


class Answers(asyncio.DatagramProtocol):
    """Answers each datagram `delay` seconds later."""

    def __init__(self, delay, key):
        self.delay = delay
        self.texts = {None: b"v=spf1 ip4:10.0.0.0/8 -all", "_dmarc.": b"v=DMARC1; p=reject; rua=mailto:d@bench",
                      "k._domainkey.": b"v=DKIM1; k=rsa; p=" + key}

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def datagram_received(self, data, peer):
        self.loop.call_later(self.delay, self.transport.sendto, self.answer(data), peer)

    def answer(self, data):
        name, kind, length = _labels(data[12:])
        record = self.record(name, kind)
        flags = b"\x81\x83" if record is None else b"\x81\x80"
        head = data[:2] + flags + b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0" + data[12:12 + length]
        if not record:
            return head
        return head + b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1" + TTL + len(record).to_bytes(2, "big") + record

    def record(self, name, kind):
        """The data of the one record; b"" where there is none of that type, None where there is no such name."""
        domain = _DOMAIN.fullmatch(name)
        if domain is not None:
            return _strings(self.texts[domain[1]]) if kind == _TXT else b""
        if name.endswith(".in-addr.arpa"):
            return _wire(f"c{number_of(name.split('.')[3::-1])}.bench") if kind == _PTR else b""
        client = re.fullmatch(r"c([0-9]+)\.bench", name)
        if client:
            return address_of(int(client[1])) if kind == _A else b""
        return None


def address_of(number):
    """The address of a client, in octets."""
    return (0x0A000000 | number).to_bytes(4, "big")


def number_of(octets):
    return int.from_bytes(bytes(map(int, octets)), "big") & 0xFFFFFF


async def _serve(port, delay, key):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE, _BUFFER)
    except (AttributeError, PermissionError):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    server.bind(("127.0.0.1", port))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Answers(delay, key), sock=server)
    print(server.getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 1000, sys.argv[3].encode()))
