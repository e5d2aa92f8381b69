"""`mailfilter quarantine`: nothing released is lost, whatever the next hop and the operator do."""
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from certificates import Authority
from peers.scripted import CLOSE, DATA, TLS, WAIT, Scripted
from peers.waiting import wait_until

from mailfilter import cli
from mailfilter.services.quarantine import Quarantine

MESSAGE = b"Received: ours\r\nSubject: x\r\n\tfolded\r\n\r\n.dot\r\n\xff\r\n"
HELLO = [b"220 hop.test", "EHLO mx.test", b"250-hop.test\r\n250-SIZE\r\n250 8BITMIME"]
MAIL = [f"MAIL FROM:<a@example\\.net> BODY=8BITMIME SIZE={len(MESSAGE)}", b"250 2.1.0 ok"]
TAKEN = ["DATA", b"354 go", DATA, b"250 2.0.0 kept", "QUIT"]


def envelope(*recipients, **more):
    return {"session": "1A2B-3", "client": {"address": "192.0.2.1", "hello": "c.example", "authenticated": None},
            "sender": {"path": "<a@example.net>", "parameters": {"BODY": "8BITMIME", "SIZE": "1"}},
            "recipients": [{"path": path, "parameters": {"NOTIFY": "NEVER"}} for path in recipients], "subject": "x folded",
            "reason": "spam", "score": 7.5, "symbols": ["A(3)", "B"], **more}


@pytest.fixture
def store(tmp_path):
    return Quarantine(tmp_path / "held")


@pytest.fixture
def hold(store):
    def make(*recipients, **more):
        return store.hold(envelope(*recipients or ("<x@example.org>", "<y@example.org>"), **more), [MESSAGE], len(MESSAGE))
    return make


@pytest.fixture
def run(store, capsys):
    """run(action, …) gives (status, standard output, standard error)."""
    def call(action, *words):
        status = cli.main(["quarantine", action, *words, "--directory", str(store.path)])
        return (status, *capsys.readouterr())
    return call


def to(hop, *more):
    return "--next-hop", hop.address, "--hostname", "mx.test", *more


# Listing, showing.

def test_list(run, hold, store):
    os.makedirs(store.path)
    assert run("list") == (0, "", "")
    first = hold(reason="spam\n\x1b[2J", subject="caf\xe9 \u202e" + "long " * 40, sender={"path": "<>", "parameters": {}})
    second = hold(*(f"<r{number}@example.org>" for number in range(12)))
    status, out, _ = run("list")
    head, *rows = out.splitlines()
    assert status == 0 and head.split() == ["ID", "TIME", "FROM", "TO", "SIZE", "REASON", "SUBJECT"]
    assert rows[0].startswith(first) and "  <>  " in rows[0] and r"spam\x0a\x1b[2J" in rows[0] and rows[0].endswith("\u2026")
    assert "caf\xe9" in rows[0] and "\\u202e" in rows[0] and "x@example.org and 1 more" in rows[0]
    assert rows[1].startswith(second) and "a@example.net" in rows[1] and "r0@example.org and 11 more" in rows[1]
    assert len({row.index("20") for row in rows}) == 1
    found = json.loads(run("list", "--json")[1])
    assert [entry["id"] for entry in found] == [first, second] and found[1]["score"] == 7.5 and found[0]["problem"] is None


def test_show(run, hold, store):
    name = hold(reason="a\x1b]0;b")
    with store.taken(name) as held:
        held.note({"<x@example.org>": "250 kept"})
    status, out, _ = run("show", name[:9].upper())
    assert status == 0
    for line in ("client:    192.0.2.1", "hello:     c.example", "sender:    <a@example.net> BODY=8BITMIME SIZE=1",
                 "recipient: <y@example.org> NOTIFY=NEVER", "has it:    <x@example.org>: 250 kept", r"reason:    a\x1b]0;b",
                 "score:     7.5", "symbols:   A(3) B", "\nSubject: x\n\tfolded\n"):
        assert line in out, out
    assert ".dot" not in out and "\x1b" not in out


def test_raw(hold, store):
    name = hold()
    done = subprocess.run([sys.executable, "-m", "mailfilter", "quarantine", "show", "--raw", name],
                          env={**os.environ, "MAILFILTER_QUARANTINE_DIRECTORY": store.path}, capture_output=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, MESSAGE, b"")


