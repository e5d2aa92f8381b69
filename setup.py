"""Build the compiled core: every mailfilter/_core/*.pyx is its own extension module.

MAILFILTER_BUILD=release (default) or debug selects the build; the two differ in macros and compiler
flags alone. All .pxd files are hashed into a stamp that every module carries, so that a stale module
is refused at import instead of calling the wrong slot of a changed class.
"""
import hashlib
import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
CORE = Path("mailfilter/_core")
os.chdir(HERE)

# C sources that belong to a module beside the .pyx of the same line.
COMPANIONS = {"heap": ["duk_api.c", "duk_value.c", "duk_step.c", "arena.c"]}

kind = os.environ.get("MAILFILTER_BUILD", "release")
headers = sorted([*CORE.glob("*.pxd"), *CORE.glob("*.h")])
stamp = hashlib.sha256()
for header in sorted(CORE.glob("*.pxd")):
    stamp.update(header.name.encode() + b"\0" + header.read_bytes())
stamp.update(kind.encode() + sys.version.encode())

macros = [("MAILFILTER_ABI_STAMP", f'"{stamp.hexdigest()[:16]}"')]
flags = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
if kind == "debug":
    macros.append(("MAILFILTER_DEBUG", "1"))
    flags += ["-O1", "-g"]
elif kind == "release":
    flags += ["-O2"]
else:
    raise SystemExit(f"MAILFILTER_BUILD is {kind!r}; it must be release or debug")

extensions = []
for source in sorted(CORE.glob("*.pyx")):
    name = source.stem
    companions = [str(CORE / c) for c in COMPANIONS.get(name, []) if (CORE / c).exists()]
    extensions.append(Extension(
        f"mailfilter._core.{name}", [str(source), *companions],
        depends=[str(h) for h in headers], define_macros=macros,
        include_dirs=[str(CORE)], extra_compile_args=flags))

setup(ext_modules=cythonize(
    extensions, build_dir=f"build/cython-{kind}", nthreads=os.cpu_count() or 1,
    compiler_directives={"language_level": 3, "embedsignature": True, "freethreading_compatible": False}))
