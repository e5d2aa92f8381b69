"""Operations about the session itself: its limits and timeouts, pauses, the tarpit, whether the client talks early; asking it
in the middle of AUTH, who it is, and what a message's recipients are told.

Must not know: the state machine, the event loop's transports, what else is slowed down.
"""
import base64

from mailfilter import config
from mailfilter._core.heap import UNDEFINED, HostError
from mailfilter.mail.octets import octets
from mailfilter.policy.operation import PENDING

__all__ = ["LONGEST_PAUSE_S", "authenticated", "challenge", "decode_base64", "early", "encode_base64", "limits", "pause",
           "replies", "tarpit", "timeouts"]

LONGEST_PAUSE_S = 300.0
"""Clients wait five minutes for most replies (RFC 5321 §4.5.3.2): a longer pause is a mistake."""


def _seconds(name, seconds):
    if not 0 <= seconds <= LONGEST_PAUSE_S:
        raise HostError(f"{name}: {seconds:g} is not a number of seconds from 0 to {LONGEST_PAUSE_S:g}", "RangeError")
    return float(seconds)


def pause(context, waiting, seconds):
    """Let the handler wait; gives whether it did: not when the tarpit is full."""
    seconds = _seconds("pause", seconds)
    places = context.tarpit_places
    if not seconds or not places.enter():
        context.loop.call_soon(waiting.done, False)
        return PENDING

    def end():
        timer.cancel()
        context.pauses.pop(over, None)
        places.leave()

    def over():
        end()
        waiting.done(True)

    timer = context.loop.call_later(seconds, over)
    context.pauses[over] = True
    waiting.on_cancel = end
    return PENDING


def tarpit(context, seconds):
    """From now on every reply to this client comes so much later."""
    context.tarpit = _seconds("tarpit", seconds)
    context.limits_changed()
    return UNDEFINED


def early(context):
    """Whether the client has sent something before its greeting."""
    return context.early


def challenge(context, waiting, text):
    """Ask the client (334); its answer in base64, or "*"."""
    if context.challenge is None:
        raise HostError("challenge: there is no client")
    try:
        context.challenge(waiting, octets(text))
    except ValueError as error:
        raise HostError(f"challenge: {error}") from None
    return PENDING


def authenticated(context, identity):
    """Who the client is, as the policy has found."""
    context.identity = identity
    return UNDEFINED


def replies(context, each):
    """What each recipient of the message is told: [[code, line, …], …]."""
    context.replies = each
    return UNDEFINED


def encode_base64(context, text):
    """A text as base64 (RFC 4648 §4), of its octets."""
    return base64.b64encode(octets(text))


def decode_base64(context, text):
    """What base64 stands for, or null."""
    try:
        return base64.b64decode(octets(text), validate=True)
    except ValueError:
        return None


def limits(context, changes):
    """The session's limits by name, after changing some."""
    return _numbers(context, "limits", changes)


def timeouts(context, changes):
    """The session's timeouts by name, in seconds, after changing some."""
    return _numbers(context, "timeouts", changes)


def _numbers(context, which, changes):
    numbers = getattr(context, which)
    if changes:
        fixed = [name for name in changes if hasattr(numbers, name) and name not in config.PER_SESSION]
        if fixed:
            raise HostError(f"this.{which}: {fixed[0]} cannot be changed for one session", "TypeError")
        setattr(context, which, numbers.replaced(changes, f"this.{which}"))
        context.limits_changed()
    return dict(vars(getattr(context, which)))
