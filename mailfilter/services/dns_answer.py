"""What a DNS look-up gives: an Answer with Records, whoever fetched it.

Data is text in the presentation form that people know (`10 mx.example.org`, `192.0.2.1`), without final dots
and without quotes around TXT, and beside it the parts by name.

Must not know: sockets, caches, policies.
"""
import pycares

__all__ = ["CARES_TYPES", "FAILURES", "FOUND", "MALFORMED", "NODATA", "NXDOMAIN", "REFUSED", "SERVFAIL", "TIMEOUT", "TYPES",
           "TYPE_NAMES", "UNAVAILABLE", "Answer", "Record", "from_cares", "of_name", "type_number"]

FOUND = "found"
NODATA = "nodata"
NXDOMAIN = "nxdomain"
SERVFAIL = "servfail"
REFUSED = "refused"
TIMEOUT = "timeout"
MALFORMED = "malformed"
UNAVAILABLE = "unavailable"

FAILURES = frozenset((SERVFAIL, REFUSED, TIMEOUT, MALFORMED, UNAVAILABLE))
"""The outcomes that say nothing about the name: asked again later, it may be there."""

TYPES = {
    "A": 1, "NS": 2, "MD": 3, "MF": 4, "CNAME": 5, "SOA": 6, "MB": 7, "MG": 8, "MR": 9, "NULL": 10, "WKS": 11, "PTR": 12,
    "HINFO": 13, "MINFO": 14, "MX": 15, "TXT": 16, "RP": 17, "AFSDB": 18, "X25": 19, "ISDN": 20, "RT": 21, "NSAP": 22,
    "NSAP-PTR": 23, "SIG": 24, "KEY": 25, "PX": 26, "GPOS": 27, "AAAA": 28, "LOC": 29, "NXT": 30, "EID": 31, "NIMLOC": 32,
    "SRV": 33, "ATMA": 34, "NAPTR": 35, "KX": 36, "CERT": 37, "A6": 38, "DNAME": 39, "SINK": 40, "OPT": 41, "APL": 42,
    "DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50,
    "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "HIP": 55, "NINFO": 56, "RKEY": 57, "TALINK": 58, "CDS": 59,
    "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "SVCB": 64, "HTTPS": 65, "SPF": 99, "UINFO": 100, "UID": 101, "GID": 102,
    "UNSPEC": 103, "NID": 104, "L32": 105, "L64": 106, "LP": 107, "EUI48": 108, "EUI64": 109, "TKEY": 249, "TSIG": 250,
    "IXFR": 251, "AXFR": 252, "MAILB": 253, "MAILA": 254, "ANY": 255, "URI": 256, "CAA": 257, "AVC": 258,
    "TA": 32768, "DLV": 32769,
}
"""Record types by name (the registry of IANA)."""

TYPE_NAMES = {number: name for name, number in TYPES.items()}

# What c-ares takes apart for us; everything else goes by dns_packet.
CARES_TYPES = frozenset(number for name, number in vars(pycares).items() if name.startswith("QUERY_TYPE_"))


def type_number(kind):
    """The number of a record type given as a number or a name; None when there is none."""
    if isinstance(kind, str):
        return TYPES.get(kind.upper())
    return int(kind) if 0 < kind < 65536 else None


class Record:
    """One resource record.

    name: its owner; kind: the number of its type; ttl: in seconds; data: str, or bytes where the record has any octets
    (TXT); parts: its data by name, a dict.
    """

    __slots__ = ("name", "kind", "ttl", "data", "parts")

    def __init__(self, name, kind, ttl, data, parts):
        self.name = name
        self.kind = kind
        self.ttl = ttl
        self.data = data
        self.parts = parts

    def __repr__(self):
        return f"Record({self.name!r}, {TYPE_NAMES.get(self.kind, self.kind)}, {self.ttl}, {self.data!r})"


class Answer:
    """The outcome of one look-up.

    status: FOUND, NODATA, NXDOMAIN, or one of FAILURES. name, kind: what was asked. answer, authority, additional: lists of
    Record. records: those of `answer` that belong to the question by way of aliases. ttl: seconds it may be kept. reason:
    why it failed, in words, or None.
    """

    __slots__ = ("status", "name", "kind", "answer", "authority", "additional", "records", "ttl", "reason")

    def __init__(self, status, name, kind, *, answer=(), authority=(), additional=(), records=(), ttl=0, reason=None):
        self.status = status
        self.name = name
        self.kind = kind
        self.answer = answer
        self.authority = authority
        self.additional = additional
        self.records = records
        self.ttl = ttl
        self.reason = reason

    def __repr__(self):
        return f"Answer({self.status}, {self.name!r}, {TYPE_NAMES.get(self.kind, self.kind)}, {list(self.records)!r})"


