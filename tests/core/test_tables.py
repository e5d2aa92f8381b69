"""The tables against the machines: every state with every command, on both sides.

The tables are read as data; what a session and a client do is seen from outside, and must be what they say.
"""
from pathlib import Path

import pytest

import mailfilter._core as core
from mailfilter._core import command, fsm, session
from mailfilter._core.command import VERBS
from mailfilter._core.session import Session

LINES = {
    command.CMD_HELO: b"HELO x", command.CMD_EHLO: b"EHLO x", command.CMD_MAIL: b"MAIL FROM:<a@b>",
    command.CMD_RCPT: b"RCPT TO:<c@d>", command.CMD_DATA: b"DATA", command.CMD_RSET: b"RSET", command.CMD_NOOP: b"NOOP",
    command.CMD_VRFY: b"VRFY x", command.CMD_EXPN: b"EXPN x", command.CMD_HELP: b"HELP", command.CMD_QUIT: b"QUIT",
    command.CMD_BDAT: b"BDAT 0", command.CMD_AUTH: b"AUTH PLAIN", command.CMD_STARTTLS: b"STARTTLS",
    command.CMD_XCLIENT: b"XCLIENT NAME=x", command.CMD_XFORWARD: b"XFORWARD NAME=x", command.CMD_UNKNOWN: b"XYZZY"}
