"""DNS: verified reverse names, by c-ares (pycares) on the event loop.

Nothing here blocks and no thread is used: c-ares tells which of its sockets want reading or writing, the loop
watches them. Answers are cached here with a bound, look-ups for the same thing that run at the same time are one
look-up, and nothing waits longer than the deadline.

Facts about c-ares that the code answers to:
- it takes C strings, so that a name is cut at NUL, and `\\` begins an escape: `check_name` sees every name
  before it is sent;
- it has a cache of its own that nothing bounds but time (1.2 KiB a name, up to an hour): a channel is replaced
  after CHANNEL_QUERIES queries;
- a callback that raises leaks the channel: ours never do;
- destroying a channel runs callbacks on another thread: everything is cancelled on the loop first.

The resolver it asks is trusted to be the system's own (resolv.conf). This file must not know policies, sessions
or SMTP.
"""
import asyncio
import ipaddress
import string
from collections import OrderedDict

import pycares

from mailfilter.errors import (
    MailfilterError,
    ServiceError,
    ServiceProtocolError,
    ServiceTimeout,
    ServiceUnavailable,
)

DEADLINE_S = 2.0
"""Longest time, in seconds, that one call waits for its answer, whatever it takes to find it."""

CACHE_ENTRIES = 4096
"""How many answers are kept; beyond that the one used longest ago goes."""

IN_FLIGHT = 1000
"""How many look-ups run at a time; beyond that the answer is "no name", at once and not cached."""

REVERSE_NAMES = 4
"""How many names of one address are checked; the owner of the address decides how many there are."""

POSITIVE_MAX_S = 3600
"""Longest time a verified name is kept, whatever its TTL says."""

NEGATIVE_S = 60
"""How long "there is no verified name" is kept."""

FAILURE_S = 5
"""How long a look-up that failed (time-out, SERVFAIL) is kept, so that a dead server costs a client's
second connection nothing."""

CHANNEL_QUERIES = 10000
"""After how many queries a c-ares channel, and its cache with it, is replaced."""

CNAME_HOPS = 8
"""How many aliases are followed inside one answer (RFC 2317 uses one)."""

_TRIES = 2
_LABEL_CHARS = frozenset(string.ascii_letters + string.digits + "-_")


class NameRefused(MailfilterError, ValueError):
    """A name that must not be asked for."""


class NameNotFound(ServiceError):
    """The name does not exist (NXDOMAIN)."""


class NoData(ServiceError):
    """The name exists and has no records of the type asked for."""


def check_name(name):
    """Return `name` (str) without its final dot if it can be sent, else raise NameRefused.

    Labels have 1 to 63 octets out of letters, digits, "-" and "_", the whole at most 253. No NUL, no
    backslash, no control character, nothing that is not ASCII gets as far as c-ares.
    """
    if not isinstance(name, str):
        raise NameRefused("a name is ASCII text")
    if name.endswith("."):
        name = name[:-1]
    if not 1 <= len(name) <= 253:
        raise NameRefused("a name has 1 to 253 octets")
    for label in name.split("."):
        if not 1 <= len(label) <= 63:
            raise NameRefused("a label has 1 to 63 octets")
        if not _LABEL_CHARS.issuperset(label):
            raise NameRefused("a label has letters, digits, hyphens and underscores")
    return name


