"""What can be told about a loaded policy without running a session: for `mailfilter check`.

Which operations a policy uses is read from names in its text: the library's functions are looked up in the library's
own files. That is right for policies that call things by their names.

Must not know: the command line, how anything is shown.
"""
import difflib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from mailfilter.errors import PolicyError
from mailfilter.policy import library
from mailfilter.policy.lexer import code_only, words
from mailfilter.policy.operations import OPERATIONS

__all__ = ["HANDLERS", "measure", "missing_parts", "operations_used", "type_errors", "warnings"]

HANDLERS = frozenset((
    "smtpInit", "smtpHelo", "smtpEhlo", "smtpMail", "smtpRcpt", "smtpPreData", "smtpBody", "smtpData", "smtpRset", "smtpQuit",
    "smtpNoop", "smtpVrfy", "smtpExpn", "smtpHelp", "smtpUnknown", "cleanup"))
"""Every handler that is ever called."""

COPIES = 20
TYPE_CHECK_SECONDS = 120

# Python module: what is missing without it.
_OPTIONAL = {
    "pycares": "DNS, and with it the names of clients in Received headers",
    "spf": "SPF",
    "uvloop": "the event loop that connections are served with",
}

_OPERATION = re.compile(r"host\.(?:wait|now)\('([a-z]+\.[a-z]+)'")
_DEFINITION = re.compile(
    r"(?:^|[\s;(])(?:[A-Z]\w*(?:\.prototype)?\.(?P<member>\w+) = function|"
    r"function (?P<function>\w+)\(|host\.(?P<host>\w+) = function)")
# Namesakes of functions of the library.
_BUILT_IN = re.compile(r"\b(JSON|Math|Date)\s*\.\s*(?!random\b)\w+")
_OWN_HANDLER = re.compile(r"\bSmtpServer\.prototype\.(\w+)\s*=(?!=)")


def measure(policy):
    """(seconds to build a heap from the source, seconds to copy the image; None where there is no image)."""
    begun = time.perf_counter()
    policy.build_heap().close()
    built = time.perf_counter() - begun
    if policy.image is None:
        return built, None
    policy.image.heap(None).close()         # the first one takes fresh pages
    begun = time.perf_counter()
    for _ in range(COPIES):
        policy.image.heap(None).close()
    return built, (time.perf_counter() - begun) / COPIES


def missing_parts():
    """[(what is not installed, what does not work without it)]."""
    return [(name, what) for name, what in _OPTIONAL.items() if importlib.util.find_spec(name) is None]


def _library_functions():
    """{name of a public function of the library: the operations that it leads to}."""
    direct, calls, public = {}, {}, set()
    for name, source in library.every_source():
        if name.endswith(("prelude.js", "engine.js", "modules.js")):
            continue
        text = source.decode()
        code = code_only(text)
        found = list(_DEFINITION.finditer(code))
        for this, after in zip(found, [*found[1:], None], strict=True):
            end = len(text) if after is None else after.start()
            key = this["member"] or this["function"] or this["host"]
            direct.setdefault(key, set()).update(_OPERATION.findall(text[this.start():end]))
            calls.setdefault(key, set()).update(re.findall(r"(\w+)\(", code[this.end():end]))
            if this["member"] or this["function"] and this["function"][0].isupper():
                public.add(key)
    while True:
        before = sum(map(len, direct.values()))
        for key, called in calls.items():
            direct[key] = direct[key].union(*(direct[other] for other in called if other in direct and other != key))
        if sum(map(len, direct.values())) == before:
            return {name: direct[name] for name in public if direct[name]}


def operations_used(policy):
    """Rows of the table of operations, in its order, that the policy's files name by calling the library."""
    named = set()
    for program in policy.programs.values():
        named |= words(_BUILT_IN.sub(r"\1", program.code.decode("utf-8", "replace")))
    used = set().union(*(of for name, of in _library_functions().items() if name in named and name not in HANDLERS))
    if "Date" in named:
        used.add("clock.now")
    if "random" in named:
        used.add("random.number")
    return [operation for operation in OPERATIONS if operation.name in used]


def warnings(policy):
    """What is allowed and yet probably a mistake: a list of PolicyErrors."""
    own = {name for name, of_the_policy in policy.handlers.items() if of_the_policy}
    found = [*policy.modules.missing]
    suspects = {}
    for program in policy.programs.values():
        code = code_only(program.text)
        for match in _OWN_HANDLER.finditer(code):
            suspects.setdefault(match[1], (program, match.start(1)))
    for name in sorted({*own, *suspects} - HANDLERS):
        likely = [known for known in HANDLERS if known.lower() == name.lower()] or difflib.get_close_matches(
            name, HANDLERS, 1, 0.75)
        if not likely and name not in own:
            continue            # a method of the policy's own
        known = f"did you mean {likely[0]}?" if likely else f"known are {', '.join(sorted(HANDLERS))}"
        place = _place(policy, name, suspects)
        found.append(PolicyError(f"{name} is no handler and is never called by itself; {known}", *place))
    if "smtpData" not in own:
        found.append(PolicyError("there is no smtpData: every message is put off with 451", policy.name))
    if "smtpRcpt" not in own:
        found.append(PolicyError("there is no smtpRcpt: every recipient is accepted", policy.name))
    return found


def _place(policy, name, suspects):
    if name in suspects:
        program, offset = suspects[name]
        line = program.text.count("\n", 0, offset) + 1
        return program.name, line, offset - program.text.rfind("\n", 0, offset), program.line(line)
    return policy.place_of_handler(name)


def type_errors(policy):
    """What the TypeScript compiler `tsc`, where there is one, says against the policy's TypeScript files.

    A list of PolicyErrors; None when there is nothing to check or no compiler.
    """
    files = [os.path.realpath(program.name) for program in policy.programs.values() if program.name.endswith(".ts")]
    compiler, declarations = shutil.which("tsc"), library.directory() / "mailfilter.d.ts"
    if not files or compiler is None or not declarations.is_file():
        return None
    configuration = {"compilerOptions": {"noEmit": True, "target": "es2015", "lib": ["es2015"], "module": "commonjs",
                                         "types": []}, "files": [str(declarations), *files]}
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tsconfig.json"), "w", encoding="utf-8") as file:
            json.dump(configuration, file)
        try:
            done = subprocess.run([compiler, "-p", folder, "--pretty", "false"], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, cwd=folder, timeout=TYPE_CHECK_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return [PolicyError(f"tsc cannot be used: {error}", policy.name)]
        return _type_errors(policy, done.stdout, folder)


def _type_errors(policy, output, folder):
    programs = {os.path.realpath(program.name): program for program in policy.programs.values()}
    found = []
    for file, line, column, message in re.findall(r"^(.+?)\((\d+),(\d+)\): error (TS\d+: .*)$", output, re.MULTILINE):
        program = programs.get(os.path.realpath(os.path.join(folder, file)))
        if program is None:
            found.append(PolicyError(message, file, int(line), int(column)))
        else:
            found.append(PolicyError(message, program.name, int(line), int(column), program.line(int(line))))
    if not found and "error" in output:
        found.append(PolicyError(output.strip().splitlines()[0], policy.name))
    return found
