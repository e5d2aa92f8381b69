"""What one session has used up of the numbers that it may have in all.

Must not know: what happens to a session that has used them up.
"""
from mailfilter._core.event import EV_CONNECT, EV_MAIL, EV_MESSAGE, EV_RCPT

__all__ = ["Budget"]


class Budget:
    """The counts of one session: commands (refused ones, too), accepted transactions and recipients, octets, and lines of
    other protocols."""

    __slots__ = ("commands", "foreign", "octets", "recipients", "transactions")

    def __init__(self):
        self.commands = self.foreign = self.octets = self.recipients = self.transactions = 0

    def exceeded_by(self, kind, limits):
        """Count an event of this kind; the name of the limit that it would exceed, or None."""
        if kind == EV_CONNECT or kind == EV_MESSAGE:
            return None
        self.commands += 1
        if 0 < limits.commands < self.commands:
            return "commands"
        if kind == EV_MAIL and 0 < limits.transactions <= self.transactions:
            return "transactions"
        if kind == EV_RCPT and 0 < limits.session_recipients <= self.recipients:
            return "session_recipients"
        return None
