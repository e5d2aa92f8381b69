"""Deliveries by clients that never give up, while something is killed at random moments; and what must have arrived then.

A message that a client was told is taken is there, whole; and it is there twice only where an earlier attempt left the question
open, so that the client had to try again.

Must not know: what is killed, and where messages go.
"""
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from messages.varied import number_of, varied

from .postfix import without_trace
from .sender import BadReply, Closed, NoReply, Sender, on_the_wire
from .waiting import wait_until

CLIENTS = 8
LONGEST_PAUSE_S = 0.02
PATIENCE_S = 15.0
GIVE_UP_S = 150.0           # for one message

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
        self._never = threading.Event()

    def run(self):
        try:
            for number, attempts in self.attempts.items():
                end = time.monotonic() + GIVE_UP_S
                while TAKEN not in attempts and time.monotonic() < end:
                    attempts.append(self._attempt(on_the_wire(varied(number))))
                    if attempts[-1] is NOT_SENT:
                        self._never.wait(0.02)          # nobody is there
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
        except (Closed, BadReply, NoReply, OSError):
            self._leave()
            return OPEN if sent else NOT_SENT


def deliver_all(port, seed, kill, messages, kills):
    """Deliver so many messages while `kill(rng)` is called so often at random moments; {number: how attempts ended}."""
    rng = random.Random(seed)
    clients = [Client(port, range(first, messages, CLIENTS), random.Random(rng.random())) for first in range(CLIENTS)]
    never = threading.Event()
    for client in clients:
        client.start()
    for number in range(kills):
        wait_until(lambda so_many=number * messages / kills: sum(client.taken for client in clients) >= so_many
                   or not any(client.is_alive() for client in clients), "some messages to be delivered", 200)
        never.wait(rng.uniform(0.0, LONGEST_PAUSE_S))  # a moment within whatever is going on then
        kill(rng)
    for client in clients:
        client.join()
    assert [client.problem for client in clients if client.problem] == []
    return {number: ends for client in clients for number, ends in client.attempts.items()}


def assert_nothing_lost(attempts, arrived, unsettled, line_end=b"\r\n"):
    """arrived: contents where messages go to; unsettled: the ends of attempts after which the message may be there.

    Returns how many messages were there more than once.
    """
    there = Counter()
    for content in arrived:
        content = without_trace(content if line_end == b"\r\n" else content.replace(line_end, b"\r\n"))[1]
        number = number_of(content)
        assert content == varied(number)
        there[number] += 1
    assert set(there) <= set(attempts)
    for number, ends in attempts.items():
        assert ends[-1] == TAKEN, (number, ends)
        assert 1 <= there[number] <= 1 + sum(end in unsettled for end in ends), (number, ends, there[number])
    assert sum(len(ends) for ends in attempts.values()) > len(attempts), "nobody noticed the kills"
    return sum(copies > 1 for copies in there.values())


def told(attempts, twice):
    """The run in words, for those who want to know what happened."""
    ends = Counter(end for message in attempts.values() for end in message)
    return (f"{len(attempts)} messages, " + ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
            + f"; {twice} there more than once")


def unstuffed(wire):
    """A message as it was before dots were doubled."""
    return b"\r\n".join(line.removeprefix(b".") for line in wire.split(b"\r\n"))


def children(pid):
    """The processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_one(pids, rng):
    """kill -9 for one of them, if there is any."""
    if pids:
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself
