"""The load: smtp-source for messages as fast as they go, and a uvloop client of our own for latency and stalls.

smtp-source (Postfix) speaks HELO, waits for every reply, and fills about one core at ten thousand messages a second;
that is why CPU per message is compared and not messages per second. Must not know what it loads.
"""
import asyncio
import subprocess
import time

import uvloop

from .systems import SMTP_SOURCE

SENDER, RECIPIENT = b"sender@client.test", b"user@example.test"
RUN_S = 120.0


class LoadFailed(Exception):
    """The system refused a message, hung or closed; the text says which."""


def blast(port, messages, length, sessions, kept):
    """Send `messages` of `length` octets over `sessions` parallel sessions; returns seconds.

    `kept`: a session sends message after message over one connection; otherwise every message has its own.
    """
    command = [SMTP_SOURCE, "-4", "-s", str(sessions), "-m", str(messages), "-l", str(length), "-C", "20",
               "-M", "client.test", "-f", SENDER.decode(), "-t", RECIPIENT.decode()]
    if kept:
        command.append("-d")
    start = time.monotonic()
    try:
        done = subprocess.run([*command, f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=RUN_S, check=False)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"smtp-source did not finish in {RUN_S:g} s") from None
    wall = time.monotonic() - start
    if done.returncode:
        raise LoadFailed(done.stderr.decode("utf-8", "replace").strip()[-300:] or f"exit {done.returncode}")
    return wall


def message(length):
    """A message of about `length` octets as it follows 354, in lines of 76 characters, with its final dot."""
    head = (b"From: <%b>\r\nTo: <%b>\r\nSubject: load\r\nMessage-Id: <load@client.test>\r\n"
            b"Date: Sun, 01 Nov 2026 00:00:00 +0000\r\n\r\n" % (SENDER, RECIPIENT))
    line = b"The quick brown fox jumps over the lazy dog, again and again and again...\r\n"
    return head + line * max(0, (length - len(head)) // len(line)) + b".\r\n"


class _Player(asyncio.Protocol):
    """Sends one step after each reply; `done` gets None at the end, or what went wrong."""

    def __init__(self, steps, done):
        self.steps = iter(steps)
        self.done = done
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
                self.finish(f"refused: {line!r}")
                return
            step = next(self.steps, None)
            if step is None:
                self.finish(None)
                return
            self.transport.write(step)

    def finish(self, problem):
        if not self.done.done():
            self.done.set_result(problem)
        self.transport.close()

    def connection_lost(self, _error):
        if not self.done.done():
            self.done.set_result("closed before the end")


def _steps(bodies):
    yield b"EHLO client.test\r\n"
    for body in bodies:
        yield b"MAIL FROM:<%b>\r\n" % SENDER
        yield b"RCPT TO:<%b>\r\n" % RECIPIENT
        yield b"DATA\r\n"
        yield body
    yield b"QUIT\r\n"


async def _session(port, bodies):
    """One whole session in lock step; returns its seconds from connect to the reply to QUIT."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    start = time.perf_counter()
    try:
        await loop.create_connection(lambda: _Player(_steps(bodies), done), "127.0.0.1", port)
        problem = await asyncio.wait_for(done, 30)
    except (OSError, TimeoutError) as error:
        problem = repr(error)
    if problem:
        raise LoadFailed(problem)
    return time.perf_counter() - start


async def _paced(port, rate, seconds, body):
    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    for number in range(int(rate * seconds)):
        # Open loop: a session starts when it is due, however long the earlier ones take.
        delay = start + number / rate - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(loop.create_task(_session(port, [body])))
    return sorted(await asyncio.gather(*tasks))


def latency(port, rate, seconds, length=4096):
    """Seconds of each one-message session, sorted, when `rate` of them begin every second."""
    return uvloop.run(_paced(port, rate, seconds, message(length)))


async def _one_by_one(port, body, number):
    return [await _session(port, [body]) for _ in range(number)]


def stalls(port, length, number):
    """Seconds of each of `number` one-message sessions, one after the other on an otherwise idle system, sorted.

    A system that leaves Nagle's algorithm on waits 40 ms in each for the other side's delayed acknowledgement.
    """
    return sorted(uvloop.run(_one_by_one(port, message(length), number)))
