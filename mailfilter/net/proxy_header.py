"""The header of the PROXY protocol as we send it to a next hop: who the client is, in front of everything else.

Versions 1 (a line of text) and 2 (binary). What a header that comes to us says is read by `_core.proxy`.

Must not know: connections, sessions, SMTP.
"""
import ipaddress
import struct

from mailfilter.errors import ConfigError

__all__ = ["proxy_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNKNOWN = 0x11, 0x21, 0x00


def _endpoint(pair):
    """(address, port) as an ip_address and a number; None for what is no endpoint of TCP."""
    if pair is None:
        return None
    try:
        address = ipaddress.ip_address(str(pair[0]).partition("%")[0])
        port = int(pair[1])
    except (ValueError, TypeError, IndexError):
        return None
    return (address, port) if 0 <= port <= 65535 else None


def _six(address):
    return address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")


def proxy_header(version, source, destination):
    """The header as octets.

    Args:
        version: 1 or 2.
        source, destination: (address, port) of the client and of where it has connected to. None, or no IP address (a
            UNIX socket): version 1 says UNKNOWN, version 2 LOCAL.

    Raises:
        ConfigError: there is no such version.
    """
    if version not in (1, 2):
        raise ConfigError(f"the PROXY protocol has no version {version!r}; known are 1 and 2")
    here, there = _endpoint(source), _endpoint(destination)
    if here is None or there is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _SIGNATURE + struct.pack("!BBH", _LOCAL, _UNKNOWN, 0)
    (client, client_port), (server, server_port) = here, there
    if client.version != server.version:
        client, server = _six(client), _six(server)
    if version == 1:
        return f"PROXY TCP{client.version} {client} {server} {client_port} {server_port}\r\n".encode("ascii")
    addresses = client.packed + server.packed + struct.pack("!HH", client_port, server_port)
    kind = _TCP4 if client.version == 4 else _TCP6
    return _SIGNATURE + struct.pack("!BBH", _PROXY, kind, len(addresses)) + addresses
