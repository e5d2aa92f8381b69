"""The library that the engine is loaded from, with a known mistake of the engine mended.

The engine that dukpy carries crashes on ordinary texts. Looking for a place from the end of a string, it goes back four
octets at a time while four or more characters are left; but four octets may be five (an emoji counts for two), and then it
runs past the beginning of memory. `'for (x of "a😀b") s();'.slice(17)` is enough, and so is a Subject that a policy takes a
piece of. Right is: while five or more are left. That is one number, in two instructions.

So the engine is not taken from dukpy's file but from a copy of it in memory, in which those two instructions say five. The
file itself is left alone. Where they are not found exactly once (a dukpy that was compiled by something else, another
processor) the engine is taken as it is; whether it is sound is found out by trying (engine.py), and what the watchdog then
does about a crash is written in watch.h.

Must not know: heaps, policies.
"""
import ctypes
import os
import platform
import re

__all__ = ["library"]

# The loop of duk__strcache_scan_char2byte_wtf8_backwards in the wheels of dukpy 0.5.1: by machine, the expression, and for its
# groups 1 and 2, the comparisons with 3 before and at the end of the loop, what to put there.
_X86_64 = re.compile(
    rb"(\x49\x83\xf9\x03)\x76.\x48\x8d\x0d.{4}.{0,40}?"                       # cmp $3, %r9; jbe; lea table, %rcx
    rb"\x0f\xb6\x50\xff\x0f\xb6\x70\xfe\x48\x83\xe8\x04\x8b\x34\xb1\x8b\x14\x91\x48\x01\xf2\x0f\xb6\x70\x01"
    rb"\x8b\x34\xb1\x48\x01\xf2\x0f\xb6\x30\x8b\x34\xb1\x48\x01\xf2\x49\x29\xd1"
    rb"(\x49\x83\xf9\x03)\x77\xcf", re.DOTALL)                                # cmp $3, %r9; ja
_AARCH64 = re.compile(
    rb"(\xbf\x0c\x00\xf1)\x49\x02\x00\x54.{12}"                               # cmp x5, #3; b.ls; the table's address
    rb"\x88\xf0\x5f\x38\x8a\xe0\x5f\x38\x89\xd0\x5f\x38\x86\xcc\x5f\x38"
    rb"\xe8\xd8\x68\xb8\xea\xd8\x6a\xb8\xe9\xd8\x69\xb8\xe6\xd8\x66\xb8"
    rb"\x08\x01\x0a\x8b\xc6\x00\x09\x8b\xc6\x00\x08\x8b\xa5\x00\x06\xcb"
    rb"(\xbf\x0c\x00\xf1)\x68\xfe\xff\x54", re.DOTALL)                        # cmp x5, #3; b.hi
_LOOPS = {"x86_64": (_X86_64, b"\x49\x83\xf9\x04"), "aarch64": (_AARCH64, b"\xbf\x10\x00\xf1")}

_loaded = []        # never closed: the engine's code is in it


def mended(image, machine):
    """The octets of the library for this machine with the mistake mended; None when it is not found, or not just once."""
    expression, right = _LOOPS.get(machine, (None, None))
    found = [] if expression is None else list(expression.finditer(image))
    if len(found) != 1:
        return None
    image = bytearray(image)
    for group in (1, 2):
        image[found[0].start(group):found[0].end(group)] = right
    return bytes(image)


def library(path):
    """What to load the engine from, for the library at `path`: the path of a mended copy, which is loaded, or `path`."""
    with open(path, "rb") as file:
        image = mended(file.read(), platform.machine())
    if image is None:
        return path
    try:
        descriptor = os.memfd_create("mailfilter-engine", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return path
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(image)
        copy = f"/proc/self/fd/{descriptor}"
        _loaded.append(ctypes.PyDLL(copy))
        # The descriptor stays open: the linker knows the copy by this name, which nothing else may get.
    except OSError:             # a system that runs nothing out of such memory
        os.close(descriptor)
        return path
    return copy
