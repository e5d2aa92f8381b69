"""Starting to serve: bind, give up root, then run one worker here or several as child processes.

With several, the supervisor is a small process without an event loop. It restarts workers that die (waiting
longer each time they die young), hands SIGTERM and SIGINT on, and ends when all are gone. On SIGHUP it has a newer
policy built and hands it to the workers; it is the one that workers started later have, too. A supervisor that is
killed takes its workers with it: they hold the reading end of a pipe, and end when it closes.

It is as unprivileged as its workers, which are forked from it. Knows nothing of sessions and policies.
"""
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter.net import listeners as binding
from mailfilter.net import notify, privileges
from mailfilter.net.pidfile import PidFile
from mailfilter.net.worker import RELOAD, RELOADED, raise_file_limit

__all__ = ["Supervisor", "serve"]

_RESTARTS, _INTERNAL = metrics.slot("worker_restarts_total"), metrics.slot("internal_errors_total")


def serve(make_worker, addresses, *, workers, identity, log, grace_s, page=None, deployment=None, pid_file=None):
    """Listen on the addresses and serve until told to stop.

    Logs `listening on ADDRESS` for each one, and `ready` when every worker accepts.

    Args:
        make_worker: called without arguments, once in each process that serves; gives a `Worker`.
        addresses: from `listeners.parse_all`.
        workers: how many processes serve; 1 serves in this one.
        identity: who to become after binding (`privileges.Identity`), or None.
        log: the process's `Log`.
        grace_s: how long workers may take to end; a few seconds more, and they are killed.
        page: (addresses, protocol) of what monitoring asks, or None; see `Worker.run`.
        deployment: where newer policies come from (`deployment.Deployment`), or None: SIGHUP is not heeded.
        pid_file: the path of a file for the process's id, or None.

    Returns:
        The exit status: 0 after a graceful end.

    Raises:
        ConfigError: an address cannot be bound, or privileges cannot be dropped.
    """
    owner = (identity.uid, identity.gid) if identity is not None else None
    listeners = binding.bind(addresses, workers, owner=owner)
    pages = []
    pid = None

    def stop_listening():
        for listener in [*listeners, *(listener for listener, _ in pages)]:
            listener.close()
            listener.remove_file()
        if pid is not None:
            pid.remove()

    try:
        if pid_file is not None:
            pid = PidFile(pid_file)
        if page is not None:
            pages = [(listener, page[1]) for listener in binding.bind(page[0], owner=owner)]
        privileges.drop(identity)
        if os.geteuid() == 0:
            log.write(logs.WARNING, "-", "running as root; --user USER gives that up after binding")
        raise_file_limit()
        for listener in listeners:
            kinds = {kind: "first" for kind in ("proxy", "tls") if getattr(listener, kind)}
            log.write(logs.NOTICE, "-", f"listening on {listener.label}", **kinds)
        for listener, _ in pages:
            log.write(logs.NOTICE, "-", f"metrics on {listener.label}")
        if workers > 1:
            return Supervisor(make_worker, listeners, workers, log, grace_s, pages, deployment, stop_listening).run()
        return make_worker().run(listeners, pages=pages, deployment=deployment, on_stop=stop_listening,
                                 ready=lambda: _say_ready(log, deployment))
    finally:
        stop_listening()


def _say_ready(log, deployment, **more):
    version = {} if deployment is None else {"policy_version": deployment.current.policy.version}
    log.write(logs.NOTICE, "-", "ready", pid=os.getpid(), **more, **version)
    notify.ready(" ".join(("policy", *version.values())) if version else "")


@dataclass
class _Slot:
    """The place of one worker; the process in it may change."""

    number: int
    pid: int | None = None
    started: float = 0.0
    delay_s: float = 0.0
    restart_at: float = 0.0
    ready_fd: int | None = None
    ready: bool = False
    control: object = None          # our end of the socket on which it gets newer policies
    taking: bool = False            # it has been given one, and has not answered yet


