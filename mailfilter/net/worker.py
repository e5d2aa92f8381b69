"""One process that serves sessions: the event loop, accepting, newer policies, and the graceful end.

A worker owns what its sessions share (policy, limits, timeouts, log, resolver) and the set of live ones; each
session is an `Inbound`, which does everything that is SMTP. A worker knows how to begin and to end, and how
many there are, and nothing of what is said.

The end: accepting stops at once, so that a successor can bind; every session is told to `drain()` (finish the
running transaction, then 421); after `timeouts.shutdown` seconds those that are left are aborted. Nothing is lost by
that: what was not acknowledged is still with the client.
"""
import asyncio
import functools
import os
import resource
import secrets
import signal
import socket
import sys
import time
import traceback

import uvloop

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter.mail.room import Room
from mailfilter.net import notify
from mailfilter.net.admission import Admission
from mailfilter.net.entrance import Entrance, trusted_networks
from mailfilter.net.listeners import BACKLOG
from mailfilter.net.networks import Networks
from mailfilter.net.pool import Pool
from mailfilter.net.tarpit import Tarpit
from mailfilter.net.terms import Edition
from mailfilter.policy.engine import heaps, images
from mailfilter.services import dmarc_store
from mailfilter.services.outside import Outside

__all__ = ["RELOAD", "RELOADED", "Worker", "raise_file_limit"]

# What goes between supervisor and worker about a newer policy: a file of it is there; it is taken, or could not be.
RELOAD, RELOADED, NOT_RELOADED = b"r", b"+", b"-"

# Letters and digits that are not taken for one another when read aloud.
_ID_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

# Descriptors that one session may need: client, next hop, spool file; and what the process itself keeps.
_FILES_PER_SESSION = 3
_FILES_OF_PROCESS = 64

# How often the gauges are set, and the lateness of the event loop is looked at.
BEAT_S = 1.0
_SESSIONS, _ACCEPTING = metrics.slot("sessions"), metrics.slot("workers")
_HEAPS, _ASLEEP, _LAG = metrics.slot("heaps"), metrics.slot("heaps_asleep"), metrics.slot("loop_lag_seconds")
_IMAGES = metrics.slot("images")
_CUT_OFF, _INTERNAL = metrics.slot("timeouts_total", "shutdown"), metrics.slot("internal_errors_total")

# How long the end may take to write what is kept for DMARC reports.
_FINDINGS_S = 5.0

# How long aborted sessions get to run their last callbacks.
_ABORT_S = 1.0


