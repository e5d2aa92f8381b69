"""`python -m bench.authentication`: what it costs to find out who sent a message, and how long the client waits.

A DNS server that takes 20 ms, messages of 4 KiB with a DKIM signature (RSA 2048), one for each connection. "Fresh" means that
every message has a domain and a client that nobody has asked about; "known" that the DNS cache has it all. CPU is the server's,
beside that of the same session without a check. At the end 1,000 sessions in flight while one of three DNS servers is silent.
"""
import argparse
import asyncio
import base64
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import dkim
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from . import cpu, report, systems
from .dns_server import address_of
from .launching import PROJECT, launch
from .player import Player
from .talk import LoadFailed

DELAY_MS = 20
CHECKS = ("nothing", "spf", "dnsbl", "dkim", "dmarc", "all")
WORDS = {"nothing": "no check", "spf": "SPF", "dnsbl": "5 blocklists", "dkim": "DKIM", "dmarc": "DMARC (RFC 9989)",
         "all": "all together (policy authenticate)"}
IN_FLIGHT = 1000
AT_ONCE = 20
BODY = b"The quick brown fox jumps over the lazy dog, again and again and again...\r\n" * 50
LARGE = b"x" * 76 + b"\r\n"


class Messages:
    """Messages of domains of their own, each signed."""

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        self.pem = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                          serialization.NoEncryption())
        public = self.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.published = base64.b64encode(public).decode()
        self._made = {}

    def of(self, number):
        """The message of a domain as it follows 354."""
        if number not in self._made:
            domain = b"d%d.bench" % number
            text = (b"From: <a@%b>\r\nTo: <b@example.test>\r\nSubject: load\r\nMessage-Id: <%d@%b>\r\n"
                    b"Date: Sun, 01 Nov 2026 00:00:00 +0000\r\n\r\n" % (domain, number, domain)) + BODY
            signature = dkim.sign(text, b"k", domain, self.pem, canonicalize=(b"relaxed", b"relaxed"),
                                  include_headers=[b"from", b"to", b"subject", b"date", b"message-id"])
            self._made[number] = signature + text + b".\r\n"
        return self._made[number]


async def _session(port, number, message):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    steps = [b"EHLO c%d.bench\r\n" % number, b"MAIL FROM:<a@d%d.bench>\r\n" % number, b"RCPT TO:<b@example.test>\r\n",
             b"DATA\r\n", message]
    await loop.create_connection(lambda: Player(steps, done), "127.0.0.1", port)
    return await asyncio.wait_for(done, 60)


async def _load(port, numbers, messages, at_once, spread=0.0):
    """Seconds that each message waited for its reply, sorted. spread: in so many seconds the sessions begin."""
    gate, loop = asyncio.Semaphore(at_once), asyncio.get_running_loop()
    begun = loop.time()

    async def one(place, number):
        await asyncio.sleep(max(begun + spread * place / len(numbers) - loop.time(), 0))
        async with gate:
            return await _session(port, number, messages.of(number))

    return sorted(await asyncio.gather(*(one(place, number) for place, number in enumerate(numbers))))


