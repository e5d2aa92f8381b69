"""The operation of Milter: a message is shown to a filter that speaks libmilter's protocol, with what is known of its session.

Must not know: what a policy does with the outcome.
"""
from mailfilter.errors import MailfilterError, ServiceProtocolError
from mailfilter.mail.octets import octets
from mailfilter.mail.returned import Returned
from mailfilter.policy.guarded import ask, outside, seconds_of
from mailfilter.policy.message_operations import add_body, message_of, pairs_of
from mailfilter.services.milter import Facts, milter_at
from mailfilter.services.stream import address_of

__all__ = ["check"]


def _facts(told, lines):
    facts = Facts()
    name, address, port, helo, sender, recipients, macros, rcpt_macros = told
    facts.name, facts.address, facts.port = octets(name), None if address is None else octets(address), int(port)
    facts.helo = None if helo is None else octets(helo)
    facts.sender = [octets(text) for text in sender]
    facts.recipients = [[octets(text) for text in path] for path in recipients]
    facts.macros = {str(name): octets(value) for name, value in macros.items()}
    facts.rcpt_macros = [{str(name): octets(value) for name, value in row.items()} for row in rcpt_macros]
    facts.headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            facts.headers.append((name.rstrip(b" \t"), value))
    return facts


def check(context, waiting, host, port, told, headers, body, most, seconds, away):
    """[action, code or null, [line, …], quarantine or null, refused, headers, recipients, sender or null, body or null]; null for
    a message that is too big."""
    message = message_of(context, body)
    pairs = list(pairs_of(headers))
    if message.plain_size(pairs) > most:
        return None
    try:
        facts = _facts(told, message.outgoing(pairs))
    except (ValueError, TypeError, AttributeError):
        raise MailfilterError("the session cannot be told to a milter") from None
    service = milter_at(outside(context), address_of(host, port))

    async def make():
        replaced = []

        def replace(chunk):
            replaced.append(len(chunk))
            if sum(replaced) > most + message.body.body_bytes:
                raise ServiceProtocolError("the milter's body is too big")
            returned.take(chunk)

        with Returned(message.body) as returned:
            returned.take(b"\r\n")
            outcome = await service.check(facts, message.body.chunks(), replace)
            returned.finish()
        new = add_body(context, returned.body) if replaced and outcome.action == "accept" else None
        if new is None:
            returned.close()
        return [outcome.action, outcome.code, outcome.lines, outcome.quarantine, [list(one) for one in outcome.refused],
                [list(one) for one in outcome.headers], [list(one) for one in outcome.recipients],
                None if outcome.sender is None else list(outcome.sender), new]

    return ask(context, waiting, service.circuit, make, seconds=seconds_of(seconds, context.timeouts.milter), away=away)