def raise_file_limit():
    """Allow as many open files as the system lets us; the usual soft limit of 1024 is about 300 sessions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            # A hard limit beyond fs.nr_open can be inherited but not set; the soft one stays then.
            pass


def _with_tls(factory):
    inbound = factory()
    inbound.implicit_tls = True
    return inbound


class Worker:
    """What the sessions of one process share. `run` serves until it is told to stop.

    Attributes, for `Inbound`:
        policy, limits, timeouts: what new sessions get; see mailfilter.config. `limits.connections` counts sessions of this
            worker. For the sessions of a listener: `limits_of`, `timeouts_of`. A session sees those that it began with.
        admission: who is let in. tarpit: where sessions wait that the policy slows down.
        log: the process's `Log`.
        line_ends: "reject" or "normalise", for bare CR and LF.
        early_data: "refuse" or "take", for what comes behind DATA before 354.
        auth_without_tls: whether AUTH may be used in clear text.
        trusted: Networks whose clients may say by XCLIENT and XFORWARD who they speak for.
        hostname: our name, bytes.
        settings: what a policy reads with Sys.setting; a mapping.
        spool_directory: where message bodies go that outgrow memory; None for the system's temporary folder.
        spool_room: memory that large bodies share.
        resolver: looks names up; None before `run`.
        pool: connections to next hops that wait for another session; None before `run`.
        outside: the services outside that policies use; None before `run`.
        loop: the event loop; None before `run`.
        draining: whether the end has begun; sessions end after their transaction.
        connections: the live sessions.
        tls: the certificates for clients (net/tls.py), or None.
        trusted_proxies: networks whose PROXY headers are believed.
        entering: connections whose PROXY header has not come yet.
    """

    def __init__(self, terms, *, log, protocol, hostname, settings=None, line_ends="reject", early_data="refuse",
                 auth_without_tls=False, spool_directory=None, make_resolver=None, tls=None, trusted_proxies=None,
                 exempt=None, counts=None, trusted=None):
        """
        Args:
            terms: terms.Terms of the sessions to come, until `adopt`.
            exempt: Networks without limits on their connections; None for the machine itself.
            counts: the counting.SharedMemory of all workers; None counts for this one alone.
            protocol: called as `protocol(worker, listener_label)` for each connection, gives an asyncio.Protocol
                that also has `drain()` and `abort()`. Its attributes `implicit_tls` and `proxied` are set where the
                listener is of such a kind.
            make_resolver: called on the running loop, gives the resolver; at the end its `close()` is called (and
                awaited, if it is async), and `go_by(limits, timeouts)` when these change.
        """
        self.log = log
        self.line_ends = line_ends
        self.early_data = early_data
        self.auth_without_tls = auth_without_tls
        self.trusted = Networks() if trusted is None else trusted
        self.hostname = hostname
        self.settings = settings if settings is not None else {}
        self.spool_directory = spool_directory
        self.resolver = None
        self.pool = None
        self.outside = None
        self.loop = None
        self.draining = False
        self.connections = set()
        self.tls = tls
        self.trusted_proxies = trusted_networks(()) if trusted_proxies is None else trusted_proxies
        self.entering = set()
        self.admission = Admission(terms.limits, log, by_listener=terms.listener_limits, exempt=exempt, shared=counts)
        self.tarpit = Tarpit(terms.limits.tarpits)
        self.spool_room = Room(terms.limits.spool_shared_bytes)
        self._protocol = protocol
        self._make_resolver = make_resolver
        self._terms = terms
        self._most_connections = terms.limits.connections
        self._edition = None
        self._supervised = False
        self._deployment = None
        self._control = None
        self._reload_again = False
        self._on_stop = None
        self._prefix = "".join(secrets.choice(_ID_ALPHABET) for _ in range(4))
        self._count = 0
        self._servers = []
        self._drain_asked = None
        self._end_asked = None
        self._empty = None

    @property
    def policy(self):
        """The policy that new sessions get."""
        return self._terms.policy

    @property
    def limits(self):
        """What the limits are for new sessions, and for the worker itself."""
        return self._terms.limits

    @property
    def timeouts(self):
        """The same for timeouts."""
        return self._terms.timeouts

    def limits_of(self, label):
        """The limits of the listener called `label`."""
        return self._terms.limits_of(label)

    def timeouts_of(self, label):
        """The timeouts of the listener called `label`."""
        return self._terms.timeouts_of(label)

    # For the sessions.

    def session_id(self):
        """A name for a new session, as `3F2K-17`: this worker's random prefix and a number."""
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def opened(self, inbound, address):
        """A client has connected from `address`: its admission.Visit. When that is a refusal, it is told and closed."""
        refusal = None
        if self.draining:
            refusal = "stopping"
        elif len(self.connections) >= self._most_connections:
            refusal = "connections"
        visit = self.admission.arrive(address, inbound.label, refusal)
        if visit.refusal is None:
            self.connections.add(inbound)
        return visit

    def closed(self, inbound, visit):
        """A session has ended; also to be called, without effect, again, and for one that `opened` refused."""
        if inbound in self.connections:
            self.connections.remove(inbound)
            self.admission.leave(visit)
        if not self.connections and self._empty is not None:
            self._empty.set()

    # For the process.

    def run(self, listeners, number=0, *, supervised=False, lifeline=None, control=None, ready=None, pages=(),
            deployment=None, on_stop=None):
        """Serve on the sockets of `listeners` until told to stop; returns the process's exit status.

        Alone, the first SIGTERM or SIGINT begins the graceful end and the second ends at once. Supervised, SIGTERM
        begins it, however often it comes (a service manager signals us besides the supervisor), SIGINT is left to
        the supervisor, and SIGQUIT ends at once. SIGHUP is `reload`.

        Args:
            listeners: from `listeners.bind`.
            number: which of the workers this is, from 0.
            supervised: whether a supervisor watches this process.
            lifeline: descriptor that becomes readable when the supervisor is gone; begins the graceful end.
            control: socket on which the supervisor hands over newer policies.
            ready: called without arguments once connections are being accepted.
            pages: [(listener, protocol), …] for what monitoring asks: on these listeners, which all workers share,
                each connection gets protocol(worker). Without one the gauges are not kept.
            deployment: where newer policies come from (deployment.Deployment), or None. Alone, SIGHUP builds one.
            on_stop: called when this process stops listening, if that is for it to do.

        Returns:
            0 after a graceful end, 1 when it was cut short.
        """
        self._supervised, self._deployment, self._control, self._on_stop = supervised, deployment, control, on_stop
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._main(listeners, number, supervised, lifeline, ready, pages))

    def drain(self):
        """Begin the graceful end; does nothing when it has begun."""
        self._drain_asked.set()

    def end(self):
        """End at once, without waiting for sessions."""
        self._drain_asked.set()
        self._end_asked.set()

    def reload(self):
        """Read again what can be read again: certificates whose files have changed, and, unless a supervisor sees to that,
        the policy."""
        if self.tls is not None:
            self.tls.reload()
        if self._deployment is not None and not self._supervised:
            self._build()

    def adopt(self, terms):
        """Let new sessions go by these Terms. Those that are there keep theirs."""
        self._terms = terms
        if self.resolver is not None:
            self.resolver.go_by(terms.limits, terms.timeouts)
        self.admission.go_by(terms.limits, terms.listener_limits)
        self.tarpit.places = terms.limits.tarpits
        self.spool_room.octets = terms.limits.spool_shared_bytes
        self._begin_edition()

    def _begin_edition(self):
        self._most_connections = self.limits.connections
        self._cap_connections()
        self._edition = Edition(self, self._terms)

    def _cap_connections(self):
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files == resource.RLIM_INFINITY:
            return
        room = max(1, (files - _FILES_OF_PROCESS) // _FILES_PER_SESSION)
        if room < self._most_connections:
            self.log.write(logs.WARNING, "-", "the limit of open files allows fewer connections than configured",
                           open_files=files, connections=room, configured=self._most_connections)
            self._most_connections = room

    async def _main(self, listeners, number, supervised, lifeline, ready, pages):
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self._on_unhandled)
        sys.unraisablehook = self._on_unraisable
        self._drain_asked = asyncio.Event()
        self._end_asked = asyncio.Event()
        self._empty = asyncio.Event()
        self._watch_signals(supervised, lifeline)
        if self._make_resolver is not None:
            self.resolver = self._make_resolver()
        if self.tls is not None and number == 0:
            self.tls.warn_of_unreadable()
        self.admission.start(self.loop)
        self.pool = Pool(self.loop, self.limits.kept_connections, self.timeouts.kept_connection)
        self.outside = Outside(self.loop, lambda text: self.log.write(logs.WARNING, "-", text))
        self._begin_edition()
        for listener in listeners:
            await self._accept_on(listener, number)
        metrics.put(_ACCEPTING, 1)
        for listener, protocol in pages:
            await self._accept_on(listener, number, functools.partial(protocol, self))
        if pages:
            self._beat(time.monotonic())
        if ready is not None:
            ready()
        await self._drain_asked.wait()
        metrics.put(_ACCEPTING, 0)
        await self._wind_down(supervised)
        return 1 if self._end_asked.is_set() else 0

    def _watch_signals(self, supervised, lifeline):
        if supervised:
            self.loop.add_signal_handler(signal.SIGTERM, self.drain)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        else:
            for number in (signal.SIGTERM, signal.SIGINT):
                self.loop.add_signal_handler(number, self._on_signal)
        self.loop.add_signal_handler(signal.SIGQUIT, self.end)
        self.loop.add_signal_handler(signal.SIGHUP, self.reload)
        if lifeline is not None:
            self.loop.add_reader(lifeline, self._on_lifeline, lifeline)
        if self._control is not None:
            self._control.setblocking(False)
            self.loop.add_reader(self._control.fileno(), self._on_control)

    def _on_signal(self):
        if self._drain_asked.is_set():
            self.end()
        else:
            self.drain()

    def _on_lifeline(self, lifeline):
        self.loop.remove_reader(lifeline)
        self.log.write(logs.ERR, "-", "the supervisor is gone, this worker ends", pid=os.getpid())
        self.drain()

    # A newer policy: alone, we have it built; supervised, it is handed to us.

    def _build(self):
        if self._drain_asked.is_set():
            return
        if self._deployment.building:
            self._reload_again = True
            return
        notify.reloading()
        fd = self._deployment.begin()
        self.loop.add_reader(fd, self._on_built, fd)

    def _on_built(self, fd):
        if not self._deployment.advance():
            return
        self.loop.remove_reader(fd)
        file = self._deployment.finish()
        if file is not None:
            os.close(file)
            self.adopt(self._deployment.current)
            self.log.write(logs.NOTICE, "-", "reloaded", pid=os.getpid(), policy_version=self.policy.version,
                           seconds=f"{self._deployment.seconds():.3f}")
        if not self._drain_asked.is_set():
            notify.ready(f"policy {self.policy.version}" if file is not None else
                         f"reload failed, see the log; policy {self.policy.version}")
        if self._reload_again:
            self._reload_again = False
            self._build()

    def _on_control(self):
        try:
            data, files, _, _ = socket.recv_fds(self._control, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, files = b"", []
        if not data:
            self.loop.remove_reader(self._control.fileno())     # the lifeline tells of it, too
            return
        answer = NOT_RELOADED
        try:
            self.adopt(self._deployment.receive(files[0]))
            answer = RELOADED
        except Exception:
            metrics.count(_INTERNAL)
            self.log.write(logs.CRIT, "-", "a newer policy cannot be taken, the old policy stays", pid=os.getpid(),
                           stack=traceback.format_exc())
        try:
            self._control.send(answer)
        except OSError:
            pass

    def _beat(self, due):
        """Set the gauges, once a second; due: when this should have been called."""
        now = time.monotonic()      # the loop's own clock counts whole milliseconds
        metrics.observe(_LAG, max(0.0, now - due))
        in_use, asleep = heaps()
        metrics.put(_SESSIONS, len(self.connections))
        metrics.put(_HEAPS, in_use)
        metrics.put(_ASLEEP, asleep)
        metrics.put(_IMAGES, images())
        self.loop.call_later(BEAT_S, self._beat, now + BEAT_S)

    async def _accept_on(self, listener, number, factory=None):
        sock = listener.socket_of(number)
        factory = factory or self._factory(listener)
        create = self.loop.create_unix_server if sock.family == socket.AF_UNIX else self.loop.create_server
        # Should descriptors run out, libuv accepts and closes with one that it holds in reserve: no spinning.
        self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    def _factory(self, listener):
        """What makes the protocol of a new connection."""
        def factory():
            return self._protocol(self._edition, listener.label)

        if listener.tls:
            factory = functools.partial(_with_tls, factory)
        if listener.proxy:
            factory = functools.partial(Entrance, self, listener.label, factory)
        return factory

    async def _wind_down(self, supervised):
        self.draining = True
        for server in self._servers:
            server.close()
        if self._on_stop is not None:
            notify.stopping()
            self._on_stop()
        if self._deployment is not None and not supervised:
            if self._deployment.building:
                self.loop.remove_reader(self._deployment.descriptor)
            self._deployment.give_up()
        self.log.write(logs.NOTICE, "-", "stopping", pid=os.getpid(), sessions=len(self.connections))
        for entrance in list(self.entering):
            entrance.abort()
        for inbound in list(self.connections):
            inbound.drain()
        await self._until_empty(self.timeouts.shutdown, self._end_asked)
        if self.connections:
            metrics.count(_CUT_OFF)
            self.log.write(logs.WARNING, "-", "sessions are cut off", pid=os.getpid(), sessions=len(self.connections))
            for inbound in list(self.connections):
                inbound.abort()
            await self._until_empty(_ABORT_S)
        self.pool.close()
        await self.outside.close()
        await self.loop.run_in_executor(None, dmarc_store.close_all, _FINDINGS_S)
        close = getattr(self.resolver, "close", None)
        if close is not None:
            closing = close()
            if closing is not None:
                await closing
        self.admission.stop()
        self.log.write(logs.NOTICE, "-", "stopped", pid=os.getpid())

    async def _until_empty(self, seconds, or_event=None):
        if not self.connections:
            return
        self._empty.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._empty, or_event) if event is not None]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _on_unhandled(self, loop, context):
        """An exception that reached the event loop: our bug, so all there is goes to the log."""
        metrics.count(_INTERNAL)
        error = context.get("exception")
        stack = "".join(traceback.format_exception(error)) if error is not None else ""
        self.log.write(logs.ERR, "-", context.get("message", "unhandled exception"), stack=stack)

    def _on_unraisable(self, what):
        """An exception that nobody can be told of. Without this, lines that are none of the log's would stand in it."""
        if isinstance(what.object, bytes) and what.exc_type is UnicodeDecodeError:
            # ssl cannot say a client's server name in ASCII, and has ended its handshake for that: nothing of ours is wrong.
            return
        metrics.count(_INTERNAL)
        self.log.write(logs.ERR, "-", what.err_msg or "exception ignored", where=type(what.object).__qualname__, stack="".join(
            traceback.format_exception(what.exc_type, what.exc_value, what.exc_traceback)))
