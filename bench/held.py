"""Memory of held connections, and what the others notice while JavaScript does not return; against a running server.

Memory is the PSS of the server's processes: what is in their pages, shared ones by their share; the kernel's socket buffers
and page tables are not in it, the latter are a figure of their own. Must not know what is compared with what.
"""
import asyncio
import resource
import subprocess
import sys
import time
from contextlib import contextmanager

import uvloop

from . import talk
from .cpu import descendants
from .launching import launch

GENERATOR = 5000    # connections that one process holds


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
    return number if hard == resource.RLIM_INFINITY else min(number, hard // 3 - hard // 30)


def memory_kib(pid):
    """(proportional set size, page tables) of a process and all under it, in KiB."""
    pss = tables = 0
    for each in descendants(pid):
        pss += pss_kib(each)
        with open(f"/proc/{each}/status", encoding="ascii") as lines:
            tables += next(int(line.split()[1]) for line in lines if line.startswith("VmPTE:"))
    return pss, tables


def workers_for(number):
    """How many workers it takes to hold so many connections: each reserves three descriptors for every session."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1 if hard == resource.RLIM_INFINITY else -(-number // (hard // 3 - hard // 30))


@contextmanager
def holding(port, number, kind):
    """The connections, held by processes of their own until the end of the block."""
    shares = [GENERATOR] * (number // GENERATOR) + ([number % GENERATOR] if number % GENERATOR else [])
    processes = [launch([sys.executable, "-m", "bench.holding", port, share, kind], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE) for share in shares]
    try:
        for process in processes:
            said = process.stdout.readline().decode().strip()
            if said != "held":
                raise talk.LoadFailed(said or "a load generator has ended")
        yield
    finally:
        for process in processes:
            process.stdin.close()
            process.stdout.close()
            process.wait()


def hold(system, number, kind, settled_s=0.0):
    """KiB per connection when `number` of them are held: (at once, settled, page tables then).

    kind: "nothing" (they only connect), "ehlo", or "message": what each of them has said. Settled: when the server's memory
    has not shrunk for settled_s seconds; None for 0.
    """
    before, tables_before = memory_kib(system.pid)
    with holding(system.port, number, kind):
        at_once = (memory_kib(system.pid)[0] - before) / number
        if not settled_s:
            return at_once, None, None
        # Until it grows no smaller: at least settled_s of no change, at most ten times that.
        end, lowest, since = time.monotonic() + 10 * settled_s, memory_kib(system.pid)[0], time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < settled_s:
            time.sleep(0.2)
            now = memory_kib(system.pid)[0]
            if now < lowest - 64:
                lowest, since = now, time.monotonic()
        now, tables = memory_kib(system.pid)
        return at_once, (now - before) / number, (tables - tables_before) / number


async def _reply(reader):
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line


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
            raise talk.LoadFailed(f"a handler that does not return was answered {reply!r}")
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
