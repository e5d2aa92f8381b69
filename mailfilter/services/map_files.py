"""Map files as a worker uses them: opened when they are first asked, made anew when they have changed.

Must not know: policies, what is in the files.
"""
import asyncio
import os
import sys

from mailfilter.services.maps import Map, MapError, Patterns, compiled, kind_of

__all__ = ["CHECK_S", "MapFile", "keep", "open_map"]

CHECK_S = 1.0
"""A file is looked at for changes when it is asked and this long after the last time, in seconds."""


_kept = {}      # path: (its state, Map), for the workers that are forked from whoever loads the policy


def _state_of(status):
    return status.st_mtime_ns, status.st_size, status.st_ino


def keep(path, target):
    """The policy that is being loaded will ask this map, compiled as `target`; OSError.

    It is opened now, as who loads the policy may be somebody else (root) than who asks (--user), who need not have the right
    to read what was compiled, nor the one to run what compiles.
    """
    _kept[path] = _state_of(os.stat(path)), Map(target)


def open_map(outside, path, directory):
    """The MapFile of a path, shared by all sessions of the worker whose Outside this is."""
    return outside.get("map", (path, directory), lambda outside: MapFile(outside, path, directory))


class MapFile:
    """One map file. directory: where compiled files are kept, or None."""

    def __init__(self, outside, path, directory):
        self._loop = outside.loop
        self._report = outside.report
        self._path = path
        self._directory = directory
        self._map = None
        self._state = None
        self._checked = 0.0
        self._making = None

    def find(self, key):
        """(True, value or None), or (False, None): not ready, see ready()."""
        now = self._loop.time()
        if self._map is None or now >= self._checked + CHECK_S:
            self._checked = now
            self._look()
        return (False, None) if self._map is None else (True, self._map.find(key))

    async def ready(self):
        """Wait until there are entries. MapError, OSError."""
        if self._map is None:
            if self._making is None:
                self._make()
            await asyncio.shield(self._making)

    def _look(self):
        try:
            status = os.stat(self._path)
        except OSError as error:
            if self._map is None and self._path in _kept:
                self._state, self._map = _kept[self._path]
            if self._state is not None:
                self._state = None
                self._report(f"the map {self._path} is not read again: {error.strerror}")
            return
        state = _state_of(status)
        if state == self._state or self._making is not None:
            return
        self._state = state
        if self._map is None and kind_of(self._path) != "regexp":
            kept = _kept.get(self._path)
            if kept is not None and kept[0] == state:
                self._map = kept[1]
                return
            target = compiled(self._path, self._directory, make=False)
            if target is not None:
                self._map = Map(target)
                return
        self._make()

    def _make(self):
        self._making = self._loop.create_task(self._made())
        self._making.add_done_callback(self._done)

    async def _made(self):
        if kind_of(self._path) == "regexp":
            return await asyncio.to_thread(Patterns, self._path)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mailfilter.services.maps", self._path, os.fspath(self._directory or ""),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
        except OSError as error:
            raise MapError(f"{sys.executable}, which is to compile it, cannot be run: {error.strerror}") from error
        _, said = await process.communicate()
        target = compiled(self._path, self._directory, make=False)
        if process.returncode or target is None:
            raise MapError(said.decode("utf-8", "replace").strip()[-500:] or f"{self._path} cannot be compiled")
        return Map(target)

    def _done(self, making):
        self._making = None
        if making.cancelled():
            return
        if making.exception() is not None:
            self._report(f"the map {self._path} cannot be used as it is now: {making.exception()}")
            return
        if self._map is not None:
            self._report(f"the map {self._path} has changed: {len(making.result())} entries")
        self._map = making.result()

    async def close(self):
        """Let a process that compiles it end."""
        if self._making is not None:
            self._making.cancel()
