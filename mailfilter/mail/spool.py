"""The body of one message: written once as it arrives, read any number of times.

The body is kept as it came on the wire, because an unchanged body is relayed far more often than it is read: sending
it on is then a copy. By DATA it comes dot-stuffed (RFC 5321 §4.5.2), by BDAT plain (RFC 3030); each reader gets the form
that it asks for, made on the way where it is not the form that is kept. Up to a limit it lives in memory; so does more of it
while there is room in what the bodies of a worker share (mail/room.py); after that it is in a temporary file that has no name
from the start, so that nothing is left behind whatever is killed. Writing is to the page cache and never synced: a body is
worth nothing once its session is gone.

Compiled: spool.pxd. This file must not know headers, transactions, sessions or loops. What goes wrong is the OSError of the
operating system, and the caller turns it into a reply (452 4.3.1).
"""
import errno
import os
import tempfile
from bisect import bisect_right
from itertools import accumulate

from mailfilter import metrics
from mailfilter._core.data import Stuffer, Unstuffer, stuff, unstuff
from mailfilter.errors import MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.mail.room import Share

_TO_A_FILE = metrics.slot("limits_total", "spool_memory_bytes")

MEMORY_BYTES = 262144
"""Default for how much of one body is kept in memory before it moves to a file."""

READ_BYTES = 262144
"""Default size of one read from the file: four times as many of a quarter cost a fifth more CPU for the whole message."""

WRITE_BYTES = 65536
"""How much is gathered before one write to the file."""

# A peer that sends a few octets per segment must not make us keep an object of forty octets for each of
# them: after the first FEW chunks, those shorter than SMALL_BYTES are gathered into pieces of PIECE_BYTES.
_FEW = 8
_SMALL_BYTES = 2048
_PIECE_BYTES = 16384

_IOV_MAX = os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16


class BinaryBody(MailfilterError):
    """A body that came as BINARYMIME cannot go by DATA: only BDAT carries octets that are no lines (RFC 3030 §3)."""

    def __init__(self):
        super().__init__("a binary body can only be sent by BDAT")


