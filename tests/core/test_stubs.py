"""The stubs beside the modules name what the modules have, and nothing else."""
import ast
from importlib import import_module
from pathlib import Path

import pytest

import mailfilter._core as core

STUBS = sorted(Path(core.__file__).parent.glob("*.pyi"))


def public(names):
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("path", STUBS, ids=[path.stem for path in STUBS])
def test_stub(path):
    module = import_module(f"mailfilter._core.{path.stem}")
    declared = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AnnAssign):
            declared.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            declared |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.FunctionDef):
            declared.add(node.name)
        elif isinstance(node, ast.ClassDef):
            declared.add(node.name)
            members = {getattr(member, "name", None) or member.target.id for member in node.body}
            found = set(dir(getattr(module, node.name))) - set(dir(Exception))
            if not issubclass(getattr(module, node.name), Exception):
                assert public(found) == public(members), node.name
    assert all(hasattr(module, name) for name in declared)
    defined_here = {name for name, value in vars(module).items()
                    if getattr(value, "__module__", None) == module.__name__}
    assert public(defined_here) - {"ServerMachine", "ClientMachine"} <= declared
