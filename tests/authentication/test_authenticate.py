"""The policy module authenticate, as mx uses it: what becomes of messages, what their header says, and that nobody waits long.

Clients have addresses of their own by the PROXY protocol; the DNS is the test's own server.
"""
import base64
import hashlib
import re
import socket
import time

import dkim
import pytest
from authentication.senders import txt
from authentication.test_spoofing import ATTACKER, KEYS, OURS, PEM, THEIRS, VICTIM, record_of
from peers.dns import SILENCE, DnsThread
from peers.next_hop import NextHop
from peers.sender import Sender

from mailfilter.services.dkim import PrivateKey, headers_of, signed_field

RCPT = (b"<me@example.org>",)
TEXT = b"From: <boss@victim.example>\r\nTo: <me@example.org>\r\nSubject: hello\r\n\r\nHello.\r\n"
QUARANTINED = "quarantine.example"
LISTED, ALLOWED = "198.51.100.7", "198.51.100.8"


def zone():
    records = {}
    for domain, address, policy in ((VICTIM, OURS, "reject"), (ATTACKER, THEIRS, "none"), (QUARANTINED, OURS, "quarantine"),
                                    ("sampled.example", OURS, "reject; t=y")):
        records[domain, "TXT"] = txt(domain, f"v=spf1 ip4:{address} -all")
        records[f"_dmarc.{domain}", "TXT"] = txt(f"_dmarc.{domain}", f"v=DMARC1; p={policy}; rua=mailto:dmarc@{domain}")
    for domain, key in KEYS.items():
        name = f"k._domainkey.{domain}"
        records[name, "TXT"] = txt(name, record_of(key))
    records["_dmarc.silent.example", "TXT"] = records["silent.example", "TXT"] = SILENCE
    records["_dmarc.broken.example", "TXT"] = "SERVFAIL"
    for address in (LISTED, ALLOWED):
        name = ".".join(reversed(address.split(".")))
        records[f"{name}.list.example", "A"] = [f"{name}.list.example 60 IN A 127.0.0.2"]
    records["8.100.51.198.allow.example", "A"] = ["8.100.51.198.allow.example 60 IN A 127.0.0.2"]
    records["bad.example.uri.example", "A"] = ["bad.example.uri.example 60 IN A 127.0.0.2"]
    records["25.2.0.192.in-addr.arpa", "PTR"] = ["25.2.0.192.in-addr.arpa 60 IN PTR mail.victim.example."]
    records["mail.victim.example", "A"] = [f"mail.victim.example 60 IN A {OURS}"]
    return records


@pytest.fixture(scope="module")
def dns():
    with DnsThread(zone()) as server:
        yield server


class Mx:
    """A server with the policy mx behind a PROXY listener, and its Maildir."""

    def __init__(self, serve, dns, folder, **settings):
        self.maildir = folder
        where = {} if "nextHop" in settings else {"maildir": folder}
        self.server = serve("mx", listen=["proxy:127.0.0.1:0"], settings={"domains": "example.org", **where, **settings},
                            options=["--dns-server", getattr(dns, "address", dns), "--hostname", "mx.test"], timeouts={"dns": 1})

    def client(self, address, helo=b"client.test"):
        sender = Sender(self.server.port, patience=15)
        sender.send(b"PROXY TCP%d %s %s 4711 25\r\n" % (6 if ":" in address else 4, address.encode(),
                                                       b"2001:db8::25" if ":" in address else b"192.0.2.1"))
        sender.hello(name=helo)
        return sender

    def send(self, text=TEXT, *, address=THEIRS, sender=b"<a@attack.test>", helo=b"client.test"):
        """(last reply, the message as it was delivered or None, the folder it is in)."""
        before = set(self.maildir.rglob("new/*")) if self.maildir.exists() else set()
        with self.client(address, helo) as client:
            reply = client.transaction(text, sender=sender, recipients=RCPT)[-1]
        new = set(self.maildir.rglob("new/*")) - before if self.maildir.exists() else set()
        [path] = new or [None]
        return reply, path and path.read_bytes(), path and path.parent.parent.name


def results(message):
    """{method: result} of the one Authentication-Results of ours in a message as it lies in a Maildir."""
    head = re.sub(rb"\n[ \t]+", b" ", message.partition(b"\n\n")[0])
    [value] = re.findall(rb"^Authentication-Results: mx\.test;(.*)$", head, re.MULTILINE)
    return dict(re.findall(r"(?:^|;) *([a-z0-9-]+)=([a-z]+)", value.decode()))


