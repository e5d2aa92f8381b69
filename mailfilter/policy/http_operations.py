"""Operations of Http: requests to HTTP servers.

Must not know: HTTP, what a policy asks for.
"""
from mailfilter._core.heap import UNDEFINED, HostError
from mailfilter.mail.octets import octets
from mailfilter.policy.guarded import ask, outside, seconds_of
from mailfilter.services import http

__all__ = ["check", "request"]


def check(context):
    """Throw when what Http needs is not installed."""
    http.check()
    return UNDEFINED


def request(context, waiting, method, url, headers, body, redirects, limit, tls, seconds, away):
    """Ask: [status, reason, {header field: value}, body, URL after redirects].

    headers: [name, value, …]. tls: [file of certificates or null, whether to verify, whether only public addresses].
    """
    pairs = list(zip(map(str, headers[::2]), map(str, headers[1::2]), strict=True))
    body = None if body is None else octets(body)
    http.checked(method, pairs, body)
    if not 0 <= redirects <= http.REDIRECTS:
        raise HostError(f"redirects: {redirects:g} is not from 0 to {http.REDIRECTS}", "RangeError")
    if not 0 <= limit <= http.LARGEST:
        raise HostError(f"limit: {limit:g} is not from 0 to {http.LARGEST}", "RangeError")
    authorities, verify, public = tls
    server = http.open_server(outside(context), url, (authorities, bool(verify)), bool(public))

    async def make():
        answer = await server.request(method, url, pairs, body, int(redirects), int(limit))
        return [answer.status, answer.reason, answer.headers, answer.body, answer.url]

    return ask(context, waiting, server.circuit, make, seconds=seconds_of(seconds, context.timeouts.http), away=away)
