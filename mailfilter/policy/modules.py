"""The modules of a policy: which files it requires, where they are, and what the engine is given for each.

All of it happens while the policy is loaded: whatever is required by a literal name, however deep in a handler, is
found in the text, and what is required by a computed name is found when the loading run asks for it. A module is a
file in the policy's own folder or below, or one that comes with the program.

Names are those of js/modules.js: "./rules/dnsbl.js" in the policy's folder, "mailfilter/policies/mx.js" ours.

Must not know: heaps, images, handlers.
"""
import json
import os
import posixpath

from mailfilter.errors import PolicyError
from mailfilter.policy import library
from mailfilter.policy.compiler import Program
from mailfilter.policy.lexer import required

__all__ = ["BYTES_LIMIT", "MODULES_LIMIT", "Modules"]

MODULES_LIMIT = 256
"""Modules of one policy."""
BYTES_LIMIT = 4 << 20
"""Octets of a policy and all of its modules together."""

_ENDINGS = ("", ".js", ".json", ".ts", "/index.js", "/index.ts")
_OURS = "mailfilter/"


class Module:
    """One module: its name, its file, its Program, and the names that it was asked for by."""

    __slots__ = ("id", "path", "program", "asked", "content")

    def __init__(self, identifier, path, program, content):
        self.id = identifier
        self.path = path
        self.program = program
        self.content = content
        self.asked = set()

    def registration(self):
        """The program (name in tracebacks, source bytes) that makes it known to require()."""
        head = (f"host.module({json.dumps(self.id)}, {json.dumps(self.path)}, {json.dumps(sorted(self.asked))}, "
                "function (exports, require, module, __filename, __dirname) {")
        return self.program.name, head.encode() + self.program.code + b"\n});"


class Modules:
    """The modules of the policy in the file `path`, called `name` in messages.

    Attributes:
        folder: the policy's, without links.
        modules: {identifier: Module}, in the order in which they were found.
        missing: PolicyErrors about literal names that lead to nothing; they are thrown where they are required.
    """

    def __init__(self, path, name, compiler):
        self._file = os.path.realpath(path)
        self._root = self.folder = os.path.dirname(self._file)
        self._shown = os.path.dirname(name)
        self._compiler = compiler
        self._bytes = 0
        self.modules = {}
        self.missing = []

    def add_policy(self, program, folder="."):
        """Find what the policy's own file requires. folder: "." or, for a policy that comes with us, its folder."""
        self._bytes += len(program.code)
        self._add_required(program, folder)

    def want(self, folder, request):
        """Asked by require() for a module that it does not know. What to throw; the module may be known next time."""
        try:
            module = self._find(folder, request)
        except _NotFound as error:
            return str(error)
        return f"the module '{request}' is {module.id}, which was not known yet"

    def programs(self):
        """{name in tracebacks: Program} of all modules."""
        return {module.program.name: module.program for module in self.modules.values()}

    def _add_required(self, program, folder):
        code = program.code.decode("utf-8", "replace")
        for request, offset in required(code):
            if request == "mailfilter":
                continue
            try:
                self._find(folder, request)
            except _NotFound as error:
                places = program.places(code.count("\n", 0, offset) + 1)
                line, column = places[0] if places else (None, None)
                if program.map is None:
                    column = offset - code.rfind("\n", 0, offset)
                self.missing.append(PolicyError(str(error), program.name, line, column, program.line(line)))

    def _find(self, folder, request):
        """The module that `request` in a file of `folder` means; _NotFound."""
        key = self._key(folder, request)
        base, below = (library.directory(), key[len(_OURS):]) if key.startswith(_OURS) else (self._root, key[2:])
        for ending in _ENDINGS:
            path = os.path.join(base, *below.split("/")) + ending
            if os.path.isfile(path):
                return self._add(key, os.path.realpath(path), request)
        if os.path.isdir(os.path.join(base, *below.split("/"))) and not key.startswith(_OURS):
            raise _NotFound(f"cannot find the module '{request}': the folder {below or '.'} has no index.js and no index.ts")
        raise _NotFound(f"cannot find the module '{request}'" + (
            "" if key.startswith(_OURS) else f" in {self._shown or '.'}: there is no {below}, with or without .js, .json, .ts"))

    @staticmethod
    def _key(folder, request):
        if request.startswith(("./", "../")) or request in (".", ".."):
            key = posixpath.normpath(posixpath.join(folder, request))
            if folder == "." or folder.startswith("./"):
                if key == ".." or key.startswith("../"):
                    raise _NotFound(f"require('{request}') reaches outside the policy's folder")
                return "./" + ("" if key == "." else key)
        elif request.startswith(_OURS):
            key = posixpath.normpath(request)
        else:
            raise _NotFound(f"cannot find the module '{request}': a module is a file of the policy's folder, "
                            f"'./{request.strip('/')}', or one that comes with Mailfilter, 'mailfilter/…'")
        # The library itself is always there, as globals; what lies in folders below it can be required.
        if not key.startswith(_OURS) or "/" not in key[len(_OURS):]:
            raise _NotFound(f"cannot find the module '{request}': the library's own names are global, and all of them are "
                            "in require('mailfilter')")
        return key

    def _add(self, key, path, request):
        ours = key.startswith(_OURS)
        base = os.path.realpath(library.directory()) if ours else self._root
        if os.path.commonpath((base, path)) != base:
            raise _NotFound(f"require('{request}') reaches outside the policy's folder: it is {path}")
        if path == self._file:
            raise _NotFound(f"require('{request}') is the policy itself, which is no module")
        below = os.path.relpath(path, base).replace(os.sep, "/")
        identifier = (_OURS if ours else "./") + below
        module = self.modules.get(identifier)
        if module is None:
            if path.endswith(".d.ts"):
                raise _NotFound(f"require('{request}'): declarations are no module")
            module = self._load(identifier, path, identifier if ours else os.path.join(self._shown, below))
            self.modules[identifier] = module
            self._add_required(module.program, posixpath.dirname(identifier))
        module.asked.add(key)
        return module

    def _load(self, identifier, path, name):
        if len(self.modules) >= MODULES_LIMIT:
            raise PolicyError(f"the policy has more than {MODULES_LIMIT} modules", name)
        try:
            with open(path, "rb") as file:
                content = file.read(BYTES_LIMIT + 1)
        except OSError as error:
            raise PolicyError(f"cannot read the module: {error.strerror}", name) from error
        self._bytes += len(content)
        if self._bytes > BYTES_LIMIT:
            raise PolicyError(f"the policy and its modules have more than {BYTES_LIMIT} bytes", name)
        content = content.removeprefix(b"\xef\xbb\xbf")
        program = _json(name, content) if path.endswith(".json") else self._compiler.compile(name, content, "module")
        return Module(identifier, path, program, content)


class _NotFound(Exception):
    """A request leads to no module; the text says why."""


def _json(name, content):
    try:
        text = content.decode()
        value = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise PolicyError(f"not UTF-8 (octet {error.start})", name) from None
    except json.JSONDecodeError as error:
        lines = text.split("\n")
        raise PolicyError(f"SyntaxError: {error.msg}", name, error.lineno, error.colno,
                          lines[error.lineno - 1].rstrip("\r")) from None
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"SyntaxError: {error or 'nested too deeply'}", name) from None
    # Written anew: short, and ASCII, so that it is a string literal of the engine's language.
    short = json.dumps(value, separators=(",", ":"))
    return Program(name, text, f"module.exports = JSON.parse({json.dumps(short)});".encode(), compilers=("JSON",))


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")
