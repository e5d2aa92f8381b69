"""Operations of SmtpClient: the session's connections to next hops.

What a connection can do is the business of the object that context.open_next_hop() gives (net/outbound.py);
here its calls become answers and errors for the policy. How a client proves who it is: client_auth.py.

Compiled: client_operations.pxd.
"""
import json
from functools import partial

from mailfilter._core.heap import UNDEFINED
from mailfilter.errors import MailfilterError, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.mail.xtext import xtext
from mailfilter.policy.message_operations import message_of, outgoing_chunks
from mailfilter.policy.onward import refusal_of, suited
from mailfilter.policy.operation import PENDING

__all__ = ["answer", "chunks", "close", "command", "connect", "envelope", "exchange", "extensions", "greeting", "hop_of",
           "impersonate", "keep", "message", "reply", "response", "reuse", "spoil", "starttls", "transmit", "way"]

NEXT_HOPS_LIMIT = 32
"""Connections of one session to next hops at one time."""

_OPTIONS = frozenset(("lmtp", "sourceAddress", "timeouts", "proxyProtocol", "proxySource", "proxyDestination"))
_TLS_OPTIONS = frozenset(("mode", "ca", "name", "fingerprint"))


def hop_of(context, handle):
    """The connection with this handle; ServiceUnavailable when it is closed."""
    hop = context.next_hops.get(handle)
    if hop is None:
        raise ServiceUnavailable("Transport endpoint is not connected")
    return hop


def response(reply):
    """A reply as JavaScript gets it: [code, [line, …]]."""
    return [reply.code, reply.lines]


def _known(options, names, what):
    """The options that are set; MailfilterError for one that does not exist."""
    for name in options:
        if name not in names:
            raise MailfilterError(f"Invalid argument: there is no {what} {name!r}; known are {', '.join(sorted(names))}")
    return {name: value for name, value in options.items() if value is not None}


def _new_hop(context, host, port, options):
    """A connection that is not open yet, of the options of an SmtpClient."""
    _need_place(context)
    return context.open_next_hop(host, int(port), _known(options, _OPTIONS, "option"))


def _need_place(context):
    if len(context.next_hops) >= NEXT_HOPS_LIMIT:
        raise ServiceUnavailable(f"Link has been severed: the session has {NEXT_HOPS_LIMIT} connections already")


def _register(context, hop):
    """The handle of a connection that is open now. Others may have been opened beside it, and have taken the last place."""
    try:
        _need_place(context)
    except ServiceUnavailable:
        hop.close()
        raise
    context.last_hop += 1
    context.next_hops[context.last_hop] = hop
    return context.last_hop


def connect(context, waiting, host, port, options):
    """Open a connection; its handle."""
    hop = _new_hop(context, host, port, options)
    waiting.on_cancel = hop.close
    waiting.form = partial(_opened, context, hop)
    hop.connect(partial(waiting.ended, None))
    return PENDING


def _opened(context, hop, nothing):
    return _register(context, hop)


def greeting(context, waiting, host, port, options):
    """Open a connection and read the greeting: [code, [line, …], handle]. Without a greeting there is no connection: what
    has failed is closed."""
    hop = _new_hop(context, host, port, options)
    waiting.on_cancel = hop.close
    waiting.form = partial(_greeted, context, hop)
    hop.connect(partial(_next_reply, hop, waiting))
    return PENDING


def _greeted(context, hop, answer):
    return [answer.code, answer.lines, _register(context, hop)]


def _next_reply(hop, waiting, error):
    """A step has ended after which the reply is still to come; or with an error."""
    answer = None
    if error is None:
        try:
            answer = hop.receive(waiting.ended)
        except MailfilterError as impossible:
            error = impossible
    if answer is not None or error is not None:
        waiting.ended(answer, error)


def command(context, handle, verb, arguments):
    """Send a command."""
    hop_of(context, handle).command(octets(verb), None if arguments is None else octets(arguments))
    return UNDEFINED


def answer(context, handle, line):
    """Send the answer to a challenge of AUTH, in base64 already, or "*"."""
    hop_of(context, handle).auth_line(octets(line))
    return UNDEFINED


def reply(context, waiting, handle):
    """The next reply: [code, [line, …]]."""
    return _reply_of(hop_of(context, handle), waiting, response)


def _reply_of(hop, waiting, form):
    """Wait for the next reply, as form() gives it."""
    answer = hop.receive(waiting.ended)
    if answer is not None:
        return form(answer)
    waiting.form = form
    waiting.on_cancel = hop.stop_receiving
    return PENDING


def exchange(context, waiting, handle, verb, arguments):
    """Send a command; the next reply."""
    hop = hop_of(context, handle)
    hop.command(octets(verb), None if arguments is None else octets(arguments))
    return _reply_of(hop, waiting, response)


def envelope(context, waiting, handle, verb, path, parameters):
    """Send MAIL or RCPT with those of the client's parameters that the next hop offers; its reply, or the refusal of what it
    would have to take. parameters: [keyword, value or null, …]."""
    hop = hop_of(context, handle)
    given = {keyword: parameters[i + 1] for i, keyword in enumerate(parameters) if not i & 1} if parameters else parameters
    refusal = refusal_of(hop, path, given)
    if refusal is not None:
        return refusal
    words = b"FROM:" if verb == "MAIL" else b"TO:"
    hop.command(octets(verb), words + octets(path) + (octets(suited(hop.extensions, given)) if given else b""))
    return _reply_of(hop, waiting, response)


def extensions(context, handle):
    """What the next hop offers: [keyword, parameters, …]."""
    flat = []
    for pair in hop_of(context, handle).extensions.items():
        flat += pair
    return flat


