"""A store in Redis or Valkey: one server, one that Sentinels know, or a Cluster. For several machines.

Whatever takes more than one command is a script that the server runs, by its own clock: nobody else comes between, and
it takes one trip. Every script has one key, which is what a Cluster needs.

Must not know: policies, other kinds of stores.
"""
import hashlib
from collections import namedtuple
from urllib.parse import unquote, urlsplit

import redis.asyncio as client
from redis import exceptions
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from mailfilter.errors import ConfigError, MailfilterError, ServiceProtocolError, ServiceUnavailable

__all__ = ["AT_ONCE", "Place", "Store", "label", "parse"]

AT_ONCE = 50
"""Requests under way, each on a connection of its own."""

Place = namedtuple("Place", "mode tls hosts name number user password path")
_PORTS = {"single": 6379, "cluster": 6379, "sentinel": 26379}

_SLIDE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local window = tonumber(ARGV[1])
local here = math.floor(now / window)
local state = redis.call('HMGET', KEYS[1], 's', 'c', 'p')
local slot, current, previous = tonumber(state[1]) or -1, tonumber(state[2]) or 0, tonumber(state[3]) or 0
if here ~= slot then
    if here == slot + 1 then previous = current else previous = 0 end
    current = 0
end
local within = current + previous * (1 - now / window + here)
local function keep(by)
    redis.call('HSET', KEYS[1], 's', here, 'c', string.format('%.17g', current + by), 'p', string.format('%.17g', previous))
    redis.call('PEXPIRE', KEYS[1], math.ceil(2000 * window))
end
"""
_SCRIPTS = {
    "count": _SLIDE + """
local by = tonumber(ARGV[2])
if by ~= 0 then keep(by) end
return string.format('%.17g', within + by)
""",
    "take": _SLIDE + """
local by = tonumber(ARGV[3])
if within + by > tonumber(ARGV[2]) then return {0, string.format('%.17g', within)} end
keep(by)
return {1, string.format('%.17g', within + by)}
""",
    "add": """
local there = redis.call('GET', KEYS[1])
if there then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
""",
    "age": """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local first = redis.call('GET', KEYS[1])
if not first then
    redis.call('SET', KEYS[1], string.format('%.17g', now), 'PX', ARGV[1])
    return false
end
local age = math.max(now - tonumber(first), 0)
if age >= tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return string.format('%.17g', age)
""",
    # A sorted set, with the time at which each member expires.
    "include": """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local fresh = redis.call('ZADD', KEYS[1], now + ARGV[2] / 1000, ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return fresh
""",
    "has": """
local time = redis.call('TIME')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) > time[1] + time[2] / 1000000 then return 1 end
return 0
""",
    "members": """
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (time[1] + time[2] / 1000000), '+inf', 'LIMIT', 0, ARGV[1])
""",
}
_SHA = {verb: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for verb, script in _SCRIPTS.items()}
# What a server says that cannot work just now, though it answers.
_AWAY = ("OOM", "READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOAUTH",
         "WRONGPASS", "NOPERM", "max number of clients")


def parse(url):
    """The Place for a URL: `redis://user:password@host:port/number`, `rediss://` for TLS, `unix:/path`,
    `redis+sentinel://host:port,host:port/master/number`, `redis+cluster://host:port,host:port`; ConfigError."""
    scheme, _, rest = url.partition(":")
    base, _, mode = scheme.partition("+")
    mode = mode or "single"
    if base == "unix":
        path = "/" + unquote(rest).lstrip("/")
        return Place("single", False, (), "", 0, None, None, path)
    if base not in ("redis", "rediss") or mode not in _PORTS or not rest.startswith("//"):
        raise ConfigError(f"'{scheme}:' is no store: redis://, rediss://, redis+sentinel:// and redis+cluster:// are")
    authority, _, path = rest[2:].partition("/")
    credentials, _, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    places = []
    for host in hosts.split(",") if hosts else ["localhost"]:
        try:
            parts = urlsplit(f"//{host}")
            places.append((parts.hostname or "localhost", parts.port or _PORTS[mode]))
        except ValueError as error:
            raise ConfigError(f"'{host}' is no host of a store: {error}") from None
    name = ""
    if mode == "sentinel":
        name, _, path = path.partition("/")
        if not name:
            raise ConfigError("redis+sentinel:// needs the name of the master behind the hosts: redis+sentinel://host/master")
    if path and not path.isdigit() or len(places) > 1 and mode == "single":
        raise ConfigError(f"{scheme}:// has one host, and behind it the number of a database")
    return Place(mode, base == "rediss", tuple(places), unquote(name), int(path or 0), unquote(user) or None,
                 unquote(password) or None, None)


def label(place):
    """What the log calls a Place."""
    if place.path is not None:
        return f"unix:{place.path}"
    hosts = ",".join(f"{host}:{port}" for host, port in place.hosts)
    return f"redis{'s' if place.tls else ''}{'' if place.mode == 'single' else '+' + place.mode}://{hosts}/{place.name}"


def _connect(place):
    """The library's clients; the first is the one to ask. They open connections when they are needed."""
    # A request that may have been done must not be done again.
    options = {"username": place.user, "password": place.password, "db": place.number, "retry": Retry(NoBackoff(), 0),
               "socket_timeout": None, "socket_connect_timeout": None}
    if place.mode == "cluster":
        del options["db"]
        return (RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in place.hosts], ssl=place.tls, **options),)
    options["max_connections"] = 2 * AT_ONCE
    if place.mode == "sentinel":
        if place.tls:
            options["ssl"] = True
        sentinel = Sentinel(place.hosts, socket_connect_timeout=1.0, socket_timeout=1.0)
        return sentinel.master_for(place.name, **options), *sentinel.sentinels
    if place.path is not None:
        return (client.Redis(unix_socket_path=place.path, **options),)
    (host, port), = place.hosts
    return (client.Redis(host=host, port=port, ssl=place.tls, **options),)


