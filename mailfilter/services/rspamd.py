"""Rspamd: a message and what is known of its sender go to it by HTTP (POST /checkv2), and JSON comes back.

Connections are kept. What comes back is not trusted further than its sizes and kinds: only the members that are known here are
passed on, and what is not of the kind it should be is as if it were not there.

Must not know: policies, headers of messages.
"""
import asyncio
import json
import re

from mailfilter.errors import MailfilterError, ServiceError, ServiceProtocolError, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.connections import Connections
from mailfilter.services.stream import open_stream
from mailfilter.services.tls_context import client_context

__all__ = ["request_of", "rspamd_at"]

LINE_OCTETS, LINES = 8192, 100
"""The longest line of an answer's header, and how many there may be."""

ANSWER_OCTETS = 4 << 20
"""The largest answer."""

SYMBOLS = 1000
"""Symbols of one answer that are passed on, and as many URLs."""

IDLE_S = 10.0
"""How long a connection is kept."""

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d\d\d)(?: .*)?")
_NAME = re.compile(r"[A-Za-z0-9-]+")


def request_of(host, facts, size):
    """The beginning of a request: octets up to the empty line. facts: [header, value, …] that are sent along."""
    name = "localhost" if host.startswith("unix:") or not host.isascii() else host
    lines = ["POST /checkv2 HTTP/1.1", f"Host: {name}", f"Content-Length: {size}"]
    for header, value in zip(facts[::2], facts[1::2], strict=True):
        if not _NAME.fullmatch(header) or header.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            raise MailfilterError(f"'{header[:100]}' is no header to be sent to Rspamd")
        # What a client called itself must not become a header of its own.
        lines.append(f"{header}: " + re.sub(r"[\x00-\x1f\x7f]", "?", value))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def rspamd_at(outside, address, tls=None):
    """The Rspamd at an Address, shared by all sessions of the worker whose Outside this is.

    tls: None, or (file with certificates of authorities or None, whether to verify, name that the certificate must have).
    """
    return outside.get("rspamd", (address, tls), lambda outside: _Rspamd(outside, address, tls))


class _Rspamd:
    """An Rspamd as one worker uses it. circuit: where requests to it pass."""

    def __init__(self, outside, address, tls):
        self.circuit = Circuit("rspamd", f"Rspamd at {address}", outside.loop, outside.report)
        self._loop = outside.loop
        self._address = address
        self._tls = tls
        self._context = None
        self._connections = Connections(outside.loop, self._open, lambda stream: stream.usable, lambda stream: stream.close(),
                                        idle_s=IDLE_S)

    async def _open(self):
        if self._tls is None:
            return await open_stream(self._loop, self._address)
        authorities, verify, name = self._tls
        if self._context is None:
            self._context = await asyncio.to_thread(client_context, authorities, verify)
        return await open_stream(self._loop, self._address, (self._context, name))

    def close(self):
        """End the connections that nobody uses."""
        self._connections.close()

    async def check(self, request, chunks_of, rewritten=0):
        """What it says of a message, as told() has it. rewritten: how large a message that it gives back may be, in octets."""
        while True:
            stream = await self._connections.take()
            kept = stream.requests > 0
            stream.requests += 1
            stream.used = False
            try:
                status, body, keep, message_at = await _exchange(stream, request, chunks_of(), ANSWER_OCTETS + rewritten)
            except (ServiceError, OSError) as error:
                self._connections.drop(stream)
                if kept and stream.over and not stream.used and not isinstance(error, ServiceProtocolError):
                    continue        # it was closed while nobody looked
                raise
            except BaseException:
                self._connections.drop(stream)
                raise
            if keep:
                self._connections.keep(stream)
            else:
                self._connections.drop(stream)
            break
        if status != 200:
            words = body[:200].decode("utf-8", "replace").strip()
            if status in (401, 403):
                raise MailfilterError(f"Rspamd refuses to be asked ({status}): {words}")
            raise ServiceUnavailable(f"Rspamd has answered {status}: {words}")
        if message_at is None:
            return told(body) | {"rewritten": None}
        if not 0 < message_at <= len(body):
            raise ServiceProtocolError(f"a message at {message_at} in an answer of {len(body)} octets")
        return told(body[:message_at]) | {"rewritten": body[message_at:]}


