"""Keeps compiled programs on disk, so that a policy in newer JavaScript is compiled once and not at every start.

One file for each program, named by a hash of all that the result depends on. Nothing here may make loading fail:
a folder that cannot be written, a file that is torn, changed or somebody else's is as good as none.

Must not know: compilers, JavaScript.
"""
import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["ProgramCache", "default_directory"]

FILES_LIMIT = 512
"""Files kept; the oldest go first."""
FILE_BYTES_LIMIT = 32 << 20

_PREFIX = "mailfilter-"     # of every file here, so that none but ours is ever removed


def default_directory(environment=os.environ):
    """The folder for this user: mailfilter in $XDG_CACHE_HOME or ~/.cache; None when there is no home."""
    base = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = environment.get("HOME", "")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base, "mailfilter")


def _ours(status):
    """Whether nobody but us (or root, who can do anything) could have written it."""
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


class ProgramCache:
    """A folder of results. directory None: nothing is kept."""

    def __init__(self, directory):
        self.directory = None if directory is None else Path(directory)

    def _path(self, key):
        return self.directory / f"{_PREFIX}{key}.json"

    def get(self, key):
        """What was put under `key` (hexadecimal digits), or None."""
        if self.directory is None:
            return None
        try:
            if not _ours(os.stat(self.directory)):
                return None
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or not _ours(status) or status.st_size > FILE_BYTES_LIMIT:
                    return None
                digest, _, content = file.read().partition(b"\n")
            if hashlib.sha256(content).hexdigest().encode() != digest:
                return None
            return json.loads(content)
        except (OSError, ValueError):
            return None

    def put(self, key, value):
        """Keep a JSON value under `key`; whether it was kept."""
        if self.directory is None:
            return False
        content = json.dumps(value, separators=(",", ":")).encode()
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _ours(os.stat(self.directory)):
                return False
            descriptor, fresh = tempfile.mkstemp(prefix=_PREFIX + "new-", dir=self.directory)
            try:
                with open(descriptor, "wb") as file:
                    file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
                os.replace(fresh, self._path(key))     # whole or not at all, whoever else writes it
            except BaseException:
                os.unlink(fresh)
                raise
            self._drop_oldest()
        except OSError:
            return False
        return True

    def _drop_oldest(self):
        entries = []
        with os.scandir(self.directory) as found:
            for entry in found:
                if entry.name.startswith(_PREFIX):
                    with contextlib.suppress(FileNotFoundError):
                        entries.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
        entries.sort()
        for _, path in entries[:max(0, len(entries) - FILES_LIMIT)]:
            with contextlib.suppress(OSError):
                os.unlink(path)
