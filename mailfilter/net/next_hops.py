"""Next hops as a session's policy asks for them: its options become a connection that can be opened, or demands on TLS.

Compiled: next_hops.pxd. Must not know: what is said on the connection.
"""
from mailfilter.errors import ConfigError
from mailfilter.net.outbound import NextHop
from mailfilter.net.proxy_header import proxy_header
from mailfilter.net.tls import ClientTls

__all__ = ["demands", "next_hop"]


def _endpoint(value, what):
    """(address, port) of `[address, port]`."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ConfigError(f"{what} must be [address, port]")
    try:
        return str(value[0]), int(value[1])
    except (TypeError, ValueError):
        raise ConfigError(f"{what} must be [address, port]") from None


def next_hop(inbound, host, port, options):
    """A NextHop that is not open yet, for the session of `inbound`.

    options: lmtp (bool), sourceAddress (text, or [text, port]), timeouts ({name: seconds}), proxyProtocol (1 or 2),
        proxySource and proxyDestination ([address, port]; those of the client's connection by default).

    ConfigError: a value cannot be used.
    """
    worker = inbound.worker
    source = options.get("sourceAddress")
    if source is not None:
        source = (source, 0) if isinstance(source, str) else _endpoint(source, "sourceAddress")
    timeouts = options.get("timeouts") or {}
    if not isinstance(timeouts, dict):
        raise ConfigError("timeouts must be an object of names and seconds")
    preface = b""
    if options.get("proxyProtocol"):
        ends = [_endpoint(options[name], name) if options.get(name) is not None else own
                for name, own in (("proxySource", inbound.remote), ("proxyDestination", inbound.local))]
        preface = proxy_header(options["proxyProtocol"], *ends)
    return NextHop(worker.loop, host, port, inbound.timeouts.replaced(timeouts, "SmtpClient timeouts"), inbound.log,
                   inbound.session_id, inbound.debugging, lmtp=bool(options.get("lmtp")), source=source, preface=preface)


def demands(options):
    """What TLS to a next hop must be: a ClientTls of the options mode, ca, name, fingerprint."""
    for name in ("mode", "ca", "name"):
        if not isinstance(options.get(name, ""), str):
            raise ConfigError(f"TLS option {name} must be a text")
    fingerprints = options.get("fingerprint", ())
    fingerprints = [fingerprints] if isinstance(fingerprints, str) else fingerprints
    if not isinstance(fingerprints, (list, tuple)) or not all(isinstance(one, str) for one in fingerprints):
        raise ConfigError("TLS option fingerprint must be a text or an array of texts")
    return ClientTls(options.get("mode", "opportunistic"), ca=options.get("ca"), name=options.get("name"),
                     fingerprint=fingerprints)
