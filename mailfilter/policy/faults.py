"""Turns what the JavaScript engine reports into a PolicyError that names file, line and column of the policy.

The engine knows lines of the code it runs, and of a statement of several lines often the wrong one. A Program tells which
lines of the author's they were made of; the words of the message, or the name of the function that was called, tell which of
the statement's lines it is and where in it.

Must not know: sessions, operations, logs, how anything is compiled.
"""
import re

from mailfilter.errors import PolicyError
from mailfilter.policy import dialect, lexer

__all__ = ["from_dead_heap", "from_script_error"]

# A policy may say what it likes in the texts of its errors, and put into them what a client has sent. So only so much of them is
# looked at, and each pattern takes a time that grows with the text as the text does.
_MESSAGE_CHARS = 4096
_FRAMES, _FRAME_CHARS = 50, 1000
# The library's constructor that is written in C, or a function of JavaScript.
_FRAME = re.compile(r"\s+at (?:(SmtpResponse) \(\) native|([^(]*?) ?\((.+):(\d{1,9})\))[^)]*$")
_UNKNOWN = re.compile(r"identifier '([^']+)' undefined")
# The engine sometimes tells the line of a statement before; so many are looked through for the words of the message.
_LATE = 3

_LOOP = re.compile(r"(?<![\w$.])(?:for|while|do)(?![\w$])")
_NOT_ITERABLE = re.compile(r"undefined not callable \(property \[Symbol [^]]*Symbol\.iterator[^]]*\] of (.*)\)$", re.DOTALL)
_MODULE = re.compile(r"(?:the module |require\()'([^']+)'")
_WORDS = (
    re.compile(r"(?:identifier|property) '([^']+)'"),
    re.compile(r"^'?([A-Za-z_$][\w$]*)'? (?:is )?not "),
    _MODULE,
    re.compile(r"^[a-z]+\.([a-z]+) can"),          # an operation: that the method has its name is likely
)


class _Clues:
    """What tells where in a statement an error is: words of the message, the function that was called from there."""

    def __init__(self, message, callee=None):
        self.words = [found[1] for found in (pattern.search(message) for pattern in _WORDS) if found]
        if callee and re.fullmatch(r"[A-Za-z_$][\w$]*", callee):
            self.words.append(callee)

    def column(self, text):
        """Where in a line of code the first word that it has begins, from 1; None: it has none."""
        for word in self.words:
            found = re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", text)
            if found:
                return found.start() + 1
        return None


def _place(program, line, clues, message):
    """(line, column) of the author's for a line of the program's code; None when that line is the compiler's own."""
    places = program.places(line)
    if not places:
        return None
    lines = program.seen.split("\n")
    numbers = [number for number, _ in places]
    # A compiled line may have been several; in the author's text the statement goes on above and below.
    first, last = lexer.statement(lines, numbers[0])
    later, end = [], last
    for _ in range(_LATE):
        if end < len(lines):
            later += range(end + 1, lexer.statement(lines, end + 1)[1] + 1)
            end = later[-1]
    near = [*numbers, *range(numbers[0] + 1, last + 1), *range(numbers[0] - 1, first - 1, -1)]
    # What stands in quotes in the policy's text, a computed property, comes second.
    written = program.text.split("\n")
    for where, texts in ((near, lines), (near, written), (later, lines), (later, written)):
        for number in dict.fromkeys(where):
            column = clues.column(texts[number - 1])
            if column is not None:
                return number, column
    # Without such a word: the throw, or where the message is written. A call is told by its last line, so upwards.
    for number in dict.fromkeys((*numbers, *range(numbers[0] - 1, first - 1, -1))):
        found = re.search(r"(?<![\w$.])throw(?![\w$])", lines[number - 1]) or (
            lines[number - 1].strip() and len(message) > 3 and re.search(re.escape(message), program.line(number) or ""))
        if found:
            return number, found.start() + 1
    number, known = places[0]
    return number, _first_column(program.line(number) or "", known)


def _import(program, message):
    """(line, column) of the name of a module, of which the compiler made lines of its own; or None."""
    name = _MODULE.search(message)
    at = program.text.find(name[1]) if name else -1
    return None if at < 0 else (program.text.count("\n", 0, at) + 1, at - program.text.rfind("\n", 0, at))


def _first_column(text, known=None):
    if known is not None and known <= len(text):
        return known
    found = re.search(r"\S", text)
    return found.start() + 1 if found else 1


def _frames(programs, stack):
    """(program, line, name of the function called from there or None) for the policy's own frames, innermost first."""
    callee = None
    lines = (stack or "")[:_FRAMES * _FRAME_CHARS].split("\n", _FRAMES)
    for found in map(_FRAME.match, [line for line in lines[:_FRAMES] if len(line) <= _FRAME_CHARS]):
        if found:
            in_c, name, file, line = found.groups()
            if file in programs:
                yield programs[file], int(line), callee
            callee = in_c or name


def _found(programs, error, stack, message):
    """(program, line, column) or None."""
    for program, line, callee in _frames(programs, stack):
        place = _place(program, line, _Clues(message, callee), message) or _import(program, message)
        if place is not None:
            return program, *place
    if error.file in programs and type(error.line) is int:
        place = _place(programs[error.file], error.line, _Clues(message), message)
        if place is not None:
            return programs[error.file], *place
    # In what the compiler added, without a line of the author's below it (a tail call leaves none).
    for program, line, _ in _frames(programs, stack):
        places = program.places_near(line)
        if places:
            number, known = places[0]
            column = _Clues(message).column(program.line(number) or "")
            return program, number, column or _first_column(program.line(number) or "", known)
    return None


def from_script_error(error, programs, thrown_at=None):
    """A PolicyError for a ScriptError.

    programs: {file name in tracebacks: compiler.Program} of the policy's own files.
    thrown_at: the traceback text of a throw whose value was no Error.
    """
    said = str(error.message)[:_MESSAGE_CHARS]
    message = f"{str(error.name)[:_MESSAGE_CHARS]}: {said}" if error.name else f"thrown: {said}"
    message = _NOT_ITERABLE.sub(r"\1 is not iterable", message)
    if error.name == "SyntaxError" and said.startswith("invalid regexp"):
        message += f" ({dialect.REGEXP})"
    name = _UNKNOWN.match(said) if error.name == "ReferenceError" else None
    remedy = dialect.unknown_name(name[1]) if name else None
    if remedy:
        message += f" ({remedy})"
    found = _found(programs, error, error.stack or thrown_at, said)
    if found is None:
        return PolicyError(message)
    program, line, column = found
    return PolicyError(message, program.name, line, column, program.line(line))


def from_dead_heap(error, programs, name):
    """A PolicyError for a HeapDead; one that was stopped (HeapStopped) tells where it was. name: the policy's file.

    A loop that calls nothing does not write down where it is: then the place is that of the last call before it.
    """
    for depth, (file, line) in enumerate(getattr(error, "places", ())):
        places = programs[file].places(line) if file in programs else []
        if places:
            program, (number, known) = programs[file], places[0]
            if depth == 0 and not error.native:
                here = _LOOP.search(program.seen.split("\n")[number - 1])
                loop = None if here else lexer.loop_after(program.seen, number)
                if here:
                    known = here.start() + 1
                elif loop is not None:
                    number = program.seen.count("\n", 0, loop) + 1
                    known = loop - program.seen.rfind("\n", 0, loop)
            text = program.line(number) or ""
            return PolicyError(str(error), program.name, number, _first_column(text, known), text)
    return PolicyError(str(error), name)
