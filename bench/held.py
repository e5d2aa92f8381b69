"""Memory of held connections, and what the others notice while JavaScript does not return; against a running server.

Memory is the server process's PSS: what is in its pages, shared ones by their share; the kernel's socket buffers are not
in it. Must not know what is compared with what.
"""
import asyncio
import resource
import time

import uvloop

from . import load

AT_ONCE = 64        # connections that are being opened at a time
CLIENT_FILES = 64   # descriptors that this process needs besides


def pss_kib(pid):
    """Proportional set size of one process, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def room_for(number):
    """How many of `number` connections this process and a server like it may hold, after raising the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The server reserves three for each of its sessions.
    return number if hard == resource.RLIM_INFINITY else min(number, (hard - CLIENT_FILES) // 3 - CLIENT_FILES)


async def _reply(reader):
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line


async def _talk(port, steps):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    greeting = await _reply(reader)
    if not greeting.startswith(b"220"):
        raise load.LoadFailed(f"greeted with {greeting!r}")
    for step in steps:
        writer.write(step)
        reply = await _reply(reader)
        if reply[:1] not in (b"2", b"3"):
            raise load.LoadFailed(f"{step!r} was answered {reply!r}")
    return writer


async def _hold(port, pid, number, steps, settled_s):
    before = pss_kib(pid)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one():
        async with gate:
            return await _talk(port, steps)

    writers = await asyncio.gather(*(one() for _ in range(number)))
    each = (pss_kib(pid) - before) / number
    idle = None
    if settled_s:
        # Until it grows no smaller: at least settled_s of no change, at most ten times that.
        end, lowest, since = time.monotonic() + 10 * settled_s, pss_kib(pid), time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < settled_s:
            await asyncio.sleep(0.2)
            now = pss_kib(pid)
            if now < lowest - 64:
                lowest, since = now, time.monotonic()
        idle = (pss_kib(pid) - before) / number
    for writer in writers:
        writer.close()
    return each, idle


def hold(system, number, message=None, settled_s=0.0):
    """KiB per connection when `number` of them are held after EHLO (and after one message each): (at once, idle).

    idle is measured when the server's memory has not shrunk for settled_s seconds; None for 0.
    """
    steps = [b"EHLO client.test\r\n"]
    if message is not None:
        steps += [b"MAIL FROM:<a@client.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n", message]
    return uvloop.run(_hold(system.port, system.pid, number, steps, settled_s))


async def _replies(port, seconds, sessions, stop):
    """Seconds that each reply took in sessions that send NOOP, one every 10 ms."""
    times = []

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _reply(reader)
        writer.write(b"EHLO fine.test\r\n")
        await _reply(reader)
        while not stop.done():
            begun = time.perf_counter()
            writer.write(b"MAIL FROM:<a@client.test>\r\nRSET\r\n")
            await _reply(reader)
            await _reply(reader)
            times.append(time.perf_counter() - begun)
            await asyncio.sleep(0.01)
        writer.close()

    asyncio.get_running_loop().call_later(seconds, stop.set_result, None)
    await asyncio.gather(*(one() for _ in range(sessions)))
    return sorted(times)


async def _loop_for_ever(port, stop, name):
    """One session after the other whose handler does not return; how many were ended with 421."""
    ended = 0
    while not stop.done():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _reply(reader)
        writer.write(b"EHLO " + name + b"\r\n")
        reply = await _reply(reader)
        if not reply.startswith(b"421"):
            raise load.LoadFailed(f"a handler that does not return was answered {reply!r}")
        ended += 1
        writer.close()
    return ended


async def _beside(port, seconds, sessions, name):
    stop = asyncio.get_running_loop().create_future()
    bad = asyncio.ensure_future(_loop_for_ever(port, stop, name)) if name else None
    times = await _replies(port, seconds, sessions, stop)
    return times, await bad if bad else 0


def beside(port, seconds, sessions, name=None):
    """(sorted seconds of pairs of replies in `sessions` well-behaved sessions, sessions ended meanwhile) while, one after
    the other, sessions that say EHLO `name` (bytes) keep the server's JavaScript busy; None: nobody does."""
    return uvloop.run(_beside(port, seconds, sessions, name))
