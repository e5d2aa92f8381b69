"""The envelope: who a message is from and whom it is for, apart from what the message itself says.

It is what a delivery needs to know of a transaction, as plain values that outlive it. This file must
not know sessions, replies or the message.
"""
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` is the reverse-path, `recipients` the forward-paths, as `bytes` in wire spelling with
    their angle brackets: b"<a@example.org>", and b"<>" for the null sender."""

    sender: bytes
    recipients: tuple[bytes, ...] = ()

    @classmethod
    def of_paths(cls, sender, recipients):
        """Build it of `_core.address.Path` objects."""
        return cls(sender.text, tuple(path.text for path in recipients))

    @property
    def is_null(self):
        """True for the null reverse-path: a message that must never be answered (RFC 5321 §4.5.5)."""
        return self.sender == b"<>"

    def for_recipients(self, recipients):
        """The same sender with other recipients (an iterable of `bytes`)."""
        return Envelope(self.sender, tuple(recipients))

    def return_path(self):
        """The Return-Path field that final delivery puts on top of a message (RFC 5321 §4.4).

        Paths come out of the address parser, which lets no control character through; a line end that came
        here by another way would begin a header of the sender's choosing, so it raises ValueError.
        """
        if not self.sender.startswith(b"<") or not self.sender.endswith(b">"):
            raise ValueError("a reverse-path stands in angle brackets")
        if any(octet < 32 or octet == 127 for octet in self.sender):
            raise ValueError("a reverse-path has no control characters")
        return b"Return-Path: " + self.sender + b"\r\n"
