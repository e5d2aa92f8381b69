"""A scripted next hop: a strict SMTP server that misbehaves at the steps it is told to, and records everything.

`with NextHop({"mail": [Say(b"450 4.2.0 later\r\n")], "dot": [Drop()]}) as hop:` answers the first MAIL with 450 and
hangs up at the first end of data; every later one is answered as it should be. An action stays in its list until its
step is reached; the lists are shared by all connections, in the order in which they get there.

Steps: connect ehlo helo mail rcpt data body dot rset noop quit other. "body" is asked when data begins and fires after
the `after` octets of its action.

It is strict on purpose: whatever a correct client would not send (a nested MAIL, a command inside data, a bare LF in a
command) is answered 5xx and noted in `violations`, so that a test sees an engine which lost step.
"""
import contextlib
import re
import socket
import struct
import threading
from dataclasses import dataclass, field

from .waiting import wait_until

DEFAULTS = {
    "connect": b"220 hop.test ESMTP\r\n",
    "ehlo": b"250-hop.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n",
    "helo": b"250 hop.test\r\n",
    "mail": b"250 2.1.0 sender taken\r\n",
    "rcpt": b"250 2.1.5 recipient taken\r\n",
    "data": b"354 go on\r\n",
    "dot": b"250 2.0.0 taken as H1\r\n",
    "rset": b"250 2.0.0 forgotten\r\n",
    "noop": b"250 2.0.0 fine\r\n",
    "quit": b"221 2.0.0 hop.test closing\r\n",
    "other": b"500 5.5.2 what?\r\n",
}

_GRAMMAR = {
    "ehlo": re.compile(rb"(?i:EHLO) [!-~]+"),
    "helo": re.compile(rb"(?i:HELO) [!-~]+"),
    "mail": re.compile(rb"(?i:MAIL FROM:)<[^\r\n\0]*>(?: [!-~]+)*"),
    "rcpt": re.compile(rb"(?i:RCPT TO:)<[^\r\n\0]+>(?: [!-~]+)*"),
    "data": re.compile(rb"(?i:DATA)"),
    "rset": re.compile(rb"(?i:RSET)"),
    "noop": re.compile(rb"(?i:NOOP)(?: .*)?"),
    "quit": re.compile(rb"(?i:QUIT)"),
}


@dataclass(frozen=True)
class Say:
    """Answer with exactly these bytes, then hang up if `close`.

    The answer comes `delay` seconds late, and one octet every `pause` seconds when that is set. At step "body" it comes
    in the middle of the data, after so many octets.
    """

    reply: bytes
    close: bool = False
    pause: float | None = None
    delay: float | None = None
    after: int = 0


@dataclass(frozen=True)
class Drop:
    """Hang up without a word, by FIN or (`reset`) by RST. At step "body": after so many octets of data."""

    reset: bool = False
    after: int = 0


@dataclass(frozen=True)
class Mute:
    """Never answer this step and read on in silence. At step "body": stop reading after so many octets."""

    after: int = 0


@dataclass
class Transaction:
    """What one MAIL began. `wire` is the data as received, dots doubled, without the final dot line."""

    sender: bytes
    recipients: list = field(default_factory=list)
    wire: bytes = b""
    complete: bool = False  # the final dot arrived
    reply: bytes = b""      # what was said to it

    @property
    def accepted(self):
        """Whether a 2xx was said after the final dot."""
        return self.complete and self.reply[:1] == b"2"

    @property
    def content(self):
        """The message with the doubled dots made single again."""
        return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in self.wire.split(b"\r\n"))


class _Hangup(Exception):
    """The connection is over."""


