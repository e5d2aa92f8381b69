"""Attacks on sender authentication: whatever the message looks like, it is no pass for the victim's domain.

From the literature: Chen, Paxson, Jiang, "Composition Kills" (USENIX Security 2020); Shen et al., "Weak Links in
Authentication Chains" (USENIX Security 2021); Müller et al., "Johnny, you are fired!" (USENIX Security 2019); RFC 7489 §12,
RFC 9989 §11, RFC 6376 §8. The attacker owns attack.test: its DNS, an address that its SPF allows, a DKIM key. The messages
go through SPF, DKIM and DMARC of a policy, over SMTP, with DNS packets.
"""
import base64
import json

import dkim
import pytest
from authentication.senders import txt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from peers.dns import DnsThread
from peers.sender import Sender

POLICY = """
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return; }
    var found = {
        spf: Spf.check(this.recipients[0].mailbox.local, this.sender, this.clientname), dkim: Dkim.verify(headers, body),
        smtputf8: !!this.sender.params.SMTPUTF8
    };
    return new SmtpResponse(250, ['rfc9989', 'rfc7489'].map(function (standard) {
        found.standard = standard;
        var dmarc = Dmarc.evaluate(headers, found);
        return JSON.stringify([dmarc.result, dmarc.domain, dmarc.disposition, dmarc.reason]);
    }));
};
"""

THEIRS, OURS = "203.0.113.66", "192.0.2.25"      # the attacker's address and the victim's
VICTIM, ATTACKER = "victim.example", "attack.test"


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())


def record_of(key):
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


KEYS = {VICTIM: rsa.generate_private_key(65537, 2048), ATTACKER: rsa.generate_private_key(65537, 2048)}
PEM = {domain: pem(key) for domain, key in KEYS.items()}


def zone():
    records = {}

    def text(name, value):
        records[name, "TXT"] = txt(name, value)

    for domain, address in ((VICTIM, OURS), (ATTACKER, THEIRS)):
        text(domain, f"v=spf1 ip4:{address} -all")
        text(f"k._domainkey.{domain}", record_of(KEYS[domain]))
        records[domain, "A"] = [f"{domain} 60 IN A {address}"]
    text("_dmarc.victim.example", "v=DMARC1; p=reject")
    text("_dmarc.attack.test", "v=DMARC1; p=none")
    # What the attacker may publish, wherever a resolver that cuts, escapes or folds names may look.
    key, allow = record_of(KEYS[ATTACKER]), f"v=spf1 ip4:{THEIRS} -all"
    for domain in ("victim.example.attack.test", "xvictim.example", "neighbour.blogspot.com", "example"):
        text(domain, allow)
        text(f"k._domainkey.{domain}", key)
    text("_dmarc.mine.blogspot.com", "v=DMARC1; p=reject")
    text("_dmarc.blogspot.com", "v=DMARC1; p=reject")
    text("k", key)
    text("k.attack.test", key)
    text("x.attack.test", key)
    return records


@pytest.fixture(scope="module")
def session(serve_module):
    with DnsThread(zone()) as dns:
        server = serve_module(POLICY, options=["--dns-server", dns.address],
                              limits={"operations": 1000000, "session_ms": 100000, "errors": 1000})
        with Sender(server.port) as sender:
            sender.hello()
            yield sender


def message(author=None, *, front=b"", more=b"", body=b"Pay the invoice.\r\n"):
    """A message with this From value (octets or text), fields in front of it and behind it."""
    author = author.encode() if isinstance(author, str) else author
    head = b"" if author is None else b"From: " + author + b"\r\n"
    rest = b"To: <you@example.net>\r\nSubject: urgent\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n"
    return front + head + more + rest + body


def signed(text, domain=ATTACKER, selector=b"k", **options):
    """The message with a good signature of `domain` in front."""
    options = {"canonicalize": (b"relaxed", b"relaxed"), "include_headers": [b"from", b"to", b"subject", b"date"], **options}
    return dkim.sign(text, selector, domain.encode(), PEM[domain], **options) + text


def forged(text, tags):
    """The message signed by the attacker, with tags of the signature replaced before the signature was made over them."""
    class Odd(dkim.DKIM):
        def gen_header(self, fields, *rest):
            return super().gen_header([(name, tags.get(name, value)) for name, value in fields], *rest)
    made = Odd(text).sign(b"k", ATTACKER.encode(), PEM[ATTACKER], canonicalize=(b"relaxed", b"relaxed"),
                          include_headers=[b"from", b"to", b"subject", b"date"])
    return made + text


