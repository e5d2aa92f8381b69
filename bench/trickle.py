"""Slow clients: very many connections that send an octet now and then, in a process of their own.

Must not know what they are held for.
"""
import asyncio
import resource
import time
from collections import Counter

import uvloop

AT_ONCE = 50            # connections that are being opened at a time


class _Slow(asyncio.Protocol):
    """One client: greeted, then an octet of a command each time that `drip` is called, until the server hangs up."""

    def __init__(self, greeted, gone):
        self.greeted = greeted
        self.gone = gone
        self.heard = b""
        self.life = None

    def connection_made(self, transport):
        self.transport = transport
        self.since = time.monotonic()

    def data_received(self, data):
        self.heard += data
        if not self.greeted.done():
            self.greeted.set_result(None)

    def drip(self):
        if self.life is None:
            self.transport.write(b"E")

    def connection_lost(self, _error):
        self.life = time.monotonic() - self.since
        if not self.greeted.done():
            self.greeted.set_result(None)
        self.gone(self)


async def _hold(pipe, port, number, every_s):
    loop = asyncio.get_running_loop()
    gate, left, all_gone = asyncio.Semaphore(AT_ONCE), number, asyncio.Event()
    clients = []

    def gone(_client):
        nonlocal left
        left -= 1
        if not left:
            all_gone.set()

    async def one():
        async with gate:
            greeted = loop.create_future()
            client = _Slow(greeted, gone)
            await loop.create_connection(lambda: client, "127.0.0.1", port)
            await greeted
            clients.append(client)

    await asyncio.gather(*(one() for _ in range(number)))
    pipe.send("here")

    async def drip():
        while True:
            # Spread over the time, as they would be.
            begun = loop.time()
            for at, client in enumerate(clients):
                client.drip()
                if at % 100 == 99:
                    await asyncio.sleep(max(0.0, begun + every_s * at / number - loop.time()))
            await asyncio.sleep(max(0.05, begun + every_s - loop.time()))

    dripping = loop.create_task(drip())
    await all_gone.wait()
    dripping.cancel()
    answers = Counter(client.heard.rsplit(b"\n", 2)[-2][:9].decode("ascii", "replace") for client in clients)
    pipe.send(([client.life for client in clients], dict(answers)))


def hold(pipe, port, number, every_s):
    """Be `number` slow clients of a port on this machine, until the server has ended them all.

    Sends through `pipe` (of multiprocessing) "here" once all have been greeted, and at the end
    ([seconds from connect to end], {the beginning of what they heard last: how many}).
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_hold(pipe, port, number, every_s))
