"""What sessions go by: a policy, and the limits and timeouts that belong to it. A session keeps those that it began with.

Terms are made by whoever loads a policy, and handed from process to process when a newer one is deployed (deployment.py).
They, and the policy's image, are forgotten with their last session.

Must not know: how a policy is loaded, sessions.
"""
from mailfilter import config

__all__ = ["Edition", "Terms"]

# What a worker has before its first session, and keeps.
OF_THE_WORKER = ("loop", "log", "opened", "closed", "session_id", "admission", "tarpit", "hostname", "line_ends", "early_data",
                 "auth_without_tls", "settings", "resolver", "pool", "outside", "spool_directory", "spool_room", "tls", "trusted")


class Terms:
    """A policy with its limits and timeouts.

    limits, timeouts: config.Given of Limits and of Timeouts, with what all sources say taken together.

    Attributes:
        policy: the loaded policy.
        limits, timeouts: what holds for all listeners.
        listener_limits: {listener: {name: value}} of the limits that hold for some listeners alone.
    """

    def __init__(self, policy, limits, timeouts):
        self.policy = policy
        self.limits = limits.general
        self.timeouts = timeouts.general
        self.listener_limits = limits.by_listener
        self._listener_timeouts = timeouts.by_listener
        self._limits_of = {}
        self._timeouts_of = {}

    def limits_of(self, label):
        """The limits that hold for sessions of the listener called `label`."""
        found = self._limits_of.get(label)
        if found is None:
            found = self._limits_of[label] = _special(self.limits, self.listener_limits, label)
        return found

    def timeouts_of(self, label):
        """The timeouts that hold for sessions of the listener called `label`."""
        found = self._timeouts_of.get(label)
        if found is None:
            found = self._timeouts_of[label] = _special(self.timeouts, self._listener_timeouts, label)
        return found


class Edition:
    """What a session sees of its worker: the terms that it began with, whatever newer ones the worker has taken meanwhile.
    Everything else is the worker's, and the same for all its editions. `rules`: what the sessions of one listener have in
    common (net/rules.py), by its label."""

    __slots__ = ("policy", "limits", "limits_of", "timeouts", "timeouts_of", "rules", *OF_THE_WORKER)

    def __init__(self, worker, terms):
        self.policy = terms.policy
        self.limits, self.limits_of = terms.limits, terms.limits_of
        self.timeouts, self.timeouts_of = terms.timeouts, terms.timeouts_of
        self.rules = {}
        for name in OF_THE_WORKER:
            setattr(self, name, getattr(worker, name))


def _special(numbers, by_listener, label):
    for selector, values in by_listener.items():
        if config.selects(selector, label):
            numbers = numbers.replaced(values, f"@{selector}")
    return numbers
