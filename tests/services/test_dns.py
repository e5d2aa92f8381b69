"""services/dns.py against a DNS server in the test's own loop."""
import asyncio
import ipaddress
import time

import pytest
from dnslib import RR
from peers.dns import SILENCE, TRUNCATE

from mailfilter.services import reverse_names
from mailfilter.services.dns import Resolver
from mailfilter.services.dns_name import NameRefused, check_name

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")


def pointer(address, *names, ttl=60):
    """The zone entry for the reverse names of an address."""
    owner = ipaddress.ip_address(address).reverse_pointer
    return {(owner, "PTR"): [f"{owner} {ttl} IN PTR {name}." for name in names]}


def forward(name, *addresses, ttl=60):
    entries = {}
    for address in addresses:
        kind = "AAAA" if ":" in address else "A"
        entries.setdefault((name, kind), []).append(f"{name} {ttl} IN {kind} {address}")
    return entries


def reverse(run, address, zone, **options):
    async def test(resolver, server):
        return await resolver.reverse(address)
    return run(test, zone, **options)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_a_name_that_points_back_is_verified(run, address):
    zone = pointer(address, "mail.example.org") | forward("mail.example.org", "192.0.2.1", address)
    assert reverse(run, address, zone) == "mail.example.org"


def test_an_ipv4_address_inside_ipv6_is_looked_up_as_ipv4(run):
    zone = pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7")
    assert reverse(run, "::ffff:192.0.2.7", zone) == "mail.example.org"


def test_spellings_of_ipv6_are_one_address(run):
    zone = pointer("2001:db8::7", "mail.example.org") | forward("mail.example.org", "2001:DB8:0:0:0:0:0:7")
    assert reverse(run, "2001:db8::0007%eth0", zone) == "mail.example.org"


def test_a_spoofed_name_is_no_name(run):
    zone = pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.1")
    assert reverse(run, "192.0.2.7", zone) is None


def test_a_name_without_addresses_is_no_name(run):
    zone = pointer("192.0.2.7", "mail.example.org") | {("mail.example.org", "A"): []}
    assert reverse(run, "192.0.2.7", zone) is None


def test_a_name_that_does_not_exist_is_no_name(run):
    assert reverse(run, "192.0.2.7", pointer("192.0.2.7", "mail.example.org")) is None


def test_the_name_that_points_back_is_found_among_others(run):
    zone = pointer("192.0.2.7", "bank.example", "gone.example", "mail.example.org")
    zone |= forward("bank.example", "198.51.100.1") | forward("mail.example.org", "192.0.2.7")
    assert reverse(run, "192.0.2.7", zone) == "mail.example.org"


def test_a_silent_name_server_of_one_name_does_not_hide_another_name(run):
    zone = pointer("192.0.2.7", "dead.example", "mail.example.org") | {("dead.example", "A"): SILENCE}
    zone |= forward("mail.example.org", "192.0.2.7")
    assert reverse(run, "192.0.2.7", zone) == "mail.example.org"


def test_no_more_names_are_checked_than_the_limit(run):
    async def test(resolver, server):
        assert await resolver.reverse("192.0.2.7") is None
        assert server.count("A") == reverse_names.NAMES
    run(test, pointer("192.0.2.7", *(f"host{n}.example" for n in range(50))))


def test_aliases_are_followed(run):
    """RFC 2317: the reverse zone of a small network is delegated by CNAME."""
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    zone = forward("mail.example.org", "192.0.2.7")
    zone[owner, "PTR"] = [f"{owner} 60 IN CNAME 7.0-25.2.0.192.in-addr.arpa.",
                          "7.0-25.2.0.192.in-addr.arpa 60 IN PTR mail.example.org."]
    assert reverse(run, "192.0.2.7", zone) == "mail.example.org"


def test_records_of_other_names_in_an_answer_are_ignored(run):
    zone = pointer("192.0.2.7", "mail.example.org")
    zone["mail.example.org", "A"] = ["other.example.org 60 IN A 192.0.2.7"]
    assert reverse(run, "192.0.2.7", zone) is None


def test_aliases_in_a_circle_end(run):
    zone = pointer("192.0.2.7", "mail.example.org")
    zone["mail.example.org", "A"] = ["mail.example.org 60 IN CNAME other.example.org.",
                                     "other.example.org 60 IN CNAME mail.example.org."]
    assert reverse(run, "192.0.2.7", zone) is None


@pytest.mark.parametrize("code", ["NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR"])
def test_error_codes_are_no_name(run, code):
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    assert reverse(run, "192.0.2.7", {(owner, "PTR"): code}) is None
    zone = pointer("192.0.2.7", "mail.example.org") | {("mail.example.org", "A"): code}
    assert reverse(run, "192.0.2.7", zone) is None


