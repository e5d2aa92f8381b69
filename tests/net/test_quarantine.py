"""Quarantine.hold in a server: what is kept, and that nothing is acknowledged that is not held."""
import json
import os
import smtplib
from pathlib import Path

import pytest

from mailfilter import log as logs
from mailfilter import policy as policies
from mailfilter.errors import PolicyError
from mailfilter.services.quarantine import Quarantine

POLICY = """
var quarantine = new Quarantine();
SmtpServer.prototype.smtpMail = SmtpServer.prototype.smtpRcpt = function () { return new SmtpResponse(250, 'ok'); };
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return null; }
    var how = this.recipients[0].mailbox.local, options;
    options = {reason: 'spam\\nand more', score: 7.25, symbols: {A: {score: 1.5}, B: 2, C: null}};
    if (how === 'own') { headers.unshift(this.receivedHeader('own')); options = {recipients: [this.recipients[1]]}; }
    if (how === 'list') { options = {symbols: ['X', {name: 'Y', score: 3}], reason: null, score: null}; }
    if (how === 'nan') { options = {score: 'much'}; }
    if (how === 'few') { options = {recipients: []}; }
    return new SmtpResponse(250, '2.0.0 ' + quarantine.hold(this, headers, body, options));
};
"""
MESSAGE = b"Subject: =?utf-8?q?caf=C3=A9?=\r\nReceived: from nowhere\r\n\r\n.dot\r\nbare \xff octet\r\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("quarantine") / "held"


@pytest.fixture(scope="module")
def server(serve_module, directory):
    return serve_module(POLICY, settings={"quarantineDirectory": directory}, limits={"quarantine_messages": 4})


def send(server, *recipients, sender="a@example.net", options=()):
    with smtplib.SMTP("127.0.0.1", server.port, timeout=40) as client:
        client.ehlo("client.example")
        client.mail(sender, options)
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(MESSAGE)
        return f"{code} {text.decode()}"


def held(directory, name):
    head, _, message = (directory / f"{name}.mail").read_bytes().partition(b"\n")
    return json.loads(head), message


def test_what_is_kept(server, directory):
    reply = send(server, "x@example.org", "y@example.org", options=["BODY=8BITMIME"])
    assert reply.startswith("250 2.0.0 ")
    envelope, message = held(directory, reply.split()[-1])
    trace, _, rest = message.partition(b"\r\nSubject")
    assert trace.startswith(b"Received: from client.example") and b"Subject" + rest == MESSAGE
    session = envelope.pop("session")
    assert session.encode() in trace and envelope.pop("time").endswith("Z")
    assert envelope == {
        "id": reply.split()[-1], "size": len(message), "sender": {"path": "<a@example.net>", "parameters": {"BODY": "8BITMIME"}},
        "recipients": [{"path": "<x@example.org>", "parameters": {}}, {"path": "<y@example.org>", "parameters": {}}],
        "client": {"address": "127.0.0.1", "hello": "client.example", "authenticated": None}, "subject": "caf\xe9",
        "reason": "spam\nand more", "score": 7.25, "symbols": ["A(1.5)", "B(2)", "C"]}


def test_other_words(server, directory):
    envelope, message = held(directory, send(server, "own@example.org", "y@example.org", sender="").split()[-1])
    assert message.count(b"Received:") == 2 and b"id own" in message
    assert [row["path"] for row in envelope["recipients"]] == ["<y@example.org>"] and envelope["sender"]["path"] == "<>"
    assert envelope["reason"] == "" and envelope["score"] is None and envelope["symbols"] == []
    envelope, _ = held(directory, send(server, "list@example.org").split()[-1])
    assert envelope["symbols"] == ["X", "Y(3)"]
    for wrong in ("nan", "few"):
        assert send(server, f"{wrong}@example.org").startswith("451 4.3.0")
    # Without a word at the limits: full.
    assert send(server, "x@example.org").startswith("250")
    assert send(server, "x@example.org").startswith("451 4.3.0")
    assert "the limit quarantine_messages of 4 is reached" in server.wait_for_log("quarantine_messages")
    assert len(Quarantine(directory).entries()) == 4


def test_no_directory_no_reply_of_success(serve, tmp_path):
    server = serve(POLICY, settings={"quarantineDirectory": tmp_path / "none" / "held"}, limits={"quarantine_bytes": 1100})
    assert "the directory above it is not there" in server.log
    assert send(server, "x@example.org").startswith("451 4.3.0")
    (tmp_path / "none").mkdir()
    assert send(server, "x@example.org").startswith("250")
    assert send(server, "x@example.org").startswith("451 4.3.0")
    server.wait_for_log("quarantine_bytes of 1100")


def test_old_messages_are_removed_and_it_is_said(serve, tmp_path):
    name = Quarantine(tmp_path / "held").hold({}, [b""], 0)
    os.utime(tmp_path / "held" / f"{name}.mail", (0, 0))
    server = serve(POLICY, settings={"quarantineDirectory": tmp_path / "held"}, limits={"quarantine_days": 2})
    assert send(server, "x@example.org").startswith("250")
    assert "messages=1" in server.wait_for_log("old messages were removed from the quarantine")
    assert not (tmp_path / "held" / f"{name}.mail").exists()


@pytest.mark.parametrize("settings, problem", [
    ({}, "setting 'quarantineDirectory' is needed"), ({"quarantineDirectory": ""}, "a quarantine needs a directory"),
    ({"quarantineDirectory": __file__}, "is no directory")])
def test_a_policy_without_a_place_is_told_when_it_is_loaded(tmp_path, settings, problem):
    path = Path(tmp_path / "policy.js")
    path.write_text(POLICY)
    with pytest.raises(PolicyError, match=problem):
        policies.load(str(path), settings, log=logs.Log(logs.TextSink(2), logs.ERR))
