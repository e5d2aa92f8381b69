"""Deploying a policy while sessions go on: it is built beside the one that serves, and takes its place only when it is good.

The building (reading, compiling, running, making the image) happens in a child process, so that whoever serves or
supervises goes on meanwhile, and nothing of it stays in its memory. What comes out is a file in memory that every worker
maps, so that all of them share one image. When building fails, the log says where, and everything stays as it was.

Must not know: listeners, event loops, who asks for a reload and who is told of it.
"""
import gc
import json
import os
import signal
import time
import traceback
from contextlib import suppress

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter.errors import MailfilterError, PolicyError
from mailfilter.policy import handover

__all__ = ["BUILD_S", "Deployment"]

BUILD_S = 60
"""A policy must have been built after so many seconds."""

_DONE, _FAILED = metrics.slot("reloads_total", "done"), metrics.slot("reloads_total", "failed")
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM)
_ANSWER_BYTES = 1 << 20


class Deployment:
    """The policy that new sessions get, and the way to a newer one.

    load: called without arguments, gives terms.Terms or raises a MailfilterError. settings, log: what a policy is given.
    fixed_addresses: whether the addresses are not the policy's; a change of those is worth a warning.

    Attributes:
        current: the Terms of new sessions.
        building: whether a newer policy is being built.
    """

    def __init__(self, load, settings, log, fixed_addresses=True):
        self._load = load
        self._settings = settings
        self._log = log
        self._fixed_addresses = fixed_addresses
        self._pid = None
        self._pipe = None
        self._file = None
        self._answer = b""
        self._begun = 0.0
        self.current = load()

    @property
    def building(self):
        return self._pid is not None

    def begin(self):
        """Begin to build what the policy's files now hold; a descriptor. Whenever that is readable, call advance()."""
        self._begun = time.monotonic()
        self._answer = b""
        self._file = handover.new_file()
        self._pipe, writing = os.pipe()
        os.set_blocking(self._pipe, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_OURS, signal.SIGHUP))
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._build(writing)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_OURS, signal.SIGHUP))
        os.close(writing)
        return self._pipe

    def advance(self):
        """Whether building has ended, well or not: then the descriptor is closed, and finish() is to be called."""
        while True:
            try:
                data = os.read(self._pipe, 65536)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._answer = (self._answer + data)[:_ANSWER_BYTES]

    def finish(self):
        """The file to be handed to workers, for receive(), when the new policy is the current one now; None when building
        has failed, of which the log tells. The caller closes it."""
        _, status = os.waitpid(self._pid, 0)
        os.close(self._pipe)
        file, self._file, self._pid, self._pipe = self._file, None, None, None
        code = os.waitstatus_to_exitcode(status)
        try:
            answer = json.loads(self._answer or b"null")
        except ValueError:
            answer = None
        if code == 0 and answer == {}:
            before = self.current.policy
            try:
                self.receive(os.dup(file))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            else:
                self._warn_of_addresses(before)
                metrics.count(_DONE)
                return file
        os.close(file)
        self._tell_failure(code, answer or {})
        return None

    @property
    def descriptor(self):
        """What begin() gave, while building."""
        return self._pipe

    def seconds(self):
        """How long it has been since begin()."""
        return time.monotonic() - self._begun

    def receive(self, file):
        """Take the Terms out of a file that finish() gave, in this process or another; they are the current ones then.
        The file is closed. Raises OSError, ValueError or MemoryError, and changes nothing."""
        _, (terms, opened, of_files) = handover.restore(file, self._settings, self._log)
        self._settings.take(of_files)
        if opened is not None and opened != _opened(self._log):
            self._log.openlog(*opened)
        self.current = terms
        return terms

    def give_up(self):
        """End building, if it goes on, without a result."""
        if self._pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self.forget()

    def forget(self):
        """In a child of whoever is building: that is none of its business."""
        for fd in (self._pipe, self._file):
            if fd is not None:
                os.close(fd)
        self._pid = self._pipe = self._file = None

    def _tell_failure(self, code, answer):
        metrics.count(_FAILED)
        if code == -signal.SIGALRM:
            answer = {"error": f"building the policy took longer than {BUILD_S} s"}
        elif "error" not in answer:
            how = f"signal {-code}" if code < 0 else f"status {code}"
            answer = {"error": f"the process that built the policy ended with {how}"}
        more = {name: answer[name] for name in ("source", "stack") if answer.get(name)}
        self._log.write(logs.ERR, "-", f"reload failed, the old policy stays: {answer['error']}", **more,
                        policy_version=self.current.policy.version)

    def _warn_of_addresses(self, before):
        if not self._fixed_addresses and before.listen_addresses != self.current.policy.listen_addresses:
            self._log.write(logs.WARNING, "-", "SmtpServer.listenAddress has changed; that needs a restart")

    # In the child.

    def _build(self, writing):
        """Load the policy and write down what came of it; never returns."""
        status = 1
        try:
            self._be_alone(writing)
            status, answer = self._outcome()
            data = json.dumps(answer).encode()
            while data:
                data = data[os.write(writing, data):]
        finally:
            os._exit(status)

    def _be_alone(self, writing):
        # What belongs to the parent must neither be run here, nor freed, nor kept open.
        gc.disable()
        gc.freeze()
        signal.set_wakeup_fd(-1)
        for number in _OURS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_OURS, signal.SIGHUP))
        signal.alarm(BUILD_S)
        opened = _opened(self._log)
        if opened is not None:
            self._log.close()
        low = 3
        for fd in sorted((writing, self._file)):
            os.closerange(low, fd)
            low = fd + 1
        os.closerange(low, os.sysconf("SC_OPEN_MAX"))
        if opened is not None:
            self._log.openlog(*opened)

    def _outcome(self):
        try:
            terms = self._load()
            handover.store(terms.policy, (terms, _opened(self._log), self._settings.of_files), self._file)
        except PolicyError as error:
            return 1, {"error": str(error), "source": (error.source_line or "").strip()}
        except MailfilterError as error:
            return 1, {"error": str(error)}
        except BaseException as error:
            return 1, {"error": f"{type(error).__name__}: {error}", "stack": traceback.format_exc()}
        return 0, {}


def _opened(log):
    """(ident, facility) of a log that goes to syslog, else None."""
    sink = log.sink
    return (sink.ident, sink.facility) if isinstance(sink, logs.SyslogSink) else None
