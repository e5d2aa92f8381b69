"""Dkim in a policy: signatures of others verified, ours verified by others (Perl's Mail::DKIM, dkimpy), every way to fail."""
import base64
import json
import shutil
import subprocess
import time

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from peers.dns import DnsThread
from peers.sender import Sender
from serving import PROJECT

SUITE = PROJECT / "build" / "suites"
DATA = next(iter(SUITE.glob("dkimpy-*/dkim/tests/data")), None)

POLICY = """
var keys = JSON.parse(Sys.setting('keys'));
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return; }
    var options = null, mailbox = this.sender.mailbox.local, parts;
    if (mailbox === 'verify') {
        return new SmtpResponse(250, ['found'].concat(Dkim.verify(headers, body).map(function (one) {
            return JSON.stringify([one.result, one.reason, one.domain, one.keyBits, one.unsigned]);
        })));
    }
    if (mailbox === 'whole') {
        return new SmtpResponse(250, JSON.stringify(Dkim.verify(headers, body)[0]).split(/,(?=")/));
    }
    parts = mailbox.split('+');     // sign+key+canonicalization
    options = { key: keys[parts[1]], selector: parts[1], domain: 'example.org', canonicalization: parts[2].replace('-', '/') };
    headers.unshift(Dkim.sign(headers, body, options));
    new Maildir(Sys.setting('maildir')).deliver(headers, body);
    return new SmtpResponse(250, 'signed');
};
"""


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def rsa_record(key):
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


RSA = rsa.generate_private_key(65537, 2048)
SMALL = rsa.generate_private_key(65537, 1024)
ED25519 = ed25519.Ed25519PrivateKey.generate()
ED25519_RECORD = "v=DKIM1; k=ed25519; p=" + base64.b64encode(ED25519.public_key().public_bytes(
    serialization.Encoding.Raw, serialization.PublicFormat.Raw)).decode()
RECORD = rsa_record(RSA)


def text(name, record):
    pieces = [record[i:i + 250] for i in range(0, len(record), 250)]
    return {(name, "TXT"): [f"{name} 60 IN TXT " + " ".join(f'"{piece}"' for piece in pieces)]}


ZONE = {
    **text("rsa._domainkey.example.org", RECORD),
    **text("ed25519._domainkey.example.org", ED25519_RECORD),
    **text("testing._domainkey.example.org", RECORD + "; t=y"),
    **text("strict._domainkey.example.org", RECORD + "; t=s"),
    **text("revoked._domainkey.example.org", "v=DKIM1; k=rsa; p="),
    **text("empty._domainkey.example.org", "v=DKIM1"),
    **text("broken._domainkey.example.org", "v=DKIM1; p=notbase64!"),
    **text("text._domainkey.example.org", "nothing of the kind"),
    **text("version._domainkey.example.org", RECORD.replace("DKIM1", "DKIM2")),
    **text("other._domainkey.example.org", ED25519_RECORD),
    **text("web._domainkey.example.org", RECORD + "; s=web"),
    **text("sha1._domainkey.example.org", RECORD + "; h=sha1"),
    **text("wrong._domainkey.example.org", rsa_record(SMALL)),
    ("servfail._domainkey.example.org", "TXT"): "SERVFAIL",
}

