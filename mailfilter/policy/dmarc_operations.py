"""Operations of Dmarc: evaluating a message.

The work is that of services/dmarc.py. The public suffix list is read in a thread, when it is first needed.

Must not know: what a policy makes of the outcome.
"""
from mailfilter._core.heap import UNDEFINED
from mailfilter.errors import MailfilterError
from mailfilter.policy.message_operations import message_of, pairs_of
from mailfilter.policy.operation import PENDING
from mailfilter.services import dmarc as service
from mailfilter.services import dmarc_store, suffixes

__all__ = ["evaluate", "prepare", "record"]


def _published(record):
    """What a record says, as far as it may matter to a policy."""
    if record is None:
        return None
    return [record.policy, record.subdomain_policy, record.missing_policy, record.dkim, record.spf, record.percent,
            record.suffix, record.testing, record.options, record.reports]


def _row(outcome):
    record = outcome.record
    return [outcome.result, outcome.reason, outcome.domain, outcome.organizational_domain, outcome.policy, outcome.disposition,
            outcome.record_domain, None if record is None else record.text, outcome.sampled_out, outcome.spf_aligned,
            outcome.dkim_aligned, _published(record)]


def _text(value):
    return value if isinstance(value, str) else None


def evaluate(context, waiting, headers, spf, dkim, standard, smtputf8, sample):
    """One row; see services/dmarc.Evaluation. spf: [result, domain], or []; dkim: [result, domain, unsigned] for each."""
    if standard not in service.STANDARDS:
        raise MailfilterError(f"DMARC goes by {' or '.join(service.STANDARDS)}, not by {standard}")
    lines = message_of(context, None).outgoing(pairs_of(headers))
    spf = (_text(spf[0]), _text(spf[1])) if len(spf) == 2 else (None, None)
    # A number that is none leaves something out, rather than nothing.
    dkim = [(_text(result), _text(domain), not isinstance(unsigned, (int, float)) or unsigned != 0)
            for result, domain, unsigned in dkim]

    def go():
        call = service.evaluate(context.resolver, lines, spf, dkim, lambda outcome: waiting.done(_row(outcome)),
                                standard=standard, smtputf8=smtputf8, sample=sample)
        waiting.on_cancel = call.cancel

    if suffixes.loaded():
        go()
        return PENDING
    future = context.loop.run_in_executor(None, suffixes.load)
    waiting.on_cancel = future.cancel

    def loaded(done):
        if done.cancelled():
            return
        waiting.on_cancel = None
        try:
            done.result()
            go()
        except Exception as error:
            waiting.failed(error)

    future.add_done_callback(loaded)
    return PENDING


def prepare(context, headers, standard, smtputf8):
    """Begin the look-ups that an evaluation will make for a message with these From fields."""
    if context.resolver is not None and standard in service.STANDARDS:
        service.prepare(context.resolver, message_of(context, None).outgoing(pairs_of(headers)), standard, smtputf8)
    return UNDEFINED


def record(context, path, finding):
    """Keep what was found for aggregate reports; see services/dmarc_store. Never waits, never fails for what is in it."""
    dmarc_store.store(path, context.log).add(finding)
    return UNDEFINED
