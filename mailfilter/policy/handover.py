"""Hands a loaded policy from the process that built it to those that serve with it.

What is handed over is a file in memory that nobody can change any more: the image, which every receiver maps and all of
them share, and behind it everything else that is known of the policy, which each has for itself. Giver and receivers must
have been forked from the same process, since an image holds addresses of the engine's functions.

Must not know: how a file reaches another process, who serves.
"""
import fcntl
import mmap
import os
import pickle

from mailfilter._core.heap import Image

__all__ = ["new_file", "restore", "store"]

_TRAILER = 8        # octets of the number, at the end, that says how long the image is
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def new_file():
    """An empty file in memory; its descriptor. OSError."""
    return os.memfd_create("mailfilter-policy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def store(policy, more, descriptor):
    """Write a policy, and `more` (anything that can be pickled) that belongs to it, and seal the file."""
    packed = b"" if policy.image is None else policy.image.pack()
    rest = pickle.dumps((policy, more), pickle.HIGHEST_PROTOCOL)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(packed)
        file.write(rest)
        file.write(len(packed).to_bytes(_TRAILER, "big"))
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)


def restore(descriptor, settings, log):
    """(policy, more) as they were stored by a child of ours; the descriptor is closed.

    settings, log: what the policy gets when a heap has to be built here.
    """
    try:
        memory = mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(descriptor)
    view = memoryview(memory)
    image_bytes = int.from_bytes(view[-_TRAILER:], "big")
    policy, more = pickle.loads(view[image_bytes:-_TRAILER])
    policy.take_over(Image.unpack(view[:image_bytes]) if image_bytes else None, settings, log)
    return policy, more
