"""What comes before a session on some listeners: the PROXY protocol's header, which says who the client really is.

A listener of kind `proxy:` talks to load balancers only: connections from other addresses are closed unheard. The
header is read from what comes in clear, also where TLS begins right behind it; then the session takes over the
connection, and everything that looks at a client's address sees the one in the header.

Must not know: SMTP, TLS, policies.
"""
import asyncio
import ipaddress

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core.proxy import ProxyReader
from mailfilter.errors import ConfigError

__all__ = ["Entrance", "trusted_networks"]

_HEADERS = {outcome: metrics.slot("proxy_headers_total", outcome)
            for outcome in ("v1", "v2", "untrusted", "wrong", "missing")}
_TIMEOUT, _LIMIT = metrics.slot("timeouts_total", "proxy_header"), metrics.slot("limits_total", "proxy_bytes")

LOOPBACK = ("127.0.0.0/8", "::1/128")


def trusted_networks(texts, source="--proxy-from"):
    """The networks that proxies connect from, out of `192.0.2.0/24`, `2001:db8::1`, …; none given: this machine itself.

    Raises:
        ConfigError: a text is no network.
    """
    networks = []
    for text in texts or LOOPBACK:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ConfigError(f"{source} {text}: {error}") from None
    return tuple(networks)


class Entrance(asyncio.Protocol):
    """A connection whose header has not been read yet.

    Args:
        worker: has `trusted_proxies`, `timeouts`, `limits`, `log`, `loop`, `draining`, and a set `entering`.
        label: the listener's name in the log.
        make: called without arguments, gives the session's protocol; its attribute `proxied` is set to the ProxyHeader
            before its connection_made is called.
    """

    __slots__ = ("worker", "label", "_make", "_reader", "_transport", "_timer", "_peer")

    def __init__(self, worker, label, make):
        self.worker = worker
        self.label = label
        self._make = make
        self._reader = None
        self._transport = None
        self._timer = None
        self._peer = "local"

    def connection_made(self, transport):
        """A proxy, or somebody else, has connected."""
        worker = self.worker
        self._transport = transport
        worker.entering.add(self)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and peer:
            self._peer = peer[0]
            address = ipaddress.ip_address(peer[0].partition("%")[0])
            if not any(address in network for network in worker.trusted_proxies):
                self._refuse("untrusted", "not one of the trusted proxies")
                return
        if len(worker.entering) > worker.limits.connections or worker.draining:
            self._refuse("missing", "too many connections without one")
            return
        self._reader = ProxyReader(worker.limits_of(self.label).proxy_bytes)
        self._timer = worker.loop.call_later(worker.timeouts_of(self.label).proxy_header, self._expired)

    def data_received(self, data):
        """Octets of the header, and perhaps of what comes behind it."""
        reader, transport = self._reader, self._transport
        if reader is None:
            return
        header = reader.feed(data)
        if header is None:
            if reader.error is not None:
                if reader.too_long:
                    metrics.count(_LIMIT)
                self._refuse("wrong", reader.error)
            return
        self._over()
        metrics.count(_HEADERS["v1" if header.version == 1 else "v2"])
        inbound = self._make()
        inbound.proxied = header
        transport.set_protocol(inbound)
        inbound.connection_made(transport)
        if reader.rest and not transport.is_closing():
            # By way of the transport: TLS may have put itself between.
            transport.get_protocol().data_received(reader.rest)

    def eof_received(self):
        """A connection without a header: a look whether somebody listens."""
        if self._reader is not None:
            metrics.count(_HEADERS["missing"])
        self._over()
        return False

    def connection_lost(self, error):
        """It is gone."""
        self._over()

    def abort(self):
        """The server stops: a connection without a header has nothing to finish."""
        self._over()
        self._transport.abort()

    def _expired(self):
        self._timer = None
        metrics.count(_TIMEOUT)
        self._refuse("missing", f"nothing complete came within {self.worker.timeouts_of(self.label).proxy_header:g} s")

    def _refuse(self, outcome, why):
        metrics.count(_HEADERS[outcome])
        self.worker.log.write(logs.WARNING, "-", "no PROXY header", client=self._peer, listener=self.label, why=why)
        self._over()
        self._transport.close()

    def _over(self):
        self._reader = None
        self.worker.entering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
