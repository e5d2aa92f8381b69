"""Milters: the real opendkim, signing and verifying; and one written here that does everything a milter may."""
import smtplib
import struct

import pytest
from scanning import Bad, OpenDkim, dkim_keys

MESSAGE = (b"Received: from x\nSubject:  hello\n  there\nFrom: a@example.net\nX-Old: 1\nx-old: 2\nX-Old: 3\n"
           b"Date: Sun, 22 Nov 2026 21:00:00 +0000\n\nGood day\n.dot\n")


@pytest.fixture(scope="module")
def keys():
    return dkim_keys()


@pytest.fixture(scope="module")
def signer(keys, asker_module):
    server = OpenDkim("s", *keys)
    try:
        yield asker_module("milter", server.port)
    finally:
        server.finish()


@pytest.fixture(scope="module")
def verifier(keys, asker_module):
    server = OpenDkim("v", *keys)
    try:
        yield asker_module("milter", server.port)
    finally:
        server.finish()


def message_of(headers, body=b"Good day\n.dot\n"):
    return "\n".join(headers).replace("\r\n", "\n").encode() + b"\n\n" + body


def results(headers):
    return [line for line in headers if line.startswith("Authentication-Results: mx.test")]


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
def test_opendkim_signs_and_verifies(signer, verifier, size):
    body = b"Good day\n.dot\n" * size
    headers = signer(MESSAGE.replace(b"Good day\n.dot\n", body), how="apply")
    assert headers[0].startswith("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.net; s=s1;")
    assert headers[1] == "Received: from x"
    verified = verifier(message_of(headers, body), how="apply")
    assert "dkim=pass" in results(verified)[0]
    changed = verifier(message_of(headers, body.replace(b"day", b"night")), how="apply")
    assert "dkim=fail" in results(changed)[0]


def test_opendkim_removes_forged_results(verifier):
    forged = b"Authentication-Results: mx.test; dkim=pass header.d=victim.example\n"
    headers = verifier(forged + b"X-A: b\n" + forged + MESSAGE, how="apply")
    assert not [line for line in headers if "victim" in line] and "X-A: b" in headers



def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command + data


CONTINUE = (packet(b"c"),)


class Milter:
    """A milter as a test wants it: `answers` by command (or by command and count), what comes at the end, what it has seen."""

    def __init__(self, answers=None, end=CONTINUE, negotiated=(6, 0x1ff, 0), lists=b""):
        self.answers = answers or {}
        self.end = end
        self.negotiated = negotiated
        self.lists = lists
        self.seen = []

    def __call__(self, service, connection):
        with connection.makefile("rb") as file:
            while head := file.read(4):
                data = file.read(struct.unpack("!I", head)[0])
                command, data = data[:1], data[1:]
                self.seen.append((command, data))
                if command == b"O":
                    connection.sendall(packet(b"O", struct.pack("!III", *self.negotiated) + self.lists))
                elif command == b"E":
                    for one in self.end:
                        connection.sendall(one)
                elif command == b"Q":
                    return
                elif command != b"D":
                    answer = self.answers.get(command, packet(b"c"))
                    if callable(answer):
                        answer = answer(data)
                    connection.sendall(answer)

    def of(self, command):
        return [data for seen, data in self.seen if seen == command]


@pytest.fixture
def run(asker):
    """run(milter, **how): what the policy tells of one message that goes through it."""
    def go(milter, message=MESSAGE, **how):
        with Bad(milter) as service:
            return asker("milter", service.port)(message, **how)
    return go


def test_what_a_milter_is_told(run):
    milter = Milter()
    assert run(milter)["action"] == "accept"
    assert milter.of(b"C")[0].startswith(b"[127.0.0.1]\x004") and milter.of(b"C")[0].endswith(b"127.0.0.1\0")
    assert milter.of(b"H") == [b"client.example\0"]
    assert milter.of(b"M")[0].startswith(b"<a@example.net>\0") and milter.of(b"R") == [b"<scan@tempfail.example>\0"]
    assert milter.of(b"L")[:3] == [b"Received\0from x\0", b"Subject\0hello\n  there\0", b"From\0a@example.net\0"]
    assert milter.of(b"B") == [b"Good day\r\n.dot\r\n"]
    assert [command for command, _ in milter.seen if command not in b"DL"] == [
        b"O", b"C", b"H", b"M", b"R", b"T", b"N", b"B", b"E", b"Q"]
    macros = {}
    for data in milter.of(b"D"):
        texts = data[1:].split(b"\0")
        macros[data[:1]] = dict(zip(texts[0::2], texts[1::2], strict=False))
    assert macros[b"C"][b"{daemon_name}"] == b"here" and macros[b"C"][b"j"]
    assert macros[b"M"][b"i"] == macros[b"E"][b"i"] and macros[b"M"][b"{mail_addr}"] == b"a@example.net"
    assert macros[b"R"][b"{rcpt_host}"] == b"tempfail.example"


def test_steps_answers_and_macros_as_negotiated(run):
    """No HELO, nothing answered to headers and body, leading blanks kept, macros of its own choice."""
    lists = struct.pack("!I", 3) + b"{rcpt_addr}, i\0" + struct.pack("!I", 0) + b"\0"
    milter = Milter({b"L": b"", b"B": b"", b"R": b""}, lists=lists,
                    negotiated=(6, 0x1ff, 0x2 | 0x80 | 0x80000 | 0x8000 | 0x100000))
    assert run(milter)["action"] == "accept"
    assert not milter.of(b"H") and milter.of(b"L")[1] == b"Subject\0  hello\n  there\0"
    told = {data[:1]: data[1:] for data in milter.of(b"D")}
    assert b"C" not in told and told[b"R"].startswith(b"{rcpt_addr}\0scan@tempfail.example\0i\0")