async def _exchange(stream, request, chunks, most):
    """(status, body of at most `most` octets, whether the connection can be used again, where in the body a message begins or
    None)."""
    problem = None
    try:
        await stream.write(request)
        for chunk in chunks:
            if chunk:
                await stream.write(chunk)
    except ServiceUnavailable as error:
        problem = error             # it may have said why before it closed
    try:
        status = _STATUS.fullmatch((await stream.line(LINE_OCTETS)).rstrip(b"\r"))
    except ServiceUnavailable as error:
        raise problem or error from None
    stream.used = True
    if status is None:
        raise ServiceProtocolError("what answers is no HTTP server")
    keep, length, chunked, message_at = status[1] == b"1", None, False, None
    for _ in range(LINES):
        line = (await stream.line(LINE_OCTETS)).rstrip(b"\r")
        if not line:
            break
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if name == b"content-length" and value.isdigit() and len(value) < 16:
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
        elif name == b"message-offset" and value.isdigit() and len(value) < 16:
            message_at = int(value)
        elif name == b"connection":
            keep = value.lower() == b"keep-alive" or keep and value.lower() != b"close"
    else:
        raise ServiceProtocolError("a header without end")
    if chunked:
        body = await _chunked(stream, most)
    elif length is not None:
        if length > most:
            raise ServiceProtocolError(f"an answer of {length} octets")
        body = await stream.exactly(length)
    else:
        body, keep = await _rest(stream, most), False
    return int(status[2]), body, keep and problem is None, message_at


async def _chunked(stream, most):
    found, size = [], 0
    while True:
        line = (await stream.line(LINE_OCTETS)).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line):
            raise ServiceProtocolError("a chunk without a size")
        length = int(line, 16)
        size += length
        if size > most:
            raise ServiceProtocolError("an answer that is too long")
        if length:
            found.append(await stream.exactly(length))
        if await stream.line(LINE_OCTETS) not in (b"\r", b"") or not length:
            return b"".join(found)


async def _rest(stream, most):
    found, size = [], 0
    while piece := await stream.some(65536):
        size += len(piece)
        if size > most:
            raise ServiceProtocolError("an answer that is too long")
        found.append(piece)
    return b"".join(found)


def _text(value):
    return value if isinstance(value, str) else None


def _number(value):
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15 else 0


def _texts(value):
    values = value if isinstance(value, list) else [value]
    return [text for text in values[:SYMBOLS] if isinstance(text, str)]


def told(body):
    """An answer as a dict, with the members that js/rspamd.js passes on. ServiceProtocolError for what is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise ServiceProtocolError("Rspamd's answer is no JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("action"), str):
        if isinstance(said, dict) and isinstance(said.get("error"), str):
            raise ServiceUnavailable(f"Rspamd has answered: {said['error'][:200]}")
        raise ServiceProtocolError("Rspamd's answer has no action")
    symbols = {}
    for name, about in list(_members(said.get("symbols")).items())[:SYMBOLS]:
        about = _members(about)
        symbols[name] = {"score": _number(about.get("score")), "description": _text(about.get("description")) or "",
                         "options": _texts(about.get("options", []))}
    milter = _members(said.get("milter"))
    return {
        "action": said["action"], "score": _number(said.get("score")), "required": _number(said.get("required_score")),
        "skipped": said.get("is_skipped") is True, "symbols": symbols, "urls": _texts(said.get("urls", [])),
        "emails": _texts(said.get("emails", [])), "subject": _text(said.get("subject")),
        "messages": {name: text for name, text in list(_members(said.get("messages")).items())[:SYMBOLS]
                     if isinstance(text, str)},
        "dkim": _texts(said.get("dkim-signature", [])), "add": _additions(milter.get("add_headers")),
        "remove": [[name, place] for name, places in list(_members(milter.get("remove_headers")).items())[:SYMBOLS]
                   for place in (places if isinstance(places, list) else [places])[:SYMBOLS]
                   if isinstance(place, int) and not isinstance(place, bool)],
        "addRecipients": _texts(milter.get("add_rcpt", [])), "removeRecipients": _texts(milter.get("del_rcpt", [])),
        "sender": _text(milter.get("change_from")), "reject": _text(milter.get("reject")),
    }


def _members(value):
    return value if isinstance(value, dict) else {}


def _additions(value):
    """[[name, value, place], …] of headers to add; place -1: at the end."""
    found = []
    for name, given in list(_members(value).items())[:SYMBOLS]:
        for one in (given if isinstance(given, list) else [given])[:SYMBOLS]:
            order = -1
            if isinstance(one, dict):
                order = one.get("order")
                order = order if isinstance(order, int) and not isinstance(order, bool) else -1
                one = one.get("value")
            if isinstance(one, str) and _NAME.fullmatch(name):
                found.append([name, one, order])
    return found
