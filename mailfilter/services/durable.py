"""Files that are still there after a power cut: the steps that deliveries into directories are made of.

Each step names the path that it is about when it fails (`StepFailed`), so that the errors of a directory and those of
whoever produces the octets stay apart. Everything here blocks.

Must not know: what is written, or why.
"""
import contextlib
import errno
import os

from mailfilter.errors import ServiceUnavailable

__all__ = ["StepFailed", "StorageError", "link", "make_directory", "step", "sync_directory", "typed", "write_all"]


class StorageError(ServiceUnavailable):
    """Something could not be stored, and is not there. `path` names the file or directory, `errno` the cause."""

    def __init__(self, message, path, number):
        super().__init__(message)
        self.path = path
        self.errno = number


class StepFailed(Exception):
    """An OSError (`error`) of ours with the `path` it is about."""

    def __init__(self, path, error):
        super().__init__(path, error)
        self.path = path
        self.error = error


@contextlib.contextmanager
def step(path):
    """What raises an OSError inside raises StepFailed with this path."""
    try:
        yield
    except OSError as error:
        raise StepFailed(path, error) from None


def typed(failed, kinds):
    """The StorageError for a StepFailed. kinds: the classes for (any other cause, no room, not allowed)."""
    error, (kind, full, denied) = failed.error, kinds
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind = full
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = denied
    return kind(f"{failed.path}: {error.strerror or error}", failed.path, error.errno)


def write_all(fd, data):
    """Write all of it. OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def link(source, target):
    """Give the file `source` the further name `target`; a file that has it already stays (FileExistsError)."""
    try:
        # Unlike rename, link never replaces a file that is there already.
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        # File systems without hard links. The name is ours alone, so rename replaces nothing either.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.rename(source, target)


def make_directory(path):
    """Make a directory for us alone. True when it was made, False when it was there."""
    with step(path):
        try:
            os.mkdir(path, 0o700)
            return True
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            return False


def sync_directory(path):
    """Let the names in a directory survive a power cut."""
    with step(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