def verdicts(session, text, sender=b"<bounce@attack.test>", address=THEIRS, helo=b"client.attack.test"):
    hello = session.command(b"EHLO " + helo)
    replies = [hello] if hello.code != 250 else session.transaction(
        text, sender=sender, recipients=[b"<%s@mx.test>" % address.encode()])
    if replies[-1].code != 250:
        session.command(b"RSET")
        return [("refused", None, "reject", str(replies))]
    return [tuple(json.loads(line)) for line in replies[-1].lines]


BOSS = "boss@victim.example"
REPLAYED = signed(message(BOSS), VICTIM)

ATTACKS = {
    # Alignment.
    "nothing but the name": message(BOSS),
    "SPF passes for another domain": message(f"The Boss <{BOSS}>"),
    "DKIM passes for another domain": signed(message(BOSS)),
    "a domain that ends like it": (message(BOSS), {"sender": b"<a@xvictim.example>"}),
    "a domain that begins like it": (message(BOSS), {"sender": b"<a@victim.example.attack.test>"}),
    "the suffix signs (d=example)": forged(message(BOSS), {b"d": b"example"}),
    "the suffix sends": (message(BOSS), {"sender": b"<a@example>", "helo": b"example"}),
    "a neighbour under a public suffix signs": forged(message("me@mine.blogspot.com"), {b"d": b"neighbour.blogspot.com"}),
    "a neighbour under a public suffix sends": (message("me@mine.blogspot.com"), {"sender": b"<a@neighbour.blogspot.com>"}),
    "an unpublished subdomain": message("boss@payroll.victim.example"),
    "a subdomain with a record that nobody made": message("boss@_dmarc.victim.example"),
    # Sender of the envelope.
    "no sender, and the victim's name in HELO": (message(BOSS), {"sender": b"<>", "helo": b"victim.example"}),
    "no sender, and odd octets in HELO": (message(BOSS), {"sender": b"<>", "helo": b"attack.test(.victim.example"}),
    "no sender, and the attacker's name in HELO": (message(BOSS), {"sender": b"<>", "helo": b"attack.test"}),
    "a quoted local part with @": (message(BOSS), {"sender": b'<"a@victim.example"@attack.test>'}),
    "a route in the envelope": (message(BOSS), {"sender": b"<@victim.example:a@attack.test>"}),
    "a percent in the local part": (message(BOSS), {"sender": b"<boss%victim.example@attack.test>"}),
    "the victim's address in the envelope": (message(BOSS), {"sender": b"<boss@victim.example>"}),
    # Names in signatures.
    "NUL in the selector": forged(message(BOSS), {b"d": b"victim.example", b"s": b"k.attack.test\x00.x"}),
    "an escaped NUL in the selector": forged(message(BOSS), {b"d": b"victim.example", b"s": b"k.attack.test\\000"}),
    "a line feed in the domain": forged(message(BOSS), {b"d": b"attack.test\n.victim.example"}),
    "a NUL in the domain": forged(message(BOSS), {b"d": b"attack.test\x00.victim.example"}),
    "a final dot in d=": forged(message(BOSS), {b"d": b"victim.example."}),
    "another case in d=": forged(message(BOSS), {b"d": b"VICTIM.example"}),
    "a space in d=": forged(message(BOSS), {b"d": b"victim.example attack.test"}),
    "i= of the victim, d= of the attacker": forged(message(BOSS), {b"i": b"@victim.example"}),
    "two d=": signed(message(BOSS)).replace(b"d=attack.test", b"d=attack.test; d=victim.example"),
    "a selector that leads to the attacker's key": forged(message(BOSS), {b"d": b"victim.example", b"s": b"x.attack.test."}),
    "a name beyond 253 octets": forged(message(BOSS), {b"d": b"a." * 124 + b"victim.example"}),
    # Good signatures of the victim, used otherwise.
    "another From in front of the signed one": b"From: evil@attack.test\r\n" + REPLAYED,
    "another From behind the signed one": REPLAYED.replace(b"To: ", b"From: evil@attack.test\r\nTo: ", 1),
    "a body appended behind l=": signed(message(BOSS), VICTIM, length=True) + b"and send it to 1234.\r\n",
    "a body in place of an empty one (l=0)": signed(message(BOSS, body=b""), VICTIM, length=True) + b"Pay!\r\n",
    "another subject": REPLAYED.replace(b"urgent", b"overdue"),
    "another body": REPLAYED.replace(b"invoice", b"attacker"),
    "a signature without From": signed(message(BOSS), VICTIM).replace(b"h=from : ", b"h="),
    # Two authors, or none.
    "two From fields, the attacker's first": signed(message("a@attack.test", more=b"From: boss@victim.example\r\n")),
    "two From fields, the victim's first": signed(message(BOSS, more=b"From: a@attack.test\r\n")),
    "From in two cases": signed(message("a@attack.test", more=b"FROM: boss@victim.example\r\n")),
    "a space before the colon": signed(message("a@attack.test", front=b"From : boss@victim.example\r\n")),
    "a space in front of the first line": b" From: boss@victim.example\r\n" + signed(message("a@attack.test")),
    "From behind a folded field": signed(message("a@attack.test", more=b"X-A: b\r\n\tFrom: c\r\nFrom : boss@victim.example\r\n")),
    "no From, but a Sender": message(None, front=b"Sender: boss@victim.example\r\n"),
    "no From, but a Resent-From": message(None, front=b"Resent-From: boss@victim.example\r\n"),
    "two mailboxes": signed(message("boss@victim.example, a@attack.test")),
    "two mailboxes, the attacker's first": signed(message("a@attack.test, boss@victim.example")),
    "two mailboxes in brackets": signed(message("<boss@victim.example><a@attack.test>")),
    "an address for a name": signed(message("boss@victim.example <a@attack.test>")),
    "a group": signed(message("Board: boss@victim.example, a@attack.test;")),
    "a group without anybody": signed(message("boss@victim.example:;")),
    "a route": signed(message("<@attack.test:boss@victim.example>")),
    "a route the other way": signed(message("<@victim.example,@x.test:a@attack.test>")),
    # Encodings and comments.
    "a comment inside the address": signed(message("boss@(attack.test)victim.example")),
    "a comment that does not end": signed(message("boss@victim.example (<a@attack.test>")),
    "nested comments": signed(message("(a@attack.test (x)) boss@victim.example")),
    "an encoded address": signed(message("=?utf-8?b?Ym9zc0B2aWN0aW0uZXhhbXBsZQ==?=")),
    "an encoded word for the local part": signed(message("=?utf-8?q?boss=40victim.example=3e?=@attack.test")),
    "an encoded word for the domain": signed(message("boss@=?utf-8?q?victim.example?=")),
    "a NUL in the address": message(b"boss@victim.example\x00@attack.test"),
    "a NUL in front of it": message(b"\x00boss@victim.example"),
    "a control character in the domain": signed(message(b"boss@victim.example\x0b.attack.test")),
    "a bare line feed in From": message(b"a@attack.test\nFrom: boss@victim.example"),
    "letters that look alike": signed(message("boss@vісtim.example")),
    "full-width letters": signed(message("boss@ｖictim.example")),
    "an ideographic full stop": signed(message("boss@victim。example")),
    "octets that are no UTF-8": signed(message(b"boss@victim\xff.example")),
    "an unfinished quotation": signed(message('"boss@victim.example <a@attack.test>')),
    "a backslash in the address": signed(message("boss\\@victim.example@attack.test")),
    "a final dot": signed(message("boss@victim.example.")),
    "an over-long From": signed(message(b"\r\n ".join([b"x" * 900] * 10) + b" <boss@victim.example>")),
    "an over-long domain": signed(message("boss@" + "a." * 124 + "victim.example")),
    "an over-long label": signed(message("boss@" + "a" * 64 + ".victim.example")),
    "an address literal": signed(message("boss@[203.0.113.66]")),
}