@contextmanager
def dns_serving(messages):
    process = launch([sys.executable, "-m", "bench.dns_server", "0", DELAY_MS, messages.published], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate()


@contextmanager
def _silent():
    """The port of a DNS server that reads and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


def _server(what, *dns):
    options = ["--set", f"what={what}", "--limit", "address_connections=0", "--limit", "network_connections=0", "--limit",
               "address_rate=0", "--limit", "network_rate=0", "--limit", "lag_ms=0", "--set",
               "dnsbl=list1.bench list2.bench list3.bench list4.bench list5.bench"]
    for port in dns:
        options += ["--dns-server", f"127.0.0.1:{port}"]
    return systems.mailfilter(what, PROJECT / "bench/policies/authentication.js", *options)


def measure_checks(chosen, messages, dns, say):
    """{check: ([µs per fresh message, …], [µs per known one, …], [ms that a lone fresh message waits, …], [the same, known])}."""
    found, number = {}, 1
    with ExitStack() as stack:
        running = {what: stack.enter_context(_server(what, dns)) for what in CHECKS}
        for round_ in range(chosen.rounds + 1):
            for what, system in running.items():
                say(f"round {round_} of {chosen.rounds}: {what}")
                figures = found.setdefault(what, ([], [], [], []))
                fresh = range(number, number + chosen.messages)
                lone = range(number + chosen.messages, number + chosen.messages + chosen.alone)
                known = [number] * chosen.messages
                number += chosen.messages + chosen.alone
                for one in (*fresh, *lone):
                    messages.of(one)
                for place, numbers in ((0, fresh), (1, known)):
                    before = cpu.settled_cpu_seconds(system.pid)
                    uvloop.run(_load(system.port, numbers, messages, AT_ONCE))
                    used = (cpu.settled_cpu_seconds(system.pid) - before) / len(numbers) * 1e6
                    if round_:
                        figures[place].append(used)
                for place, numbers in ((2, lone), (3, [number - 1] * len(lone))):
                    waited = uvloop.run(_load(system.port, numbers, messages, 1))
                    if round_:
                        figures[place].extend(seconds * 1e3 for seconds in waited)
                messages._made.clear()
    return found


def _in_flight(chosen, messages, dns, say):
    """(ms that each of the sessions waited, sorted; seconds for all; CPU µs for each) with one of three servers silent."""
    sessions = chosen.sessions
    for number in range(sessions):
        messages.of(10_000_000 + number)
    with _silent() as silent, dns_serving(messages) as other, _server("all", silent, dns, other) as system:
        say(f"{sessions} sessions in flight, one of three DNS servers silent")
        uvloop.run(_load(system.port, [9_999_999], messages, 1))
        before, begun = cpu.settled_cpu_seconds(system.pid), time.perf_counter()
        waited = uvloop.run(_load(system.port, range(10_000_000, 10_000_000 + sessions), messages, sessions, spread=0.5))
        seconds = time.perf_counter() - begun
        used = cpu.settled_cpu_seconds(system.pid) - before
    return [one * 1e3 for one in waited], seconds, used / sessions * 1e6


def _beside_large(chosen, messages, dns, say):
    """ms that small messages wait beside others of 20 MiB whose signatures are being verified, sorted; and without those."""
    say("beside large messages")
    text = b"From: <a@d1.bench>\r\nSubject: large\r\n\r\n" + LARGE * ((chosen.large << 20) // len(LARGE))
    large = dkim.sign(text, b"k", b"d1.bench", messages.pem, canonicalize=(b"relaxed", b"relaxed"),
                      include_headers=[b"from", b"subject"]) + text + b".\r\n"

    async def both(port, beside):
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        async def again(number):
            while not stop.is_set():
                await _session(port, number, large)

        tasks = [loop.create_task(again(1)) for _ in range(beside)]
        waited = await _load(port, [2] * chosen.alone * 3, messages, 1)
        stop.set()
        await asyncio.gather(*tasks)
        return [one * 1e3 for one in waited]

    with _server("dkim", dns) as system:
        uvloop.run(_load(system.port, [1, 2], messages, 1))
        return uvloop.run(both(system.port, 0)), uvloop.run(both(system.port, 2))


def _at(values, percent):
    values = sorted(values)
    return values[min(len(values) * percent // 100, len(values) - 1)]


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.authentication", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="see whether everything works; the figures mean little")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every check (default 3)")
    parser.add_argument("--record", action="store_true", help="append the table to bench/results.md")
    chosen = parser.parse_args(words)
    chosen.rounds = 1 if chosen.quick else chosen.rounds
    chosen.messages, chosen.alone, chosen.sessions, chosen.large = (20, 3, 30, 1) if chosen.quick else (500, 40, IN_FLIGHT, 20)
    return chosen


def main(words=None):
    chosen = arguments(words)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    messages = Messages()
    assert address_of(1) == b"\x0a\0\0\1"
    try:
        with dns_serving(messages) as dns:
            found = measure_checks(chosen, messages, dns, say)
            waited, seconds, used = _in_flight(chosen, messages, dns, say)
            alone, beside = _beside_large(chosen, messages, dns, say)
    except (systems.Unavailable, LoadFailed, OSError, TimeoutError) as error:
        print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    base = [statistics.median(values) for values in found["nothing"][:2]]
    rows = []
    for what in CHECKS:
        fresh, known, lone, lone_known = found[what]
        cpu_cells = [f"{statistics.median(fresh):,.0f}", f"{statistics.median(known):,.0f}"] if what == "nothing" else [
            f"+ {statistics.median(values) - less:,.0f}" for values, less in zip((fresh, known), base, strict=True)]
        rows.append([WORDS[what], *cpu_cells, f"{_at(lone, 50):.1f} / {_at(lone, 99):.1f}",
                     f"{_at(lone_known, 50):.1f} / {_at(lone_known, 99):.1f}"])
    rows += [
        [f"{chosen.sessions:,} sessions in flight, one of three DNS servers silent, all taken in {seconds:.1f} s", f"{used:,.0f}",
         "", f"{_at(waited, 50):,.0f} / {_at(waited, 99):,.0f}", ""],
        [f"small messages (DKIM), alone / beside two of {chosen.large} MiB that are verified", "", "", "",
         f"{_at(alone, 50):.1f} / {_at(alone, 99):.1f}; {_at(beside, 50):.1f} / {_at(beside, 99):.1f}"],
    ]
    text = report.table(report.conditions(chosen.rounds), [
        f"who sent it; DNS takes {DELAY_MS} ms", "CPU, µs a fresh message", "known", "reply after, p50 / p99 ms, fresh", "known"],
        rows)
    print(text)
    if chosen.record:
        report.record(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
