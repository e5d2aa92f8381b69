"""Every misbehaviour of a next hop at every step, seen from the client of `proxy.js` and of `mx.js` when it relays.

Whatever happens behind: the client gets one correct reply to each command, in time; 250 to a message only when the next
hop said 250 to exactly that message; and afterwards engine and next hop are in step, or the session ends properly
(D2, D3, D10, D11). A session that begins after the fault works as if nothing had been.
"""
import time

import pytest
from peers.next_hop import Drop, Mute, NextHop, Say
from peers.postfix import without_trace
from peers.sender import Closed, Sender, on_the_wire

# What proxy.js may wait for at any one step, and what a reply may take longer than that: other work of the machine.
WAIT_S = 1.0
MARGIN_S = 3.0

STEPS = ("connect", "ehlo", "mail", "rcpt", "data", "dot")

FIRST = (b"Subject: first\r\nX-Mark: 1\r\n\r\nMAIL FROM:<evil@client.test>\r\n.leading dot\r\n"
         + b"first body\r\n" * 2000)
# More than all the socket buffers on the way hold: the sender is still at it when an early reply comes.
LARGE = b"Subject: large\r\n\r\n" + (b"large body".ljust(998, b".") + b"\r\n") * 24_000
SECOND = b"Subject: second\r\n\r\nsecond body\r\n"
THIRD = b"Subject: third\r\n\r\nthird body\r\n"

# Replies that are right, however odd they look: nothing may come of them. {code} is what the step expects.
ODD_BUT_RIGHT = {
    "bare code": b"{code}\r\n",
    "code and blank": b"{code} \r\n",
    "many lines": b"{code}-one\r\n" * 100 + b"{code} last\r\n",
    "bare code after lines": b"{code}-one\r\n{code}\r\n",
    "empty continuation": b"{code}-\r\n{code} \r\n",
    "600 octets": b"{code} " + b"x" * 594 + b"\r\n",
    "4000 octets": b"{code} " + b"y" * 3994 + b"\r\n",
    "8-bit text": b"{code} gr\xfc\xdfe \xff\x80\x81\r\n",
}

# Not replies at all, or not the ones that were asked for: the client gets 4xx, and the connection behind is not
# trusted again.
NONSENSE = {
    "text": b"I am a teapot\r\n",
    "html": b"<html><body>Welcome to the router\r\n</body></html>\r\n",
    "binary": bytes(range(256)) + b"\r\n",
    "code 999": b"999 what\r\n",
    "code 150": b"150 wait\r\n",
    "code 25": b"25 short\r\n",
    "differing codes": b"250-one\r\n550 two\r\n",
    "letters in the code": b"2x0 letters\r\n",
    "endless line": b"250 " + b"z" * 100_000,
    "endless reply": b"250-more\r\n" * 5_000,
    "empty lines": b"\r\n\r\n\r\n",
}

GONE = {
    "fin": Drop(),
    "reset": Drop(reset=True),
    "421 and close": Say(b"421 4.3.2 shutting down\r\n", close=True),
    "421 and stay": Say(b"421 4.3.2 shutting down\r\n"),
    "half a reply": Say(b"250-hal", close=True),
    "half a line": Say(b"250 hal", close=True),
}

SLOW = {
    "never": Mute(),
    "late": Say(b"250 2.0.0 late\r\n", delay=2 * WAIT_S),
    "trickle": Say(b"250 2.0.0 an octet at a time\r\n", pause=WAIT_S / 5),
}

CODES = {"connect": 220, "data": 354}


def expected(step):
    """The code that is right at a step, as octets."""
    return b"%d" % CODES.get(step, 250)


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture(scope="module", params=["proxy", "mx"])
def proxy(request, hop, serve_module):
    names = "connect greeting hello mail rcpt data data_block data_end reset quit".split()
    settings = {"nextHop": hop.address, "domains": "example.test"}
    server = serve_module(request.param, settings=settings, timeouts=dict.fromkeys(names, WAIT_S))
    server.greets_first = request.param == "mx"  # it connects to the next hop at MAIL
    return server