BODY = b"Hello  world \r\n.dot\r\n\r\nlast line\r\n\r\n\r\n"
MESSAGE = (b"From: Author <author@example.org>\r\nTo: reader@example.net\r\nSubject:  a  subject\r\n\tfolded\r\n"
           b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n" + BODY)


@pytest.fixture(scope="module")
def dns():
    zone = dict(ZONE)
    if DATA is not None:
        zone |= text("brisbane._domainkey.football.example.com",
                     "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        zone |= text("test._domainkey.example.com", (DATA / "test.txt").read_text().strip())
    with DnsThread(zone) as server:
        yield server


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory):
    return tmp_path_factory.mktemp("dkim") / "Maildir"


@pytest.fixture(scope="module")
def session(dns, mailbox, serve_module, tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "rsa.pem"
    file.write_text(pem(RSA))
    server = serve_module(POLICY, options=["--dns-server", dns.address],
                          settings={"keys": json.dumps({"rsa": str(file), "ed25519": pem(ED25519)}), "maildir": mailbox},
                          limits={"operations": 1000000, "session_ms": 100000})
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def verified(session, message):
    reply = session.deliver(message, sender=b"<verify@client.test>")
    assert reply.code == 250, reply
    return [tuple(json.loads(line)) for line in reply.lines[1:]]


def by_dkimpy(message, selector="rsa", key=None, **options):
    """`message` with a signature made by dkimpy."""
    options = {"canonicalize": (b"relaxed", b"relaxed"), **options}
    if key is None:
        key = RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                serialization.NoEncryption())
    return dkim.sign(message, selector.encode(), b"example.org", key, **options) + message


@pytest.mark.parametrize("head", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
def test_a_good_signature_passes(session, head, body):
    assert verified(session, by_dkimpy(MESSAGE, canonicalize=(head, body))) == [("pass", None, "example.org", 2048, 0)]


def test_a_good_ed25519_signature_passes(session):
    seed = base64.b64encode(ED25519.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                                                  serialization.NoEncryption()))
    message = by_dkimpy(MESSAGE, "ed25519", seed, signature_algorithm=b"ed25519-sha256")
    assert verified(session, message) == [("pass", None, "example.org", 256, 0)]


def test_a_large_body_is_hashed_elsewhere(session):
    message = MESSAGE + b"x" * 70 + b"\r\n" * 100_000 + b"end\r\n"
    assert verified(session, by_dkimpy(message))[0][0] == "pass"
    assert verified(session, by_dkimpy(message) + b"more\r\n")[0][:2] == ("fail", "the body has been changed")


@pytest.mark.parametrize("selector, result, reason", [
    ("testing", "pass", None),
    ("strict", "pass", None),
    ("revoked", "permerror", "the key is revoked"),
    ("empty", "permerror", "the key record has no key"),
    ("broken", "permerror", "the key cannot be read"),
    ("text", "permerror", "the key record is no list of tags"),
    ("version", "permerror", "the key record has version DKIM2"),
    ("other", "permerror", "the key is for ed25519"),
    ("web", "permerror", "the key is not for mail"),
    ("sha1", "permerror", "the key does not allow rsa-sha256"),
    ("wrong", "fail", "the header has been changed, or it was signed with another key"),
    ("missing", "permerror", "no key at missing._domainkey.example.org"),
    ("servfail", "temperror", "no key now: servfail"),
])
def test_keys(session, selector, result, reason):
    found = verified(session, by_dkimpy(MESSAGE, selector))[0]
    assert found[0] == result
    assert reason is None or found[1].startswith(reason)


@pytest.mark.parametrize("change, reason", [
    (lambda m: m.replace(b"reader@", b"victim@"), "the header has been changed"),
    (lambda m: m.replace(b"world", b"world!"), "the body has been changed"),
    (lambda m: m + b"more\r\n", "the body has been changed"),
    (lambda m: b"From: Boss <boss@example.org>\r\n" + m, "the header has been changed"),
])
def test_changes_are_seen(session, change, reason):
    found = verified(session, change(by_dkimpy(MESSAGE)))[0]
    assert found[0] == "fail" and found[1].startswith(reason)


def test_what_a_relay_may_do_is_not_seen(session):
    message = by_dkimpy(MESSAGE).replace(b"Subject:  a  subject\r\n\tfolded", b"SUBJECT: a subject folded")
    assert verified(session, b"Received: from somewhere\r\n" + message + b"\r\n\r\n")[0][0] == "pass"


def test_a_signature_over_a_part_of_the_body_says_how_much_it_leaves_out(session):
    message = by_dkimpy(MESSAGE, length=True)
    assert verified(session, message)[0][4] == 0
    found = verified(session, message + b"appended by somebody\r\n")[0]
    assert (found[0], found[4] > 0) == ("pass", True)
    assert verified(session, message.replace(b"last line\r\n", b""))[0][:2] == ("fail", "the body is shorter than l= says")


@pytest.mark.parametrize("signature, result", [
    (b"v=1; nonsense", "neutral"),
    (b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From", "neutral"),
    (b"v=2; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA", "neutral"),
    (b"v=1; a=rsa-md5; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA", "neutral"),
    (b"v=1; a=rsa-sha256; c=odd/odd; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA", "neutral"),
    (b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=Subject; bh=AAAA; b=AAAA", "permerror"),
    (b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA; i=@evil.example", "neutral"),
    (b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA; x=1000", "neutral"),
    (b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=AAAA", "fail"),
    (b"", "neutral"), (b"\xff\xfe", "neutral"), (b";;;;", "neutral"),
])
def test_broken_signatures(session, signature, result):
    assert verified(session, b"DKIM-Signature: " + signature + b"\r\n" + MESSAGE)[0][0] == result


@pytest.mark.parametrize("value", [
    b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=A" + b"\r\n " * 3000 + b"!",
    b"v=1; a=rsa-sha256; d=example.org; s=rsa; h=From; bh=AAAA; b=" + b"A " * 20000,
    b"v=1; a=rsa-sha256; d=example.org; s=rsa; bh=AAAA; b=AAAA; h=From:" + b":".join(b"h%d" % n for n in range(500)),
])
def test_hostile_signatures_cost_nothing(session, value):
    """White space in front of nothing, and names without end, take dkimpy seconds: they are not shown to it."""
    before = time.process_time()
    assert verified(session, b"DKIM-Signature: " + value + b"\r\n" + MESSAGE)[0][0] == "neutral"
    assert time.process_time() - before < 1


def test_a_message_without_signatures_and_one_with_many(session):
    assert verified(session, MESSAGE) == []
    message = MESSAGE
    for _ in range(12):
        message = by_dkimpy(message)
    found = verified(session, message)
    assert len(found) == 12
    assert [one[0] for one in found] == ["pass"] * 10 + ["policy"] * 2


def test_names_with_a_nul_find_no_key(session):
    """A C string ends at the NUL: the attacker's key would be found under the victim's name (or the other way round)."""
    for selector, domain in ((b"rsa\\000", b"example.org"), (b"rsa._domainkey.example.org\x01", b"victim.example"),
                             (b"rsa", b"example.org\x01.victim.example")):
        message = b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=%s; h=From; bh=%s; b=AAAA\r\n" % (
            domain, selector, base64.b64encode(b"\0" * 32)) + MESSAGE
        assert verified(session, message)[0][0] in ("neutral", "permerror", "fail")


def test_everything_about_a_signature(session):
    reply = session.deliver(by_dkimpy(MESSAGE, "testing", identity=b"author@example.org"), sender=b"<whole@client.test>")
    found = json.loads(b",".join(reply.lines))
    assert found["result"] == "pass" and found["selector"] == "testing" and found["testing"] is True
    assert found["identity"] == "author@example.org" and found["algorithm"] == "rsa-sha256"
    assert found["canonicalization"] == "relaxed/relaxed" and "from" in found["headers"] and found["expires"] is None
    assert found["timestamp"] > 1_700_000_000 and len(found["value"]) == 16


@pytest.mark.skipif(DATA is None, reason="dkimpy's test data is not in build/suites; `make test` fetches it")
@pytest.mark.parametrize("name, results", [
    ("rfc6376.signed.msg", ["pass", "permerror"]), ("rfc6376.signed.rsa.msg", ["permerror"]),
    ("test.message", []),
])
def test_messages_of_dkimpy(session, name, results):
    message = (DATA / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert [one[0] for one in verified(session, message)] == results


# What is signed here, verified by programs that nobody here wrote.


def signed(session, mailbox, key, canonicalization, message=MESSAGE):
    before = set(mailbox.glob("new/*"))
    sender = f"<sign+{key}+{canonicalization.replace('/', '-')}@client.test>".encode()
    assert session.deliver(message, sender=sender).code == 250
    [path] = set(mailbox.glob("new/*")) - before
    # A Maildir has LF; a Return-Path stands in front.
    return path.read_bytes().replace(b"\n", b"\r\n")


KINDS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]


@pytest.mark.parametrize("key", ["rsa", "ed25519"])
@pytest.mark.parametrize("canonicalization", KINDS)
def test_dkimpy_verifies_our_signatures(session, mailbox, key, canonicalization):
    record = {"rsa": RECORD, "ed25519": ED25519_RECORD}[key].encode()
    message = signed(session, mailbox, key, canonicalization)
    assert dkim.verify(message, dnsfunc=lambda name, timeout=5: record)
    assert not dkim.verify(message + b"more\r\n", dnsfunc=lambda name, timeout=5: record)
    assert not dkim.verify(b"Subject: another\r\n" + message, dnsfunc=lambda name, timeout=5: record)


PERL = r"""
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
my ($address, $port) = split /:/, $ARGV[0];
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$address], port => $port, recurse => 1));
my $dkim = Mail::DKIM::Verifier->new(); binmode STDIN; local $/; my $message = <STDIN>;
$dkim->PRINT($message); $dkim->CLOSE; print $dkim->result, "\n";
"""


def perl_has_mail_dkim():
    return shutil.which("perl") and subprocess.run(["perl", "-MMail::DKIM", "-e1"], capture_output=True).returncode == 0


@pytest.mark.skipif(not perl_has_mail_dkim(), reason="Perl's Mail::DKIM is missing (libmail-dkim-perl)")
@pytest.mark.parametrize("canonicalization", KINDS)
def test_mail_dkim_verifies_our_signatures(session, mailbox, dns, canonicalization):
    message = signed(session, mailbox, "rsa", canonicalization)
    done = subprocess.run(["perl", "-e", PERL, dns.address], input=message, capture_output=True, timeout=30)
    assert done.stdout.strip() == b"pass", done


SIGN_PERL = r"""
use Mail::DKIM::Signer;
my $dkim = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => $ARGV[1], Domain => 'example.org', Selector => 'rsa',
    KeyFile => $ARGV[0]);
binmode STDIN; binmode STDOUT; local $/; my $message = <STDIN>; $dkim->PRINT($message); $dkim->CLOSE;
print $dkim->signature->as_string, "\r\n", $message;
"""


@pytest.mark.skipif(not perl_has_mail_dkim(), reason="Perl's Mail::DKIM is missing (libmail-dkim-perl)")
@pytest.mark.parametrize("canonicalization", KINDS)
def test_signatures_of_mail_dkim_are_verified(session, tmp_path, canonicalization):
    file = tmp_path / "key.pem"
    file.write_bytes(RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                       serialization.NoEncryption()))
    done = subprocess.run(["perl", "-e", SIGN_PERL, str(file), canonicalization], input=MESSAGE, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert verified(session, done.stdout)[0][:2] == ("pass", None)
