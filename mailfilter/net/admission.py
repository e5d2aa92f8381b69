"""Who is let in: decided for each connection when it comes, before anything is made for it but its socket.

Limits on connections and on new ones in a minute, of all clients, of an address and of its network, over all listeners
and for one alone; and turning clients away when the worker has too much to do. All workers of the machine count
together (counting.py). Clients in the exempt networks are not counted, and turned away last; those whose mail was
accepted lately, second to last.

Must not know: SMTP beyond the replies here, sessions, policies.
"""
import socket
import time
from collections import Counter
from functools import lru_cache

from mailfilter import config, metrics
from mailfilter import log as logs
from mailfilter.net import shedding
from mailfilter.net.counting import SharedMemory
from mailfilter.net.networks import LOOPBACK, Networks

__all__ = ["GOOD_S", "PERIOD_S", "REFUSALS", "Admission", "Visit"]

PERIOD_S = 60.0
"""Over how many seconds the limits ..._rate count."""

GOOD_S = 3600.0
"""For about so long a client is known as one whose mail was accepted, in seconds."""

REFUSALS = {
    "stopping": b"421 4.3.2 The server is shutting down, try again later\r\n",
    "connections": b"421 4.3.2 Too many connections, try again later\r\n",
    "address_connections": b"421 4.7.0 Too many connections from your address, try again later\r\n",
    "network_connections": b"421 4.7.0 Too many connections from your network, try again later\r\n",
    "connection_rate": b"421 4.3.2 Too many new connections, try again later\r\n",
    "address_rate": b"421 4.7.0 Too many new connections from your address, try again later\r\n",
    "network_rate": b"421 4.7.0 Too many new connections from your network, try again later\r\n",
    "busy": b"421 4.3.2 Too busy, try again later\r\n",
}
"""What a client reads instead of a greeting, by the reason."""

# The limits of connections that are open now, and of new ones; of which clients each counts the connections together.
_NOW = {"connections": "all", "address_connections": "address", "network_connections": "network"}
_LATELY = {"connection_rate": "all", "address_rate": "address", "network_rate": "network"}

# Between two lines in the log about refusals for the same reason, in seconds.
_LOG_S = 60.0

# Addresses whose keys are remembered.
_REMEMBERED = 8192


class Visit:
    """What one connection counts for, from its arrival to its end.

    Attributes:
        refusal: a key of REFUSALS, or None: it may come in.
        counted: keys that it was added to in the table of open connections.
    """

    __slots__ = ("counted", "refusal")

    def __init__(self, refusal=None, counted=()):
        self.refusal = refusal
        self.counted = counted


# What is counted of each refusal: its reason, and the limit that was reached.
_SLOTS = {name: [metrics.slot("connections_refused_total", name),
                 *([metrics.slot("limits_total", name)] if name not in ("stopping", "busy") else [])] for name in REFUSALS}
_PRESSED = {"lag": metrics.slot("limits_total", "lag_ms"), "memory": metrics.slot("limits_total", "free_memory_bytes")}

# Most are alike.
_REFUSED = {name: Visit(name) for name in REFUSALS}
_NOT_COUNTED = Visit()


