"""Blocklists: what counts as a listing and what does not, weights, early decisions, lists that fail or list everything."""
import asyncio

import pytest
from peers.dns import SILENCE

from mailfilter.mail.links import hosts_in
from mailfilter.services import dnsbl
from mailfilter.services.dnsbl import Check, Lists, Zone

ADDRESS = "192.0.2.1"


def listed(zone, *codes, subject="1.2.0.192"):
    name = f"{subject}.{zone}"
    return {(name, "A"): [f"{name} 60 IN A {code}" for code in codes]}


class Reports(list):
    def __call__(self, text):
        self.append(text)


async def checked(lists, subjects, zones, threshold=None, seconds=1):
    future = asyncio.get_running_loop().create_future()
    Check(lists, subjects, zones, threshold=threshold, seconds=seconds, settled=future.set_result)
    return await future


def once(run, zone_data, zones, subjects=(ADDRESS,), **options):
    """One check with fresh knowledge; the Check and what was reported."""
    async def test(resolver, server):
        reports = Reports()
        check = await checked(Lists(resolver, asyncio.get_running_loop(), reports), subjects, zones, **options)
        return check, reports
    return run(test, zone_data)


def test_listings_are_weighed(run):
    check, _ = once(run, listed("one.example", "127.0.0.2") | listed("two.example", "127.0.0.3", "127.0.0.4"),
                    [Zone("one.example"), Zone("two.example", 2.5), Zone("three.example", 10)])
    assert check.score == 3.5 and not check.allowed
    assert sorted((hit.zone.name, sorted(hit.codes)) for hit in check.hits) == [
        ("one.example", ["127.0.0.2"]), ("two.example", ["127.0.0.3", "127.0.0.4"])]
    assert check.failed == {} and check.skipped == []


@pytest.mark.parametrize("options, counts", [
    ({"ranges": [(0x7F000002, 0x7F000002)]}, False),
    ({"ranges": [(0x7F000004, 0x7F00000B)]}, True),
    ({"ranges": [(0x7F000002, 0x7F000002), (0x7F00000A, 0x7F00000A)]}, True),
    ({"mask": 0x02}, True), ({"mask": 0x04}, False), ({"mask": 0x0C}, True),
])
def test_return_codes_are_filtered(run, options, counts):
    check, _ = once(run, listed("one.example", "127.0.0.10"), [Zone("one.example", **options)])
    assert bool(check.hits) == counts


@pytest.mark.parametrize("code", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "192.0.2.99", "0.0.0.0"])
def test_refusals_and_parked_domains_are_no_listing(run, code):
    check, _ = once(run, listed("one.example", code), [Zone("one.example")])
    assert check.hits == [] and check.score == 0
    assert list(check.failed) == ["one.example"]


@pytest.mark.parametrize("answer", [SILENCE, "SERVFAIL", "REFUSED"])
def test_failures_are_no_listing_and_do_not_hide_the_others(run, answer):
    zone_data = listed("two.example", "127.0.0.2") | {("1.2.0.192.one.example", "A"): answer}
    check, _ = once(run, zone_data, [Zone("one.example"), Zone("two.example")], seconds=0.3)
    assert [hit.zone.name for hit in check.hits] == ["two.example"]
    assert list(check.failed) == ["one.example"]


def test_an_allow_list_overrides(run):
    check, _ = once(run, listed("one.example", "127.0.0.2") | listed("good.example", "127.0.0.2"),
                    [Zone("one.example", 5), Zone("good.example", allow=True)], threshold=1)
    assert check.allowed and check.score == 0


def test_it_is_decided_early_but_not_before_the_allow_lists_have_answered(run):
    silent = {("1.2.0.192.slow.example", "A"): SILENCE}

    async def test(resolver, server):
        lists = Lists(resolver, asyncio.get_running_loop(), Reports())
        loop = asyncio.get_running_loop()
        started = loop.time()
        check = await checked(lists, [ADDRESS], [Zone("one.example"), Zone("slow.example")], threshold=1, seconds=30)
        assert check.score == 1 and check.failed == {}
        assert loop.time() - started < 3
        check = await checked(lists, [ADDRESS], [Zone("one.example"), Zone("slow.example", allow=True)], threshold=1,
                              seconds=0.3)
        assert check.failed == {"slow.example": "no answer in time"}
    run(test, listed("one.example", "127.0.0.2") | silent)


