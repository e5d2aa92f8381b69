"""Turns what the JavaScript engine reports into a PolicyError that names file, line and column of the policy.

The engine knows lines of the code it runs. A Program tells which lines of the author's they were made of; the column is
found there by the words of the message, or is where the statement begins.

Must not know: sessions, operations, logs, how anything is compiled.
"""
import re

from mailfilter.errors import PolicyError
from mailfilter.policy import dialect

__all__ = ["from_dead_heap", "from_script_error"]

_FRAME = re.compile(r"^\s+at .*?\((.+):(\d+)\)", re.MULTILINE)
_UNKNOWN = re.compile(r"identifier '([^']+)' undefined")
_WORDS = (
    re.compile(r"(?:identifier|property) '([^']+)'"),
    re.compile(r"^'?([A-Za-z_$][\w$]*)'? (?:is )?not "),
)


def _place(programs, file, line, message):
    """The place that a line of a program's code comes from. One compiled line may have been several: then the one
    that has the words of the message counts."""
    program = programs.get(file)
    places = program.places(line) if program is not None else []
    for number, _ in places if len(places) > 1 else ():
        column = _word(message, program.line(number) or "")
        if column is not None:
            return program, number, column
    return (program, *places[0]) if places else None


def _nearest(programs, stack):
    """For an error in what the compiler added, without a line of the author's below it (a tail call leaves none)."""
    for file, line in _FRAME.findall(stack or ""):
        places = programs[file].places_near(int(line)) if file in programs else []
        if places:
            return programs[file], *places[0]
    return None


def from_script_error(error, programs, thrown_at=None):
    """A PolicyError for a ScriptError.

    programs: {file name in tracebacks: compiler.Program} of the policy's own files.
    thrown_at: the traceback text of a throw whose value was no Error.
    """
    message = f"{error.name}: {error.message}" if error.name else f"thrown: {error.message}"
    name = _UNKNOWN.match(str(error.message)) if error.name == "ReferenceError" else None
    remedy = dialect.unknown_name(name[1]) if name else None
    if remedy:
        message += f" ({remedy})"
    found = None
    for file, line in _FRAME.findall(error.stack or thrown_at or ""):
        found = found or _place(programs, file, int(line), str(error.message))
    if found is None:
        found = _place(programs, error.file, error.line, str(error.message))
    if found is None:
        found = _nearest(programs, error.stack or thrown_at)
    if found is None:
        return PolicyError(message)
    program, line, column = found
    text = program.line(line)
    return PolicyError(message, program.name, line, _column(str(error.message), text, column), text)


def from_dead_heap(error, programs, name):
    """A PolicyError for a HeapDead; one that was stopped (HeapStopped) tells where it was. name: the policy's file."""
    for file, line in getattr(error, "places", ()):
        found = _place(programs, file, line, "")
        if found is not None:
            program, number, column = found
            text = program.line(number)
            return PolicyError(str(error), program.name, number, _column("", text, column), text)
    return PolicyError(str(error), name)


def _word(message, text):
    """The column, from 1, of the name that a message quotes, or None."""
    for pattern in _WORDS:
        for word in pattern.findall(message):
            found = re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", text)
            if found:
                return found.start() + 1
    return None


def _column(message, text, known=None):
    """Where in the line the message points: the name it quotes, else a throw, else what is known, else the first character."""
    if text is None:
        return None
    column = _word(message, text)
    if column is not None:
        return column
    found = re.search(r"\bthrow\b", text)
    if found:
        return found.start() + 1
    if known is not None and known <= len(text):
        return known
    found = re.search(r"\S", text)
    return found.start() + 1 if found else 1
