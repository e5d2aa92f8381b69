"""Loads a policy: finds its file, runs it once, and makes heaps that hold library and policy.

A Policy is what a worker serves with. Every connection gets a heap of its own from new_heap(). What the policy
says of itself (handlers, listen addresses, limits) is read once, from the heap of the first run.

Must not know: sessions, sockets, workers.
"""
import hashlib
import os
import re
import socket
from pathlib import Path

from mailfilter import log as logs
from mailfilter._core.heap import DEFAULT_HEAP_BYTES, Heap, HeapDead, HostError, Image, NoImage, ScriptError
from mailfilter.errors import PolicyError
from mailfilter.policy import engine, library
from mailfilter.policy.faults import from_script_error
from mailfilter.policy.operations import LOADING

__all__ = ["Policy", "load"]

POLICY_BYTES_LIMIT = 4 << 20


class LoadingContext:
    """What the operations that are allowed at load time may see."""

    def __init__(self, settings, hostname, log):
        self.settings = settings
        self.hostname = hostname
        self.log = log
        self.session_id = "-"
        self.varying = None


class Policy:
    """A policy that has been run once without an error.

    Attributes:
        path: the file, as a Path. name: the file's name in tracebacks and logs.
        version: twelve hexadecimal digits of a hash over library and policy.
        handlers: {handler name: True when the policy defines it, False when it is the library's default}.
        statics: the plain data properties of SmtpServer, by name.
        listen_addresses: SmtpServer.listenAddress as a list of [address, port] lists or texts, or None.
        limits, timeouts: SmtpServer.limits and SmtpServer.timeouts as dicts by name (may be empty).
        image: what the heaps of connections are copied from; None when each is built afresh.
        debug_protocol: whether the dialogue is to be logged.
    """

    def __init__(self, path, name, source, settings, hostname, log=None, heap_bytes=DEFAULT_HEAP_BYTES):
        self.path = path
        self.name = name
        self.source = source
        self.heap_bytes = heap_bytes
        self.sources = {name: source.decode("utf-8", "replace")}
        self._context = LoadingContext(settings, hostname, log)
        digest = hashlib.sha256()
        for part_name, part in (*library.sources(), (name, source)):
            digest.update(part_name.encode() + b"\0" + part)
        self.version = digest.hexdigest()[:12]
        self.image = None
        told = self._first_run()
        self.handlers = dict(told["handlers"])
        self.statics = told["statics"]
        self.listen_addresses = self._static("listenAddress", list)
        self.limits = self._static("limits", dict) or {}
        self.timeouts = self._static("timeouts", dict) or {}
        self.debug_protocol = bool(self.statics.get("debugProtocol"))

    def _static(self, name, kind):
        value = self.statics.get(name)
        if value is not None and not isinstance(value, kind):
            raise PolicyError(f"SmtpServer.{name} must be {'an array' if kind is list else 'an object'}", self.name)
        return value

    def _first_run(self):
        """Run the policy, three times over to make the image of it; what the library tells of it."""
        builds = []
        try:
            for number in range(3):
                # What a policy logs and prints while it is loaded is said once, by the first run.
                answer = self._answer_quietly if number else self._answer_loading
                builds.append(self._build(answer, number))
            probe = self._build(self._answer_quietly)
            try:
                told = probe.call(engine.DESCRIBE)
            finally:
                probe.close()
            if self._context.varying is None:
                self._make_image(builds, told)
            else:
                self._without_image(f"it uses {self._context.varying} while it is loaded", self._context.varying)
        except ScriptError as error:
            raise self.fault(error) from error
        finally:
            for heap in builds:
                heap.close()
        return told

    def _make_image(self, builds, told):
        try:
            image = Image(builds)
        except NoImage as error:
            self._without_image(f"{error}, at byte {error.offset}")
            return
        trial = image.heap(self._answer_quietly)
        try:
            if trial.call(engine.DESCRIBE) == told:
                self.image = image
            else:
                self._without_image("a copy does not behave like the original")
        finally:
            trial.close()

    def _without_image(self, reason, word=None):
        """Every connection builds its heap afresh: right, but slow. Say so, and where the cause may be."""
        place = ""
        if word is not None:
            for number, text in enumerate(self.sources[self.name].split("\n"), 1):
                if word in text:
                    place = f"{self.name}:{number}: "
                    break
        if self._context.log is not None:
            self._context.log.write(logs.WARNING, "-", f"{place}the policy cannot be copied ({reason}); every connection "
                                    "builds it afresh, which takes longer. Do such things in smtpInit instead")

    def new_heap(self, answer):
        """A heap with library and policy in it. answer(name, *arguments) serves operations answered at once."""
        if self.image is not None:
            return self.image.heap(answer)
        heap = self._build(self._answer_quietly)
        heap.answer_with(answer)
        return heap

    def fault(self, error, thrown_at=None):
        """The PolicyError for a ScriptError or HeapDead out of one of this policy's heaps."""
        if isinstance(error, HeapDead):
            return PolicyError(str(error), self.name)
        return from_script_error(error, self.sources, thrown_at)

    def place_of_handler(self, handler):
        """(file, line, column, source line) of where the policy seems to define a handler; line None: nowhere."""
        for number, text in enumerate(self.sources[self.name].split("\n"), 1):
            found = re.search(rf"\b{handler}\b\s*[=:(]", text)
            if found:
                return self.name, number, found.start() + 1, text.rstrip("\r")
        return self.name, None, None, None

    def _build(self, answer, number=None):
        heap = Heap(self.heap_bytes, answer, number)
        try:
            for name, source in (*library.sources(), (self.name, self.source)):
                heap.load(name, source)
        except (ScriptError, HeapDead) as error:
            over, thrown_at = heap.over_limit, None
            if isinstance(error, ScriptError) and error.stack is None and name == self.name:
                thrown_at = heap.call(engine.FAULT)[1]
            heap.close()
            fault = self.fault(error, thrown_at)
            if over:
                fault.message += f" (the heap's limit of {self.heap_bytes} bytes was reached)"
            raise fault from error
        return heap

    def _answer_loading(self, name, *arguments):
        operation = LOADING.get(name)
        if operation is None:
            raise HostError(f"{name} cannot be used while the policy is being loaded; use it in a handler")
        return operation.perform(self._context, arguments)

    def _answer_quietly(self, name, *arguments):
        operation = LOADING.get(name)
        if operation is None:
            raise HostError(f"{name} cannot be used while the policy is being loaded; use it in a handler")
        return None if operation.effects else operation.perform(self._context, arguments)


def load(path_or_name, settings, *, hostname=None, log=None, heap_bytes=DEFAULT_HEAP_BYTES):
    """Load the policy in a file, or a shipped one by its name ("mx", "proxy").

    settings: mapping for Sys.setting. hostname: our name, default the machine's. log: a Log for what the policy
    logs while it is loaded. Raises PolicyError with the place of the mistake.
    """
    path = Path(path_or_name)
    if not path.is_file():
        shipped = library.shipped_policy(str(path_or_name)) if os.sep not in str(path_or_name) else None
        if shipped is None:
            raise PolicyError(f"there is no policy file {path_or_name}; "
                              f"policies that come with Mailfilter: {', '.join(library.shipped_policies())}")
        path = shipped
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read {path}: {error.strerror}") from error
    if not source.strip():
        raise PolicyError(f"the policy {path} is empty")
    if len(source) > POLICY_BYTES_LIMIT:
        raise PolicyError(f"the policy {path} has {len(source)} bytes; the limit is {POLICY_BYTES_LIMIT}")
    if source.startswith(b"\xef\xbb\xbf"):
        source = source[3:]
    return Policy(path, str(path), source, settings, hostname or socket.gethostname(), log, heap_bytes)
