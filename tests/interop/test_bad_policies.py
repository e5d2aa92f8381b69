"""Policies that fail: 451 4.3.0 for the one client that met the fault, in time, and nobody else notices.

The policy under test fails where and how its client asks: the step is named by the local part of the sender or of the
recipient, or by the name in EHLO, and the number is an index into the table of nonsense.
"""
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from peers.next_hop import Mute, NextHop
from peers.sender import Sender

HANDLER_S = 1.0
MARGIN_S = 3.0

# JavaScript expressions that are no replies. ([""] is one: it is what a next hop's bare `250` reads as.)
NONSENSE = [
    "undefined", "null", "true", "0", "250", "NaN", "'250 fine'", "''", "[]", "[250, 'fine']", "{}",
    "{code: 250}", "{message: 'fine', disconnect: false}", "{code: 0, message: 'silence', disconnect: false}",
    "{code: -5, message: 'x', disconnect: false}", "{code: 99, message: 'x', disconnect: false}",
    "{code: 150, message: 'x', disconnect: false}", "{code: 600, message: 'x', disconnect: false}",
    "{code: 1e9, message: 'x', disconnect: false}", "{code: NaN, message: 'x', disconnect: false}",
    "{code: Infinity, message: 'x', disconnect: false}", "{code: 250.5, message: 'x', disconnect: false}",
    "{code: null, message: 'x', disconnect: false}", "{code: {}, message: 'x', disconnect: false}",
    "{code: '2x0', message: 'x', disconnect: false}", "{code: 250, message: '', disconnect: false}",
    "{code: 250, message: [], disconnect: false}", "{code: 250, message: null, disconnect: false}",
    "{code: 250, message: {toString: function () { throw new Error('no text'); }}, disconnect: false}",
    "{code: 250, message: [{toString: function () { return {}; }}], disconnect: false}",
    "Object.defineProperty({message: 'x', disconnect: false}, 'code', {get: function () { throw new Error('no'); }})",
    "Object.defineProperty({code: 250, disconnect: false}, 'message', {get: function () { throw 'thrown text'; }})",
    "function () { return new SmtpResponse(250, 'never called'); }",
    "new Date(0)", "/250 fine/", "new Error('250')", "Symbol('250')", "SmtpResponse", "this", "Object.create(null)",
    "new Proxy({}, {get: function () { throw new Error('trap'); }})",
]

THROWN = ["new Error('broken')", "'a thrown text'", "42", "null", "undefined", "{}",
          "new TypeError('x\\r\\n250 forged')", "Object.create(null)", "{toString: function () { throw 1; }}"]


def table(name, expressions):
    """A JavaScript array of functions, one for each expression."""
    return f"var {name} = [\n" + ",\n".join(f"function () {{ return {e}; }}" for e in expressions) + "];\n"


POLICY = (table("NONSENSE", NONSENSE) + table("THROWN", THROWN)
          + (Path(__file__).parents[1] / "policies/failing.js").read_text(encoding="utf-8"))

# smtpPreData need not have an opinion.
NO_OPINION = [b"return%d" % NONSENSE.index(expression) for expression in ("undefined", "null")]

FAULTS = [f"return{i}" for i in range(len(NONSENSE))] + [f"throw{i}" for i in range(len(THROWN))] + ["overflow"]


def name_of(fault):
    """The JavaScript of a fault, for the test's name."""
    if fault.startswith("return"):
        return "return " + NONSENSE[int(fault[6:])][:40]
    return "throw " + THROWN[int(fault[5:])][:40] if fault.startswith("throw") else fault


@pytest.fixture(scope="module")
def mute():
    """A server that accepts connections and says nothing."""
    with NextHop({"connect": [Mute()] * 1000}) as hop:
        yield hop


@pytest.fixture(scope="module")
def start(mute, serve_module):
    def start(**settings):
        return serve_module(POLICY, settings={"mutePort": mute.port, **settings}, timeouts={
            "handler": HANDLER_S, "message_handler": HANDLER_S}, limits={"transactions": 0, "commands": 0})
    return start


@pytest.fixture(scope="module")
def bad(start):
    return start()


@pytest.fixture
def others(bad):
    """Three sessions that deliver one message after the other on the same worker while the test runs.

    Each must be answered promptly and with 250 all the time; that is checked at the end.
    """
    stop, problems, counts = threading.Event(), [], []

    def deliver():
        count = 0
        try:
            with Sender(bad.port, patience=MARGIN_S) as sender:
                sender.hello()
                # Once at least, however soon the test is over.
                while count == 0 or not stop.is_set():
                    sender.deliver(b"Subject: fine\r\n\r\nfine\r\n")
                    count += 1
        except Exception as error:
            problems.append(repr(error))
        counts.append(count)

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert min(counts) > 0


def assert_451(reply):
    assert reply.code == 451 and reply.text.startswith("4.3.0 "), reply
    for word in ("Error", "broken", "forged", "thrown", "undefined", "policy.js", "Traceback"):
        assert word not in reply.text, reply


