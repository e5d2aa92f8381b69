"""Compiles the files of a policy to what the engine runs: ECMAScript 5.

A file that the engine understands goes through byte for byte. Any other JavaScript is compiled by Babel, and
TypeScript by its compiler and then, where needed, by Babel; both come with dukpy and take tenths of a second, so
what they gave is kept on disk (program_cache.py). A Program knows which of the author's lines each compiled line was made of.

Must not know: modules, handlers, sessions.
"""
import hashlib
import re
from importlib import metadata

from mailfilter._core.heap import Heap, HeapDead, HeapStopped, ScriptError
from mailfilter.errors import PolicyError
from mailfilter.policy import dialect, engine, simpler
from mailfilter.policy.lexer import code_only, regexps
from mailfilter.policy.program_cache import ProgramCache
from mailfilter.policy.sourcemap import LineMap, MapError

__all__ = ["Compiler", "Program"]

assert engine       # imported because it binds the engine that trials run in

COMPILER_BYTES = 1 << 30
"""Memory that one compiler may use; 15 MB for itself, and up to half a megabyte for each line."""
COMPILING_MS = 300_000
"""Milliseconds of CPU that compiling one file may take."""

# The places around a module's text: the function of a module, on the first line so that lines stay.
_AROUND = {"policy": ("", ""), "module": ("(function (exports, require, module, __filename, __dirname) {", "\n})")}

_STRICT = re.compile(r"""(?:\s|//[^\n]*|/\*.*?\*/)*(?:'use strict'|"use strict")\s*(?:;|\n|\})""", re.DOTALL)
_NOTE = re.compile(r" \(line (\d+)(?:, end of input)?\)$")


