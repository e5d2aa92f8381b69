"""HTTP and HTTPS requests by aiohttp: bounded in time, in size and in redirects; no cookies, no proxies of the environment.

aiohttp, because it is kept well and its parser is compiled.

A policy may be led to ask what it should not: an address inside one's own network, by a URL out of a message. For such
URLs there is `public`: nothing is then connected to that is not a public address, whatever a name resolves to and wherever a
redirect leads (the addresses that are checked are those that are connected to).

Must not know: policies, what is asked for.
"""
import asyncio
import importlib.util
import ipaddress
import re
import socket
from collections import namedtuple
from urllib.parse import urljoin, urlsplit

from mailfilter.errors import ConfigError, MailfilterError, ServiceProtocolError, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.tls_context import client_context

__all__ = ["BODY", "LARGEST", "REDIRECTS", "Answer", "check", "checked", "open_server", "origin"]

BODY = 1 << 20
"""Octets of an answer's body where a policy does not say otherwise."""

LARGEST = 4 << 20
"""Octets that a policy may allow, and of a request's body."""

REDIRECTS = 5
"""Redirects that are followed at most, where a policy wants them followed."""

HEADERS = 100
"""Fields of a request's header."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\uffff]{0,8192}")
_SECRET = ("authorization", "cookie", "proxy-authorization")
_PORTS = {"http": 80, "https": 443}

Answer = namedtuple("Answer", "status reason headers body url")


def check():
    """ConfigError when what it needs is not installed."""
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError("Http needs aiohttp, which is not installed: pip install 'mailfilter[http]'")


def origin(url):
    """(scheme, host, port) of a URL; ConfigError when it is none that can be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"'{url[:200]}' is no URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or re.search(r"[\x00-\x20\x7f\\]", url):
        raise ConfigError(f"'{url[:200]}' is no URL that begins with http:// or https://")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def open_server(outside, url, tls, public):
    """The Server that a URL leads to. tls: (file with certificates of authorities or None, whether to verify)."""
    scheme, host, port = origin(url)
    key = scheme, host, port, tls, public
    return outside.get("http", key, lambda outside: Server(outside, f"{scheme}://{host}:{port}", tls, public))


class _Resolver:
    """Resolves names for aiohttp; where only public addresses are wanted, gives no others."""

    def __init__(self, loop, public):
        self._loop = loop
        self._public = public

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        found = await self._loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        hosts = [{"hostname": host, "host": address[0], "port": address[1], "family": family, "proto": 0,
                  "flags": socket.AI_NUMERICHOST} for family, _, _, _, address in found
                 if not self._public or _is_public(address[0])]
        if not hosts:
            raise OSError(None, f"{host} has no public address")
        return hosts

    async def close(self):
        """Nothing to close."""


def _is_public(address):
    parsed = ipaddress.ip_address(address.partition("%")[0])
    parsed = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None) or parsed
    return parsed.is_global and not parsed.is_multicast


class Server:
    """An origin as one worker asks it. circuit: where requests to it pass."""

    def __init__(self, outside, name, tls, public):
        self.circuit = Circuit("http", name, outside.loop, outside.report)
        self._loop = outside.loop
        self._tls = tls
        self._public = public
        self._session = None

    async def _client(self):
        import aiohttp
        if self._session is None:
            authorities, verify = self._tls
            context = True
            if authorities is not None or not verify:
                context = await asyncio.to_thread(client_context, authorities, verify)
            if self._session is None:       # somebody else may have been faster
                connector = aiohttp.TCPConnector(limit=20, ssl=context, resolver=_Resolver(self._loop, self._public))
                self._session = aiohttp.ClientSession(
                    connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None),
                    headers={"User-Agent": "Mailfilter"}, auto_decompress=True, max_line_size=8190, max_field_size=8190)
        return self._session

    async def request(self, method, url, headers, body, redirects, limit):
        """Ask; an Answer. headers: [(name, value), …]. redirects: how many to follow. limit: octets of the body."""
        import aiohttp
        session, name = await self._client(), self.circuit.name
        try:
            while True:
                self._allowed(url)
                async with session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                    location = answer.headers.get("Location")
                    if location is None or answer.status not in (301, 302, 303, 307, 308) or not redirects:
                        return await _read(answer, url, limit, name)
                redirects -= 1
                following = urljoin(url, location)
                method, body, headers = _redirected(answer.status, url, following, method, body, headers)
                url = following
        except ConfigError as error:        # where a redirect leads
            raise ServiceProtocolError(f"{name}: {error}") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise ServiceUnavailable(f"{name}: {error}") from error
        except aiohttp.InvalidURL as error:
            raise MailfilterError(f"{error} is no URL") from error
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
            raise ServiceProtocolError(f"{name}: {type(error).__name__}: {error}") from error

    def _allowed(self, url):
        _, host, _ = origin(url)
        if self._public:
            try:
                public = _is_public(host)
            except ValueError:
                return              # a name; its addresses are looked at when it is resolved
            if not public:
                raise ServiceUnavailable(f"{host} is no public address")

    async def close(self):
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


async def _read(answer, url, limit, name):
    if answer.content_length is not None and answer.content_length > limit:
        raise ServiceProtocolError(f"{name}: the answer has {answer.content_length} octets; the limit is {limit}")
    found, size = [], 0
    async for chunk in answer.content.iter_chunked(65536):
        size += len(chunk)
        if size > limit:
            raise ServiceProtocolError(f"{name}: the answer has more than {limit} octets")
        found.append(chunk)
    headers = {}
    for field, value in answer.headers.items():
        field = field.lower()
        headers[field] = f"{headers[field]}, {value}" if field in headers else value
    return Answer(answer.status, answer.reason or "", headers, b"".join(found), url)


def _redirected(status, url, following, method, body, headers):
    """(method, body, headers) of the request that a redirect asks for (RFC 9110 §15.4)."""
    here, there = origin(url), origin(following)
    if here[0] == "https" and there[0] == "http":
        raise ConfigError("a redirect leads from https to http")
    if here != there:
        headers = [(name, value) for name, value in headers if name.lower() not in _SECRET]
    if status == 303 and method != "HEAD" or status in (301, 302) and method == "POST":
        method, body = "GET", None
        headers = [(name, value) for name, value in headers if not name.lower().startswith("content-")]
    return method, body, headers


def checked(method, headers, body):
    """Raise ConfigError unless a request can be made of these."""
    if not _TOKEN.fullmatch(method):
        raise ConfigError(f"'{method}' is no method")
    if len(headers) > HEADERS:
        raise ConfigError(f"a request has at most {HEADERS} header fields")
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the header field '{name[:100]}' cannot be sent")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ConfigError(f"the header field '{name}' is not for a policy to say")
    if body is not None and len(body) > LARGEST:
        raise ConfigError(f"a request's body has at most {LARGEST} octets")
