"""A real HAProxy in front of a server: passes connections on with a header of the PROXY protocol.

Its listening sockets are made here and handed down, so that no port has to be guessed.
"""
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PROGRAM = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")

_GENERAL = """
global
    log stderr format raw daemon
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""
_PROXY = """
frontend from_{name}
    bind fd@{fd} {bind}
    default_backend to_{name}
backend to_{name}
    server one {target} {send}
"""


def missing():
    """Why none can be started here, or None."""
    return None if PROGRAM else "haproxy is not installed (Debian package haproxy)"


class HaProxy:
    """One process; `ports` by name, as soon as it is entered.

    Args:
        proxies: {name: (target, send, bind)}: where to connect to (HOST:PORT or unix@PATH), the words that choose what is
            sent there (`send-proxy-v2`, …), and those of its own side (`ssl crt FILE`), or "".
    """

    def __init__(self, proxies):
        self._proxies = proxies
        self._process = None

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="haproxy.")
        folder = Path(self._folder.name)
        sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=64) for name in self._proxies}
        self.ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
        text = _GENERAL
        for name, (target, send, bind) in self._proxies.items():
            text += _PROXY.format(name=name, fd=sockets[name].fileno(), target=target, send=send, bind=bind)
        (folder / "haproxy.cfg").write_text(text)
        command = [PROGRAM, "-db", "-f", str(folder / "haproxy.cfg")]
        options = {"stdin": subprocess.DEVNULL, "pass_fds": [sock.fileno() for sock in sockets.values()]}
        try:
            checked = subprocess.run([*command, "-c"], capture_output=True, text=True, timeout=15, **options)
            if checked.returncode:
                raise ChildProcessError(checked.stdout + checked.stderr)
            # Connections wait in the sockets until it accepts.
            with open(folder / "log", "wb") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        except BaseException:
            self.__exit__()
            raise
        finally:
            for sock in sockets.values():
                sock.close()
        return self

    def __exit__(self, *_exc):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
