"""The operation by which SmtpClient proves to a next hop who it is: one mechanism of SASL over AUTH (RFC 4954).

Must not know: what a mechanism computes (services/sasl.py).
"""
import asyncio
import base64
import binascii

from mailfilter.errors import MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.policy.client_operations import hop_of, response
from mailfilter.services import sasl

__all__ = ["authenticate"]


async def _reply(hop):
    future = asyncio.get_running_loop().create_future()

    def received(answer, error):
        if not future.done():
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

    answer = hop.receive(received)
    return answer if answer is not None else await future


def _coded(text):
    """As it stands in AUTH: an empty initial response is "=" (RFC 4954 §4)."""
    return base64.b64encode(text) or b"="


async def _converse(hop, mechanism, exchange):
    async def compute(function, *arguments):
        if exchange.heavy:
            return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        return function(*arguments)

    first = exchange.first()
    hop.command(b"AUTH", octets(mechanism) if first is None else octets(mechanism) + b" " + _coded(first))
    while True:
        reply = await _reply(hop)
        if reply.code != 334:
            if reply.code < 300 and not exchange.proved:
                hop.spoil("the next hop has not proved that it knows the password")
                raise MailfilterError(f"AUTH: {hop.name} has not proved that it knows the password")
            return response(reply)
        try:
            challenge = base64.b64decode(b"".join(reply.lines), validate=True)
            line = base64.b64encode(await compute(exchange.answer, challenge))
        except (sasl.SaslError, binascii.Error) as error:
            hop.auth_line(b"*")
            reply = await _reply(hop)
            if reply.code < 400:
                hop.spoil("AUTH was given up, and the next hop accepted")
            why = "the challenge is no base64" if isinstance(error, binascii.Error) else str(error)
            raise MailfilterError(f"AUTH: {hop.name}: {why}") from None
        hop.auth_line(line)


def authenticate(context, waiting, handle, mechanism, user, secret, clear):
    """AUTH by a mechanism: the reply that ends it, [code, [line, …]]. A secret goes out in clear text only if `clear`."""
    hop = hop_of(context, handle)
    exchange = sasl.exchange(mechanism, octets(user), octets(secret), hop.host, hop.port)
    if exchange.clear and hop.tls is None and not clear:
        raise MailfilterError(f"AUTH: {mechanism} sends the secret itself, and there is no TLS to {hop.name}")
    offered = (hop.extensions.get(b"AUTH") or b"").upper().split()
    if octets(mechanism).upper() not in offered:
        raise MailfilterError(f"AUTH: {hop.name} does not offer {mechanism}")
    return waiting.run(_converse(hop, mechanism.upper(), exchange))