@pytest.mark.parametrize("words, complaint", [
    (["list"], "where is the quarantine"), (["list", "--directory", "/no/such"], "no such directory"),
    (["release", "1", "--directory", "/tmp"], "where to?"),
    (["release", "1", "--directory", "/tmp", "--next-hop", "nonsense"], "expected HOST:PORT"),
    (["release", "1", "--directory", "/tmp", "--next-hop", "a:1", "--to", "<a b>"], "not an address"),
    (["release", "1", "--directory", "/tmp", "--next-hop", "a:1", "--ca", "/x"], "only in the TLS mode"),
    (["release", "1", "--directory", "/tmp", "--next-hop", "a:1", "--maildir", "/x"], "where to?"),
    (["purge", "--older-than", "soon", "--directory", "/tmp"], "expected an age")])
def test_wrong_words(words, complaint, capsys, monkeypatch):
    monkeypatch.delenv("MAILFILTER_QUARANTINE_DIRECTORY", raising=False)
    assert cli.main(["quarantine", *words]) in (1, 2)
    assert complaint in capsys.readouterr().err


def test_names_that_are_none(run, hold):
    name = hold()
    for action, words in (("show", ()), ("delete", ()), ("release", ("--next-hop", "127.0.0.1:1"))):
        status, _, error = run(action, "zzzzzzzzzz" if name[0] != "z" else "0000000000", *words)
        assert status == 1 and "is held" in error


# Releasing.

def test_release(run, hold, store):
    name = hold()
    with Scripted([*HELLO, *MAIL, "RCPT TO:<x@example.org>", b"250 2.1.5 ok", "RCPT TO:<y@example.org>", b"251 forward", *TAKEN]
                  ) as hop:
        status, out, error = run("release", name[:9], *to(hop))
        assert (status, error) == (0, "") and hop.heard[0][5] == MESSAGE.replace(b"\r\n.", b"\r\n..")
    assert out.splitlines() == [f"{name} <x@example.org> released: 250 2.0.0 kept",
                                f"{name} <y@example.org> released: 250 2.0.0 kept",
                                f"{name} was removed: all of its recipients have it"]
    assert sorted(os.listdir(store.path)) == ["tmp", "usage"]


def test_the_rest_is_kept(run, hold, store):
    name = hold()
    with Scripted([*HELLO, *MAIL, "RCPT TO:<x.*", b"250 ok", "RCPT TO:<y.*", b"450-4.2.1 not\r\n450 4.2.1 now\x1b", *TAKEN],
                  [*HELLO, *MAIL, "RCPT TO:<y.*", b"250 ok", *TAKEN]) as hop:
        status, out, _ = run("release", name, *to(hop))
        assert status == 1 and f"{name} <y@example.org> not released: 450 4.2.1 not 4.2.1 now" in out and "\x1b" not in out
        assert f"{name} is still held for 1 of 2 recipients" in out
        status, out, _ = run("release", name, *to(hop))
        assert status == 0 and f"{name} <x@example.org> has it already: 250 2.0.0 kept" in out
    assert store.entries() == []


def test_lmtp_says_it_for_each(run, hold, store):
    name = hold()
    script = [b"220 hop.test", "LHLO mx.test", b"250 hop.test", "MAIL FROM:<a@example\\.net>", b"250 ok",
              "RCPT TO:<x.*", b"250 ok", "RCPT TO:<y.*", b"250 ok", "DATA", b"354 go", DATA,
              b"452 4.2.2 full", b"250 2.0.0 kept", "QUIT"]
    with Scripted(script) as hop:
        status, out, _ = run("release", name, *to(hop, "--lmtp"))
    assert status == 1 and "<x@example.org> not released: 452 4.2.2 full" in out and "<y@example.org> released: 250" in out
    assert store.done(name) == {"<y@example.org>": "250 2.0.0 kept"}


