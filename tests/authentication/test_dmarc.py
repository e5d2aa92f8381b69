"""Dmarc.evaluate in a policy: the examples of RFC 7489 and RFC 9989, records of all kinds, and From fields that mislead.

Look-ups are DNS packets to and from a server of the test's own.
"""
import json
import re
from pathlib import Path

import publicsuffixlist
import pytest
from authentication.senders import txt
from peers.dns import DnsThread
from peers.sender import Sender

from mailfilter.services import suffixes

POLICY = """
SmtpServer.prototype.smtpVrfy = function (text) {
    var asked = JSON.parse(text), options = asked[1];
    var found = Dmarc.evaluate(asked[0].map(function (header) { return new SmtpHeader(header[0], header[1]); }), options);
    return new SmtpResponse(252, JSON.stringify(found).split(/,(?=")/));
};
"""


@pytest.fixture(scope="module")
def dns():
    with DnsThread({}) as thread:
        yield thread


@pytest.fixture(scope="module")
def session(dns, serve_module):
    server = serve_module(POLICY, options=["--dns-server", dns.address], timeouts={"dns": 2},
                          limits={"dns_cache_entries": 0, "operations": 1000000, "session_ms": 100000, "line_bytes": 20000})
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


@pytest.fixture
def evaluate(dns, session):
    """Evaluate a From value with records: {name: text, or what DnsServer takes}."""
    def evaluate(author, records, spf=None, dkim=(), standard="rfc9989", exists=True, headers=None, **options):
        dns.server.zone.clear()
        dns.asked.clear()
        for name, record in records.items():
            dns.server.zone["_dmarc." + name, "TXT"] = txt("_dmarc." + name, record) if isinstance(record, (str, tuple)) else (
                record[0])
        if exists is not False:
            domain = author.rpartition("@")[2].rstrip(">").lower()
            dns.server.zone[domain, "A"] = [f"{domain} 60 IN A 192.0.2.1"] if exists is True else exists
        if spf is not None:
            spf = {"result": "pass", "domain": spf, "identity": "mailfrom"} if isinstance(spf, str) else spf
        dkim = [{"result": "pass", "domain": one, "selector": "s", "unsigned": 0} if isinstance(one, str) else one
                for one in ([dkim] if isinstance(dkim, (str, dict)) else dkim)]
        question = [headers or [["From", author]], {"spf": spf, "dkim": dkim, "standard": standard, **options}]
        reply = session.command(b"VRFY " + json.dumps(question).encode())
        assert reply.code == 252, reply
        return json.loads(b",".join(reply.lines))
    return evaluate


# The list of public suffixes.

VECTORS = re.findall(r"^checkPublicSuffix\((?:'(.*?)'|null), (?:'(.*?)'|null)\);",
                     Path(publicsuffixlist.__file__).with_name("test_psl.txt").read_text("utf-8"), re.MULTILINE)


def test_all_official_vectors_of_the_public_suffix_list():
    assert len(VECTORS) >= 75
    for name, wanted in VECTORS:
        found = suffixes.registered(name.lower()) if name else None
        assert (found or "") == wanted, name


@pytest.mark.parametrize("name, wanted", [
    ("com", ""), ("example.com", "example.com"), ("a.b.example.com", "example.com"), ("co.uk", ""),
    ("a.b.example.co.uk", "example.co.uk"), ("b.c.kobe.jp", "b.c.kobe.jp"), ("www.city.kobe.jp", "city.kobe.jp"),
    ("ck", ""), ("test.ck", ""), ("www.www.ck", "www.ck"), ("a.b.example.uk.com", "example.uk.com"),
    ("xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"), ("blogspot.com", ""), ("a.b.blogspot.com", "b.blogspot.com"),
    ("unlisted-tld", ""), ("a.b.unlisted-tld", "b.unlisted-tld"),
])
def test_registered_names(name, wanted):
    assert (suffixes.registered(name) or "") == wanted
    assert suffixes.is_suffix(name) == (not wanted)


# The examples of both standards: who authenticated what, and what that means.