class Store:
    """See store.py."""

    def __init__(self, loop, place, circuit):
        self.circuit = circuit
        self._client, *self._more = _connect(place)

    async def perform(self, verb, key, arguments):
        """Do one thing; see VERBS."""
        try:
            return await getattr(self, f"_{verb}")(key, *arguments)
        except exceptions.InvalidResponse as error:
            raise ServiceProtocolError(f"{self.circuit.name}: {error}") from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ClusterError) as error:
            raise ServiceUnavailable(f"{self.circuit.name}: {error}") from error
        except exceptions.RedisError as error:
            if str(error).startswith(_AWAY):
                raise ServiceUnavailable(f"{self.circuit.name}: {error}") from error
            raise MailfilterError(f"{self.circuit.name}: {error}") from error
        except (ValueError, IndexError, TypeError) as error:        # what the library makes of nonsense
            raise ServiceProtocolError(f"{self.circuit.name}: {type(error).__name__}: {error}") from error

    async def _script(self, verb, key, *arguments):
        try:
            return await self._client.evalsha(_SHA[verb], 1, key, *arguments)
        except exceptions.NoScriptError:
            return await self._client.eval(_SCRIPTS[verb], 1, key, *arguments)

    async def _count(self, key, window, by):
        return float(await self._script("count", b"c:" + key, window, by))

    async def _take(self, key, window, most, by):
        taken, within = await self._script("take", b"c:" + key, window, most, by)
        return [taken == 1, float(within)]

    async def _get(self, key):
        return await self._client.get(b"v:" + key)

    async def _set(self, key, value, seconds):
        return bool(await self._client.set(b"v:" + key, value, px=_ms(seconds)))

    async def _add(self, key, value, seconds):
        return await self._script("add", b"v:" + key, value, _ms(seconds))

    async def _remove(self, key):
        return await self._client.delete(b"v:" + key) > 0

    async def _age(self, key, seconds, after, then):
        age = await self._script("age", b"a:" + key, _ms(seconds), after, _ms(then))
        return None if age is None else float(age)

    async def _include(self, key, member, seconds):
        return await self._script("include", b"s:" + key, member, _ms(seconds)) == 1

    async def _has(self, key, member):
        return await self._script("has", b"s:" + key, member) == 1

    async def _discard(self, key, member):
        return await self._client.zrem(b"s:" + key, member) > 0

    async def _members(self, key, most):
        return await self._script("members", b"s:" + key, int(most))

    async def close(self):
        """Close all connections."""
        for one in (self._client, *self._more):
            try:
                await one.aclose()
            except (exceptions.RedisError, OSError):
                continue


def _ms(seconds):
    return max(int(seconds * 1000), 1)
