"""What a wheel contains, that it works where there is no checkout, and that the pieces of the build agree."""
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from sources import CORE, PACKAGE, PROJECT

from mailfilter._core import _build

TEST_SECONDS = 180

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the checkout. The modules are those in place: compiling them again would take a minute."""
    folder = tmp_path_factory.mktemp("wheel")
    library = folder / "lib"
    for path in PACKAGE.glob("*/*.so"):
        (library / path.parent.relative_to(PROJECT)).mkdir(parents=True, exist_ok=True)
        # With today's date, so that the build takes them for its own.
        shutil.copy(path, library / path.relative_to(PROJECT))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", folder, "build", "--build-lib", library,
         "bdist_wheel", "--dist-dir", folder, "--bdist-dir", folder / "bdist"],
        cwd=PROJECT, env={**os.environ, "MAILFILTER_BUILD": _build.KIND}, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_module(contents):
    for path in PACKAGE.rglob("*.py"):
        if "__pycache__" not in path.parts:
            assert str(path.relative_to(PROJECT)) in contents
    compiled = {name.split(".")[0].replace("/", ".") for name in contents if name.endswith(".so")}
    assert set(_build.MODULES) == {path.stem for path in CORE.glob("*.pyx")}
    assert compiled == {f"mailfilter._core.{name}" for name in _build.MODULES} | set(_build.SOURCES)
    assert "mailfilter/_core/_build.py" in contents


def test_the_wheel_has_the_javascript(contents):
    for path in (PROJECT / "js").rglob("*"):
        if path.suffix in (".js", ".ts", ".sql"):
            assert f"mailfilter/{path.relative_to(PROJECT)}" in contents
    for name in ("mx.js", "proxy.js", "mark.js", "filter.js", "database.js", "submission.js", "database.mysql.sql"):
        assert f"mailfilter/js/policies/{name}" in contents


def test_the_wheel_has_the_types(contents):
    assert "mailfilter/py.typed" in contents
    for path in CORE.glob("*.pyi"):
        assert str(path.relative_to(PROJECT)) in contents


def test_the_wheel_has_nothing_else(contents):
    for name in contents:
        assert name.startswith("mailfilter/") or ".dist-info/" in name, name
        assert not name.endswith((".c", ".h", ".pyx", ".pxd", ".o", ".new", ".pyc")), name
        assert not name.startswith(("mailfilter/tests", "mailfilter/bench")), name


def test_a_source_distribution_has_all_that_is_compiled(tmp_path):
    """Without its declarations a module outside the core would be left as it is: everything works, only slower."""
    done = subprocess.run([sys.executable, "setup.py", "-q", "egg_info", "--egg-base", tmp_path, "sdist", "--dist-dir", tmp_path],
                          cwd=PROJECT, capture_output=True, text=True, timeout=TEST_SECONDS)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for source in PACKAGE.rglob("*"):
        if source.suffix in (".py", ".pyx", ".pxd", ".pyi", ".h", ".c") and source.name != "_build.py":
            assert str(source.relative_to(PROJECT)) in names


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # The editable install of this environment would be found first.
    program = ("import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
               "import mailfilter.cli; sys.exit(mailfilter.cli.main(sys.argv[1:]))")
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program, "check", "mx", "--set", "domains=example.org", "--set", "maildir=/tmp/x"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/mailfilter/js/policies/mx.js: no error found" in done.stdout


def test_every_package_is_listed():
    listed = set(METADATA["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(PROJECT).parts) for path in PACKAGE.rglob("__init__.py")}
    folders = {"mailfilter." + ".".join(path.relative_to(PROJECT).parts)
               for path in [PROJECT / "js", *(PROJECT / "js").rglob("*")] if path.is_dir()}
    assert listed == found | folders


def test_the_program_is_installed():
    assert (Path(sys.executable).parent / "mailfilter").exists()
    assert METADATA["project"]["scripts"] == {"mailfilter": "mailfilter.cli:main"}


def test_make_help_lists_every_target():
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    listed = re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE)
    assert listed == targets and "build" in targets


def test_the_list_of_debian_packages_is_well_formed():
    for line in (PROJECT / "tests/debian-packages.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9.+-]+ +\S+", line), line
    subprocess.run(["sh", "-n", PROJECT / "tests/install-packages.sh"], check=True, timeout=30)
    subprocess.run(["bash", "-n", PROJECT / ".ci/run"], check=True, timeout=30)
