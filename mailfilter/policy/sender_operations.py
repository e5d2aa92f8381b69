"""Operations about who sent a message: SPF.

The work is that of the services; here its outcome becomes a value for the policy.

Must not know: what a policy makes of the outcome.
"""
from mailfilter.policy.operation import PENDING
from mailfilter.services import spf as spf_service

__all__ = ["spf"]


def spf(context, waiting, address, sender, helo, lax):
    """[result, identity, domain, mechanism, explanation, problem, header, comment]; see services/spf.SpfResult."""
    def settled(outcome):
        waiting.done([outcome.result, outcome.identity, outcome.domain, outcome.mechanism, outcome.explanation,
                      outcome.problem, outcome.header, outcome.comment])

    check = spf_service.check(context.resolver, context.loop, address, sender, helo, context.hostname, settled, lax)
    if check is not None:
        waiting.on_cancel = check.cancel
    return PENDING