class Admission:
    """The decisions of one worker.

    Args:
        limits: config.Limits for all listeners.
        by_listener: {listener: {name: value}} from config.by_listener.
        exempt: Networks that are not counted.
        shared: SharedMemory that the workers have in common; None for one of its own.
        clock: gives seconds that never go back and are the same for all processes.
    """

    def __init__(self, limits, log, *, by_listener=None, exempt=None, shared=None, clock=time.monotonic):
        self.limits = limits
        self.exempt = Networks(LOOPBACK) if exempt is None else exempt
        self.refused = Counter()        # by the key of REFUSALS
        self.pressure = shedding.Pressure(limits, log, clock=clock)
        self._log = log
        self._by_listener = by_listener or {}
        self._clock = clock
        self._shared = shared
        self._counts = None
        self._told = {}
        self._checks = lru_cache(maxsize=_REMEMBERED)(self._checks_of)
        self._good_key = lru_cache(maxsize=_REMEMBERED)(lambda address: self._counts.accepted.key(b"good" + packed(address)))

    def start(self, loop=None):
        """Take a part of the shared memory, and begin to look at the pressure; once, in the process that serves."""
        shared = SharedMemory() if self._shared is None else self._shared
        self._counts = shared.take()
        if self._counts is None:
            self._log.write(logs.WARNING, "-", "there is no room to count clients together with the other workers")
            self._counts = SharedMemory().take()
        if loop is not None:
            self.pressure.start(loop)

    def go_by(self, limits, by_listener):
        """Decide by other limits from now on."""
        self.limits = limits
        self._by_listener = by_listener or {}
        self._checks.cache_clear()
        self.pressure.go_by(limits)

    def stop(self):
        """The worker ends; what it counted is forgotten."""
        self.pressure.stop()
        if self._counts is not None:
            self._counts.close()

    def arrive(self, address, listener, refusal=None):
        """A connection from `address` (a text) has come to `listener` (its label). Gives its Visit.

        refusal: what speaks against it already ("stopping", "connections"), or None.
        """
        if refusal is not None:
            return self._refuse(refusal, address)
        level = self.pressure.level
        if level and (level >= shedding.EXEMPT or not self._is_exempt(address) and (
                level >= shedding.GOOD or not self.is_good(address))):
            return self._refuse("busy", address)
        now, lately = self._checks(listener, address)
        if not now and not lately:
            return _NOT_COUNTED
        connections, rates, time_s = self._counts.connections, self._counts.rates, self._clock()
        for name, limit, key in now:
            if connections.count(key) >= limit:
                return self._refuse(name, address)
        for name, limit, key in lately:
            if rates.lately(key, time_s, PERIOD_S) >= limit:
                return self._refuse(name, address)
        # Only those who come in are counted: one that tries again and again is not kept out for that.
        for _, _, key in now:
            connections.add(key)
        for _, _, key in lately:
            rates.note(key, time_s, PERIOD_S)
        return Visit(None, [key for _, _, key in now])

    def leave(self, visit):
        """The connection that this Visit was about has ended; once for each."""
        for key in visit.counted:
            self._counts.connections.take(key)

    def accepted(self, address):
        """A message of this client was accepted: it is a good one for a while."""
        self._counts.accepted.note(self._good_key(address), self._clock(), GOOD_S)

    def is_good(self, address):
        """Whether a message of this client was accepted lately."""
        return self._counts.accepted.lately(self._good_key(address), self._clock(), GOOD_S) > 0

    def _is_exempt(self, address):
        """Whether connections of this client are not counted; what is no address comes from this machine."""
        return address in self.exempt or not (":" in address or "." in address)

    def _checks_of(self, listener, address):
        """What a connection of this client to this listener is checked for: two lists of (name, limit, key)."""
        exempt = self._is_exempt(address)
        scopes = [("", self.limits, True)]
        for selector, values in self._by_listener.items():
            if config.selects(selector, listener):
                scopes.append((selector, self.limits.replaced(values, f"@{selector}"), False))
        # The worker itself sees to its `connections` over all listeners.
        now, lately = [], []
        for table, tally, checks in ((_NOW, self._counts.connections, now), (_LATELY, self._counts.rates, lately)):
            for scope, limits, general in scopes:
                for name, clients in table.items():
                    limit = getattr(limits, name)
                    if not limit or general and name == "connections" or exempt and clients != "all":
                        continue
                    if not general and name not in self._by_listener[scope]:
                        continue
                    key = tally.key(b"\0".join((scope.encode("utf-8", "surrogateescape"), clients.encode(),
                                                self._who(clients, address, limits))))
                    checks.append((name, limit, key))
        return now, lately

    def _who(self, clients, address, limits):
        if clients == "all":
            return b""
        octets = packed(address)
        return octets if clients == "address" else network_of(octets, limits)

    def _refuse(self, name, address):
        self.refused[name] += 1
        for slot in _SLOTS[name]:
            metrics.count(slot)
        if name == "busy" and self.pressure.cause in _PRESSED:
            metrics.count(_PRESSED[self.pressure.cause])
        now = self._clock()
        since, number = self._told.get(name, (-_LOG_S, 0))
        if now - since >= _LOG_S:
            # One line for a flood; that the limit was reached is the news.
            self._log.write(logs.NOTICE, "-", "connection refused", reason=name, client=address,
                            refused=self.refused[name] - number)
            self._told[name] = (now, self.refused[name])
        return _REFUSED[name]


def packed(address):
    """The octets of an address: 4 or 16; those of the text itself where it is none."""
    try:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0]) if ":" in address else socket.inet_aton(address)
    except OSError:
        return address.encode("utf-8", "surrogateescape")


def network_of(octets, limits):
    """The octets of the network that an address of 4 or 16 octets is in."""
    bits = len(octets) * 8
    kept = limits.ipv4_prefix if len(octets) == 4 else limits.ipv6_prefix
    if len(octets) not in (4, 16) or kept >= bits:
        return octets
    return (int.from_bytes(octets) >> bits - kept << bits - kept).to_bytes(len(octets))
