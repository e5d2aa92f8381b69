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

from mailfilter._core.heap import HeapDead, ScriptError
from mailfilter.errors import PolicyError
from mailfilter.policy import dialect, library, rehearsal
from mailfilter.policy.lexer import code_only, words
from mailfilter.policy.loader import CACHE_SETTING
from mailfilter.policy.map_operations import SETTING as MAPS_SETTING
from mailfilter.policy.operations import OPERATIONS

__all__ = ["HANDLERS", "measure", "missing_parts", "operations_used", "type_errors", "unread_settings", "warnings"]

HANDLERS = frozenset((
    "smtpInit", "smtpHelo", "smtpEhlo", "smtpMail", "smtpRcpt", "smtpPreData", "smtpBody", "smtpData", "smtpRset", "smtpQuit",
    "smtpNoop", "smtpVrfy", "smtpExpn", "smtpHelp", "smtpUnknown", "smtpStartTls",
    "smtpAuth", "cleanup"))
"""Every handler that is ever called."""

BUILDS, COPIES = 3, 20
TYPE_CHECK_SECONDS = 120

# Python module without which policies can be loaded: what is missing without it.
_OPTIONAL = {
    "nacl": "DKIM signatures with Ed25519",
    "sqlite3": "what DMARC found, for aggregate reports",
    "uvloop": "the event loop that connections are served with",
}

_OPERATION = re.compile(r"\b(?:(?:wait|yieldTo)\(\[|now\()'([a-z]+\.[a-z]+)'")
_DEFINITION = re.compile(
    r"(?:^|[\s;(])(?:(?P<owner>[A-Z]\w*)(?:\.prototype)?\.(?P<member>\w+) = (?:function|host\.)|"
    r"function (?P<function>\w+)\(|host\.(?P<host>\w+) = function)|"
    r"^    (?:global\.|var )(?P<object>\w+) = \{$|^        (?P<key>\w+): function", re.MULTILINE)
# What is called, and what stands before its dot.
_CALL = re.compile(r"(?:\b(\w+)\.)?\b(\w+)\(")
_NEW = re.compile(r"\bnew ([A-Z]\w*)\(")
# Namesakes of functions of the library.
_BUILT_IN = re.compile(r"\b(JSON|Math|Date)\s*\.\s*(?!random\b)\w+")
_SETTING = re.compile(r"""\bsetting\(\s*(?:(['"`])([^'"`]*)\1\s*[,)])?""")
_OWN_HANDLER = re.compile(r"\bSmtpServer\.prototype\.(\w+)\s*=(?!=)")


def measure(policy):
    """(seconds to build a heap from the source, seconds to copy the image; None where there is no image).

    The shortest of several: the machine has other things to do, and the first copy takes fresh pages.
    """
    built = min(_seconds(policy.build_heap) for _ in range(BUILDS))
    if policy.image is None:
        return built, None
    return built, min(_seconds(policy.image.heap, None) for _ in range(COPIES))


def _seconds(make, *arguments):
    begun = time.perf_counter()
    make(*arguments).close()
    return time.perf_counter() - begun


def missing_parts():
    """[(what is not installed, what does not work without it)]."""
    return [(name, what) for name, what in _OPTIONAL.items() if importlib.util.find_spec(name) is None]


# Of these a policy has instances without naming them.
_UNNAMED = frozenset(("SmtpServer", "SmtpBody", "SmtpHeader", "SmtpPath", "SmtpResponse"))


def _definitions(code):
    """(owner or None, name, sort, where it begins, where its body begins, where it ends) of each function of a file of the
    library. sort: "function" for a plain one, "key" for one in an object that is always called by its name, or another."""
    found, literal = [], None
    for this in _DEFINITION.finditer(code):
        if this["object"]:
            literal = this["object"]
        elif this["key"] is None:
            found.append((this, this["owner"], this["member"] or this["function"] or this["host"]))
        elif literal is not None:
            found.append((this, literal, this["key"]))
    for (this, owner, name), after in zip(found, [*found[1:], None], strict=True):
        yield owner, name, this.lastgroup, this.start(), this.end(), len(code) if after is None else after[0].start()


