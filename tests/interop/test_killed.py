"""Workers, supervisors and next hops are killed (kill -9) at random moments while clients deliver, to a next hop or a Maildir.

Whatever is killed when: what a client was told is taken is there, whole; see peers/killing.py. With SCALE=10 (`make interop`) the
same for ten times the seeds, and for 10,000 messages into each.
"""
from pathlib import Path

import pytest
from peers import postfix
from peers.durable_sink import DurableSink
from peers.killing import OPEN, REFUSED, assert_nothing_lost, children, deliver_all, kill_one, told, unstuffed
from peers.postfix import Postfix
from peers.waiting import free_port, wait_until
from scale import SCALE

TEST_SECONDS = 120 + 60 * SCALE
SEEDS = range(1 + SCALE)

MESSAGES, KILLS, WORKERS = 160, 8, 4
# (messages, kills, workers, seed): a worker that is killed often waits longer and longer before it is started again.
CROWDS = [(MESSAGES, KILLS, WORKERS, seed) for seed in SEEDS] + [(1000 * SCALE, 5 * SCALE, 8, 99)] * (SCALE > 1)

MAILDIR = """
SmtpServer.prototype.smtpMail = SmtpServer.prototype.smtpRcpt = function () { return new SmtpResponse(250, '2.1.0 Ok'); };
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return null; }
    new Maildir(Sys.setting('maildir')).deliver(headers, body);
    return new SmtpResponse(250, '2.0.0 Delivered');
};
"""
FREELY = {"address_connections": 0, "address_rate": 0, "network_connections": 0, "network_rate": 0}


@pytest.fixture
def sink():
    with DurableSink() as sink:
        yield sink


@pytest.fixture
def maildir(tmp_path):
    """A folder for a Maildir; `arrived()` has what is in it."""
    class Box:
        path = tmp_path / "Maildir"

        def arrived(self):
            return (file.read_bytes() for file in (self.path / "new").iterdir())
    return Box()


def proxy_before(port, serve, workers=WORKERS):
    return serve("proxy", settings={"nextHop": f"127.0.0.1:{port}"}, limits=FREELY, options=["--workers", workers])


def assert_seldom_refused(attempts):
    """A server that is short of CPU sends some away with 4xx, who have delivered nothing by that; it is not the rule."""
    ends = sum(attempts.values(), [])
    assert ends.count(REFUSED) <= len(ends) // 10


def delivering(maildir, serve, workers=WORKERS, listen="127.0.0.1:0"):
    return serve(MAILDIR, settings={"maildir": maildir.path}, limits=FREELY, options=["--workers", workers], listen=[listen])


@pytest.mark.parametrize("messages, kills, workers, seed", CROWDS)
def test_workers_are_killed(sink, serve, messages, kills, workers, seed):
    proxy = proxy_before(sink.port, serve, workers)
    attempts = deliver_all(proxy.port, seed, lambda rng: kill_one(children(proxy.process.pid), rng), messages, kills)
    assert_seldom_refused(attempts)
    print(told(attempts, assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {OPEN})))


@pytest.mark.parametrize("messages, kills, workers, seed", CROWDS)
def test_workers_are_killed_that_deliver_into_a_maildir(maildir, serve, messages, kills, workers, seed):
    server = delivering(maildir, serve, workers)
    attempts = deliver_all(server.port, seed, lambda rng: kill_one(children(server.process.pid), rng), messages, kills)
    assert_seldom_refused(attempts)
    print(told(attempts, assert_nothing_lost(attempts, maildir.arrived(), {OPEN}, line_end=b"\n")))


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_the_supervisor_is_killed(maildir, serve, seed):
    """Its workers end by themselves; another one is started on the same port meanwhile, as a service manager does."""
    servers = []

    def kill(_rng):
        servers[-1].process.kill()
        servers[-1].wait()
        servers[-1].expected_status = -9
        wait_until(started, "another server to start on the same port", 60)

    def started():
        try:
            servers.append(delivering(maildir, serve, listen=f"127.0.0.1:{port}"))
        except AssertionError:      # somebody has the port for a moment
            return False
        return True

    port = free_port()
    wait_until(started, "a server to start", 60)
    attempts = deliver_all(port, seed, kill, MESSAGES, 3)
    assert_nothing_lost(attempts, maildir.arrived(), {OPEN, REFUSED}, line_end=b"\n")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_next_hop_is_killed(sink, serve, seed):
    def kill(_rng):
        sink.kill()
        sink.start()

    proxy = proxy_before(sink.port, serve)
    attempts = deliver_all(proxy.port, seed, kill, MESSAGES, KILLS)
    assert OPEN not in sum(attempts.values(), []), "our client is told, whatever happens behind"
    # What the client was told is 451: we had no reply. Nothing else than 4xx is right.
    assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {REFUSED})


@pytest.mark.parametrize("messages, kills, workers, seed", CROWDS[1:])
def test_both_are_killed(sink, serve, messages, kills, workers, seed):
    def kill(rng):
        if rng.random() < 0.5:
            kill_one(children(proxy.process.pid), rng)
        else:
            sink.kill()
            sink.start()

    proxy = proxy_before(sink.port, serve, workers)
    attempts = deliver_all(proxy.port, seed, kill, messages, kills)
    print(told(attempts, assert_nothing_lost(attempts, map(unstuffed, sink.messages()), {OPEN, REFUSED})))


@pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))
@pytest.mark.parametrize("seed", SEEDS[1:])
def test_the_processes_of_a_real_next_hop_are_killed(serve, seed):
    """Postfix's smtpd, each of which serves one connection; its master starts others."""
    with Postfix() as destination:
        def kill(rng):
            kill_one([pid for pid in children(destination.pid)
                      if Path(f"/proc/{pid}/comm").read_text() == "smtpd\n"], rng)

        proxy = proxy_before(destination.port, serve)
        attempts = deliver_all(proxy.port, seed, kill, MESSAGES, KILLS)
        destination.wait_until_empty()
        arrived = destination.delivered()
    assert_nothing_lost(attempts, arrived, {REFUSED})
