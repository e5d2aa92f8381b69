"""How many connections to next hops a session may have at one time, also when they are opened beside each other."""
from types import SimpleNamespace

import pytest

from mailfilter.errors import ServiceUnavailable
from mailfilter.policy import client_operations as client
from mailfilter.policy.operation import PENDING, Waiting


class Hop:
    def __init__(self):
        self.connected = self.received = None
        self.closed = False

    def connect(self, done):
        self.connected = done

    def receive(self, done):
        self.received = done

    def close(self):
        self.closed = True


class Reply:
    code, lines = 220, ["hop.test"]


@pytest.fixture
def session():
    hops = []

    def open_next_hop(host, port, options):
        hops.append(Hop())
        return hops[-1]

    return SimpleNamespace(next_hops={}, last_hop=0, open_next_hop=open_next_hop, hops=hops, ended=[])


def begin(session, operation):
    waiting = Waiting(None, "client", lambda value, error: session.ended.append((value, error)))
    assert operation(session, waiting, "hop.test", 25, {}) is PENDING
    return session.hops[-1]


def finish(hop, operation):
    hop.connected(None)
    if operation is client.greeting:
        hop.received(Reply(), None)


@pytest.mark.parametrize("operation", [client.connect, client.greeting])
def test_one_after_the_other(session, operation):
    for _ in range(client.NEXT_HOPS_LIMIT):
        finish(begin(session, operation), operation)
    assert len(session.next_hops) == client.NEXT_HOPS_LIMIT
    with pytest.raises(ServiceUnavailable, match="32 connections already"):
        begin(session, operation)
    assert all(error is None for _, error in session.ended)


@pytest.mark.parametrize("operation", [client.connect, client.greeting])
def test_beside_each_other_they_are_no_more(session, operation):
    hops = [begin(session, operation) for _ in range(client.NEXT_HOPS_LIMIT + 5)]
    for hop in hops:
        finish(hop, operation)
    assert len(session.next_hops) == client.NEXT_HOPS_LIMIT
    assert [hop.closed for hop in hops] == [False] * client.NEXT_HOPS_LIMIT + [True] * 5
    errors = [error for _, error in session.ended if error is not None]
    assert len(errors) == 5 and all("32 connections already" in str(error) for error in errors)
