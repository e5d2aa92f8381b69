"""A server run by chroot in a root directory of its own, made from what tests/unpack_servers.py has unpacked.

Each instance gets a fresh directory tree: its programs and libraries are hard links, everything else is its own. So any
number of instances run beside each other, with the paths and user names that are compiled into them, and beside
whatever mail server this machine has. Must not know which server it is.
"""
import contextlib
import functools
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from .waiting import wait_until

UNPACKED = Path(__file__).resolve().parents[2] / "build/peers"
START_S = 30.0


def missing(name):
    """Why the server unpacked under this name cannot be run here, or None."""
    if not (UNPACKED / name).is_dir():
        return f"{name} is not unpacked in {UNPACKED} (tests/unpack_servers.py)"
    if os.geteuid() != 0:
        return f"{name} must be started as root"
    if not _may_make_devices():
        return f"{name} needs device files, and this machine does not let root make any"
    return None


@functools.cache
def _may_make_devices():
    with tempfile.TemporaryDirectory(dir=UNPACKED) as folder:
        try:
            _make_devices(Path(folder))
            (Path(folder) / "null").write_bytes(b"x")
        except OSError:
            return False
    return True


def _make_devices(folder):
    for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        (folder / name).chmod(0o666)


class Rooted(ABC):
    """What servers in roots of their own have in common; a server derives from it.

    Attributes:
        directory: the root.
        process: the server, a subprocess.Popen; it leads a session, so that all its processes end with it.
    """

    NAME = ""  # the folder it was unpacked into

    def __init__(self):
        self.directory = None
        self.process = None
        self.port = None

    def __enter__(self):
        if problem := missing(self.NAME):
            raise FileNotFoundError(problem)
        self._temporary = tempfile.TemporaryDirectory(dir=UNPACKED, prefix=f"run.{self.NAME}.")
        self.directory = Path(self._temporary.name) / "root"
        try:
            shutil.copytree(UNPACKED / self.NAME, self.directory, symlinks=True, copy_function=os.link)
            _make_devices(self.directory / "dev")
            self.configure()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    @abstractmethod
    def configure(self):
        """Write its configuration and choose its port."""

    @abstractmethod
    def command(self):
        """The command line, as seen from inside the root."""

    def ready(self):
        """Whether it serves already."""
        return self.greets()

    def log(self):
        """Its log as text, for the message of a failed assertion. For the server to extend."""
        return self.text("output")

    def start(self):
        """Start it, the first time or again, and wait until it is ready."""
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                ["/usr/sbin/chroot", str(self.directory), *map(str, self.command())], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/bin"})
        wait_until(lambda: self.process.poll() is not None or self.ready(), f"{self.NAME} to be ready", START_S)
        if self.process.poll() is not None:
            raise ChildProcessError(f"{self.NAME} ended with {self.process.returncode}:\n{self.log()}")

    def stop(self, kind=signal.SIGTERM):
        """End it by this signal, and whatever process of it is left after that."""
        if self.process is None:
            return
        group = self.process.pid
        if self.process.poll() is None:
            self.process.send_signal(kind)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in self._inside():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process = None

    def _inside(self):
        """The processes whose root is ours: all of them were started by this server."""
        mine = os.stat(self.directory)
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                try:
                    root = os.stat(f"/proc/{entry}/root/")
                except OSError:
                    continue
                if (root.st_dev, root.st_ino) == (mine.st_dev, mine.st_ino):
                    yield int(entry)

    def __exit__(self, *_exc):
        self.stop()
        self._temporary.cleanup()

    def greets(self):
        """Whether something says 220 on its port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                return probe.recv(4) == b"220 "
        except OSError:
            return False

    def path(self, inside):
        """Where a path inside the root is, seen from outside."""
        return self.directory / inside.lstrip("/")

    def write(self, inside, text, mode=0o644):
        """Make a file inside the root, with the folders it needs. Never written through a hard link."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def folder(self, inside, user="root", mode=0o755):
        """Make a folder inside the root that belongs to one of the users in its own passwd file."""
        path = self.path(inside)
        path.mkdir(parents=True, exist_ok=True)
        uid, gid = self.ids(user)
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

    def ids(self, user):
        """The numbers of a user and its group in the root's own passwd file."""
        for line in (self.directory / "etc/passwd").read_text().splitlines():
            name, _, uid, gid = line.split(":")[:4]
            if name == user:
                return int(uid), int(gid)
        raise KeyError(user)

    def text(self, inside):
        """A file inside the root as text, "" when it is not there."""
        try:
            return self.path(inside).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def files(self, inside):
        """How many files are below a folder inside the root."""
        return sum(len(files) for _, _, files in os.walk(self.path(inside)))

    def maildir(self, inside):
        """The messages of a Maildir inside the root, with CR LF line ends, in no order."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in self.path(inside).glob("new/*")]
