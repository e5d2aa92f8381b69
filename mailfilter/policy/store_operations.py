"""Operations of Store, and the networks of addresses that Greylist and RateLimit ask it about.

Must not know: any store, what is kept in it.
"""
import hashlib
import ipaddress

from mailfilter._core.heap import HostError
from mailfilter.mail.octets import octets
from mailfilter.policy.guarded import ask, outside, seconds_of
from mailfilter.services import store

__all__ = ["check", "digest", "network", "perform", "within"]

_NUMBERS = {"count": (0, 1), "take": (0, 1, 2), "set": (1,), "add": (1,), "age": (0, 1, 2), "include": (1,), "members": (0,)}
_TEXTS = {"set": (0, store.VALUE), "add": (0, store.VALUE), "include": (0, store.KEY), "has": (0, store.KEY),
          "discard": (0, store.KEY)}
_INSTEAD = {"count": 0, "take": [True, 0], "set": False, "remove": False, "include": False, "has": False, "discard": False,
            "members": [], "age": 1e12}


def check(context, url):
    """What a store is called in the log. Throws when the URL is none, or what it needs is not installed."""
    return store.parse(url).label


def _arguments(verb, given):
    wanted = store.VERBS.get(verb)
    if wanted is None or len(given) != wanted[0]:
        raise HostError(f"Store.{verb} takes no such arguments", "TypeError")
    given = list(given)
    for place in _NUMBERS.get(verb, ()):
        if not isinstance(given[place], (int, float)) or not -1e15 < given[place] < 1e15:
            raise HostError(f"Store.{verb}: {given[place]} is no number that can be used", "TypeError")
    if verb in _TEXTS:
        place, longest = _TEXTS[verb]
        given[place] = _octets(verb, given[place], longest)
    periods = {"count": (0,), "take": (0,), "set": (1,), "add": (1,), "age": (0, 2), "include": (1,)}.get(verb, ())
    for place in periods:
        if not 0.001 <= given[place] <= store.LONGEST_S:
            raise HostError(f"Store.{verb}: {given[place]:g} is not from 0.001 to {store.LONGEST_S} seconds", "RangeError")
    if verb == "members":
        given[0] = min(max(int(given[0]), 0), store.MEMBERS)
    return given


def _octets(verb, text, longest):
    if not isinstance(text, (str, bytes)):
        raise HostError(f"Store.{verb}: a text is needed", "TypeError")
    text = octets(text)
    if len(text) > longest:
        raise HostError(f"Store.{verb}: {len(text)} octets are too many; the limit is {longest}", "RangeError")
    return text


def perform(context, waiting, url, verb, key, given, seconds, away):
    """Do one of store.VERBS; its answer."""
    arguments = _arguments(verb, given)
    key = _octets(verb, key, store.KEY)
    there = store.open_store(outside(context), store.parse(url))
    return ask(context, waiting, there.circuit, lambda: there.perform(verb, key, arguments),
               seconds=seconds_of(seconds, context.timeouts.store), away=away, instead=_INSTEAD.get(verb))


def digest(context, text):
    """A short key for a long one."""
    return hashlib.sha256(octets(text)).hexdigest()[:40]


def network(context, address, ipv4_bits, ipv6_bits):
    """The network of an address as "192.0.2.0/24"; the address itself where it is none. IPv4 inside IPv6 is IPv4."""
    try:
        parsed = ipaddress.ip_address(address)
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return str(ipaddress.ip_network((parsed, int(ipv4_bits if parsed.version == 4 else ipv6_bits)), strict=False))
    except ValueError:
        return address


def within(context, address, networks):
    """Whether an address lies in one of the networks, written as "192.0.2.0/24" or a single address."""
    try:
        found = [ipaddress.ip_network(text, strict=False) for text in networks]
    except (ValueError, TypeError) as error:
        raise HostError(str(error), "TypeError") from None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in found)
