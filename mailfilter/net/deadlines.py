"""Until when a client must have done what: its next command, its message, its transaction, its session.

What counts for a command is the whole line, and for a message how much of it has come, so that a client that sends
an octet now and then gains nothing by it. Times are seconds of the event loop's clock; this computes and waits for nothing.

Compiled: deadlines.pxd. Must not know: sockets, timers, what happens to a client that is late.
"""

__all__ = ["Deadlines"]


class Deadlines:
    """The deadlines of one session.

    Attributes, written by the session:
        progress: when the client last completed something, or was answered; inside a message, when anything came.
        transaction: when the running transaction began.
        message: when the client was told to send the running message; message_at: octets of the session before it.
    """

    def __init__(self, now):
        self.begun = self.progress = self.transaction = self.message = now
        self.message_at = 0

    def begin_message(self, now, received):
        """The client was told to go ahead, after `received` octets in all."""
        self.message = now
        self.message_at = received

    def look(self, now, limits, timeouts, in_transaction, in_message, received):
        """The deadline that has passed and None, or None and how many seconds are left until one could.

        Args:
            limits, timeouts: of the session.
            in_transaction: whether there is a transaction; in_message: whether its message is being received.
            received: octets that came in the whole session.

        Returns:
            (name, 0.0) with a key of endings.ENDINGS, or (None, seconds).
        """
        first, end = "session", self.begun + timeouts.session
        if in_message:
            due = self.progress + timeouts.data_block
            if due < end:
                first, end = "data_block", due
            if limits.data_rate:
                # When what has come will be too little. Nothing at all may come for the time of data_block.
                came = received - self.message_at
                due = self.message + max(timeouts.data_block, came / limits.data_rate)
                if due < end or due == end and came:    # the clock has ticks: what came at once came too slowly, too
                    first, end = "data_rate", due
        else:
            due = self.progress + timeouts.command
            if due < end:
                first, end = "command", due
        if in_transaction:
            due = self.transaction + timeouts.transaction
            if due < end:
                first, end = "transaction", due
        return (first, 0.0) if end <= now else (None, end - now)