class Spool:
    """One body. `write` chunks, `finish` once, read as often as needed, `close`.

    `memory_bytes` is how much is kept in memory in any case, `room` where more of it may have a share (None: nowhere),
    `directory` where the temporary file goes (None: the system's temporary directory). `plain`: what is written has no dots of
    the sender's. `binary`: it is plain, and may hold any octets, bare CR and LF among them. `stored_bytes` counts what was
    written, `body_bytes` is the un-stuffed size that `finish` was told.

    A spool may be read by several readers at a time and from any thread. `close` does not disturb a
    reader that has begun; the file goes when the last of them has ended.
    """

    __slots__ = ("memory_bytes", "directory", "room", "plain", "binary", "stored_bytes", "body_bytes", "finished", "closed",
                 "_chunks", "_held", "_hold_bytes", "_file", "_places", "_share")

    def __init__(self, memory_bytes=MEMORY_BYTES, directory=None, plain=False, room=None):
        self.memory_bytes = memory_bytes
        self.directory = directory
        self.room = room
        self.plain = plain
        self.binary = False
        self.stored_bytes = 0
        self.body_bytes = 0
        self.finished = False
        self.closed = False
        self._chunks = []
        self._held = 0
        self._hold_bytes = memory_bytes
        self._file = None
        self._share = None          # of the room
        self._places = None         # where each chunk begins, once somebody wants to know

    @classmethod
    def of_text(cls, text):
        """A finished spool with a body that a policy made of `text` (bytes or str).

        CR LF, lone CR and lone LF all end a line and become CR LF; a last line without an end gets one;
        leading dots are doubled. Text without a single octet is the empty body. The policy's text is in
        memory already, so the spool keeps it there whatever its size.
        """
        text = octets(text)
        if b"\r" in text or b"\n" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if text and not text.endswith(b"\n"):
            text += b"\r\n"
        wire = stuff(text)
        spool = cls(memory_bytes=len(wire))
        if wire:
            spool.write(wire)
        spool.finish(len(text))
        return spool

    def write(self, chunk):
        """Append a chunk (bytes, in wire form or plain, as the spool was made).

        Raises OSError when the temporary file cannot be made or written; the spool is closed by that,
        and what it held is gone.
        """
        if self.finished or self.closed:
            raise ValueError("the spool takes no more")
        size = len(chunk)
        chunks = self._chunks
        if size < _SMALL_BYTES and len(chunks) >= _FEW:
            self._gather(chunk)
        else:
            if chunks and type(chunks[-1]) is bytearray:
                chunks[-1] = bytes(chunks[-1])
            chunks.append(chunk)
        self.stored_bytes += size
        self._held += size
        if self._held > self._hold_bytes and not self._may_stay():
            self._spill()

    def finish(self, body_bytes, binary=False):
        """The body is complete; it has `body_bytes` octets when un-stuffed. Raises OSError as `write`."""
        if self.finished or self.closed:
            raise ValueError("the spool takes no more")
        if self._file is not None and self._held:
            self._spill()
        elif self._chunks and type(self._chunks[-1]) is bytearray:
            self._chunks[-1] = bytes(self._chunks[-1])
        self.body_bytes = body_bytes
        self.binary = binary
        self.finished = True

    def close(self):
        """Let go of memory and file. May be called in any state and more than once."""
        self.closed = True
        self._chunks = []
        self._held = 0
        self._file = self._share = None

    @property
    def in_memory(self):
        """True when no part of the body is in a file."""
        return self._file is None

    def wire_chunks(self, size=READ_BYTES):
        """Iterate over the body in wire form (dot-stuffed, without the final dot line). It is empty or ends with CR LF.

        What is in memory comes in the chunks it was written in, what is in the file in chunks of `size`
        octets. Raises OSError when the file cannot be read, BinaryBody when there is no such form.
        """
        self._check_readable()
        if self.binary:
            raise BinaryBody()
        chunks = self._stored(size)
        return stuffed(chunks) if self.plain else chunks

    def chunks(self, size=READ_BYTES):
        """Iterate over the body as it is meant, un-stuffed. Otherwise as `wire_chunks`."""
        self._check_readable()
        # Stuffing only ever adds octets: equal sizes mean that there is nothing to take away.
        if self.plain or self.body_bytes == self.stored_bytes:
            return self._stored(size)
        if self._file is None and self.stored_bytes <= READ_BYTES:
            return iter((unstuff(b"".join(self._chunks)),))
        return _unstuffed(self._stored(size))

    def stored_chunks(self, size=READ_BYTES):
        """Iterate over the body as it is kept: plain, or dot-stuffed, as `plain` says. Otherwise as `wire_chunks`."""
        self._check_readable()
        return self._stored(size)

    def stored_stretch(self, start, end, size=READ_BYTES):
        """Iterate over the octets from `start` to `end` as they are kept, without reading what is before them."""
        self._check_readable()
        end = min(end, self.stored_bytes)
        if self._file is not None:
            yield from self._file.read_chunks(end, size, start)
            return
        if self._places is None:
            self._places = [0, *accumulate(map(len, self._chunks))]
        number = bisect_right(self._places, start) - 1
        while start < end:
            chunk, at = self._chunks[number], self._places[number]
            part = chunk[start - at:min(end - at, start - at + size)]
            yield part
            start += len(part)
            if start >= at + len(chunk):
                number += 1

    def stretch(self, start, end, size=READ_BYTES):
        """The same, un-stuffed; `start` is where a line begins."""
        chunks = self.stored_stretch(start, end, size)
        return chunks if self.plain or self.body_bytes == self.stored_bytes else _unstuffed(chunks)

    @property
    def wire_bytes(self):
        """How many octets `wire_chunks` gives. Where the body is kept in its plain form, it is read for that."""
        return sum(map(len, self.wire_chunks())) if self.plain and self.finished else self.stored_bytes

    def _stored(self, size):
        if self._file is not None:
            return self._file.read_chunks(self.stored_bytes, size)
        return iter(self._chunks) if self._share is None else _shared(self._chunks, self._share)

    def _may_stay(self):
        """Whether there is room for what is in memory now."""
        if self._file is not None or self.room is None:
            return False
        if self._share is None:
            self._share = Share(self.room)
        if not self._share.grow(self._held):
            return False
        self._hold_bytes = self._share.octets
        return True

    def _check_readable(self):
        if not self.finished or self.closed:
            raise ValueError("the spool is closed" if self.closed else "the spool is not finished")

    def _gather(self, chunk):
        piece = self._chunks[-1]
        if type(piece) is not bytearray:
            self._chunks.append(bytearray(chunk))
            return
        piece += chunk
        if len(piece) >= _PIECE_BYTES:
            self._chunks[-1] = bytes(piece)

    def _spill(self):
        try:
            if self._file is None:
                metrics.count(_TO_A_FILE)
                self._file = _NamelessFile(self.directory)
            self._file.write(self._chunks)
        except OSError:
            if self._file is not None:  # nobody reads it yet, and the traceback would keep it open
                self._file.close()
            self.close()
            raise
        self._chunks = []
        self._held = 0
        self._hold_bytes = WRITE_BYTES
        self._share = None


