"""Workers and next hops are killed (kill -9) at random moments while clients deliver through `proxy.js`.

Whatever is killed when: a message that a client was told is taken is at the next hop, whole; and it is there twice only
where an earlier attempt left the question open, so that the client had to try again.
"""
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from messages.varied import number_of, varied
from peers import postfix
from peers.durable_sink import DurableSink
from peers.postfix import Postfix, without_trace
from peers.sender import BadReply, Closed, Sender, on_the_wire
from peers.waiting import wait_until
from scale import SCALE

TEST_SECONDS = 60 + 10 * SCALE
SEEDS = range(1 + SCALE)

MESSAGES = 160
CLIENTS = 8
KILLS = 8
WORKERS = 4
LONGEST_PAUSE_S = 0.02
PATIENCE_S = 15.0

# How an attempt to deliver ends.
TAKEN = "taken"            # 250 to the message
OPEN = "open"              # the whole message was sent, and no reply came
REFUSED = "refused"        # the whole message was sent, and the reply was not 250
NOT_SENT = "not sent"      # something failed before the end of the message was sent


class Client(threading.Thread):
    """Delivers messages one after the other, each again and again until it is taken; notes how each attempt ended."""

    def __init__(self, port, numbers, rng):
        super().__init__()
        self.attempts = {number: [] for number in numbers}
        self.taken = 0
        self.problem = None
        self._port = port
        self._rng = rng
        self._sender = None

    def run(self):
        try:
            for number, attempts in self.attempts.items():
                while TAKEN not in attempts and len(attempts) < 100:
                    attempts.append(self._attempt(on_the_wire(varied(number))))
                self.taken += 1
                if self._rng.random() < 0.4:
                    self._leave()
            self._leave()
        except BaseException as error:
            self.problem = error

    def _leave(self):
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _attempt(self, wire):
        sent = False
        try:
            if self._sender is None:
                self._sender = Sender(self._port, patience=PATIENCE_S)
                if self._sender.reply().code != 220 or self._sender.command(b"EHLO client.test").code != 250:
                    self._leave()
                    return NOT_SENT
            for line, code in ((b"MAIL FROM:<sender@client.test>", 250), (b"RCPT TO:<user@example.test>", 250),
                               (b"DATA", 354)):
                if self._sender.command(line).code != code:
                    self._leave()
                    return NOT_SENT
            self._sender.send(wire)
            sent = True
            if self._sender.reply().code == 250:
                return TAKEN
            self._leave()
            return REFUSED
        except (Closed, BadReply, OSError):
            self._leave()
            return OPEN if sent else NOT_SENT


def deliver_all(port, seed, kill):
    """Deliver all messages while `kill()` is called KILLS times at random moments; {number: how attempts ended}."""
    rng = random.Random(seed)
    clients = [Client(port, range(first, MESSAGES, CLIENTS), random.Random(rng.random())) for first in range(CLIENTS)]
    never = threading.Event()
    for client in clients:
        client.start()
    for number in range(KILLS):
        wait_until(lambda so_many=number * MESSAGES / KILLS: sum(client.taken for client in clients) >= so_many
                   or not any(client.is_alive() for client in clients), "some messages to be delivered", 60)
        never.wait(rng.uniform(0.0, LONGEST_PAUSE_S))  # a moment within whatever is going on then
        kill(rng)
    for client in clients:
        client.join()
    assert [client.problem for client in clients if client.problem] == []
    return {number: ends for client in clients for number, ends in client.attempts.items()}


def assert_nothing_lost(attempts, arrived, unsettled):
    """arrived: contents at the next hop; unsettled: the ends of attempts after which the message may be there."""
    there = Counter()
    for content in arrived:
        content = without_trace(content)[1]
        number = number_of(content)
        assert content == varied(number)
        there[number] += 1
    assert set(there) <= set(attempts)
    for number, ends in attempts.items():
        assert ends[-1] == TAKEN, (number, ends)
        assert 1 <= there[number] <= 1 + sum(end in unsettled for end in ends), (number, ends, there[number])
    assert sum(len(ends) for ends in attempts.values()) > MESSAGES, "nobody noticed the kills"


def unstuffed(wire):
    return b"\r\n".join(line.removeprefix(b".") for line in wire.split(b"\r\n"))


def children(pid):
    """The processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_one(pids, rng):
    if pids:
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself


@pytest.fixture
def sink():
    with DurableSink() as sink:
        yield sink


def proxy_before(port, serve):
    return serve("proxy", settings={"nextHop": f"127.0.0.1:{port}"}, options=["--workers", WORKERS])


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_are_killed(sink, serve, seed):
    proxy = proxy_before(sink.port, serve)
    attempts = deliver_all(proxy.port, seed, lambda rng: kill_one(children(proxy.process.pid), rng))
    assert REFUSED not in sum(attempts.values(), [])
    assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {OPEN})


@pytest.mark.parametrize("seed", SEEDS)
def test_the_next_hop_is_killed(sink, serve, seed):
    def kill(_rng):
        sink.kill()
        sink.start()

    proxy = proxy_before(sink.port, serve)
    attempts = deliver_all(proxy.port, seed, kill)
    assert OPEN not in sum(attempts.values(), []), "our client is told, whatever happens behind"
    # What the client was told is 451: we had no reply. Nothing else than 4xx is right.
    assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {REFUSED})


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_both_are_killed(sink, serve, seed):
    def kill(rng):
        if rng.random() < 0.5:
            kill_one(children(proxy.process.pid), rng)
        else:
            sink.kill()
            sink.start()

    proxy = proxy_before(sink.port, serve)
    attempts = deliver_all(proxy.port, seed, kill)
    assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {OPEN, REFUSED})


@pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))
@pytest.mark.parametrize("seed", SEEDS[1:])
def test_the_processes_of_a_real_next_hop_are_killed(serve, seed):
    """Postfix's smtpd, each of which serves one connection; its master starts others."""
    with Postfix() as destination:
        def kill(rng):
            kill_one([pid for pid in children(destination.pid)
                      if Path(f"/proc/{pid}/comm").read_text() == "smtpd\n"], rng)

        proxy = proxy_before(destination.port, serve)
        attempts = deliver_all(proxy.port, seed, kill)
        destination.wait_until_empty()
        arrived = destination.delivered()
    assert_nothing_lost(attempts, arrived, {REFUSED})
