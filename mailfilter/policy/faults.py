"""Turns what the JavaScript engine reports into a PolicyError that names file, line and column of the policy.

The engine knows lines. The column is found in that line by the words of the message, or is where the line's
first statement begins; for a syntax error a second parser, the Babel that dukpy carries, is asked.

Must not know: sessions, operations, logs.
"""
import re

from mailfilter.errors import PolicyError

__all__ = ["from_script_error", "place_in_stack"]

_FRAME = re.compile(r"^\s+at .*?\((.+):(\d+)\)", re.MULTILINE)
_LINE_NOTE = re.compile(r" \(line (\d+)(, end of input)?\)$")
_BABEL_PLACE = re.compile(r"\((\d+):(\d+)\)")
_WORDS = (
    re.compile(r"(?:identifier|property) '([^']+)'"),
    re.compile(r"^'?([A-Za-z_$][\w$]*)'? (?:is )?not "),
)


def place_in_stack(stack, names):
    """The innermost (file, line) of a traceback that lies in one of `names`, or (None, None)."""
    for file, line in _FRAME.findall(stack or ""):
        if file in names:
            return file, int(line)
    return None, None


def from_script_error(error, sources, thrown_at=None):
    """A PolicyError for a ScriptError.

    sources: {file name in tracebacks: source text} of the policy's own files.
    thrown_at: the traceback text of a throw whose value was no Error.
    """
    message = f"{error.name}: {error.message}" if error.name else f"thrown: {error.message}"
    if error.name == "SyntaxError" and error.file in sources:
        return _syntax_error(error, sources[error.file])
    file, line = place_in_stack(error.stack or thrown_at, sources)
    if file is None and error.file in sources:
        file, line = error.file, error.line
    if file is None:
        return PolicyError(message)
    text = _line(sources[file], line)
    return PolicyError(message, file, line, _column(str(error.message), text), text)


def _syntax_error(error, source):
    message, line = str(error.message), error.line
    note = _LINE_NOTE.search(message)
    if note:
        line, message = int(note[1]), message[:note.start()] + (" at the end of the input" if note[2] else "")
    column = None
    better = _ask_babel(source)
    if better:
        line, column = better
    text = _line(source, line)
    if column is None:
        column = _column(message, text)
    return PolicyError(f"SyntaxError: {message}", error.file, line, column, text)


def _ask_babel(source):
    """(line, column from 1) of the first syntax error as Babel sees it, or None when it sees none."""
    import dukpy
    try:
        dukpy.babel_compile(source)
    except dukpy.JSRuntimeError as error:
        found = _BABEL_PLACE.search(str(error))
        if found:
            return int(found[1]), int(found[2]) + 1
    return None


def _line(source, number):
    lines = source.split("\n")
    return lines[number - 1].rstrip("\r") if number and 0 < number <= len(lines) else None


def _column(message, text):
    """Where in the line the message points: the name it quotes, else a throw, else the first character."""
    if text is None:
        return None
    for pattern in _WORDS:
        for word in pattern.findall(message):
            found = re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", text)
            if found:
                return found.start() + 1
    found = re.search(r"\bthrow\b", text) or re.search(r"\S", text)
    return found.start() + 1 if found else 1
