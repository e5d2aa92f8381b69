"""What the commands have in common: their parser, errors in arguments, complaints, our name.

Must not know any command.
"""
import argparse
import os
import sys

from mailfilter import log as logs
from mailfilter.errors import ConfigError

__all__ = ["Parser", "UsageError", "complain", "hostname_of"]


class Parser(argparse.ArgumentParser):
    """Of a command with commands, the one that does not know an argument shows its own usage, not that of all."""

    def parse_known_args(self, args=None, namespace=None):
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown


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
