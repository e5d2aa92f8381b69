"""Reads JavaScript text without understanding it: what is code in it, and which modules it requires.

Comments, strings, templates and regular expressions are told from code the way an editor does. Whether a slash
begins a regular expression is decided by what stands before it, which is right for all but contrived code; a mistake
costs at most a module that is found later, when it is required.

Must not know: files, the engine.
"""
import re

__all__ = ["code_only", "loop_after", "regexps", "required", "statement", "words"]

_TOKEN = re.compile(r"""
    (?P<comment>//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))
  | (?P<text>'(?:[^'\\\n]|\\.)*'?|"(?:[^"\\\n]|\\.)*"?)
  | (?P<template>`(?:[^`\\]|\\.)*`?)
  | (?P<word>[\w$]+)
  | (?P<slash>/)
  | (?P<other>\+\+|--|\S)
""", re.VERBOSE | re.DOTALL)
_REGEXP = re.compile(r"/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")

# A slash after one of these begins a regular expression; after any other word or a bracket it divides.
_BEFORE_REGEXP = frozenset("return typeof case in of do else void delete throw new instanceof yield await".split())
_NOT_BEFORE_REGEXP = frozenset((")", "]", "}", "++", "--"))

_REQUIRE = re.compile(r"""(?<![\w$.])require\s*\(\s*(?P<quote>['"])\s*(?P=quote)\s*,?\s*\)""")


def _tokens(source):
    """(kind, start, end) of every token; kind "regexp" for regular expressions."""
    at, end, last = 0, len(source), ""
    while at < end:
        found = _TOKEN.search(source, at)
        if found is None:
            return
        kind, start, at = found.lastgroup, found.start(), found.end()
        if kind == "slash":
            regexp = _REGEXP.match(source, start)
            word = bool(last) and (last[-1].isalnum() or last[-1] in "_$")
            if regexp and (last in _BEFORE_REGEXP or not word and last not in _NOT_BEFORE_REGEXP):
                kind, at = "regexp", regexp.end()
        yield kind, start, at
        if kind != "comment":
            # What a string or a regular expression is followed by divides, like a bracket.
            last = found[0] if kind in ("word", "slash", "other") else ")"


def code_only(source):
    """The text with everything that is no code made blank; positions and lines stay."""
    parts, at = [], 0
    for kind, start, end in _tokens(source):
        if kind in ("comment", "text", "template", "regexp"):
            parts += (source[at:start], re.sub(r"[^\n]", " ", source[start:end]))
            at = end
    parts.append(source[at:])
    return "".join(parts)


def regexps(source):
    """The regular expressions written in the text: a list of (text with its slashes and flags, offset)."""
    return [(source[start:end], start) for kind, start, end in _tokens(source) if kind == "regexp"]


# How a line ends after which a statement cannot go on, and how one begins that goes on with the line before.
_ENDED = re.compile(r"[;{}]\s*$")
_GOES_ON = re.compile(r"\s*[.)\]?:&|+*,]")
_STATEMENT_LINES = 30


def statement(lines, number):
    """(first, last) line number of what seems to be the statement that line `number` (from 1) belongs to.

    lines: those of code_only(). A guess by how lines end, which nothing but the place in a message may depend on.
    """
    first = last = number
    while first > 1 and number - first < _STATEMENT_LINES:
        above = lines[first - 2]
        if above.strip() and _ENDED.search(above) and not (above.rstrip().endswith("}") and _GOES_ON.match(lines[first - 1])):
            break
        first -= 1
    while last < len(lines) and last - number < _STATEMENT_LINES:
        line = lines[last - 1]
        if line.strip() and _ENDED.search(line) and not (line.rstrip().endswith("}") and _GOES_ON.match(lines[last])):
            break
        last += 1
    return first, last


_LOOP_TOKEN = re.compile(r"(?<![\w$.])(?:for|while|do)(?![\w$])|[(){};]")


def _loops(code):
    """(offset, end) of every loop in the text of code_only(), and the pairs of braces as (opening, closing)."""
    loops, braces, opened = [], [], []
    waiting = []            # loops whose body has not begun: [offset, depth of brackets]
    bodies = []             # of those whose body is a block: (offset, place in `opened`)
    depth = 0
    for token in _LOOP_TOKEN.finditer(code):
        text, at = token[0], token.start()
        if text == "(":
            depth += 1
        elif text == ")":
            depth = max(0, depth - 1)
        elif text == "{":
            if waiting and waiting[-1][1] == depth:
                bodies.append((waiting.pop()[0], len(opened)))
            opened.append(at)
        elif text == "}":
            if opened:
                braces.append((opened.pop(), at))
                while bodies and bodies[-1][1] >= len(opened):
                    loops.append((bodies.pop()[0], at))
        elif text == ";":
            while waiting and waiting[-1][1] == depth:
                loops.append((waiting.pop()[0], at))
        else:
            waiting.append([at, depth])
    return loops + [(at, len(code)) for at, _ in waiting + bodies], braces


def loop_after(code, number):
    """The offset of the loop that line `number` (from 1) leads to in the text of code_only(): the first one after it in
    its block. None when there is none, or when the line is in a loop already."""
    at = 0
    for _ in range(number - 1):
        at = code.find("\n", at) + 1
    end = code.find("\n", at)
    end = len(code) if end < 0 else end
    loops, braces = _loops(code)
    if any(start <= end and stop >= at for start, stop in loops):
        return None
    _, stop = max((pair for pair in braces if pair[0] <= end < pair[1]), default=(0, len(code)))
    return min((start for start, _ in loops if end < start < stop), default=None)


def words(source):
    """The set of names that occur in the code, those inside the ${…} of templates among them."""
    found = set()
    for kind, start, end in _tokens(source):
        if kind == "word":
            found.add(source[start:end])
        elif kind == "template":
            found.update(re.findall(r"[\w$]+", " ".join(re.findall(r"\$\{(.*?)\}", source[start:end], re.DOTALL))))
    return found


def required(source):
    """The literal names in require("…"), in order: a list of (name, offset)."""
    if "require" not in source:
        return []
    texts, visible, at = {}, [], 0
    for kind, start, end in _tokens(source):
        if kind == "text":
            texts[start] = source[start + 1:end - 1]
            visible += (source[at:start + 1], " " * (end - start - 2), source[start])
            at = end
        elif kind in ("comment", "template", "regexp"):
            visible += (source[at:start], " " * (end - start))
            at = end
    visible = "".join([*visible, source[at:]])
    found = []
    for match in _REQUIRE.finditer(visible):
        name = texts.get(match.start("quote"))
        if name and "\\" not in name:
            found.append((name, match.start()))
    return found
