"""A connection to a scanner, over TCP or a UNIX socket: write, then read lines, sizes, or the rest.

What is read is bounded by whoever reads, and what arrives and is not read stays with the operating system. Nothing here has a
deadline: that is the Circuit's, which cancels whoever waits.

Must not know: any protocol of scanners.
"""
import asyncio
import socket

from mailfilter.errors import MailfilterError, ServiceProtocolError, ServiceUnavailable
from mailfilter.services.last_words import last_words

__all__ = ["Address", "Stream", "address_of", "open_stream"]

BUFFER_OCTETS = 262144
"""Octets that have come and nobody has read, before no more are taken from the operating system."""


class Address(tuple):
    """Where a service listens: ("tcp", host, port) or ("unix", path). str() is what the log calls it."""

    __slots__ = ()

    def __str__(self):
        return f"unix:{self[1]}" if self[0] == "unix" else f"[{self[1]}]:{self[2]}" if ":" in self[1] else f"{self[1]}:{self[2]}"


def address_of(host, port):
    """The Address that a policy means: a host (or address) with a port, or "unix:/path"."""
    if host.startswith("unix:"):
        if not host.startswith("unix:/") or "\0" in host or len(host) > 112:
            raise MailfilterError(f"'{host[:120]}' is no path of a UNIX socket")
        return Address(("unix", host[5:]))
    if not host or any(char <= " " or char == "\x7f" for char in host) or len(host) > 255:
        raise MailfilterError(f"'{host[:100]}' is no host")
    if port != int(port) or not 0 < port < 65536:
        raise MailfilterError(f"{port:g} is no port")
    return Address(("tcp", host.removeprefix("[").removesuffix("]"), int(port)))


async def open_stream(loop, address, tls=None):
    """Connect; OSError when that fails. tls: (an SSLContext, the name that the certificate must have) or None."""
    options = {} if tls is None else {"ssl": tls[0], "server_hostname": tls[1]}
    if address[0] == "unix":
        _, stream = await loop.create_unix_connection(Stream, address[1], **options)
    else:
        _, stream = await loop.create_connection(Stream, address[1], address[2], **options)
    return stream


class Stream(asyncio.Protocol):
    """One connection; used by one coroutine at a time. `requests`: for whoever counts them."""

    def __init__(self):
        self.requests = 0
        self.used = False
        self._transport = None
        self._quickly = None
        self._buffer = bytearray()
        self._searched = 0
        self._over = False
        self._waiter = None
        self._blocked = False
        self._paused = False

    # For asyncio.

    def connection_made(self, transport):
        self._transport = transport
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX and hasattr(socket, "TCP_QUICKACK"):
            self._quickly = connection.setsockopt
            self._quickly(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def data_received(self, data):
        self._buffer += data
        # Answers come in several small pieces, and a peer with Nagle's algorithm holds the second one back until the first is
        # acknowledged: for 40 ms, unless that is done at once. The system forgets that it was asked to.
        if self._quickly is not None:
            self._quickly(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if len(self._buffer) > BUFFER_OCTETS and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self):
        self._over = True
        self._wake()
        return False

    def connection_lost(self, error):
        if error is not None and self._transport.get_extra_info("ssl_object") is None:
            self._buffer += last_words(self._transport)
        self._over = True
        self._blocked = False
        self._quickly = None
        self._wake()

    def pause_writing(self):
        self._blocked = True

    def resume_writing(self):
        self._blocked = False
        self._wake()

    def _wake(self):
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _change(self):
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    # For services.

    @property
    def usable(self):
        """Whether another request can be sent: it is open, and nothing came that nobody asked for."""
        return not self._over and not self._buffer and not self._transport.is_closing()

    @property
    def over(self):
        """Whether the other side has ended it."""
        return self._over

    @property
    def answered(self):
        """Whether something has come that is not read yet."""
        return bool(self._buffer)

    def close(self):
        """End it at once."""
        self._transport.abort()

    def end(self):
        """End it when what was written has gone out."""
        self._transport.close()

    async def write(self, *pieces):
        """Send; waits while the other side does not take it. ServiceUnavailable when it has closed."""
        if self._over:
            raise ServiceUnavailable("the connection was closed")
        self._transport.writelines(pieces)
        while self._blocked and not self._over:
            await self._change()

    def finish_writing(self):
        """Nothing more is sent; answers are still read."""
        if not self._over and self._transport.can_write_eof():
            self._transport.write_eof()

    async def _more(self):
        if self._over:
            raise ServiceUnavailable("the connection was closed in the middle of an answer" if self._buffer else
                                     "the connection was closed without an answer")
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        await self._change()

    async def line(self, most, end=b"\n"):
        """Octets up to `end`, without it. ServiceProtocolError when there are more than `most`."""
        while True:
            at = self._buffer.find(end, self._searched)
            if at > most or at < 0 and len(self._buffer) > most:
                raise ServiceProtocolError(f"a line of more than {most} octets")
            if at >= 0:
                return self._take(at, len(end))
            self._searched = max(len(self._buffer) - len(end) + 1, 0)
            await self._more()

    async def exactly(self, size):
        """So many octets."""
        while len(self._buffer) < size:
            await self._more()
        return self._take(size, 0)

    async def some(self, most):
        """At least one octet, at most `most`; b"" at the end."""
        while not self._buffer:
            if self._over:
                return b""
            await self._more()
        return self._take(min(most, len(self._buffer)), 0)

    def _take(self, size, behind):
        taken = bytes(self._buffer[:size])
        del self._buffer[:size + behind]
        self._searched = 0
        if self._paused and len(self._buffer) < BUFFER_OCTETS:
            self._paused = False
            self._transport.resume_reading()
        return taken
