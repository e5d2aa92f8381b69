"""Loads a policy: finds its file, compiles it and its modules, runs it, and makes heaps that hold library and policy.

A Policy is what a worker serves with. Every connection gets a heap of its own from new_heap(). What the policy
says of itself (handlers, listen addresses, limits) is read once, while it is loaded.

Must not know: sessions, sockets, workers.
"""
import hashlib
import os
import re
import socket
from pathlib import Path

from mailfilter import config, metrics
from mailfilter import log as logs
from mailfilter._core.heap import UNDEFINED, Heap, HeapDead, HostError, Image, NoImage, ScriptError
from mailfilter.errors import ConfigError, PolicyError
from mailfilter.policy import engine, library
from mailfilter.policy.compiler import Compiler
from mailfilter.policy.faults import from_dead_heap, from_script_error
from mailfilter.policy.lexer import code_only, words
from mailfilter.policy.modules import BYTES_LIMIT, Modules
from mailfilter.policy.operations import LOADING
from mailfilter.policy.program_cache import default_directory

__all__ = ["Policy", "load"]

CACHE_SETTING = "cacheDirectory"
"""The setting that says where compiled policies are kept; empty: nowhere. Default: the user's cache folder."""

LOADING_HEAP_BYTES = 64 << 20
"""What the first run may use where the command line says nothing: only that run tells what the policy allows itself."""


IMAGE_ATTEMPTS = 3
"""How often three builds are compared before a policy is said to be another one each time: what happened to lie on the C
stack can look like a value that differs, in one of some hundred starts."""


class LoadingContext:
    """What the operations that are allowed at load time may see."""

    def __init__(self, settings, hostname, user, log, modules):
        self.settings = settings
        self.modules = modules
        self.hostname = hostname
        self.user = user
        self.log = log
        self.session_id = "-"
        self.varying = None


