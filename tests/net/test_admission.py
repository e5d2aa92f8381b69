"""net/admission.py, counting.py, networks.py: who is let in, counted over all workers. No sockets, and a clock of our own."""
import os

import pytest

from mailfilter import config
from mailfilter.errors import ConfigError
from mailfilter.net import shedding
from mailfilter.net.admission import GOOD_S, PERIOD_S, REFUSALS, Admission, network_of, packed
from mailfilter.net.counting import SharedMemory
from mailfilter.net.networks import LOOPBACK, Networks

CLIENT, NEIGHBOUR, OTHER = "192.0.2.1", "192.0.2.2", "198.51.100.7"
LISTENER = "0.0.0.0:25"


class Log:
    def __init__(self):
        self.lines = []

    def write(self, severity, session, text, **details):
        self.lines.append((text, details))


class Clock:
    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    """make(limits={...}, …) gives an Admission that has started."""
    def make(limits=None, **more):
        general, special = config.by_listener({"address_connections": 0, "network_connections": 0, "address_rate": 0,
                                               "network_rate": 0} | (limits or {}))
        admission = Admission(config.Limits().replaced(general, "test"), Log(), by_listener=special, clock=clock, **more)
        admission.start()
        return admission
    return make


def refusals(admission, *addresses, listener=LISTENER):
    return [admission.arrive(address, listener).refusal for address in addresses]


def test_connections_of_an_address_are_limited_and_room_comes_back(make):
    admission = make({"address_connections": 2})
    first, second = admission.arrive(CLIENT, LISTENER), admission.arrive(CLIENT, LISTENER)
    assert refusals(admission, CLIENT, CLIENT, NEIGHBOUR) == ["address_connections", "address_connections", None]
    assert admission.refused == {"address_connections": 2}
    admission.leave(first)
    assert refusals(admission, CLIENT, CLIENT) == [None, "address_connections"]
    admission.leave(second)
    assert refusals(admission, CLIENT) == [None]


def test_connections_of_a_network_are_limited_over_its_addresses(make):
    admission = make({"network_connections": 2, "ipv4_prefix": 24})
    assert refusals(admission, CLIENT, NEIGHBOUR, "192.0.2.3", OTHER) == [None, None, "network_connections", None]
    six = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:8::1", "2001:db8:0:1::1"]
    assert refusals(admission, *six) == [None, None, "network_connections", None]


def test_by_default_a_network_is_one_ipv4_address_and_64_bits_of_ipv6(make):
    assert (config.Limits().ipv4_prefix, config.Limits().ipv6_prefix) == (32, 64)
    admission = make({"network_connections": 1})
    assert refusals(admission, CLIENT, NEIGHBOUR, "2001:db8::1", "2001:db8::2") == [None, None, None, "network_connections"]


def test_new_connections_are_limited_by_the_minute(make, clock):
    clock.now = PERIOD_S * 1000
    admission = make({"address_rate": 3, "network_rate": 4, "ipv4_prefix": 24})
    assert refusals(admission, *[CLIENT] * 4, NEIGHBOUR, NEIGHBOUR, OTHER) == [
        None, None, None, "address_rate", None, "network_rate", None]
    clock.now += PERIOD_S * 1.5         # half of the last minute's count still
    assert refusals(admission, CLIENT, CLIENT, NEIGHBOUR) == [None, None, "network_rate"]
    clock.now += PERIOD_S * 2
    assert refusals(admission, *[CLIENT] * 4) == [None, None, None, "address_rate"]


def test_one_that_was_refused_is_not_counted_again(make, clock):
    admission = make({"address_rate": 2})
    assert refusals(admission, *[CLIENT] * 50)[2:] == ["address_rate"] * 48
    clock.now += PERIOD_S * 2
    assert refusals(admission, CLIENT) == [None]


def test_new_connections_of_all_clients_are_limited_exempt_ones_too(make):
    admission = make({"connection_rate": 3})
    assert refusals(admission, CLIENT, OTHER, "127.0.0.1", "203.0.113.1") == [None, None, None, "connection_rate"]


def test_a_listener_has_limits_of_its_own_besides(make):
    admission = make({"address_connections": 3, "address_connections@:587": 1, "connections@[::]:25": 2,
                      "address_rate@127.0.0.1:24": 1})
    assert refusals(admission, CLIENT, CLIENT, listener="0.0.0.0:587") == [None, "address_connections"]
    assert refusals(admission, CLIENT, CLIENT, CLIENT) == [None, None, "address_connections"]   # over all listeners
    assert refusals(admission, "2001:db8::1", "2001:db8::2", "::1", listener="[::]:25") == [None, None, "connections"]
    assert refusals(admission, OTHER, OTHER, listener="127.0.0.1:24") == [None, "address_rate"]


def test_exempt_clients_are_not_counted(make):
    limits = {"address_connections": 1, "network_connections": 1, "address_rate": 1, "network_rate": 1}
    admission = make(limits)
    assert refusals(admission, "127.0.0.1", "127.0.0.1", "127.9.9.9", "::1", "::1", "local", "local") == [None] * 7
    assert refusals(admission, CLIENT, CLIENT) == [None, "address_connections"]
    admission = make(limits, exempt=Networks(["192.0.2.0/24"]))
    assert refusals(admission, CLIENT, CLIENT, "127.0.0.1", "127.0.0.1") == [None, None, None, "address_connections"]