@pytest.fixture(scope="module")
def mx(serve_module, dns, tmp_path_factory):
    return Mx(serve_module, dns, tmp_path_factory.mktemp("mx") / "Maildir", dnsbl="list.example", dnsblAllow="allow.example",
              dnsblDomains="uri.example")


def signed(text, domain):
    return dkim.sign(text, b"k", domain.encode(), PEM[domain], include_headers=[b"from", b"subject"]) + text


def test_what_passes_is_delivered_and_told_of(mx):
    reply, message, folder = mx.send(signed(TEXT, VICTIM), address=OURS, sender=b"<boss@victim.example>",
                                     helo=b"mail.victim.example")
    assert reply.code == 250 and folder == "Maildir"
    assert results(message) == {"iprev": "pass", "spf": "pass", "dkim": "pass", "dmarc": "pass", "x-dnsbl": "pass"}


def test_what_the_owner_wants_rejected_is_rejected(mx):
    reply, message, _ = mx.send()
    assert (reply.code, reply.text) == (550, "5.7.1 Rejected by the DMARC policy of victim.example") and message is None


def test_a_signature_alone_is_enough(mx):
    reply, message, _ = mx.send(signed(TEXT, VICTIM))
    assert reply.code == 250
    assert results(message) == {"iprev": "fail", "spf": "pass", "dkim": "pass", "dmarc": "pass", "x-dnsbl": "pass"}


def test_what_the_owner_wants_in_quarantine_is_there(mx):
    reply, message, folder = mx.send(TEXT.replace(b"victim", b"quarantine"))
    assert reply.code == 250 and folder == ".Junk" and b"\nX-Quarantine: dmarc\n" in message
    assert results(message)["dmarc"] == "fail"


def test_a_policy_that_is_tested_is_one_step_milder(mx):
    reply, message, folder = mx.send(TEXT.replace(b"victim", b"sampled"))
    assert reply.code == 250 and folder == ".Junk"


def test_forged_headers_are_removed_and_those_of_others_stay(mx):
    forged = (b"Authentication-Results: mx.test; dmarc=pass\r\nAuthentication-Results: (x) MX.test. ; spf=pass\r\n"
              b"Authentication-Results: other.test; dkim=pass\r\nX-Quarantine: no\r\n")
    reply, message, _ = mx.send(signed(forged + TEXT, VICTIM))
    assert reply.code == 250 and results(message)["dmarc"] == "pass"
    assert message.count(b"Authentication-Results:") == 2 and b"other.test; dkim=pass" in message
    assert b"X-Quarantine" not in message


def test_no_author_is_refused(mx):
    for text in (TEXT.replace(b"From: ", b"From: a@attack.test\r\nFrom: "), TEXT.partition(b"\r\n")[2]):
        reply, message, _ = mx.send(text)
        assert reply.code == 550 and reply.text.startswith("5.7.1 From does not say who the author is: there"), reply


def test_a_listed_client_is_refused_at_rcpt(mx):
    with mx.client(LISTED) as client:
        replies = client.transaction(TEXT, recipients=RCPT)
        assert [reply.code for reply in replies] == [250, 550]
        assert replies[1].text == f"5.7.1 No mail from {LISTED}: it is listed by list.example"
    reply, message, _ = mx.send(TEXT.replace(b"victim.example", b"nobody.example"), address=ALLOWED)
    assert reply.code == 250 and results(message)["x-dnsbl"] == "pass"


def test_a_message_with_a_link_that_is_listed_is_refused(mx):
    reply, _, _ = mx.send(TEXT.replace(b"victim.example", b"nobody.example") + b"See https://www.bad.example/offer\r\n")
    assert (reply.code, reply.text) == (550, "5.7.1 The message has a domain that is listed by uri.example")


@pytest.mark.parametrize("domain", [b"silent.example", b"broken.example"])
def test_what_cannot_be_decided_now_is_put_off_and_soon(mx, domain):
    begun = time.monotonic()
    reply, _, _ = mx.send(TEXT.replace(b"victim.example", domain))
    assert reply.code == 451 and reply.text.startswith("4.7.1 The author cannot be verified now"), reply
    assert time.monotonic() - begun < 5


def test_ipv6_and_the_null_path(mx):
    reply, message, _ = mx.send(signed(TEXT, VICTIM), address="2001:db8:1::7", sender=b"<>", helo=b"attack.test")
    assert reply.code == 250 and results(message)["spf"] == "fail" and b"smtp.helo=attack.test" in message


