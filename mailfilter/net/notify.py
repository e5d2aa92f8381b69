"""Tells the service manager how we are (sd_notify of systemd); without one, nothing happens.

The protocol is one datagram of NAME=VALUE lines to the UNIX socket that $NOTIFY_SOCKET names. Only the process that was
started may speak. Must not know: what the states mean for us.
"""
import os
import socket
import time
from contextlib import suppress

__all__ = ["ready", "reloading", "stopping"]


def _send(**variables):
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    # A service manager that does not listen is no reason to fail.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto(text.encode(), "\0" + path[1:] if path[0] == "@" else path)


def ready(status):
    """We serve; also said when a reload has ended, well or not. status: one line for `systemctl status`."""
    _send(READY=1, MAINPID=os.getpid(), STATUS=" ".join(status.split()))


def reloading():
    """A reload begins; ready() ends it."""
    _send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)


def stopping():
    """The end has begun."""
    _send(STOPPING=1)
