"""`python -m bench.tls`: what TLS costs a server, done by uvloop's start_tls and by mailfilter's own stream.

A forked server answers one clear line, starts TLS, and then takes octets and throws them away; its CPU is read by the
kernel's clock while one client in this process makes handshakes, resumes sessions, sends octets, holds connections.
"""
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from mailfilter.net.tls import ServerTls
from mailfilter.net.tls_stream import upgrade

from . import cpu, held

HANDSHAKES = 400
MIB = 256
HELD = 200
PLAIN = b"220\r\n"


class _Sink:
    """What both have in common: a line, then TLS, then nothing but octets; `.` is answered."""

    def __init__(self, loop):
        self.loop = loop
        self.tls = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.tls is not None:
            if data[-1:] == b".":
                self.tls.write(b"+")
            return
        self.transport.write(PLAIN)
        self.start()

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass

    def eof_received(self):
        return False

    def connection_lost(self, error):
        self.tls = None


def _own(loop, server):
    class Own(_Sink):
        def start(self):
            def done(error):
                self.tls = self.stream if error is None else None
            self.stream = upgrade(loop, self.transport, self, server, done, seconds=30)
    return Own


def _uvloop(loop, server):
    async def start_tls(self):
        try:
            # As net/tls.py's front context does it: the certificate is chosen in the callback.
            self.tls = await loop.start_tls(self.transport, self, server._front, server_side=True)
        except (OSError, ssl.SSLError):
            pass

    class Uvloop(_Sink):
        def start(self):
            self.task = loop.create_task(start_tls(self))
    return Uvloop


def _serve(make, certificate):
    """(pid, port) of a forked server."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    pid = os.fork()
    if pid:
        return pid, listener.getsockname()[1]
    loop = uvloop.new_event_loop()
    protocol = make(loop, ServerTls([certificate]))
    loop.run_until_complete(loop.create_server(lambda: protocol(loop), sock=listener))
    loop.run_forever()


def _certificate(folder, kind, *options):
    file, key = folder / f"{kind}.pem", folder / f"{kind}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", kind, *options, "-nodes", "-keyout", key, "-out", file, "-days", "2",
                    "-subj", "/CN=mx.example.org"], check=True, capture_output=True)
    return str(file), str(key)


def _connect(port, context, session=None):
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.sendall(b"STARTTLS\r\n")
    assert plain.recv(5) == PLAIN
    tls = context.wrap_socket(plain, session=session)
    tls.sendall(b".")
    assert tls.recv(1) == b"+"
    return tls


def _measure(pid, port, context):
    """(CPU µs of a handshake, of a resumed one, µs per MiB received, KiB of a held connection)."""
    for _ in range(20):
        _connect(port, context).close()
    used = [cpu.settled_cpu_seconds(pid)]
    for _ in range(HANDSHAKES):
        _connect(port, context).close()
    used.append(cpu.settled_cpu_seconds(pid))
    last = _connect(port, context)
    session = last.session
    for _ in range(HANDSHAKES):
        tls = _connect(port, context, session)
        assert tls.session_reused
        session = tls.session
        tls.close()
    used.append(cpu.settled_cpu_seconds(pid))
    block = b"x" * (1 << 20)
    for _ in range(MIB):
        last.sendall(block)
    last.sendall(b".")
    assert last.recv(1) == b"+"
    used.append(cpu.settled_cpu_seconds(pid))
    before = held.pss_kib(pid)
    kept = [_connect(port, context) for _ in range(HELD)]
    memory = (held.pss_kib(pid) - before) / HELD
    for tls in [*kept, last]:
        tls.close()
    full, resumed, octets = (later - sooner for sooner, later in zip(used, used[1:], strict=False))
    return full / HANDSHAKES * 1e6, resumed / HANDSHAKES * 1e6, octets / MIB * 1e6, memory


def main():
    """Print the table."""
    held.room_for(HELD)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    print(f"{'key':8}{'by':10}{'handshake µs':>14}{'resumed µs':>12}{'MiB µs':>9}{'held KiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, options in (("rsa:2048", ()), ("ec", ("-pkeyopt", "ec_paramgen_curve:P-256"))):
            certificate = _certificate(Path(folder), kind, *options)
            for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 2):
                for name, make in (("uvloop", _uvloop), ("own", _own)):
                    pid, port = _serve(make, certificate)
                    try:
                        figures = _measure(pid, port, context)
                    finally:
                        os.kill(pid, 9)
                        os.waitpid(pid, 0)
                    print(f"{kind:8}{name:10}{figures[0]:14.0f}{figures[1]:12.0f}{figures[2]:9.0f}{figures[3]:10.1f}",
                          flush=True)
                    time.sleep(0.1)


if __name__ == "__main__":
    main()
