"""Operations of Sys.all: several operations under way at the same time for one handler.

A group is what one call of Sys.all has running. The handler waits for the group; whichever operation ends first
ends that wait, and the others stay under way until the handler asks again.

Must not know: what the operations in it do.
"""
from functools import partial

from mailfilter import metrics
from mailfilter._core.heap import UNDEFINED, HostError
from mailfilter.errors import MailfilterError, TemporaryFailure
from mailfilter.policy.operation import PENDING, Waiting, failure_of

__all__ = ["Group", "cancel", "next_answers"]


_AT_ONCE = metrics.slot("limits_total", "operations_at_once")


class Group:
    """The operations of one Sys.all: those under way by the number of their function, and answers not yet fetched."""

    __slots__ = ("number", "pending", "answers", "waiting", "ended_by")

    def __init__(self, number):
        self.number = number
        self.pending = {}
        self.answers = []
        self.waiting = None
        self.ended_by = None

    def settled(self, context, number, value, error):
        """One of them has ended."""
        self.pending.pop(number, None)
        waiting, self.waiting = self.waiting, None
        if type(error) is TemporaryFailure:
            self.ended_by = error           # not one of the answers: it ends the handler that waits for them
            if waiting is not None:
                waiting.failed(error)
            return
        self.answers.append([number, value, None if error is None else failure_of(context, error)])
        if waiting is not None:
            waiting.done(self.take(context))

    def take(self, context):
        """The answers that are there. A group with nothing under way is forgotten; asked again, it begins anew."""
        answers, self.answers = self.answers, []
        if not self.pending:
            context.groups.pop(self.number, None)
        return answers

    def cancel(self):
        """Nobody waits for any of them any more."""
        pending, self.pending, self.waiting = self.pending, {}, None
        for waiting in pending.values():
            waiting.cancel()


def next_answers(context, waiting, number, requests):
    """Start the operations asked for, [[function, [operation, argument, …]], …], and wait until any of the group has
    ended: [[function, value, failure or null], …]."""
    from mailfilter.policy.operations import WAITED_FOR
    group = context.groups.get(number)
    if group is None:
        group = context.groups[number] = Group(number)
    for function, request in requests:
        name, arguments = request[0], request[1:]
        operation = WAITED_FOR.get(name)
        try:
            if operation is None:
                raise HostError(f"there is no operation {name}")
            if sum(len(other.pending) for other in context.groups.values()) >= context.limits.operations_at_once:
                metrics.count(_AT_ONCE)
                raise HostError(f"{name}: {context.limits.operations_at_once} operations are under way already")
            operation.check(arguments)
            context.charge(name)
            inner = Waiting(context.loop, name, partial(group.settled, context, function))
            value = inner.start(operation, context, arguments)
        except TemporaryFailure:
            raise
        except Exception as error:
            group.answers.append([function, None, failure_of(context, error)])
            continue
        if value is PENDING:
            group.pending[function] = inner
        else:
            group.answers.append([function, value, None])
    if group.ended_by is not None:
        raise group.ended_by
    if group.answers:
        return group.take(context)
    if not group.pending:
        raise MailfilterError("Sys.all waits for nothing")
    group.waiting = waiting
    waiting.on_cancel = group.cancel
    return PENDING


def cancel(context, number):
    """Sys.all ends early: what is still under way is dropped."""
    group = context.groups.pop(number, None)
    if group is not None:
        group.cancel()
    return UNDEFINED
