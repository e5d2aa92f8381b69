"""Counts what the core refuses by itself: by its reply, and by the limit that was reached.

Must not know: sessions.
"""
from mailfilter import metrics
from mailfilter._core import session as core

__all__ = ["count_rejection"]

_LIMIT_OF = {"line_too_long": "line_bytes", "auth_line_too_long": "auth_line_bytes",
             "too_many_recipients": "recipients", "too_many_errors": "errors",
             "size": "message_bytes", "header_bytes": "header_bytes", "header_fields": "header_fields"}
_REJECTED = {id(reply): (metrics.slot("rejected_total", name),
                         metrics.slot("limits_total", _LIMIT_OF[name]) if name in _LIMIT_OF else None)
             for name, reply in core.REPLIES.items()}
# Replies that are no constants of the core's; of those it gives for us, 452 says that a body could not be stored.
_REJECTED_OTHERWISE = metrics.slot("rejected_total", "other"), None
_NO_STORAGE = metrics.slot("rejected_total", "storage"), None


def count_rejection(reply):
    """Count a reply of the core's."""
    which, limit = _REJECTED.get(id(reply)) or (_NO_STORAGE if reply.code == 452 else _REJECTED_OTHERWISE)
    metrics.count(which)
    if limit is not None:
        metrics.count(limit)
