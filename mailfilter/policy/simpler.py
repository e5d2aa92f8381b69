"""Rewrites syntax that is newer than the compilers, and yet only another way of writing what they know.

JavaScript: `catch {`, and `_` in numbers. TypeScript, whose types are dropped anyway: what may stand in a type since version 1.8
is made something older, of the same length, so that every place stays. All of it is found by looking at code without
understanding it, as lexer.py does; what is not found is an error of the compiler, as without this.

Must not know: compilers, files.
"""
import re

__all__ = ["javascript", "typescript"]


def _blank(found):
    return re.sub(r"[^\n]", " ", found[0])


def _any(found):
    return found[1] + "any".ljust(len(found[2]))


_JAVASCRIPT = (
    (re.compile(r"(?<![\w$.])catch(?=\s*\{)"), lambda found: "catch (_)"),
    (re.compile(r"(?<![\w$])\d\w*_\w*"), lambda found: found[0].replace("_", "")),
)

_NAME = r"[A-Za-z_$][\w$]*"
_TYPESCRIPT = (
    # string | null, null | string; and not a || null
    (re.compile(r"(?<=[^|]\|)(\s*)(null|undefined)(?![\w$])"), _any),
    (re.compile(r"(?<=[:<|])(\s*)(null|undefined)(?=\s*\|[^|])"), _any),
    # constructor(readonly x: string) makes a property; anywhere else readonly changes nothing.
    (re.compile(rf"(?<=[(,])(\s*)readonly(?=\s+{_NAME}\s*[?:=,)])"), lambda found: found[1] + "public  "),
    (re.compile(r"(?<![\w$.])readonly(?=\s+[\w$\[{'\"#])"), _blank),
    (re.compile(rf"(?<![\w$.])keyof(?=\s+(?:typeof\s+)?{_NAME})"), _blank),
    # value!, and name!: string
    (re.compile(r"(?<=[\w$)\]])!(?=[.;,)\]\[(}:\s])(?!\s*[=\w$])"), _blank),
    (re.compile(r"(?<![\w$.])as\s+const(?![\w$])"), _blank),
    (re.compile(rf"(?<![\w$.])(import|export)\s+type(?=\s*[{{*]|\s+{_NAME}\s+from\b)"),
     lambda found: found[1] + re.sub(r"[^\n]", " ", found[0][len(found[1]):])),
    # function f(this: SmtpServer, path: SmtpPath)
    (re.compile(rf"(?<=\()(\s*)this\s*:\s*{_NAME}(?:\.{_NAME})*(?:\s*,|(?=\s*\)))"), _blank),
)


def _rewritten(rules, source, seen):
    for pattern, other in rules:
        for found in reversed(list(pattern.finditer(seen))):
            source = source[:found.start()] + other(found) + source[found.end():]
            seen = seen[:found.start()] + other(found) + seen[found.end():]
    return source, seen


def javascript(source, seen):
    """(the text without such syntax, what of it is code). seen: that of lexer.code_only(). Lines stay."""
    return _rewritten(_JAVASCRIPT, source, seen)


def typescript(source, seen):
    """The same for TypeScript."""
    return _rewritten(_TYPESCRIPT, *_rewritten(_JAVASCRIPT, source, seen))
