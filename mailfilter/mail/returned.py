"""A message that a scanner gives back, in pieces: its header section and its body, with line ends as they should be.

Must not know: which scanner.
"""
from mailfilter._core.header import split_header
from mailfilter.errors import ServiceProtocolError
from mailfilter.mail.spool import Spool

__all__ = ["Returned"]

HEADER_OCTETS = 1 << 20
"""The largest header section."""


class Returned:
    """take() pieces, then finish(): `fields` and `body` (a finished Spool).

    Lines end with CR LF, whatever they ended with. Like: the body this one takes the place of, for where it is kept.
    """

    def __init__(self, like):
        self.fields = None
        self.body = Spool(like.memory_bytes, like.directory, plain=True)
        self._kept = b""
        self._head = []
        self._size = 0

    def take(self, piece):
        """The next octets. Raises OSError when the body cannot be stored."""
        piece = self._kept + piece
        self._kept = b""
        if piece.endswith(b"\r"):
            piece, self._kept = piece[:-1], b"\r"
        self._add(piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n"))

    def _add(self, lines):
        if self.fields is not None:
            if lines:
                self.body.write(lines)
            return
        self._head.append(lines)
        self._size += len(lines)
        # An end that lies across two pieces is found, too.
        head = b"".join(self._head[-2:]) if len(self._head) > 1 else lines
        if b"\r\n\r\n" not in head and not (len(self._head) == 1 and head.startswith(b"\r\n")):
            if self._size > HEADER_OCTETS:
                raise ServiceProtocolError("a message came back whose header has no end")
            if len(self._head) > 1 and len(self._head[-1]) < 4:
                self._head[-2:] = [head]
            return
        head = b"".join(self._head)
        if head.startswith(b"\r\n"):
            section, body = b"", head[2:]
        else:
            section, _, body = head.partition(b"\r\n\r\n")
            section += b"\r\n"
        self.fields = split_header(section)
        self._head = []
        if body:
            self.body.write(body)

    def finish(self):
        """The message is complete."""
        if self._kept:
            self._kept = b""
            self._add(b"\r\n")
        if self.fields is None:
            head = b"".join(self._head)
            self.fields = split_header(head if not head or head.endswith(b"\r\n") else head + b"\r\n")
        self.body.finish(self.body.stored_bytes)

    def close(self):
        """It is not wanted."""
        self.body.close()