BOTH = ["rfc7489", "rfc9989"]
REJECT = "v=DMARC1; p=reject"


@pytest.mark.parametrize("standard", BOTH)
@pytest.mark.parametrize("author, spf, mode, result", [
    # RFC 7489 appendix B.1, RFC 9989 appendix B.1: SPF aligned, aligned with a parent or a child, not aligned.
    ("example.com", "example.com", "r", "pass"),
    ("example.com", "child.example.com", "r", "pass"),
    ("child.example.com", "example.com", "r", "pass"),
    ("example.com", "example.net", "r", "fail"),
    ("example.com", "example.com", "s", "pass"),
    ("example.com", "child.example.com", "s", "fail"),
    ("child.example.com", "example.com", "s", "fail"),
    ("news.example.com", "bulk.example.com", "r", "pass"),
    ("example.com", "com", "r", "fail"),
    ("example.com", "badexample.com", "r", "fail"),
    ("example.com", "example.com.evil.test", "r", "fail"),
])
def test_alignment_of_spf_and_dkim(evaluate, standard, author, spf, mode, result):
    record = {"example.com": f"{REJECT}; adkim={mode}; aspf={mode}"}
    found = evaluate(f"joe@{author}", record, spf=spf, standard=standard)
    assert (found["result"], found["spf"]["aligned"]) == (result, result == "pass")
    found = evaluate(f"joe@{author}", record, dkim=[spf], standard=standard)
    assert (found["result"], found["dkim"][0]["aligned"]) == (result, result == "pass")
    assert found["disposition"] == ("none" if result == "pass" else "reject")
    assert (found["domain"], found["organizationalDomain"]) == (author, "example.com")


@pytest.mark.parametrize("standard", BOTH)
@pytest.mark.parametrize("record, policy", [
    ("v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com", "none"),
    ("v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com; ruf=mailto:auth-reports@example.com", "none"),
    ("v=DMARC1; p=quarantine; rua=mailto:dmarc-feedback@example.com,mailto:tld-test@thirdparty.example.net!10m; pct=100",
     "quarantine"),
    ("v = DMARC1 ; p = reject ;", "reject"),
    ("v=DMARC1;p=ReJeCt", "reject"),
    ("v=DMARC1; sp=none; x=y; p=reject; nonsense; =; ;;", "reject"),
    (("v=DMARC1; ", "p=re", "ject"), "reject"),
    # Without a policy, but with an address: as if p=none.
    ("v=DMARC1; rua=mailto:a@example.com", "none"),
    ("v=DMARC1; p=bogus; rua=mailto:a@example.com", "none"),
    ("v=DMARC1; p=reject; sp=bogus; rua=mailto:a@example.com", "none"),
    ("v=DMARC1; p=reject; p=none; rua=mailto:a@example.com", "none"),
    ("v=DMARC1; p=reject; adkim=x; aspf=; pct=1000; fo=q", "reject"),
])
def test_records(evaluate, standard, record, policy):
    found = evaluate("a@example.com", {"example.com": record}, standard=standard)
    assert (found["result"], found["policy"], found["disposition"]) == ("fail", policy, policy)
    assert found["record"] == (record if isinstance(record, str) else "".join(record))
    assert (found["published"]["adkim"], found["published"]["aspf"], found["published"]["pct"]) == ("r", "r", 100)


@pytest.mark.parametrize("standard", BOTH)
@pytest.mark.parametrize("record", [
    "v=DMARC1x; p=reject", "v=dmarc1; p=reject", "V=DMARC1; p=reject", "p=reject; v=DMARC1", " v=DMARC1; p=reject",
    "v=DMARC2; p=reject", "v=spf1 -all", "", "v=DMARC1 p=reject", ("v=DMARC1; p=reject; x=",) + ("a" * 250,) * 20,
])
def test_what_is_no_record(evaluate, standard, record):
    found = evaluate("a@example.com", {"example.com": record}, dkim="example.com", standard=standard)
    assert (found["result"], found["policy"], found["record"], found["published"]) == ("none", "none", None, None)


