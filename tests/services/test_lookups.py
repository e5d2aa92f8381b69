"""Resolver.lookup: every outcome told apart, data of every type, odd names, the cache, merging, deadlines."""
import asyncio
import time

import pytest
from dnslib import QTYPE, RR, TXT, DNSRecord
from peers.dns import SILENCE, TRUNCATE, DnsServer

from mailfilter.services.dns import FAILURE_S, NEGATIVE_S, Resolver
from mailfilter.services.dns_answer import TYPES, type_number
from mailfilter.services.dns_name import NameRefused, ascii_name

# A name that c-ares refuses.
ODD = "odd+name.example.org"

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")


def look_up(run, name, kind, zone, **options):
    async def test(resolver, server):
        return await resolver.answer(name, TYPES[kind])
    return run(test, zone, **options)


RECORDS = {
    "A": ("192.0.2.1", "192.0.2.1", {}),
    "AAAA": ("2001:db8::1", "2001:db8::1", {}),
    "NS": ("ns.example.org.", "ns.example.org", {}),
    "PTR": ("host.example.org.", "host.example.org", {}),
    "MX": ("10 mx.example.org.", "10 mx.example.org", {"preference": 10, "exchange": "mx.example.org"}),
    "TXT": ('"v=spf1 " "-all"', b"v=spf1 -all", {}),
    "SRV": ("1 2 25 mx.example.org.", "1 2 25 mx.example.org",
            {"priority": 1, "weight": 2, "port": 25, "target": "mx.example.org"}),
    "CAA": ('0 issue "ca.example"', "0 issue ca.example", {"flags": 0, "tag": "issue", "value": "ca.example"}),
    "TLSA": ("3 1 1 00ff", "3 1 1 00ff", {"usage": 3, "selector": 1, "matching": 1, "certificate": "00ff"}),
    "NAPTR": ('1 2 "s" "SIP" "" sip.example.org.', "1 2 s SIP  sip.example.org",
              {"order": 1, "preference": 2, "flags": "s", "service": "SIP", "regexp": "", "replacement": "sip.example.org"}),
    "SOA": ("ns.example.org. root.example.org. 1 2 3 4 5", "ns.example.org root.example.org 1 2 3 4 5",
            {"mname": "ns.example.org", "rname": "root.example.org", "serial": 1, "refresh": 2, "retry": 3, "expire": 4,
             "minimum": 5}),
    "SSHFP": ("1 1 " + "0f" * 20, "1 1 " + "0f" * 20, {}),
    "DS": ("1 8 2 " + "0f" * 32, "1 8 2 " + "0f" * 32, {}),
}


@pytest.mark.parametrize("kind", list(RECORDS))
def test_data_of_every_type(run, kind):
    data, text, parts = RECORDS[kind]
    answer = look_up(run, "example.org", kind, {("example.org", kind): [f"example.org 300 IN {kind} {data}"]})
    assert (answer.status, answer.ttl) == ("found", 300)
    [record] = answer.records
    assert (record.name, record.kind, record.ttl, record.data) == ("example.org", TYPES[kind], 300, text)
    assert record.parts == parts


@pytest.mark.parametrize("code, status", [("NXDOMAIN", "nxdomain"), ("SERVFAIL", "servfail"), ("REFUSED", "refused"),
                                          ("FORMERR", "malformed"), ("NOTIMP", "refused"), ([], "nodata")])
@pytest.mark.parametrize("name", ["example.org", ODD])
def test_outcomes_are_told_apart(run, code, status, name):
    answer = look_up(run, name, "A", {(name, "A"): code})
    assert answer.status == status
    assert not answer.records


def test_silence_is_a_time_out(run):
    answer = look_up(run, "example.org", "A", {("example.org", "A"): SILENCE}, deadline_s=0.3)
    assert answer.status == "timeout"
    answer = look_up(run, ODD, "A", {(ODD, "A"): SILENCE}, deadline_s=0.3)
    assert answer.status == "timeout"


@pytest.mark.parametrize("name", ["a+b.example.org", ODD, "a@b.example.org", 'q"q.example.org', "%.example.org",
                                  "(x).example.org", "*.example.org", "a/b.example.org", "a~b!.example.org"])
def test_names_that_c_ares_refuses_are_asked_for_all_the_same(run, name):
    """pycares raises EBADNAME for most of them; the SPF test suites need their answers."""
    def reply(data, transport):
        query = DNSRecord.parse(data)
        answer = query.reply()
        answer.add_answer(RR(query.q.qname, QTYPE.TXT, ttl=60, rdata=TXT("there")))
        return answer.pack()

    async def test(resolver, server):
        server.answer = reply
        return await resolver.answer(name, TYPES["TXT"])

    answer = run(test, {})
    assert answer.status == "found", answer.reason
    assert [record.data for record in answer.records] == [b"there"]


@pytest.mark.parametrize("name", ["a\0.example", "a\\b.example", "a\nb.example", "x" * 64 + ".example", "", "a..b",
                                  b"\xff.example", ".".join(["x" * 60] * 5)])
def test_names_that_nobody_can_publish_do_not_exist_and_are_not_asked_for(run, name):
    """An attacker's `victim.example\\0.attacker.example` would be cut at the NUL by c-ares."""
    async def test(resolver, server):
        answer = await resolver.answer(name, 1)
        assert answer.status == "nxdomain" and answer.reason
        assert server.asked == []
    run(test, {})


