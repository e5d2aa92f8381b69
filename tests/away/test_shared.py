"""What is counted and remembered is known to all workers of an instance (embedded store) and to all instances (Redis).

Connections go to whichever worker the system chooses; a session's name begins with its worker's, so that the test sees which one
it was, and goes on until it has been at several.
"""
import databases
import pytest
from peers.sender import Sender

POLICY = """
var store = Store.open(Sys.setting('where'));
var greylist = new Greylist({ delay: +Sys.setting('delay'), autoAllow: 0, store: store });
var limit = new RateLimit('tests', { most: 10, seconds: 1.1e8, store: store });

SmtpServer.prototype.smtpVrfy = function (text) {
    var words = text.split(' '), found;
    if (words[0] === 'limit') {
        found = limit.take(words[1]);
        return new SmtpResponse(252, [this.sessionId, found.allowed, found.count]);
    }
    found = greylist.check({ address: '192.0.2.1', sender: words[1] + '@example.net', recipient: 'b@example.org', helo: 'c' });
    return new SmtpResponse(252, [this.sessionId, found.pass, found.reason]);
};
"""
MOST_TRIES = 400


def told(port, question):
    """(worker, what was found, …) of a session of its own."""
    with Sender(port, patience=40) as sender:
        sender.hello()
        reply = sender.command(b"VRFY " + question.encode())
        assert reply.code == 252, reply
    name, *found = (line.decode() for line in reply.lines)
    return name.rpartition("-")[0], *found


def others(ports, question, known):
    """Ask until a worker has answered that is none of those known; what it said."""
    for number in range(MOST_TRIES):
        found = told(ports[number % len(ports)], question)
        if found[0] not in known:
            return found
    raise AssertionError(f"{MOST_TRIES} connections, and all went to {known}")


class Instances:
    """Servers that keep what they know in one place."""

    def __init__(self, serve, where, number, delay):
        limits = {"address_connections": 0, "address_rate": 0, "network_connections": 0, "network_rate": 0}
        self.ports = [serve(POLICY, settings={"where": where, "delay": delay}, limits=limits, options=["--workers", 2]).port
                      for _ in range(number)]

    def workers(self):
        """The names of all workers."""
        known = set()
        for port in self.ports:
            first = told(port, "limit nobody")[0]
            known |= {first, others([port], "limit nobody", {first})[0]}
        assert len(known) == 2 * len(self.ports)
        return known


@pytest.fixture(scope="module")
def redis():
    server = databases.Redis()
    yield server
    server.finish()


@pytest.fixture(scope="module", params=["two workers, embedded store", "two instances, Redis"])
def instances(request, serve_module, tmp_path_factory):
    """(Instances whose greylist lets nobody pass soon, a place to keep things in)."""
    if request.param.endswith("store"):
        where, number = str(tmp_path_factory.mktemp("shared") / "store.db"), 1
    else:
        where, number = request.getfixturevalue("redis").url, 2
    return Instances(serve_module, where, number, 3600), where


def test_rate_limits_are_counted_together(instances):
    instances, _ = instances
    workers, asked = instances.workers(), []
    while len(asked) < 10 or len({found[0] for found in asked}) < len(workers) and len(asked) < MOST_TRIES:
        asked.append(told(instances.ports[len(asked) % len(instances.ports)], "limit client"))
    assert {found[0] for found in asked} == workers
    assert [float(found[2]) for found in asked[:10]] == list(range(1, 11))
    assert {found[1] for found in asked[:10]} == {"true"} and {found[1] for found in asked[10:]} <= {"false"}
    for worker in workers:
        assert others(instances.ports, "limit client", workers - {worker})[1] == "false"


def test_greylists_know_the_same(instances, serve):
    instances, where = instances
    workers = instances.workers()
    first = told(instances.ports[0], "greylist sender")
    assert first[1:] == ("false", "new")
    for worker in workers:
        assert others(instances.ports, "greylist sender", workers - {worker}) == (worker, "false", "early")
    # To those that make nobody wait the sender has been known for long enough.
    hasty = Instances(serve, where, 1, 0)
    assert told(hasty.ports[0], "greylist sender")[1:] == ("true", "passed")
    assert told(hasty.ports[0], "greylist stranger")[1:] == ("false", "new")