def test_an_old_milter(run):
    milter = Milter(negotiated=(2, 0x3f, 0x40))
    assert run(milter)["action"] == "accept"
    assert not milter.of(b"T") and not milter.of(b"N")


def test_the_rest_of_a_body_may_be_left_out(run):
    milter = Milter({b"B": packet(b"s")}, negotiated=(6, 0x1ff, 0x400))
    assert run(milter, MESSAGE + b"more\n" * 100_000)["action"] == "accept"
    assert len(milter.of(b"B")) == 1 and len(milter.of(b"B")[0]) <= 65535


def changes(*packets):
    return Milter(end=(packet(b"p"), *packets, packet(b"p"), packet(b"c")))


def place(number):
    return struct.pack("!I", number)


def test_every_change_of_headers(run):
    milter = changes(
        packet(b"h", b"X-Last\0added\n\tfolded\0"), packet(b"i", place(0) + b"X-Top\0zero\0"),
        packet(b"i", place(2) + b"X-Second\0two\0"),
        packet(b"m", place(1) + b"X-Old\0\0"), packet(b"m", place(2) + b"X-OLD\0changed\0"),
        packet(b"m", place(9) + b"X-New\0new\0"),
        packet(b"m", place(1) + b"Subject\0bye\0"))
    assert run(milter, how="apply") == [
        "X-Top: zero", "X-Second: two", "Received: from x", "Subject: bye", "From: a@example.net", "X-OLD: changed", "X-Old: 3",
        "Date: Sun, 22 Nov 2026 21:00:00 +0000", "X-Last: added\r\n\tfolded", "X-New: new"]


def test_every_other_change(run):
    milter = changes(packet(b"+", b"<new@x>\0"), packet(b"2", b"<par@x>\0NOTIFY=NEVER\0"), packet(b"-", b"<old@x>\0"),
                     packet(b"e", b"<from@x>\0"), packet(b"q", b"looks odd\0"))
    outcome = run(milter)
    assert (outcome["addRecipients"], outcome["removeRecipients"], outcome["sender"], outcome["quarantine"]) == (
        ["<new@x>", "<par@x>"], ["<old@x>"], "<from@x>", "looks odd")


def test_another_body(run):
    assert run(Milter(), how="body") == [True, "Good day\r\n.dot\r\n"]
    assert run(changes(packet(b"b", b"new\r"), packet(b"b", b"\n.body\n")), how="body") == [False, "new\r\n.body\r\n"]


@pytest.mark.parametrize("answer, reply", [
    (packet(b"r"), "550 5.7.1"), (packet(b"t"), "451 4.7.1"), (packet(b"y", b"554 5.7.9 No 100%% \0"), "554 5.7.9 No 100%"),
    (packet(b"y", b"450-4.7.1 one\r\n450 4.7.1 two\0"), "450 4.7.1 one\n4.7.1 two"),
    (packet(b"4"), "421"), (packet(b"f"), "451")])
@pytest.mark.parametrize("step", [b"C", b"M", b"R", b"L", b"B", b"E"])
def test_what_refuses(asker, step, answer, reply):
    milter = Milter(end=(answer,)) if step == b"E" else Milter({step: answer})
    with Bad(milter) as service:
        ask = asker("milter", service.port)
        with smtplib.SMTP("127.0.0.1", ask.server.port, timeout=20) as client:
            client.ehlo("client.example")
            client.mail("a@example.net")
            client.rcpt("reply@tempfail.example")
            code, text = client.data(MESSAGE.replace(b"\n", b"\r\n"))
    assert f"{code} {text.decode()}".startswith(reply)


def test_accepted_and_discarded_early(run):
    for step in (b"C", b"R", b"N"):
        milter = Milter({step: packet(b"a")})
        assert run(milter)["action"] == "accept" and not milter.of(b"E")
    assert run(Milter({b"M": packet(b"d")}))["action"] == "discard"


def test_a_recipient_is_refused(run):
    milter = Milter({b"R": lambda data: packet(b"y", b"550 5.1.1 not him\0") if b"him" in data else packet(b"c")})
    assert run(milter, how="refused", recipients=["him@there.example"]) == [
        ["<him@there.example>", 550, ["5.1.1 not him"]]]
    assert len(milter.of(b"R")) == 2


@pytest.mark.parametrize("milter", [
    Milter(negotiated=(1, 0, 0)), Milter(negotiated=(7, 0, 0)), Milter(negotiated=(6, 0x10000, 0)),
    Milter(negotiated=(6, 0, 0x800)),
    Milter({b"M": packet(b"z")}), Milter({b"M": packet(b"y", b"nonsense\0")}), Milter({b"M": struct.pack("!I", 0)}),
    Milter({b"M": struct.pack("!I", 1 << 30)}), Milter({b"L": packet(b"s")}), Milter(end=[packet(b"h", b"X")]),
    Milter(end=[packet(b"m", b"X")]), Milter(end=[packet(b"+")]), Milter(end=[packet(b"h", b"X\0y\0")], negotiated=(6, 0, 0)),
    Milter(end=[packet(b"+", b"<a>\0")] * 2000), Milter(end=[packet(b"b", b"x" * 1000000)] * 60)],
    ids=range(15))
def test_what_breaks_the_protocol(run, milter):
    assert run(milter, away="throw").startswith("ServiceProtocolError")