@pytest.mark.parametrize("script, words", [
    ([b"554 no"], "does not want to talk: 554 no"), ([*HELLO[:2], b"550 no", "HELO.*", b"550 no"], "refused HELO: 550 no"),
    ([*HELLO, MAIL[0], b"550 5.7.1 no", "QUIT"], "not released: 550 5.7.1 no"),
    ([*HELLO, *MAIL, "RCPT.*", b"250 ok", "RCPT.*", b"250 ok", "DATA", b"451 4.3.0 later", "QUIT"],
     "not released: 451 4.3.0 later"),
    ([*HELLO, *MAIL, "RCPT.*", b"250 ok", "RCPT.*", b"250 ok", "DATA", b"354 go", DATA, b"554 5.7.1 spam", "QUIT"],
     "not released: 554 5.7.1 spam"),
    ([*HELLO, *MAIL, "RCPT.*", b"250 ok", "RCPT.*", b"250 ok", "DATA", b"354 go", DATA, CLOSE], "closed the connection"),
    ([*HELLO, *MAIL, "RCPT.*", b"250 ok", CLOSE], "closed the connection"), ([b"nonsense", WAIT], "Protocol error")])
def test_nobody_has_it(run, hold, store, script, words):
    name = hold()
    with Scripted(script) as hop:
        status, out, error = run("release", name, *to(hop))
    assert status == 1 and words in out + error and f"{name} is still held for 2 of 2 recipients" in out
    assert [entry.id for entry in store.entries()] == [name] and store.done(name) == {}


def test_nobody_is_there(run, hold, store):
    name = hold()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))        # nobody listens there, and nobody else will
        status, _, error = run("release", name, "--next-hop", f"127.0.0.1:{taken.getsockname()[1]}", "--hostname", "mx.test")
    assert status == 1 and "Link has been severed" in error and len(store.entries()) == 1


def test_a_time_out(run, hold, store):
    name = hold()
    with Scripted([*HELLO, MAIL[0], WAIT]) as hop:
        status, _, error = run("release", name, *to(hop, "--timeout", "mail=50ms"))
    assert status == 1 and "no answer within 0.05 s (mail)" in error and len(store.entries()) == 1


def test_to_somebody_else(run, hold):
    name = hold()
    with Scripted([*HELLO, *MAIL, "RCPT TO:<boss@example.org>", b"250 ok", *TAKEN]) as hop:
        status, out, _ = run("release", name, *to(hop, "--to", "boss@example.org"))
    assert status == 0 and f"{name} <boss@example.org> released" in out


def test_several_and_one_that_is_not_there(run, hold, store):
    first, second = hold("<x@example.org>"), hold("<x@example.org>")
    with Scripted([*HELLO, *MAIL, "RCPT.*", b"250 ok", *TAKEN]) as hop:
        status, out, error = run("release", first, "zzzzzzzzzz", second, *to(hop))
    assert status == 1 and out.count("was removed") == 2 and "no message 'zzzzzzzzzz'" in error and store.entries() == []


