"""A DNS server that serves the zone data of the published SPF test suites, as packets.

The data is what the suites' YAML files have: {name: [{type: data}, …, "TIMEOUT"]}. A name without TXT records gets its SPF
records as TXT, too; "TIMEOUT" stands for a server that fails from there on (SERVFAIL here, which costs no waiting). Must
not know Mailfilter.
"""
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from peers.dns import DnsServer


def records_of(zonedata):
    """{name in lower case: [(type, data), …]}; the type "TIMEOUT" for a failing server."""
    zone = {}
    for name, entries in zonedata.items():
        found, generated, has_text = [], [], False
        for entry in entries:
            if entry == "TIMEOUT":
                found.append(("TIMEOUT", None))
                continue
            for kind, data in entry.items():
                if kind == "TXT":
                    has_text = True
                if data in ("NONE", []):
                    continue        # no records; a TXT without any string cannot be sent
                found.append((kind, data))
                if kind == "SPF":
                    generated.append(("TXT", data))
        zone[name.lower().rstrip(".")] = found + ([] if has_text else generated)
    return zone


def _text(name):
    return ".".join(label.decode("latin-1") for label in name.labels if label).lower()


def _name(text):
    return dns.name.Name([*(label.encode("latin-1") for label in text.rstrip(".").split(".") if label), b""])


def _rdata(kind, data):
    number = dns.rdatatype.from_text(kind)
    if kind in ("TXT", "SPF"):
        strings = [data] if isinstance(data, str) else data
        wire = b""
        for string in strings:
            octets = string.encode("utf-8")
            # A string has 255 octets at most; the suites have longer ones, which a real zone has in pieces.
            for at in range(0, len(octets) or 1, 255):
                wire += bytes([len(octets[at:at + 255])]) + octets[at:at + 255]
        return dns.rdata.from_wire(dns.rdataclass.IN, number, wire, 0, len(wire))
    if kind == "MX":
        wire = data[0].to_bytes(2, "big") + _name(data[1]).to_wire()
    elif kind in ("PTR", "CNAME"):
        wire = _name(data).to_wire()
    else:
        return dns.rdata.from_text(dns.rdataclass.IN, number, data)
    return dns.rdata.from_wire(dns.rdataclass.IN, number, wire, 0, len(wire))


class SuiteServer(DnsServer):
    """Serves `suite`, the records of the scenario under test; nothing may be kept (TTL 0)."""

    suite = {}

    def answer(self, data, transport):
        query = dns.message.from_wire(data)
        question = query.question[0]
        self.asked.append((_text(question.name), dns.rdatatype.to_text(question.rdtype), transport))
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        self._fill(reply, question.name, dns.rdatatype.to_text(question.rdtype))
        if transport == "udp" and len(reply.to_wire()) > 512 and query.edns < 0:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
        return reply.to_wire()

    def _fill(self, reply, name, kind, depth=0):
        text = _text(name)
        entries = self.suite.get(text)
        if entries is None:
            reply.set_rcode(dns.rcode.SERVFAIL if text.startswith("error.") else dns.rcode.NXDOMAIN)
            return
        found = []
        for entry, value in entries:
            if entry == "TIMEOUT":
                if not found:
                    reply.set_rcode(dns.rcode.SERVFAIL)
                break
            if value == "TIMEOUT":
                if entry == kind:
                    reply.set_rcode(dns.rcode.SERVFAIL)
                continue
            if entry == kind:
                found.append(_rdata(entry, value))
            elif entry == "CNAME":
                reply.answer.append(dns.rrset.from_rdata(name, 0, _rdata(entry, value)))
                if depth < 12 and not any(rrset.name == _name(value) for rrset in reply.answer):
                    self._fill(reply, _name(value), kind, depth + 1)
        if found:
            reply.answer.append(dns.rrset.from_rdata_list(name, 0, found))
