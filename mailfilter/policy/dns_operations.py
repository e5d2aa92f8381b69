"""Operations of Dns: questions to the DNS, reverse names.

The work is the resolver's (services/dns.py); here its answers become values for the policy.

Must not know: what a policy makes of the answers.
"""
from mailfilter.mail.octets import octets
from mailfilter.policy.operation import PENDING
from mailfilter.services.dns_answer import TIMEOUT, UNAVAILABLE, Answer, type_number
from mailfilter.services.reverse_names import reverse_name

__all__ = ["address", "iprev", "lookup", "question", "reverse"]


def _rows(records):
    rows = []
    for record in records:
        parts = []
        for name, value in record.parts.items():
            parts += (name, value)
        rows.append([record.name, record.kind, record.ttl, record.data, parts])
    return rows


def _ask(context, waiting, name, kind, seconds, shape):
    """Start a look-up; shape(answer) is what the policy gets, after `seconds` for "timeout" (0: the resolver's deadline)."""
    number = type_number(kind)
    if number is None:
        raise ValueError(f"there is no record type {kind}")
    if context.resolver is None:
        return shape(Answer(UNAVAILABLE, name, number, reason="there is no resolver"))
    timer = None

    def done(answer):
        if timer is not None:
            timer.cancel()
        waiting.done(shape(answer))

    def late():
        question.cancel()
        waiting.done(shape(Answer(TIMEOUT, name, number, reason=f"no answer within {seconds:g} s")))

    def cancelled():
        question.cancel()
        if timer is not None:
            timer.cancel()

    question = context.resolver.lookup(octets(name), number, done)
    if type(question) is Answer:
        return shape(question)
    if seconds > 0:
        timer = context.loop.call_later(seconds, late)
    waiting.on_cancel = cancelled
    return PENDING


def lookup(context, waiting, name, kind, seconds):
    """[status, seconds it may be kept, why it failed or null, [record, …]]: the records that belong to the name."""
    return _ask(context, waiting, name, kind, seconds,
                lambda answer: [answer.status, answer.ttl, answer.reason, _rows(answer.records)])


def question(context, waiting, name, kind, seconds):
    """[status, why it failed or null, answer, authority, additional]: the sections as they came."""
    return _ask(context, waiting, name, kind, seconds,
                lambda answer: [answer.status, answer.reason, _rows(answer.answer), _rows(answer.authority),
                                _rows(answer.additional)])


def address(context, address, suffix):
    """The name under which an address is looked up, or null when it is none."""
    return reverse_name(address, suffix)


def reverse(context, waiting, address):
    """The verified name of an address, or null. Never fails: no name is an answer."""
    if context.resolver is None:
        return None
    known = context.resolver.known_reverse(address)
    return waiting.run(context.resolver.reverse(address)) if known is None else known[0]


def iprev(context, waiting, address):
    """[result, verified name or null, [name, …]] of an address."""
    if context.resolver is None:
        return ["temperror", None, []]

    async def run():
        found = await context.resolver.iprev(address)
        return [found.result, found.name, found.names]

    return waiting.run(run())
