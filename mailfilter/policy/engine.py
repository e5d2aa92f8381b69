"""The library's entry functions by number, as js/engine.js registers them, and the binding of the engine.

Importing this module binds Duktape's functions from dukpy's extension module, or from a mended copy of it; ImportError
says what is wrong when another dukpy is installed.
"""
from functools import lru_cache
from importlib import metadata

import dukpy._dukpy

from mailfilter._core.heap import LEAST_HEAP_BYTES, Heap, HeapDead, bind, heaps, images
from mailfilter.policy import mended

__all__ = ["ABANDON", "DESCRIBE", "FAIL", "FAULT", "OPEN", "RESUME", "START", "TELL", "UNSOUND", "heaps", "images", "sound"]

OPEN, START, RESUME, FAIL, ABANDON, FAULT, DESCRIBE, TELL = range(8)

UNSOUND = ("this build of dukpy has a mistake that cannot be mended here: some texts with characters beyond U+FFFF end the "
           "session that works on them")

# The shortest way to the mistake: two letters before the surrogate pair, looked for from the end.
_TRIAL = rb"if ('\u00e4bcdefghijklmnopq\ud83d\ude00r'.slice(15) !== 'pq\ud83d\ude00r') { throw new Error('wrong'); }"


def _bind():
    try:
        bind(mended.library(dukpy._dukpy.__file__))
    except ImportError as error:
        raise ImportError(f"{error}: dukpy {metadata.version('dukpy')} is installed, Mailfilter needs "
                          "dukpy>=0.5.1,<0.6 (pip install 'dukpy>=0.5.1,<0.6')") from None


@lru_cache(maxsize=1)
def sound():
    """Whether the engine finds its way in texts with characters beyond U+FFFF (mended.py); tried once."""
    heap = Heap(LEAST_HEAP_BYTES)
    try:
        heap.load("trial", _TRIAL)
    except HeapDead:
        return False
    finally:
        heap.close()
    return True


_bind()
