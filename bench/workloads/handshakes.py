"""TLS: a session of EHLO, STARTTLS, EHLO and QUIT, with a whole handshake or with one that resumes an earlier session."""
import socket
import ssl
import time

from .. import cpu
from ..talk import LoadFailed

FULL, RESUMED = "TLS handshake (ECDSA P-256)", "TLS handshake, session resumed"


class _Session:
    """A blocking session that checks its replies."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reply(self, code):
        data = b""
        while data[-1:] != b"\n" or data[data.rfind(b"\n", 0, -1) + 4:][:1] == b"-":
            more = self.socket.recv(4096)
            if not more:
                raise LoadFailed(f"closed, {code.decode()} was expected")
            data += more
        if not data.startswith(code):
            raise LoadFailed(f"{data[:100]!r}, not {code.decode()}")

    def say(self, line, code):
        self.socket.sendall(line + b"\r\n")
        self.reply(code)


def _handshake(port, context, session=None):
    """One session; its TLS session, and whether it resumed the one it was given."""
    talk = _Session(port)
    try:
        talk.reply(b"220")
        talk.say(b"EHLO client.test", b"250")
        talk.say(b"STARTTLS", b"220")
        talk.socket = context.wrap_socket(talk.socket, session=session)
        talk.say(b"EHLO client.test", b"250")
        made, reused = talk.socket.session, talk.socket.session_reused
        talk.say(b"QUIT", b"221")
        return made, reused
    finally:
        talk.socket.close()


def measure(run):
    """Both kinds on every system, in turns."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    number = 5 if run.quick else 400 if run.long else 60
    with run.systems("tls") as running:
        running = dict(running)
        for round_ in range(run.rounds + 1):
            for name, system in list(running.items()):
                run.say(f"round {round_} of {run.rounds} - TLS handshakes: {name}")
                try:
                    _round(run, system, context, number if round_ else max(2, number // 5), round_)
                except (LoadFailed, OSError) as error:
                    run.figures.failed.append((FULL, name, str(error)))
                    del running[name]


def _round(run, system, context, number, keep):
    session = None
    for workload in (FULL, RESUMED):
        reused, begun, own = 0, time.perf_counter(), time.process_time()
        before = cpu.settled_cpu_seconds(system.pid)
        for _ in range(number):
            session, again = _handshake(system.port, context, session if workload is RESUMED else None)
            reused += again
        own, wall = time.process_time() - own, time.perf_counter() - begun
        used = cpu.settled_cpu_seconds(system.pid) - before
        if not keep:
            continue
        figure = run.figures.of(workload, system.name)
        figure.values.append(used / number * 1e6)
        figure.per_second.append(number / wall)
        figure.load_us.append(own / number * 1e6)
        if workload is RESUMED and reused < number:
            figure.notes[:] = [f"{reused} of {number} were resumed"]
