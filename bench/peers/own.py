"""Mailfilter itself, and the floor under it: the least Python on uvloop that can do the work (`bench/canned.py`).

Mailfilter runs with its defaults. Taking and dropping: a policy with a handler at every step (`policies/discard.js`);
proxy: the policy `proxy` that comes with it, unchanged; refusing: `policies/refuse.js`; TLS: the dropping policy with a
certificate. "limit" is what its admission refuses before there is any JavaScript.
"""
import socket
from contextlib import contextmanager
from importlib import metadata

from .. import systems
from ..launching import PROJECT
from .base import Certificate, Peer

POLICIES = PROJECT / "bench/policies"


class Floor(Peer):
    """Canned replies on uvloop."""

    name, words = "uvloop floor", "canned replies on uvloop: no policy, no limits"
    modes = frozenset(("discard", "proxy", "refuse-connect", "refuse-rcpt", "refuse-data"))
    most_workers = 64

    def version(self):
        return f"uvloop {metadata.version('uvloop')}"

    def start(self, mode, hop=None, workers=1):
        return systems.canned(self.name, *(["lockstep", hop] if mode == "proxy" else [mode]), workers=workers)


class Mailfilter(Peer):
    """What this is all about."""

    name, words = "Mailfilter", "a JavaScript handler at every step, a heap for each connection"
    modes = frozenset(("discard", "proxy", "refuse-connect", "refuse-rcpt", "refuse-data", "tls"))
    most_workers = 64

    def version(self):
        return f"Mailfilter {metadata.version('mailfilter')}"

    def start(self, mode, hop=None, workers=1, more=()):
        if mode == "proxy":
            words = ["proxy", "--set", f"nextHop=127.0.0.1:{hop}"]
        elif mode == "tls":
            words = [POLICIES / "discard.js", "--tls-certificate", ",".join(map(str, Certificate.files()))]
        elif mode == "discard":
            words = [POLICIES / "discard.js"]
        else:
            words = [POLICIES / "refuse.js", "--set", f"at={mode.partition('-')[2]}"]
        return systems.mailfilter(self.name, *words, "--workers", workers, *more)


class MailfilterLimit(Mailfilter):
    """Refuses by a limit on connections of one address, which is reached."""

    name, words = "Mailfilter limit", "refuses by a limit, before there is any JavaScript"
    modes = frozenset(("refuse-connect",))
    most_workers = 1

    @contextmanager
    def start(self, mode, hop=None, workers=1):
        more = ("--exempt", "192.0.2.0/24", "--limit", "address_connections=1")     # otherwise this machine is not counted
        with systems.mailfilter(self.name, POLICIES / "discard.js", *more) as system, \
                socket.create_connection(("127.0.0.1", system.port)) as holding:
            holding.recv(512)
            yield system
