"""Messages that are held back: once `hold` has returned, the message and its envelope survive a power cut.

One file for each message, `ID.mail` in the directory: a line of JSON with the envelope and why it is held, and behind it the
message octet for octet. It is written under another name into tmp/, synced, and linked to its own; it never changes. Which
recipients have got a message that is being released is in `ID.done`, which grows by a line for each of them. `usage` has the
number of messages and their octets, so that nobody has to look at all of them to know whether there is room; where it is wrong
it says too much, and the directory is looked at before anything is refused.

Everything here blocks and belongs on a thread. Many threads and processes may use a directory at a time. Must not know: SMTP,
the loop, policies, where a message goes when it is released.
"""
import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
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
from mailfilter.services.maildir import WRITE_BYTES, clean_temporary

__all__ = ["ENVELOPE_BYTES", "Entry", "NoSuchMessage", "Quarantine", "QuarantineBusy", "QuarantineDenied", "QuarantineError",
           "QuarantineFull"]

ENVELOPE_BYTES = 8 << 20
"""The longest envelope, in octets of JSON."""

COUNT_AGAIN_S = 10
"""A directory that seems to be full is counted again when the last time was so many seconds ago."""

EXPIRE_EVERY_S = 3600
"""How often, in seconds, one process looks for messages that are too old, and counts everything again."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"      # no letters that are taken for others
_LETTERS = 10
_ID = re.compile(f"[{_ALPHABET}]{{1,{_LETTERS}}}")

_looked_at = {}
_looked_at_lock = threading.Lock()


class QuarantineError(StorageError):
    """A message could not be held or removed. `path` names the file or directory, `errno` the cause."""


class QuarantineFull(QuarantineError):
    """No room: a limit of the quarantine, the disk, the quota or the file size limit of the user is reached.

    `limit` is the name of the limit, None where it is the system's.
    """

    limit = None


class QuarantineDenied(QuarantineError):
    """The directory may not be read, written or made by us, or the file system is read-only."""


class QuarantineBusy(MailfilterError):
    """Another process is releasing or deleting this message."""


class NoSuchMessage(MailfilterError):
    """No message, or more than one, has an identifier that begins like this."""


_KINDS = QuarantineError, QuarantineFull, QuarantineDenied


@dataclass(frozen=True, slots=True)
class Entry:
    """A held message.

    id: what it is called. envelope: the dict that `hold` was given, and `id`, `time` (ISO 8601) and `size` (octets of the
    message); where the file cannot be read, only id and time. problem: why it cannot be read, or None.
    """

    id: str
    envelope: dict
    problem: str | None = None


class Quarantine:
    """The quarantine in the directory `path`, made with mode 0700 when the first message comes. Only its own last directory is
    made: a mistyped path or a disk that is not mounted is an error and not a new tree.

    expired: what the last `hold` has removed because it was too old.
    """

    def __init__(self, path, *, now=time.time):
        self.path = os.fspath(path)
        self.expired = []
        self._now = now

    # Holding.

    def hold(self, envelope, chunks, size, *, most_bytes=0, most_messages=0, days=0):
        """Write a message and return its identifier when it is on the disk.

        envelope: a dict that JSON can have. chunks: yields the message un-stuffed; size: how many octets that are.
        most_bytes, most_messages: how much the directory may hold, 0 for any amount. days: messages that are older are
        removed now and then, 0 for never.

        Raises QuarantineFull, QuarantineDenied, QuarantineError; an exception from `chunks` passes through. After any of
        them nothing is held, save where the last step fails, syncing the directory: then the message may be held although
        QuarantineError says that this is not safe.
        """
        try:
            self._create()
            self._look_after(days)
            identifier = self._new_id()
            head = json.dumps({"id": identifier, "time": _iso(self._now()), **envelope, "size": size}).encode() + b"\n"
            if len(head) > ENVELOPE_BYTES:
                raise QuarantineError(f"an envelope of {len(head)} octets is too long; the limit is {ENVELOPE_BYTES}",
                                      self.path, errno.EMSGSIZE)
            whole = len(head) + size
            self._reserve(whole, most_bytes, most_messages)
            try:
                self._write(identifier, head, chunks, whole)
            except BaseException:
                with contextlib.suppress(OSError, StepFailed):
                    self._count(-whole, -1)
                raise
            sync_directory(self.path)
            return identifier
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error

    def _create(self):
        made = make_directory(self.path)
        if make_directory(os.path.join(self.path, "tmp")):
            sync_directory(self.path)
        if made:
            with contextlib.suppress(StepFailed):       # one may be allowed to make it where one may not read
                sync_directory(os.path.dirname(os.path.abspath(self.path)))

    def _new_id(self):
        while True:
            number = secrets.randbits(5 * _LETTERS)
            identifier = "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_LETTERS))
            if not os.path.lexists(self._mail(identifier)):
                return identifier

    def _write(self, identifier, head, chunks, whole):
        # The name says how much room it is going to take.
        temporary = os.path.join(self.path, "tmp", f"{identifier}.{whole}")
        with step(temporary):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                held, held_bytes, written = [head], len(head), 0
                for chunk in chunks:
                    held.append(chunk)
                    held_bytes += len(chunk)
                    if held_bytes >= WRITE_BYTES:
                        with step(temporary):
                            write_all(fd, b"".join(held))
                        written += held_bytes
                        held, held_bytes = [], 0
                with step(temporary):
                    write_all(fd, b"".join(held))
                    if written + held_bytes != whole:
                        raise OSError(errno.EIO, "the message is not as long as it was said to be")
                    os.fsync(fd)
            finally:
                os.close(fd)
            with step(self._mail(identifier)):
                link(temporary, self._mail(identifier))
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    # How much there is.

    def _reserve(self, size, most_bytes, most_messages):
        """Count a message in, or QuarantineFull."""
        with self._usage() as fd:
            octets, messages, counted = _read_usage(fd)
            now = self._now()
            for again in (True, False):
                limit = None
                if 0 < most_bytes < octets + size:
                    limit, most, there = "quarantine_bytes", most_bytes, f"{octets} octets"
                elif 0 < most_messages < messages + 1:
                    limit, most, there = "quarantine_messages", most_messages, f"{messages} messages"
                if again and (counted < 0 or limit and not 0 <= now - counted < COUNT_AGAIN_S):
                    octets, messages = self._counted()
                    counted = now
                elif limit:
                    _write_usage(fd, octets, messages, counted)
                    error = QuarantineFull(f"{self.path}: the limit {limit} of {most} is reached, there are {there}",
                                           self.path, errno.ENOSPC)
                    error.limit = limit
                    raise error
                else:
                    break
            _write_usage(fd, octets + size, messages + 1, counted)

    def _count(self, octets, messages):
        with self._usage() as fd:
            known = _read_usage(fd)
            if known[2] >= 0:
                _write_usage(fd, known[0] + octets, known[1] + messages, known[2])

    @contextlib.contextmanager
    def _usage(self):
        """The descriptor of `usage`, for us alone."""
        path = os.path.join(self.path, "usage")
        with step(path):
            fd = self._open_ours(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _open_ours(self, path):
        """Open a file for reading and appending that belongs, like the directory, to whoever serves."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        if os.geteuid() == 0:
            owner = os.stat(self.path)
            if os.fstat(fd).st_uid != owner.st_uid:
                os.fchown(fd, owner.st_uid, owner.st_gid)
        return fd

    def _counted(self):
        """(octets, messages) as they are in the directory, with those that are being written."""
        octets = messages = 0
        with step(self.path):
            for entry in os.scandir(self.path):
                if entry.name.endswith(".mail"):
                    with contextlib.suppress(FileNotFoundError):
                        octets += entry.stat(follow_symlinks=False).st_size
                        messages += 1
            for entry in os.scandir(os.path.join(self.path, "tmp")):
                size = entry.name.rpartition(".")[2]
                if size.isdecimal() and not os.path.lexists(self._mail(entry.name.partition(".")[0])):
                    octets += int(size)
                    messages += 1
        return octets, messages

    def _look_after(self, days):
        """Now and then: remove what is too old, what writers left that died, and count anew."""
        now = self._now()
        with _looked_at_lock:
            if 0 <= now - _looked_at.get(self.path, float("-inf")) < EXPIRE_EVERY_S:
                return
            if len(_looked_at) > 100:
                _looked_at.clear()
            _looked_at[self.path] = now
        clean_temporary(os.path.join(self.path, "tmp"), now)
        if days:
            self.expired = self.expire(now - days * 86400)
        self._recount()

    def _recount(self):
        with self._usage() as fd:
            octets, messages = self._counted()
            _write_usage(fd, octets, messages, self._now())

    # What is held.

    def entries(self):
        """All messages, the oldest first. QuarantineError when the directory cannot be read."""
        found = []
        try:
            with step(self.path):
                for name in os.listdir(self.path):
                    identifier, dot, rest = name.partition(".")
                    if rest == "mail" and dot:
                        with contextlib.suppress(FileNotFoundError):        # removed meanwhile
                            found.append(self.entry(identifier))
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error
        return sorted(found, key=lambda entry: (entry.envelope["time"], entry.id))

    def entry(self, identifier):
        """The Entry of a message; FileNotFoundError when there is none."""
        try:
            file = _opened(self._mail(identifier))
        except FileNotFoundError:
            raise
        except OSError as error:
            return Entry(identifier, {"time": ""}, error.strerror)
        with file:
            return _entry(identifier, file)

    def find(self, beginning):
        """The identifier that begins like this; NoSuchMessage when there is none, or more than one."""
        text = beginning.lower()
        if not _ID.fullmatch(text):
            raise NoSuchMessage(f"{beginning!r} is no identifier of a message")
        try:
            with step(self.path):
                found = sorted(name[:-5] for name in os.listdir(self.path) if name.startswith(text) and name.endswith(".mail"))
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error
        if not found:
            raise NoSuchMessage(f"no message {beginning!r} is held")
        if len(found) > 1:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise NoSuchMessage(f"{beginning!r} may be {', '.join(found[:5])}{more}")
        return found[0]

    @contextlib.contextmanager
    def read(self, identifier):
        """The `Held` message, for reading alone; NoSuchMessage, QuarantineError."""
        with self._open(identifier) as file:
            yield Held(self, identifier, file)

    def _open(self, identifier):
        path = self._mail(identifier)
        try:
            return _opened(path)
        except FileNotFoundError:
            raise NoSuchMessage(f"no message {identifier!r} is held") from None
        except OSError as error:
            raise typed(StepFailed(path, error), _KINDS) from error

    def done(self, identifier):
        """{recipient: reply} of those who have a message already that is not released to all."""
        found = {}
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.path, identifier + ".done"), "rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):       # one that a killed process has not ended
                    recipient, reply = json.loads(line)
                    found[recipient] = reply
        return found

    @contextlib.contextmanager
    def taken(self, identifier):
        """The `Held` message for us alone: NoSuchMessage when it is gone, QuarantineBusy when somebody else has it."""
        path = self._mail(identifier)
        with self._open(identifier) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QuarantineBusy(f"{identifier}: another process is releasing or deleting it") from None
            # Whoever had the lock before may have removed it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                    yield Held(self, identifier, file)
                    return
            raise NoSuchMessage(f"no message {identifier!r} is held")

    def expire(self, before):
        """Remove the messages that came before this time (seconds since 1970); their identifiers. What somebody is releasing,
        or what cannot be removed, stays."""
        gone = []
        with contextlib.suppress(OSError):
            names = [entry.name for entry in os.scandir(self.path) if entry.name.endswith(".mail")
                     and _modified(entry) < before]
            for name in names:
                with contextlib.suppress(QuarantineBusy, NoSuchMessage, QuarantineError), self.taken(name[:-5]) as held:
                    held.remove()
                    gone.append(name[:-5])
        return gone

    def older(self, before):
        """The identifiers that `expire` would remove."""
        try:
            with step(self.path):
                return [entry.name[:-5] for entry in os.scandir(self.path) if entry.name.endswith(".mail")
                        and _modified(entry) < before]
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error

    def _mail(self, identifier):
        return os.path.join(self.path, identifier + ".mail")


