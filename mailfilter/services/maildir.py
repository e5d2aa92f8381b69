"""Delivery into a Maildir: once `deliver` has returned, the message survives a power cut.

The message is written under a name of its own into tmp/, synced, linked into new/, and new/ is synced. A
reader sees whole messages or nothing; whatever is killed when, what remains is a file in tmp/, and files there
that nobody has touched for 36 hours are removed. Folders are those of Maildir++: `.Archive.2026` beside cur/,
new/ and tmp/.

Everything here blocks and belongs on a thread (`loop.run_in_executor`). A `Maildir` may be used by many
threads and processes at a time. This file must not know SMTP, the loop or where a message came from.
"""
import base64
import contextlib
import errno
import itertools
import os
import secrets
import socket
import stat
import threading
import time
from dataclasses import dataclass

from mailfilter.errors import MailfilterError
from mailfilter.services.durable import (
    StepFailed,
    StorageError,
    link,
    make_directory,
    step,
    sync_directory,
    typed,
    write_all,
)

STALE_S = 36 * 3600
"""Age in seconds after which a file in tmp/ is taken for the leavings of a writer that died."""

CLEAN_EVERY_S = 3600
"""How often, in seconds, one process looks for such files in one directory."""

FOLDERS_REMEMBERED = 1000
"""For how many folders the time of the last look is kept; a policy may make folders without end."""

FOLDER_BYTES = 200
"""Longest name of a folder, encoded and with its leading dot; file systems end at 255."""

NAME_ATTEMPTS = 10
"""How many unique names are tried before giving up. One is enough unless somebody copies our names."""

WRITE_BYTES = 262144
"""How much is gathered before one write."""

_counter = itertools.count(1)

# When each directory was looked at: of the process, so that a Maildir may be made for every delivery.
_cleaned = {}
_cleaned_lock = threading.Lock()


class MaildirError(StorageError):
    """A delivery failed and nothing was delivered. `path` names the file or directory, `errno` the cause."""


class MaildirFull(MaildirError):
    """No room: the disk is full, or the quota or file size limit of the user is reached."""


class MaildirDenied(MaildirError):
    """The directory may not be read, written or made by us, or the file system is read-only."""


_KINDS = MaildirError, MaildirFull, MaildirDenied