@pytest.mark.parametrize("standard", BOTH)
def test_no_record_several_and_other_texts_beside_one(evaluate, standard):
    assert evaluate("a@example.com", {}, spf="example.com", standard=standard)["result"] == "none"
    both = [[*txt("_dmarc.example.com", REJECT), *txt("_dmarc.example.com", "v=DMARC1; p=none")]]
    assert evaluate("a@example.com", {"example.com": both}, spf="example.com", standard=standard)["result"] == "none"
    beside = [[*txt("_dmarc.example.com", REJECT), *txt("_dmarc.example.com", "some other text")]]
    assert evaluate("a@example.com", {"example.com": beside}, standard=standard)["disposition"] == "reject"


@pytest.mark.parametrize("standard", BOTH)
@pytest.mark.parametrize("record", ["v=DMARC1", "v=DMARC1; p=bogus", "v=DMARC1; p=reject; sp=bogus", "v=DMARC1; p=reject; p=none",
                                    "v=DMARC1; p=; rua=not an address"])
def test_a_record_without_a_policy_is_an_error_of_its_owner(evaluate, standard, record):
    found = evaluate("a@example.com", {"example.com": record}, spf="example.com", standard=standard)
    assert (found["result"], found["disposition"]) == ("permerror", "none")


@pytest.mark.parametrize("standard", BOTH)
@pytest.mark.parametrize("status", ["SERVFAIL", "REFUSED"])
def test_a_dns_that_does_not_answer_is_temperror(evaluate, standard, status):
    found = evaluate("a@example.com", {"example.com": [status]}, spf="example.com", standard=standard)
    assert (found["result"], found["disposition"]) == ("temperror", "none")
    found = evaluate("a@sub.example.com", {"example.com": [status]}, spf="example.com", standard=standard)
    assert found["result"] == "temperror" and found["reason"].startswith("DNS ")


@pytest.mark.parametrize("standard", BOTH)
def test_a_check_without_a_result_is_temperror_only_where_it_would_have_spoken(evaluate, standard):
    record = {"example.com": REJECT}
    late = {"result": "temperror", "domain": "example.com", "selector": "s", "unsigned": 0, "identity": "mailfrom"}
    assert evaluate("a@example.com", record, dkim=late, standard=standard)["result"] == "temperror"
    assert evaluate("a@example.com", record, spf=late, standard=standard)["result"] == "temperror"
    assert evaluate("a@example.com", record, spf=late, dkim="example.com", standard=standard)["result"] == "pass"
    other = dict(late, domain="example.net")
    assert evaluate("a@example.com", record, spf=other, dkim=other, standard=standard)["result"] == "fail"


@pytest.mark.parametrize("result", ["fail", "softfail", "neutral", "none", "permerror", "policy", "", "PASS", "passed"])
def test_only_pass_is_pass(evaluate, result):
    one = {"result": result, "domain": "example.com", "selector": "s", "unsigned": 0, "identity": "mailfrom"}
    assert evaluate("a@example.com", {"example.com": REJECT}, spf=one, dkim=one)["result"] == "fail"


# Subdomains.

@pytest.mark.parametrize("standard, record, exists, policy", [
    ("rfc7489", "v=DMARC1; p=none; sp=reject", True, "reject"),
    ("rfc7489", "v=DMARC1; p=quarantine", True, "quarantine"),
    ("rfc7489", "v=DMARC1; p=none; sp=quarantine; np=reject", False, "quarantine"),
    ("rfc9989", "v=DMARC1; p=none; sp=quarantine; np=reject", True, "quarantine"),
    ("rfc9989", "v=DMARC1; p=none; sp=quarantine; np=reject", False, "reject"),
    ("rfc9989", "v=DMARC1; p=none; np=reject", False, "reject"),
    ("rfc9989", "v=DMARC1; p=none; np=reject", True, "none"),
    ("rfc9989", "v=DMARC1; p=none; np=reject", [], "none"),       # the name is there, though without an address
    ("rfc9989", "v=DMARC1; p=reject; np=none", False, "none"),
    ("rfc9989", "v=DMARC1; p=none; sp=reject", False, "reject"),
])
def test_policies_of_subdomains(evaluate, standard, record, exists, policy):
    found = evaluate("a@sub.example.com", {"example.com": record}, standard=standard, exists=exists)
    assert (found["result"], found["policy"], found["published"]["domain"]) == ("fail", policy, "example.com")