@pytest.mark.parametrize("answer", [
    b"", b"\0", b"garbage that is no DNS message at all", b"\xff" * 600,
    lambda query: query.pack()[:2] + b"\xff" * 60,
    lambda query: query.reply().pack() + b"trailing",
    lambda query: query.pack()[:2] + b"\x81\x80\0\1\xff\xff\0\0\0\0" + query.pack()[12:],
    lambda query: query.pack()[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query.pack()[12:] + b"\xc0\x0c\0\x0c\0\1\0\0\0\x3c"
    + b"\0\x02\xc0\xff",
], ids=["empty", "nul", "text", "ones", "ones after id", "trailing", "counts", "pointer outside"])
def test_garbage_is_no_name_in_time(run, answer):
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    started = time.monotonic()
    assert reverse(run, "192.0.2.7", {(owner, "PTR"): answer}, deadline_s=0.3) is None
    assert time.monotonic() - started < 20


def test_nonsense_about_one_name_harms_no_other_question(run):
    """It ended all questions that waited on the same socket, with "malformed"."""
    asked = []

    def at_the_third_time(query):
        asked.append(query)
        if len(asked) < 3:
            return None
        reply = query.reply()
        reply.add_answer(*RR.fromZone("good.example 60 IN A 192.0.2.1"))
        return reply.pack()

    async def test(resolver, server):
        good = asyncio.ensure_future(resolver.answer("good.example", 1))
        await server.questioned.wait()
        assert (await resolver.answer("bad.example", 1)).status == "malformed"
        assert (await good).status == "found"
    run(test, {("good.example", "A"): at_the_third_time, ("bad.example", "A"): b"\xff" * 40}, deadline_s=20.0)


@pytest.mark.parametrize("label", [b"mail\0.example", b"a\\b", b"\xff\xfe", b"a b", b"a\nb", b"a@b", b"x" * 63])
def test_odd_octets_in_a_reverse_name(run, label):
    """A name with octets that no host name has is no name, and is never asked for."""
    def answer(query):
        rdata = bytes([len(label)]) + label + b"\x07example\0"
        return (query.pack()[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query.pack()[12:].partition(b"\0\0\x29")[0]
                + b"\xc0\x0c\0\x0c\0\1\0\0\0\x3c" + len(rdata).to_bytes(2, "big") + rdata)

    async def test(resolver, server):
        assert await resolver.reverse("192.0.2.7") is None
        assert server.count("A") == (1 if label.isalpha() and label.isascii() else 0)
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    run(test, {(owner, "PTR"): answer})


def test_a_truncated_answer_is_fetched_by_tcp(run):
    async def test(resolver, server):
        assert await resolver.reverse("192.0.2.7") == "mail.example.org"
        assert [entry[2] for entry in server.asked] == ["udp", "tcp", "udp"]
    zone = pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7")
    owner, kind = next(key for key in zone if key[1] == "PTR")
    zone[owner, kind] = TRUNCATE(zone[owner, kind])
    run(test, zone)


def test_silence_ends_at_the_deadline(run):
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    started = time.monotonic()
    assert reverse(run, "192.0.2.7", {(owner, "PTR"): SILENCE}, deadline_s=0.2) is None
    assert 0.15 < time.monotonic() - started < 20


def test_a_failure_is_remembered_for_a_short_time(run):
    async def test(resolver, server):
        assert await resolver.reverse("192.0.2.7") is None
        asked = len(server.asked)
        assert await resolver.reverse("192.0.2.7") is None
        assert len(server.asked) == asked
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    run(test, {(owner, "PTR"): SILENCE}, deadline_s=0.2)


def test_a_lost_packet_is_sent_again(run):
    zone = pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7")

    async def test(resolver, server):
        owner, kind = next(key for key in zone if key[1] == "PTR")
        rest = server.zone[owner, kind]

        def first_lost(query):
            server.zone[owner, kind] = rest
            return b""  # nothing that c-ares takes for an answer
        server.zone[owner, kind] = first_lost
        assert await resolver.reverse("192.0.2.7") == "mail.example.org"
    run(test, zone)


def test_a_resolver_that_is_not_there_is_no_name(run):
    async def test(resolver, server):
        nobody = Resolver(servers=["127.0.0.1:1"], deadline_s=0.5)
        assert await nobody.reverse("192.0.2.7") is None
        nobody.close()
        await nobody.wait_closed()
    run(test, {})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_localhost_without_a_query(run, address):
    async def test(resolver, server):
        assert await resolver.reverse(address) == "localhost"
        assert server.asked == []
    run(test, {})


@pytest.mark.parametrize("address", ["", "unix:/run/x.sock", "mail.example.org", "1.2.3", "1.2.3.4\0", None])
def test_what_is_no_address_has_no_name(run, address):
    async def test(resolver, server):
        assert await resolver.reverse(address) is None
        assert server.asked == []
    run(test, {})


def test_answers_are_cached(run):
    async def test(resolver, server):
        for _ in range(5):
            assert await resolver.reverse("192.0.2.7") == "mail.example.org"
            assert await resolver.reverse("192.0.2.8") is None
        assert server.count("PTR") == 2
        assert server.count("A") == 1
    run(test, pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7"))


def test_a_ttl_of_nothing_is_not_cached(run):
    async def test(resolver, server):
        for _ in range(3):
            assert await resolver.reverse("192.0.2.7") == "mail.example.org"
        assert server.count("PTR") == server.count("A") == 3
    run(test, pointer("192.0.2.7", "mail.example.org", ttl=0) | forward("mail.example.org", "192.0.2.7", ttl=0))


def test_look_ups_at_the_same_time_are_merged(run):
    async def test(resolver, server):
        names = await asyncio.gather(*(resolver.reverse("192.0.2.7") for _ in range(200)))
        assert names == ["mail.example.org"] * 200
        assert server.count("PTR") == server.count("A") == 1
    run(test, pointer("192.0.2.7", "mail.example.org", ttl=0) | forward("mail.example.org", "192.0.2.7", ttl=0))


def test_whoever_stops_waiting_stops_alone(run):
    async def test(resolver, server):
        first = asyncio.ensure_future(resolver.reverse("192.0.2.7"))
        second = asyncio.ensure_future(resolver.reverse("192.0.2.7"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "mail.example.org"
        assert first.cancelled()
    run(test, pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7"))


def test_thousands_of_names_stay_within_the_limits(run):
    """Neither the cache nor the number of c-ares channels grows, however many clients come."""
    async def test(resolver, server):
        for block in range(30):
            addresses = [f"10.0.{block}.{n}" for n in range(100)]
            assert set(await asyncio.gather(*map(resolver.reverse, addresses))) == {None}
            assert len(resolver._cache) <= 64
            assert len(resolver._retired) <= 1
        assert resolver.asked == 3000     # what c-ares asks twice is its own matter
        # Those used last are the ones that are kept.
        await resolver.reverse("10.0.29.99")
        assert resolver.asked == 3000
    run(test, {}, cache_entries=64, channel_queries=500)


def test_too_many_look_ups_at_a_time_give_no_name_at_once(run):
    async def test(resolver, server):
        waiting = [asyncio.ensure_future(resolver.reverse(f"10.0.0.{n}")) for n in range(20)]
        await asyncio.sleep(0)
        assert await resolver.reverse("192.0.2.7") is None
        assert not any(str(entry[0]).startswith("7.2.0.192") for entry in server.asked)
        await asyncio.gather(*waiting)
        # It was not remembered: now there is room.
        assert await resolver.reverse("192.0.2.7") == "mail.example.org"
    zone = {(ipaddress.ip_address(f"10.0.0.{n}").reverse_pointer, "PTR"): SILENCE for n in range(20)}
    run(test, zone | pointer("192.0.2.7", "mail.example.org") | forward("mail.example.org", "192.0.2.7"),
        in_flight=20, deadline_s=0.2)


def test_closing_ends_what_runs(run):
    async def test(resolver, server):
        waiting = asyncio.ensure_future(resolver.reverse("192.0.2.7"))
        await server.questioned.wait()
        resolver.close()
        assert await asyncio.wait_for(waiting, 1) is None
        assert await resolver.reverse("192.0.2.8") is None
        resolver.close()
    owner = ipaddress.ip_address("192.0.2.7").reverse_pointer
    run(test, {(owner, "PTR"): SILENCE}, deadline_s=30)


def test_a_resolver_that_was_never_used_closes(run):
    async def test(resolver, server):
        pass
    run(test, {})


@pytest.mark.parametrize("name", [
    "example.org", "example.org.", "_dmarc.example.org", "a", "x" * 63, ".".join(["x" * 60] * 4), "1-2.example",
])
def test_names_that_may_be_asked_for(name):
    assert check_name(name) == name.rstrip(".")


@pytest.mark.parametrize("name", [
    "", ".", "..", "a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4), "a\0.example", "a\\.b", "a\\000b", "a b", "a\tb",
    "a\nb", "a\x7fb", "a*b", "a/b", "a@b", "b\u00fccher.example", "\udcff.example", b"example.org", None,
])
def test_names_that_must_not_be_asked_for(name):
    with pytest.raises(NameRefused):
        check_name(name)