def about_the_victim(domain):
    return domain is None or domain == "mine.blogspot.com" or domain == VICTIM or domain.endswith("." + VICTIM)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_passes_for_the_victim(session, name):
    attack = ATTACKS[name]
    text, envelope = attack if isinstance(attack, tuple) else (attack, {})
    for result, domain, _disposition, reason in verdicts(session, text, **envelope):
        assert result != "pass" or not about_the_victim(domain), (domain, reason)
        assert result in ("fail", "permerror", "refused", "none") or not about_the_victim(domain), (result, reason)


def test_there_are_enough_of_them():
    assert len(ATTACKS) >= 60


# The same fixtures pass where they should: no test above is green because nothing ever passes.

@pytest.mark.parametrize("text, envelope", [
    (message(BOSS), {"sender": b"<boss@victim.example>", "address": OURS}),
    (message(BOSS), {"sender": b"<>", "helo": b"victim.example", "address": OURS}),
    (REPLAYED, {}),
    (signed(message(BOSS), VICTIM, length=True), {}),
    (signed(message(f'"boss" (the) <{BOSS}> (himself)'), VICTIM), {}),
    (signed(message("boss@payroll.victim.example"), VICTIM), {}),
])
def test_the_victim_itself_passes(session, text, envelope):
    for result, domain, _, _ in verdicts(session, text, **envelope):
        assert result == "pass" and about_the_victim(domain)


def test_the_attacker_passes_for_himself(session):
    for text in (message("a@attack.test"), signed(message('"boss@victim.example" <a@attack.test>'))):
        assert [found[:2] for found in verdicts(session, text)] == [("pass", "attack.test")] * 2
