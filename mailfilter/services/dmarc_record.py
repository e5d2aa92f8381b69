"""DMARC records: their text taken apart (RFC 7489 §6.3, RFC 9989 §4.7).

Must not know: where a record comes from, what is made of it.
"""
import re

__all__ = ["RECORD_OCTETS", "Record", "parse"]

RECORD_OCTETS = 4096
"""The longest record that is looked at; a longer one counts as none."""

REPORT_ADDRESSES = 10
"""Addresses for reports that are kept of one record."""

_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_NAME, _VALUE = re.compile(r"[a-zA-Z]+"), re.compile(r"[\x20-\x7e]*")
_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*:[^\s,!;]+)(?:![0-9]{1,20}[kmgtKMGT]?)?")
_POLICIES = ("none", "quarantine", "reject")


class Record:
    """A DMARC record.

    text: as published. policy, subdomain_policy, missing_policy: what p, sp and np say, or None. dkim, spf: "r" (relaxed) or
    "s" (strict). percent: pct. suffix: psd, "y", "n" or "u". testing: whether t=y. options: fo. reports: where aggregate
    reports go to, URIs. problem: why there is no policy in it that can be used, or None.
    """

    __slots__ = ("text", "policy", "subdomain_policy", "missing_policy", "dkim", "spf", "percent", "suffix", "testing",
                 "options", "reports", "problem")


def parse(data, standard):
    """The Record in the octets of a TXT record; None when it is not one of DMARC.

    standard: "rfc7489", which has no np, psd and t, or "rfc9989", which has no pct.

    What is wrong with a tag makes the tag count as missing. Without a policy that can be used, but with an address for
    reports, it is p=none (RFC 7489 §6.6.3, RFC 9989 §4.10.1); without one there is a `problem`.
    """
    if len(data) > RECORD_OCTETS or not _VERSION.match(data):
        return None
    text = data.decode("latin-1")
    tags, twice = {}, set()
    for part in text.split(";")[1:]:
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if equals and _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            if name in tags:
                twice.add(name)
            tags[name] = value
    for name in ("np", "psd", "t") if standard == "rfc7489" else ("pct",):
        tags.pop(name, None)
    for name in twice.intersection(tags):
        # Which of the two the owner means is a guess, and others guess otherwise.
        tags[name] = ""

    def one_of(name, values, missing):
        value = tags.get(name, "").lower()
        return value if value in values else missing

    record = Record()
    record.text = text
    record.policy, record.subdomain_policy, record.missing_policy = (one_of(name, _POLICIES, None) for name in ("p", "sp", "np"))
    record.dkim, record.spf = one_of("adkim", ("r", "s"), "r"), one_of("aspf", ("r", "s"), "r")
    record.percent = int(tags["pct"]) if re.fullmatch("[0-9]{1,3}", tags.get("pct", "")) and int(tags["pct"]) <= 100 else 100
    record.suffix, record.testing = one_of("psd", ("y", "n", "u"), "u"), one_of("t", ("y", "n"), "n") == "y"
    record.options = tags.get("fo", "") if re.fullmatch("[01ds](?::[01ds])*", tags.get("fo", "")) else "0"
    uris = [_URI.fullmatch(uri.strip()) for uri in tags.get("rua", "").split(",")]
    record.reports = [uri[1] for uri in uris if uri is not None][:REPORT_ADDRESSES]
    record.problem = None
    wrong = [name for name, value in (("sp", record.subdomain_policy), ("np", record.missing_policy))
             if name in tags and value is None]
    if record.policy is None or wrong:
        if record.reports:
            record.policy, record.subdomain_policy, record.missing_policy = "none", None, None
        else:
            record.problem = f"the record's {wrong[0]}= is no policy" if wrong else "the record has no policy"
    return record
