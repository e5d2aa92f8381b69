"""Operations that ask a service outside: what the handler gets when that service is away.

That is for the policy to say, in the option `away` of everything that asks such a service:

"tempfail" (the default): the handler ends where it stands, and the client is asked to come again (451).
"accept": the handler goes on with what says nothing, as null.
"throw": an error is thrown that the policy may catch.

Away is one that cannot be reached, does not answer in time, breaks its protocol, or has done so just now
(services/circuit.py). An answer that the policy does not like, such as an error in its SQL, is none of this and is thrown.

Must not know: any service.
"""
from mailfilter import log as logs
from mailfilter._core.heap import HostError
from mailfilter.errors import ServiceError, ServiceUnavailable, TemporaryFailure
from mailfilter.policy.operation import PENDING

__all__ = ["AWAY", "LONGEST_S", "ask", "failed", "outside", "seconds_of"]

AWAY = ("tempfail", "accept", "throw")

LONGEST_S = 300.0
"""The most that a policy may allow a service for one answer, in seconds."""


def seconds_of(seconds, default):
    """How long to wait for an answer: what the policy says, or the default where it says 0."""
    if not 0 <= seconds <= LONGEST_S:
        raise HostError(f"timeout: {seconds:g} is not a number of seconds from 0 to {LONGEST_S:g}", "RangeError")
    return float(seconds) or default


def ask(context, waiting, circuit, make, *, seconds, away, instead=None, inside=False):
    """Let make(), which gives a coroutine, answer an operation through a Circuit; returns PENDING.

    seconds: the deadline. away: one of AWAY. instead: the answer for "accept". inside: see Circuit.start.
    """
    if away not in AWAY:
        raise HostError(f"away: '{away}' is none of {', '.join(AWAY)}", "TypeError")

    def settled(value, error):
        if error is None:
            waiting.done(value)
        elif not isinstance(error, ServiceError):
            waiting.failed(error)
        else:
            failed(context, waiting, circuit.name, error, away, instead)

    request = circuit.start(make, seconds, settled, inside)
    waiting.on_cancel = request.cancel
    return PENDING


def failed(context, waiting, name, error, away, instead):
    """End an operation whose service is away."""
    if away == "throw":
        waiting.failed(error)
    elif away == "accept":
        context.log.write(logs.WARNING, context.session_id, "a service is away, the policy goes on without it", reason=str(error))
        waiting.done(instead)
    else:
        waiting.failed(TemporaryFailure(str(error)))


def outside(context):
    """The worker's services; ServiceUnavailable where there is no worker."""
    if context.outside is None:
        raise ServiceUnavailable("there are no services outside here")
    return context.outside