class Client:
    """A session that notes which messages were acknowledged and that every reply came in time."""

    def __init__(self, port):
        self.sender = Sender(port, patience=WAIT_S + MARGIN_S)
        self.acknowledged = []
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.sender.close()

    def greet(self):
        """Greeting and EHLO; the replies up to the first refusal."""
        try:
            replies = [self.sender.reply()]
            if replies[0].code == 220:
                replies.append(self.sender.command(b"EHLO client.test"))
        except Closed:
            self.closed = True
            return []
        if replies[-1].code == 421 or len(replies) == 1 and 400 <= replies[0].code < 500:
            assert self.sender.closed_by_server()
            self.closed = True
        return replies

    def transaction(self, content, name):
        """The replies of one transaction; notes whether it was acknowledged, and whether the server hung up."""
        if self.closed:
            return []
        began = time.monotonic()
        replies = []
        try:
            replies = self.sender.transaction(content, sender=b"<%b@client.test>" % name,
                                              recipients=[b"<%b@example.test>" % name])
        except Closed:
            self.closed = True
        assert time.monotonic() - began < 4 * WAIT_S + MARGIN_S
        if replies and replies[-1].code == 421:
            assert self.sender.closed_by_server(), "open after 421"
            self.closed = True
        if len(replies) == 4 and replies[-1].code == 250:
            self.acknowledged.append(content)
        return replies


def check_hop(hop, sent):
    """The next hop saw correct commands only, and of messages only (beginnings of) those sent, each in its envelope."""
    assert hop.violations == []
    envelopes = dict(sent)
    for transaction in hop.transactions:
        _, content = without_trace(transaction.content)
        if transaction.complete:
            assert content in envelopes, transaction
            name = envelopes[content]
            assert transaction.sender.startswith(b"<%b@client.test>" % name), transaction
            assert [r.split(b" ")[0] for r in transaction.recipients] == [b"<%b@example.test>" % name], transaction
        elif content:
            assert content.startswith(b"Received:") or any(m.startswith(content) for m in envelopes), transaction


def play(hop, proxy, script, first_content=FIRST, worst_second=499):
    """One session with the fault in its way, a second message in it, and a fresh session after it.

    Returns (client, replies to the hellos, replies to the first message, replies to the second).
    """
    hop.begin(script)
    with Client(proxy.port) as client:
        hello = client.greet()
        first = second = []
        if len(hello) == 2 and hello[1].code == 250:
            first = client.transaction(first_content, b"first")
            if not client.closed and first[-1].code != 250:
                reset = client.sender.command(b"RSET")
                assert reset.code in (250, 421, 451), reset
                client.closed = reset.code == 421
            second = client.transaction(SECOND, b"second")
            # What happened to the first is no reason to bounce the second.
            assert all(r.code <= worst_second for r in second), (first, second)
        if not client.closed:
            goodbye = client.sender.command(b"QUIT")
            assert goodbye.code == 221 or goodbye.code == 421, goodbye
            assert client.sender.closed_by_server()
    hop.script.clear()
    with Sender(proxy.port) as fresh:
        fresh.hello()
        fresh.deliver(THIRD, sender=b"<third@client.test>", recipients=[b"<third@example.test>"])
    accepted = [without_trace(t.content)[1] for t in hop.accepted]
    for content in [*client.acknowledged, THIRD]:
        assert accepted.count(content) == 1, "acknowledged, but not exactly once in the next hop"
    check_hop(hop, [(first_content, b"first"), (SECOND, b"second"), (THIRD, b"third")])
    return client, hello, first, second


def reply_at(step, hello, first):
    """The reply that the client got at a step, or None when it came no further than that."""
    position = STEPS.index(step)
    replies = [*hello, *first] if len(hello) == 2 else hello
    return replies[position] if position < len(replies) else None


