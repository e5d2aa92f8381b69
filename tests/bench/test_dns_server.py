"""The DNS server of the benchmarks says what messages that are measured need."""
import pytest
from dnslib import QTYPE, DNSRecord

from bench.dns_server import Answers


def asked(name, kind):
    answer = DNSRecord.parse(Answers(0, b"KEY" * 120).answer(DNSRecord.question(name, kind).pack()))
    assert str(answer.q.qname) == name + "." and answer.q.qtype == getattr(QTYPE, kind)
    return answer.header.rcode, [record.rdata for record in answer.rr]


@pytest.mark.parametrize("name, kind, wanted", [
    ("d7.bench", "TXT", '"v=spf1 ip4:10.0.0.0/8 -all"'), ("_dmarc.d7.bench", "TXT", '"v=DMARC1; p=reject; rua=mailto:d@bench"'),
    ("9.2.1.10.in-addr.arpa", "PTR", "c66057.bench."), ("c66057.bench", "A", "10.1.2.9")])
def test_what_is_there(name, kind, wanted):
    code, [found] = asked(name, kind)
    assert code == 0 and str(found) == wanted


def test_keys_and_what_is_not_there():
    code, [key] = asked("k._domainkey.d1.bench", "TXT")
    assert b"".join(key.data) == b"v=DKIM1; k=rsa; p=" + b"KEY" * 120
    assert asked("d7.bench", "A") == (0, []) and asked("9.2.1.10.list1.bench", "A")[0] == asked("_dmarc.bench", "TXT")[0] == 3