class Resolver:
    """Look-ups for one event loop. Make it, use it and close it on that loop.

    `servers` are "address:port" strings; None takes the system's. `deadline_s`, `cache_entries`, `in_flight` and
    `channel_queries` default to the constants of this file. Nothing is opened before the first query.
    """

    def __init__(self, *, servers=None, deadline_s=DEADLINE_S, cache_entries=CACHE_ENTRIES,
                 in_flight=IN_FLIGHT, channel_queries=CHANNEL_QUERIES):
        self.deadline_s = deadline_s
        self.cache_entries = cache_entries
        self.in_flight = in_flight
        self.channel_queries = channel_queries
        self.closed = False
        self._servers = servers
        self._cache = OrderedDict()
        self._running = {}
        self._channel = None
        self._retired = set()

    def known_reverse(self, address):
        """What `reverse` would answer without a query, as a tuple of one; None when it takes one."""
        cached = self._cache.get(address)
        if cached is not None:
            if cached[1] > asyncio.get_running_loop().time():
                self._cache.move_to_end(address)
                return cached[:1]
            del self._cache[address]
        if address in self._running:
            return None
        parsed = _parsed(address)
        if parsed is None:
            return (None,)
        if parsed.is_loopback:
            self._remember(address, "localhost", POSITIVE_MAX_S)
            return ("localhost",)
        return (None,) if self.closed or len(self._running) >= self.in_flight else None

    async def reverse(self, address):
        """The verified name of an IP address (str), or None.

        A name is verified when it is a PTR of the address and has the address among its own (A or AAAA)
        records; where several are, one of them is given. None for everything else: no name, a name
        that points elsewhere, a failure, the deadline, text that is no IP address (a UNIX socket).
        Loopback addresses are "localhost" without a query. Never raises for what the network does.
        """
        known = self.known_reverse(address)
        if known is not None:
            return known[0]
        running = self._running.get(address)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._reverse(address, _parsed(address)))
            self._running[address] = running
        # Whoever stops waiting stops alone: the others, and the cache, still get the answer.
        return await asyncio.shield(running)

    def close(self):
        """End every look-up (they give None) and let go of the sockets. May be called more than once."""
        self.closed = True
        for channel in [self._channel, *self._retired]:
            if channel is not None:
                channel.close()
        self._channel = None
        self._retired.clear()
        self._cache.clear()

    async def wait_closed(self):
        """Wait, after `close`, until the last look-up has given its answer."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def _reverse(self, address, parsed):
        name, ttl = None, FAILURE_S
        try:
            async with asyncio.timeout(self.deadline_s):
                name, ttl = await self._verified_name(parsed)
        except (NameNotFound, NoData):
            ttl = NEGATIVE_S
        except (ServiceError, TimeoutError):
            pass
        finally:
            del self._running[address]
        self._remember(address, name, ttl)
        return name

    def _remember(self, address, name, ttl):
        if ttl <= 0 or self.closed:
            return
        self._cache[address] = (name, asyncio.get_running_loop().time() + ttl)
        if len(self._cache) > self.cache_entries:
            self._cache.popitem(last=False)

    async def _verified_name(self, parsed):
        """(name or None, seconds it may be kept); raises ServiceError."""
        pointers, ttl = await self._records(parsed.reverse_pointer, pycares.QUERY_TYPE_PTR)
        names = []
        for pointer in pointers:
            try:
                names.append(check_name(pointer.dname))
            except NameRefused:  # whoever owns the address range may write what he likes there
                continue
        names = list(dict.fromkeys(names))[:REVERSE_NAMES]
        checks = [asyncio.ensure_future(self._check(name, parsed)) for name in names]
        failure = None
        try:
            for check in asyncio.as_completed(checks):
                try:
                    name, forward_ttl = await check
                except (NameNotFound, NoData):
                    continue
                except ServiceError as error:
                    failure = error
                    continue
                if name is not None:
                    return name, min(ttl, forward_ttl, POSITIVE_MAX_S)
        finally:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
        if failure is not None:
            raise failure
        return None, NEGATIVE_S

    async def _check(self, name, parsed):
        """(name, TTL) when the name has the address, else (None, TTL)."""
        kind = pycares.QUERY_TYPE_A if parsed.version == 4 else pycares.QUERY_TYPE_AAAA
        records, ttl = await self._records(name, kind)
        found = any(_parsed(record.addr) == parsed for record in records)
        return (name if found else None), ttl

    async def _records(self, name, kind):
        """The data of the records of `name` and the least TTL on the way to them. Raises ServiceError."""
        result, status = await self._ask(check_name(name), kind)
        if status is not None:
            raise _failure(name, status)
        records, ttl = _follow(result.answer, name, kind)
        if not records:
            raise NoData(f"{name}: no record of the type asked for")
        return records, ttl

    def _ask(self, name, kind):
        channel = self._channel
        if self.closed:
            raise ServiceUnavailable("the resolver is closed")
        if channel is None or channel.started >= self.channel_queries:
            if channel is not None:
                self._retired.add(channel)
                channel.retire(self._retired.discard)
            channel = self._channel = _Channel(self._servers, self.deadline_s)
        return channel.query(name, kind)


class _Channel:
    """A c-ares channel whose sockets and timer are the loop's."""

    def __init__(self, servers, deadline_s):
        self.started = 0
        self._loop = asyncio.get_running_loop()
        self._waiting = set()
        self._readers = set()
        self._writers = set()
        self._timer = None
        self._retired = None
        # c-ares doubles the time-out at the second try: a third of the deadline leaves room for both.
        try:
            self._ares = pycares.Channel(
                servers=servers, timeout=deadline_s / 3, tries=_TRIES, lookups="b", domains=[],
                sock_state_cb=self._socket_changed)
        except pycares.AresError as error:
            raise ServiceUnavailable(f"no DNS channel: {error}") from error

    def query(self, name, kind):
        """A future of (result, None) or (None, c-ares error number). It stays pending when cancelled here:
        c-ares has no way to take back one query, and ends it by its own time-out."""
        future = self._loop.create_future()
        waiting = self._waiting

        def answered(result, status):
            # Called by C. On no account may it raise.
            waiting.discard(future)
            if not future.done():
                future.set_result((result, status))
            if self._retired is not None and not waiting:
                self._loop.call_soon(self.close)  # not from inside c-ares

        self.started += 1
        waiting.add(future)
        try:
            self._ares.query(name, kind, callback=answered)
        except pycares.AresError as error:
            answered(None, error.args[0])
        self._arm()
        return future

    def retire(self, when_closed):
        """Close as soon as nothing is waited for any more, and call `when_closed(self)` then."""
        self._retired = when_closed
        if not self._waiting:
            self.close()

    def close(self):
        """End all queries with "cancelled", on this thread, and destroy the channel."""
        ares, self._ares = self._ares, None
        if ares is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._loop.is_closed():
            for fd in self._readers:
                self._loop.remove_reader(fd)
            for fd in self._writers:
                self._loop.remove_writer(fd)
            ares.cancel()
        ares.close()
        if self._retired is not None:
            self._retired(self)

    def _socket_changed(self, fd, readable, writable):
        # Called by C, before it closes a socket too. After `close` also from another thread: then
        # nothing is watched any more, and there is nothing to do.
        if self._ares is None:
            return
        if readable and fd not in self._readers:
            self._readers.add(fd)
            self._loop.add_reader(fd, self._process, fd, pycares.ARES_SOCKET_BAD)
        elif not readable and fd in self._readers:
            self._readers.discard(fd)
            self._loop.remove_reader(fd)
        if writable and fd not in self._writers:
            self._writers.add(fd)
            self._loop.add_writer(fd, self._process, pycares.ARES_SOCKET_BAD, fd)
        elif not writable and fd in self._writers:
            self._writers.discard(fd)
            self._loop.remove_writer(fd)

    def _process(self, read_fd, write_fd):
        if self._ares is not None:
            self._ares.process_fd(read_fd, write_fd)

    def _arm(self):
        if self._timer is None and self._waiting and self._ares is not None:
            self._timer = self._loop.call_later(max(self._ares.timeout(1.0), 0.01), self._tick)

    def _tick(self):
        self._timer = None
        self._process(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._arm()


def _parsed(address):
    """The address as an object, an IPv4 address inside IPv6 as itself; None for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except (ValueError, AttributeError):
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _follow(answer, name, kind):
    """The records of `kind` that belong to `name`, by way of aliases; records of other names are ignored."""
    owner, ttl = name.lower(), POSITIVE_MAX_S
    for _ in range(CNAME_HOPS):
        mine = [record for record in answer if _same_name(record.name, owner)]
        found = [record for record in mine if record.type == kind]
        if found:
            return [record.data for record in found], min(ttl, *(record.ttl for record in found))
        alias = next((record for record in mine if record.type == pycares.QUERY_TYPE_CNAME), None)
        if alias is None or not isinstance(alias.data.cname, str):
            break
        owner, ttl = alias.data.cname.lower().rstrip("."), min(ttl, alias.ttl)
    return [], ttl


def _same_name(name, owner):
    return isinstance(name, str) and name.lower().rstrip(".") == owner


def _failure(name, status):
    kind = {
        pycares.errno.ARES_ENOTFOUND: NameNotFound,
        pycares.errno.ARES_ENODATA: NoData,
        pycares.errno.ARES_ETIMEOUT: ServiceTimeout,
        pycares.errno.ARES_EBADRESP: ServiceProtocolError,
        pycares.errno.ARES_EFORMERR: ServiceProtocolError,
    }.get(status, ServiceUnavailable)
    return kind(f"{name}: {pycares.errno.strerror(status)}")
