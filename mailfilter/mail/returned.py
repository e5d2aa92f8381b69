"""A message that a scanner gives back, in pieces: its header section and its body, with line ends as they should be.

Must not know: which scanner.
"""
from mailfilter._core.header import split_header
from mailfilter.errors import ServiceProtocolError
from mailfilter.mail.spool import Spool

__all__ = ["Returned"]

HEADER_OCTETS = 1 << 20
"""The largest header section."""

_END = b"\r\n\r\n"


class Returned:
    """take() pieces, then finish(): `fields` and `body` (a finished Spool).

    Lines end with CR LF, whatever they ended with. Like: the body this one takes the place of, for where it is kept.
    As a context it is closed by an exception, and by nothing else.
    """

    def __init__(self, like):
        self.fields = None
        self.body = Spool(like.memory_bytes, like.directory, plain=True, room=like.room)
        self._kept = b""
        self._head = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is not None:
            self.close()

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
        head = self._head
        # An end that lies across pieces is found, too; what was looked at once is not looked at again.
        looked_at = max(len(head) - len(_END) + 1, 0)
        head += lines
        if head.startswith(b"\r\n"):
            size = rest = 0
        else:
            size = head.find(_END, looked_at)
            if size < 0:
                if len(head) > HEADER_OCTETS:
                    raise ServiceProtocolError("a message came back whose header has no end")
                return
            rest = size + 2
        self._begin(bytes(head[:rest]))
        body = bytes(head[rest + 2:])
        if body:
            self.body.write(body)

    def _begin(self, section):
        if len(section) > HEADER_OCTETS:
            raise ServiceProtocolError("a message came back whose header has no end")
        self.fields = split_header(section)
        self._head = None

    def finish(self):
        """The message is complete."""
        if self._kept:
            self._kept = b""
            self._add(b"\r\n")
        if self.fields is None:
            head = bytes(self._head)
            self._begin(head if not head or head.endswith(b"\r\n") else head + b"\r\n")
        self.body.finish(self.body.stored_bytes)

    def close(self):
        """It is not wanted."""
        self.body.close()
