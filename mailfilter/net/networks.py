"""Lists of networks, as an operator writes them, and whether an address is in one.

Must not know: what it means to be in one.
"""
import ipaddress
from functools import lru_cache

from mailfilter.errors import ConfigError

__all__ = ["LOOPBACK", "Networks"]

LOOPBACK = ("127.0.0.0/8", "::1")
"""The machine itself."""

# Answers that are remembered; a client that comes again and again is looked up once.
_REMEMBERED = 4096


class Networks:
    """Networks by text: `192.0.2.0/24`, `2001:db8::/32`, or a single address.

    Args:
        texts: an iterable of them; also several in one text, separated by commas or blanks.
        source: where they were said, for error messages.

    Raises:
        ConfigError: one of them is no network.
    """

    def __init__(self, texts=(), source="networks"):
        self._networks = []
        for text in texts:
            for word in str(text).replace(",", " ").split():
                try:
                    self._networks.append(ipaddress.ip_network(word))
                except ValueError as error:
                    raise ConfigError(f"{source} {word}: {error}") from None
        self._look = lru_cache(maxsize=_REMEMBERED)(self._search)

    @property
    def empty(self):
        """Whether no address is in them."""
        return not self._networks

    def __contains__(self, address):
        """Whether the address (a text; with or without an IPv6 zone) is in one of them. No address: it is not."""
        return bool(self._networks) and self._look(address)

    def __repr__(self):
        return f"Networks({', '.join(map(str, self._networks))})"

    def _search(self, address):
        try:
            address = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)
