"""A next hop that may be killed: a process of its own that says 250 only when the message lies in a file.

`with DurableSink() as sink: ... sink.port ... sink.kill() ... sink.start() ... sink.messages()`. It comes back on its old
port. What it has said 250 to is in its folder whatever happened to it; what is in its folder may never have been answered.

Run as a program it is that process: FOLDER, PORT.
"""
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

if __name__ != "__main__":
    from .waiting import answers, free_port, wait_until

REPLIES = {b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n", b"HELO": b"250 sink.test\r\n",
           b"MAIL": b"250 2.1.0 fine\r\n", b"RCPT": b"250 2.1.5 fine\r\n", b"RSET": b"250 2.0.0 fine\r\n",
           b"NOOP": b"250 2.0.0 fine\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}


class DurableSink:
    """The process, from outside."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="durable-sink.")
        self.port = free_port()
        self._process = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        self.kill()
        self._folder.cleanup()

    def start(self):
        """Start it, or start it again, and wait until it listens."""
        self._process = subprocess.Popen([sys.executable, __file__, self._folder.name, str(self.port)],
                                         stdin=subprocess.DEVNULL)
        wait_until(lambda: answers(self.port) or self._process.poll() is not None, "the durable sink to listen")
        assert self._process.poll() is None

    def kill(self):
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def messages(self):
        """The messages that lie there whole, dots doubled as they came, in no order."""
        return [path.read_bytes() for path in Path(self._folder.name).glob("*.message")]


def serve(folder, port):
    """The process: listen for ever, one thread a connection."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    numbers = iter(range(1 << 62))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection, folder, numbers), daemon=True).start()


def converse(connection, folder, numbers):
    """One connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = connection.makefile("rb")
    try:
        connection.sendall(b"220 sink.test ESMTP\r\n")
        for line in lines:
            verb = line[:4].upper()
            connection.sendall(REPLIES.get(verb, b"500 5.5.2 what?\r\n"))
            if verb == b"QUIT":
                break
            if verb == b"DATA":
                message = []
                for text in lines:
                    if text == b".\r\n":
                        keep(folder, f"{os.getpid()}-{next(numbers)}", b"".join(message))
                        connection.sendall(b"250 2.0.0 kept\r\n")
                        break
                    message.append(text)
    except OSError:
        pass
    finally:
        connection.close()


def keep(folder, name, content):
    """Write the message, whole or not at all."""
    path = Path(folder) / name
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.rename(path.with_suffix(".message"))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