class Conversation:
    """One connection to the next hop: `received` (all bytes), `commands` (lines), `transactions`, `open`."""

    def __init__(self, hop, connection):
        self.hop = hop
        self.received = bytearray()
        self.commands = []
        self.transactions = []
        self.open = True
        self._socket = connection
        self._buffer = b""
        self._greeted = False
        self._transaction = None

    def _note(self, text):
        self.hop.violations.append(text)

    def _read(self):
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise _Hangup
        self.received += data
        self._buffer += data

    def _write(self, data):
        try:
            self._socket.sendall(data)
        except OSError:
            raise _Hangup from None

    def _hang_up(self, reset):
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Hangup

    def _answer(self, step, default=None, note=None):
        """Play the step and return what was said (b"" when nothing was). `note` is called for a success, before it is sent at
        once: whoever has the reply may look at once."""
        action = self.hop.take(step) or Say(default or DEFAULTS[step])
        if isinstance(action, Drop):
            self._hang_up(action.reset)
        if isinstance(action, Mute):
            return b""
        plain = action.delay is None and action.pause is None and not action.close
        if note is not None and plain and action.reply[:1] == b"2":
            note()
        self._say(action)
        if note is not None and not plain and action.reply[:1] == b"2":
            note()
        return action.reply

    def _say(self, action):
        if action.delay is not None and self.hop.stopping.wait(action.delay):
            raise _Hangup
        if action.pause is None:
            self._write(action.reply)
        else:
            for i in range(len(action.reply)):
                self._write(action.reply[i:i + 1])
                if self.hop.stopping.wait(action.pause):
                    raise _Hangup
        if action.close:
            raise _Hangup

    def _line(self):
        while (end := self._buffer.find(b"\n")) < 0:
            self._read()
        line, self._buffer = self._buffer[:end + 1], self._buffer[end + 1:]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            self._note(f"command with odd line end: {line[:200]!r}")
        return line.rstrip(b"\r\n")

    def run(self):
        """Play the whole conversation (in a thread of its own)."""
        try:
            self._answer("connect")
            while True:
                self._command(self._line())
        except _Hangup:
            pass
        finally:
            self.open = False
            self._socket.close()

    def _command(self, line):
        self.commands.append(line)
        step = line[:4].decode("latin-1").lower()
        if step not in _GRAMMAR or not _GRAMMAR[step].fullmatch(line):
            self._note(f"not a command: {line[:200]!r}")
            self._answer("other")
            return
        if problem := self._out_of_order(step):
            self._note(f"{problem}: {line[:200]!r}")
            self._write(b"503 5.5.1 " + problem.encode() + b"\r\n")
            return
        getattr(self, "_on_" + step, self._on_simple)(step, line)

    def _out_of_order(self, step):
        if step in ("mail", "rcpt", "data") and not self._greeted:
            return "no hello yet"
        if step == "mail" and self._transaction is not None:
            return "nested MAIL"
        if step in ("rcpt", "data") and self._transaction is None:
            return "no MAIL yet"
        if step == "data" and not self._transaction.recipients:
            return "no recipient yet"
        return None

    def _on_simple(self, step, _line):
        said = self._answer(step)
        if step in ("ehlo", "helo") and said[:1] == b"2":
            self._greeted, self._transaction = True, None
        elif step == "rset" and said[:1] == b"2":
            self._transaction = None
        elif step == "quit":
            raise _Hangup

    def _on_mail(self, step, line):
        def begun():
            self._transaction = Transaction(line[len(b"MAIL FROM:"):])
            self.transactions.append(self._transaction)
        self._answer(step, note=begun)

    def _on_rcpt(self, step, line):
        self._answer(step, note=lambda: self._transaction.recipients.append(line[len(b"RCPT TO:"):]))

    def _on_data(self, step, _line):
        if self._answer(step)[:1] != b"3":
            return
        transaction, self._transaction = self._transaction, None
        self._body(transaction)
        transaction.complete = True
        action = self.hop.take("dot") or Say(DEFAULTS["dot"])
        if isinstance(action, Drop):
            self._hang_up(action.reset)
        if isinstance(action, Say):
            # Noted before it is sent: whoever has the reply may ask for the transaction at once.
            transaction.reply = action.reply
            self._say(action)

    def _body(self, transaction):
        """Read data up to CR LF . CR LF, playing the "body" action on the way."""
        action = self.hop.take("body")
        # The CR LF of the DATA line counts as the first of the five octets.
        data, searched, end = bytearray(b"\r\n"), 0, -1
        try:
            while True:
                data += self._buffer
                self._buffer = b""
                end = data.find(b"\r\n.\r\n", max(0, searched - 4))
                if action is not None and (len(data) - 2 >= action.after or end >= 0):
                    self._misbehave_in_body(action)
                    action = None
                if end >= 0:
                    self._buffer = bytes(data[end + 5:])
                    return
                searched = len(data)
                self._read()
        finally:
            transaction.wire = bytes(data[2:end + 2] if end >= 0 else data[2:])

    def _misbehave_in_body(self, action):
        if isinstance(action, Drop):
            self._hang_up(action.reset)
        if isinstance(action, Mute):
            self.hop.stopping.wait()
            raise _Hangup
        self._say(action)


class NextHop:
    """The listener. `port`, `conversations`, `violations`, and the script of what goes wrong."""

    def __init__(self, script=None):
        self._lock = threading.RLock()
        self._threads = []
        self._begin(script)

    def _begin(self, script):
        self.script = {step: list(actions) for step, actions in (script or {}).items()}
        unknown = set(self.script) - set(DEFAULTS) - {"body"}
        if unknown:
            raise ValueError(f"no such step: {unknown}")
        self.conversations = []
        self.violations = []
        self.stopping = threading.Event()

    def begin(self, script=None):
        """Cut every connection, forget everything recorded, and play another script from now on."""
        self._cut()
        self._begin(script)

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_exc):
        self.die()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation(self, connection)
            thread = threading.Thread(target=conversation.run, daemon=True)
            with self._lock:
                self.conversations.append(conversation)
                self._threads.append(thread)
            thread.start()

    def die(self):
        """Stop listening and cut every connection. May be called again."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._accepting.join()
        self._cut()

    def _cut(self):
        self.stopping.set()
        for conversation in self.conversations:
            with contextlib.suppress(OSError):
                conversation._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def take(self, step):
        """The next scripted action for a step, or None."""
        with self._lock:
            actions = self.script.get(step)
            return actions.pop(0) if actions else None

    @property
    def transactions(self):
        """All transactions of all connections, in the order of the connections."""
        with self._lock:
            return [t for c in self.conversations for t in c.transactions]

    @property
    def accepted(self):
        """The transactions whose data was answered 2xx."""
        return [t for t in self.transactions if t.accepted]

    def wait_for(self, condition, what, seconds=10.0):
        """Wait until `condition(hop)` is true and return its result."""
        return wait_until(lambda: condition(self), what, seconds)