def test_clients_that_are_trusted_are_left_alone(serve, dns, tmp_path):
    mx = Mx(serve, dns, tmp_path / "Maildir", trustedClients="203.0.113.64/29, 2001:db8:1::/48 127.0.0.1")
    forged = b"Authentication-Results: mx.test; dmarc=pass\r\n" + TEXT
    for address in ("203.0.113.66", "2001:db8:1::9"):
        reply, message, _ = mx.send(forged, address=address)
        assert reply.code == 250 and message.endswith(forged.replace(b"\r\n", b"\n"))
    for address in ("203.0.113.72", "2001:db8:2::9"):
        assert mx.send(forged, address=address)[0].code == 550


def test_every_action_is_a_setting(serve, dns, tmp_path):
    mx = Mx(serve, dns, tmp_path / "Maildir", dmarcReject="quarantine", dmarcQuarantine="reject", dmarcAuthor="none",
            dmarcTemporary="accept", dnsbl="list.example=0.5 list.example", dnsblThreshold=1.5, dnsblAction="quarantine",
            authservId="our.id", iprev="false", spfHelo="true", receivedSpf="true", spfFail="quarantine", quarantine="Spam",
            quarantineHeader="X-Why", dmarcStandard="rfc7489", dnsblTimeout=1)
    reply, message, folder = mx.send(address="192.0.2.99")
    assert reply.code == 250 and folder == ".Spam" and b"\nX-Why: spf, dmarc\n" in message
    assert b"\nAuthentication-Results: our.id;" in message and b"\nReceived-SPF: Fail" in message and b"iprev=" not in message
    assert b"smtp.helo=client.test" in message and b"smtp.mailfrom=attack.test" in message
    assert mx.send(TEXT.replace(b"victim", b"quarantine"))[0].code == 550
    assert mx.send(TEXT.replace(b"From: ", b"From: a@attack.test\r\nFrom: "))[0].code == 250
    reply, message, folder = mx.send(TEXT.replace(b"victim", b"broken"))
    assert reply.code == 250 and b"dmarc=temperror" in message
    reply, message, folder = mx.send(TEXT.replace(b"victim.example", b"nobody.example"), address=LISTED)
    assert reply.code == 250 and folder == ".Spam" and b"x-dnsbl=fail" in message


@pytest.mark.parametrize("name, value", [
    ("spfFail", "refuse"), ("dmarcStandard", "rfc1"), ("trustedClients", "10.0.0.0/33"), ("trustedClients", "localhost"),
    ("dnsbl", "a.example=much"), ("dmarcTemporary", "reject")])
def test_settings_that_are_wrong_are_told_at_the_start(dns, serve, tmp_path, name, value):
    with pytest.raises(AssertionError, match=f"{name}|no blocklist"):
        Mx(serve, dns, tmp_path / "Maildir", **{name: value})


def test_it_can_be_switched_off(serve, dns, tmp_path):
    mx = Mx(serve, dns, tmp_path / "Maildir", authenticate="false")
    reply, message, _ = mx.send()
    assert reply.code == 250 and b"Authentication-Results" not in message


# Chains of receivers that are believed.

def test_a_list_whose_seal_is_believed_is_not_refused(serve, dns, tmp_path):
    key = b"arc._domainkey.attack.test"
    dns.server.zone[key.decode(), "TXT"] = txt(key.decode(), record_of(KEYS[ATTACKER]))
    seen = b"Authentication-Results: lists.test; dmarc=pass header.from=victim.example; spf=pass smtp.mailfrom=victim.example\r\n"
    chain = b"".join(dkim.arc_sign(seen + TEXT, b"arc", b"attack.test", PEM[ATTACKER], b"lists.test"))
    believing = Mx(serve, dns, tmp_path / "a", arcTrusted="attack.test")
    doubting = Mx(serve, dns, tmp_path / "b", arcTrusted="lists.example")
    assert doubting.send(chain + TEXT)[0].code == 550
    reply, message, _ = believing.send(chain + TEXT)
    assert reply.code == 250 and results(message)["arc"] == "pass" and results(message)["dmarc"] == "fail"
    assert b"as[1].d=attack.test" in message
    assert believing.send(chain + TEXT.replace(b"Hello", b"Hullo"))[0].code == 550
    failed = b"".join(dkim.arc_sign(seen.replace(b"dmarc=pass", b"dmarc=fail") + TEXT, b"arc", b"attack.test", PEM[ATTACKER],
                                    b"lists.test"))
    assert believing.send(failed + TEXT)[0].code == 550


