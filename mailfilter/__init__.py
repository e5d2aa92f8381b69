"""Mailfilter, a programmable SMTP engine: the policy is JavaScript, decided during the conversation.

The program is `mailfilter` (mailfilter/cli). There is no Python interface beyond `__version__`; the way to
program it is a policy.
"""
from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    # pyproject.toml is the one place where the version is written.
    __version__ = version("mailfilter")
except PackageNotFoundError:  # a bare checkout, not installed
    __version__ = "unknown"
