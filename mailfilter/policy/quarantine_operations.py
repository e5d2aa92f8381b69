"""Operations of Quarantine: holding a message back, and whether there is a place for it.

Must not know: why a policy holds a message, who releases it.
"""
import os

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core.heap import HostError
from mailfilter.errors import MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.mail.words import decoded
from mailfilter.policy.message_operations import message_of, pairs_of
from mailfilter.policy.operation import PENDING, UNDEFINED
from mailfilter.services.quarantine import Quarantine, QuarantineFull

__all__ = ["REASON_CHARS", "SYMBOLS", "check", "hold"]

REASON_CHARS = 1000
"""Characters of a reason, of a subject and of one symbol that are kept."""

SYMBOLS = 500
"""Symbols that are kept of one message."""

_HELD, _FAILED = metrics.slot("quarantined_total", "held"), metrics.slot("quarantined_total", "failed")
_FULL = {name: metrics.slot("limits_total", name) for name in ("quarantine_bytes", "quarantine_messages")}
_TOO_OLD = metrics.slot("limits_total", "quarantine_days")


def check(context, directory):
    """Whether a directory can be a quarantine; an Error when it is none, a line in the log where it cannot be made."""
    if not directory:
        raise HostError("a quarantine needs a directory: give it with --set quarantineDirectory=FOLDER", "Error")
    if os.path.lexists(directory):
        if not os.path.isdir(directory):
            raise HostError(f"the quarantine {directory} is no directory", "Error")
        return UNDEFINED
    above = os.path.dirname(os.path.abspath(directory))
    if not os.path.isdir(above) and context.log is not None:
        context.log.write(logs.WARNING, context.session_id, "the quarantine cannot be made: the directory above it is not there",
                          directory=directory)
    return UNDEFINED


def _plain(text):
    """Text as JSON can have it whatever octets it was made of: what is no UTF-8 stays as U+DC80 to U+DCFF."""
    return octets(text).decode("utf-8", "surrogateescape")


def _path(row):
    text, flat = row
    named = {flat[place]: flat[place + 1] for place in range(0, len(flat), 2)}
    return {"path": _plain(text), "parameters": {_plain(name): None if value is None else _plain(value)
                                                 for name, value in named.items()}}


def _subject(fields):
    for field in fields:
        name, colon, value = _plain(field).partition(":")
        if colon and name.strip().lower() == "subject":
            value = " ".join(value.split())
            return decoded(value)[:REASON_CHARS]
    return ""


def hold(context, waiting, directory, headers, body, sender, recipients, client, reason, score, symbols):
    """Hold a message with its envelope back durably; what it is called.

    sender, recipients: [path, [keyword, value or null, …]]. client: [address, name in HELO or null, authenticated as or null].
    """
    message = message_of(context, body)
    if message.body.binary:
        raise MailfilterError("a binary body cannot be held: it is no text of lines")
    pairs = list(pairs_of(headers))
    # Put together once, so that what is wrong with it is thrown before anything is written.
    size, chunks = message.plain_size(pairs), message.plain_chunks(pairs)
    address, hello, authenticated = client
    envelope = {
        "session": context.session_id, "client": {"address": address, "hello": hello, "authenticated": authenticated},
        "sender": _path(sender), "recipients": [_path(row) for row in recipients], "subject": _subject(message.outgoing(pairs)),
        "reason": _plain(reason)[:REASON_CHARS], "score": score,
        "symbols": [_plain(symbol)[:REASON_CHARS] for symbol in symbols[:SYMBOLS]],
    }
    limits = context.limits
    quarantine = Quarantine(directory)
    context.delivered = True
    future = context.loop.run_in_executor(None, lambda: quarantine.hold(
        envelope, chunks, size, most_bytes=limits.quarantine_bytes, most_messages=limits.quarantine_messages,
        days=limits.quarantine_days))

    def ended(done):
        error = done.exception() if not done.cancelled() else MailfilterError("cancelled")
        metrics.count(_HELD if error is None else _FAILED)
        if quarantine.expired:
            for _ in quarantine.expired:
                metrics.count(_TOO_OLD)
            context.log.write(logs.NOTICE, context.session_id, "old messages were removed from the quarantine",
                              directory=directory, messages=len(quarantine.expired), days=limits.quarantine_days)
        if error is None:
            waiting.done(done.result())
            return
        if isinstance(error, QuarantineFull) and error.limit is not None:
            metrics.count(_FULL[error.limit])
        waiting.failed(error)

    future.add_done_callback(ended)
    return PENDING