ENVELOPE_LINES = [b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>"]
WAY_TO = {
    fsm.ST_REFUSED: [], fsm.ST_GREETED: [], fsm.ST_READY: ENVELOPE_LINES[:1], fsm.ST_MAIL: ENVELOPE_LINES[:2],
    fsm.ST_RCPT: ENVELOPE_LINES, fsm.ST_CHUNKS: [*ENVELOPE_LINES, b"BDAT 0"]}
IN_TRANSACTION = (fsm.ST_MAIL, fsm.ST_RCPT, fsm.ST_CHUNKS, fsm.ST_DATA)
OFFERED = {command.CMD_AUTH: b"AUTH", command.CMD_STARTTLS: b"STARTTLS", command.CMD_XCLIENT: b"XCLIENT",
           command.CMD_XFORWARD: b"XFORWARD"}
ALL = tuple(OFFERED.values())
ENDING = (command.CMD_HELO, command.CMD_EHLO, command.CMD_RSET, command.CMD_QUIT)


def answer(running, event):
    if event.kind == session.EV_DATA:
        running.reply(354, [b"ok"])
    elif event.kind in (session.EV_AUTH, session.EV_AUTH_LINE):
        running.reply(235, [b"ok"], identity=b"user")
    elif event.kind == session.EV_EHLO:
        running.reply(250, [b"ok", b"AUTH PLAIN"])
    else:
        running.reply(250, [b"ok"])


def reached(state, offers=ALL):
    """A session in that state, its output taken."""
    running = Session(auth_without_tls=True)
    running.offer(offers)
    running.next_event()
    running.reply(554 if state == fsm.ST_REFUSED else 220, [b"hello"])
    for line in WAY_TO[state]:
        running.feed(line + b"\r\n")
        answer(running, running.next_event())
        assert running.next_event() is None
    running.take_output()
    assert running.state == state
    return running


def test_the_tables_are_complete():
    assert len(fsm.STATE_NAMES) == fsm.ST_COUNT
    assert len(fsm.INPUT_NAMES) == fsm.IN_COUNT
    assert len(fsm.CLIENT_STATE_NAMES) == fsm.NH_COUNT
    assert len(fsm.CLIENT_INPUT_NAMES) == fsm.NI_COUNT
    assert fsm.IN_GREETING == command.CMD_COUNT
    for (state, what), target in fsm.SERVER_TABLE.items():
        assert 0 <= state < fsm.ST_COUNT and 0 <= what < fsm.IN_COUNT and 0 <= target < fsm.ST_COUNT
    for (state, what), target in fsm.CLIENT_TABLE.items():
        assert 0 <= state < fsm.NH_COUNT and 0 <= what < fsm.NI_COUNT and 0 <= target < fsm.NH_COUNT


@pytest.mark.parametrize(("table", "start", "end", "closing", "states"), [
    (fsm.SERVER_TABLE, fsm.ST_CONNECT, fsm.ST_CLOSED, fsm.IN_CLOSE, fsm.ST_COUNT),
    (fsm.CLIENT_TABLE, fsm.NH_GREETING, fsm.NH_CLOSED, fsm.NI_CLOSE, fsm.NH_COUNT)])
def test_every_state_is_reached_and_left(table, start, end, closing, states):
    seen, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for (state, _what), target in table.items():
            if state == here and target not in seen:
                seen.add(target)
                todo.append(target)
    assert seen == set(range(states))
    assert not any(state == end for state, _what in table)
    assert all(table[state, closing] == end for state in range(states) if state != end)


VERB_IDS = [row[1].decode() or "unknown" for row in VERBS]
STATE_IDS = [fsm.STATE_NAMES[state] for state in WAY_TO]


OFFERS = [(), ALL, *((name,) for name in ALL), *(tuple(name for name in ALL if name != out) for out in ALL)]
OFFER_IDS = ["nothing offered", "all offered",
             *(f"{name.decode()} alone" for name in ALL), *(f"not {name.decode()}" for name in ALL)]


@pytest.mark.parametrize("offers", OFFERS, ids=OFFER_IDS)
@pytest.mark.parametrize("verb", range(command.CMD_COUNT), ids=VERB_IDS)
@pytest.mark.parametrize("state", WAY_TO, ids=STATE_IDS)
def test_every_command_in_every_state(state, verb, offers):
    running = reached(state, offers)
    before = running.transaction
    running.feed(LINES[verb] + b"\r\n")
    event = running.next_event()
    meant = command.CMD_UNKNOWN if verb in OFFERED and OFFERED[verb] not in offers else verb
    target = fsm.SERVER_TABLE.get((state, meant))
    if target is None:
        assert event.kind == session.EV_REJECTED
        assert event.text == LINES[verb]
        assert running.take_output() == b"503 5.5.1 Bad sequence of commands\r\n"
        assert running.state == state
        assert running.transaction is before
        return
    if state == fsm.ST_CHUNKS:
        if verb == command.CMD_BDAT:
            assert event is None
            assert running.take_output() == b"250 2.0.0 0 octets received\r\n"
            assert running.transaction is before and running.state == state
            return
        if verb in ENDING:
            # The message is given up before the command is carried out.
            assert (event.kind, event.reply) == (session.EV_DISCARDED, None)
            assert running.state == fsm.SERVER_TABLE[state, fsm.IN_MESSAGE]
            event = running.next_event()
    assert event.name == ("DATA" if verb == command.CMD_BDAT else VERBS[meant][1].decode() or "UNKNOWN")
    assert event.asks and running.awaiting
    assert running.next_event() is None
    answer(running, event)
    assert running.state == target
    assert (running.transaction is not None) == (target in IN_TRANSACTION)
    if state in IN_TRANSACTION and target in IN_TRANSACTION:
        assert running.transaction is before
    assert running.closed == (target == fsm.ST_CLOSED)


# What a client may say, and the extension that it belongs to. Each is tried with that extension said, withheld, and with all
# others said, in every state.
BELONGS = {
    b"MAIL FROM:<a@b> SIZE=5": b"SIZE", b"MAIL FROM:<a@b> BODY=8BITMIME": b"8BITMIME",
    b"MAIL FROM:<\xc3\xa4@b> SMTPUTF8": b"SMTPUTF8", b"MAIL FROM:<a@b> SMTPUTF8": b"SMTPUTF8",
    b"MAIL FROM:<a@b> RET=HDRS": b"DSN", b"MAIL FROM:<a@b> ENVID=x": b"DSN", b"RCPT TO:<c@d> NOTIFY=NEVER": b"DSN",
    b"RCPT TO:<c@d> ORCPT=rfc822;c@d": b"DSN", b"MAIL FROM:<a@b> BODY=BINARYMIME": b"BINARYMIME",
    b"MAIL FROM:<a@b> PRDR": b"PRDR", b"MAIL FROM:<a@b> REQUIRETLS": b"REQUIRETLS", b"MAIL FROM:<a@b> AUTH=<>": b"AUTH",
    b"BDAT 0": b"CHUNKING", b"AUTH PLAIN": b"AUTH", b"STARTTLS": b"STARTTLS", b"XCLIENT NAME=x": b"XCLIENT",
    b"XFORWARD NAME=x": b"XFORWARD"}
EXTENSIONS = sorted({*BELONGS.values(), b"PIPELINING", b"LIMITS", b"ENHANCEDSTATUSCODES"})


def extended(state, said, withheld=()):
    """A session in that state, whose EHLO was answered with these extensions, under TLS as far as that goes with STARTTLS."""
    running = Session(auth_without_tls=True)
    running.offer([name for name in ALL if name in said])
    if b"REQUIRETLS" in said:
        running.tls_started()
    running.next_event()
    running.reply(554 if state == fsm.ST_REFUSED else 220, [b"hello"])
    lines = [name + (b" PLAIN" if name == b"AUTH" else b"") for name in said if name not in ALL or name == b"AUTH"]
    lines += [b"-" + name for name in withheld]
    for line in WAY_TO[state]:
        running.feed(line + b"\r\n")
        event = running.next_event()
        if event.kind == session.EV_EHLO:
            running.reply(250, [b"ok", *lines])
        else:
            answer(running, event)
        running.next_event()
    assert running.state == state
    return running


@pytest.mark.parametrize("extension", EXTENSIONS, ids=bytes.decode)
@pytest.mark.parametrize("line", BELONGS, ids=repr)
@pytest.mark.parametrize("state", WAY_TO, ids=STATE_IDS)
def test_every_extension_in_every_state(state, line, extension):
    """Whether a parameter or command is taken depends on its own extension and on the state, and on no other extension."""
    own = BELONGS[line]
    for on in (True, False):
        said = [name for name in EXTENSIONS if (name == extension) == on and not (name == b"STARTTLS" and b"REQUIRETLS" == own)]
        if state == fsm.ST_CHUNKS and b"CHUNKING" in EXTENSIONS and b"CHUNKING" not in said:
            said.append(b"CHUNKING")            # there is no other way into that state
        if b"REQUIRETLS" in said and own == b"STARTTLS":
            said.remove(b"REQUIRETLS")          # it needs TLS, and there is no STARTTLS then
        withheld = [name for name in (b"CHUNKING", b"SIZE", b"PIPELINING", b"LIMITS") if name not in said]
        running = extended(state, said, withheld)
        there = set(running.announced)
        if state not in (fsm.ST_REFUSED, fsm.ST_GREETED):
            meant = {*said, *([b"8BITMIME"] if b"SMTPUTF8" in said else [])}
            meant -= {b"BINARYMIME"} if b"CHUNKING" not in said else set()
            meant -= {b"STARTTLS"} if running.tls else set()
            assert there == meant
        running.take_output()
        running.feed(line + b"\r\n")
        event = running.next_event()
        verb = next(number for number, text in LINES.items() if text.split()[0] == line.split()[0])
        possible = (state, verb) in fsm.SERVER_TABLE
        output = running.take_output()
        if line.startswith((b"XCLIENT", b"XFORWARD", b"STARTTLS", b"AUTH")):
            if own not in said:
                assert event.name == ("UNKNOWN" if (state, command.CMD_UNKNOWN) in fsm.SERVER_TABLE else "REJECTED")
            elif possible and own == b"STARTTLS" and running.tls:
                assert output.startswith(b"503 5.5.1")
            else:
                assert (event.name == line.split()[0].decode()) == possible, (event, output)
        elif not possible:
            assert event.name == "REJECTED" and output == b"503 5.5.1 Bad sequence of commands\r\n"
        elif own == b"CHUNKING" and own not in there:
            assert output == b"503 5.5.1 Bad sequence of commands\r\n"
        elif own == b"CHUNKING":
            assert event is None or event.name == "DATA"
        elif own in there or own == b"SIZE":      # ours alone: it promises nothing that anybody else must keep
            assert event.name == line.split()[0].decode(), output
        else:
            assert event.name == "REJECTED" and output[:3] in (b"555", b"553", b"501"), output


@pytest.mark.parametrize("code", [450, 550])
@pytest.mark.parametrize("verb", range(command.CMD_COUNT), ids=VERB_IDS)
@pytest.mark.parametrize("state", WAY_TO, ids=STATE_IDS)
def test_a_refused_command_changes_nothing(state, verb, code):
    if (state, verb) not in fsm.SERVER_TABLE or verb == command.CMD_BDAT or (
            state == fsm.ST_CHUNKS and verb in ENDING):
        return          # see the tests of chunks
    running = reached(state)
    before = running.transaction
    recipients = list(before.recipients) if before else None
    running.feed(LINES[verb] + b"\r\n")
    running.next_event()
    running.reply(code, [b"no"])
    if verb == command.CMD_QUIT:
        assert running.closed
        return
    assert running.state == state
    assert running.transaction is before
    assert before is None or before.recipients == recipients
    assert not running.tls and running.authenticated is None


@pytest.mark.parametrize("verb", range(command.CMD_COUNT), ids=VERB_IDS)
def test_inside_an_exchange_of_auth_nothing_is_a_command(verb):
    running = challenged()
    running.feed(LINES[verb] + b"\r\n")
    event = running.next_event()
    assert event.kind == session.EV_AUTH_LINE
    well_formed = len(LINES[verb]) % 4 == 0 and LINES[verb].isalnum()
    assert (event.reply is None) == well_formed
    running.reply_default()
    assert running.state == fsm.SERVER_TABLE[fsm.ST_AUTH, fsm.IN_AUTH_OVER] == fsm.ST_READY
    assert running.authenticated is None


def challenged():
    running = reached(fsm.ST_READY)
    running.feed(b"AUTH PLAIN\r\n")
    running.next_event()
    running.reply(334, [b""])
    assert running.take_output() == b"334 \r\n"
    assert running.state == fsm.SERVER_TABLE[fsm.ST_READY, fsm.IN_CHALLENGE] == fsm.ST_AUTH
    return running


def test_an_exchange_of_auth_goes_on_and_ends():
    running = challenged()
    running.feed(b"AAAA\r\n")
    assert running.next_event().text == b"AAAA"
    running.reply(334, [b"eA=="])
    assert running.state == fsm.SERVER_TABLE[fsm.ST_AUTH, fsm.IN_CHALLENGE] == fsm.ST_AUTH
    running.feed(b"BBBB\r\n")
    running.next_event()
    running.reply(235, [b"2.7.0 ok"], identity=b"user")
    assert running.state == fsm.SERVER_TABLE[fsm.ST_AUTH, command.CMD_AUTH] == fsm.ST_READY
    assert running.authenticated == b"user"


@pytest.mark.parametrize("state", [fsm.ST_GREETED, fsm.ST_READY], ids=["GREETED", "READY"])
def test_tls_makes_the_client_a_stranger(state):
    running = reached(state)
    running.feed(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<evil@x>\r\n")
    running.next_event()
    running.reply(220, [b"go"])
    assert running.take_output() == b"220 go\r\n"
    assert running.state == fsm.ST_TLS and running.buffered == 0
    running.feed(b"RCPT TO:<victim@x>\r\n")
    assert running.next_event() is None and running.buffered == 0
    running.tls_started()
    assert running.state == fsm.SERVER_TABLE[fsm.ST_TLS, fsm.IN_TLS] == fsm.ST_GREETED
    assert (running.tls, running.hello, running.proto, running.announced) == (True, None, b"SMTP", set())
    assert running.next_event() is None and running.take_output() == b""
    with pytest.raises(RuntimeError, match="cannot start"):
        running.tls_started()


def test_implicit_tls():
    running = Session()
    running.tls_started()
    assert running.tls and running.state == fsm.SERVER_TABLE[fsm.ST_CONNECT, fsm.IN_TLS] == fsm.ST_CONNECT
    assert running.next_event().kind == session.EV_CONNECT
    with pytest.raises(RuntimeError, match="cannot start"):
        running.tls_started()


def test_chunks_lead_to_a_message():
    running = reached(fsm.ST_RCPT)
    running.feed(b"BDAT 4\r\n")
    answer(running, running.next_event())
    assert running.state == fsm.SERVER_TABLE[fsm.ST_RCPT, command.CMD_BDAT] == fsm.ST_DATA
    running.feed(b"A: b")
    assert running.next_event() is None
    assert running.state == fsm.SERVER_TABLE[fsm.ST_DATA, fsm.IN_CHUNK] == fsm.ST_CHUNKS
    running.feed(b"BDAT 2 LAST\r\n\r\n")
    assert running.next_event().kind == session.EV_MESSAGE
    assert running.state == fsm.SERVER_TABLE[fsm.ST_CHUNKS, command.CMD_BDAT] == fsm.ST_DATA
    running.reply(250, [b"ok"])
    assert running.state == fsm.ST_READY and running.transaction is None


@pytest.mark.parametrize("code", [250, 354, 421, 451, 550])
def test_the_reply_to_a_message_ends_the_transaction(code):
    running = reached(fsm.ST_RCPT)
    running.feed(b"DATA\r\n")
    answer(running, running.next_event())
    assert running.state == fsm.ST_DATA
    running.feed(b".\r\n")
    assert running.next_event().kind == session.EV_MESSAGE
    assert running.transaction is not None
    running.reply(code, [b"x"])
    assert running.state == (fsm.ST_CLOSED if code == 421 else fsm.SERVER_TABLE[fsm.ST_DATA, fsm.IN_MESSAGE])
    assert running.transaction is None


@pytest.mark.parametrize("state", WAY_TO, ids=[fsm.STATE_NAMES[state] for state in WAY_TO])
def test_every_state_can_be_closed_from_outside(state):
    running = reached(state)
    running.refuse(421, [b"4.3.2 bye"])
    assert running.state == fsm.SERVER_TABLE[state, fsm.IN_CLOSE] == fsm.ST_CLOSED
    assert running.transaction is None
    assert running.take_output() == b"421 4.3.2 bye\r\n"


def test_only_fsm_writes_a_state():
    for path in Path(core.__file__).parent.glob("*.pyx"):
        if path.name != "fsm.pyx":
            text = path.read_text()
            assert "_machine.state =" not in text.replace("_machine.state ==", "")
            assert ".transaction =" not in text.replace(".transaction ==", "")