class Policy:
    """A policy that has been run once without an error.

    Attributes:
        path: the file, as a Path. name: the file's name in tracebacks and logs.
        version: twelve hexadecimal digits of a hash over library, policy and modules.
        settings, hostname: what it was loaded with.
        program: the policy's own file as a compiler.Program. modules: its modules.Modules.
        programs: {name in tracebacks: Program} of the policy's file and all modules.
        handlers: {handler name: True when the policy defines it, False when it is the library's default}.
        has_cleanup: whether a session may have a cleanup to call that is not the library's, which does nothing.
        statics: the plain data properties of SmtpServer, by name.
        listen_addresses: SmtpServer.listenAddress as a list of [address, port] lists or texts, or None.
        limits, timeouts: SmtpServer.limits and SmtpServer.timeouts as dicts by name (may be empty).
        heap_bytes: the cap of every heap: what load() was given, else what the policy says, else the default.
        image: what the heaps of connections are copied from; None when each is built afresh.
        debug_protocol: whether the dialogue is to be logged.
    """

    def __init__(self, path, name, source, settings, hostname, user=None, log=None, heap_bytes=None):
        self.path = path
        self.name = name
        self.source = source
        self.settings = settings
        self.hostname = hostname
        self.heap_bytes = heap_bytes
        self.image = None
        self.no_image = None            # why there is none
        directory = settings.get(CACHE_SETTING)
        compiler = Compiler(default_directory() if directory is None else directory or None)
        try:
            self.program = compiler.compile(name, source)
            self.programs = {name: self.program}
            self.modules = Modules(path, name, compiler)
            self._context = LoadingContext(settings, hostname, user, log, self.modules)
            self.modules.add_policy(self.program)
            told, movable = self._first_run()
            self._check_handlers(told["others"])
            self.handlers = dict(told["handlers"])
            # A policy that does not have the word cannot set it later either; handlers may be set later.
            self.has_cleanup = self.handlers.get("cleanup", False) or "cleanup" in self._names()
            self.statics = told["statics"]
            self.listen_addresses = self._static("listenAddress", list)
            self.limits = self._numbers("limits", config.Limits())
            self.timeouts = self._numbers("timeouts", config.Timeouts())
            self.debug_protocol = bool(self.statics.get("debugProtocol"))
            if self.heap_bytes is None:
                self.heap_bytes = config.Given(config.Limits(), self.limits, "SmtpServer.limits").general.heap_bytes
            self._make_copyable(told, movable)
        finally:
            compiler.close()
        self.version = self._version()
        self._warn_of_missing_modules()

    # What goes to another process: all but the image, which handover.py passes on, and what that process has itself.

    def __getstate__(self):
        context = self._context
        return {**self.__dict__, "image": None, "_loaded": None, "_context": (context.hostname, context.user, context.varying)}

    def take_over(self, image, settings, log):
        """Become complete again, in another process."""
        hostname, user, varying = self._context
        self.image = image
        self._context = LoadingContext(settings, hostname, user, log, self.modules)
        self._context.varying = varying
        self._collect_programs()

    def _version(self):
        digest = hashlib.sha256()
        files = [(module.id, module.content) for _, module in sorted(self.modules.modules.items())]
        for name, content in (*library.sources(self._names()), *files, (self.path.name, self.source)):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:12]

    def _names(self):
        return frozenset().union(*(words(program.code.decode("utf-8", "replace")) for program in self.programs.values()))

    def _collect_programs(self):
        """What the heaps load, in order, as it stands now."""
        self.programs = {self.name: self.program, **self.modules.programs()}
        registered = [module.registration() for module in self.modules.modules.values()]
        self._loaded = [*library.sources(self._names(), registered), (self.name, self.program.code)]

    def _warn_of_missing_modules(self):
        if self._context.log is not None:
            for problem in self.modules.missing:
                self._context.log.write(logs.WARNING, "-", f"{problem}; where it is required, that will throw")

    def _static(self, name, kind):
        value = self.statics.get(name)
        if value is not None and not isinstance(value, kind):
            raise PolicyError(f"SmtpServer.{name} must be {'an array' if kind is list else 'an object'}", self.name)
        return value

    def _check_handlers(self, others):
        for name in others:
            if name in metrics.HANDLERS:
                raise PolicyError(f"SmtpServer.prototype.{name} must be a function",
                                  *self._place_of(rf"\b{name}\b(?=\s*[=:\]'\"])"))

    def _numbers(self, name, defaults):
        """SmtpServer.limits or .timeouts, checked."""
        values = self._static(name, dict) or {}
        try:
            config.Given(defaults, values, f"SmtpServer.{name}")
        except ConfigError as error:
            raise PolicyError(str(error), *self._place_of(rf"\bSmtpServer\s*\.\s*{name}\b")) from None
        return values

    def _place_of(self, pattern):
        """(file, line, column, source line) of the first match in the policy's files; line None: nowhere."""
        for program in self.programs.values():
            for number, text in enumerate(program.text.split("\n"), 1):
                found = re.search(pattern, text)
                if found:
                    return program.name, number, found.start() + 1, text.rstrip("\r")
        return self.name, None, None, None

    def _first_run(self):
        """Run the policy: what the library tells of it, and whether heaps can be built where an image needs them."""
        heap = movable = None
        try:
            heap, movable = self._build_with_all_modules()
            return heap.call(engine.DESCRIBE), movable
        except (ScriptError, HeapDead) as error:
            raise self.fault(error) from error
        finally:
            if heap is not None:
                heap.close()

    def _make_copyable(self, told, movable):
        """Run the policy three times more to make the image of it; told: what the first run has told."""
        if not movable:
            self._without_image("the address for building its image is taken", advice="")
            return
        builds = []
        try:
            for number in range(3):
                builds.append(self._build(self._answer_quietly, number))
            if self._context.varying is None:
                self._make_image(builds, told)
            else:
                self._without_image(f"it uses {self._context.varying} while it is loaded", self._context.varying)
        except OSError as error:
            self._without_image(str(error), advice="")
        except (ScriptError, HeapDead) as error:
            raise self.fault(error) from error
        finally:
            for heap in builds:
                heap.close()

    def _build_with_all_modules(self):
        """The first build, and whether it lies where those of an image do. Each time that it asks for a module by a
        computed name, it starts again with that module."""
        movable = True
        while True:
            known = len(self.modules.modules), sum(len(module.asked) for module in self.modules.modules.values())
            self._collect_programs()
            said = []
            heap = fault = None
            try:
                heap = self._build(lambda name, *arguments, said=said: self._answer_noting(said, name, arguments),
                                   0 if movable else None)
            except PolicyError as error:
                fault = error
            except OSError:
                movable = False
                continue
            if known == (len(self.modules.modules), sum(len(module.asked) for module in self.modules.modules.values())):
                # What a policy logs and prints while it is loaded is said once, by this run.
                for operation, arguments in said:
                    operation.perform(self._context, arguments)
                if fault is not None:
                    raise fault
                return heap, movable
            if heap is not None:
                heap.close()

    def _make_image(self, builds, told):
        for attempts_left in reversed(range(IMAGE_ATTEMPTS)):
            try:
                image = Image(builds)
                break
            except NoImage as error:
                if not attempts_left:
                    self._without_image(f"{error}, at byte {error.offset}")
                    return
            builds.clear()
            for number in range(3):
                builds.append(self._build(self._answer_quietly, number))
        trial = image.heap(self._answer_quietly)
        try:
            if trial.call(engine.DESCRIBE) == told:
                self.image = image
            else:
                self._without_image("a copy does not behave like the original")
        finally:
            trial.close()

    def _without_image(self, reason, word=None, advice=". Do such things in smtpInit instead"):
        """Every connection builds its heap afresh: right, but slow. Say so, and where the cause may be."""
        place = ""
        for program in self.programs.values() if word is not None else ():
            for number, text in enumerate(code_only(program.text).split("\n"), 1):
                if word in text:
                    place = place or f"{program.name}:{number}: "
        self.no_image = f"{place}{reason}"
        if self._context.log is not None:
            self._context.log.write(logs.WARNING, "-", f"{place}the policy cannot be copied ({reason}); every connection "
                                    f"builds it afresh, which takes longer{advice}")

    def new_heap(self, answer):
        """A heap with library and policy in it. answer(name, *arguments) serves operations answered at once."""
        if self.image is not None:
            return self.image.heap(answer)
        heap = self.build_heap()
        heap.answer_with(answer)
        return heap

    def build_heap(self):
        """A heap built from the sources, image or not."""
        return self._build(self._answer_quietly)

    def fault(self, error, thrown_at=None):
        """The PolicyError for a ScriptError or HeapDead out of one of this policy's heaps."""
        if isinstance(error, HeapDead):
            return from_dead_heap(error, self.programs, self.name)
        fault = from_script_error(error, self.programs, thrown_at)
        fault.file = fault.file or self.name
        return fault

    def place_of_handler(self, handler):
        """(file, line, column, source line) of where the policy seems to define a handler; line None: nowhere."""
        return self._place_of(rf"\b{handler}\b\s*[=:(]")

    def _build(self, answer, number=None):
        limit = self.heap_bytes or LOADING_HEAP_BYTES
        try:
            heap = Heap(limit, answer, number)
        except MemoryError as error:
            raise PolicyError(str(error), self.name) from error
        try:
            for name, source in self._loaded:
                heap.load(name, source)
        except (ScriptError, HeapDead) as error:
            over, thrown_at = heap.over_limit, None
            if isinstance(error, ScriptError) and error.stack is None and name in self.programs:
                thrown_at = heap.call(engine.FAULT)[1]
            heap.close()
            fault = self.fault(error, thrown_at)
            if over:
                fault.message += f" (the heap's limit of {limit} bytes was reached)"
            raise fault from error
        return heap

    def _answer_noting(self, said, name, arguments):
        operation = _while_loading(name)
        if not operation.effects:
            return operation.perform(self._context, arguments)
        operation.check(arguments)
        said.append((operation, arguments))
        return UNDEFINED

    def _answer_quietly(self, name, *arguments):
        operation = _while_loading(name)
        return UNDEFINED if operation.effects else operation.perform(self._context, arguments)


def _while_loading(name):
    operation = LOADING.get(name)
    if operation is None:
        raise HostError(f"{name} cannot be used while the policy is being loaded; use it in a handler")
    return operation


def load(path_or_name, settings, *, hostname=None, user=None, log=None, heap_bytes=None):
    """Load the policy in a file, or a shipped one by its name ("mx", "proxy").

    settings: mapping for Sys.setting. hostname: our name, default the machine's. user: the name of the user that
    sessions will run as, default who we are now. log: a Log for what the policy logs while it is loaded. heap_bytes: the
    cap of every heap; None: what the policy says, or the default. Raises PolicyError with the place of the mistake.
    """
    if log is not None and not engine.sound():
        log.write(logs.WARNING, "-", engine.UNSOUND)
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
    library.every_source()      # all of one version, though some of it may be needed only by a later policy
    source = source.removeprefix(b"\xef\xbb\xbf")
    if not source.strip():
        raise PolicyError(f"the policy {path} is empty")
    if len(source) > BYTES_LIMIT:
        raise PolicyError(f"the policy {path} has {len(source)} bytes; the limit is {BYTES_LIMIT}")
    return Policy(path, str(path), source, settings, hostname or socket.gethostname(), user, log, heap_bytes)
