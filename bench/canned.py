"""The floor: the least Python on uvloop that can take or pass on a message. A reference, not a mail server.

    python -m bench.canned discard        answers every command with a ready-made reply and drops the data
    python -m bench.canned refuse-connect the same, but the greeting is a refusal (refuse-rcpt, refuse-data: that reply)
    python -m bench.canned lockstep PORT  passes each command to 127.0.0.1:PORT and its reply back, one at a time

WORKERS in the environment: so many processes, each with a listener of its own on that port.

No limits, no policy, no checks: what Mailfilter costs more than this is what its work costs. The chosen port is the
first line on standard output. Must not import anything of Mailfilter.
"""
import asyncio
import ctypes
import os
import signal
import socket
import sys

import uvloop

END = b"\r\n.\r\n"

REPLIES = {
    b"EHLO": b"250-canned.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}
GREETING = b"220 canned.test ESMTP\r\n"
TAKEN = b"250 2.0.0 taken\r\n"


def find_end(tail, chunk):
    """Where the message ends: (octets of `chunk` that belong to it, or -1; the new tail).

    `tail` is the last four octets before the chunk. The end may begin in one and finish in the other.
    """
    seam = (tail + chunk[:4]).find(END)
    if seam >= 0:
        return seam + 5 - len(tail), b""
    end = chunk.find(END)
    if end >= 0:
        return end + 5, b""
    return -1, chunk[-4:] if len(chunk) >= 4 else (tail + chunk)[-4:]


class Discard(asyncio.Protocol):
    """One client whose messages are dropped."""

    greeting, taken = GREETING, TAKEN

    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""
        self.tail = None  # not None: inside a message
        transport.write(self.greeting)

    def data_received(self, data):
        while data:
            if self.tail is not None:
                used, self.tail = find_end(self.tail, data)
                if used < 0:
                    return
                self.tail = None
                data = data[used:]
                self.transport.write(self.taken)
                continue
            if self.rest:
                data, self.rest = self.rest + data, b""
            line, newline, data = data.partition(b"\n")
            if not newline:
                self.rest = line
                return
            verb = line[:4].upper()
            self.transport.write(REPLIES.get(verb, TAKEN))
            if verb == b"DATA":
                self.tail = b"\r\n"
            elif verb == b"QUIT":
                self.transport.close()


class Behind(asyncio.Protocol):
    """The connection to the next hop of one client."""

    def __init__(self, client):
        self.client = client
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        data = self.rest + data
        # A reply is whole when its last line has no hyphen after the code.
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            if data[start + 3:start + 4] != b"-":
                self.client.replied(data[:end])
                data, start = data[end:], 0
            else:
                start = end
        self.rest = data

    def connection_lost(self, _error):
        self.client.transport.close()

    def pause_writing(self):
        self.client.transport.pause_reading()

    def resume_writing(self):
        self.client.transport.resume_reading()


class LockStep(asyncio.Protocol):
    """One client whose commands go to the next hop one by one."""

    port = 0
    loop = None

    def connection_made(self, transport):
        self.transport = transport
        self.behind = None
        self.pending = b""
        self.verb = b"connect"  # the command whose reply is awaited, or None
        self.tail = None
        self.loop.create_task(self.connect())

    async def connect(self):
        try:
            _, self.behind = await self.loop.create_connection(lambda: Behind(self), "127.0.0.1", self.port)
        except OSError:
            self.transport.close()
            return
        if self.transport.is_closing():
            self.behind.transport.close()

    def data_received(self, data):
        if self.pending:
            data = self.pending + data
        self.pending = self.advance(data)

    def advance(self, data):
        """Pass on what may be passed on now and return what must wait."""
        while data and self.verb is None:
            if self.tail is not None:
                used, self.tail = find_end(self.tail, data)
                if used < 0:
                    self.behind.transport.write(data)
                    return b""
                self.behind.transport.write(data[:used])
                data = data[used:]
                self.verb, self.tail = b".", None
                return data
            end = data.find(b"\n") + 1
            if not end:
                return data
            line, data = data[:end], data[end:]
            self.verb = line[:4].upper()
            self.behind.transport.write(line)
        return data

    def replied(self, reply):
        """A whole reply came from the next hop."""
        if self.verb == b"DATA" and reply[:1] == b"3":
            self.tail = b"\r\n"
        self.verb = None
        self.transport.write(reply)
        if self.pending:
            self.pending = self.advance(self.pending)

    def connection_lost(self, _error):
        if self.behind is not None:
            self.behind.transport.close()

    def pause_writing(self):
        self.behind.transport.pause_reading()

    def resume_writing(self):
        self.behind.transport.resume_reading()


async def serve(kind, listener):
    """Serve until killed."""
    LockStep.loop = asyncio.get_running_loop()
    server = await LockStep.loop.create_server(kind, sock=listener, backlog=4096)
    await server.serve_forever()


def _listener(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def run(kind, workers):
    """Listen on a free port of 127.0.0.1, print it, and serve in so many processes, as a mail server with workers does."""
    first = _listener(0)
    port = first.getsockname()[1]
    for _ in range(workers - 1):
        if not os.fork():
            # It ends with the one that was started.
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
            first.close()
            first = _listener(port)
            break
    else:
        print(port, flush=True)
    uvloop.run(serve(kind, first))


if __name__ == "__main__":
    number = int(os.environ.get("WORKERS", "1"))
    if sys.argv[1:] == ["discard"]:
        run(Discard, number)
    elif sys.argv[1:] == ["refuse-connect"]:
        run(type("Refuse", (Discard,), {"greeting": b"554 5.7.1 not you\r\n"}), number)
    elif sys.argv[1:] == ["refuse-rcpt"]:
        REPLIES[b"RCPT"] = b"550 5.1.1 no such user\r\n"
        run(Discard, number)
    elif sys.argv[1:] == ["refuse-data"]:
        run(type("Refuse", (Discard,), {"taken": b"550 5.7.1 not this\r\n"}), number)
    elif len(sys.argv) == 3 and sys.argv[1] == "lockstep":
        LockStep.port = int(sys.argv[2])
        run(LockStep, number)
    else:
        sys.exit(__doc__)
