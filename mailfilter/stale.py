"""Whether the modules that are compiled outside the core are from the sources beside them.

Python takes a compiled module before its source and would run an old one without a word. The packages that have such
modules ask here when they are imported.

Must not know: what the modules do.
"""
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zlib import crc32

from mailfilter._core import _build

__all__ = ["refuse_stale"]


def refuse_stale(package):
    """Raise ImportError when a module of `package` ("mailfilter.net") was compiled from another source or other declarations
    than lie beside it. Without the compiled module the source does; without the source (or declarations) nothing is asked."""
    for name, check_sums in _build.SOURCES.items():
        if name.rpartition(".")[0] != package:
            continue
        source = Path(__file__).parent.joinpath(*name.split(".")[1:])
        if not source.with_suffix(EXTENSION_SUFFIXES[0]).exists():
            continue
        for suffix, check_sum in check_sums.items():
            path = source.with_suffix(suffix)
            if path.exists() and crc32(path.read_bytes()) != check_sum:
                raise ImportError(f"the compiled module {name} is stale: {path.name} has changed since; run `make build` in the "
                                  "checkout, or install the package again", name=name)
