"""A stand-in for `mailfilter serve` without SMTP: the real supervisor and worker, with a session of a few words.

Words a client may send, one a line: `pid`, `id`, `begin` (a transaction), `end`, `hold` (ignores drain and abort),
`crash N` (ends the process with that status), `segv`, `raise`, `who`, `files`. Run as a program by the tests here:

    line_server.py [--workers N] [--user U] [--limit N=V] [--timeout N=S] [--open-files N] [--spoil N] --listen ADDR ...
"""
import argparse
import asyncio
import os
import resource
import signal
import sys
from types import SimpleNamespace

from mailfilter import config
from mailfilter import log as logs
from mailfilter.net import listeners, privileges, supervisor
from mailfilter.net.terms import Terms
from mailfilter.net.worker import Worker


class LineSession(asyncio.Protocol):
    """One connection; the part of `Inbound` that the worker sees, and nothing of SMTP."""

    def __init__(self, worker, label):
        self.worker = worker
        self.label = label
        self.busy = self.holding = self.draining = False
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        self.id = self.worker.session_id()
        self.visit = self.worker.opened(self, transport.get_extra_info("peername")[0] if self.label[:5] != "unix:" else "local")
        if self.visit.refusal is not None:
            self.say("421 no room")
            self.transport.close()
            return
        self.say(f"220 {self.label}")

    def connection_lost(self, error):
        self.worker.closed(self, self.visit)

    def say(self, text):
        self.transport.write(text.encode() + b"\n")

    def data_received(self, data):
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            word, *rest = line.decode().split()
            getattr(self, "on_" + word)(*rest)

    def on_pid(self):
        self.say(str(os.getpid()))

    def on_id(self):
        self.say(self.id)

    def on_who(self):
        self.say(f"{os.getresuid()} {os.getresgid()} {os.getgroups()}")

    def on_files(self):
        self.say(" ".join(map(str, resource.getrlimit(resource.RLIMIT_NOFILE))))

    def on_begin(self):
        self.busy = True
        self.say("begun")

    def on_hold(self):
        self.busy = self.holding = True
        self.say("holding")

    def on_end(self):
        self.busy = False
        self.say("250 kept")
        if self.draining:
            self.drain()

    def on_crash(self, status):
        os._exit(int(status))

    def on_segv(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def on_raise(self):
        raise RuntimeError("our bug\nwith two lines")

    def drain(self):
        self.draining = True
        if not self.busy:
            self.say("421 closing")
            self.transport.close()

    def abort(self):
        if not self.holding:
            self.transport.abort()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--user")
    parser.add_argument("--group")
    parser.add_argument("--limit", action="append")
    parser.add_argument("--timeout", action="append")
    parser.add_argument("--open-files", type=int)
    parser.add_argument("--spoil", type=int, help="make_worker fails from the Nth call of a process on")
    options = parser.parse_args()
    log = logs.Log(logs.TextSink(2), logs.DEBUG)
    limits = config.Given(config.Limits(), config.assignments(options.limit, "--limit"), "--limit")
    timeouts = config.Given(config.Timeouts(), config.assignments(options.timeout, "--timeout"), "--timeout")
    if options.open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.open_files, options.open_files))
    supervisor.Supervisor.MARGIN_S = 1.0

    def make_worker():
        if options.spoil is not None:
            raise RuntimeError("cannot be made")
        return Worker(Terms(SimpleNamespace(), limits, timeouts), log=log, protocol=LineSession,
                      hostname=b"test")

    return supervisor.serve(
        make_worker, listeners.parse_all(options.listen), workers=options.workers,
        identity=privileges.resolve(options.user, options.group), log=log, grace_s=timeouts.general.shutdown)


if __name__ == "__main__":
    sys.exit(main())