def test_international_names_are_asked_for_as_a_labels(run):
    answer = look_up(run, "bücher.example", "A", {("xn--bcher-kva.example", "A"): ["xn--bcher-kva.example 60 IN A 192.0.2.1"]})
    assert [record.data for record in answer.records] == ["192.0.2.1"]
    assert ascii_name("Bücher.Example".encode()) == "xn--bcher-kva.Example"
    with pytest.raises(NameRefused):
        ascii_name("\u2028.example")


def test_aliases_are_followed_and_strangers_ignored(run):
    zone = {("www.example.org", "A"): ["www.example.org 300 IN CNAME web.example.net.", "web.example.net 30 IN A 192.0.2.1",
                                       "evil.example 300 IN A 203.0.113.9"]}
    answer = look_up(run, "WWW.example.org", "A", zone)
    assert [record.data for record in answer.records] == ["192.0.2.1"]
    assert len(answer.answer) == 3
    assert answer.ttl == 30


def test_a_truncated_answer_is_fetched_by_tcp_by_both_ways(run):
    async def test(resolver, server):
        for name in ("example.org", ODD):
            answer = await resolver.answer(name, 16)
            assert len(answer.records) == 40
        assert [transport for _, _, transport in server.asked] == ["udp", "tcp", "udp", "tcp"]
    long = ['"' + "x" * 200 + f'{n}"' for n in range(40)]
    run(test, {("example.org", "TXT"): TRUNCATE([f"example.org 60 IN TXT {text}" for text in long]),
               (ODD, "TXT"): TRUNCATE([rf"odd+name.example.org 60 IN TXT {text}" for text in long])})


def test_what_does_not_exist_is_kept_as_long_as_its_zone_says(run):
    async def test(resolver, server):
        for _ in range(3):
            answer = await resolver.answer("none.example.org", 1)
            assert answer.status == "nxdomain"
        assert len(server.asked) == 1
        assert answer.ttl == NEGATIVE_S
        empty = await resolver.answer("empty.example.org", 1)
        assert (empty.status, empty.ttl) == ("nodata", NEGATIVE_S)
    run(test, {("empty.example.org", "A"): []})


def test_a_failure_is_kept_for_a_short_time(run):
    async def test(resolver, server):
        for _ in range(3):
            answer = await resolver.answer("example.org", 1)
        assert (answer.status, answer.ttl) == ("servfail", FAILURE_S)
        before = len(server.asked)
        await resolver.answer("example.org", 1)
        assert len(server.asked) == before
    run(test, {("example.org", "A"): "SERVFAIL"})


def test_an_answer_without_ttl_is_asked_for_every_time_and_merged_while_it_is_on_its_way(run):
    async def test(resolver, server):
        for _ in range(3):
            await asyncio.gather(*(resolver.answer("example.org", 1) for _ in range(100)))
        assert len(server.asked) == 3
        assert (resolver.asked, resolver.merged, resolver.answered_from_cache) == (3, 297, 0)
    run(test, {("example.org", "A"): ["example.org 0 IN A 192.0.2.1"]})


def test_without_a_cache_every_question_goes_out(run):
    """c-ares would keep "no such record" for an hour where no SOA says how long."""
    async def test(resolver, server):
        for _ in range(3):
            for name in ("empty.example.org", "example.org", "none.example.org"):
                await resolver.answer(name, 1)
        assert len(server.asked) == 9
    run(test, {("empty.example.org", "A"): [], ("example.org", "A"): ["example.org 300 IN A 192.0.2.1"]}, cache_entries=0)


def test_a_question_that_is_taken_back_is_not_answered(run):
    async def test(resolver, server):
        answers = []
        first = resolver.lookup("example.org", 1, answers.append)
        second = resolver.lookup("example.org", 1, answers.append)
        first.cancel()
        first.cancel()
        await resolver.answer("example.org", 1)
        assert len(answers) == 1 and answers[0].status == "found"
        second.cancel()
        assert resolver.lookup("example.org", 1, answers.append).status == "found"
    run(test, {("example.org", "A"): ["example.org 60 IN A 192.0.2.1"]})


def test_a_silent_server_among_others_delays_nobody_for_long(run):
    """One of two servers never answers: every look-up has its answer within the deadline all the same."""
    async def test(_, silent):
        zone = {(f"host{n}.example.org", "A"): [f"host{n}.example.org 60 IN A 192.0.2.1"] for n in range(200)}
        async with DnsServer(zone) as good:
            resolver = Resolver(servers=[silent.address, good.address], deadline_s=3)
            answers = await asyncio.gather(*(resolver.answer(f"host{n}.example.org", 1) for n in range(100)))
            assert {answer.status for answer in answers} == {"found"}
            # By now it is known which one answers: no time is lost any more.
            started = time.monotonic()
            answers = await asyncio.gather(*(resolver.answer(f"host{n}.example.org", 1) for n in range(100, 200)))
            assert {answer.status for answer in answers} == {"found"}
            assert time.monotonic() - started < 2
            resolver.close()
            await resolver.wait_closed()
    run(test, {(f"host{n}.example.org", "A"): SILENCE for n in range(200)})


def test_types_by_name_and_number():
    assert type_number("mx") == type_number(15) == type_number(15.0) == 15
    assert type_number("NOSUCH") is None and type_number(0) is None and type_number(70000) is None
