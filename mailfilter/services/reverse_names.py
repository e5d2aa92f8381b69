"""Reverse names of addresses, verified forward (RFC 8601 §2.7.3 calls it iprev).

A name is verified when it is a PTR of the address and has the address among its own A or AAAA records: whoever owns
an address range may write any name there.

Must not know: how questions are asked, policies.
"""
import asyncio
import ipaddress
from collections import OrderedDict

from mailfilter.services.dns_answer import FAILURES, FOUND
from mailfilter.services.dns_name import NameRefused, check_name

__all__ = ["Iprev", "ReverseNames", "parsed_address", "reverse_name"]

NAMES = 4
"""How many names of one address are checked; the owner of the address decides how many there are."""

CACHE_ENTRIES = 4096
"""How many outcomes are kept; beyond that the one used longest ago goes."""

MAX_S = 3600
"""Longest time an outcome is kept."""

_PTR, _A, _AAAA = 12, 1, 28


def parsed_address(address):
    """The address as an object, an IPv4 address inside IPv6 as itself; None for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except (ValueError, AttributeError):
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def reverse_name(address, suffix=None):
    """The name under which an address is looked up, `suffix` instead of in-addr.arpa or ip6.arpa; None for no address."""
    parsed = parsed_address(address)
    if parsed is None:
        return None
    pointer = parsed.reverse_pointer
    if suffix is None:
        return pointer
    return f"{pointer.removesuffix('.in-addr.arpa' if parsed.version == 4 else '.ip6.arpa')}.{suffix}"


class Iprev:
    """What is known of an address by its names.

    result: "pass", "fail" (no name, or none that has the address), "temperror" (a look-up failed, ask later) or
    "permerror" (it is no IP address). name: the verified one, or None. names: all that the address claims, verified or not.
    """

    __slots__ = ("result", "name", "names", "ttl")

    def __init__(self, result, name=None, names=(), ttl=0):
        self.result = result
        self.name = name
        self.names = list(names)
        self.ttl = ttl

    def __repr__(self):
        return f"Iprev({self.result}, {self.name!r}, {self.names!r})"


class ReverseNames:
    """The names of addresses, found with a Resolver; outcomes are kept, look-ups for one address are merged."""

    def __init__(self, resolver):
        self._resolver = resolver
        self._loop = asyncio.get_running_loop()
        self._cache = OrderedDict()
        self._running = {}

    def known(self, address):
        """The verified name or None as a tuple of one, when no question is needed for it; else None."""
        found = self._known(address)
        return None if found is None else (found.name,)

    async def name(self, address):
        """The verified name, or None for everything else. Never raises for what the network does."""
        return (await self.iprev(address)).name

    async def iprev(self, address):
        """The Iprev of an address (str)."""
        known = self._known(address)
        if known is not None:
            return known
        running = self._running.get(address)
        if running is None:
            running = self._running[address] = self._loop.create_task(self._find(address))
        # Whoever stops waiting stops alone: the others, and the cache, still get the answer.
        return await asyncio.shield(running)

    async def wait_closed(self):
        """Wait until the last look-up has given its outcome (the resolver is closed)."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    def _known(self, address):
        kept = self._cache.get(address)
        if kept is not None:
            if kept[1] > self._loop.time():
                self._cache.move_to_end(address)
                return kept[0]
            del self._cache[address]
        if address in self._running:
            return None
        parsed = parsed_address(address)
        if parsed is None:
            return Iprev("permerror")
        if parsed.is_loopback:
            # No question about ourselves: public resolvers answer it with NXDOMAIN or worse.
            return self._keep(address, Iprev("pass", "localhost", ["localhost"], MAX_S))
        return Iprev("temperror") if self._resolver.closed else None

    def _keep(self, address, outcome):
        if outcome.ttl > 0 and not self._resolver.closed:
            self._cache[address] = (outcome, self._loop.time() + outcome.ttl)
            if len(self._cache) > CACHE_ENTRIES:
                self._cache.popitem(last=False)
        return outcome

    async def _find(self, address):
        outcome = Iprev("temperror")
        try:
            async with asyncio.timeout(self._resolver.deadline_s):
                outcome = await self._verified(parsed_address(address))
        except TimeoutError:
            pass
        finally:
            del self._running[address]
            self._keep(address, outcome)
        return outcome

    async def _verified(self, parsed):
        pointers = await self._resolver.answer(parsed.reverse_pointer, _PTR)
        if pointers.status != FOUND:
            return Iprev("temperror" if pointers.status in FAILURES else "fail", ttl=pointers.ttl)
        names = []
        for record in pointers.records:
            try:
                names.append(check_name(record.data))
            except NameRefused:     # nothing that could be a host
                continue
        names = list(dict.fromkeys(names))[:NAMES]
        kind = _A if parsed.version == 4 else _AAAA
        checks = [asyncio.ensure_future(self._resolver.answer(name, kind)) for name in names]
        ttl, failed = min(pointers.ttl, MAX_S), False
        try:
            for name, check in zip(names, checks, strict=True):
                answer = await check
                if answer.status in FAILURES:
                    failed = True
                elif any(parsed_address(record.data) == parsed for record in answer.records):
                    return Iprev("pass", name, names, min(ttl, answer.ttl))
                ttl = min(ttl, answer.ttl)
        finally:
            for check in checks:
                check.cancel()
        return Iprev("temperror" if failed else "fail", None, names, ttl)
