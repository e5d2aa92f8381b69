"""Postfix's smtp-sink: accepts everything, and keeps a copy of each message when asked to.

The dump loses every CR (smtp-sink strips them), so it shows a message exactly only as long as the message has no CR
outside CR LF. A message with others must not reach a next hop anyway; `next_hop.NextHop` shows such bytes.
"""
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .waiting import answers, free_port, wait_until

PROGRAM = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:" + os.defpath)

# What smtp-sink itself writes before each message, up to and with its own three-line Received field.
_PREFIX = re.compile(rb"(?:X-[A-Za-z-]+: [^\n]*\n)*Received: [^\n]*\n(?:\t[^\n]*\n)*")


class Dumped:
    """One transaction that smtp-sink kept: `sender` and `recipients` as on the wire, and the message's `content`."""

    def __init__(self, text):
        own = _PREFIX.match(text)
        self.sender = re.search(rb"^X-Mail-Args: (.*)$", own.group(), re.MULTILINE).group(1)
        self.recipients = re.findall(rb"^X-Rcpt-Args: (.*)$", own.group(), re.MULTILINE)
        # A blank line is added after the message, and every line end is a bare LF.
        self.content = text[own.end():].removesuffix(b"\n").replace(b"\n", b"\r\n")


class SmtpSink:
    """smtp-sink in the foreground; `with SmtpSink(dump=True) as sink: ... sink.port ... sink.messages()`.

    `arguments` are passed on as they are (for instance `["-r", "RCPT"]`); `port` is chosen when not given.
    """

    def __init__(self, dump=False, arguments=(), port=None):
        self.dump = dump
        self.arguments = list(arguments)
        self.port = port
        self.pid = None

    def __enter__(self):
        if PROGRAM is None:
            raise FileNotFoundError("smtp-sink is not installed (Debian package postfix)")
        self._directory = tempfile.TemporaryDirectory(prefix="smtp-sink.")
        self.directory = Path(self._directory.name)
        self.port = self.port or free_port()
        command = [PROGRAM, "-m", "4096"]
        if os.geteuid() == 0:  # it refuses to stay root
            command += ["-u", "nobody"]
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
        if self.dump:
            command += ["-d", f"{self.directory}/message."]
        command += [*self.arguments, f"127.0.0.1:{self.port}", "1024"]
        self._log = open(self.directory / "stderr", "wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        try:
            wait_until(lambda: answers(self.port) or self._process.poll() is not None, "smtp-sink to listen")
            if self._process.poll() is not None:
                raise ChildProcessError((self.directory / "stderr").read_text())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._directory.cleanup()

    def messages(self):
        """Every message dumped whole so far. One still being received is in the list with what came of it."""
        return [Dumped(text) for path in sorted(self.directory.glob("message.*"))
                if _PREFIX.match(text := path.read_bytes())]

    def wait_for_messages(self, number, seconds=30.0):
        """The messages, as soon as there are at least `number`."""
        wait_until(lambda: len(list(self.directory.glob("message.*"))) >= number,
                   f"{number} messages in smtp-sink", seconds)
        return self.messages()