class Supervisor:
    """Runs `workers` processes and keeps that many running.

    Args:
        make_worker, log, grace_s: as for `serve`.
        listeners: bound for that many workers. pages: [(listener, protocol), …] for monitoring.
        deployment: as for `serve`. stop_listening: called when the end begins.
    """

    # Back-off: the first restart comes after the least delay, each further one waits twice as long, up to the
    # most; a worker that lived this long starts over. Connections wait in its socket meanwhile.
    LEAST_DELAY_S = 0.1
    MOST_DELAY_S = 30.0
    LONG_LIFE_S = 60.0

    # What workers get beyond grace_s before SIGKILL, and after being told to end at once.
    MARGIN_S = 5.0
    AT_ONCE_S = 2.0

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)

    def __init__(self, make_worker, listeners, workers, log, grace_s, pages, deployment, stop_listening):
        self._make_worker = make_worker
        self._listeners = listeners
        self._pages = pages
        self._deployment = deployment
        self._stop_listening = stop_listening
        self._reload_asked = False
        self._reloading = False         # workers are taking a newer policy
        self._slots = [_Slot(number) for number in range(workers)]
        self._log = log
        self._grace_s = grace_s
        self._announced = False
        self._stopping = False
        self._at_once = False
        self._kill_at = None
        self._failed = False

    def run(self):
        """Start the workers and watch them until the end; returns the exit status."""
        # Row 0 is ours, each worker has the one behind its number.
        metrics.share(1 + len(self._slots))
        # What exists now is shared with every worker; keep the collector from writing into those pages.
        gc.collect()
        gc.freeze()
        self._wake, self._waker = os.pipe()
        # Closed by the kernel whenever this process ends, in whatever way.
        self._lifeline, self._lifeline_held = os.pipe()
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        previous = {number: signal.signal(number, lambda *_: None) for number in self._SIGNALS}
        previous_fd = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            for slot in self._slots:
                self._start(slot)
            while any(slot.pid for slot in self._slots) or not self._stopping:
                self._turn()
        finally:
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._kill_all(signal.SIGKILL)
            if self._deployment is not None:
                self._deployment.give_up()
            for fd in (self._wake, self._waker, self._lifeline, self._lifeline_held):
                os.close(fd)
        return 1 if self._failed or self._at_once else 0

    def _turn(self):
        """Wait for the next thing that happens, and see to it."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        waiting = {slot.ready_fd: slot for slot in self._slots if slot.ready_fd is not None}
        taking = {slot.control.fileno(): slot for slot in self._slots if slot.taking}
        building = self._deployment.descriptor if self._deployment is not None else None
        for fd in (*waiting, *taking, *(() if building is None else (building,))):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._patience_ms()):
            if fd == self._wake:
                for number in os.read(self._wake, 4096):
                    if number in (signal.SIGTERM, signal.SIGINT):
                        self._stop()
                    elif number == signal.SIGHUP:
                        # The workers read certificates again; the policy is for us.
                        self._kill_all(signal.SIGHUP)
                        self._reload_asked = self._deployment is not None
            elif fd == building:
                if self._deployment.descriptor is not None and self._deployment.advance():
                    self._on_built()
            elif fd in taking:
                self._on_taken(taking[fd])
            else:
                self._on_ready(waiting[fd])
        self._reap()
        self._on_time()
        if self._reload_asked and self._announced and not (self._stopping or self._reloading or self._deployment.building):
            self._reload_asked = False
            notify.reloading()
            self._deployment.begin()

    def _on_built(self):
        """The newer policy is there, or is not: hand it to the workers."""
        file = self._deployment.finish()
        if file is None:
            notify.ready(f"reload failed, see the log; policy {self._deployment.current.policy.version}")
            return
        self._grace_s = self._deployment.current.timeouts.shutdown
        self._reloading = True
        for slot in self._slots:
            if slot.control is not None:
                try:
                    socket.send_fds(slot.control, [RELOAD], [file])
                    slot.taking = True
                except OSError as error:
                    # Hung, or about to be found dead.
                    self._log.write(logs.ERR, "-", "a worker cannot be given the newer policy", worker=slot.pid,
                                    error=error.strerror)
        os.close(file)
        self._see_reloaded()

    def _on_taken(self, slot):
        try:
            answer = slot.control.recv(1)
        except OSError:
            answer = b""
        slot.taking = False
        if answer != RELOADED:
            self._log.write(logs.ERR, "-", "a worker has not taken the newer policy", worker=slot.pid)
        self._see_reloaded()

    def _see_reloaded(self):
        if self._reloading and not any(slot.taking for slot in self._slots):
            self._reloading = False
            version = self._deployment.current.policy.version
            self._log.write(logs.NOTICE, "-", "reloaded", pid=os.getpid(), policy_version=version,
                            workers=sum(slot.pid is not None for slot in self._slots),
                            seconds=f"{self._deployment.seconds():.3f}")
            if not self._stopping:
                notify.ready(f"policy {version}")

    def _patience_ms(self):
        moments = [slot.restart_at for slot in self._slots if slot.pid is None and not self._stopping]
        if self._kill_at is not None:
            moments.append(self._kill_at)
        if not moments:
            return None
        return max(0, int((min(moments) - time.monotonic()) * 1000) + 1)

    def _on_time(self):
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._log.write(logs.ERR, "-", "workers did not end in time and are killed")
            self._kill_all(signal.SIGKILL)
            self._kill_at = None
        if not self._stopping:
            for slot in self._slots:
                if slot.pid is None and now >= slot.restart_at:
                    self._start(slot)

    def _on_ready(self, slot):
        slot.ready = bool(os.read(slot.ready_fd, 1))
        os.close(slot.ready_fd)
        slot.ready_fd = None
        if not self._announced and all(slot.ready for slot in self._slots):
            self._announced = True
            _say_ready(self._log, self._deployment, workers=len(self._slots))

    def _start(self, slot):
        reading, writing = os.pipe()
        ours, theirs = socket.socketpair()
        # A signal between fork and the child's own handlers must not run ours there.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                ours.close()
                self._child(slot.number, writing, theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._SIGNALS)
        os.close(writing)
        theirs.close()
        ours.setblocking(False)
        slot.control = ours
        slot.taking = False
        slot.pid = pid
        slot.started = time.monotonic()
        slot.ready_fd = reading
        slot.ready = False

    def _child(self, number, ready_fd, control):
        """Be a worker; never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._SIGNALS)
            for fd in (self._wake, self._waker, self._lifeline_held):
                os.close(fd)
            for slot in self._slots:
                if slot.ready_fd is not None:
                    os.close(slot.ready_fd)
                if slot.control is not None:
                    slot.control.close()
            if self._deployment is not None:
                self._deployment.forget()
            self._keep_own_sockets(number)
            metrics.begin(1 + number)
            status = self._make_worker().run(
                self._listeners, number, supervised=True, lifeline=self._lifeline, control=control, pages=self._pages,
                deployment=self._deployment, ready=lambda: os.write(ready_fd, b"+"))
        except BaseException:
            metrics.count(_INTERNAL)
            self._log.write(logs.CRIT, "-", "worker failed", pid=os.getpid(), stack=traceback.format_exc())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _keep_own_sockets(self, number):
        # A socket that another worker accepts on must not stay open here after that one stopped listening.
        for listener in self._listeners:
            own = listener.socket_of(number)
            for sock in listener.sockets:
                if sock is not own:
                    sock.close()

    def _reap(self):
        for slot in self._slots:
            if slot.pid is None:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._on_exit(slot, os.waitstatus_to_exitcode(status))

    def _on_exit(self, slot, code):
        pid, slot.pid = slot.pid, None
        metrics.end(1 + slot.number)
        if slot.ready_fd is not None:
            self._on_ready(slot)
        slot.ready = False
        slot.control.close()
        slot.control, slot.taking = None, False
        self._see_reloaded()
        if self._stopping:
            return
        how = f"signal {-code}" if code < 0 else f"status {code}"
        if not self._announced:
            self._log.write(logs.CRIT, "-", "a worker cannot start; giving up", worker=pid, how=how)
            self._failed = True
            self._stop()
            return
        now = time.monotonic()
        if now - slot.started >= self.LONG_LIFE_S:
            slot.delay_s = 0.0
        slot.delay_s = min(max(slot.delay_s * 2, self.LEAST_DELAY_S), self.MOST_DELAY_S)
        slot.restart_at = now + slot.delay_s
        metrics.count(_RESTARTS)
        self._log.write(logs.ERR, "-", "a worker died and is started again", worker=pid, how=how, after_s=slot.delay_s)

    def _stop(self):
        if self._stopping:
            self._at_once = True
            self._kill_all(signal.SIGQUIT)
            self._kill_at = time.monotonic() + self.AT_ONCE_S
            return
        self._stopping = True
        self._kill_at = time.monotonic() + self._grace_s + self.MARGIN_S
        notify.stopping()
        # Our copies of the sockets, too: while one is open, the kernel goes on taking connections.
        self._stop_listening()
        if self._deployment is not None:
            self._deployment.give_up()
        self._kill_all(signal.SIGTERM)

    def _kill_all(self, number):
        for slot in self._slots:
            if slot.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(slot.pid, number)
