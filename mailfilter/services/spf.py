"""SPF (RFC 7208) by pyspf, whose look-ups go through our resolver.

Must not know: policies, how a session looks.
"""
import ipaddress

import spf

from mailfilter.services.dns_answer import FAILURES, FOUND
from mailfilter.services.dns_name import NameRefused, ascii_name
from mailfilter.services.synchronous import Synchronous, look_up

__all__ = ["SpfResult", "check"]

DEADLINE_S = 20.0
"""Longest time of one check, in seconds (RFC 7208 §4.6.4)."""

EXPLANATION_OCTETS = 500
"""How much of the explanation of a domain's owner is kept."""

_KINDS = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SPF": 99}


class SpfResult:
    """The outcome of one check.

    result: "pass", "fail", "softfail", "neutral", "none", "temperror" or "permerror". identity: "mailfrom" or "helo".
    domain: whose record was asked for. mechanism: the one that matched, or None. explanation: what the owner of the domain
    wants to be told to a client that fails, or None. problem: why it is temperror or permerror, or None. header: the value of a
    Received-SPF field (RFC 7208 §9.1); comment: the sentence in it.
    """

    __slots__ = ("result", "identity", "domain", "mechanism", "explanation", "problem", "header", "comment")

    def __init__(self, result, identity, domain, mechanism=None, explanation=None, problem=None, header="", comment=""):
        self.result = result
        self.identity = identity
        self.domain = domain
        self.mechanism = mechanism
        self.explanation = explanation
        self.problem = problem
        self.header = header
        self.comment = comment


def _dns_lookup(name, qtype, strict=True, timeout=None):
    """pyspf's seam: [((name, type), data), …]; spf.TempError for what may be otherwise later."""
    if not name.isascii():
        return []       # a local part in UTF-8 expands to no name (RFC 8616 §4)
    answer = look_up(name, _KINDS[qtype])
    if answer.status in FAILURES:
        raise spf.TempError(f"DNS {answer.status} for {name} {qtype}")
    if answer.status != FOUND:
        return [((record.name, "CNAME"), record.data) for record in answer.answer if record.kind == 5]
    found = []
    for record in answer.records:
        data = record.data
        if record.kind == 15:
            data = (record.parts["preference"], record.parts["exchange"])
        elif record.kind in (16, 99):
            data = (data,)
        found.append(((name, qtype), data))
    return found


spf.DNSLookup = _dns_lookup


def check(resolver, loop, address, sender, helo, receiver, settled, lax=False):
    """Check whether `address` may send for the domain of `sender`, or of `helo` where there is no sender.

    address: an IP address as text. sender: a mailbox or a domain as text, "" for the null path. helo: what the client
    called itself. receiver: our own name. lax: forgive a record what RFC 7208 calls an error, where its author's wish can
    be guessed (pyspf's lax mode). settled(SpfResult) is called once; cancel() of what is returned takes it back (None:
    it was called already).
    """
    identity, domain = ("mailfrom", sender.rpartition("@")[2]) if sender else ("helo", helo)
    try:
        address = str(ipaddress.ip_address(address.partition("%")[0]))
        plain = ascii_name(domain)
        if "." not in plain or plain.replace(".", "").isdigit():
            raise NameRefused("an SPF domain has two labels at least and is no address")
    except ValueError as error:
        # RFC 7208 §4.3: a domain that is none, a literal, or one label has no policy. So has a client without an address.
        settled(SpfResult("none", identity, domain, problem=str(error), header=f"None ({receiver}: no domain to check)",
                          comment="no domain to check"))
        return None
    local = sender.rpartition("@")[0] or "postmaster"
    query = spf.query(address, f"{local}@{plain}" if sender else "", plain if not sender else helo, receiver=receiver,
                      strict=not lax)
    # pyspf takes what follows the first "@" for the domain: a quoted local part could choose whom it speaks for.
    query.l, query.o, query.d = local, plain, plain
    return _Check(resolver, loop, query, identity, plain, settled)


class _Check:
    """A check under way."""

    __slots__ = ("_query", "_identity", "_domain", "_settled", "_timer", "_call")

    def __init__(self, resolver, loop, query, identity, domain, settled):
        self._query = query
        self._identity = identity
        self._domain = domain
        self._settled = settled
        self._timer = self._call = None
        self._call = Synchronous(resolver, query.check, self._checked)
        if self._settled is not None:
            self._timer = loop.call_later(DEADLINE_S, self._late)

    def cancel(self):
        """Nobody waits for it any more."""
        self._settled = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._call is not None:
            self._call.cancel()

    def _late(self):
        settled, self._settled = self._settled, None
        self._call.cancel()
        settled(self._failed("temperror", f"no result within {DEADLINE_S:g} s"))

    def _checked(self, value, error):
        settled, self._settled = self._settled, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if settled is None:
            return
        if error is not None:
            # pyspf stumbled over a record that its author did not think of: nothing is known of this client.
            settled(self._failed("permerror", f"{type(error).__name__}: {error}"))
            return
        result, _code, explanation = value
        query = self._query
        problem = explanation if result in ("temperror", "permerror") else None
        own = result in ("fail", "softfail") and explanation not in spf.EXPLANATIONS.values()
        settled(SpfResult(
            result, self._identity, self._domain, query.mechanism, explanation[:EXPLANATION_OCTETS] if own else None, problem,
            _one_line(query.get_header(result)), _one_line(query.get_header_comment(result))))

    def _failed(self, result, problem):
        query = self._query
        query.prob = problem
        query.mechanism, query.mech = None, []
        return SpfResult(result, self._identity, self._domain, problem=problem, header=_one_line(query.get_header(result)),
                         comment=_one_line(query.get_header_comment(result)))


def _one_line(text):
    """What comes from records and envelopes, fit for a header."""
    return "".join(c if c.isprintable() else "?" for c in text)
