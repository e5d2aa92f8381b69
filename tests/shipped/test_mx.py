"""mx: who may come, what is counted, what follows from the points, and where mail goes. Without scanners."""
import base64
import re

import pytest
from shipped.conftest import FORGER, GOOD, HAM, LISTED

from mailfilter import cli

TEST_SECONDS = 120

ORG = (b"<me@example.org>",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Maps, a Maildir for each user, and a quarantine."""
    folder = tmp_path_factory.mktemp("mx")
    for name, text in {
            "clients.cidr": "198.51.100.1 allow\n198.51.100.2 reject Go away, please\n198.51.100.3 defer\n198.51.100.4 2.5\n"
                            "198.51.100.5 perhaps\n",
            "names.domains": "mail.sender.example -1\n",
            "helos.regexp": "/^dial-/ mark\n",
            "senders.hash": "spammer@sender.example quarantine\n<> 1\n",
            "people.hash": "me@example.org\nyou@example.org OK\n@other.example\nold@example.org reject Has left\n"
                           "new@example.org defer Not yet there\n",
            "files.regexp": "/^invoice.*\\.html$/i 3\n/\\.wsf$/i\n"}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def common(folder):
    return {"domains": "example.org,other.example", "mapDirectory": folder, "store": folder / "store.db",
            "dnsbl": "list.example=1.5", "dnsblAction": "2", "recipientMap": folder / "people.hash"}


@pytest.fixture(scope="module")
def mx(front, common, folder):
    """A stand-alone server with most of what needs no scanner, where nothing is refused by points alone."""
    (folder / "mail/example.org").mkdir(parents=True)
    made = front("mx", **common, maildir=f"{folder}/mail/{{domain}}/{{user}}", clientMap=folder / "clients.cidr",
                 nameMap=folder / "names.domains", heloMap=folder / "helos.regexp", senderMap=folder / "senders.hash",
                 heloForged="reject", heloAddress="2", heloUnqualified="1", heloUnknown="1.5", heloMismatch="0.5",
                 senderUnknown="reject", senderOurs="defer", bounceToMany="reject", spfFail="3", spfPass="-0.5", dkimNone="0.1",
                 attachmentNames="exe scr", attachmentTypes="application/x-bad", attachmentMagic="application/x-dosexec",
                 attachmentMap=folder / "files.regexp", quarantineAt="7", quarantine="Held", rejectAt="9", markSubject="[?]")
    made.mail = folder / "mail"
    return made


def delivered(mx, content=HAM, **how):
    """(last reply, {user: (folder, message)} of what was delivered)."""
    before = set(mx.mail.rglob("new/*"))
    replies = mx.send(content, **{"recipients": ORG, **how})[0]
    found = {}
    for path in set(mx.mail.rglob("new/*")) - before:
        parts = path.relative_to(mx.mail).parts[1:-2]
        found[parts[0]] = (parts[1] if len(parts) > 1 else "", path.read_bytes())
    return replies[-1], found


def score(message):
    """What the header says: (points, {test: what})."""
    [value] = re.findall(rb"^X-Score: (.*)$", message, re.MULTILINE)
    points, _, tests = value.decode().partition(" (")
    return float(points), dict(one.split("=") for one in tests.rstrip(")").split(", "))


def test_good_mail_is_delivered_with_what_speaks_for_it(mx):
    reply, found = delivered(mx, recipients=(b"<me@example.org>", b"<You+lists@EXAMPLE.org>"))
    assert reply.code == 250 and set(found) == {"me", "you"}
    for where, message in found.values():
        assert where == "" and b"X-Spam-Flag" not in message
        assert message.startswith(b"Return-Path: <a@sender.example>\nReceived: ")
        assert score(message) == (-1.4, {"client-map": "-1", "spf": "-0.5", "dkim": "0.1"})
    assert "taken with -1.4 (client-map=-1, spf=-0.5, dkim=0.1)" in mx.server.wait_for_log("taken with -1.4")


@pytest.mark.parametrize("recipient, code, text", [
    (b"me@elsewhere.example", 550, "5.7.1 This server accepts no mail for that address"),
    (b"nobody@example.org", 550, "5.1.1 No such"),
    (b"old@example.org", 550, "5.7.1 Has left"), (b"new@example.org", 450, "4.7.1 Not yet there"),
    (b"anybody@other.example", 550, "5.1.1"), (b"me@example.org", 250, "2.1.5"), (b"Postmaster", 250, "2.1.5"),
    (b"postmaster@example.org", 250, "2.1.5"), (b'"../me"@example.org', 550, "5.1.1"), (b'"me"@example.org', 250, "2.1.5")])
def test_who_can_be_written_to(mx, recipient, code, text):
    with mx.client() as client:
        client.command(b"MAIL FROM:<a@sender.example>")
        reply = client.command(b"RCPT TO:<" + recipient + b">")
    assert reply.code == code and reply.text.startswith(text)


@pytest.mark.parametrize("how, code, text", [
    ({"address": "198.51.100.2"}, 550, "5.7.1 Go away, please"),
    ({"address": "198.51.100.3"}, 450, "4.7.1 No mail from 198.51.100.3"),
    ({"helo": b"mx.test"}, 550, "5.7.1 HELO with a name that is ours"),
    ({"helo": b"Example.ORG."}, 550, "5.7.1 HELO with a name that is ours"),
    ({"sender": b"<a@nowhere.example>"}, 550, "5.1.8 The domain of the sender does not exist"),
    ({"sender": b"<a@nomail.example>"}, 550, "5.7.27 The domain of the sender takes no mail"),
    ({"sender": b"<a@example.org>"}, 450, "4.7.1 Mail with our addresses comes from us"),
    ({"sender": b"<>", "recipients": (b"<me@example.org>", b"<you@example.org>")}, 250, "2.0.0")])
def test_what_is_refused_before_the_message(mx, how, code, text):
    replies = mx.send(**{"recipients": ORG, **how})[0]
    if code == 250:         # the second recipient of a bounce
        assert [reply.code for reply in replies] == [250, 250, 550, 354, 550]
        assert replies[2].text == "5.5.3 A bounce has one recipient"
    else:
        assert len(replies) == 2 and replies[1].code == code and replies[1].text.startswith(text)


def test_points_add_up_and_lead_to_a_mark_or_a_folder(mx):
    reply, found = delivered(mx, address=LISTED, helo=b"unknown.example")
    where, message = found["me"]
    assert score(message) == (4.1, {"helo-unknown": "1.5", "dnsbl": "3", "spf": "-0.5", "dkim": "0.1"}) and where == ""
    reply, found = delivered(mx, address=LISTED, helo=b"[192.0.2.99]", sender=b"<>")
    where, message = found["me"]
    assert where == ".Junk" and score(message)[0] == 6.1 and b"\nX-Spam-Flag: YES\n" in message
    assert b"\nSubject: [?] hello\n" in message and b"X-Quarantine" not in message
    reply, found = delivered(mx, address=FORGER, helo=b"short", content=b"X-Score: -9\r\nX-Spam-Flag: NO\r\n" + HAM)
    assert score(found["me"][1])[1] == {"helo-unqualified": "1", "spf": "3", "dkim": "0.1"} and b"-9" not in found["me"][1]
    assert b"Flag: NO" not in found["me"][1]


def test_points_lead_to_quarantine_and_refusal(mx):
    invoice = attached(b"x", b"invoice 7.HTML")
    reply, found = delivered(mx, invoice, address=FORGER, helo=b"[192.0.2.99]")
    assert reply.code == 250 and found["me"][0] == ".Held" and b"\nX-Quarantine: score\n" in found["me"][1]
    assert score(found["me"][1]) == (8.1, {"helo-address": "2", "spf": "3", "dkim": "0.1", "attachment": "3"})
    reply, found = delivered(mx, invoice, address=LISTED, helo=b"[192.0.2.99]", sender=b"<>")
    assert reply.code == 550 and reply.text == "5.7.1 This looks like spam" and not found


def test_marks_and_quarantine_by_maps(mx):
    reply, found = delivered(mx, helo=b"dial-1.sender.example")
    assert found["me"][0] == ".Junk" and score(found["me"][1])[1]["helo-map"] == "mark"
    reply, found = delivered(mx, sender=b"<Spammer@sender.example>")
    assert found["me"][0] == ".Held" and b"\nX-Quarantine: sender-map\n" in found["me"][1]


def test_a_client_that_is_allowed_is_not_looked_at(mx):
    reply, found = delivered(mx, b"X-Score: 1\r\n" + attached(b"MZ", b"a.exe"), address="198.51.100.1", helo=b"mx.test")
    assert reply.code == 250 and b"X-Score: 1\n" in found["me"][1] and b"Authentication-Results" not in found["me"][1]


def test_nonsense_in_a_map_is_told_of_and_means_nothing(mx):
    reply, found = delivered(mx, address="198.51.100.5")
    assert reply.code == 250 and "client-map" not in score(found["me"][1])[1]
    assert "a map says 'perhaps', which is no consequence" in mx.server.wait_for_log("a map says")


def attached(octets, name, kind=b"application/octet-stream"):
    return (b"From: a@sender.example\r\nSubject: hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: " + kind + b'; name="' + name + b'"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--b--\r\n")


@pytest.mark.parametrize("file, text", [
    ((b"x", b"Program.EXE"), "a file with the name Program.EXE"), ((b"x", b"a.txt.scr. "), "a file with the name a.txt.scr"),
    ((b"x", b"a", b"application/X-BAD"), "a file of the type application/x-bad"),
    ((b"MZ" + b"\0" * 200, b"holiday.jpg"), "a file that is application/x-dosexec"),
    ((b"x", "é.wsf".encode()), "a file with the name ?.wsf")])
def test_files_that_are_not_wanted(mx, file, text):
    reply, found = delivered(mx, attached(*file))
    assert reply.code == 550 and reply.text.startswith("5.7.1 The message has " + text) and not found


def test_files_that_are_not_meant_pass(mx):
    assert delivered(mx, attached(b"x", b"notes.txt"))[0].code == 250


def test_rates_and_greylisting(front, common, folder):
    """By address, by sender, by network and of recipients, over one store; and greylisting of those alone who have points."""
    folder = folder / "limited"
    limited = front("mx", **{**common, "store": f"{folder}.db"}, maildir=folder, rateAddress="4/999d", rateSender="6/999d",
                    rateNetwork="8/999d", rateRecipients="5/999d", greylist="true", greylistDelay="0", greylistFrom="1",
                    greylistSpf="false")

    def mail(address, sender=b"<a@sender.example>"):
        return limited.send(address=address, sender=sender, recipients=ORG)[0][-1]

    assert [mail(GOOD).code for _ in range(5)] == [250, 250, 250, 250, 450]
    assert re.fullmatch(r"4\.7\.1 Too many messages, come again in \d+ seconds", mail(GOOD).text)
    assert [mail("203.0.113.1").code for _ in range(3)] == [250, 250, 450]          # the sender's six
    assert [mail(f"198.51.100.{last}", b"<b%d@sender.example>" % last).code for last in range(1, 11)] == [250] * 8 + [450] * 2
    replies = limited.send(address="203.0.113.77", sender=b"<c@sender.example>", recipients=ORG * 7)[0]
    assert [reply.code for reply in replies] == [250] * 6 + [450] * 2 + [354, 250]
    assert [mail(LISTED, b"<d@sender.example>").code for _ in range(2)] == [451, 250]       # nobody else has the points


def test_greylisting_asks_strangers_to_come_again(front, common, folder):
    grey = front("mx", **{**common, "store": f"{folder}/grey.db"}, maildir=folder / "grey", greylist="true", greylistDelay="0")
    first, again, known = (grey.send(address=address, recipients=ORG)[0][-1] for address in (FORGER, FORGER, GOOD))
    assert (first.code, first.text) == (451, "4.7.1 Greylisted, come again in 0 seconds")
    assert again.code == 250 and known.code == 250          # of the last, SPF says that it may


def test_observing_refuses_nothing(front, common, folder):
    quiet = front("mx", **common, maildir=folder / "quiet", observe="true", heloForged="reject", spfFail="quarantine",
                  rejectAt="1", dkimNone="2")
    quiet.mail = folder / "quiet"
    replies = quiet.send(address=FORGER, helo=b"mx.test", recipients=ORG)[0]
    assert replies[-1].code == 250
    [message] = [path.read_bytes() for path in quiet.mail.rglob(".Junk/new/*")]
    assert score(message) == (2, {"helo-forged": "reject", "spf": "quarantine", "dkim": "2", "score": "reject"})
    quiet.server.wait_for_log("observed: helo-forged would have been told 550 5.7.1 HELO with a name that is ours")


def test_quarantine_is_held(front, common, folder):
    held = front("mx", **common, quarantineDirectory=folder / "held", spfFail="quarantine", dkimNone="2")
    replies, taken = held.send(address=FORGER, recipients=ORG)
    assert taken is None and replies[-1].code == 250 and replies[-1].text.startswith("2.0.0 Held as ")
    [path] = (folder / "held").glob("*.mail")
    text = path.read_bytes()
    assert text.endswith((HAM, HAM.replace(b"\r\n", b"\n")))
    assert b"X-Quarantine: spf" in text and b'"spf"' in text
    assert held.send(recipients=ORG)[1] is not None
    assert b"DATA" not in held.hop.conversations[-2].received


@pytest.mark.parametrize("settings, text", [
    ({"maildir": "/x/{user}"}, "'recipientMap' must say who they are"),
    ({"heloForged": "refuse"}, "setting 'heloForged' is 'refuse'"),
    ({"rateAddress": "100"}, "setting 'rateAddress' is '100'"), ({"milters": "a b:c"}, "setting 'milters' is 'b:c'"),
    ({"clamav": "host:99999"}, "setting 'clamav'"), ({"clamavAway": "throw"}, "setting 'clamavAway' is 'throw'"),
    ({"markAt": "-1"}, "setting 'markAt' is -1"), ({"scoreHeader": "X Score"}, "no name of a header"),
    ({"trustedClients": "192.0.2.0/33"}, "'192.0.2.0/33' is no address"), ({"domains": " "}, "setting 'domains' is empty"),
    ({"maildir": ""}, "where should mail go?"), ({"nextHopCa": "/x"}, "need 'nextHopTls' to be verified")])
def test_settings_that_make_no_sense_are_told_of(settings, text, capfd):
    given = {"domains": "example.org", "maildir": "/x", **settings}
    assert cli.main(["check", "mx", *(word for name, value in given.items() for word in ("--set", f"{name}={value}"))]) == 1
    assert text in capfd.readouterr().err