def _library_functions():
    """{name of a public function of the library: [(what else must be named or None, the operations that it leads to, the kinds
    of objects that it makes), …]}."""
    direct, makes, calls, public, by_name = {}, {}, {}, {}, {}
    for file, source in library.every_source():
        if file.endswith(("prelude.js", "engine.js", "modules.js")):
            continue
        text = source.decode()
        code = code_only(text)
        for owner, name, sort, begin, body, end in _definitions(code):
            # A plain function is known in its file alone.
            key = (file if sort == "function" else owner, name)
            if sort != "key":
                by_name.setdefault(name, set()).add(key)
            direct.setdefault(key, set()).update(_OPERATION.findall(text[begin:end]))
            makes.setdefault(key, set()).update(_NEW.findall(code[body:end]))
            calls.setdefault(key, set()).update((of or file, called) for of, called in _CALL.findall(code[body:end]))
            if name[0].isupper() if sort == "function" else owner is not None and owner[0].isupper():
                public[key] = None if owner in _UNNAMED else owner
    while True:
        before = sum(map(len, (*direct.values(), *makes.values())))
        for key, called in calls.items():
            for other in set().union(*({call} if call in direct else by_name.get(call[1], ()) for call in called)) - {key}:
                direct[key] |= direct[other]
            # Only what is surely called: of namesakes not one makes what another does.
            for call in called & makes.keys():
                makes[key] |= makes[call]
        if sum(map(len, (*direct.values(), *makes.values()))) == before:
            break
    functions = {}
    for key, owner in public.items():
        if direct[key] or makes[key]:
            functions.setdefault(key[1], []).append((owner, direct[key], makes[key]))
    return functions


def operations_used(policy):
    """Rows of the table of operations, in its order, that the policy's files name by calling the library."""
    named = set()
    for program in policy.programs.values():
        named |= words(_BUILT_IN.sub(r"\1", program.code.decode("utf-8", "replace")))
    meanings = [meaning for name, found in _library_functions().items() if name in named and name not in HANDLERS
                for meaning in found]
    known, used, before = set(named), set(), -1
    while len(known) != before:
        before = len(known)
        for owner, operations, made in meanings:
            # What a function has made is used without being named.
            if owner is None or owner in known:
                used |= operations
                known |= made
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
    elif rehearsal.accepts_everyone(policy):
        found.append(PolicyError(
            f"smtpRcpt accepts every recipient: a stranger's mail to {'@'.join(rehearsal.RECIPIENT)} was taken, and no next hop "
            "was asked; passed on, that makes an open relay", *policy.place_of_handler("smtpRcpt")))
    found += [PolicyError(problem, policy.name) for problem in unread_settings(policy)]
    found += _unknown_names(policy)
    return sorted(found, key=lambda problem: (problem.file != policy.name, problem.file or "", problem.line or 0,
                                              problem.column or 0))


def unread_settings(policy):
    """What to say of settings that the command line gives and nobody reads: a misspelt one would do nothing in silence.

    Nothing where a policy computes the names of its settings.
    """
    texts = [program.text for program in policy.programs.values()]
    read = {CACHE_SETTING, MAPS_SETTING}
    for text in (*texts, *(source.decode() for _, source in library.every_source())):
        code = code_only(text)
        for called in re.finditer(r"\bsetting\(", code):
            name = _SETTING.match(text, called.start())[2]
            if name is not None:
                read.add(name)
            elif text in texts:
                return []
    found = []
    for name in getattr(policy.settings, "given", ()):
        if name in read or any(f"{quote}{name}{quote}" in text for text in texts for quote in "'\"`"):
            continue
        plain = {known.lower(): known for known in sorted(read)}
        likely = difflib.get_close_matches(name.lower(), plain, 1, 0.75)
        hint = f"; did you mean {plain[likely[0]]}?" if likely else ""
        found.append(f"the setting {name} is read by nobody{hint}")
    return found


def _unknown_names(policy):
    """Globals that are known elsewhere, and that the policy uses though they are not there: in a policy that is loaded they
    are met only when the line runs."""
    found = []
    missing = _missing_names(policy)
    for program in policy.programs.values():
        for name in missing:
            if program is not policy.program and name in ("exports", "module"):
                continue
            used = re.search(rf"(?<![\w$.]){name}(?![\w$])(?!\s*:)", program.seen)
            known = re.search(rf"\b(?:(?:var|let|const|class|function)\s+|typeof\s+\(?\s*|catch\s*\(\s*){name}\b|"
                              rf"[(,]\s*{name}\s*[,)=]|\b{name}\s*=>|\bimport\b[^;]*\b{name}\b", program.seen)
            if used and not known:
                line = program.seen.count("\n", 0, used.start()) + 1
                column = used.start() - program.seen.rfind("\n", 0, used.start())
                found.append(PolicyError(f"there is no {name}: {dialect.unknown_name(name)}", program.name, line, column,
                                         program.line(line)))
    return found


def _missing_names(policy):
    """Those of the names known elsewhere that the policy's heap does not have."""
    names = json.dumps(sorted(dialect.UNKNOWN - {"let"}))
    program = f"throw new Error({names}.filter(function (name) {{ return !(name in this); }}, this).join());"
    heap = policy.build_heap()
    try:
        heap.load("names", program.encode())
    except ScriptError as error:
        return [name for name in str(error.message).split(",") if name]
    except HeapDead:
        pass
    finally:
        heap.close()
    return []


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
    configuration = {"compilerOptions": {"noEmit": True, "target": "es2015", "lib": ["es2019"], "module": "commonjs",
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