def test_a_seal_that_leaves_something_open_is_not_believed(serve, dns, tmp_path):
    """A signature over a part of the body, or without From, is good whatever somebody puts there."""
    name = "arc._domainkey.attack.test"
    dns.server.zone[name, "TXT"] = txt(name, record_of(KEYS[ATTACKER]))
    mx = Mx(serve, dns, tmp_path / "Maildir", arcTrusted="attack.test", dmarcReject="quarantine")
    for chain, folder in ((sealed(length=6), ".Junk"), (sealed(include=(b"subject",)), ".Junk"), (sealed(), "Maildir")):
        _, message, found = mx.send(chain + TEXT)
        assert found == folder and results(message)["arc"] == "pass"


def sealed(include=(b"from", b"subject"), length=8):
    """A chain of one set over TEXT, whose message signature covers these fields and so many octets of the body."""
    results = b" i=1; lists.test; dmarc=pass header.from=victim.example\r\n"
    key = PrivateKey(PEM[ATTACKER])
    headers = headers_of(re.findall(rb"[^\r]+\r\n", TEXT.partition(b"\r\n\r\n")[0] + b"\r\n"))
    digest = base64.b64encode(hashlib.sha256(b"Hello.\r\n"[:length]).digest())
    fields = [(b"i", b"1"), (b"a", b"rsa-sha256"), (b"c", b"relaxed/relaxed"), (b"d", b"attack.test"), (b"s", b"arc")]
    if length < 8:
        fields.append((b"l", b"%d" % length))
    fields += [(b"h", b" : ".join(include)), (b"bh", digest), (b"b", b"0" * 60)]
    signature = signed_field(headers, b"ARC-Message-Signature", fields, list(include),
                             dkim.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed"), key)
    seal = b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=attack.test; s=arc; b="
    relaxed = [dkim.canonicalization.Relaxed.canonicalize_headers([part]) for part in (
        (b"ARC-Authentication-Results", results), tuple(signature.split(b":", 1)), tuple(seal.split(b":", 1)))]
    data = b"".join(b":".join(pair) for [pair] in relaxed)
    made = base64.b64encode(key.sign(hashlib.sha256(data.rstrip()).digest()))
    return seal + made + b"\r\n" + signature + b"ARC-Authentication-Results:" + results


# In front of a next hop.

def test_a_refused_message_does_not_begin_with_the_next_hop(serve, dns, tmp_path):
    with NextHop() as hop:
        mx = Mx(serve, dns, tmp_path, nextHop=f"127.0.0.1:{hop.port}")
        with mx.client(THEIRS) as client:
            assert client.transaction(TEXT, sender=b"<a@attack.test>", recipients=RCPT)[-1].code == 550
            # The same connection to it goes on with the next transaction.
            good = signed(TEXT, VICTIM)
            assert client.transaction(good, sender=b"<a@attack.test>", recipients=RCPT)[-1].code == 250
        [received] = hop.accepted
        assert good in received.content and b"Authentication-Results: mx.test;" in received.content
        assert len(hop.conversations) == 1 and not hop.violations
    # What was signed is octet for octet what arrived.
    assert dkim.verify(received.content, dnsfunc=lambda name, timeout=5: record_of(KEYS[VICTIM]).encode())


# Without any DNS.

def test_the_first_message_needs_no_network(serve, tmp_path):
    """What the README shows: from this machine, for a domain that nobody can look up, with a DNS server that is silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        server = serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"},
                       options=["--dns-server", address])
        begun = time.monotonic()
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.deliver(b"Subject: first\r\n\r\nHello.\r\n", sender=b"<you@example.net>", recipients=RCPT).code == 250
        assert time.monotonic() - begun < 4     # a look-up that had to be waited for would take 5
        assert len(list(tmp_path.glob("Maildir/new/*"))) == 1
        strangers = Mx(serve, address, tmp_path / "b", dmarcTemporary="accept", dnsbl="list.example", receivedSpf="true")
        begun = time.monotonic()
        reply, message, _ = strangers.send()
        assert time.monotonic() - begun < 20 and reply.code == 250
        assert {results(message)[name] for name in ("iprev", "spf", "dmarc")} == {"temperror"}
        assert results(message)["x-dnsbl"] == "pass"
