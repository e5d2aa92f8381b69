"""`python -m bench.holding PORT NUMBER KIND`: holds connections until its standard input is closed.

Says "held" when each has said what KIND tells it to and was answered, or what went wrong. Kinds: "nothing", "ehlo",
"message" (EHLO and one message of 4 KiB). Must not know who asks, and why.
"""
import asyncio
import resource
import sys

import uvloop

from .player import Player
from .talk import LoadFailed, message

AT_ONCE = 64        # connections that are being opened at a time

STEPS = {
    "nothing": (),
    "ehlo": (b"EHLO client.test\r\n",),
    "message": (b"EHLO client.test\r\n", b"MAIL FROM:<a@client.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n",
                message(4096)),
}


async def _hold(port, number, kind):
    loop, gate, transports = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE), []

    async def one():
        async with gate:
            done = loop.create_future()
            transport, _ = await loop.create_connection(lambda: Player(STEPS[kind], done, stays=True), "127.0.0.1", port)
            transports.append(transport)
            if STEPS[kind]:
                await asyncio.wait_for(done, 60)

    await asyncio.gather(*(one() for _ in range(number)))
    print("held", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main(words=None):
    """The program."""
    port, number, kind = words or sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        uvloop.run(_hold(int(port), int(number), kind))
    except (LoadFailed, OSError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