def test_a_list_that_lists_everything_is_cut_out_and_reported(run):
    async def test(resolver, server):
        reports = Reports()
        lists = Lists(resolver, asyncio.get_running_loop(), reports)
        check = await checked(lists, [ADDRESS], [Zone("all.example")])
        assert check.hits == [] and check.failed == {"all.example": "lists everything"}
        assert reports == ["blocklist all.example is not asked for 3600 s: lists everything"]
        before = len(server.asked)
        check = await checked(lists, ["192.0.2.2"], [Zone("all.example")])
        assert check.skipped == ["all.example"] and len(server.asked) == before
    run(test, listed("all.example", "127.0.0.2") | listed("all.example", "127.0.0.2", subject="1.0.0.127"))


def test_a_list_of_domains_that_lists_everything_is_cut_out(run):
    zone_data = listed("all.example", "127.0.0.2", subject="bad.example") | listed("all.example", "127.0.0.2", subject="invalid")
    check, reports = once(run, zone_data, [Zone("all.example", domains=True)], subjects=["bad.example"])
    assert check.hits == [] and len(reports) == 1


def test_a_list_that_keeps_failing_is_cut_out_for_a_while_and_then_asked_again(run):
    async def test(resolver, server):
        reports = Reports()
        lists = Lists(resolver, asyncio.get_running_loop(), reports)
        for number in range(dnsbl.FAILURES_IN_A_ROW):
            check = await checked(lists, [f"192.0.2.{number}"], [Zone("one.example")])
            assert check.failed
        assert len(reports) == 1 and reports[0].startswith("blocklist one.example is not asked for")
        assert (await checked(lists, [ADDRESS], [Zone("one.example")])).skipped == ["one.example"]
        server.zone = {}
        lists.state(Zone("one.example")).cut_until = 0
        check = await checked(lists, ["192.0.2.77"], [Zone("one.example")])
        assert check.skipped == []
        assert check.failed == {} and reports[1:] == ["blocklist one.example answers again"]
    run(test, {(f"{number}.2.0.192.one.example", "A"): "SERVFAIL" for number in range(10)})


def test_addresses_and_domains_go_to_the_lists_of_their_kind(run):
    zone_data = (listed("v6.example", "127.0.0.2", subject="1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2")
                 | listed("names.example", "127.0.0.2", subject="bad.example"))
    check, _ = once(run, zone_data, [Zone("v6.example"), Zone("names.example", domains=True)],
                    subjects=["2001:db8::1", "bad.example", "not a name\0.example", "local"])
    assert sorted(hit.subject for hit in check.hits) == ["2001:db8::1", "bad.example"]


def test_no_lists_and_nothing_to_ask_is_decided(run):
    for zones, subjects in (([], [ADDRESS]), ([Zone("one.example")], []), ([Zone("one.example")], ["local"])):
        check, _ = once(run, {}, zones, subjects=subjects)
        assert check.score == 0 and not check.hits


def test_nobody_waits_any_more(run):
    async def test(resolver, server):
        settled = []
        check = Check(Lists(resolver, asyncio.get_running_loop(), Reports()), [ADDRESS], [Zone("one.example")], threshold=None,
                      seconds=1, settled=settled.append)
        check.cancel()
        await resolver.answer("1.2.0.192.one.example", 1)
        await asyncio.sleep(0)
        assert settled == []
    run(test, {})


@pytest.mark.parametrize("text, hosts", [
    ("see https://www.Example.org/path and http://example.net:8080?q", ["example.org", "example.net"]),
    ('<a href="HTTP://user:pw@evil.example/x">bank.example</a>', ["evil.example"]),
    ("www.example.com, and again www.example.com.", ["example.com"]),
    ("&#104;ttp://hidden.example/", ["hidden.example"]),
    ("http://%65vil.example/", ["evil.example"]),
    ("http://192.0.2.7/x http://localhost/ http:/// ftp://files.example", ["192.0.2.7", "files.example"]),
    ("http:\\\\back.example\\x", ["back.example"]),
    ("nothing here: example.org", []),
])
def test_hosts_in_links(text, hosts):
    assert hosts_in(text, 100) == hosts


def test_hosts_are_limited_and_a_long_text_takes_linear_time():
    assert len(hosts_in(" ".join(f"http://h{n}.example/" for n in range(1000)), 10)) == 10
    assert hosts_in("http://" * 200_000 + "www." * 200_000, 10) is not None