def starttls(context, waiting, handle, options):
    """STARTTLS and the handshake: [code, [line, …], facts or null]."""
    hop = hop_of(context, handle)
    tls = context.make_tls(_known(options, _TLS_OPTIONS, "TLS option"))

    def upgraded(answer, error):
        if error is None:
            waiting.done([*response(answer), hop.tls])
        else:
            waiting.failed(error)

    hop.start_tls(tls, upgraded)
    waiting.on_cancel = hop.stop_receiving
    return PENDING


def impersonate(context, handle, verb, attributes):
    """Send XCLIENT or XFORWARD with those of the attributes (name, text or null, …) that the next hop knows; whether
    there was one."""
    hop = hop_of(context, handle)
    verb = octets(verb).upper()
    known = (hop.extensions.get(verb) or b"").upper().split()
    words = []
    for name, value in zip(attributes[::2], attributes[1::2], strict=True):
        name = octets(name).upper()
        if name in known:
            text = b"" if value is None else octets(value)
            if name in (b"ADDR", b"DESTADDR") and b":" in text and not text.upper().startswith(b"IPV6:"):
                text = b"IPV6:" + text
            words.append(name + b"=" + (xtext(text) or b"[UNAVAILABLE]"))
    if not words and verb in hop.extensions:
        return False
    hop.command(verb, b" ".join(words))
    return True


def _sending(waiting, hop, count):
    def sent(error):
        if error is None:
            waiting.done(count)
        else:
            waiting.failed(error)

    waiting.on_cancel = hop.close
    return sent


def message(context, waiting, handle, headers, body):
    """Send a message with its final dot; how many recipients the next hop has accepted for it. A header that cannot be
    written costs the connection (D3)."""
    hop = hop_of(context, handle)
    count = hop.recipients
    pieces = _begun(context, hop, headers, body)
    return count if hop.send_message(pieces, _sending(waiting, hop, count)) else PENDING


def _begun(context, hop, headers, body):
    """What is to be sent of a message, to a next hop that waits for it."""
    hop.begin_message()
    try:
        return outgoing_chunks(context, headers, body, wire=True)
    except BaseException:
        hop.spoil("a message that could not be written")
        raise


def transmit(context, waiting, handle, headers, body):
    """Send a message as message() does; the next reply, and for how many recipients it is: [code, [line, …], count]."""
    hop = hop_of(context, handle)
    count = hop.recipients
    form = partial(_counted, count)
    if hop.send_message(_begun(context, hop, headers, body), partial(_sent, hop, waiting)):
        return _reply_of(hop, waiting, form)
    waiting.form = form
    waiting.on_cancel = hop.close
    return PENDING


def _counted(count, answer):
    return [answer.code, answer.lines, count]


def _sent(hop, waiting, error):
    """What is told when a message has been sent later than at once."""
    if error is None:
        waiting.on_cancel = hop.stop_receiving
    _next_reply(hop, waiting, error)


def chunks(context, waiting, handle, headers, body):
    """Send a message by BDAT; how many recipients the next hop has accepted for it. Nothing is sent of one with a header that
    cannot be written."""
    hop = hop_of(context, handle)
    count = hop.recipients
    pieces = outgoing_chunks(context, headers, body, wire=False)
    return count if hop.send_chunks(pieces, _sending(waiting, hop, count)) else PENDING


def way(context, handle, reference):
    """How a body goes to this next hop: "chunks" (BDAT), because it has come in chunks and CHUNKING is offered; "data"; or
    "none", because it is binary and CHUNKING is not."""
    body = message_of(context, reference).body if isinstance(reference, int) else None
    offered = b"CHUNKING" in hop_of(context, handle).extensions
    if body is not None and body.binary and not offered:
        return "none"
    return "chunks" if offered and body is not None and body.plain else "data"


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


# Connections that other sessions of this worker may use.

def _key(hop, identity):
    return hop.host, hop.port, hop.lmtp, hop.source, identity


def keep(context, handle, identity, lines):
    """Keep a connection for another session, which gets `lines` with it; whether that was possible. It is no longer
    this session's. identity: what the other must ask for, its first part the name in EHLO; "" when nobody else may have it."""
    hop = context.next_hops.pop(handle, None)
    if hop is None:
        return False
    context.delivered = context.delivered or hop.beyond_recall
    if identity and context.pool is not None and _told(hop, identity) and context.pool.keep(_key(hop, identity), hop, lines):
        return True
    hop.leave()
    return False


def _told(hop, identity):
    """Whether the name that the next hop knows us by is the one of an identity: a policy may say EHLO again, with another."""
    return hop.hello is not None and octets(str(json.loads(identity)[0])) == hop.hello


def reuse(context, waiting, host, port, options, identity):
    """A connection that another session has kept, after a RSET: [handle, lines, facts of its TLS or null]; null when there
    is none that still answers."""
    asked = _new_hop(context, host, port, options)
    if context.pool is None or asked.preface:
        return None

    def attempt():
        found = context.pool.take(_key(asked, identity))
        if found is None:
            return None
        hop, lines = found
        asked.lend(hop)

        def received(answer, error):
            if error is None and answer.code < 300:
                waiting.form = partial(_lent, context, hop, lines)
                waiting.ended(answer, None)
                return
            hop.close()
            if attempt() is None:
                waiting.done(None)

        try:
            hop.command(b"RSET", None)
            waiting.on_cancel = hop.close
            hop.receive(received)
        except MailfilterError:
            hop.close()
            return attempt()
        return PENDING

    return attempt()


def _lent(context, hop, lines, answer):
    return [_register(context, hop), lines, hop.tls]
