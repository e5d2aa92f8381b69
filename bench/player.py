"""A client on an asyncio loop that plays a session in lock step; `talk.py` is the one that measures what costs little.

Must not know what it plays, and to whom.
"""
import asyncio
import time

from .talk import LoadFailed


class Player(asyncio.Protocol):
    """Sends one step after each reply, the greeting included.

    done: a future; gets the seconds between the last step and the reply to it, or LoadFailed when a reply is no 2xx or 3xx or the
        connection ends before. stays: the connection is left open then.
    """

    def __init__(self, steps, done, stays=False):
        self.steps = iter(steps)
        self.done = done
        self.stays = stays
        self.sent = time.perf_counter()
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rest += data
        while not self.done.done() and (end := self.rest.find(b"\n") + 1):
            line, self.rest = self.rest[:end], self.rest[end:]
            if line[3:4] == b"-":
                continue
            if line[:1] not in (b"2", b"3"):
                self.done.set_exception(LoadFailed(line.decode("utf-8", "replace").strip()))
                self.transport.close()
                return
            step = next(self.steps, None)
            if step is None:
                self.done.set_result(time.perf_counter() - self.sent)
                if not self.stays:
                    self.transport.close()
                return
            self.sent = time.perf_counter()
            self.transport.write(step)

    def connection_lost(self, _error):
        if not self.done.done():
            self.done.set_exception(LoadFailed("closed before the end"))
