"""What one session has used up of the numbers that it may have in all.

Compiled: budget.pxd. Must not know: what happens to a session that has used them up.
"""

__all__ = ["Budget"]


class Budget:
    """The counts of one session: commands and messages (refused ones, too), accepted transactions and recipients, octets,
    lines of other protocols, and commands that something was sent behind which should have waited."""

    def __init__(self):
        self.commands = -1              # the connection itself is the first thing that is asked about
        self.foreign = self.octets = self.pipelined = self.recipients = self.transactions = 0
