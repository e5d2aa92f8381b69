"""Operations of Dkim: verifying the signatures of a message, and signing one.

The work is that of services/dkim.py. Bodies of more than a few pages are hashed in a thread, so that nobody waits for them.

Must not know: what a policy makes of a signature.
"""
import os
import time
from functools import lru_cache

from mailfilter.errors import ConfigError, MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.policy.message_operations import message_of, pairs_of
from mailfilter.policy.operation import PENDING
from mailfilter.services import dkim as service

__all__ = ["sign", "verify", "with_body_hashes"]

INLINE_OCTETS = 65536
"""Bodies up to this size are hashed at once; larger ones in a thread."""


def with_body_hashes(context, waiting, message, wanted, then):
    """Call then(hashes) when the body is hashed as `wanted`; at once when it is small. What then() raises fails the handler."""
    if not wanted or message.body.wire_bytes <= INLINE_OCTETS and message.body.in_memory:
        then(service.body_hashes(wanted, message.body.chunks()) if wanted else {})
        return
    future = context.loop.run_in_executor(None, service.body_hashes, wanted, message.body.chunks())
    waiting.on_cancel = future.cancel

    def hashed(done):
        if done.cancelled():
            return
        waiting.on_cancel = None
        try:
            then(done.result())
        except Exception as error:
            waiting.failed(error)

    future.add_done_callback(hashed)


def _row(signature):
    return [signature.result, signature.reason, signature.domain, signature.selector, signature.identity, signature.algorithm,
            signature.canonicalization, signature.key_bits, signature.headers, signature.length, signature.unsigned,
            signature.testing, signature.timestamp, signature.expires, signature.value]


def verify(context, waiting, headers, body):
    """One row for each DKIM-Signature, in their order; see services/dkim.Signature."""
    message = message_of(context, body)
    fields = service.headers_of(message.outgoing(pairs_of(headers)))

    def hashed(bodies):
        call = service.verify(context.resolver, fields, bodies, lambda found: waiting.done([_row(one) for one in found]))
        waiting.on_cancel = call.cancel

    with_body_hashes(context, waiting, message, service.wanted_bodies(fields), hashed)
    return PENDING


@lru_cache(maxsize=256)
def _key_of_text(text):
    return service.PrivateKey(text)


@lru_cache(maxsize=256)
def _key_of_file(path, _changed):
    with open(path, "rb") as file:
        return service.PrivateKey(file.read(65536), path)


def private_key(text):
    """The key that a policy means: the text of one, or the path of its file (a new file is read again)."""
    try:
        if text.startswith("/"):
            about = os.stat(text)
            return _key_of_file(text, (about.st_mtime_ns, about.st_ino, about.st_size))
        return _key_of_text(text)
    except OSError as error:
        raise MailfilterError(f"the key {text} cannot be read: {error.strerror}") from None
    except ConfigError as error:
        raise MailfilterError(str(error)) from None


def sign(context, waiting, headers, body, domain, selector, key, include, oversign, canonicalization, identity, seconds):
    """The value of a DKIM-Signature for the message as it would leave with these headers."""
    message = message_of(context, body)
    key = private_key(key)
    fields = service.headers_of(message.outgoing(pairs_of(headers)))
    kind = canonicalization.partition("/")[2] or "simple"

    def hashed(bodies):
        now = time.time()
        field = service.sign(
            fields, bodies, domain=octets(domain), selector=octets(selector), key=key,
            include=[octets(name).lower() for name in include], oversign={octets(name).lower() for name in oversign},
            canonicalization=canonicalization, identity=None if identity is None else octets(identity), now=now,
            expires=now + seconds if seconds > 0 else None)
        waiting.done(field.partition(b": ")[2].rstrip(b"\r\n"))

    with_body_hashes(context, waiting, message, {(kind, "sha256", None)}, hashed)
    return PENDING
