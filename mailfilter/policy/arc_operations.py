"""Operations of Arc: verifying the chain of a message, and going on with it.

The work is that of services/arc.py; bodies are hashed as those of Dkim are.

Must not know: what a policy makes of a chain.
"""
import time

from mailfilter.mail.octets import octets
from mailfilter.policy.dkim_operations import private_key, with_body_hashes
from mailfilter.policy.message_operations import message_of, pairs_of
from mailfilter.policy.operation import PENDING
from mailfilter.services import arc as service
from mailfilter.services.dkim import headers_of

__all__ = ["seal", "verify"]


def _row(chain):
    return [chain.result, chain.reason, chain.temporary, chain.ended, chain.oldest_pass, [
        [one.instance, one.cv, one.seal.domain, one.seal.selector, one.seal.result, one.seal.reason, one.signature.domain,
         one.signature.result, one.signature.reason, one.seal.timestamp, one.results, one.signature.headers,
         one.signature.unsigned] for one in chain.sets]]


def verify(context, waiting, headers, body):
    """[result, reason, temporary, ended, oldest pass, [set, …]]; see services/arc.Chain."""
    message = message_of(context, body)
    fields = headers_of(message.outgoing(pairs_of(headers)))

    def hashed(bodies):
        call = service.verify(context.resolver, fields, bodies, lambda chain: waiting.done(_row(chain)))
        waiting.on_cancel = call.cancel

    with_body_hashes(context, waiting, message, service.wanted_bodies(fields), hashed)
    return PENDING


def seal(context, waiting, headers, body, domain, selector, key, include, results, cv):
    """The values of ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, or [] where the chain has an end."""
    message = message_of(context, body)
    key = private_key(key)
    fields = headers_of(message.outgoing(pairs_of(headers)))

    def hashed(bodies):
        made = service.seal(fields, bodies, results=octets(results), cv=octets(cv), domain=octets(domain),
                            selector=octets(selector), key=key, include=[octets(name).lower() for name in include],
                            now=time.time())
        waiting.done([field.partition(b": ")[2].rstrip(b"\r\n") for field in made])

    with_body_hashes(context, waiting, message, {("relaxed", "sha256", None)}, hashed)
    return PENDING
