"""Delivers a message that was held back: one transaction with a next hop, and what it has said about each recipient.

A recipient has the message when the next hop has said so after the message, with LMTP for that recipient. Whoever calls is told
of each at once, before the next reply is read, so that whatever is killed then, nobody gets it twice who was told of, and nobody
who was not told of is taken for served.

Must not know: where messages are held, who released them.
"""
import asyncio

from mailfilter._core.address import PathError, parse_path
from mailfilter._core.reply import Reply
from mailfilter.errors import ServiceProtocolError, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.mail.spool import stuffed
from mailfilter.net.outbound import NextHop
from mailfilter.policy.onward import refusal_of, suited

__all__ = ["Route", "deliver", "path_of", "text_of"]


class Route:
    """Where messages go. host, port: of the next hop, or host "unix:/path". lmtp: whether it speaks LMTP. tls: a ClientTls.
    hostname: our name, octets. timeouts: a config.Timeouts."""

    def __init__(self, host, port, *, lmtp, tls, hostname, timeouts):
        self.host = host
        self.port = port
        self.lmtp = lmtp
        self.tls = tls
        self.hostname = hostname
        self.timeouts = timeouts


def text_of(reply):
    """A reply as one line of text: "250 2.1.5 Ok"."""
    return f"{reply.code} " + " ".join(line.decode("utf-8", "surrogateescape") for line in reply.lines)


def path_of(text):
    """An address, with or without its angle brackets, as a path in them; None when it is none."""
    text = text if text.startswith("<") else f"<{text}>"
    try:
        path, rest = parse_path(octets(text), allow_null=False, utf8=True)
    except PathError:
        return None
    return None if rest else octets(path.text).decode("utf-8", "surrogateescape")


async def deliver(route, sender, recipients, size, chunks, told):
    """Send a message of `size` octets to the next hop of a Route.

    sender, recipients: (path in angle brackets, {parameter: value or None}) each. chunks: called for the message, un-stuffed.
    told(path, reply): called for each recipient as soon as it is known what becomes of it: a reply of 2xx means that it has the
    message.

    ServiceError: the dialogue went wrong; recipients of whom nothing was told have it or not, which nobody knows after a
    connection that was lost behind the final dot.
    """
    hop = await _open(route)
    try:
        await _transaction(hop, sender, recipients, size, chunks, told)
    finally:
        hop.leave()


async def _open(route):
    hop = await _connected(route)
    try:
        if route.tls.mode == "off" or not route.tls.required and b"STARTTLS" not in hop.extensions:
            return hop
        try:
            reply = await _start_tls(hop, route.tls)
        except ServiceUnavailable:
            if route.tls.required:
                raise
            hop.close()
            return await _connected(route)
        if reply.code >= 300:
            if route.tls.required:
                raise ServiceUnavailable(f"{hop.name} refused STARTTLS: {text_of(reply)}")
            return hop
        await _hello(hop, route)
        return hop
    except BaseException:
        hop.close()
        raise


async def _connected(route):
    loop = asyncio.get_running_loop()
    hop = NextHop(loop, route.host, route.port, route.timeouts, lmtp=route.lmtp)
    connected = loop.create_future()
    hop.connect(lambda error: _settle(connected, None, error))
    try:
        await connected
        greeting = await _reply(hop)
        if greeting.code >= 300:
            raise ServiceUnavailable(f"{hop.name} does not want to talk: {text_of(greeting)}")
        await _hello(hop, route)
    except BaseException:
        hop.close()
        raise
    return hop


async def _hello(hop, route):
    for verb in (b"LHLO",) if route.lmtp else (b"EHLO", b"HELO"):
        reply = await _command(hop, verb, route.hostname)
        if reply.code < 300:
            return
    raise ServiceUnavailable(f"{hop.name} refused {verb.decode()}: {text_of(reply)}")


async def _start_tls(hop, tls):
    if b"STARTTLS" not in hop.extensions:
        raise ServiceUnavailable(f"{hop.name} does not offer STARTTLS")
    upgraded = asyncio.get_running_loop().create_future()
    hop.start_tls(tls, lambda reply, error: _settle(upgraded, reply, error))
    return await upgraded


async def _transaction(hop, sender, recipients, size, chunks, told):
    path, parameters = sender
    parameters = {name: value for name, value in parameters.items() if name not in ("SIZE", "AUTH", "PRDR")}
    if str(parameters.get("BODY")).upper() == "BINARYMIME":
        parameters["BODY"] = "8BITMIME"             # it was no binary body, whatever was said
    parameters["SIZE"] = str(size)
    reply = await _envelope(hop, b"MAIL", b"FROM:", path, parameters)
    if reply.code >= 300:
        _tell_all(told, recipients, reply)
        return
    accepted = []
    for recipient in recipients:
        reply = await _envelope(hop, b"RCPT", b"TO:", *recipient)
        if reply.code < 300:
            accepted.append(recipient)
        else:
            told(recipient[0], reply)
    if not accepted:
        return
    reply = await _command(hop, b"DATA")
    if reply.code != 354:
        if reply.code < 300:
            raise ServiceProtocolError(f"{hop.name} answered DATA with {text_of(reply)}")
        _tell_all(told, accepted, reply)
        return
    hop.begin_message()
    handed_over = asyncio.get_running_loop().create_future()
    if not hop.send_message(stuffed(chunks()), lambda error: _settle(handed_over, None, error)):
        await handed_over
    if hop.lmtp:
        for path, _parameters in accepted:
            told(path, await _reply(hop))
    else:
        _tell_all(told, accepted, await _reply(hop))


def _tell_all(told, recipients, reply):
    for path, _parameters in recipients:
        told(path, reply)


async def _envelope(hop, verb, words, path, parameters):
    refusal = refusal_of(hop, path, parameters)
    if refusal is not None:
        return Reply(refusal[0], [octets(line) for line in refusal[1]])
    return await _command(hop, verb, words + octets(path) + octets(suited(hop.extensions, parameters)))


async def _command(hop, verb, arguments=None):
    hop.command(verb, arguments)
    return await _reply(hop)


async def _reply(hop):
    received = asyncio.get_running_loop().create_future()
    reply = hop.receive(lambda reply, error: _settle(received, reply, error))
    return reply if reply is not None else await received


def _settle(future, value, error):
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
