"""DMARC: whether a message comes from the domain in its From, and what the owner of that domain wants done if not.

By RFC 9989 (the organizational domain is found by walking up the DNS) or RFC 7489 (by the public suffix list). SPF
and DKIM were checked by others; here it is decided whether what they found speaks for the author's domain.

Must not know: policies, sessions, how SPF and DKIM are checked.
"""
from mailfilter.mail.author import FromRefused, author_domain
from mailfilter.services import suffixes
from mailfilter.services.dmarc_record import parse
from mailfilter.services.dns_answer import FAILURES, FOUND, NXDOMAIN
from mailfilter.services.dns_name import NameRefused, ascii_name, check_name
from mailfilter.services.synchronous import Synchronous, ahead, look_up

__all__ = ["RFC7489", "RFC9989", "STANDARDS", "Evaluation", "evaluate", "organizational_domain", "prepare"]

RFC7489, RFC9989 = STANDARDS = ("rfc7489", "rfc9989")

WALK_LABELS = 8
"""A walk up the DNS asks for so many names at most (RFC 9989 §4.10)."""

DEADLINE_S = 20.0
"""Longest time of one evaluation, in seconds."""

IDENTIFIERS = 10
"""Domains authenticated by DKIM that are looked at; the next ones count as not aligned."""

_A, _TXT = 1, 16
_MILDER = {"reject": "quarantine", "quarantine": "none", "none": "none"}


class Evaluation:
    """The outcome for one message.

    result: "pass", "fail", "none" (the domain has no DMARC record), "temperror" or "permerror". reason: why it is no pass, in
    words. domain: the author's; organizational_domain: the registered one above it; both None where From does not say.
    policy: what the owner wants for messages that fail: "none", "quarantine", "reject"; disposition: what follows for this
    one, "none" unless it fails. record, record_domain: what was found where, or None. sampled_out: pct or t=y
    made the disposition milder. spf_aligned: whether SPF speaks for the author's domain; dkim_aligned: the same for each
    signature, in order.
    """

    __slots__ = ("result", "reason", "domain", "organizational_domain", "policy", "disposition", "record", "record_domain",
                 "sampled_out", "spf_aligned", "dkim_aligned")

    def __init__(self, signatures=0):
        self.result, self.policy, self.disposition = "none", "none", "none"
        self.reason = self.domain = self.organizational_domain = self.record = self.record_domain = None
        self.sampled_out = self.spf_aligned = False
        self.dkim_aligned = [False] * signatures

    def _ends(self, result, reason):
        self.result, self.reason = result, reason
        return self


class _Temporary(Exception):
    """The DNS has no answer now."""


def evaluate(resolver, lines, spf, dkim, settled, *, standard=RFC9989, smtputf8=False, sample=0):
    """Evaluate one message; settled(Evaluation) is called once. Gives an object whose cancel() takes it back.

    lines: the header section, whole fields as bytes. spf: (result, domain). dkim: for each signature (result,
    domain, octets of the body that it leaves out). domains: texts or None. sample: from 0 to 100, below the record's pct when
    the message is among those that its policy is for (RFC 7489 §6.6.4). suffixes.load() was called before.
    """
    def finished(value, error):
        if error is not None:
            raise error
        settled(value)

    return Synchronous(resolver, lambda: _evaluated(lines, spf, dkim, standard, smtputf8, sample), finished, seconds=DEADLINE_S)


def prepare(resolver, lines, standard=RFC9989, smtputf8=False):
    """Begin the look-ups that `evaluate` will make one after the other for these header lines; waits for nothing."""
    try:
        domain = _normal(author_domain(lines, smtputf8))
    except FromRefused:
        return
    if domain is None:
        return
    if standard == RFC7489:
        names = {domain, suffixes.registered(domain) or domain} if suffixes.loaded() else {domain}
    else:
        names = _targets(domain)
    ahead(resolver, ["_dmarc." + name for name in names], _TXT)


def organizational_domain(domain, standard=RFC9989):
    """That of `domain` (lower case, A-labels). Only inside a Synchronous; raises what has no answer now."""
    return _World(standard).organizational(domain)