def test_whether_a_name_exists_may_be_unknown_now(evaluate):
    found = evaluate("a@sub.example.com", {"example.com": "v=DMARC1; p=none; np=reject"}, exists="SERVFAIL")
    assert found["result"] == "temperror"


@pytest.mark.parametrize("standard", BOTH)
def test_a_subdomain_with_a_record_of_its_own(evaluate, standard):
    found = evaluate("a@sub.example.com", {"example.com": REJECT, "sub.example.com": "v=DMARC1; p=none; sp=reject"},
                     spf="example.com", standard=standard)
    assert (found["result"], found["policy"], found["published"]["domain"]) == ("pass", "none", "sub.example.com")
    assert found["organizationalDomain"] == "example.com"


# How much of the policy is wanted.

@pytest.mark.parametrize("record, sample, disposition", [
    ("v=DMARC1; p=reject; pct=100", 99.9, "reject"),
    ("v=DMARC1; p=reject; pct=50", 49.9, "reject"),
    ("v=DMARC1; p=reject; pct=50", 50, "quarantine"),
    ("v=DMARC1; p=quarantine; pct=0", 0, "none"),
    ("v=DMARC1; p=none; pct=0", 0, "none"),
    ("v=DMARC1; p=reject; t=y", 99, "reject"),
])
def test_a_part_of_the_messages(evaluate, record, sample, disposition):
    found = evaluate("a@example.com", {"example.com": record}, standard="rfc7489", sample=sample)
    assert (found["disposition"], found["sampledOut"]) == (disposition, found["policy"] != disposition)


@pytest.mark.parametrize("record, disposition", [
    ("v=DMARC1; p=reject; t=y", "quarantine"), ("v=DMARC1; p=quarantine; t=y", "none"), ("v=DMARC1; p=none; t=y", "none"),
    ("v=DMARC1; p=reject; t=n", "reject"), ("v=DMARC1; p=reject; t=q", "reject"), ("v=DMARC1; p=reject; pct=0", "reject"),
])
def test_a_policy_that_is_being_tested(evaluate, record, disposition):
    assert evaluate("a@example.com", {"example.com": record}, sample=99)["disposition"] == disposition


def test_samples_are_random_where_nobody_says(evaluate):
    found = {evaluate("a@example.com", {"example.com": "v=DMARC1; p=reject; pct=50"}, standard="rfc7489")["disposition"]
             for _ in range(40)}
    assert found == {"reject", "quarantine"}


# The walk up the DNS (RFC 9989 §4.10).

@pytest.mark.parametrize("author, records, organization, found_at", [
    # The examples of §4.10.2.
    ("a.mail.example.com", {"mail.example.com": REJECT, "example.com": REJECT}, "example.com", "example.com"),
    ("a.mail.example.com", {"mail.example.com": REJECT + "; psd=n", "example.com": REJECT}, "mail.example.com",
     "mail.example.com"),
    ("a.mail.example.com", {"com": REJECT + "; psd=y"}, "example.com", "com"),
    # Appendix B.4 and others: a registry of its own below a registry, a record of the suffix itself.
    ("a.b.giant.bank.example", {"bank.example": REJECT + "; psd=y"}, "giant.bank.example", "bank.example"),
    ("giant.bank.example", {"bank.example": REJECT + "; psd=y", "giant.bank.example": REJECT}, "giant.bank.example",
     "giant.bank.example"),
    ("bank.example", {"bank.example": REJECT + "; psd=y"}, "bank.example", "bank.example"),
    ("mega.bank.example", {"bank.example": REJECT + "; psd=y", "example": "v=DMARC1; p=none; psd=y"}, "mega.bank.example",
     "bank.example"),
    # A registry that forgot psd=y: the public suffix list knows it.
    ("shop.example.co.uk", {"co.uk": REJECT}, "example.co.uk", "co.uk"),
    ("one.blogspot.com", {"blogspot.com": REJECT}, "one.blogspot.com", "blogspot.com"),
    ("a.example.com", {"com": REJECT}, "example.com", "com"),
    ("a.mail.example.com", {}, "a.mail.example.com", None),
])
def test_the_organizational_domain_by_the_walk(evaluate, author, records, organization, found_at):
    found = evaluate(f"x@{author}", records)
    assert found["organizationalDomain"] == organization
    assert (found["published"] or {"domain": None})["domain"] == found_at


