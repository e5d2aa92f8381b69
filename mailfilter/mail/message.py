"""One message as data: its header fields as they came, its body in a spool, and what leaves again.

The rule of this file: what the policy did not touch goes out exactly as it came in, octet for octet;
what it changed or added is rendered anew, safely. To know which is which, a policy's header list comes
back as (index, text) pairs: the position the header had in the message that arrived, and the text that the
header gives now. When that text is still the one the arrived field gives, the arrived octets are sent.

Compiled: message.pxd. This file must not know JavaScript, SMTP replies or the loop.
"""
from mailfilter._core.data import stuff
from mailfilter._core.header import canonical, render_field
from mailfilter.errors import MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.mail.spool import Spool

JOIN_BYTES = 65536
"""A message up to this size that is in memory is handed out as one chunk: one write for one copy."""


class HeaderRefused(MailfilterError):
    """A header that a policy made cannot be sent. `name` (bytes) is its name, `reason` says why not."""

    def __init__(self, name, reason):
        super().__init__(f"header {name.decode('ascii', 'backslashreplace')!r}: {reason}")
        self.name = name
        self.reason = reason


class Message:
    """A message: `fields` (list of `_core.header.Field`), `separator`, `body` (a finished `Spool`).

    `separator` tells whether the blank line between header section and body was there. Without it
    there cannot be a body, and the message stays without one when headers are added, changed or removed: a
    blank line is written only if it was there or if there is a body to be kept apart from the header.

    `body` may also be text that a policy made (bytes or str, see `Spool.of_text`) or None for no body.

    `versions`: bodies (Spools) that were made of this one, for whoever holds the message; `trees`: what is known of the parts of
    these bodies, by whatever they are called. They end with the message.

    Wherever `headers` is taken, None stands for the header section that arrived, unchanged; otherwise it is
    the policy's list as `outgoing` describes it. A list that cannot be sent raises HeaderRefused at once, not
    when the first chunk is asked for.
    """

    __slots__ = ("fields", "separator", "body", "versions", "trees")

    def __init__(self, fields, separator, body=None):
        self.fields = fields
        self.separator = separator
        self.versions = []
        self.trees = {}
        self.body = body if isinstance(body, Spool) else Spool.of_text(b"" if body is None else body)

    def with_body(self, body):
        """The same header section over another body: a finished `Spool`, bytes, str or None."""
        return Message(self.fields, self.separator, body)

    def header_pairs(self):
        """What a policy is shown: one (name, parts) for each field, in order; all of it `bytes`.

        `parts` are the field's lines: the text after the colon without the blanks before it, then each
        continuation line with its leading blanks. The name is b"" for a line that is no field (`parts`
        is that line): the policy sees it too, so that nothing hides behind it. The lists belong to the
        fields and are not to be changed.
        """
        return [(field.name, field.parts) for field in self.fields]

    def outgoing(self, headers):
        """The lines that `headers` stands for: a list of `bytes`, each one whole field with its CR LFs.

        `headers` yields (index, text). `index` is the position in `fields` that the header came from, or -1
        for one that the policy made. `text` (bytes or str) is what the header gives as text now: "Name: first
        part", further parts after CR LF, no CR LF at the end; None stands for "as it came". The order is
        the list's. Un-stuffed.

        Raises HeaderRefused for text without a colon, for a name that is no header name and for NUL.
        """
        fields = self.fields
        count = len(fields)
        lines = []
        for index, text in headers:
            if 0 <= index < count:
                field = fields[index]
                if text is None:
                    lines.append(field.raw)
                    continue
                text = octets(text)
                if text == canonical(field):
                    lines.append(field.raw)
                    continue
            lines.append(_render(octets(text)))
        return lines

    def wire_chunks(self, headers=None):
        """Iterate over the message as DATA carries it: dot-stuffed, without the final dot line.

        What comes out is empty or ends with CR LF.
        """
        body = self.body
        head = stuff(self._head(headers))
        if body.in_memory and len(head) + body.stored_bytes <= JOIN_BYTES:
            return _joined(head, body.wire_chunks())
        return _followed(head, body.wire_chunks())

    def plain_chunks(self, headers=None):
        """Iterate over the message as it is meant, un-stuffed: for scanners and mailboxes."""
        body = self.body
        head = self._head(headers)
        if body.in_memory and len(head) + body.stored_bytes <= JOIN_BYTES:
            return _joined(head, body.chunks())
        return _followed(head, body.chunks())

    def plain_size(self, headers=None):
        """The number of octets that `plain_chunks` yields: the size that SIZE= means (RFC 1870 §3)."""
        return len(self._head(headers)) + self.body.body_bytes

    def close(self):
        """Let go of the body, and of what was made of it."""
        self.body.close()
        for version in self.versions:
            version.close()
        self.trees.clear()

    def _head(self, headers):
        """Header section and, where there is to be one, the blank line after it."""
        if headers is None:
            lines = [field.raw for field in self.fields]
        else:
            lines = self.outgoing(headers)
        if self.separator or self.body.stored_bytes:
            lines.append(b"\r\n")
        return b"".join(lines)


def _render(text):
    name, colon, value = text.partition(b":")
    name = name.rstrip(b" \t")
    if not colon:
        raise HeaderRefused(text[:78], "it has no colon")
    try:
        return render_field(name, [value.lstrip(b" \t")])
    except ValueError as error:
        raise HeaderRefused(name[:78], str(error)) from error


def _joined(head, chunks):
    whole = b"".join((head, *chunks))
    return iter((whole,) if whole else ())


def _followed(head, chunks):
    if head:
        yield head
    yield from chunks
