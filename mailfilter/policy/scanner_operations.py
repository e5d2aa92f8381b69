"""Operations that have a message scanned by a service outside: ClamAV, SpamAssassin, Rspamd.

Must not know: what a policy does with a verdict.
"""
import asyncio

from mailfilter import log as logs
from mailfilter.errors import MailfilterError
from mailfilter.mail.returned import Returned
from mailfilter.policy.guarded import ask, outside, seconds_of
from mailfilter.policy.message_operations import add_body, message_of, pairs_of
from mailfilter.services import rspamd as rspamd_service
from mailfilter.services import spamd
from mailfilter.services.clamd import clamd_at
from mailfilter.services.stream import address_of

__all__ = ["clamav", "rspamd", "spamassassin", "spamassassin_modify"]

_PIECE_OCTETS = 65536


def _outgoing(context, headers, body, most):
    """(message, pairs) as it would leave, or None when it has more octets than `most`."""
    message = message_of(context, body)
    pairs = list(pairs_of(headers))
    return None if message.plain_size(pairs) > most else (message, pairs)


def clamav(context, waiting, host, port, headers, body, most, seconds, away):
    """[program, version of the signatures, their date, name or null]; null for a message that is too big."""
    outgoing = _outgoing(context, headers, body, most)
    if outgoing is None:
        return None
    message, pairs = outgoing
    service = clamd_at(outside(context), address_of(host, port))

    async def make():
        verdict = await service.scan(lambda: message.plain_chunks(pairs))
        if verdict.too_big:
            context.log.write(logs.WARNING, context.session_id, "clamd does not take so much: its StreamMaxLength is less than "
                              "MAX_MESSAGE_LEN", size=message.plain_size(pairs))
            return None
        return [verdict.program, verdict.version, verdict.date, verdict.name]

    return ask(context, waiting, service.circuit, make, seconds=seconds_of(seconds, context.timeouts.clamav), away=away)


def _user(text):
    if any(char < " " or char == "\x7f" for char in text):
        raise MailfilterError("a user's name has no control characters")
    return text


def spamassassin(context, waiting, host, port, user, headers, body, most, seconds, away):
    """[spam, score, required, report, six lines or null, [[test, score, description], …]]; null for too big a one."""
    outgoing = _outgoing(context, headers, body, most)
    if outgoing is None:
        return None
    message, pairs = outgoing
    service, user = spamd.spamd_at(outside(context), address_of(host, port)), _user(user)

    async def make():
        verdict = await spamd.report(service, user, message.plain_size(pairs), message.plain_chunks(pairs))
        tests = [list(test) for test in verdict.tests]
        return [verdict.spam, verdict.score, verdict.required, verdict.report, verdict.six, tests]

    return ask(context, waiting, service.circuit, make, seconds=seconds_of(seconds, context.timeouts.spamassassin), away=away)


def spamassassin_modify(context, waiting, host, port, user, headers, body, most, seconds, away):
    """[spam, score, required, [name, [line, …], …] of the header, number and length of the body] of what comes back."""
    outgoing = _outgoing(context, headers, body, most)
    if outgoing is None:
        return None
    message, pairs = outgoing
    if message.body.binary:
        raise MailfilterError("a binary body cannot be given to spamd to be changed: it is no text of lines")
    service, user = spamd.spamd_at(outside(context), address_of(host, port)), _user(user)

    async def make():
        with Returned(message.body) as returned:
            verdict = await spamd.process(service, user, message.plain_size(pairs), message.plain_chunks(pairs),
                                          returned.take)
            returned.finish()
        return [verdict.spam, verdict.score, verdict.required, *_for_policy(context, returned)]

    return ask(context, waiting, service.circuit, make, seconds=seconds_of(seconds, context.timeouts.spamassassin), away=away)


def rspamd(context, waiting, host, port, facts, tls, rewrite, headers, body, most, seconds, away):
    """What Rspamd says, an object; null for a message that is too big. facts: [header of the request, value, …].

    tls: [], or [file of authorities or null, whether to verify, name or null]. rewrite: whether a changed message is wanted;
    `rewritten` is then null or [[name, [line, …], …] of the header, number and length of the body].
    """
    outgoing = _outgoing(context, headers, body, most)
    if outgoing is None:
        return None
    message, pairs = outgoing
    if rewrite and message.body.binary:
        raise MailfilterError("a binary body cannot be given to Rspamd to be changed: it is no text of lines")
    if tls:
        authorities, verify, name = tls
        tls = (authorities, bool(verify), name or ("localhost" if host.startswith("unix:") else host.strip("[]")))
    service = rspamd_service.rspamd_at(outside(context), address_of(host, port), tls or None)
    request = rspamd_service.request_of(str(host), [str(fact) for fact in facts], message.plain_size(pairs))

    async def make():
        # Whoever rewrites a message adds to it, but does not make it many times as large.
        room = 2 * message.plain_size(pairs) + (1 << 20) if rewrite else 0
        said = await service.check(request, lambda: message.plain_chunks(pairs), room)
        if said["rewritten"] is not None:
            said["rewritten"] = await _returned(context, message.body, said["rewritten"]) if rewrite else None
        return said

    return ask(context, waiting, service.circuit, make, seconds=seconds_of(seconds, context.timeouts.rspamd), away=away)


async def _returned(context, like, octets):
    """What _for_policy gives, of a message that came back whole."""
    def take():
        for place in range(0, len(octets), _PIECE_OCTETS):
            returned.take(octets[place:place + _PIECE_OCTETS])
        returned.finish()

    with Returned(like) as returned:
        if len(octets) > _PIECE_OCTETS:
            await asyncio.to_thread(take)
        else:
            take()
    return _for_policy(context, returned)


def _for_policy(context, returned):
    """[[name, [line, …], …] of the header, number and length of the body] of a finished Returned."""
    flat = []
    for field in returned.fields:
        flat += [field.name, field.parts]
    return [flat, *add_body(context, returned.body)]
