"""Who may import whom: walks the imports and cimports of every module and compares them with the arrows below.

cli -> net -> policy -> services -> mail -> errors, and downwards only. Of the core each layer sees its own part.
"""
import ast
import re

import pytest
from sources import CORE, PACKAGE, PROJECT

# From the top down; a layer may import those below it.
LAYERS = ["cli", "net", "policy", "services", "mail"]

# These may be imported by all; what they import themselves.
COMMON = {"errors": set(), "log": set(), "metrics": {"_core"}, "config": {"errors"}, "stale": {"_core"}}

# The core's modules that each layer may import. `address` and `reply` are values that events carry, and `fsm` names
# the states that a session tells.
OF_THE_CORE = {
    "cli": {"_build"},
    "net": {"session", "client", "event", "fsm", "address", "reply", "proxy", "tally"},
    "policy": {"heap", "address"},
    "services": {"canonical"},
    "mail": {"header", "data", "mime"},
}

# Inside the core, from the bottom up; a module may import those of lower lines.
CORE_LEVELS = [
    {"chars", "tally", "counters", "canonical", "mime"},
    {"span"},
    {"buffer"},
    {"address", "reply", "limits"},
    {"parameters", "auth", "extensions"},
    {"command", "data", "header", "event", "outgoing"},
    {"fsm", "chunk"},
    {"reception"},
    {"answers"},
    {"dialogue"},
    {"session", "client", "proxy"},
]
# The JavaScript engine stands alone: it knows no mail, and mail knows no JavaScript.
ENGINE = {"heap", "duktape"}
# The stamp may be seen by all of the core.
STAMP = "_abi"

_CYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n#(]*)"
    r"|c?import[ \t]+(?P<plain>[^\n#]+))",
    re.MULTILINE)


def names_in(text):
    """The names of `a, b as c`, possibly in brackets over several lines."""
    text = re.sub(r"#[^\n]*", "", text).strip("() \n\t")
    return [part.split()[0] for part in text.replace("\n", " ").split(",") if part.split()]


def imports_of(path):
    """The full names of the modules that a file imports or cimports; relative imports must not occur."""
    text = path.read_text("utf-8")
    found = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        return found
    text = re.sub(r'"""(?:.|\n)*?"""', "", text)
    for match in _CYTHON.finditer(text):
        if match["plain"]:
            found.update(names_in(match["plain"]))
        else:
            assert not match["module"].startswith("."), f"{path}: relative import {match[0]}"
            found.update(f"{match['module']}.{name}" for name in names_in(match["names"]))
    return found


def own_modules(path):
    """The modules of mailfilter that a file imports, as the parts behind `mailfilter.` (`("net", "worker")`)."""
    found = set()
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "mailfilter":
            continue
        # The last part may be a name inside the module; cut it unless it is a module itself.
        parts = parts[1:]
        while len(parts) > 1 and not is_module(parts):
            parts.pop()
        if parts and is_module(parts):
            found.add(tuple(parts))
    return found


def is_module(parts):
    base = PACKAGE.joinpath(*parts)
    # _build.py is made by the build; it counts wherever it is named.
    return base.is_dir() or parts[-1] in ("_build", "__version__") or any(
        base.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pxd"))


def sources(*suffixes):
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in suffixes and "__pycache__" not in path.parts)


PLAIN = [path for path in sources(".py", ".pxd") if CORE not in path.parents]
COMPILED = [path for path in sources(".pyx", ".pxd", ".py") if CORE in path.parents and path.name != "_build.py"]


def complaint(path, target):
    return f"{path.relative_to(PROJECT)} imports mailfilter.{'.'.join(target)}; that arrow is not allowed"


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    here = path.relative_to(PACKAGE).with_suffix("").parts
    for target in own_modules(path):
        top = target[0]
        if here[0] == "__main__":
            assert top == "cli", complaint(path, target)
        elif here[0] in COMMON:
            assert top in COMMON[here[0]], complaint(path, target)
        elif here[0] == "__init__":
            raise AssertionError(complaint(path, target))
        elif top == "_core":
            assert len(target) > 1 and target[1] in OF_THE_CORE[here[0]], complaint(path, target)
        elif top in COMMON or top == "__version__":
            pass
        else:
            assert here[0] in LAYERS and top in LAYERS, complaint(path, target)
            assert LAYERS.index(top) >= LAYERS.index(here[0]), complaint(path, target)


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_the_core_imports_only_lower_parts_of_itself(path):
    here = path.stem
    for target in own_modules(path):
        assert target[0] == "_core", complaint(path, target)
        if len(target) == 1 or target[1] in (here, STAMP) or here == "__init__" and target[1] == "_build":
            continue
        there = target[1]
        if here in ENGINE:
            assert there in ENGINE, complaint(path, target)
        else:
            assert level_of(there) < level_of(here), complaint(path, target)


def level_of(module):
    for number, level in enumerate(CORE_LEVELS):
        if module in level:
            return number
    raise AssertionError(f"_core.{module} has no place in CORE_LEVELS")


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_the_core_does_no_io(path):
    """No socket, no clock, no loop, no file: nothing of the standard library that would give it one."""
    forbidden = {"asyncio", "uvloop", "socket", "select", "selectors", "ssl", "time", "datetime", "os", "io", "pathlib",
                 "threading", "subprocess", "random", "logging", "tempfile"}
    for name in imports_of(path):
        assert name.split(".")[0] not in forbidden, f"{path.name} imports {name}"


def test_every_module_has_a_layer():
    known = {*LAYERS, *COMMON, "_core", "__init__", "__main__"}
    for path in PACKAGE.iterdir():
        if path.suffix == ".py" or path.is_dir() and path.name != "__pycache__":
            assert path.stem in known, f"{path.name} has no place in LAYERS"


@pytest.mark.parametrize("text, expected", [
    ("from mailfilter._core.span cimport Span, span_bytes  # x\n",
     {"mailfilter._core.span.Span", "mailfilter._core.span.span_bytes"}),
    ("from a.b cimport (\n    c, d as e,  # why, not\n    f)\n", {"a.b.c", "a.b.d", "a.b.f"}),
    ("cimport cython\nimport os, sys\n", {"cython", "os", "sys"}),
    ("def f():\n    import socket\n", {"socket"}),
    ('"""\nfrom x import y\n"""\n', set()),
])
def test_cython_imports_are_found(tmp_path, text, expected):
    path = tmp_path / "x.pyx"
    path.write_text(text)
    assert imports_of(path) == expected


def test_a_wrong_arrow_is_found(tmp_path, monkeypatch):
    """The walk itself: it would be of no use if it saw nothing."""
    assert ("net", "worker") in own_modules(PACKAGE / "cli" / "__init__.py")
    assert ("errors",) in own_modules(PACKAGE / "config.py")
    assert ("_core", "span") in own_modules(CORE / "buffer.pxd")
