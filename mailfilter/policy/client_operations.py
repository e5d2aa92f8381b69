"""Operations of SmtpClient: the session's connections to next hops.

What a connection can do is the business of the object that context.open_next_hop() gives (net/outbound.py);
here its calls become answers and errors for the policy.
"""
from mailfilter._core.heap import UNDEFINED
from mailfilter.errors import ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.policy.message_operations import outgoing_chunks
from mailfilter.policy.operation import PENDING

__all__ = ["close", "command", "connect", "message", "reply", "spoil"]

NEXT_HOPS_LIMIT = 32
"""Connections of one session to next hops at one time."""


def _hop(context, handle):
    hop = context.next_hops.get(handle)
    if hop is None:
        raise ServiceUnavailable("Transport endpoint is not connected")
    return hop


def connect(context, waiting, host, port):
    """Open a connection; its handle."""
    if len(context.next_hops) >= NEXT_HOPS_LIMIT:
        raise ServiceUnavailable(f"Link has been severed: the session has {NEXT_HOPS_LIMIT} connections already")
    hop = context.open_next_hop(host, int(port))
    context.last_hop += 1
    handle = context.last_hop

    def connected(error):
        if error is None:
            context.next_hops[handle] = hop
            waiting.done(handle)
        else:
            waiting.failed(error)

    waiting.on_cancel = hop.close
    hop.connect(connected)
    return PENDING


def command(context, handle, verb, arguments):
    """Send a command."""
    _hop(context, handle).command(octets(verb), None if arguments is None else octets(arguments))
    return UNDEFINED


def _response(reply):
    return [reply.code, reply.lines]


def reply(context, waiting, handle):
    """The next reply: [code, [line, …]]."""
    hop = _hop(context, handle)

    def received(answer, error):
        if error is None:
            waiting.done(_response(answer))
        else:
            waiting.failed(error)

    answer = hop.receive(received)
    if answer is not None:
        return _response(answer)
    waiting.on_cancel = hop.stop_receiving
    return PENDING


def message(context, waiting, handle, headers, body):
    """Send a message with its final dot. A header that cannot be written costs the connection (D3)."""
    hop = _hop(context, handle)
    hop.begin_message()
    try:
        chunks = outgoing_chunks(context, headers, body, wire=True)
    except BaseException:
        hop.spoil("a message that could not be written")
        raise

    def sent(error):
        if error is None:
            waiting.done()
        else:
            waiting.failed(error)

    if hop.send_message(chunks, sent):
        return UNDEFINED
    waiting.on_cancel = hop.close
    return PENDING


def spoil(context, handle):
    """The policy failed to give a message that the next hop may be waiting for."""
    hop = context.next_hops.get(handle)
    if hop is not None and hop.in_message:
        hop.spoil("a message that could not be written")
    return UNDEFINED


def close(context, handle):
    """Close a connection without QUIT."""
    hop = context.next_hops.pop(handle, None)
    if hop is not None:
        context.delivered = context.delivered or hop.beyond_recall
        hop.close()
    return UNDEFINED
