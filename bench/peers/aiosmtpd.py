"""aiosmtpd from PyPI in an environment of its own, on uvloop (faster than asyncio's own loop): see
`aiosmtpd_server.py`.

Taking and dropping: a handler with nothing in it. Proxy: its own `handlers.Proxy`, which delivers by smtplib when it
has the whole message, one at a time, and says 250 whatever the next hop says. It has no hook for refusing at connect.
"""
import sys
from contextlib import contextmanager
from pathlib import Path

from ..systems import Unavailable
from .base import FOLDER, Certificate, Peer, run, serving

WANTED = ("aiosmtpd>=1.4,<2", "uvloop>=0.21,<1")
HOME = FOLDER / "python"
PYTHON = HOME / "bin/python"
DONE = HOME / "installed"
SERVER = Path(__file__).with_name("aiosmtpd_server.py")


class Aiosmtpd(Peer):
    """SMTP server in Python."""

    name, words = "aiosmtpd", "handlers in Python, on uvloop"
    modes = frozenset(("discard", "proxy", "refuse-rcpt", "refuse-data", "tls"))

    def install(self, say):
        if DONE.exists():
            return
        say(f"installing {', '.join(WANTED)} into {HOME.relative_to(FOLDER.parent.parent)}")
        run([sys.executable, "-m", "venv", str(HOME)])
        run([str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", *WANTED])
        DONE.touch()

    def version(self):
        if not DONE.exists():
            raise Unavailable("not installed (PyPI's aiosmtpd)")
        return run([str(PYTHON), "-c", "from importlib.metadata import version as v\nprint('aiosmtpd', v('aiosmtpd'))"]).strip()

    @contextmanager
    def start(self, mode, hop=None, workers=1):
        def command(port, folder):
            more = Certificate.files() if mode == "tls" else [str(hop)] if mode == "proxy" else []
            return [PYTHON, "-P", SERVER, str(port), mode, *more]

        with serving(self.name, command, {"PYTHONPATH": ""}) as system:
            yield system
