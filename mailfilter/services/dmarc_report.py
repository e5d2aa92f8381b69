"""Aggregate reports of DMARC as XML (RFC 7489 §7.2 and appendix C), out of the findings that dmarc_store keeps.

A report is about one domain with one policy: where an owner has changed the policy meanwhile there are two. Elements stand in no
namespace, as all who report write them and all who read expect them.

Must not know: the command line, how findings come into the file.
"""
import gzip
import hashlib
import ipaddress
import itertools
import re
import xml.etree.ElementTree as tree
from dataclasses import dataclass

from mailfilter.services import dmarc_store

__all__ = ["Report", "Reporter", "reports"]


@dataclass(frozen=True)
class Reporter:
    """Who reports. name: the organization; email: whom to write to; contact: more about that, or None."""

    name: str
    email: str
    contact: str | None = None


class Report:
    """One report.

    domain: whose record it is about; published: the record, as dmarc_store has it; begin, end: seconds since 1970, the end not
    included; rows: as of dmarc_store.read, without domain and policy; messages: how many it is about.
    """

    def __init__(self, domain, published, begin, end, rows):
        self.domain = domain
        self.published = published
        self.begin = begin
        self.end = end
        self.rows = rows
        self.messages = sum(row[-1] for row in rows)

    def identifier(self, reporter):
        """A name that no other report of this reporter has; the same report has the same one when it is made again."""
        parts = (reporter.name, self.domain, repr(sorted(self.published.items())), str(self.begin), str(self.end))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def file_name(self, reporter, compressed):
        """The name of its file (RFC 7489 §7.2.1.1): receiver!domain!begin!end!identifier.xml, or .xml.gz."""
        receiver = re.sub(r"[^A-Za-z0-9.-]", "_", reporter.email.rpartition("@")[2])
        domain = re.sub(r"[^A-Za-z0-9._-]", "_", self.domain)
        name = f"{receiver}!{domain}!{self.begin}!{self.end - 1}!{self.identifier(reporter)}.xml"
        return name + ".gz" if compressed else name

    def xml(self, reporter):
        """The report in octets."""
        feedback = tree.Element("feedback")
        _add(feedback, "version", "1.0")
        metadata = _add(feedback, "report_metadata")
        _add(metadata, "org_name", reporter.name)
        _add(metadata, "email", reporter.email)
        if reporter.contact:
            _add(metadata, "extra_contact_info", reporter.contact)
        _add(metadata, "report_id", self.identifier(reporter))
        dates = _add(metadata, "date_range")
        _add(dates, "begin", str(self.begin))
        _add(dates, "end", str(self.end - 1))
        policy = _add(feedback, "policy_published")
        _add(policy, "domain", self.domain)
        for name in ("adkim", "aspf", "p", "sp", "pct", "fo"):
            _add(policy, name, str(self.published[name]))
        for row in self.rows:
            _add_record(feedback, *row)
        tree.indent(feedback)
        return tree.tostring(feedback, "UTF-8", xml_declaration=True) + b"\n"

    def octets(self, reporter, compressed):
        """What its file holds."""
        xml = self.xml(reporter)
        return gzip.compress(xml, mtime=self.end) if compressed else xml


def reports(path, begin, end, domains=()):
    """The Reports on the hours from begin up to end (seconds since 1970), of these domains or all. Raises ServiceUnavailable."""
    rows = dmarc_store.read(path, begin, end, domains)
    for (domain, _key), group in itertools.groupby(rows, lambda row: (row[0], repr(row[1]))):
        group = list(group)
        yield Report(domain, group[0][1], begin, end, [row[2:] for row in group])


def _add(parent, name, text=None):
    element = tree.SubElement(parent, name)
    element.text = text
    return element


def _add_record(feedback, address, evaluated, identifiers, results, count):
    record = _add(feedback, "record")
    row = _add(record, "row")
    _add(row, "source_ip", _address(address))
    _add(row, "count", str(count))
    policy = _add(row, "policy_evaluated")
    for name in ("disposition", "dkim", "spf"):
        _add(policy, name, evaluated[name])
    for kind, comment in evaluated["reasons"]:
        reason = _add(policy, "reason")
        _add(reason, "type", kind)
        if comment:
            _add(reason, "comment", comment)
    names = _add(record, "identifiers")
    _add(names, "envelope_from", identifiers["envelope_from"])
    _add(names, "header_from", identifiers["header_from"])
    authenticated = _add(record, "auth_results")
    for domain, selector, result in results["dkim"]:
        signature = _add(authenticated, "dkim")
        _add(signature, "domain", domain)
        if selector:
            _add(signature, "selector", selector)
        _add(signature, "result", result)
    scope, result, domain = results["spf"]
    sender = _add(authenticated, "spf")
    _add(sender, "domain", domain)
    _add(sender, "scope", scope)
    _add(sender, "result", result)


def _address(text):
    """An address as the schema of RFC 7489 has it: of IPv6 all eight groups."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return text
    return ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))
