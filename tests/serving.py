"""Runs `mailfilter serve` as a user would: a process of its own, on ports that the system chose.

`Server` starts it, waits for `ready` in its log, and offers ports and log. It may be stopped, killed, and looked at;
it knows nothing of SMTP. The fixtures `serve` and `serve_module` of conftest.py make servers and end them.
"""
import re
import signal
import subprocess
import sys
from pathlib import Path

from peers.waiting import wait_until

PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).parent / "mailfilter"

START_S = 30.0
STOP_S = 20.0

_TCP = re.compile(r"listening on (?:[0-9.]+|\[[0-9a-f:]+\]):([0-9]+)")


class Server:
    """A running server.

    Args:
        policy: the name of a shipped policy, a path, or the text of one (anything with a newline in it).
        folder: an empty folder for its log and for a policy given as text, which is written to policy.js there.
        listen: addresses; each is one --listen.
        settings, timeouts, limits: mappings, each entry one --set, --timeout, --limit.
        options: further words of the command line.
        environment: what the process gets as its environment; None for ours.
        command: the program and its first word, where it is not `mailfilter serve`.

    Attributes:
        port: the port of the first TCP address; ports: all of them, in order.
        process: the subprocess.Popen.
    """

    def __init__(self, policy, folder, *, listen=("127.0.0.1:0",), settings=None, timeouts=None, limits=None,
                 options=(), environment=None, command=None):
        self.folder = Path(folder)
        if policy is not None and "\n" in str(policy):
            path = self.folder / "policy.js"
            path.write_text(policy, "utf-8", "surrogateescape")
            policy = path
        words = [*(command or [PROGRAM, "serve"])]
        if policy is not None:
            words.append(policy)
        for option, values in (("--set", settings), ("--timeout", timeouts), ("--limit", limits)):
            for name, value in (values or {}).items():
                words += [option, f"{name}={value}"]
        for address in listen:
            words += ["--listen", address]
        self.command = [str(word) for word in [*words, *options]]
        self.expected_status = 0
        self._log_path = self.folder / "log"
        with open(self._log_path, "wb") as log:
            # In a session of its own: a Ctrl-C at the test run does not reach it.
            self.process = subprocess.Popen(self.command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(self._is_up, f"`ready` in the log of {' '.join(self.command)}", START_S)
            if self.process.poll() is not None:
                raise AssertionError(f"{' '.join(self.command)} ended with {self.process.returncode}:\n{self.log}")
        except BaseException:
            self.kill()
            raise
        self.ports = [int(port) for port in _TCP.findall(self.log)]
        self.port = self.ports[0] if self.ports else None

    def _is_up(self):
        return self.process.poll() is not None or re.search(r"\bready\b", self.log)

    @property
    def log(self):
        """All that the process has written so far, as text."""
        return self._log_path.read_text("utf-8", "replace")

    @property
    def log_lines(self):
        return self.log.splitlines()

    def wait_for_log(self, text, seconds=10.0):
        """Wait until `text` is in the log, and return the log."""
        wait_until(lambda: text in self.log, f"{text!r} in the log:\n{self.log}", seconds)
        return self.log

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_S):
        """Wait for its end; the exit status."""
        return self.process.wait(seconds)

    def stop(self, seconds=STOP_S):
        """SIGTERM, and wait for the end; the exit status. Harmless when it has ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """End it at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def finish(self):
        """What a fixture does at the end: a clean stop, with the expected status and no sign of a bug in the log."""
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop on SIGTERM:\n{self.log}") from None
        assert status == self.expected_status, f"the server ended with {status}:\n{self.log}"
        assert "Traceback" not in self.log, self.log
