"""A next hop that takes everything for the end of a message that any server might take for it.

It is what a careful proxy must be safe in front of: lines end with any mix of CR, LF and NUL; a lone dot may have blanks
or NULs around it, and is a lone dot whatever follows a NUL (as for a server that reads lines as C strings). Commands end
in the same ways. `ends` says where it sees the end, so that a test can ask without a connection.

BDAT (RFC 3030) is offered when asked for; there the count says where a message ends, and leniency ends with it. Whatever
else is offered is agreed to: any AUTH after one challenge, any XCLIENT and XFORWARD.
"""
import re
import socket
import threading
from dataclasses import dataclass, field

# A line that is a dot to somebody: NULs dropped, blanks behind it trimmed, or cut off at a NUL.
_END = re.compile(rb"(?:^|[\r\n])\0*\.(?:[\0\t\v\f ]*|\0[^\r\n]*)[\r\n]+")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|[\r\n])")


def ends(data):
    """The (start, end) of the first thing in data that might be the end of a message; None. Data begins a line."""
    found = _END.search(data)
    return found and found.span()


@dataclass
class Seen:
    """One message that it took: `sender` and `recipients` as the parameters came, and `wire`, what came as data."""

    sender: bytes
    recipients: list = field(default_factory=list)
    wire: bytes = b""


class LenientSink:
    """`with LenientSink() as sink: ... sink.port ... sink.seen`; `chunking`: whether it offers BDAT; `offers`: more lines
    of its reply to EHLO.

    seen: the messages. received: all octets that came, of each connection. commands: every line that it took for one.
    """

    def __init__(self, chunking=False, offers=()):
        self.chunking = chunking
        self.offers = offers
        self.seen = []
        self.received = []
        self.commands = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection:
                _Dialogue(self, connection).run()
        except (OSError, EOFError):
            pass


class _Dialogue:
    """One connection."""

    def __init__(self, sink, connection):
        self._sink = sink
        self._socket = connection
        self._buffer = b""
        self._skip_lf = False  # the line ended with a CR, and what comes next may be its LF
        self._message = None
        self._received = bytearray()
        sink.received.append(self._received)

    def _more(self):
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._received += data
        if self._skip_lf:
            data = data.removeprefix(b"\n")
            self._skip_lf = False
        self._buffer += data

    def _say(self, text):
        self._socket.sendall(text + b"\r\n")

    def _line(self):
        while not (found := _LINE.match(self._buffer)):
            self._more()
        self._buffer = self._buffer[found.end():]
        self._skip_lf = found.group().endswith(b"\r") and not self._buffer
        return found.group().strip(b"\r\n\0 \t")

    def run(self):
        """Play it to the end."""
        self._say(b"220 sink.test ESMTP")
        while True:
            line = self._line()
            self._sink.commands.append(line)
            verb, _, rest = line.partition(b" ")
            handler = getattr(self, "_on_" + verb.decode("latin-1").lower(), None)
            if not line:
                continue
            if handler is None:
                self._say(b"500 5.5.2 what?")
            elif handler(rest.strip()) is False:
                return

    def _on_ehlo(self, _):
        self._say(b"250-sink.test\r\n250-PIPELINING\r\n" + (b"250-CHUNKING\r\n" if self._sink.chunking else b"")
                  + b"".join(b"250-" + line + b"\r\n" for line in self._sink.offers)
                  + b"250-SIZE 104857600\r\n250 8BITMIME")

    def _on_helo(self, _):
        self._say(b"250 sink.test")

    def _on_auth(self, rest):
        if b" " not in rest:
            self._say(b"334 VXNlcm5hbWU6")
            self._sink.commands.append(self._line())
        self._say(b"235 2.7.0 welcome")

    def _on_xclient(self, _):
        self._message = None
        self._say(b"220 sink.test ESMTP")

    def _on_xforward(self, _):
        self._say(b"250 2.0.0 fine")

    def _on_mail(self, rest):
        self._message = Seen(rest.partition(b":")[2].strip())
        self._say(b"250 2.1.0 fine")

    def _on_rcpt(self, rest):
        if self._message is None:
            return self._say(b"503 5.5.1 no sender")
        self._message.recipients.append(rest.partition(b":")[2].strip())
        return self._say(b"250 2.1.5 fine")

    def _on_rset(self, _):
        self._message = None
        self._say(b"250 2.0.0 fine")

    def _on_noop(self, _):
        self._say(b"250 2.0.0 fine")

    def _on_quit(self, _):
        self._say(b"221 2.0.0 bye")
        return False

    def _on_data(self, _):
        if self._message is None or not self._message.recipients:
            return self._say(b"503 5.5.1 no recipient")
        self._say(b"354 go on")
        # The end of the DATA line is the start of the first line.
        while (found := ends(self._buffer)) is None:
            self._more()
        self._message.wire, self._buffer = self._buffer[:found[0]], self._buffer[found[1]:]
        return self._take()

    def _on_bdat(self, rest):
        size, _, last = rest.partition(b" ")
        while len(self._buffer) < int(size):
            self._more()
        data, self._buffer = self._buffer[:int(size)], self._buffer[int(size):]
        if self._message is None:
            return self._say(b"503 5.5.1 no sender")
        self._message.wire += data
        return self._take() if last else self._say(b"250 2.0.0 more")

    def _take(self):
        message, self._message = self._message, None
        self._sink.seen.append(message)
        self._say(b"250 2.0.0 taken, number %d" % len(self._sink.seen))