def assert_refused(client, step, hello, first):
    """The client was told 4xx at this step or an earlier one, or the connection ended there; it was not told 250."""
    assert not {FIRST, LARGE} & set(client.acknowledged)
    replies = [*hello, *first]
    if replies:
        last = replies[-1]
        assert 400 <= last.code < 500 or client.closed, last
        assert len(replies) - 1 <= STEPS.index("dot")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", ODD_BUT_RIGHT)
def test_an_odd_but_right_reply_is_understood(hop, proxy, step, shape):
    reply = ODD_BUT_RIGHT[shape].replace(b"{code}", expected(step))
    client, hello, first, second = play(hop, proxy, {step: [Say(reply)]})
    assert client.acknowledged == [FIRST, SECOND], (hello, first, second)


@pytest.mark.parametrize("step", STEPS)
def test_a_reply_in_single_octets_is_understood(hop, proxy, step):
    reply = expected(step) + b"-1\r\n" + expected(step) + b" 2\r\n"
    client, *replies = play(hop, proxy, {step: [Say(reply, pause=0.001)]})
    assert client.acknowledged == [FIRST, SECOND], replies


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("code", [450, 452, 550, 554])
def test_a_refusal_reaches_the_client_at_its_step_with_code_and_text(hop, proxy, step, code):
    text = b"%d 5.7.1 no, said the next hop\r\n" % code
    client, hello, first, second = play(hop, proxy, {step: [Say(text)]})
    if proxy.greets_first and step in ("connect", "ehlo"):
        # The next hop refuses us, not the client's mail: that may be different later. A refused EHLO leaves HELO.
        assert [r.code for r in [*hello, *first]] == [220, 250, 451] or step == "ehlo" and code >= 500
        return
    reply = reply_at(step, hello, first)
    assert reply is not None and reply.code == code
    assert "no, said the next hop" in reply.text
    if STEPS.index(step) >= 2:
        assert client.acknowledged == [SECOND], second


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", GONE)
def test_a_next_hop_that_goes_away(hop, proxy, step, shape):
    client, hello, first, _ = play(hop, proxy, {step: [GONE[shape]]})
    assert_refused(client, step, hello, first)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", NONSENSE)
def test_nonsense_instead_of_a_reply(hop, proxy, step, shape):
    client, hello, first, _ = play(hop, proxy, {step: [Say(NONSENSE[shape])]})
    assert_refused(client, step, hello, first)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", SLOW)
def test_a_reply_that_does_not_come_in_time(hop, proxy, step, shape):
    action = SLOW[shape]
    if isinstance(action, Say):
        action = Say(action.reply.replace(b"250", expected(step)), delay=action.delay, pause=action.pause)
    client, hello, first, _ = play(hop, proxy, {step: [action]})
    assert_refused(client, step, hello, first)


@pytest.mark.parametrize("step", STEPS)
def test_a_reply_too_many_is_not_taken_for_the_next_one(hop, proxy, step):
    reply = expected(step) + b" 2.0.0 right\r\n250 2.0.0 one too many\r\n"
    client, hello, first, second = play(hop, proxy, {step: [Say(reply)]})
    for replies in (first, second):
        assert not replies or replies[-1].code == 250 or 400 <= replies[-1].code < 500 or client.closed, replies


@pytest.mark.parametrize("after", [0, 1, 40, 5000])
@pytest.mark.parametrize("action", [Drop, Mute], ids=["drop", "stops reading"])
def test_dying_in_the_middle_of_the_data(hop, proxy, action, after):
    client, hello, first, _ = play(hop, proxy, {"body": [action(after=after)]})
    if action is Mute and after >= len(FIRST):
        return
    assert_refused(client, "dot", hello, first)


@pytest.mark.parametrize("close", [True, False], ids=["and closes", "and reads on"])
@pytest.mark.parametrize("reply", [b"421 4.3.2 going down\r\n", b"550 5.0.0 seen enough\r\n",
                                   b"250 2.0.0 too early\r\n", b"??\r\n"])
