"""mark and filter with the real clamd and spamd behind them: what is marked, what is refused, and what passes untouched."""
import base64
import io
import zipfile

import pytest
from scanning import EICAR, GTUBE, Clamd, Spamd
from shipped.conftest import FORGER, GOOD, HAM, LISTED, without_received

TEST_SECONDS = 120

HEAD = b"From: a@sender.example\r\nSubject: hello\r\n"
SPAM = HEAD + b"\r\n" + GTUBE + b"\r\n"


def attached(octets, name=b"x.bin"):
    return (HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
            b"Content-Type: application/octet-stream; name=" + name + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--b--\r\n")


def zipped(octets):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file", octets)
    return packed.getvalue()


NESTED = (HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"
          b"Content-Type: message/rfc822\r\n\r\n" + attached(zipped(EICAR)) + b"--c--\r\n")
INFECTED = {"attached": attached(EICAR), "zip": attached(zipped(EICAR)), "nested": NESTED}


@pytest.fixture(scope="module")
def scanners():
    clamd, spamd = Clamd(), Spamd()
    yield {"clamav": f"127.0.0.1:{clamd.port}", "spamassassin": f"127.0.0.1:{spamd.port}", "dnsbl": "list.example"}
    spamd.finish()
    clamd.finish()


@pytest.fixture(scope="module")
def mark(front, scanners):
    return front("mark", **scanners)


@pytest.fixture(scope="module")
def refusing(front, scanners):
    return front("filter", **scanners)


def subject(transaction):
    [line] = [line for line in transaction.content.split(b"\r\n") if line.startswith(b"Subject:")]
    return line


def test_mark_lets_ham_through_as_it_came(mark):
    replies, taken = mark.send()
    assert replies[-1].text == "2.0.0 taken as H1"
    assert without_received(taken.content) == HAM and (taken.sender, taken.recipients) == (
        b"<a@sender.example>", [b"<me@example.org>"])
    log = mark.server.wait_for_log("SpamAssassin: {")
    assert 'ClamAV: {"progver":"ClamAV' in log and "SPF: pass for sender.example" in log


@pytest.mark.parametrize("kind", INFECTED)
def test_mark_marks_viruses(mark, kind):
    replies, taken = mark.send(INFECTED[kind])
    assert replies[-1].code == 250 and b"Subject: [VIRUS] hello" in taken.content.split(b"\r\n\r\n")[0]


def test_mark_marks_spam(mark):
    replies, taken = mark.send(SPAM)
    assert replies[-1].code == 250 and subject(taken) == b"Subject: [SPAM] hello"
    assert without_received(taken.content).replace(b"[SPAM] ", b"") == SPAM


@pytest.mark.parametrize("how", [{"sender": b"<>"}, {"address": FORGER}, {"address": LISTED}], ids=["null", "forged", "listed"])
def test_mark_marks_by_sender_and_client(mark, how):
    assert subject(mark.send(**how)[1]) == b"Subject: [SPAM] hello"


def test_mark_adds_a_subject_where_there_is_none_and_marks_each_of_several(mark):
    taken = mark.send(b"A: b\r\n\r\nx\r\n", sender=b"<>")[1]
    assert without_received(taken.content) == b"A: b\r\nSubject: [SPAM]\r\n\r\nx\r\n"
    taken = mark.send(b"Subject: a\r\nsubject: b\r\n\r\nx\r\n", sender=b"<>")[1]
    assert without_received(taken.content) == b"Subject: [SPAM] a\r\nsubject: [SPAM] b\r\n\r\nx\r\n"


def test_mark_does_not_hold_against_a_sender_that_the_dns_is_silent(mark):
    assert subject(mark.send(sender=b"<a@mute.example>")[1]) == b"Subject: hello"


def test_filter_lets_ham_through_as_it_came(refusing):
    replies, taken = refusing.send()
    assert replies[-1].text == "2.0.0 taken as H1" and without_received(taken.content) == HAM


@pytest.mark.parametrize("kind", INFECTED)
def test_filter_refuses_viruses(refusing, kind):
    replies, taken = refusing.send(INFECTED[kind])
    assert taken is None and (replies[-1].code, replies[-1].text) == (
        550, "5.7.1 Requested action not taken: virus Eicar-Test-Signature.UNOFFICIAL")


@pytest.mark.parametrize("how, code, reason", [
    ({"content": SPAM}, 550, "5.7.1 Requested action not taken: spam, score 1000"),
    ({"sender": b"<>"}, 550, "5.7.1 Requested action not taken: null sender"),
    ({"address": FORGER}, 550, "5.7.1 Requested action not taken: forged sender"),
    ({"address": LISTED}, 550, "5.7.1 Requested action not taken: listed by list.example"),
    ({"sender": b"<a@mute.example>"}, 450, "4.4.3 Requested action not taken: the sender cannot be verified now")],
    ids=["gtube", "null", "forged", "listed", "dns"])
def test_filter_refuses(refusing, how, code, reason):
    replies, taken = refusing.send(**how)
    assert taken is None and replies[-1].code == code and replies[-1].text.startswith(reason)
    assert b"RSET" in b" ".join(line for line in refusing.hop.conversations[-1].commands)


def test_filter_shows_what_it_would_refuse_to_whoever_wants_to_see_it(refusing):
    replies, taken = refusing.send(SPAM, recipients=(b"<me@example.org>", b"<Test@localhost>"))
    assert replies[-1].code == 250 and subject(taken) == b"Subject: [SPAM] hello"


def test_after_a_refusal_the_session_goes_on(refusing):
    with refusing.client() as client:
        for _ in range(2):
            assert client.transaction(SPAM, sender=b"<a@sender.example>")[-1].code == 550
            client.deliver(HAM, sender=b"<a@sender.example>")
    assert not refusing.hop.violations


def test_without_its_scanners_mail_is_put_off_or_taken(front, scanners):
    gone = {**scanners, "clamav": "127.0.0.1:9"}
    replies, taken = front("filter", **gone).send()
    assert taken is None and replies[-1].code == 451 and replies[-1].text.startswith("4.3.0 Cannot process this now")
    lax = front("filter", **gone, scannerAway="accept", trustedClients="198.51.100.0/24 2001:db8::/32", nullSender="ham")
    assert lax.send()[1] is not None
    assert lax.send(SPAM)[0][-1].code == 550 and lax.send(SPAM, address="198.51.100.3")[1] is not None
    assert lax.send(sender=b"<>")[1] is not None


def test_no_look_ups_at_all(front):
    plain = front("mark", clamav="", spamassassin="", spf="false", nullSender="ham")
    assert without_received(plain.send(SPAM, sender=b"<>", address=GOOD)[1].content) == SPAM
