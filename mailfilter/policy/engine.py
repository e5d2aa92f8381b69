"""The library's entry functions by number, as js/engine.js registers them, and the binding of the engine.

Importing this module binds Duktape's functions from dukpy's extension module; ImportError says what is wrong
when another dukpy is installed.
"""
from importlib import metadata

import dukpy._dukpy

from mailfilter._core.heap import bind, heaps

__all__ = ["ABANDON", "DESCRIBE", "FAIL", "FAULT", "OPEN", "RESUME", "START", "heaps"]

OPEN, START, RESUME, FAIL, ABANDON, FAULT, DESCRIBE = range(7)


def _bind():
    try:
        bind(dukpy._dukpy.__file__)
    except ImportError as error:
        raise ImportError(f"{error}: dukpy {metadata.version('dukpy')} is installed, Mailfilter needs "
                          "dukpy>=0.5.1,<0.6 (pip install 'dukpy>=0.5.1,<0.6')") from None


_bind()
