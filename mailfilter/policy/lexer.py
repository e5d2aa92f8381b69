"""Reads JavaScript text without understanding it: what is code in it, and which modules it requires.

Comments, strings, templates and regular expressions are told from code the way an editor does. Whether a slash
begins a regular expression is decided by what stands before it, which is right for all but contrived code; a mistake
costs at most a module that is found later, when it is required.

Must not know: files, the engine.
"""
import re

__all__ = ["code_only", "required", "words"]

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
