"""Look-ups that c-ares cannot make: names out of any octets, and record types it does not take apart.

The packets are dnspython's: a question over UDP, again over TCP when the answer is cut short, from one server to
the next until one answers. Such questions are rare (SPF macros, DNSSEC types), so that each gets a socket of its own,
with a random port.

Must not know: caches, policies.
"""
import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from mailfilter.services import dns_answer as shapes
from mailfilter.services.dns_name import labels_of

__all__ = ["ask"]

TRIES = 2
"""How often each server is asked."""

_BACKEND = dns.asyncbackend.get_backend("asyncio")

_RCODES = {dns.rcode.NXDOMAIN: shapes.NXDOMAIN, dns.rcode.SERVFAIL: shapes.SERVFAIL, dns.rcode.REFUSED: shapes.REFUSED,
           dns.rcode.FORMERR: shapes.MALFORMED, dns.rcode.NOTIMP: shapes.REFUSED}


async def ask(servers, name, kind, deadline_s):
    """Ask for an ascii_name; the Answer, whose `ttl` and `records` the caller fills in. Never raises for what the network does.

    servers: (address, port) pairs. deadline_s: for everything together, in seconds.
    """
    query = dns.message.make_query(dns.name.Name(labels_of(name)), kind, use_edns=0, payload=1232)
    status, reason = shapes.TIMEOUT, "no server answered"
    # Rounds over all servers, as c-ares has them: a silent one costs its share of the time, not all of it.
    patience = deadline_s / (TRIES * max(len(servers), 1))
    for address, port in servers * TRIES:
        try:
            reply, _ = await dns.asyncquery.udp_with_fallback(query, address, timeout=patience, port=port,
                                                              ignore_unexpected=True, backend=_BACKEND)
        except (dns.exception.Timeout, TimeoutError):
            continue
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            status, reason = shapes.MALFORMED, str(error)
            if isinstance(error, OSError):
                status = shapes.UNAVAILABLE
            continue
        code = reply.rcode()
        if code in (dns.rcode.SERVFAIL, dns.rcode.REFUSED) and len(servers) > 1:
            status, reason = _RCODES[code], dns.rcode.to_text(code)
            continue
        return _answer(reply, name, kind)
    return shapes.Answer(status, name, kind, reason=reason)


def _answer(reply, name, kind):
    code = reply.rcode()
    if code != dns.rcode.NOERROR:
        status = _RCODES.get(code, shapes.SERVFAIL)
        return shapes.Answer(status, name, kind, authority=_records(reply.authority), reason=dns.rcode.to_text(code))
    return shapes.Answer(shapes.FOUND, name, kind, answer=_records(reply.answer), authority=_records(reply.authority),
                         additional=_records(reply.additional))


def _records(section):
    found = []
    for rrset in section:
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        owner = _plain(rrset.name)
        for rdata in rrset:
            data, parts = _data(rdata)
            found.append(shapes.Record(owner, int(rrset.rdtype), rrset.ttl, data, parts))
    return found


def _plain(name):
    """A name as ascii_name has them: no escapes, no final dot."""
    return b".".join(label for label in name.labels if label).decode("latin-1")


def _data(rdata):
    """Data and parts like those of dns_answer for the types that both ways give."""
    kind = int(rdata.rdtype)
    if kind in (16, 99):
        return b"".join(rdata.strings), {}
    if kind in (2, 5, 12, 39):
        return _plain(rdata.target), {}
    if kind == 15:
        parts = {"preference": rdata.preference, "exchange": _plain(rdata.exchange)}
        return f"{parts['preference']} {parts['exchange']}", parts
    return rdata.to_text(), {}

