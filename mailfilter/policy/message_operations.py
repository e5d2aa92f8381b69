"""Operations on messages: which body is meant, reading it, delivering into a Maildir.

A policy holds a number for a body: that of the message, and for a body that was made of it while it was looked at, the same
number and VERSION times its place among those.

Compiled: message_operations.pxd. Must not know: SMTP replies, next hops.
"""
import os
from itertools import islice

from mailfilter.errors import MailfilterError
from mailfilter.mail.message import Message
from mailfilter.policy.operation import PENDING
from mailfilter.services.maildir import Maildir

__all__ = ["add_body", "deliver", "in_thread_or_now", "message_of", "outgoing_chunks", "pairs_of", "read", "stretch"]

READ_LIMIT = 1 << 20
"""Octets of a body that one read gives at most."""

VERSION = 1 << 32
VERSIONS = 20
"""Bodies that may be made of one message's."""

INLINE_OCTETS = 65536
"""Bodies up to this size are worked on at once; larger ones in a thread, so that nobody waits for them."""


def pairs_of(flat):
    """The (place, text) pairs of headers as JavaScript gives them, one after the other."""
    return zip(islice(flat, 0, None, 2), islice(flat, 1, None, 2), strict=True)


def message_of(context, reference):
    """The message whose body is meant: a handle, a text of the policy's own, or None for no body."""
    current = context.message
    if isinstance(reference, int):
        version, handle = divmod(reference, VERSION)
        if current is None or handle != context.message_handle or not 0 <= version <= len(current.versions):
            raise MailfilterError("the body of an earlier message is gone; use it while smtpData runs")
        return current.with_body(current.versions[version - 1]) if version else current
    if current is None:
        return Message([], True, reference)
    return current.with_body(reference)


def add_body(context, spool):
    """[number, length] of a finished Spool that a policy is to have as a body beside the message's own."""
    current = context.message
    if current is None or len(current.versions) >= VERSIONS:
        spool.close()
        raise MailfilterError(f"at most {VERSIONS} bodies can be made of one message, while smtpData runs")
    current.versions.append(spool)
    return [len(current.versions) * VERSION + context.message_handle, spool.body_bytes]


def in_thread_or_now(context, waiting, body, work, then=None):
    """Answer an operation by then(work()): at once for a small body in memory, else work() runs in a thread, then() does not."""
    if body.in_memory and body.stored_bytes <= INLINE_OCTETS:
        value = work()
        return value if then is None else then(value)
    future = context.loop.run_in_executor(None, work)

    def ended(done):
        if done.cancelled():
            waiting.failed(MailfilterError("cancelled"))
            return
        try:
            value = done.result()
            waiting.done(value if then is None else then(value))
        except Exception as error:
            waiting.failed(error)

    future.add_done_callback(ended)
    return PENDING


def outgoing_chunks(context, headers, body, *, wire):
    """An iterator over the message as it leaves: dot-stuffed for SMTP (wire) or plain. Checked before it starts."""
    message = message_of(context, body)
    pairs = list(pairs_of(headers))
    return message.wire_chunks(pairs) if wire else message.plain_chunks(pairs)


def read(context, handle, offset, count):
    """Octets of the body from `offset`, at most `count`."""
    body = message_of(context, int(handle)).body
    return stretch(body.chunks(), max(int(offset), 0), min(max(int(count), 0), READ_LIMIT))


def stretch(chunks, offset, count):
    """`count` octets of what comes in chunks, from `offset` on."""
    found, at = [], 0
    for chunk in chunks:
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

