"""Fixtures for the tests of processes: the line server, and a client that speaks its few words."""
import socket
import sys
from pathlib import Path

import pytest

LINE_SERVER = Path(__file__).with_name("line_server.py")


class LineClient:
    """A connection to the line server (or any server that speaks in lines)."""

    def __init__(self, address, seconds=10.0):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(seconds)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def line(self):
        """The next line without its end; None when the server has closed, in whatever way."""
        try:
            line = self.file.readline()
        except ConnectionError:
            return None
        return line.decode().rstrip("\n") if line else None

    def send(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def ask(self, text):
        self.send(text)
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def line_server(serve):
    """`line_server(listen=..., options=...)`: starts tests/net/line_server.py, see there."""
    def start(*options, listen=("127.0.0.1:0",), **more):
        return serve(None, command=[sys.executable, LINE_SERVER], listen=listen, options=options, **more)
    return start


@pytest.fixture
def connect():
    """`connect(port_or_path)` gives a `LineClient`, closed at the end of the test."""
    clients = []

    def connect(where, **options):
        address = where if isinstance(where, str) else ("127.0.0.1", where)
        clients.append(LineClient(address, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()
