"""The file that says which process to signal (--pid-file), and who reads it (`mailfilter reload`).

The process that is meant holds a lock on the file, which the system takes away when it ends, in whatever way: a number that
was left behind is never taken for a running server. Must not know: what the signals mean.
"""
import fcntl
import os
from contextlib import suppress

from mailfilter.errors import ConfigError

__all__ = ["PidFile", "running"]


class PidFile:
    """The file at `path`, held by this process. ConfigError when another one holds it, or it cannot be written."""

    def __init__(self, path):
        self.path = path
        try:
            # A link that somebody put there must not make us write elsewhere.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigError(f"--pid-file {path}: {error.strerror}") from error
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.write(self._fd, b"%d\n" % os.getpid())
        except BlockingIOError:
            found = _number(self._fd)
            os.close(self._fd)
            raise ConfigError(f"--pid-file {path}: the server with the process id {found} is running") from None
        except OSError as error:
            os.close(self._fd)
            raise ConfigError(f"--pid-file {path}: {error.strerror}") from error

    def remove(self):
        """The server has stopped listening: a successor may write its own. Harmless when removed."""
        if self._fd is None:
            return
        with suppress(OSError):
            # Emptied first: the folder may be one that we could only write to as root.
            os.ftruncate(self._fd, 0)
            os.unlink(self.path)
        os.close(self._fd)
        self._fd = None


def running(path):
    """The process id of the server that holds the file; ConfigError when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ConfigError(f"--pid-file {path}: {error.strerror}; is the server running, and with that --pid-file?") from error
    except OSError as error:
        raise ConfigError(f"--pid-file {path}: {error.strerror}") from error
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = _number(fd)
        if found is not None:
            return found
    finally:
        os.close(fd)
    raise ConfigError(f"--pid-file {path}: no server is running")


def _number(fd):
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() and int(text) > 1 else None