def test_no_more_than_eight_questions_however_long_the_name_is(evaluate, dns):
    assert evaluate("x@a.b.c.d.e.f.g.h.i.j.mail.example.com", {})["result"] == "none"
    assert [name for name, kind, _ in dns.asked if kind == "TXT"] == [
        f"_dmarc.{name}" for name in (
            "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com",
            "j.mail.example.com", "mail.example.com", "example.com", "com")]


def test_what_cannot_be_aligned_is_not_asked_for(evaluate, dns):
    signatures = [f"s{number}.evil.test" for number in range(30)]
    assert evaluate("x@example.com", {"example.com": REJECT}, spf="evil.test", dkim=signatures)["result"] == "fail"
    assert len(dns.asked) == 2      # _dmarc.example.com and _dmarc.com


def test_only_ten_domains_of_signatures_are_looked_at(evaluate):
    signatures = [f"s{number}.evil.test" for number in range(10)] + ["example.com"]
    assert evaluate("x@example.com", {"example.com": REJECT}, dkim=signatures)["result"] == "fail"
    assert evaluate("x@example.com", {"example.com": REJECT}, dkim=signatures[1:])["result"] == "pass"


def test_strangers_under_one_suffix_are_no_organization(evaluate):
    for standard in BOTH:
        records = {"one.blogspot.com": REJECT, "two.blogspot.com": REJECT}
        assert evaluate("x@one.blogspot.com", records, dkim="two.blogspot.com", standard=standard)["result"] == "fail"
        assert evaluate("x@one.blogspot.com", {**records, "blogspot.com": REJECT}, dkim=["two.blogspot.com", "blogspot.com"],
                        standard=standard)["result"] == "fail"
        assert evaluate("x@www.one.blogspot.com", records, dkim="one.blogspot.com", standard=standard)["result"] == "pass"


def test_a_domain_that_declares_itself_apart_is_apart(evaluate):
    records = {"example.com": REJECT, "school.example.com": REJECT + "; psd=n"}
    assert evaluate("x@example.com", records, dkim="school.example.com")["result"] == "fail"
    assert evaluate("x@school.example.com", records, dkim="example.com")["result"] == "fail"
    assert evaluate("x@a.school.example.com", records, dkim="b.school.example.com")["result"] == "pass"


# The From field.

GOOD = [
    "a@example.com", "<a@example.com>", "A B <a@example.com>", '"A, B" <a@example.com>', "A (b) C <a@example.com> (d)",
    "a@example.com (A)", "(A) a@example.com", '"a b"@example.com', '"a@victim.test"@example.com', "J. R. <a@EXAMPLE.com>",
    "=?utf-8?q?A_B?= <a@example.com>", '"x@victim.test" <a@example.com>', "a..b@example.com", " < a@example.com > ",
    "=?utf-8?b?PGFAdmljdGltLnRlc3Q+?= <a@example.com>", "A ((nested) \\) x) <a@example.com>", "Ä <a@example.com>",
]


@pytest.mark.parametrize("author", GOOD)
def test_one_author(evaluate, author):
    found = evaluate(author, {"example.com": REJECT}, dkim="example.com", exists=False)
    assert (found["result"], found["domain"]) == ("pass", "example.com")


