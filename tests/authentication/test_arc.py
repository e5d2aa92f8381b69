"""Arc in a policy: chains of others verified, ours verified by others (Perl's Mail::DKIM, dkimpy), every way to fail."""
import json
import re
import shutil
import subprocess

import dkim
import pytest
from authentication.test_dkim import ED25519_RECORD, MESSAGE, RECORD, RSA, ZONE, pem, text
from cryptography.hazmat.primitives import serialization
from peers.dns import DnsThread
from peers.sender import Sender
from serving import PROJECT

DATA = next(iter((PROJECT / "build" / "suites").glob("dkimpy-*/dkim/tests/data")), None)

POLICY = """
var key = Sys.setting('key');
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return; }
    var chain = Arc.verify(headers, body), made, options, what = this.sender.mailbox.local.split('+');
    if (what[0] === 'verify') {
        return new SmtpResponse(250, JSON.stringify([chain.result, chain.reason, chain.temporary, chain.ended, chain.oldestPass,
            chain.domains, chain.sets.length]).split(/(?<=,)(?=")/));
    }
    if (what[0] === 'sets') {
        return new SmtpResponse(250, chain.sets.map(function (set) { return JSON.stringify([set.instance, set.cv, set.sealResult,
            set.signatureResult, set.authResults]); }));
    }
    options = { domain: 'example.org', selector: 'rsa', key: key, authservId: 'mx.example.org', chain: chain };
    if (what[1] === 'kept') {        // an Authentication-Results of ours is there already
    } else {
        AuthResults.remove(headers, 'mx.example.org');
        headers.unshift(AuthResults.header('mx.example.org', {
            spf: { result: 'pass', identity: 'mailfrom', domain: 'example.org', problem: null }, arc: chain
        }));
    }
    made = Arc.seal(headers, body, options);
    headers.unshift.apply(headers, made);
    new Maildir(Sys.setting('maildir')).deliver(headers, body);
    return new SmtpResponse(250, String(made.length));
};
"""


def long_key():
    return RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())


@pytest.fixture(scope="module")
def dns():
    zone = dict(ZONE)
    if DATA is not None:
        zone |= text("test._domainkey.example.com", (DATA / "test.txt").read_text().strip())
    with DnsThread(zone) as server:
        yield server


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory):
    return tmp_path_factory.mktemp("arc") / "Maildir"


@pytest.fixture(scope="module")
def session(dns, mailbox, serve_module):
    server = serve_module(POLICY.replace("(?<=,)", ""), options=["--dns-server", dns.address],
                          settings={"key": pem(RSA), "maildir": mailbox},
                          limits={"operations": 1000000, "session_ms": 100000})
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


class Found:
    def __init__(self, row):
        self.result, self.reason, self.temporary, self.ended, self.oldest_pass, self.domains, self.sets = row


def verified(session, message):
    reply = session.deliver(message, sender=b"<verify@client.test>")
    assert reply.code == 250, reply
    return Found(json.loads(b"".join(reply.lines)))


def sealed(session, mailbox, message=MESSAGE, how="new", sets=3):
    before = set(mailbox.glob("new/*"))
    reply = session.deliver(message, sender=f"<seal+{how}@client.test>".encode())
    assert (reply.code, reply.lines) == (250, [str(sets).encode()]), reply
    [path] = set(mailbox.glob("new/*")) - before
    return path.read_bytes().replace(b"\n", b"\r\n")


def chain_of(session, mailbox, length, message=MESSAGE):
    for _ in range(length):
        message = sealed(session, mailbox, message)
    return message


AR = b"Authentication-Results: lists.example.org; arc=%s; spf=pass (a comment) smtp.mfrom=jqd@d1.example; dkim=pass\r\n"


def by_dkimpy(message, cv=b"none", selector=b"rsa"):
    """`message` with one more set made by dkimpy."""
    message = AR % cv + re.sub(rb"(?m)^Authentication-Results: lists.*\r\n", b"", message)
    return b"".join(dkim.arc_sign(message, selector, b"example.org", long_key(), b"lists.example.org")) + message


def records(name, timeout=5):
    name = name.decode().rstrip(".")
    return {"rsa._domainkey.example.org": RECORD, "ed25519._domainkey.example.org": ED25519_RECORD}.get(name, "").encode()


# -- verifying


