"""What one session has used up of the numbers that it may have in all.

Compiled: budget.pxd. Must not know: what happens to a session that has used them up.
"""

__all__ = ["Budget"]


class Budget:
    """The counts of one session: commands and messages (refused ones, too), accepted transactions and recipients, octets,
    lines of other protocols, and commands that something was sent behind which should have waited.

    most_commands, most_transactions, most_recipients, most_octets: the limits of those that are compared at every command;
        0: there is none.
    """

    def __init__(self, limits):
        self.commands = -1              # the connection itself is the first thing that is asked about
        self.foreign = self.octets = self.pipelined = self.recipients = self.transactions = 0
        self.go_by(limits)

    def go_by(self, limits):
        """These config.Limits hold from now on."""
        self.most_commands = limits.commands
        self.most_transactions = limits.transactions
        self.most_recipients = limits.session_recipients
        self.most_octets = limits.session_bytes
