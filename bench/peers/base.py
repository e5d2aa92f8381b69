"""What all peers have in common: how a program of others is installed, and how it is started so that it ends with us.

Must not know any of them, or what is measured.
"""
import os
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path

from ..launching import PROJECT, end_group, launch
from ..systems import SBIN, START_S, System, Unavailable

FOLDER = PROJECT / "bench/.peers"
INSTALL_S = 300.0
TRIES = 3               # a port that was free may be taken by the time it is bound


class Peer(ABC):
    """Something to compare with. `modes`: of MODES, those that it can do."""

    name = ""
    words = ""                          # what it is, in a few words
    modes = frozenset()
    most_workers = 1

    @abstractmethod
    def version(self):
        """What of it is here; raises Unavailable when it is not."""

    def install(self, say):
        """Fetch it into FOLDER when it is not there; raises Unavailable when it cannot be had."""
        return

    @abstractmethod
    def start(self, mode, hop=None, workers=1):
        """A context manager that gives a System. hop: the port of the next hop, for "proxy"."""


# What a system may be asked to do: take and drop messages, pass them on in lock step, refuse at one step, offer STARTTLS.
MODES = ("discard", "proxy", "refuse-connect", "refuse-rcpt", "refuse-data", "tls")


def find(program):
    """The path of a program, also in the folders that are root's."""
    return shutil.which(program, path=SBIN)


def run(command, **options):
    """Its output; raises Unavailable with the last line that it said when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL,
                              start_new_session=True, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from None
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"{Path(command[0]).name} {command[1]}: {said[-1] if said else done.returncode}")
    return done.stdout + done.stderr


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _greeted(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
            return probe.recv(3)[:1] in (b"2", b"4", b"5")
    except OSError:
        return False


@contextmanager
def serving(name, command_for, environment=None):
    """Start `command_for(port, folder)` in a temporary folder; a System once it greets.

    The folder is world-readable, for servers that give up root, and gone afterwards.
    """
    for attempt in range(TRIES):
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder, \
                tempfile.TemporaryFile() as said:
            os.chmod(folder, 0o755)
            command = command_for(port, Path(folder))
            process = launch(command, stdout=said, stderr=said, env={**os.environ, **(environment or {})})
            try:
                end = time.monotonic() + START_S
                while not (greeted := _greeted(port)) and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.02)
                if greeted:
                    yield System(name, port, process.pid)
                    return
            finally:
                end_group(process)
            text = os.pread(said.fileno(), 2000, 0).decode("utf-8", "replace").strip()
        if attempt == TRIES - 1:
            raise Unavailable(f"{name} does not start: {text or 'it says nothing'}")


class Certificate:
    """A certificate of our own and its key (ECDSA P-256), made once for each run."""

    _folder = None

    @classmethod
    def files(cls):
        """(certificate, key) as paths; raises Unavailable without openssl."""
        if cls._folder is None:
            cls._folder = tempfile.TemporaryDirectory(prefix="bench-")
            os.chmod(cls._folder.name, 0o755)
            folder = Path(cls._folder.name)
            run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=mx.example.test", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")])
            os.chmod(folder / "key.pem", 0o644)     # read by servers that have given up root
        folder = Path(cls._folder.name)
        return folder / "cert.pem", folder / "key.pem"
