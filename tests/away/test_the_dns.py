"""A DNS server that is killed, hung, slow, late, or talks nonsense: its failures are answers that a policy reads.

The services of test_every_service.py have `away`; here it is `status` and `temporary` (docs/reference/api.md, Dns). What SPF,
DKIM, DMARC and blocklists make of such an answer is tested with them.
"""
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from dnslib import RR, TXT, DNSRecord
from peers.sender import Sender
from peers.waiting import wait_until

POLICY = """
SmtpServer.prototype.smtpVrfy = function (text) {
    var found = Dns.lookup(text, 'TXT', { timeout: +Sys.setting('seconds') });
    return new SmtpResponse(252, JSON.stringify([found.status, found.temporary === true, found.data]));
};
"""


class Names:
    """A DNS server, UDP alone: every name has itself as its text. Those that begin with "held" wait for release(), those with
    "silent" for ever, and those with "nonsense" get none."""

    def __init__(self):
        self.held = []
        self.holding = threading.Event()
        self._threads = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._serve()

    def _serve(self):
        thread = threading.Thread(target=self._answer, args=(self._socket,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _answer(self, server):
        while True:
            try:
                data, peer = server.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = DNSRecord.parse(data)
            name = str(query.q.qname).rstrip(".")
            reply = query.reply()
            reply.add_answer(RR(name, query.q.qtype, ttl=60, rdata=TXT(name)))
            if name.startswith("nonsense"):
                server.sendto(data[:2] + b"\xff" * 40, peer)
            elif name.startswith("held"):
                self.held.append((reply.pack(), peer))
                self.holding.set()
            elif not name.startswith("silent"):
                server.sendto(reply.pack(), peer)

    def release(self):
        """Give the answers that were held back."""
        held, self.held = self.held, []
        for reply, peer in held:
            self._socket.sendto(reply, peer)

    def kill(self):
        """From now on its port is nobody's."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._threads[-1].join(20)
        self._socket.close()

    def start(self):
        """Again, on the old port."""
        def comes():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._socket.bind(self.address)
            except OSError:
                self._socket.close()
                return False
            return True
        wait_until(comes, "the port of the DNS server to be free", 40)
        self._serve()


@pytest.fixture(scope="module")
def names():
    names = Names()
    yield names
    names.kill()


@pytest.fixture(scope="module")
def hasty(names, serve_module):
    """A server whose questions have little time."""
    return serve_module(POLICY, settings={"seconds": "0.5"}, options=["--dns-server", "{}:{}".format(*names.address)])


@pytest.fixture(scope="module")
def patient(names, serve_module):
    return serve_module(POLICY, settings={"seconds": "25"}, options=["--dns-server", "{}:{}".format(*names.address)])


def ask(server, name):
    with Sender(server.port, patience=60) as sender:
        sender.hello()
        reply = sender.command(b"VRFY " + name.encode())
        assert reply.code == 252, reply
        return json.loads(b"".join(reply.lines))


@pytest.mark.parametrize("name, status", [("silent.example", "timeout"), ("nonsense.example", None)])
def test_no_answer_in_time(hasty, patient, name, status):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, hasty, name)
        assert ask(hasty, f"beside-{name}") == ["found", False, [f"beside-{name}"]]
    found = waiting.result()
    assert found[0] == (status or found[0]) and found[0] in ("timeout", "malformed", "unavailable") and found[1:] == [True, []]
    assert ask(hasty, f"after-{name}") == ["found", False, [f"after-{name}"]]


def test_slow(names, patient):
    names.holding.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, patient, "held-slow.example")
        try:
            assert names.holding.wait(30)
            assert ask(patient, "beside-slow.example")[0] == "found"
            assert not waiting.done()
        finally:
            wait_until(lambda: names.release() or waiting.done(), "an answer to arrive", 30)
    assert waiting.result() == ["found", False, ["held-slow.example"]]


def test_late(names, hasty):
    assert ask(hasty, "held-late.example") == ["timeout", True, []]
    names.release()
    assert ask(hasty, "after-late.example") == ["found", False, ["after-late.example"]]


def test_killed_and_started_again(names, hasty):
    names.kill()
    try:
        status, temporary, data = ask(hasty, "killed.example")
        assert status in ("unavailable", "timeout", "refused") and temporary and data == []
    finally:
        names.start()
    wait_until(lambda: ask(hasty, "again.example")[0] == "found", "the DNS to be asked again", 40)
