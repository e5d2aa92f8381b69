"""What every source file keeps to: its length, its opening words, its name; and what is never committed."""
import ast
import re

import pytest
from es5 import Checker, files_in
from sources import CORE, PROJECT, files, with_suffix

LONGEST = 600

SOURCES = with_suffix(".py", ".pyx", ".pxd", ".c", ".h", ".js", ".sh")

# "#" lines of a script's first line and of an encoding do not say what a file is for.
_OPENINGS = {
    ".py": re.compile(r'(?:#![^\n]*\n)?[rR]?"""\S'),
    ".pyx": re.compile(r'(?:# cython:[^\n]*\n|# distutils:[^\n]*\n)*(?:[rR]?"""\S|# ?\S)'),
    ".pxd": re.compile(r'(?:"""\S|# ?\S)'),
    ".c": re.compile(r"/\*|//"),
    ".h": re.compile(r"/\*|//"),
    ".js": re.compile(r"/\*|//"),
    ".sh": re.compile(r"#![^\n]*\n# ?\S"),
}


def identifier(path):
    return str(path)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[0] in ("mailfilter", "js")], ids=identifier)
def test_no_file_is_too_long(path):
    lines = len((PROJECT / path).read_text("utf-8").splitlines())
    assert lines <= LONGEST, f"{path} has {lines} lines; split it by subject"


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_a_source_file_opens_with_what_it_is_for(path):
    text = (PROJECT / path).read_text("utf-8")
    if path.parts[:2] == ("tests", "policies"):
        pytest.skip("input of tests, some of it broken on purpose")
    assert _OPENINGS[path.suffix].match(text), f"{path} does not open with a docstring or comment"


def test_nothing_else_lies_at_the_top():
    """What a tool leaves behind where it was started is added to a commit sooner than it is seen."""
    assert {path.parts[0] for path in files()} <= {
        "mailfilter", "js", "tests", "bench", "docs", ".ci", ".gitignore", "MANIFEST.in", "Makefile", "README.md",
        "pyproject.toml", "setup.py"}


@pytest.mark.parametrize("path", files(), ids=identifier)
def test_names_say_what_is_in_a_file(path):
    assert not re.search(r"util|helper|common|manager|misc|stuff\b", path.stem, re.IGNORECASE), path


@pytest.mark.parametrize("path", [*SOURCES, *with_suffix(".md", ".toml", ".yml")], ids=identifier)
def test_nothing_is_left_for_later(path):
    text = (PROJECT / path).read_text("utf-8", "replace")
    marks = "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"])
    found = re.search(rf"\b(?:{marks})\b", text)
    assert not found, f"{path}: {found[0]}"


@pytest.mark.parametrize("path", [path for path in with_suffix(".py") if path.parts[0] == "mailfilter"], ids=identifier)
def test_what_is_public_is_explained(path):
    """Public classes and functions of modules have a docstring; methods that override need none."""
    tree = ast.parse((PROJECT / path).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name} has no docstring"


def test_nothing_that_is_built_is_tracked():
    for path in files():
        assert path.suffix not in (".so", ".o", ".pyc", ".html"), path
        assert not (path.suffix == ".c" and (PROJECT / path).with_suffix(".pyx").exists()), f"{path} is generated"
        assert path.name != "_build.py" and not path.name.endswith(".new"), path
        assert "node_modules" not in path.parts and ".venv" not in path.parts, path


def test_generated_c_does_not_lie_beside_its_source():
    for path in CORE.glob("*.pyx"):
        assert not path.with_suffix(".c").exists(), f"{path.with_suffix('.c')} belongs below build/"


@pytest.fixture(scope="module")
def checker():
    return Checker()


@pytest.mark.parametrize("path", files_in([PROJECT / "js"]), ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_library_is_es5(checker, path):
    assert checker.problems(path.read_text("utf-8")) == []


@pytest.mark.parametrize("source, problem", [
    ("var a = 1; const b = /x/g;\nfunction f(a) { return {get x() { return a; }, 'y': 2}; }", None),
    ("let a = 1;", "let"),
    ("var f = x => x;", "ArrowFunctionExpression"),
    ("var o = {a, b: 1};", "shorthand property"),
    ("var o = {a() {}};", "shorthand method"),
    ("var o = {[a]: 1};", "computed property name"),
    ("`x`;", "TemplateLiteral"),
    ("for (var i of []) ;", "ForOfStatement"),
    ("class A {}", "ClassDeclaration"),
    ("function f(a = 1) {}", "AssignmentPattern"),
    ("function f(...a) {}", "RestElement"),
    ("f(...a);", "SpreadElement"),
    ("var [a] = b;", "ArrayPattern"),
    ("function* f() {}", "generator function"),
    ("a ** b;", "** operator"),
    ("var a = 0b1;", "binary or octal literal"),
    ("var r = /a/y;", "regular expression flag y"),
])
def test_the_es5_check_finds_what_is_newer(checker, source, problem):
    found = checker.problems(source)
    assert [what for _, _, what in found] == ([problem] if problem else [])


def test_the_es5_check_finds_syntax_errors(checker):
    ((line, column, what),) = checker.problems("var a;\nvar x = ;")
    assert (line, column) == (2, 9) and "Unexpected token" in what
