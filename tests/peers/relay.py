"""A relay of TCP in front of a real server, whose answers it holds back, spoils or cuts as a test tells it.

    with Relay(server) as relay:        it listens on relay.port, and connects to server.port for each connection
        relay.hold() ... relay.held.wait(…) ... relay.release()

Must not know: any protocol.
"""
import socket
import struct
import threading

NONSENSE = b"\xff\x00nonsense\r\n\xfe" * 40


class Relay:
    """The relay. `answers` says what becomes of what the server says: "pass", "hold", "nonsense" or "cut".

    asked, held: events; set when something was sent to the server, and when an answer of it is held back, since the last
    hold().
    """

    def __init__(self, server):
        self.server = server
        self.answers = "pass"
        self.asked = threading.Event()
        self.held = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._over = False
        self._lock = threading.Lock()
        self._sockets = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._start(self._accept)

    def hold(self):
        """Keep what the server says from now on, until release()."""
        self.asked.clear()
        self.held.clear()
        self._open.clear()
        self.answers = "hold"

    def release(self):
        """Pass on what was held, and everything from now on."""
        self.answers = "pass"
        self._open.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over = True
        self.release()
        with self._lock:
            for one in (self._listener, *self._sockets):
                _shut(one)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            asked_all = threading.Event()
            self._start(self._questions, client, server, asked_all)
            self._start(self._replies, server, client, asked_all)
            if self._over:
                _shut(client)
                _shut(server)

    def _questions(self, client, server, asked_all):
        try:
            while data := client.recv(1 << 16):
                server.sendall(data)
                self.asked.set()
            server.shutdown(socket.SHUT_WR)
        except OSError:
            _shut(server)
        asked_all.set()

    def _replies(self, server, client, asked_all):
        try:
            while data := server.recv(1 << 16):
                if self.answers == "hold":
                    self.held.set()
                    self._open.wait()
                if self.answers == "cut":
                    client.sendall(data[:len(data) // 2])
                    break
                client.sendall(NONSENSE if self.answers == "nonsense" else data)
        except OSError:
            pass
        _shut(client)
        _shut(server)
        asked_all.wait()
        with self._lock:
            self._sockets -= {client, server}
        client.close()
        server.close()


def _shut(one):
    """Wake whoever waits on a socket."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _reset(connection):
    """Close with a reset: what a client sees when nobody is there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
