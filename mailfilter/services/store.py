"""Stores: counters over sliding windows, values that expire, sets. What sessions, workers and machines know together.

    store = open_store(outside, parse("redis://cache.example/0"))
    store.circuit.start(lambda: store.perform("count", key, [60.0, 1]), 2, settled)

Each of VERBS is done at once and undivided, however many do so at the same time, and takes one trip to a server.

A counter over a window of some seconds keeps two numbers: of the window's present part (time divided by the window) and
of the one before it, of which as much counts as still lies inside. That is exact when what is counted comes evenly; when it
comes in bursts it may be off, by at most what was counted in the part before.

Must not know: policies, what is counted.
"""
import importlib
import importlib.util
import os
from collections import namedtuple
from urllib.parse import unquote

from mailfilter.errors import ConfigError
from mailfilter.services.circuit import Circuit

__all__ = ["KEY", "LONGEST_S", "MEMBERS", "VALUE", "VERBS", "Address", "default_path", "open_store", "parse", "slide"]

KEY = 4096
"""Octets of a key, and of a member of a set."""

VALUE = 64 << 10
"""Octets of a value."""

MEMBERS = 10_000
"""Members of a set that are given at one time."""

LONGEST_S = 10 * 366 * 86400
"""How long anything may be kept, in seconds."""

VERBS = {
    "count": (2, "window, by: add to a counter; what it has counted within the window"),
    "take": (3, "window, most, by: the same when that makes no more than `most`: [whether it did, what was counted]"),
    "get": (0, "the value, or None"),
    "set": (2, "value, seconds: True"),
    "add": (2, "value, seconds: None when there was no value and it is set now, else the one that is there"),
    "remove": (0, "whether there was a value"),
    "age": (3, "seconds, after, then: for how long the key has been there, or None when it is new. It is kept for `seconds` from "
               "its beginning; asked for when it is older than `after`, for `then` from now"),
    "include": (2, "member, seconds: whether the member is new in the set"),
    "has": (1, "member: whether the set has it"),
    "discard": (1, "member: whether the set had it"),
    "members": (1, "most: so many members at most"),
}
"""verb: (how many arguments it takes behind the key, which, and what it gives)."""

Address = namedtuple("Address", "kind place label")


def default_path(environment=os.environ):
    """The file of the embedded store: in the folder that systemd gives, else in the user's for state; None: nowhere."""
    base = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(base):
        return os.path.join(base, "store.db")
    base = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        home = environment.get("HOME", "")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".local/state")
    return os.path.join(base, "mailfilter", "store.db")


def parse(text):
    """The Address for `""` (the embedded one where it belongs), a path, `sqlite:/path`, `redis://…`; ConfigError."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.partition("+")[0] in ("redis", "rediss", "unix", "valkey", "valkeys"):
        if importlib.util.find_spec("redis") is None:
            raise ConfigError(f"{scheme}: needs redis, which is not installed: pip install 'mailfilter[redis]'")
        from mailfilter.services import store_redis
        place = store_redis.parse(text.replace("valkey", "redis", 1))
        return Address("redis", place, store_redis.label(place))
    if colon and scheme not in ("sqlite", "file"):
        raise ConfigError(f"'{scheme}:' is no store: it is a file's path, sqlite:/path, redis:// or rediss:// "
                          "(or redis+sentinel://, redis+cluster://)")
    path = unquote("/" + rest.lstrip("/") if rest.startswith("//") else rest) if colon else text
    path = path or default_path()
    if path is None or "\0" in path:
        raise ConfigError("there is no place for the store: say where with --set store=/path/of/store.db")
    path = os.path.abspath(path)
    return Address("sqlite", path, f"store {path}")


def open_store(outside, address):
    """The store at an Address, shared by all sessions of the worker whose Outside this is."""
    def make(outside):
        module = importlib.import_module(f"mailfilter.services.store_{address.kind}")
        circuit = Circuit("store", address.label, outside.loop, outside.report, at_once=module.AT_ONCE)
        return module.Store(outside.loop, address.place, circuit)

    return outside.get("store", address, make)


def slide(now, window, slot, current, previous):
    """(slot, current, previous, what lies within the window) of a counter, brought up to `now`."""
    here = int(now // window)
    if here != slot:
        previous = current if here == slot + 1 else 0
        current, slot = 0, here
    return slot, current, previous, current + previous * (1 - now / window + here)