def assert_still_works(sender):
    """The session goes on in step: the next transaction is answered command by command."""
    assert sender.command(b"RSET").code == 250
    sender.deliver(b"Subject: after\r\n\r\nafter\r\n")
    assert sender.command(b"QUIT").code == 221


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_failing_handler_gives_451_at_every_step(bad, fault):
    fault = fault.encode()
    with Sender(bad.port) as sender:
        assert sender.reply().code == 220
        assert_451(sender.command(b"HELO " + fault))
        assert_451(sender.command(b"EHLO " + fault))
        assert sender.command(b"EHLO client.test").code == 250
        assert_451(sender.command(b"MAIL FROM:<mail+" + fault + b"@client.test>"))
        assert sender.command(b"RCPT TO:<a@example.test>").code == 503  # the state did not change

        assert sender.command(b"MAIL FROM:<fine@client.test>").code == 250
        assert_451(sender.command(b"RCPT TO:<" + fault + b"@example.test>"))
        assert sender.command(b"DATA").code == 503
        assert sender.command(b"RSET").code == 250

        if fault not in NO_OPINION:
            replies = sender.transaction(b"x\r\n", sender=b"<predata+" + fault + b"@client.test>")
            assert [r.code for r in replies[:-1]] == [250, 250]
            assert_451(replies[-1])
            assert sender.command(b"RSET").code == 250

        replies = sender.transaction(b"x\r\n", sender=b"<data+" + fault + b"@client.test>")
        assert [r.code for r in replies[:-1]] == [250, 250, 354]
        assert_451(replies[-1])
        assert sender.command(b"RCPT TO:<a@example.test>").code == 503  # the transaction is over

        assert sender.command(b"MAIL FROM:<rset+" + fault + b"@client.test>").code == 250
        assert_451(sender.command(b"RSET"))
        assert sender.command(b"RCPT TO:<a@example.test>").code == 503  # nothing of it stays, though RSET failed
        assert sender.command(b"EHLO again.test").code == 250
        assert_still_works(sender)


def test_nobody_else_notices(bad, others):
    for fault in FAULTS:
        with Sender(bad.port) as sender:
            sender.hello()
            replies = sender.transaction(b"x\r\n", sender=b"<data+" + fault.encode() + b"@client.test>")
            assert_451(replies[-1])


@pytest.mark.parametrize("step", ["mail", "predata", "data", "rset"])
def test_waiting_for_ever_gives_451_in_time(bad, others, step):
    with Sender(bad.port, patience=HANDLER_S + MARGIN_S) as sender:
        sender.hello()
        began = time.monotonic()
        replies = sender.transaction(b"x\r\n", sender=b"<" + step.encode() + b"+forever@client.test>")
        if step == "rset":
            replies = [sender.command(b"MAIL FROM:<rset+forever@client.test>"), sender.command(b"RSET")]
        assert_451(replies[-1])
        assert HANDLER_S * 0.9 <= time.monotonic() - began < HANDLER_S + MARGIN_S
        sender.command(b"EHLO again.test")
        assert_still_works(sender)


def test_waiting_for_ever_in_ehlo_and_rcpt(bad, others):
    with Sender(bad.port, patience=HANDLER_S + MARGIN_S) as sender:
        assert sender.reply().code == 220
        assert_451(sender.command(b"EHLO forever"))
        assert sender.command(b"EHLO client.test").code == 250
        assert sender.command(b"MAIL FROM:<fine@client.test>").code == 250
        assert_451(sender.command(b"RCPT TO:<forever@example.test>"))
        assert_still_works(sender)


def test_many_wait_for_ever_at_once(bad, others):
    with ExitStack() as stack:
        senders = [stack.enter_context(Sender(bad.port, patience=HANDLER_S + MARGIN_S)) for _ in range(50)]
        for sender in senders:
            sender.hello()
        began = time.monotonic()
        for sender in senders:
            sender.send(b"MAIL FROM:<mail+forever@client.test>\r\n")
        for sender in senders:
            assert_451(sender.reply())
        assert time.monotonic() - began < HANDLER_S + MARGIN_S


@pytest.mark.parametrize("fault", ["throw0", "throw1", "return0", "return6", "return15", "forever", "overflow"])
def test_a_failing_greeting(start, fault):
    """No greeting but 4xx: the client may not go on, and a later connection is served again."""
    server = start(init=fault)
    for _ in range(2):
        with Sender(server.port, patience=HANDLER_S + MARGIN_S) as sender:
            reply = sender.reply()
            assert reply.code in (421, 451), reply
            assert "broken" not in reply.text
            assert sender.closed_by_server()


def test_a_client_that_leaves_while_its_handler_waits(bad, others):
    """The handler's wait ends with the session; nothing is left over, and nobody else notices."""
    with Sender(bad.port) as sender:
        sender.hello()
        sender.send(b"MAIL FROM:<mail+forever@client.test>\r\n")
    with Sender(bad.port) as fine:
        fine.hello()
        fine.deliver(b"x\r\n")


def test_the_log_names_the_place(bad):
    """What the client is not told is in the log: file, line, column and the thrown text."""
    with Sender(bad.port) as sender:
        sender.hello()
        sender.command(b"MAIL FROM:<mail+throw0@client.test>")
        sender.command(b"MAIL FROM:<mail+throw1@client.test>")
    line = next(i for i, text in enumerate(POLICY.splitlines(), 1) if "new Error('broken')" in text)
    log = bad.wait_for_log("a thrown text")
    assert "broken" in log
    assert f"policy.js:{line}" in log or f"policy.js:{line + 1}" in log, log