class FolderNameRefused(MailfilterError, ValueError):
    """A name that cannot be a Maildir++ folder. `folder` is the name."""

    def __init__(self, folder, reason):
        super().__init__(f"folder name {folder!r}: {reason}")
        self.folder = folder


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a message lies: `path` of the file in new/, and its `size_bytes` there."""

    path: str
    size_bytes: int

    @property
    def name(self):
        """The name of the file."""
        return os.path.basename(self.path)


class Maildir:
    """The Maildir at `path` (str), made with mode 0700 when the first message comes.

    Only its own last directory is made, not those above it: a mistyped path or a disk that is not mounted
    is an error and not a new tree.

    `line_ends` is "lf" (default) or "crlf". Maildirs are local Unix files: qmail, Postfix and Dovecot store
    LF, and so does this, which is the only thing that changes in a message. "crlf" keeps the message octet
    for octet, for readers that compare it with what was sent.
    """

    def __init__(self, path, *, line_ends="lf", hostname=None, now=time.time):
        if line_ends not in ("lf", "crlf"):
            raise ValueError('line_ends is "lf" or "crlf"')
        self.path = os.fspath(path)
        self.line_ends = line_ends
        self._host = _host_part(hostname if hostname is not None else socket.gethostname())
        self._now = now

    def deliver(self, chunks, *, folder=None):
        """Write a message and return `Delivered` when it is on the disk.

        `chunks` yields the message un-stuffed, lines ending with CR LF; a line end may lie between two chunks.
        `folder` is None or "INBOX" for the Maildir itself, or a folder name as `folder_directory` takes it.

        Raises MaildirFull, MaildirDenied, MaildirError, FolderNameRefused; an exception from `chunks` passes
        through. After any of them there is no new message and nothing in tmp/. The one case where that
        cannot be promised is an error of the last step, syncing new/: the message may then be there although
        MaildirError says that it is not safe, as a client that tries again may find it twice.
        """
        base = self._base(folder)
        try:
            self._clean(base)
            return self._deliver(base, chunks)
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error

    def folder_directory(self, folder):
        """The directory of a folder: "Junk" is `.Junk`, "Archive.2026" is `.Archive.2026` (Maildir++).

        The name is text; what is not printable ASCII is written in the modified UTF-7 of RFC 3501 §5.1.3, as
        IMAP servers do. Refused (FolderNameRefused): empty names or levels, "/", control characters, and
        names over FOLDER_BYTES.
        """
        if not isinstance(folder, str):
            raise FolderNameRefused(folder, "it is not text")
        if any(level == "" for level in folder.split(".")):
            raise FolderNameRefused(folder, "a level of it is empty")
        if "/" in folder:
            raise FolderNameRefused(folder, "it contains a slash")
        if any(char < " " or "\x7f" <= char < "\xa0" or "\ud800" <= char <= "\udfff" for char in folder):
            raise FolderNameRefused(folder, "it contains a control character")
        name = "." + _modified_utf7(folder)
        if len(name) > FOLDER_BYTES:
            raise FolderNameRefused(folder, f"it is longer than {FOLDER_BYTES} octets")
        return os.path.join(self.path, name)

    def create(self, folder=None):
        """Make the directories if they are missing, durably. Raises as `deliver`."""
        try:
            self._create(self._base(folder))
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error

    def _base(self, folder):
        if folder is None or (isinstance(folder, str) and folder.upper() == "INBOX"):
            return self.path
        return self.folder_directory(folder)

    def _deliver(self, base, chunks):
        fd, unique, temporary = self._open_temporary(base)
        try:
            try:
                size, lines = self._write(fd, chunks, temporary)
                with step(temporary):
                    os.fsync(fd)
            finally:
                os.close(fd)
            # S= is the size of the file and W= its size with CR LF: quota and IMAP code need not open it.
            wire = size + lines if self.line_ends == "lf" else size
            path = os.path.join(base, "new", f"{unique},S={size},W={wire}")
            with step(path):
                link(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        with contextlib.suppress(OSError):  # a second name of a delivered message; the cleaning gets it
            os.unlink(temporary)
        sync_directory(os.path.join(base, "new"))
        return Delivered(path, size)

    def _open_temporary(self, base):
        created = False
        for _ in range(NAME_ATTEMPTS):
            unique = self._unique_name()
            temporary = os.path.join(base, "tmp", unique)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                return os.open(temporary, flags, 0o600), unique, temporary
            except FileExistsError:
                continue
            except FileNotFoundError as error:
                if created:
                    raise StepFailed(temporary, error) from None
                created = True
                self._create(base)
            except OSError as error:
                raise StepFailed(temporary, error) from None
        raise StepFailed(temporary, FileExistsError(errno.EEXIST, "no unique name was found"))

    def _write(self, fd, chunks, path):
        """Write everything; return the octets written and the number of line ends among them."""
        size = lines = 0
        held, held_bytes = [], 0
        for chunk in (chunks if self.line_ends == "crlf" else _with_lf(chunks)):
            held.append(chunk)
            held_bytes += len(chunk)
            if self.line_ends == "lf":
                lines += chunk.count(b"\n")
            if held_bytes >= WRITE_BYTES:
                with step(path):
                    write_all(fd, b"".join(held))
                size += held_bytes
                held, held_bytes = [], 0
        if held_bytes:
            with step(path):
                write_all(fd, b"".join(held))
            size += held_bytes
        return size, lines

    def _create(self, base):
        if base != self.path:
            self._create(self.path)
        made = make_directory(base)
        for name in ("tmp", "new", "cur"):
            make_directory(os.path.join(base, name))
        if base != self.path:
            marker = os.path.join(base, "maildirfolder")  # how Maildir++ tells a folder from a Maildir
            with step(marker):
                os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        sync_directory(base)
        if made:
            try:
                sync_directory(os.path.dirname(os.path.abspath(base)))
            except StepFailed as failed:
                # One may be allowed to make a directory where one is not allowed to read.
                if not isinstance(failed.error, PermissionError):
                    raise

    def _unique_name(self):
        now = self._now()
        seconds = int(now)
        micros = int((now - seconds) * 1_000_000)
        return (f"{seconds}.M{micros}P{os.getpid()}Q{next(_counter)}"
                f"R{secrets.token_hex(4)}.{self._host}")

    def _clean(self, base):
        now = self._now()
        with _cleaned_lock:
            if len(_cleaned) >= FOLDERS_REMEMBERED:
                _cleaned.clear()
            if now - _cleaned.get(base, float("-inf")) < CLEAN_EVERY_S:
                return
            _cleaned[base] = now
        clean_temporary(os.path.join(base, "tmp"), now)


def clean_temporary(directory, now):
    """Remove the files of a tmp/ directory that nobody has read or written for STALE_S. Returns how many.

    It is housekeeping: what cannot be looked at or removed is left where it is.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and now - max(found.st_atime, found.st_mtime) > STALE_S:
                    os.unlink(entry.path)
                    removed += 1
    return removed


def _with_lf(chunks):
    """CR LF becomes LF. A CR at the end of a chunk waits for what follows it."""
    carried = b""
    for chunk in chunks:
        if carried:
            chunk = carried + chunk
            carried = b""
        if chunk.endswith(b"\r"):
            carried = b"\r"
            chunk = chunk[:-1]
        if chunk:
            yield chunk.replace(b"\r\n", b"\n")
    if carried:
        yield carried


def _host_part(hostname):
    """The host's name as file names may have it: "/" and ":" as the Maildir convention writes them."""
    safe = "".join(char if "!" <= char <= "~" else "_" for char in hostname)
    return safe.replace("/", "\\057").replace(":", "\\072").replace(",", "_")[:64] or "localhost"


def _modified_utf7(text):
    out, run = [], []
    for char in text + "\0":  # the NUL ends the last run and is taken off again
        if " " <= char <= "~" or char == "\0":
            if run:
                coded = base64.b64encode("".join(run).encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
                out.append(f"&{coded.decode('ascii')}-")
                run = []
            out.append("&-" if char == "&" else char)
        else:
            run.append(char)
    return "".join(out[:-1])