def test_workers_count_together(make):
    shared = SharedMemory(2)
    first, second = (make({"address_connections": 2, "address_rate": 3}, shared=shared) for _ in range(2))
    visits = [first.arrive(CLIENT, LISTENER), second.arrive(CLIENT, LISTENER)]
    assert refusals(first, CLIENT) + refusals(second, CLIENT) == ["address_connections"] * 2
    second.leave(visits[1])
    assert refusals(first, CLIENT) == [None]
    first.leave(visits[0])
    assert refusals(second, CLIENT) == ["address_rate"]
    first.accepted(OTHER)
    assert second.is_good(OTHER) and not second.is_good(CLIENT)


def test_what_a_worker_counted_goes_with_it(make):
    shared = SharedMemory(2)
    first, second = (make({"address_connections": 1}, shared=shared) for _ in range(2))
    assert refusals(first, CLIENT) + refusals(second, CLIENT) == [None, "address_connections"]
    first.stop()
    assert refusals(second, CLIENT) == [None]


def test_what_a_dead_worker_counted_goes_when_the_next_one_starts(make):
    """Killed, it can give nothing back; the kernel lets go of its lock, and the next to take a part clears it."""
    shared = SharedMemory(2)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        make({"address_connections": 1}, shared=shared).arrive(CLIENT, LISTENER)
        os.write(writing, b"+")
        os.read(os.pipe()[0], 1)            # until it is killed
        os._exit(1)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    watching = make({"address_connections": 1}, shared=shared)
    assert refusals(watching, CLIENT) == ["address_connections"]
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    make(shared=shared)
    assert refusals(watching, CLIENT) == [None]


def test_parts_that_run_out_are_no_catastrophe(make):
    shared = SharedMemory(1)
    taken = [make({"address_connections": 1}, shared=shared) for _ in range(shared.parts)]
    alone = make({"address_connections": 1}, shared=shared)
    assert any("no room to count" in text for text, _ in alone._log.lines)
    assert refusals(taken[0], CLIENT) + refusals(alone, CLIENT) == [None, None]
    assert refusals(alone, CLIENT) == ["address_connections"]


@pytest.mark.parametrize("level, stranger, good, exempt", [
    (0.0, None, None, None), (shedding.STRANGER, "busy", None, None), (1.9, "busy", None, None),
    (shedding.GOOD, "busy", "busy", None), (3.9, "busy", "busy", None), (shedding.EXEMPT, "busy", "busy", "busy")])
def test_under_pressure_good_clients_are_the_last_to_be_turned_away(make, level, stranger, good, exempt):
    admission = make()
    admission.accepted(OTHER)
    admission.pressure.level = level
    assert refusals(admission, CLIENT, OTHER, "127.0.0.1") == [stranger, good, exempt]


def test_a_good_client_is_forgotten_after_a_while(make, clock):
    admission = make()
    admission.accepted(CLIENT)
    clock.now += GOOD_S * 0.9
    assert admission.is_good(CLIENT)
    clock.now += GOOD_S * 1.2
    assert not admission.is_good(CLIENT)


def test_a_flood_is_one_line_of_the_log_a_minute(make, clock):
    admission = make({"address_connections": 1})
    refusals(admission, *[CLIENT] * 1000)
    assert admission._log.lines == [
        ("connection refused", {"reason": "address_connections", "client": CLIENT, "refused": 1})]
    clock.now += 61
    refusals(admission, CLIENT)
    assert admission._log.lines[-1][1]["refused"] == 999
    refusals(admission, OTHER, OTHER)
    assert len(admission._log.lines) == 2


def test_a_refusal_that_is_decided_already_is_told(make):
    admission = make()
    assert admission.arrive(CLIENT, LISTENER, "stopping").refusal == "stopping"
    assert all(reply.startswith(b"421 4.") and reply.endswith(b"\r\n") for reply in REFUSALS.values())


def test_addresses_become_octets():
    limits = config.Limits().replaced({"ipv4_prefix": 20, "ipv6_prefix": 48}, "x")
    assert packed("192.0.2.1") == bytes((192, 0, 2, 1)) and len(packed("fe80::1%eth0")) == 16
    assert packed("local") == b"local" and packed("odd:address") == b"odd:address"
    assert network_of(packed("192.0.31.1"), limits) == bytes((192, 0, 16, 0))
    assert network_of(packed("2001:db8:1:2::3"), limits) == packed("2001:db8:1::")
    assert network_of(packed("2001:db8::3"), limits.replaced({"ipv6_prefix": 0}, "x")) == bytes(16)
    assert network_of(b"local", limits) == b"local"


def test_networks():
    networks = Networks(["192.0.2.0/24, 2001:db8::/32", "203.0.113.9"])
    inside = ["192.0.2.255", "2001:db8:1::1", "203.0.113.9", "2001:db8::1%eth0"]
    outside = ["192.0.3.0", "::1", "203.0.113.8", "local", ""]
    assert all(address in networks for address in inside) and not any(address in networks for address in outside)
    assert "127.0.0.1" in Networks(LOOPBACK) and "127.0.0.1" not in Networks()


@pytest.mark.parametrize("text", ["192.0.2.1/24", "example.org", "192.0.2.0/33", "::/129", "1.2.3"])
def test_networks_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--exempt "):
        Networks([text], "--exempt")