def test_a_reply_in_the_middle_of_the_data(hop, proxy, reply, close):
    """A refusal may come early. A 250 before the final dot cannot be meant for the whole message."""
    script = {"body": [Say(reply, close=close, after=100)], "dot": [Say(b"554 5.0.0 no\r\n")]}
    # The engine may leave at once; then the refusal is still there for the second message.
    client, hello, first, _ = play(hop, proxy, script, LARGE, worst_second=554)
    assert LARGE not in client.acknowledged
    assert not first or 400 <= first[-1].code < 600


@pytest.mark.parametrize("shape", [*GONE, *NONSENSE, *SLOW])
def test_rset_while_the_next_hop_misbehaves(hop, proxy, shape):
    action = GONE.get(shape) or SLOW.get(shape) or Say(NONSENSE[shape])
    hop.begin({"rset": [action]})
    with Client(proxy.port) as client:
        client.greet()
        assert client.sender.command(b"MAIL FROM:<first@client.test>").code == 250
        try:
            reply = client.sender.command(b"RSET")
            assert reply.code in (250, 421) or 400 <= reply.code < 500, reply
            client.closed = reply.code == 421
        except Closed:
            client.closed = True
        client.transaction(SECOND, b"second")
    accepted = [without_trace(t.content)[1] for t in hop.accepted]
    assert accepted.count(SECOND) == client.acknowledged.count(SECOND)
    check_hop(hop, [(SECOND, b"second")])


@pytest.mark.parametrize("shape", [*GONE, *NONSENSE, *SLOW])
def test_quit_while_the_next_hop_misbehaves(hop, proxy, shape):
    hop.begin({"quit": [GONE.get(shape) or SLOW.get(shape) or Say(NONSENSE[shape])]})
    with Sender(proxy.port) as client:
        client.hello()
        client.deliver(SECOND, sender=b"<second@client.test>", recipients=[b"<second@example.test>"])
        assert client.command(b"QUIT").code == 221
        assert client.closed_by_server()
    check_hop(hop, [(SECOND, b"second")])


def test_no_next_hop_at_all(serve):
    with NextHop() as gone:
        address = gone.address
    proxy = serve("proxy", settings={"nextHop": address}, timeouts={"connect": WAIT_S})
    for _ in range(3):
        with Client(proxy.port) as client:
            replies = client.greet()
            if len(replies) == 2 and replies[-1].code == 250:
                replies = client.transaction(FIRST, b"first")
            assert replies and 400 <= replies[-1].code < 500, replies


def test_the_next_hop_is_killed_during_a_message(hop, proxy):
    """The client is in the middle of its own message when the connection behind it breaks."""
    hop.begin()
    with Client(proxy.port) as client:
        client.greet()
        for line in (b"MAIL FROM:<first@client.test>", b"RCPT TO:<first@example.test>"):
            assert client.sender.command(line).code == 250
        assert client.sender.command(b"DATA").code == 354
        data = on_the_wire(FIRST)
        client.sender.send(data[:1000])
        hop.begin()  # cuts the connection
        client.sender.send(data[1000:])
        reply = client.sender.reply()
        assert 400 <= reply.code < 500, reply
        client.transaction(SECOND, b"second")
    assert [without_trace(t.content)[1] for t in hop.accepted] == client.acknowledged


@pytest.mark.parametrize("where", ["after MAIL", "after RCPT", "after DATA", "in the message"])
def test_the_client_vanishes(hop, proxy, where):
    """Nothing of it is delivered, and the connection behind is given up (D22: half a message is no message)."""
    hop.begin()
    with Sender(proxy.port) as sender:
        sender.hello()
        sender.command(b"MAIL FROM:<first@client.test>")
        if where != "after MAIL":
            sender.command(b"RCPT TO:<first@example.test>")
        if where in ("after DATA", "in the message"):
            sender.command(b"DATA")
        if where == "in the message":
            sender.send(FIRST)
    hop.wait_for(lambda hop: not any(c.open for c in hop.conversations), "the connection behind to be closed")
    assert hop.accepted == []
    assert not any(t.complete for t in hop.transactions)
    assert hop.violations == []