def _shared(chunks, share):
    """The chunks. Who reads them has the share, too: what is in use is not given to others."""
    if share is not None:
        yield from chunks


def stuffed(chunks):
    """Iterate over un-stuffed octets in wire form, with a line end behind the last line."""
    stuffer = Stuffer()
    for chunk in chunks:
        yield stuffer.feed(chunk)
    if not stuffer.line_start:
        # By BDAT a last line may come without its end; by DATA it cannot leave like that.
        yield b"\r\n"


def _unstuffed(chunks):
    unstuffer = Unstuffer()
    for chunk in chunks:
        chunk = unstuffer.feed(chunk)
        if chunk:
            yield chunk


class _NamelessFile:
    """A temporary file without a name. Its descriptor lives exactly as long as this object.

    Readers hold the object, so that a descriptor is never closed (and its number given to another file)
    while somebody reads from it.
    """

    __slots__ = ("_fd",)

    def __init__(self, directory):
        self._fd = -1
        self._fd = _open_nameless(directory if directory is not None else tempfile.gettempdir())

    def __del__(self):
        self.close()

    def close(self):
        """For the writer alone; readers just let go of the object."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def write(self, buffers):
        for start in range(0, len(buffers), _IOV_MAX):
            batch = buffers[start:start + _IOV_MAX]
            size = sum(map(len, batch))
            written = os.writev(self._fd, batch)
            while written < size:  # rare: a signal or a nearly full disk
                rest = b"".join(batch)[written:]
                written += os.write(self._fd, rest)

    def read_chunks(self, length, size, position=0):
        while position < length:
            chunk = os.pread(self._fd, min(size, length - position), position)
            if not chunk:
                raise OSError(errno.EIO, "the spool file is shorter than what was written to it")
            position += len(chunk)
            yield chunk


def _open_nameless(directory):
    flags = os.O_RDWR | os.O_CLOEXEC
    tmpfile = getattr(os, "O_TMPFILE", None)
    if tmpfile is not None:
        try:
            return os.open(directory, flags | tmpfile | os.O_EXCL, 0o600)
        except OSError as error:
            # Not every file system can do it, and each says so in its own way.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
    fd, name = tempfile.mkstemp(prefix="mailfilter-", dir=directory)
    try:
        os.unlink(name)
    except OSError:
        os.close(fd)
        raise
    return fd