class Held:
    """A message that `Quarantine.taken` has given to us alone. `entry` is its Entry, `id` what it is called."""

    def __init__(self, quarantine, identifier, file):
        self.id = identifier
        self._quarantine = quarantine
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._done = os.path.join(quarantine.path, identifier + ".done")
        self.entry = _entry(identifier, file)
        self._message_at = file.tell()

    @property
    def size(self):
        """Octets of the message."""
        return self._size - self._message_at

    def chunks(self, size=65536):
        """The message, un-stuffed. OSError when it cannot be read, or is not as long as it was."""
        at, fd = self._message_at, self._file.fileno()
        while at < self._size:
            chunk = os.pread(fd, min(size, self._size - at), at)
            if not chunk:
                raise OSError(errno.EIO, "the file is shorter than it was")
            at += len(chunk)
            yield chunk

    def done(self):
        """{recipient: reply} of those who have it already."""
        return self._quarantine.done(self.id)

    def note(self, recipients):
        """Remember that these have it, {recipient: reply}; it is on the disk when this returns. QuarantineError."""
        try:
            with step(self._done):
                fd = self._quarantine._open_ours(self._done)
                try:
                    end = os.lseek(fd, 0, os.SEEK_END)
                    torn = end and os.pread(fd, 1, end - 1) != b"\n"
                    lines = "".join(json.dumps(pair) + "\n" for pair in recipients.items())
                    write_all(fd, (b"\n" if torn else b"") + lines.encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
            sync_directory(self._quarantine.path)
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error

    def remove(self):
        """Remove the message for good. QuarantineError."""
        path = self._quarantine._mail(self.id)
        try:
            with step(path):
                os.unlink(path)
            with step(self._done), contextlib.suppress(FileNotFoundError):
                os.unlink(self._done)
            sync_directory(self._quarantine.path)
            self._quarantine._count(-self._size, -1)
        except StepFailed as failed:
            raise typed(failed, _KINDS) from failed.error


def _opened(path):
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _entry(identifier, file):
    """The Entry of an open file, which stands behind the envelope then."""
    found = os.fstat(file.fileno())
    line = file.readline(ENVELOPE_BYTES + 1)
    try:
        envelope = json.loads(line)
        if not isinstance(envelope, dict) or not line.endswith(b"\n") or not isinstance(envelope.get("time"), str):
            raise ValueError
        if file.tell() + int(envelope["size"]) != found.st_size:
            return Entry(identifier, envelope, "the file is not as long as it was")
    except (ValueError, KeyError, TypeError):
        return Entry(identifier, {"time": _iso(found.st_mtime)}, "the file has no envelope")
    return Entry(identifier, envelope)


def _iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


def _modified(entry):
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return float("inf")


def _read_usage(fd):
    """(octets, messages, when they were counted); the last is below 0 where nothing is known."""
    try:
        octets, messages, counted = os.pread(fd, 200, 0).split()
        return max(int(octets), 0), max(int(messages), 0), float(counted)
    except (ValueError, OSError):
        return 0, 0, -1.0


def _write_usage(fd, octets, messages, counted):
    with contextlib.suppress(OSError):          # then it is counted again
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{max(octets, 0)} {max(messages, 0)} {counted:.3f}\n".encode(), 0)
