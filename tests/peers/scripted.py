"""A next hop that plays a script, line by line: what it says, and what it must hear, TLS included.

    with Scripted([
        b"220 hop.test", "EHLO .*", b"250-hop.test", b"250 STARTTLS", "STARTTLS", b"220 go", TLS, "EHLO .*", b"250 hop.test",
    ], certificate=pair) as hop: ...

Octets are said (CR LF is added to a line that has no line feed at its end); a text is a pattern for the next line that
comes; `Octets(n)` takes n octets, `DATA` a message up to its final dot, `TLS` is the handshake, `CLOSE` hangs up, `WAIT`
waits for the other side to do that. Each connection plays the next script; the last one is played again and again.
With `lock_step` nothing else may be there when it answers: who does not offer PIPELINING may expect that.
What came otherwise is in `complaints`, which `__exit__` raises; a script that is not over then is cut off without one
(`wait_for_the_end` waits for it).
"""
import re
import select
import socket
import ssl
import threading
from dataclasses import dataclass

from .waiting import wait_until

TLS, DATA, CLOSE, WAIT = object(), object(), object(), object()
PATIENCE_S = 10.0
LINGER_S = 0.02
"""How long an answer in lock step waits for what must not come."""


@dataclass(frozen=True)
class Octets:
    """Take so many octets."""

    count: int


class Scripted:
    """The listener. `port`, `address`; for each connection in `heard` the list of what came, and in `ended` whether its
    script was played to the end."""

    def __init__(self, *scripts, certificate=None, lock_step=False):
        self.scripts = scripts
        self.lock_step = lock_step
        self.heard = []
        self.ended = []
        self.facts = []             # of TLS, one for each handshake
        self.complaints = []
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._threads = []
        self._sockets = []
        self._leaving = False

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, kind, *_exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self._leaving = True
        for connection in self._sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        if kind is None or kind is not AssertionError and self.complaints:
            assert self.complaints == []

    def wait_for_the_end(self, number=0):
        """Until connection `number` has played its script."""
        wait_until(lambda: len(self.ended) > number and self.ended[number] or self.complaints, "the script to end")
        assert self.complaints == []

    def _accept(self):
        while True:
            try:
                connection, self.peer = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(PATIENCE_S)
            number = len(self.heard)
            self.heard.append([])
            self.ended.append(False)
            self._sockets.append(connection)
            script = self.scripts[min(number, len(self.scripts) - 1)]
            thread = threading.Thread(target=self._play, args=(number, connection, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, number, connection, script):
        rest, heard = b"", self.heard[number]

        def more():
            nonlocal rest
            data = connection.recv(65536)
            if not data:
                raise EOFError
            rest += data

        def until(mark):
            nonlocal rest
            while mark not in rest:
                more()
            found, rest = rest[:rest.index(mark)], rest[rest.index(mark) + len(mark):]
            return found

        position = 0
        try:
            for position, step in enumerate(script):
                if isinstance(step, bytes):
                    if self.lock_step and (rest or select.select([connection], [], [], LINGER_S)[0]):
                        self.complaints.append(f"step {position}: more has come before the reply: {rest!r}")
                        return
                    connection.sendall(step if step.endswith(b"\n") else step + b"\r\n")
                elif isinstance(step, str):
                    line = until(b"\r\n")
                    heard.append(line)
                    if not re.fullmatch(step.encode(), line):
                        self.complaints.append(f"step {position}: {line!r} came instead of {step!r}")
                        return
                elif isinstance(step, Octets):
                    while len(rest) < step.count:
                        more()
                    heard.append(rest[:step.count])
                    rest = rest[step.count:]
                elif step is DATA:
                    rest = b"\r\n" + rest
                    heard.append(until(b"\r\n.\r\n")[2:] + b"\r\n")
                elif step is TLS:
                    assert rest == b"", rest
                    connection = self._sockets[number] = self._context.wrap_socket(connection, server_side=True)
                    self.facts.append(connection.version())
                elif step is CLOSE:
                    break
                elif step is WAIT:
                    while connection.recv(65536):
                        pass
            self.ended[number] = True
        except EOFError:
            if not self._leaving:
                self.complaints.append(f"step {position}: the connection ended before {script[position]!r}")
        except ssl.SSLError as error:
            heard.append(f"TLS: {error.reason}")
        except OSError as error:
            if script[position] is not WAIT and not self._leaving:
                self.complaints.append(f"step {position}: {error}")
            else:
                self.ended[number] = True
        finally:
            connection.close()
