"""A session that is over is forgotten at once, without the garbage collector: its policy may be an old one, which goes with
its last session, and what is left to the collector costs every worker CPU."""
import subprocess
import sys

from peers.next_hop import NextHop
from serving import PROJECT

CODE = r"""
import gc, os, signal, sys, threading, weakref
sys.path.insert(0, "tests")
from peers.sender import Sender
from peers.waiting import wait_until
from mailfilter import config, policy as policies, log as logs
from mailfilter.net import listeners
from mailfilter.net.inbound import Inbound
from mailfilter.net.terms import Terms
from mailfilter.net.worker import Worker

gc.disable()
sessions = []

class Watched(Inbound):
    __slots__ = ("__weakref__",)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        sessions.append(weakref.ref(self))

bound = listeners.bind(listeners.parse_all(["127.0.0.1:0"]))
port = bound[0].sockets[0].getsockname()[1]
policy = policies.load(sys.argv[1], {"port": sys.argv[2]})
terms = Terms(policy, config.Given(config.Limits(), {"slice_ms": 20}, ""), config.Given(config.Timeouts(), {}, ""))
worker = Worker(terms, log=logs.Log(logs.TextSink(2), logs.CRIT), protocol=Watched, hostname=b"x")

def clients():
    try:
        for lines in ([], [b"MAIL FROM:<fine@b>", b"RSET", b"QUIT"], [b"MAIL FROM:<throw@b>"], [b"MAIL FROM:<forever@b>"],
                      [b"MAIL FROM:<fine@b>", b"RCPT TO:<a@b>", b"DATA", b"Subject: x\r\n\r\ny\r\n.", b"QUIT"],
                      [b"MAIL FROM:<fine@b>", b"RCPT TO:<a@b>", b"DATA"], [b"MAIL FROM:<hop@b>", b"QUIT"], [b"NONSENSE"] * 21):
            with Sender(port) as sender:
                sender.hello()
                for line in lines:
                    sender.command(line)
        with Sender(port) as sender:            # gone while a handler waits
            sender.hello()
            sender.socket.sendall(b"MAIL FROM:<wait@b>\r\n")
        wait_until(lambda: len(sessions) == 9 and not worker.connections, "the end of all sessions")
        wait_until(lambda: not any(session() for session in sessions), "all of them to be forgotten")
        print("forgotten", len(sessions))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=clients, daemon=True).start()
worker.run(bound)
"""

POLICY = """
SmtpServer.prototype.smtpMail = function (path) {
    var next = new SmtpClient('127.0.0.1', Number(Sys.setting('port')));
    switch (path.mailbox.local) {
    case 'throw': throw new Error('as asked');
    case 'forever': for (;;) ;
    case 'hop': case 'wait':
        next.connect();
        next.readResponse();
        if (path.mailbox.local === 'wait') next.readResponse();
        next.sendCommand('NOOP');
        return next.readResponse();
    }
    return new SmtpResponse(250, 'fine');
};
SmtpServer.prototype.smtpRcpt = function () { return new SmtpResponse(250, 'fine'); };
SmtpServer.prototype.smtpData = function () { return new SmtpResponse(250, 'fine'); };
"""


def test_sessions_are_forgotten_at_once(tmp_path):
    path = tmp_path / "policy.js"
    path.write_text(POLICY)
    with NextHop() as hop:
        done = subprocess.run([sys.executable, "-c", CODE, path, str(hop.port)], cwd=PROJECT, capture_output=True, text=True,
                              timeout=50)
    assert done.stdout == "forgotten 9\n", done.stdout + done.stderr