@pytest.mark.parametrize("author, smtputf8, domain", [
    ("a@bücher.example", True, "xn--bcher-kva.example"), ("a@BÜCHER.example", True, "xn--bcher-kva.example"),
    ("a@xn--bcher-kva.example", False, "xn--bcher-kva.example"), ("ä@example.com", True, "example.com"),
    ("a@bücher.example", False, None), ("ä@example.com", False, None),
])
def test_international_names_are_compared_as_a_labels(evaluate, author, smtputf8, domain):
    records = {"xn--bcher-kva.example": REJECT, "example.com": REJECT}
    for signer in ("bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example", "example.com"):
        found = evaluate(author, records, dkim=signer, smtputf8=smtputf8, exists=False)
        assert found["domain"] == domain
        same = domain is not None and (signer == "example.com") == (domain == "example.com")
        assert found["result"] == ("permerror" if domain is None else "pass" if same else "fail")


BAD = [
    ("", "no address"), ("a", "no address"), ("a@", "no address"), ("@example.com", "no address"), ("<>", "one mailbox"),
    ("a@example.com, b@example.com", "more than one mailbox"), ("a@example.com,", "more than one mailbox"),
    ("Doe, Joe <a@example.com>", "more than one mailbox"), ("a@example.com b@example.com", "no address"),
    ("<a@example.com> <b@example.com>", "one mailbox"), ("b@victim.test <a@example.com>", "one mailbox"),
    ("<a@example.com> b", "one mailbox"), ("Friends: a@example.com;", "group or a route"), ("Nobody:;", "group or a route"),
    ("<@victim.test:a@example.com>", "group or a route"), ("<@victim.test,@x.test:a@example.com>", "more than one mailbox"),
    ("a@[192.0.2.1]", "no address"), ("a@example.com(x", "comment without an end"), ("a(x)@example.com", "no address"),
    ("a@(x)example.com", "no address"), ("a @example.com", "no address"), ("a@ example.com", "no address"),
    ("a@exa mple.com", "no address"), ("<a@example.com(x)>", "no address"), ("a@victim.test@example.com", "no address"),
    ("=?utf-8?q?a=40example.com?=", "no address"), ("=?utf-8?q?a?=@example.com", "encoded word"),
    ("a@=?utf-8?q?example.com?=", "encoded word"), ("a@example.com.", "empty label"), ("a@example..com", "empty label"),
    ("a@.example.com", "empty label"), ('"a@example.com', "belongs to nothing"), ("a\\@example.com", "belongs to nothing"),
    ("a@example.com)", "belongs to nothing"), ("a@-\x01.example.com", "control characters"), ("a@example.com\x7f", "control"),
    ("a@" + "x" * 64 + ".example.com", "cannot be one"), ("a@" + "x." * 130 + "example.com", "cannot be one"),
    ("a@example.com/", "cannot be one"), ("a@*.example.com", "cannot be one"), ("x" * 8200 + " <a@example.com>", "8192 octets"),
    ("[x] <a@example.com>", "brackets in the name"),
]


@pytest.mark.parametrize("author, reason", BAD)
def test_no_author_or_a_doubtful_one_never_passes(evaluate, author, reason):
    found = evaluate(author, {"example.com": REJECT, "victim.test": REJECT}, spf="example.com", dkim=["victim.test"],
                     exists=False)
    assert (found["result"], found["domain"], found["disposition"]) == ("permerror", None, "none")
    assert reason in found["reason"]


@pytest.mark.parametrize("headers", [
    [], [["Subject", "x"]], [["From", "a@example.com"], ["From", "a@example.com"]],
    [["From", "a@example.com"], ["FROM", "b@victim.test"]], [["Sender", "a@example.com"]], [["Resent-From", "a@example.com"]],
])
def test_no_from_or_two(evaluate, headers):
    found = evaluate("", {"example.com": REJECT}, dkim="example.com", exists=False, headers=headers or [["To", "x"]])
    assert found["result"] == "permerror"


def test_what_the_policy_gives_wrong_is_told(session):
    for question in ([[["From", "a@b.example"]], {"standard": "rfc1"}],):
        assert session.command(b"VRFY " + json.dumps(question).encode()).code == 451
