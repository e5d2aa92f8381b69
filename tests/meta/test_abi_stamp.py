"""A compiled module from another build is refused at import, with words that say what to do.

Each test works on a copy of the package, spoils it, and imports it in a process of its own.
"""
import re
import shutil
import subprocess
import sys

import pytest
from sources import CORE, PACKAGE, PROJECT

from mailfilter._core import _build

SUFFIX = re.compile(r"\.[^.]*\.so$|\.so$")


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, with what was built."""
    target = tmp_path / "mailfilter"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyx", "*.c", "*.new"))
    return target


def import_core(copy, module="mailfilter._core"):
    """(exit status, stderr) of importing the copy's core."""
    done = subprocess.run([sys.executable, "-c", f"import {module}; print({module}.__file__)"], cwd=copy.parent,
                          env={"PYTHONPATH": str(copy.parent)}, capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        assert done.stdout.startswith(str(copy)), "another copy was imported"
    return done.returncode, done.stderr


def built(copy, name):
    (path,) = (copy / "_core").glob(f"{name}.*.so")
    return path


def test_the_stamp_is_in_every_module():
    modules = sorted(path.stem for path in CORE.glob("*.pyx"))
    assert sorted(_build.MODULES) == modules, "not everything is built; run `make build`"
    assert sorted(SUFFIX.sub("", path.name) for path in CORE.glob("*.so")) == modules
    for name in modules:
        module = __import__(f"mailfilter._core.{name}", fromlist=["_abi_stamp"])
        assert module._abi_stamp == _build.STAMP


def test_an_untouched_copy_is_fine(copy):
    assert import_core(copy) == (0, "")


@pytest.mark.parametrize("name", _build.MODULES)
def test_a_stale_module_is_refused(copy, name):
    """What a stale file looks like: the same code with the stamp of another build."""
    path = built(copy, name)
    content = path.read_bytes()
    assert content.count(_build.STAMP.encode()) >= 1
    path.write_bytes(content.replace(_build.STAMP.encode(), b"0123456789abcdef"))
    status, error = import_core(copy)
    assert status == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: the compiled module mailfilter._core.{name} is stale")
    assert "run `make build`" in last


@pytest.mark.parametrize("name", _build.MODULES)
def test_a_missing_module_is_named(copy, name):
    built(copy, name).unlink()
    status, error = import_core(copy)
    last = error.strip().splitlines()[-1]
    assert status == 1
    assert f"mailfilter._core.{name}" in last and "run `make build`" in last, last


@pytest.mark.parametrize("suffix", [".py", ".pxd"])
def test_a_changed_source_of_a_module_outside_the_core_is_refused(copy, suffix):
    for name in _build.SOURCES:
        path = copy.joinpath(*name.split(".")[1:]).with_suffix(suffix)
        text = path.read_text()
        path.write_text(text + "\n")
        status, error = import_core(copy, name)
        assert status == 1
        assert f"the compiled module {name} is stale: {path.name} has changed since; run `make build`" in error
        path.write_text(text)
    assert import_core(copy, name) == (0, "")


def test_what_is_declared_outside_the_core_is_compiled():
    declared = {".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in PACKAGE.glob("*/*.pxd")
                if path.parent != CORE}
    assert set(_build.SOURCES) == declared, "not everything is built; run `make build`"
    for name in declared:
        assert __import__(name, fromlist=["__file__"]).__file__.endswith(".so")


def test_without_its_compiled_module_a_source_does(copy):
    """Slower, and otherwise the same."""
    for path in copy.glob("*/*.so"):
        if path.parent.name != "_core":
            path.unlink()
    assert import_core(copy, "mailfilter.policy.driver")[0] == 0


def test_a_module_without_a_stamp_is_refused(copy):
    built(copy, "span" if "span" in _build.MODULES else "buffer").unlink()
    name = "span" if "span" in _build.MODULES else "buffer"
    (copy / "_core" / f"{name}.py").write_text('"""No stamp."""\n')
    status, error = import_core(copy)
    assert status == 1 and "ImportError" in error and "run `make build`" in error.strip().splitlines()[-1]


def test_a_checkout_that_was_never_built_says_so(copy):
    for path in (copy / "_core").glob("*.so"):
        path.unlink()
    (copy / "_core" / "_build.py").unlink()
    status, error = import_core(copy)
    assert status == 1
    assert "the compiled core of mailfilter has not been built; run `make build`" in error.strip().splitlines()[-1]


def test_the_program_says_it_in_one_line(copy):
    built(copy, "heap").unlink()
    done = subprocess.run([sys.executable, "-m", "mailfilter", "check", "mx", "--set", "domains=a.example"],
                          cwd=copy.parent, env={"PYTHONPATH": str(copy.parent)}, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mailfilter: the compiled module mailfilter._core.heap is missing")


def test_a_broken_dependency_keeps_its_own_words(copy):
    """Only our own modules are called missing; what they import says so itself."""
    path = copy / "_core" / "_build.py"
    path.write_text(path.read_text() + "import no_such_module_anywhere\n")
    status, error = import_core(copy)
    assert status == 1
    assert error.strip().splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"


def test_the_build_says_what_it_is():
    assert _build.KIND in ("release", "debug")
    assert re.fullmatch(r"[0-9a-f]{16}", _build.STAMP)
    assert (PROJECT / "setup.py").exists()