def test_verified_tls(run, hold, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.make("hop.test", "127.0.0.1").pair
    name = hold("<x@example.org>")
    plain = [b"220 hop.test", "EHLO mx.test", b"250-hop.test\r\n250 STARTTLS", "STARTTLS", b"220 go", TLS]
    with Scripted([*plain, "EHLO mx.test", *HELLO[2:], *MAIL, "RCPT.*", b"250 ok", *TAKEN], certificate=pair) as hop:
        assert run("release", name, *to(hop, "--tls", "verified", "--ca", str(authority.file)))[0] == 0
    name = hold("<x@example.org>")
    with Scripted([*HELLO, WAIT]) as hop:
        status, _, error = run("release", name, *to(hop, "--tls", "required"))
    assert status == 1 and "does not offer STARTTLS" in error


def test_into_a_maildir(run, hold, store, tmp_path):
    name = hold()
    status, out, _ = run("release", name, "--maildir", str(tmp_path / "Maildir"))
    (path,) = (tmp_path / "Maildir" / "new").iterdir()
    assert status == 0 and path.name in out and store.entries() == []
    assert path.read_bytes() == b"Return-Path: <a@example.net>\n" + MESSAGE.replace(b"\r\n", b"\n")
    name = hold()
    status, _, error = run("release", name, "--maildir", str(tmp_path / "none" / "Maildir"))
    assert status == 1 and "No such file" in error and len(store.entries()) == 1


def test_a_spoilt_file_is_not_released(run, hold, store):
    name = hold()
    path = os.path.join(store.path, f"{name}.mail")
    os.truncate(path, os.stat(path).st_size - 1)
    status, _, error = run("release", name, "--next-hop", "127.0.0.1:1")
    assert status == 1 and "not as long as it was" in error and os.path.exists(path)


# Deleting.

def test_delete(run, hold, store):
    first, second = hold(subject="a\x1bb"), hold()
    status, out, error = run("delete", first, first)
    assert status == 1 and out == f"{first} was deleted: from a@example.net, a\\x1bb\n" and "no message" in error
    assert [entry.id for entry in store.entries()] == [second]


def test_purge(run, hold, store):
    old, young = hold(), hold()
    os.utime(os.path.join(store.path, f"{old}.mail"), (0, 0))
    status, out, _ = run("purge", "--older-than", "1h", "--dry-run")
    assert (status, out) == (0, f"{old} would be deleted\n1 messages older than 1h\n") and len(store.entries()) == 2
    assert run("purge", "--older-than", "30d")[1].startswith(f"{old} was deleted\n")
    assert [entry.id for entry in store.entries()] == [young]


# In processes of their own.

def process(store, *words):
    return subprocess.Popen([sys.executable, "-m", "mailfilter", "quarantine", *words, "--directory", store.path],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


UP_TO_THE_DOT = [*HELLO, *MAIL, "RCPT.*", b"250 ok", "RCPT.*", b"250 ok", "DATA", b"354 go", DATA]
AGAIN = [*UP_TO_THE_DOT, b"250 2.0.0 kept", "QUIT"]


@pytest.mark.parametrize("number, status", [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_ended_before_the_reply(hold, store, number, status):
    """It is still held, and comes again: twice at most, never lost."""
    name = hold()
    with Scripted([*UP_TO_THE_DOT, WAIT], AGAIN) as hop:
        releasing = process(store, "release", name, *to(hop))
        wait_until(lambda: hop.heard and len(hop.heard[0]) == 6, "the message at the next hop", 30)
        # A second one meanwhile keeps its hands off.
        done = process(store, "release", name, *to(hop))
        assert "another process is releasing" in done.communicate(timeout=50)[1] and done.returncode == 1
        done = process(store, "delete", name)
        assert "another process is releasing" in done.communicate(timeout=50)[1] and done.returncode == 1
        releasing.send_signal(number)
        _, error = releasing.communicate(timeout=50)
        assert releasing.returncode == status and "Traceback" not in error
        assert [entry.id for entry in store.entries()] == [name] and store.done(name) == {}
        done = process(store, "release", name, *to(hop))
        assert "was removed" in done.communicate(timeout=50)[0] and done.returncode == 0
    assert store.entries() == []


@pytest.mark.parametrize("call", ["fsync", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_step_of_its_own(hold, store, call, when):
    """Noting who has it, and removing it: a recipient that was noted does not get it again."""
    name = hold()
    code = ("import os, signal, sys\n"
            "from mailfilter import cli\n"
            f"real = os.{call}\n"
            "def fatal(*arguments):\n"
            f"    {'real(*arguments)' if when == 'after' else 'pass'}\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            f"os.{call} = fatal\n"
            "cli.main(sys.argv[1:])\n")
    with Scripted([*UP_TO_THE_DOT, b"250 2.0.0 kept", WAIT]) as hop:
        done = subprocess.run([sys.executable, "-c", code, "quarantine", "release", name, *to(hop), "--directory", store.path],
                              capture_output=True, timeout=50)
        assert done.returncode == -signal.SIGKILL, done.stderr
        gone = not os.path.exists(os.path.join(store.path, f"{name}.mail"))
        assert gone == (call == "unlink" and when == "after")
        if not gone:
            noted = set(store.done(name))
            assert noted <= {"<x@example.org>", "<y@example.org>"} and (call == "fsync" or len(noted) == 2)
            with Scripted([*HELLO, *MAIL, *(["RCPT.*", b"250 ok"] * (2 - len(noted))), *TAKEN]) as other:
                done = process(store, "release", name, *to(other))
                assert "was removed" in done.communicate(timeout=50)[0]
    assert store.entries() == []


def test_two_at_once_deliver_once(hold, store):
    names = [hold("<x@example.org>") for _ in range(4)]
    one = [*HELLO, *MAIL, "RCPT.*", b"250 ok", *TAKEN]
    with Scripted(one) as hop:
        both = [process(store, "release", *names, *to(hop)) for _ in range(2)]
        told = [each.communicate(timeout=50) for each in both]
        assert len(hop.heard) == 4
    assert sum(out.count("was removed") for out, _ in told) == 4 and store.entries() == []
    assert all(not re.search("Traceback", error) for _, error in told)