ALIASES = 10
"""How many CNAME records are followed inside one answer."""


def of_name(answer, name, kind):
    """(the records of `kind` that belong to `name` by way of aliases, the least TTL on the way or None).

    Records of other names are not looked at: whoever answers for one name has nothing to say about others.
    """
    owner, ttl = name.lower(), None
    for _ in range(ALIASES + 1):
        mine = [record for record in answer if record.name.lower() == owner]
        found = mine if kind == 255 else [record for record in mine if record.kind == kind]
        if found:
            return found, min(record.ttl for record in found) if ttl is None else min(ttl, *(r.ttl for r in found))
        alias = next((record for record in mine if record.kind == 5), None)
        if alias is None:
            break
        owner, ttl = alias.data.lower(), alias.ttl if ttl is None else min(ttl, alias.ttl)
    return [], ttl


def _dotless(name):
    return name[:-1] if name.endswith(".") else name


def _text(parts):
    return " ".join(str(part) for part in parts.values())


def _of_txt(data):
    return data.data, {}


def _of_mx(data):
    parts = {"preference": data.priority, "exchange": _dotless(data.exchange)}
    return _text(parts), parts


def _of_soa(data):
    parts = {"mname": _dotless(data.mname), "rname": _dotless(data.rname), "serial": data.serial, "refresh": data.refresh,
             "retry": data.retry, "expire": data.expire, "minimum": data.minimum}
    return _text(parts), parts


def _of_srv(data):
    parts = {"priority": data.priority, "weight": data.weight, "port": data.port, "target": _dotless(data.target)}
    return _text(parts), parts


def _of_tlsa(data):
    parts = {"usage": data.cert_usage, "selector": data.selector, "matching": data.matching_type,
             "certificate": data.cert_association_data.hex()}
    return _text(parts), parts


def _of_caa(data):
    parts = {"flags": data.critical, "tag": data.tag, "value": data.value}
    return _text(parts), parts


def _of_naptr(data):
    parts = {"order": data.order, "preference": data.preference, "flags": data.flags, "service": data.service,
             "regexp": data.regexp, "replacement": _dotless(data.replacement)}
    return _text(parts), parts


def _of_uri(data):
    parts = {"priority": data.priority, "weight": data.weight, "target": data.target}
    return _text(parts), parts


def _of_https(data):
    parts = {"priority": data.priority, "target": _dotless(data.target)}
    for key, value in data.params:
        parts[f"key{key}"] = value.hex()
    return _text(parts), parts


_SHAPES = {
    pycares.QUERY_TYPE_A: lambda data: (data.addr, {}),
    pycares.QUERY_TYPE_AAAA: lambda data: (data.addr, {}),
    pycares.QUERY_TYPE_NS: lambda data: (_dotless(data.nsdname), {}),
    pycares.QUERY_TYPE_CNAME: lambda data: (_dotless(data.cname), {}),
    pycares.QUERY_TYPE_PTR: lambda data: (_dotless(data.dname), {}),
    pycares.QUERY_TYPE_TXT: _of_txt,
    pycares.QUERY_TYPE_MX: _of_mx,
    pycares.QUERY_TYPE_SOA: _of_soa,
    pycares.QUERY_TYPE_SRV: _of_srv,
    pycares.QUERY_TYPE_TLSA: _of_tlsa,
    pycares.QUERY_TYPE_CAA: _of_caa,
    pycares.QUERY_TYPE_NAPTR: _of_naptr,
    pycares.QUERY_TYPE_URI: _of_uri,
    pycares.QUERY_TYPE_HTTPS: _of_https,
}


def from_cares(records):
    """Records of ours from a section that pycares has taken apart; what it does not know is left out."""
    found = []
    for record in records:
        shape = _SHAPES.get(record.type)
        if shape is None or record.data is None:
            continue
        name = record.name if isinstance(record.name, str) else record.name.decode("latin-1")
        data, parts = shape(record.data)
        found.append(Record(_dotless(name), record.type, record.ttl, data, parts))
    return found