class _World:
    """What the DNS says, for one evaluation: no name is asked for twice."""

    def __init__(self, standard):
        self.standard = standard
        self._records = {}

    def record(self, domain):
        """The DMARC record at `domain`, or None; several are none (RFC 7489 §6.6.3, RFC 9989 §4.10)."""
        if domain not in self._records:
            answer = look_up("_dmarc." + domain, _TXT)
            if answer.status in FAILURES:
                raise _Temporary(f"DNS {answer.status} for _dmarc.{domain}")
            found = [parse(record.data, self.standard) for record in answer.records] if answer.status == FOUND else []
            found = [record for record in found if record is not None]
            self._records[domain] = found[0] if len(found) == 1 else None
        return self._records[domain]

    def walk(self, domain):
        """[(name, record), …] of `domain` and above, the longest name first."""
        found = []
        for name in _targets(domain):
            record = self.record(name)
            if record is not None:
                found.append((name, record))
                if record.suffix != "u":
                    break
        return found

    def organizational(self, domain):
        """The organizational domain of `domain`."""
        if self.standard == RFC7489:
            return suffixes.registered(domain) or domain
        return self._chosen(domain, self.walk(domain))[0]

    @staticmethod
    def _chosen(domain, found):
        """(organizational domain, name of the suffix's record or None) by what a walk found (RFC 9989 §4.10.2)."""
        for name, record in found:
            if record.suffix == "n":
                return name, None
            # A registry that publishes a record without psd=y would make strangers one organization: the list knows better.
            if name != domain and (record.suffix == "y" or suffixes.is_suffix(name)):
                below = len(name.split(".")) + 1
                return ".".join(domain.split(".")[-below:]), name
        return (found[-1][0] if found else domain), None

    def policy_of(self, domain):
        """(organizational domain, name of the record that applies or None, the record)."""
        own = self.record(domain)
        if self.standard == RFC7489:
            above = suffixes.registered(domain) or domain
            if own is None and above != domain:
                return above, above, self.record(above)
            return above, domain, own
        found = self.walk(domain)
        above, suffix = self._chosen(domain, found)
        if own is not None:
            return above, domain, own
        records = dict(found)
        name = above if above in records else suffix
        return above, name, records.get(name)

    @staticmethod
    def is_missing(domain):
        """Whether there is no such name at all (RFC 8020)."""
        answer = look_up(domain, _A)
        if answer.status in FAILURES:
            raise _Temporary(f"DNS {answer.status} for {domain}")
        return answer.status == NXDOMAIN


def _targets(domain):
    labels = domain.split(".")
    yield domain
    for left in range(min(len(labels), WALK_LABELS) - 1, 0, -1):
        yield ".".join(labels[-left:])


def _normal(domain):
    """A domain that others found, lower case and in A-labels; None when it is none."""
    try:
        return check_name(ascii_name(domain)).lower() if domain and not domain.endswith(".") else None
    except NameRefused:
        return None


def _evaluated(lines, spf, dkim, standard, smtputf8, sample):
    outcome = Evaluation(len(dkim))
    try:
        written = author_domain(lines, smtputf8)
    except FromRefused as refused:
        return outcome._ends("permerror", str(refused))
    domain = _normal(written)
    if domain is None:
        return outcome._ends("permerror", "From has a domain that cannot be one")
    outcome.domain = outcome.organizational_domain = domain
    world = _World(standard)
    try:
        outcome.organizational_domain, name, record = world.policy_of(domain)
        if record is None:
            return outcome._ends("none", f"no DMARC record for {domain}")
        outcome.record, outcome.record_domain = record, name
        if record.problem is not None:
            return outcome._ends("permerror", record.problem)
        outcome.policy = _wanted(world, domain, name, record)
        unsure = _align(world, outcome, spf, dkim)
    except _Temporary as error:
        return outcome._ends("temperror", str(error))
    if outcome.spf_aligned or True in outcome.dkim_aligned:
        outcome.result = "pass"
    elif unsure is not None:
        outcome._ends("temperror", unsure)
    else:
        outcome._ends("fail", f"neither SPF nor DKIM speaks for {domain}")
        # RFC 7489 §6.6.4, RFC 9989 §4.7: one step milder.
        outcome.sampled_out = outcome.policy != "none" and (record.testing or sample >= record.percent)
        outcome.disposition = _MILDER[outcome.policy] if outcome.sampled_out else outcome.policy
    return outcome


def _wanted(world, domain, name, record):
    """The policy for `domain` in a record that was found at `name`."""
    if name == domain:
        return record.policy
    existing = record.subdomain_policy or record.policy
    if record.missing_policy in (None, existing):
        return existing
    return record.missing_policy if world.is_missing(domain) else existing


def _align(world, outcome, spf, dkim):
    """Fill in what speaks for the author's domain; what might have, had the DNS answered, in words, or None."""
    author, above = outcome.domain, outcome.organizational_domain
    unsure, known = [], {}

    def aligned(domain, mode):
        if domain is None or domain == author:
            return domain == author
        if mode == "s" or domain != above and not domain.endswith("." + above):
            return False        # what has the same organizational domain lies under it
        if domain not in known:
            try:
                known[domain] = world.organizational(domain) == above
            except _Temporary as error:
                unsure.append(str(error))
                known[domain] = False
        return known[domain]

    result, domain = spf
    if result in ("pass", "temperror") and aligned(_normal(domain), outcome.record.spf):
        outcome.spf_aligned = result == "pass"
        if result == "temperror":
            unsure.append(f"SPF has no result for {domain} now")
    candidates = [(index, *one) for index, one in enumerate(dkim) if one[0] in ("pass", "temperror")]
    for index, result, domain, unsigned in candidates[:IDENTIFIERS]:
        # Behind what l= says anybody may have written (RFC 6376 §8.2): such a signature speaks for nobody.
        if not unsigned and aligned(_normal(domain), outcome.record.dkim):
            outcome.dkim_aligned[index] = result == "pass"
            if result == "temperror":
                unsure.append(f"DKIM has no result for {domain} now")
    return unsure[0] if unsure else None
