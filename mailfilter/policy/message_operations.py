"""Operations on messages: reading the body, delivering into a Maildir.

Must not know: SMTP replies, next hops.
"""
import os
from itertools import islice

from mailfilter.errors import MailfilterError
from mailfilter.mail.message import Message
from mailfilter.services.maildir import Maildir

__all__ = ["deliver", "message_of", "outgoing_chunks", "pairs_of", "read"]

READ_LIMIT = 1 << 20
"""Octets of a body that one read gives at most."""


def pairs_of(flat):
    """The (place, text) pairs of headers as JavaScript gives them, one after the other."""
    return zip(islice(flat, 0, None, 2), islice(flat, 1, None, 2), strict=True)


def message_of(context, reference):
    """The message whose body is meant: a handle, a text of the policy's own, or None for no body."""
    current = context.message
    if isinstance(reference, int):
        if current is None or reference != context.message_handle:
            raise MailfilterError("the body of an earlier message is gone; use it while smtpData runs")
        return current
    if current is None:
        return Message([], True, reference)
    return current.with_body(reference)


def outgoing_chunks(context, headers, body, *, wire):
    """An iterator over the message as it leaves: dot-stuffed for SMTP (wire) or plain. Checked before it starts."""
    message = message_of(context, body)
    pairs = list(pairs_of(headers))
    return message.wire_chunks(pairs) if wire else message.plain_chunks(pairs)


def read(context, handle, offset, count):
    """Octets of the body from `offset`, at most `count`."""
    body = message_of(context, int(handle)).body
    offset, count = max(int(offset), 0), min(max(int(count), 0), READ_LIMIT)
    found, at = [], 0
    for chunk in body.chunks():
        if at + len(chunk) > offset:
            found.append(chunk[max(offset - at, 0):])
        at += len(chunk)
        if at >= offset + count:
            break
    return b"".join(found)[:count]


def deliver(context, waiting, path, headers, body, folder):
    """Deliver durably into a Maildir; the name of the new file."""
    if message_of(context, body).body.binary:
        raise MailfilterError("a binary body cannot be delivered into a Maildir: it is no text of lines")
    chunks = outgoing_chunks(context, headers, body, wire=False)
    maildir = Maildir(os.fspath(path))
    context.delivered = True
    return waiting.run_in_thread(lambda: maildir.deliver(chunks, folder=folder).name)

