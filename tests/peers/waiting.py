"""Waiting for a condition with a deadline, and finding a free port.

Tests never sleep for a guessed time: they name the condition they need and the longest they will wait for it.
Must not know what is waited for.
"""
import random
import select
import socket
import time

POLL_S = 0.01
PORTS = 10_000, 32_000
_given = set()


class Deadline(AssertionError):
    """The condition did not become true in time; the text says which one it was."""


def wait_until(condition, what, seconds=30.0):
    """Ask `condition()` again and again until its result is true, and return that result.

    `what` completes the sentence "waited N s for ..." of the `Deadline` raised after `seconds`.
    """
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() >= end:
            raise Deadline(f"waited {seconds:g} s for {what}")
        select.select([], [], [], POLL_S)
    return result


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on now, for programs that cannot be given port 0.

    From below those that the kernel gives away by itself, else a connection of another test could take it before it is
    used. Which one is left to chance, as tests may run in several processes; none is given twice by one process.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def answers(port):
    """Whether something accepts connections on the port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
