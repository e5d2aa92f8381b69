"""What the commands have in common: errors in arguments, complaints, our name.

Must not know any command.
"""
import os
import sys

from mailfilter import log as logs
from mailfilter.errors import ConfigError

__all__ = ["UsageError", "complain", "hostname_of"]


class UsageError(Exception):
    """An option's value is wrong."""


def complain(text):
    """Say it on standard error."""
    # What was typed, and what a policy threw, may hold anything; a complaint is one line.
    print(f"mailfilter: {logs.escape(text)}", file=sys.stderr)


def hostname_of(text):
    """A host name as octets; the machine's where `text` is None. ConfigError."""
    name = text or os.uname().nodename or "localhost"
    # It goes into replies and trace headers as it is.
    if not all(c.isascii() and (c.isalnum() or c in "-._[]:") for c in name) or len(name) > 255:
        raise ConfigError(f"--hostname {name}: not a host name")
    return name.encode()
