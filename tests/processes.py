"""Looking at server processes from outside: whether they live, listen, and how much CPU they used."""
import os
import socket
from pathlib import Path


def refused(port):
    """Whether nobody accepts on this port of 127.0.0.1 (any more)."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def gone(pid):
    """Whether the process has ended, or is a zombie that nobody has waited for yet."""
    try:
        return _fields(pid)[0] in "ZX"
    except FileNotFoundError:
        return True


def cpu_s(pid):
    """CPU seconds that the process has used."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(pid):
    # The name of the program, in brackets, may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
