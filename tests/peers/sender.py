"""A raw SMTP client: sends exactly the bytes it is given, whole or one at a time, and reads replies strictly.

It has no opinion on what is sent; a reply that RFC 5321 §4.2 does not allow raises `BadReply`, because no client may
ever be shown one. Must not know who the server is.
"""
import re
import socket

REPLY_LINE_BYTES = 512  # RFC 5321 §4.5.3.1.5, CR LF included
_LINE = re.compile(rb"([2-5][0-9]{2})(?:[ -]([\t\x20-\x7e\x80-\xff]*))?\r\n")


class BadReply(AssertionError):
    """The server sent something that is not a reply by RFC 5321 §4.2."""


class NoReply(AssertionError):
    """The server sent nothing within the client's patience."""


class Reply:
    """One reply: `code`, `lines` (texts, one per line) and `raw` (bytes)."""

    def __init__(self, raw):
        self.raw = raw
        self.code, self.lines = None, []
        for line in raw.splitlines(keepends=True):
            match = _LINE.fullmatch(line)
            if match is None or len(line) > REPLY_LINE_BYTES:
                raise BadReply(f"not a reply line: {line[:200]!r}")
            code = int(match.group(1))
            if self.code not in (None, code):
                raise BadReply(f"codes differ within one reply: {raw[:200]!r}")
            self.code = code
            self.lines.append(match.group(2) or b"")

    @property
    def text(self):
        """All lines as one text, for assertions about words in it."""
        return b"\n".join(self.lines).decode("utf-8", "backslashreplace")

    def __repr__(self):
        return f"Reply({self.raw!r})"


class Closed(ConnectionError):
    """The server closed the connection instead of replying."""


class Sender:
    """A connection to an SMTP server on 127.0.0.1 (or the given `host`, or a UNIX socket path in `unix`).

    The greeting is not read by itself: `with Sender(port) as s: s.reply()`, or `s.hello()` for both greeting and EHLO.
    `patience` is how long, in seconds, any reply may take. `bytewise` makes every send one system call per octet.
    """

    def __init__(self, port=None, host="127.0.0.1", unix=None, patience=10.0, bytewise=False):
        if unix is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(patience)
            self.socket.connect(str(unix))
        else:
            self.socket = socket.create_connection((host, port), timeout=patience)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.patience = patience
        self.bytewise = bytewise
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        """Close the connection without QUIT."""
        self.socket.close()

    def secure(self, context, name=None):
        """Speak TLS from now on; `context` is an ssl.SSLContext. Whatever was read in clear before is an error."""
        assert not self._buffer, self._buffer
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def half_close(self):
        """Send end of file and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data):
        """Send exactly these bytes. A server that closes meanwhile raises Closed."""
        try:
            if self.bytewise:
                for i in range(len(data)):
                    self.socket.send(data[i:i + 1])
            else:
                self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise NoReply(f"nothing within {self.patience:g} s after {self._buffer!r}") from None
        except ConnectionResetError:
            data = b""
        if not data:
            if self._buffer:
                raise BadReply(f"closed within a reply: {self._buffer[:200]!r}")
            raise Closed("closed instead of a reply")
        self._buffer += data

    def reply(self):
        """Read one reply. Closed when the server hangs up, NoReply when it is too slow, BadReply for nonsense."""
        position = 0
        while True:
            end = self._buffer.find(b"\n", position)
            if end < 0:
                self._more()
                continue
            line, position = self._buffer[position:end + 1], end + 1
            if line[3:4] != b"-":
                raw, self._buffer = self._buffer[:position], self._buffer[position:]
                return Reply(raw)

    def command(self, line):
        """Send one command line (CR LF is added) and read its reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def hello(self, verb=b"EHLO", name=b"client.test"):
        """Read the greeting, which must be 220, say hello, which must be taken, and return the reply to that."""
        greeting = self.reply()
        assert greeting.code == 220, greeting
        reply = self.command(verb + b" " + name)
        assert reply.code == 250, reply
        return reply

    def transaction(self, content, sender=b"<sender@client.test>", recipients=(b"<user@example.test>",)):
        """One transaction in lock step; `content` is the message before dot-stuffing, ending in CR LF or empty.

        Returns the replies in order (MAIL, each RCPT, DATA, end of data); it ends at the first that refuses MAIL or
        DATA, or when no recipient was taken.
        """
        replies = [self.command(b"MAIL FROM:" + sender)]
        if replies[0].code >= 400:
            return replies
        taken = 0
        for recipient in recipients:
            replies.append(self.command(b"RCPT TO:" + recipient))
            taken += replies[-1].code < 400
        if not taken:
            return replies
        replies.append(self.command(b"DATA"))
        if replies[-1].code == 354:
            self.send(on_the_wire(content))
            replies.append(self.reply())
        return replies

    def deliver(self, content, **envelope):
        """`transaction` that must succeed; returns the last reply."""
        replies = self.transaction(content, **envelope)
        assert all(r.code < 400 for r in replies) and len(replies) >= 4, replies
        return replies[-1]

    def nothing_more(self, seconds=0.2):
        """Whether the server stays silent, and the connection open, for so long."""
        if self._buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self._buffer += self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(self.patience)
        return False

    def closed_by_server(self):
        """Wait for the server to close; False when it sends something more or keeps the connection open."""
        try:
            self._more()
        except Closed:
            return True
        except NoReply:
            return False
        return False


def on_the_wire(content):
    """The message as it follows 354: dots doubled at line starts, and the final dot line (RFC 5321 §4.5.2).

    A message that does not end in CR LF gets one, as every sender must.
    """
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"
