"""Operations about who sent a message: SPF.

The work is that of the services; here its outcome becomes a value for the policy.

Must not know: what a policy makes of the outcome.
"""
from mailfilter.policy.operation import PENDING
from mailfilter.services import spf as spf_service

__all__ = ["spf"]


def spf(context, waiting, address, sender, helo, lax):
    """[result, identity, domain, mechanism, explanation, problem, header, comment]; see services/spf.SpfResult."""
    found = []

    def settled(outcome):
        value = [outcome.result, outcome.identity, outcome.domain, outcome.mechanism, outcome.explanation, outcome.problem,
                 outcome.header, outcome.comment]
        if under_way:
            waiting.done(value)
        else:
            found.append(value)

    under_way = False
    check = spf_service.check(context.resolver, context.loop, address, sender, helo, context.hostname, settled, lax)
    if found:
        return found[0]
    under_way = True
    waiting.on_cancel = check.cancel
    return PENDING