def test_a_message_without_chain(session):
    found = verified(session, MESSAGE)
    assert (found.result, found.reason, found.sets, found.domains) == ("none", None, 0, [])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_chains_of_dkimpy_pass(session, length):
    message = by_dkimpy(MESSAGE)
    for _ in range(length - 1):
        message = by_dkimpy(message, b"pass")
    found = verified(session, message)
    assert (found.result, found.reason, found.sets, found.oldest_pass) == ("pass", None, length, 0)
    assert found.domains == ["example.org"]


def test_a_list_changes_the_message_and_seals_it(session):
    changed = by_dkimpy(MESSAGE).replace(b"Subject:  a  subject", b"Subject: [list] a subject") + b"footer\r\n"
    message = by_dkimpy(changed, b"pass")
    found = verified(session, message)
    assert (found.result, found.sets, found.oldest_pass) == ("pass", 2, 2)
    lines = session.deliver(message, sender=b"<sets@client.test>").lines
    first, second = (json.loads(line) for line in lines)
    assert first[:4] == [1, "none", "pass", "fail"] and second[:4] == [2, "pass", "pass", "pass"]
    assert first[4].startswith("lists.example.org;") and "smtp.mfrom=jqd@d1.example" in first[4]


@pytest.mark.parametrize("change, reason", [
    (lambda m: m.replace(b"world", b"world!"), "the message signature of instance 2: the body has been changed"),
    (lambda m: m.replace(b"reader@", b"victim@"), "the message signature of instance 2: the header has been changed"),
    (lambda m: m.replace(b"jqd@d1", b"boss@d1", 1), "the seal of instance"),
    (lambda m: re.sub(rb"ARC-Seal: i=2.*?(?=ARC-M)", b"", m, flags=re.DOTALL), "the set of instance 2 is incomplete"),
    (lambda m: re.sub(rb"ARC-Authentication-Results: i=1.*?(?=Auth)", b"", m, flags=re.DOTALL), "the set of instance"),
    (lambda m: m.replace(b"cv=pass", b"cv=none"), "the seal of instance 2 says cv=none"),
    (lambda m: m.replace(b"cv=pass", b"cv=fail"), "the seal of instance 2 says that the chain had failed before"),
    (lambda m: m.replace(b"cv=none", b"cv=pass"), "the seal of instance 1 says cv=pass"),
    (lambda m: m.replace(b"cv=pass", b"cv=odd"), "the seal of instance 2 says cv=odd"),
    (lambda m: m.replace(b"i=2; cv", b"i=3; cv"), "the set of instance 2 is incomplete"),
    (lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: i=51"), "more than 50 instances"),
    (lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: i=0"), "ARC-Seal without an instance"),
    (lambda m: m.replace(b"ARC-Seal: i=2; ", b"ARC-Seal: "), "ARC-Seal without an instance"),
    (lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: i=1"), "two fields ARC-Seal of instance 1"),
    (lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: nonsense; i=2"), "ARC-Seal is no list of tags"),
    (lambda m: m.replace(b"ARC-Seal: i=2", b"ARC-Seal: h=from; i=2"), "the seal of instance 2: a seal has no h="),
    (lambda m: m.replace(b"ARC-Message-Signature: i=2;", b"ARC-Message-Signature: i=2; x=1000;"),
     "the message signature of instance 2"),
    (lambda m: m.replace(b"h=from", b"h=arc-seal"), "the message signature of instance 2: it signs ARC-Seal"),
    (lambda m: m.replace(b"rsa-sha256", b"rsa-sha1"), "the message signature of instance 2"),
    (lambda m: b"ARC-Authentication-Results: i=2; other.example; none\r\n" + m, "two fields ARC-Authentication-Results"),
    (lambda m: b"ARC-Seal: " + b"i=7;" + b" " * 5000 + b"\r\n" + m, "more than 64 blanks"),
])
def test_chains_that_fail(session, change, reason):
    message = by_dkimpy(by_dkimpy(MESSAGE), b"pass")
    assert verified(session, message).result == "pass"
    changed = change(message)
    assert changed != message
    found = verified(session, changed)
    assert (found.result, found.reason[:len(reason)]) == ("fail", reason)
    assert found.temporary is False
    if b"cv=fail" in changed:
        assert found.ended is True


@pytest.mark.parametrize("selector, temporary, reason", [
    (b"servfail", True, "no key now: servfail"), (b"missing", False, "no key at missing"),
    (b"revoked", False, "the key is revoked"),
    (b"wrong", False, "the header has been changed, or"), (b"web", False, "the key is not for mail"),
])
def test_keys(session, selector, temporary, reason):
    found = verified(session, by_dkimpy(MESSAGE, selector=selector))
    assert (found.result, found.temporary) == ("fail", temporary)
    assert found.reason.startswith("the message signature of instance 1: " + reason)
    # A seal whose key is missing, below one that is good.
    mixed = verified(session, by_dkimpy(by_dkimpy(MESSAGE, selector=selector), b"pass"))
    assert (mixed.result, mixed.temporary) == ("fail", temporary) and mixed.reason.startswith("the seal of instance 1: ")


def variations():
    """Ways to write or spoil a chain, beside those above; what they give is what dkimpy gives."""
    folded = rb"\1\r\n \2"
    yield "upper case names", lambda m: m.replace(b"ARC-Seal", b"ARC-SEAL").replace(b"ARC-Auth", b"arc-auth")
    yield "blanks in tags", lambda m: m.replace(b"ARC-Seal: i=1;", b"ARC-Seal:  i = 1 ;")
    yield "folded seal", lambda m: re.sub(rb"(ARC-Seal: i=1;)( )", folded, m)
    yield "folded results", lambda m: re.sub(rb"(ARC-Authentication-Results: i=1;)( )", folded, m)
    yield "unknown tag", lambda m: m.replace(b"ARC-Seal: i=1;", b"ARC-Seal: i=1; w=cat;")
    yield "doubled tag", lambda m: m.replace(b"ARC-Seal: i=1;", b"ARC-Seal: i=1; i=1;")
    yield "no =", lambda m: m.replace(b"ARC-Message-Signature: i=1;", b"ARC-Message-Signature: i=1; x;")
    for tag in (b"a", b"b", b"cv", b"d", b"s", b"t"):
        yield f"seal without {tag.decode()}", lambda m, tag=tag: re.sub(
            rb"(ARC-Seal: .*?)\b%s=[^;]*?(?:;|\r\n(?=ARC))" % tag, rb"\1", m, count=1, flags=re.DOTALL)
    for tag in (b"a", b"b", b"bh", b"c", b"d", b"h", b"s", b"t"):
        yield f"signature without {tag.decode()}", lambda m, tag=tag: re.sub(
            rb"(ARC-Message-Signature: .*?)\b%s=[^;]*?(?:;|\r\n(?=ARC))" % tag, rb"\1", m, count=1, flags=re.DOTALL)
    for tag, value in ((b"a", b"rsa-md5"), (b"b", b"!!!!"), (b"d", b"other.example"), (b"s", b"missing"), (b"t", b"x"),
                       (b"t", b"99999999999"), (b"cv", b"Pass"), (b"bh", b"AAAA"), (b"c", b"simple/simple"), (b"c", b"odd"),
                       (b"h", b"from:to"), (b"h", b""), (b"l", b"5")):
        yield f"{tag.decode()}={value.decode()}", lambda m, tag=tag, value=value: re.sub(
            rb"\b%s=[^;]*?(?=;|\r\nARC)" % tag, tag + b"=" + value, m, flags=re.DOTALL)
    yield "a second From", lambda m: b"From: boss@example.org\r\n" + m
    yield "Received in front", lambda m: b"Received: from somewhere\r\n" + m
    yield "blank lines at the end", lambda m: m + b"\r\n\r\n"
    yield "more blanks", lambda m: m.replace(b"Subject:  a  subject", b"Subject: a     subject")


@pytest.mark.parametrize("name, change", [pytest.param(name, change, id=name) for name, change in variations()])
def test_dkimpy_comes_to_the_same_result(session, name, change):
    for message in (by_dkimpy(MESSAGE), by_dkimpy(by_dkimpy(MESSAGE), b"pass")):
        message = change(message)
        try:
            theirs = dkim.arc_verify(message, dnsfunc=records)[0]
        except Exception:
            theirs = b"fail"        # it stumbles: what has no key, no algorithm or no form is no pass
        assert verified(session, message).result == (theirs or b"fail").decode(), name


def test_the_place_of_a_set_means_nothing(session):
    """Instances have an order by their numbers (RFC 8617 §5.1.1); relays may have moved the fields."""
    message = by_dkimpy(by_dkimpy(MESSAGE), b"pass")
    fields = re.findall(rb"^ARC-[^ ].*?\r\n(?![ \t])", message, re.DOTALL | re.MULTILINE)
    assert len(fields) == 6
    for field in fields:
        message = message.replace(field, b"")
    assert verified(session, b"".join(reversed(fields)) + message).result == "pass"
    assert verified(session, b"".join(sorted(fields)) + message).result == "pass"


def test_nothing_survives_a_seal_that_covers_it(session):
    """Each octet of the sets counts: changed anywhere but in blanks, the chain fails."""
    message = by_dkimpy(by_dkimpy(MESSAGE), b"pass")
    end = message.index(b"From: Author")
    places = [at for at in range(0, end, 37) if message[at:at + 1].isalnum()]
    assert len(places) > 30
    for at in places:
        changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1:]
        if re.match(rb"(?i)Authentication-Results", message[message.rfind(b"\n", 0, at) + 1:]):
            continue        # the plain field is not part of the chain
        assert verified(session, changed).result != "pass", message[at - 20:at + 20]


@pytest.mark.parametrize("field", [
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.org; s=rsa; b=" + b"A\r\n " * 4000 + b"!",
    b"ARC-Seal: " + b"i=1;" * 3000,
    b"ARC-Authentication-Results: " + b"i" * 60000,
    b"ARC-Message-Signature: i=1; h=" + b":".join(b"h%d" % n for n in range(2000)),
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.org; s=rsa; b=AAAA" + b"\r\n " * 3000 + b"!",
])
def test_hostile_fields_cost_nothing(session, field):
    assert verified(session, field + b"\r\n" + MESSAGE).result == "fail"


def test_hundreds_of_fields(session):
    message = b"".join(b"ARC-Seal: i=%d; cv=pass\r\n" % n for n in range(1, 51)) * 4 + MESSAGE
    assert verified(session, message).reason.startswith("two fields ARC-Seal") is True
    assert verified(session, by_dkimpy(MESSAGE) + b"").result == "pass"


# -- sealing


@pytest.mark.parametrize("length", [1, 2, 3])
def test_dkimpy_verifies_our_chains(session, mailbox, length):
    message = chain_of(session, mailbox, length)
    assert dkim.arc_verify(message, dnsfunc=records)[0] == b"pass"
    found = verified(session, message)
    assert (found.result, found.sets, found.oldest_pass) == ("pass", length, 0)
    assert dkim.arc_verify(message + b"more\r\n", dnsfunc=records)[0] == b"fail"


def test_the_octets_of_our_results_stay_as_they_are(session, mailbox):
    value = b' mx.example.org 1; spf=pass (a (nested) comment)\r\n\tsmtp.mailfrom="odd \\" one"@example.org ;\r\n  dkim=none'
    message = sealed(session, mailbox, b"Authentication-Results:" + value + b"\r\n" + MESSAGE, "kept")
    assert b"ARC-Authentication-Results: i=1; " + value.strip() + b"\r\n" in message
    assert dkim.arc_verify(message, dnsfunc=records)[0] == b"pass"


def test_several_results_of_ours_become_one(session, mailbox):
    message = sealed(session, mailbox, b"Authentication-Results: mx.example.org; spf=pass\r\n"
                     b"Authentication-Results: other.example; dkim=pass\r\nAuthentication-Results: MX.example.org; dkim=none\r\n"
                     + MESSAGE, "kept")
    assert b"ARC-Authentication-Results: i=1; mx.example.org; spf=pass; dkim=none\r\n" in message


def test_a_failed_chain_is_sealed_as_failed_and_then_no_more(session, mailbox):
    broken = by_dkimpy(MESSAGE).replace(b"world", b"World")
    message = sealed(session, mailbox, broken)
    assert b"ARC-Seal: i=2; a=rsa-sha256; cv=fail;" in message
    found = verified(session, message)
    assert (found.result, found.ended) == ("fail", True)
    assert dkim.arc_verify(message, dnsfunc=records)[0] is None     # dkimpy's word for a chain that has ended
    sealed(session, mailbox, message, sets=0)


def test_a_chain_that_cannot_be_verified_now_is_left_as_it_is(session, mailbox):
    message = sealed(session, mailbox, by_dkimpy(MESSAGE, selector=b"servfail"), sets=0)
    assert message.count(b"ARC-Seal") == 1


def test_a_chain_has_fifty_sets(session, mailbox):
    message = MESSAGE
    for number in range(50):
        message = by_dkimpy(message, b"pass" if number else b"none")
    found = verified(session, message)
    assert (found.result, found.sets) == ("pass", 50)
    assert verified(session, by_set(message, 51)).reason == "more than 50 instances"
    sealed(session, mailbox, message, sets=0)


def by_set(message, instance):
    return b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=example.org; s=rsa; b=AAAA\r\n" % instance + message


PERL = r"""
use Mail::DKIM::ARC::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
my ($address, $port) = split /:/, $ARGV[0];
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$address], port => $port, recurse => 1));
my $arc = Mail::DKIM::ARC::Verifier->new(); binmode STDIN; local $/; my $message = <STDIN>;
$arc->PRINT($message); $arc->CLOSE; print $arc->result, "\n";
"""

SIGN_PERL = r"""
use Mail::DKIM::ARC::Signer; use Mail::DKIM::DNS; use Net::DNS::Resolver;
my ($address, $port) = split /:/, $ARGV[1];
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$address], port => $port, recurse => 1));
my $arc = Mail::DKIM::ARC::Signer->new(Algorithm => 'rsa-sha256', Chain => $ARGV[2], Domain => 'example.org',
    SrvId => 'perl.example', Selector => 'rsa', KeyFile => $ARGV[0], Headers => 'From:To:Subject:Date');
binmode STDIN; binmode STDOUT; local $/; my $message = <STDIN>; $arc->PRINT($message); $arc->CLOSE;
die $arc->result . ' ' . $arc->{details} unless $arc->result eq 'sealed';
print join("\r\n", $arc->as_strings), "\r\n", $message;
"""


def perl_has_arc():
    return shutil.which("perl") and subprocess.run(["perl", "-MMail::DKIM::ARC::Verifier", "-e1"],
                                                   capture_output=True).returncode == 0


needs_perl = pytest.mark.skipif(not perl_has_arc(), reason="Perl's Mail::DKIM is missing (libmail-dkim-perl)")


def by_perl(message, dns, key_file, chain):
    message = b"Authentication-Results: perl.example; arc=%s; spf=pass smtp.mailfrom=a@example.org\r\n" % chain.encode() + message
    done = subprocess.run(["perl", "-e", SIGN_PERL, str(key_file), dns.address, chain], input=message, capture_output=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_perl
@pytest.mark.parametrize("length", [1, 2, 3])
def test_mail_dkim_verifies_our_chains(session, mailbox, dns, length):
    message = chain_of(session, mailbox, length)
    done = subprocess.run(["perl", "-e", PERL, dns.address], input=message, capture_output=True, timeout=30)
    assert done.stdout.strip() == b"pass", done


@needs_perl
def test_chains_of_mail_dkim_are_verified_and_gone_on_with(session, mailbox, dns, tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(long_key())
    message = by_perl(MESSAGE, dns, file, "none")
    assert (verified(session, message).result, verified(session, message).reason) == ("pass", None)
    message = sealed(session, mailbox, message)
    message = by_perl(message, dns, file, "pass")
    found = verified(session, message)
    assert (found.result, found.reason, found.sets) == ("pass", None, 3)
    assert dkim.arc_verify(message, dnsfunc=records)[0] == b"pass"


# -- dkimpy's own


@pytest.mark.skipif(DATA is None, reason="dkimpy's test data is not in build/suites; `make test` fetches it")
@pytest.mark.parametrize("which", ["signed", "h in the seal"])
def test_chains_of_dkimpys_suite(session, which):
    """The two cases of its test_arc.py, signed by the same call with the same key (one has h= in a seal)."""
    message = (DATA / "test.message").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    lines = dkim.arc_sign(message, b"test", b"example.com", (DATA / "test.private").read_bytes(), b"lists.example.org",
                          timestamp="12345")
    assert len(lines) == 3
    if which != "signed":
        lines[0] = lines[0].replace(b"t=12345;", b"t=12345; h=message-id : date : from;")
    found = verified(session, b"".join(lines) + message)
    assert found.result == ("pass" if which == "signed" else "fail"), found.reason
