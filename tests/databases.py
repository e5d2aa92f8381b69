"""Real servers for tests: PostgreSQL, MariaDB and Redis, each with a folder and a port of its own, run by a user without rights.

A server is skipped, with the reason, where its program is not installed. They can be hung (SIGSTOP), woken, killed and
started again.

Must not know: what is tested with them.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from peers.waiting import free_port

STARTING_S = 50


def program(name, *folders):
    """The path of a program; skips the test when there is none."""
    for folder in folders:
        found = sorted(glob.glob(os.path.join(folder, name)))
        if found:
            return found[-1]
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (tests/debian-packages.txt)")
    return found


def _stop(pid):
    """Stop a process, and wait until all of its threads stand still."""
    os.kill(pid, signal.SIGSTOP)
    for _ in range(1000):
        states = set()
        for thread in glob.glob(f"/proc/{pid}/task/*/stat"):
            with open(thread, encoding="utf-8", errors="replace") as file:
                states.add(file.read().rpartition(")")[2].split()[0])
        if states <= {"T", "t"}:
            return
        time.sleep(0.005)


class Server:
    """A server as a process. Subclasses have prepare(), command(), answers()."""

    user = "nobody"

    def __init__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="mailfilter-test-")
        self.process = None
        self._identity = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.finish()
            raise

    def run(self, *command):
        """Run a program as the server's user, to its end."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=STARTING_S, **self._identity)
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C.UTF-8", "TMPDIR": self.folder}

    def start(self):
        """Start it and wait until it answers."""
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, **self._identity)
        end = time.monotonic() + STARTING_S
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.05)

    def log(self):
        """What it has said."""
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def answers(self):
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def hang(self):
        """Let it stand still: connections are taken by the kernel, and nothing is ever answered."""
        _stop(self.process.pid)

    def wake(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """End it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def finish(self):
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        """Make what it needs before it can start."""


class PostgreSql(Server):
    """A PostgreSQL with the database `mail`, whose owner `mail` has the password `secret`."""

    user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
    folders = ("/usr/lib/postgresql/*/bin",)

    def prepare(self):
        with open(os.path.join(self.folder, "password"), "w", encoding="ascii") as file:
            file.write("secret")
        os.chmod(file.name, 0o644)
        self.run(program("initdb", *self.folders), "-D", os.path.join(self.folder, "data"), "-U", "mail", "-A", "scram-sha-256",
                 "--pwfile", file.name, "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8")

    def command(self):
        return [program("postgres", *self.folders), "-D", os.path.join(self.folder, "data"), "-p", str(self.port),
                "-k", self.folder, "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB",
                "-c", "max_connections=50"]

    def answers(self):
        return super().answers() and "ready to accept connections" in self.log().rpartition("starting PostgreSQL")[2]

    def hang(self):
        """All of its processes: the one at the top only takes connections."""
        for pid in self._pids():
            _stop(pid)

    def wake(self):
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        pids = self._pids() if self.process is not None and self.process.poll() is None else []
        for pid in reversed(pids):
            try:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        super().kill()
        for leftover in ("data/postmaster.pid",):
            if os.path.exists(os.path.join(self.folder, leftover)):
                os.unlink(os.path.join(self.folder, leftover))

    def _pids(self):
        own = self.process.pid
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:
            return [own, *map(int, file.read().split())]

    @property
    def url(self):
        return f"postgresql://mail:secret@127.0.0.1:{self.port}/postgres"


class MariaDb(Server):
    """A MariaDB with the database `mail`, whose owner `mail` has the password `secret`."""

    def prepare(self):
        first = os.path.join(self.folder, "first.sql")
        with open(first, "w", encoding="ascii") as file:
            file.write("CREATE DATABASE mail CHARACTER SET utf8mb4;\n"
                       "CREATE USER mail@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON mail.* TO mail@'%';\n")
        os.chmod(first, 0o644)
        self._server = program("mariadbd")
        self.run(program("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder}/data", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--innodb-log-file-size=4M")

    def command(self):
        first = os.path.join(self.folder, "first.sql")
        init = [] if os.path.exists(os.path.join(self.folder, "data/mail")) else [f"--init-file={first}"]
        return [self._server, "--no-defaults", f"--datadir={self.folder}/data", f"--port={self.port}", "--bind-address=127.0.0.1",
                f"--socket={self.folder}/sock", f"--pid-file={self.folder}/pid", "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=8M", "--skip-name-resolve", "--max-connections=50", "--innodb-log-file-size=4M", *init]

    @property
    def url(self):
        return f"mysql://mail:secret@127.0.0.1:{self.port}/mail"


class Redis(Server):
    """A Redis, or Valkey where that is what is installed. options: more of its command line."""

    def __init__(self, *options):
        self.options = options
        super().__init__()

    def command(self):
        name = "valkey-server" if shutil.which("redis-server") is None and shutil.which("valkey-server") else "redis-server"
        return [program(name), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", *self.options]

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"