class Program:
    """One file of a policy, ready for the engine.

    Attributes:
        name: what the file is called in tracebacks and messages.
        text: the author's own text. code: what the engine runs, bytes.
        map: a LineMap from code to text; None when they are the same.
        compilers: the names of those that had a part in it; empty when code is the file as it is.
    """

    __slots__ = ("name", "text", "code", "map", "compilers", "_seen")

    def __init__(self, name, text, code, lines=None, compilers=()):
        self.name = name
        self.text = text
        self.code = code
        self.map = lines
        self.compilers = tuple(compilers)
        self._seen = None

    @property
    def seen(self):
        """The author's text with all that is no code made blank."""
        if self._seen is None:
            self._seen = code_only(self.text)
        return self._seen

    def places(self, line):
        """The (line, column) pairs of the author's text, from 1, that line `line` of the code was made of.

        The column is None where nothing is known of it. Empty: that line is the compiler's own.
        """
        if self.map is None:
            return [(line, None)] if line and 0 < line <= self.text.count("\n") + 1 else []
        return self.map.places(line)

    def places_near(self, line):
        """The same for the nearest line at or above it that is the author's."""
        while line and line > 0:
            found = self.places(line)
            if found:
                return found
            line -= 1
        return []

    def line(self, number):
        """The text of a line of the author's, without its end; None when there is no such line."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if number and 0 < number <= len(lines) else None


class Compiler:
    """Compiles files. `directory`: where results are kept, or None. close() gives the compilers' memory back."""

    def __init__(self, directory=None):
        self._cache = ProgramCache(directory)
        self._heaps = {}
        self._version = None

    def close(self):
        """Forget the compilers; they are loaded again when they are needed."""
        for heap in self._heaps.values():
            heap.close()
        self._heaps.clear()

    def compile(self, name, source, kind="policy"):
        """A Program of the file `name` with the content `source` (bytes).

        kind: "policy", a program of its own, or "module", the body of a function. PolicyError with the place of the
        first mistake.
        """
        text = source.decode("utf-8", "replace")
        if not name.endswith(".ts"):
            problem = self._refusal(source, text, kind)
            if problem is None:
                return Program(name, text, source)
        try:
            source.decode("utf-8")
        except UnicodeDecodeError as error:
            number = source.count(b"\n", 0, error.start) + 1
            raise PolicyError(f"not UTF-8 (octet {error.start} is {source[error.start]:#04x})", name, number) from None
        self._check_regexps(name, text)
        key = self._key(name, source, kind)
        kept = self._cache.get(key)
        program = None if kept is None else self._program(name, text, kept)
        if program is None:
            made = self._compile(name, text, kind)
            program = self._program(name, text, made)
            if program is None:
                raise PolicyError("the compiler gave nothing that can be used", name)
            self._check(program, kind)
            self._cache.put(key, made)
        return program

    @staticmethod
    def _check_regexps(name, text):
        """Babel lets through what only fails when it runs, or says nothing of where it is."""
        for literal, offset in regexps(text):
            problem = dialect.regexp_problem(literal)
            if problem is not None:
                at = offset + problem[0]
                line, begin = text.count("\n", 0, at) + 1, text.rfind("\n", 0, at) + 1
                raise PolicyError(f"SyntaxError: in a regular expression: {problem[1]}", name, line, at - begin + 1,
                                  text[begin:].split("\n", 1)[0].rstrip("\r"))

    @staticmethod
    def _program(name, text, made):
        try:
            lines = LineMap([[tuple(map(int, segment)) for segment in line] for line in made["lines"]])
            return Program(name, text, made["code"].encode(), lines, map(str, made["compilers"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None         # kept by an earlier version, or not by us

    def _key(self, name, source, kind):
        if self._version is None:
            parts = (metadata.version("dukpy"), dialect.BABEL, dialect.TYPESCRIPT, "3")
            self._version = hashlib.sha256("\0".join(parts).encode()).digest()
        language = b"ts" if name.endswith(".ts") else b"js"
        return hashlib.sha256(b"\0".join((self._version, language, kind.encode(), source))).hexdigest()

    def _refusal(self, source, text, kind):
        """The SyntaxError of the engine for a text, as a ScriptError; None when it takes it."""
        before, after = _AROUND[kind]
        # The throw comes first, so that nothing of the text runs; what is thrown is no Error.
        strict = "'use strict'; " if kind == "policy" and _STRICT.match(text) else ""
        heap = Heap()
        try:
            heap.load("trial", f"{strict}throw 0; {before}".encode() + source + after.encode())
        except ScriptError as error:
            return error if error.name == "SyntaxError" else None
        except HeapDead:
            return None         # too big for a heap: loading it will say so
        finally:
            heap.close()
        return None

    def _check(self, program, kind):
        """What was compiled may still hold what the engine refuses (the syntax of a regular expression)."""
        problem = self._refusal(program.code, program.code.decode(), kind)
        if problem is None:
            return
        message, line = str(problem.message), problem.line
        note = _NOTE.search(message)
        if note:
            message, line = message[:note.start()], int(note[1])
        places = program.places(line)
        line, column = places[0] if places else (None, None)
        # What passes a compiler and not the engine is the inside of a regular expression.
        for _, offset in regexps(program.text):
            if program.text.count("\n", 0, offset) + 1 == line:
                column = offset - program.text.rfind("\n", 0, offset)
                break
        raise PolicyError(f"{problem.name}: {message}", program.name, line, column, program.line(line))

    def _compile(self, name, text, kind):
        rewrite = simpler.typescript if name.endswith(".ts") else simpler.javascript
        (code, _), lines, compilers = rewrite(text, code_only(text)), None, []
        if name.endswith(".ts"):
            code, lines = self._run("TypeScript", "compileTypeScript", name, code, kind, text)
            compilers.append("TypeScript")
        if lines is None or self._refusal(code.encode(), code, kind) is not None:
            code, second = self._run("Babel", "compileBabel", name, code, kind, text, lines)
            lines = second if lines is None else second.after(lines)
            compilers.append("Babel")
        return {"code": code, "lines": lines.lines, "compilers": compilers}

    def _run(self, compiler, function, name, source, kind, text=None, earlier=None):
        """(code, LineMap) of one compiler's work."""
        try:
            answer = self._heap(compiler).call(0, name, source, kind)
            if self._heap(compiler).over_limit:
                raise HeapDead(f"needs more than {COMPILER_BYTES >> 20} MiB for it; make several modules of it")
            if "error" in answer:
                raise self._error(name, answer, source, text or source, earlier)
            return answer["code"], LineMap.decode(answer["mappings"])
        except HeapDead as error:
            self._heaps.pop(compiler).close()
            why = f"took more than {COMPILING_MS // 1000} s" if isinstance(error, HeapStopped) else str(error)
            raise PolicyError(f"cannot be compiled: {compiler} {why}", name) from None
        except MapError as error:
            raise PolicyError(f"the compiler gave nothing that can be used: {error}", name) from None

    @staticmethod
    def _error(name, answer, source, text, earlier):
        line, column = answer["line"], answer["column"]
        # Babel: "file: message (line:column)", then an excerpt.
        message = answer["error"].removeprefix(f"{name}: ").split("\n")[0]
        message = re.sub(r"\s*\(\d+:\d+\)$", "", message)
        message = dialect.explained(message.rstrip("."), source, line, column,
                                    typescript=name.endswith(".ts") and earlier is None)
        if line is not None and earlier is not None:
            place = earlier.before(line - 1, column)
            line, column = (None, None) if place is None else (place[0] + 1, place[1])
        lines = text.split("\n")
        known = line is not None and 0 < line <= len(lines)
        return PolicyError(f"SyntaxError: {message}", name, line, None if column is None else column + 1,
                           lines[line - 1].rstrip("\r") if known else None)

    def _heap(self, compiler):
        """The heap that a compiler lives in; its entry 0 compiles."""
        heap = self._heaps.get(compiler)
        if heap is None:
            from dukpy.babel import BABEL_COMPILER
            from dukpy.tsc import TS_COMPILER
            path, program = {"Babel": (BABEL_COMPILER, dialect.BABEL),
                             "TypeScript": (TS_COMPILER, dialect.TYPESCRIPT)}[compiler]
            heap = Heap(COMPILER_BYTES)
            heap.allow(COMPILING_MS)
            with open(path, "rb") as file:
                heap.load(compiler, file.read(), COMPILING_MS)
            heap.load(compiler, program.encode(), COMPILING_MS)
            self._heaps[compiler] = heap
        return heap
