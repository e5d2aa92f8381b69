"""What is compiled outside the core has its attributes declared in a file beside it: none may be missing there.

A class of C has the attributes that are declared and no others; one that is missing is an AttributeError, and only when
it is set for the first time.
"""
import ast
import re

import pytest
from sources import CORE, PACKAGE

DECLARED = sorted(path for path in PACKAGE.glob("*/*.pxd") if path.parent != CORE)

CLASS = re.compile(r"^cdef class (\w+)(?:\((\w+)\))?:\n((?:[ \t]+.*\n|\n)*)", re.M)
ATTRIBUTE = re.compile(r"^    cdef (?:public |readonly )?[\w.]+(?: [\w.]+)* (\w+)$", re.M)


def declarations():
    """Class name: (name of the declared class it inherits or None, attributes)."""
    found = (declared for path in DECLARED for declared in CLASS.findall(path.read_text()))
    return {name: (base, set(ATTRIBUTE.findall(body))) for name, base, body in found}


CLASSES = declarations()


def attributes_of(name):
    base, attributes = CLASSES[name]
    return attributes | (attributes_of(base) if base in CLASSES else set())


def set_on_self(tree):
    """(line, attribute) of every assignment to an attribute of self in a class body."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node.value, ast.Name) \
                and node.value.id == "self":
            yield node.lineno, node.attr


def classes_of(path):
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


def test_the_declarations_are_read():
    assert {"Driver", "Outcome", "Operation", "Waiting", "SessionContext", "NextHop", "SessionState", "Inbound"} <= CLASSES.keys()
    assert [CLASSES[name][0] for name in ("Inbound", "Extended", "Restrained")] == ["Extended", "Restrained", "SessionState"]
    assert "_asked" in attributes_of("Inbound")
    assert CLASSES["Outcome"][1] == {"code", "lines", "disconnect", "fault", "dead"}


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: path.stem)
def test_every_attribute_is_declared(path):
    for found in classes_of(path.with_suffix(".py")):
        if found.name not in CLASSES:
            continue
        missing = [f"line {line}: {name}" for line, name in set_on_self(found) if name not in attributes_of(found.name)]
        assert not missing, f"{path.name} lacks what {found.name} sets: {missing}"


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: path.stem)
def test_no_declared_attribute_is_unused(path):
    text = path.with_suffix(".py").read_text()
    for found in classes_of(path.with_suffix(".py")):
        for name in CLASSES.get(found.name, (None, ()))[1]:
            assert re.search(rf"\b{name}\b", text), f"{found.name}.{name} is declared and nowhere in the source"


def test_the_parts_of_a_session_set_what_is_declared():
    """They are Python classes that Inbound inherits; what they remember is in the state of the session."""
    (inbound,) = (found for found in classes_of(PACKAGE / "net/inbound.py") if found.name == "Inbound")
    parts = {base.id for base in inbound.bases} - CLASSES.keys()
    seen = set()
    for path in PACKAGE.glob("net/*.py"):
        for found in classes_of(path):
            if found.name in parts:
                seen.add(found.name)
                missing = [f"line {line}: {name}" for line, name in set_on_self(found) if name not in attributes_of("Inbound")]
                assert not missing, f"session_state.pxd lacks what {found.name} in {path.name} sets: {missing}"
    assert seen == parts and parts
