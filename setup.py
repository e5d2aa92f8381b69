"""Build the compiled core: every mailfilter/_core/*.pyx is a module of its own.

Outside the core, the modules on the path of every command are compiled, too: a module.py that has a module.pxd beside it,
which declares its classes. The text is plain Python and means the same without having been compiled, only slower.

Two variables of the environment choose what is built:

    MAILFILTER_BUILD=release (default), debug or asan    debug: assertions and -g; asan: the same, and AddressSanitizer
                                                   and UBSan look on (`make asan`). They differ in macros and flags alone
    MAILFILTER_STRICT=1                            warnings of Cython and of the C compiler are errors

Every combination has its own folder below build/, so that switching back and forth rebuilds nothing. All .pxd
files, the build kind and the Python version are hashed into a stamp that each module carries; after a complete build
it is written to mailfilter/_core/_build.py, and mailfilter/_core/__init__.py compares the two (a module compiled
against an older .pxd would call the wrong slots of a class, without any warning). Everything else about the package is in
pyproject.toml.
"""
import hashlib
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import Cython.Compiler.Options
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
CORE = Path("mailfilter/_core")
os.chdir(HERE)

kind = os.environ.get("MAILFILTER_BUILD", "release")
strict = os.environ.get("MAILFILTER_STRICT", "") == "1"
if kind not in ("release", "debug", "asan"):
    raise SystemExit(f"MAILFILTER_BUILD is {kind!r}; it must be release, debug or asan")
folder = f"build/{kind}-strict" if strict else f"build/{kind}"

# Compiled outside the core: Python with declarations beside it.
declared = sorted(path for path in Path("mailfilter").glob("*/*.pxd") if path.with_suffix(".py").exists())
declarations = sorted(CORE.glob("*.pxd"))
headers = sorted(CORE.glob("*.h"))
# The JavaScript binding has C of its own; it is the only module that does.
companions = {"heap": sorted(CORE.glob("*.c"))}

stamp = hashlib.sha256()
for path in declarations:
    stamp.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
stamp.update(f"{kind} {sys.version} {version('Cython')}".encode())
stamp = stamp.hexdigest()[:16]

macros = [("MAILFILTER_ABI_STAMP", f'"{stamp}"')]
flags = ["-Wall", "-Wextra", "-fno-strict-aliasing",
         # What Cython generates, and the CPython tables it fills in, does not keep these. `make lint` checks
         # the C that was written by hand without them.
         "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type", "-Wno-unused-variable"]
links = []
if kind == "debug":
    macros.append(("MAILFILTER_DEBUG", "1"))
    # Python's own flags define NDEBUG, which would take C's assert() away.
    flags += ["-O1", "-g", "-UNDEBUG"]
elif kind == "asan":
    # The engine itself (in dukpy's module) stays as it is; what we hand it and how we use its memory is watched.
    macros.append(("MAILFILTER_DEBUG", "1"))
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    flags += ["-O1", "-g", "-UNDEBUG", *sanitizers]
    links += sanitizers
else:
    macros.append(("CYTHON_WITHOUT_ASSERTIONS", "1"))
    flags += ["-O2"]
if strict:
    flags.append("-Werror")
    Cython.Compiler.Options.warning_errors = True

extensions = []
for source in sorted(CORE.glob("*.pyx")):
    extensions.append(Extension(
        f"mailfilter._core.{source.stem}",
        [str(source), *(str(path) for path in companions.get(source.stem, ()))],
        depends=["setup.py", *(str(path) for path in [*declarations, *headers])],
        define_macros=macros, include_dirs=[str(CORE)], extra_compile_args=flags, extra_link_args=links))


for path in declared:
    extensions.append(Extension(
        ".".join(path.with_suffix("").parts), [str(path.with_suffix(".py"))],
        depends=["setup.py", *(str(path) for path in [*declarations, *declared])],
        define_macros=macros, include_dirs=[str(CORE)], extra_compile_args=flags, extra_link_args=links))


class Build(build):
    """The standard command, in the folder of this kind of build."""

    def initialize_options(self):
        super().initialize_options()
        self.build_base = folder


class BuildExt(build_ext):
    """The standard command; it also puts modules in place safely, and says what was built in _build.py."""

    def finalize_options(self):
        super().finalize_options()
        # Modification times do not tell that a .pxd is gone or that Python was replaced; the stamp does.
        last = Path(folder, "stamp")
        self.force = self.force or not last.exists() or last.read_text() != stamp

    def run(self):
        super().run()
        Path(folder, "stamp").write_text(stamp)
        target = CORE if self.inplace else Path(self.build_lib) / CORE
        target.mkdir(parents=True, exist_ok=True)
        names = tuple(extension.name.rpartition(".")[2] for extension in self.extensions
                      if extension.name.startswith("mailfilter._core."))
        sources = {".".join(path.with_suffix("").parts):
                   {suffix: crc32(path.with_suffix(suffix).read_bytes()) for suffix in (".py", ".pxd")} for path in declared}
        _replace(target / "_build.py", (
            '"""What the last complete build was. Written by setup.py; not for editing."""\n'
            f"STAMP = {stamp!r}\nKIND = {kind!r}\nCYTHON = {version('Cython')!r}\nMODULES = {names!r}\n"
            "# What was compiled outside the core, with the check sums of its sources.\n"
            f"SOURCES = {sources!r}\n").encode())

    def copy_extensions_to_source(self):
        # The standard way truncates files that running processes have mapped, and leaves modules
        # behind whose source is gone.
        build_py = self.get_finalized_command("build_py")
        placed = set()
        for extension in self.extensions:
            place, built = self._get_inplace_equivalent(build_py, extension)
            placed.add(Path(place).resolve())
            _replace(Path(place), Path(built).read_bytes())
        suffix = self.get_ext_filename("x")[1:]
        for module in Path("mailfilter").glob("*/*" + suffix):
            if module.resolve() not in placed:
                module.unlink()


def _replace(path, content):
    """Give the file at `path` this content, in one step; an equal file is left alone."""
    if path.exists() and path.read_bytes() == content:
        return
    fresh = path.with_name(path.name + f".{os.getpid()}.new")
    fresh.write_bytes(content)
    shutil.copymode(setup_file, fresh)
    os.replace(fresh, path)


setup_file = HERE / "setup.py"
directives = {"language_level": 3, "embedsignature": True, "freethreading_compatible": False}
if strict:
    directives |= {"warn.unreachable": True}
setup(
    cmdclass={"build": Build, "build_ext": BuildExt},
    ext_modules=cythonize(extensions, build_dir=f"{folder}/cython", nthreads=os.cpu_count() or 1,
                          compiler_directives=directives) if extensions else [])
