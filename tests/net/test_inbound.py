"""net/inbound.py over real sockets: time, back-pressure, ends of sessions, the spool, the log."""
import re
import select
import shutil
import signal
import socket

import pytest
from peers.next_hop import Mute, NextHop
from peers.sender import Sender, on_the_wire
from peers.waiting import wait_until
from serving import PROJECT

# Tells of every end of a session, and waits for what never comes when the client asks for it.
POLICY = """
SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, this.remoteAddr + " " + typeof this.remotePort + " " + this.sessionId);
};
SmtpServer.prototype.smtpMail = function (path) {
    if (path.mailbox.local === "wait") {
        var mute = new SmtpClient("127.0.0.1", Sys.setting("mutePort", 0));
        mute.connect();
        mute.readResponse();
    }
    if (path.mailbox.local === "throw")
        throw new Error("thrown by it");
    return new SmtpResponse(250, "2.1.0 Fine");
};
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null)
        Sys.log(Sys.LOG_NOTICE, "given up");
    return new SmtpResponse(250, "2.0.0 Taken " + (body && body.length));
};
SmtpServer.prototype.cleanup = function () { Sys.log(Sys.LOG_NOTICE, "cleaned up"); };
"""


@pytest.fixture(scope="module")
def mute():
    with NextHop({"connect": [Mute()] * 1000}) as hop:
        yield hop


@pytest.fixture(scope="module")
def server(serve_module, mute):
    return serve_module(POLICY, settings={"mutePort": mute.port}, limits={
        "errors": 3, "operations": 10_000_000, "session_ms": 600_000, "commands": 0, "pipelined_commands": "1g"})


@pytest.fixture(scope="module")
def hurried(serve_module, mute):
    """The same with handlers that may wait for half a second only."""
    return serve_module(POLICY, settings={"mutePort": mute.port}, timeouts={"handler": 0.5})


@pytest.fixture(scope="module")
def impatient(serve_module):
    return serve_module(POLICY, timeouts={"command": 0.3, "data_block": 0.3})


def greeted(sender):
    """The session's id, from the greeting."""
    return sender.reply().text.split()[-1]


def lines_of(server, session):
    return [line for line in server.log_lines if f" {session} " in line]


def assert_ended_once(server, session):
    """The session's cleanup was called once, and its summary is in the log once, after that."""
    wait_until(lambda: any(" session client=" in line for line in lines_of(server, session)), f"the summary of {session}")
    lines = lines_of(server, session)
    assert sum("cleaned up" in line for line in lines) == 1, lines
    assert sum(" session client=" in line for line in lines) == 1, lines
    assert "session client=" in lines[-1]
    return lines[-1]


# Time.

def test_a_client_that_says_nothing_is_sent_away(impatient):
    with Sender(impatient.port) as sender:
        session = greeted(sender)
        reply = sender.reply()
        assert reply.code == 421 and reply.text.startswith("4.4.2 ")
        assert sender.closed_by_server()
    assert_ended_once(impatient, session)


@pytest.mark.parametrize("said", [b"", b"Subject: x\r\n", b"\r\nbody", b"A: b\r\n\r\nbody\r\n."])
def test_a_client_that_stops_in_the_middle_of_a_message_is_sent_away(impatient, said):
    with Sender(impatient.port) as sender:
        session = greeted(sender)
        for line in (b"EHLO client.test", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
            assert sender.command(line).code in (250, 354)
        sender.send(said)
        assert sender.reply().code == 421
        assert sender.closed_by_server()
    assert "accepted=0" in assert_ended_once(impatient, session)
    assert any("given up" in line for line in lines_of(impatient, session))


def test_half_a_command_is_no_command(impatient):
    with Sender(impatient.port) as sender:
        greeted(sender)
        sender.send(b"NOO")
        assert sender.reply().code == 421


# Back-pressure.

def send_until_blocked(sender, data, at_most):
    """Send `data` again and again until nothing is taken for a while; octets that were taken."""
    sent = 0
    sender.socket.settimeout(0.4)
    try:
        while sent < at_most:
            sent += sender.socket.send(data[sent % len(data):])
    except TimeoutError:
        pass
    sender.socket.settimeout(sender.patience)
    return sent


def memory_of(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_client_that_does_not_fetch_its_replies_gets_no_more(server):
    with Sender(server.port) as sender:
        greeted(sender)
        before = memory_of(server)
        sent = send_until_blocked(sender, b"EHLO x\r\n" * 10_000, 64 << 20)
        assert sent < 64 << 20
        assert memory_of(server) - before < 16 << 20
        with Sender(server.port) as other:                      # nobody else waits for it
            other.hello()
        fetched = sender.socket.recv(1 << 16)
        while not select.select([], [sender.socket], [], 0)[1]:      # until it reads on
            fetched += sender.socket.recv(1 << 16)
        # However many there are: so many that the session's operations are used up, or not.
        assert re.fullmatch(rb"((250[- ]|451 4\.3\.0 )[^\r\n]*\r\n)+", fetched[:fetched.rindex(b"\n") + 1])


def test_input_is_not_read_without_end_while_a_handler_waits(serve, mute):
    server = serve(POLICY, settings={"mutePort": mute.port}, timeouts={"handler": 10})
    with Sender(server.port) as sender:
        session = greeted(sender)
        sender.command(b"EHLO client.test")
        sender.send(b"MAIL FROM:<wait@b>\r\n")
        before = memory_of(server)
        assert send_until_blocked(sender, b"NOOP\r\n" * 10_000, 64 << 20) < 64 << 20
        assert memory_of(server) - before < 8 << 20
        reset(sender)
    assert_ended_once(server, session)


def test_a_next_hop_that_does_not_read_is_left(serve):
    with NextHop({"body": [Mute(after=1000)]}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address}, timeouts={"data_block": 0.5})
        with Sender(proxy.port) as sender:
            sender.hello()
            before = memory_of(proxy)
            replies = sender.transaction(b"A: b\r\n\r\n" + b"x" * 70 + b"\r\n" * 1 + (b"y" * 998 + b"\r\n") * 30_000)
            assert [reply.code for reply in replies] == [250, 250, 354, 451]
            assert memory_of(proxy) - before < 24 << 20
            assert sender.command(b"RSET").code == 250
            sender.deliver(b"A: b\r\n\r\nafter\r\n")            # over a new connection
        assert len(hop.accepted) == 1


# Kinds of clients.

def test_everything_is_answered_after_a_half_close(server):
    with Sender(server.port) as sender:
        session = greeted(sender)
        sender.send(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        assert [sender.reply().code for _ in range(4)] == [250, 250, 250, 354]
        sender.send(on_the_wire(b"A: b\r\n\r\nx\r\n") + b"NOOP\r\nNOO")
        sender.half_close()
        assert [sender.reply().code for _ in range(2)] == [250, 250]
        assert sender.closed_by_server()
    assert "messages=1 accepted=1 refused=0 faults=0" in assert_ended_once(server, session)


def test_a_handler_that_waits_when_the_client_half_closes_is_still_answered(hurried):
    server = hurried
    with Sender(server.port) as sender:
        session = greeted(sender)
        sender.send(b"EHLO c\r\nMAIL FROM:<wait@b>\r\nNOOP\r\n")
        sender.half_close()
        assert [sender.reply().code for _ in range(3)] == [250, 451, 250]
        assert sender.closed_by_server()
    assert "faults=1" in assert_ended_once(server, session)


def test_ipv6_and_unix_clients(serve, tmp_path):
    path = tmp_path / "socket"
    listen = [f"unix:{path}"]
    if socket.has_ipv6:
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
                listen.append("[::1]:0")
            except OSError:
                pass
    server = serve(POLICY, listen=listen)
    with Sender(unix=path) as sender:
        reply = sender.reply()
        assert reply.text.startswith("local number ")
        sender.command(b"EHLO client.test")
        sender.deliver(b"A: b\r\n\r\nx\r\n")
    assert "client=local" in assert_ended_once(server, reply.text.split()[-1])
    if len(listen) > 1:
        with Sender(server.port, host="::1") as sender:
            reply = sender.reply()
            assert reply.text.startswith("::1 number ")
        assert "client=::1" in assert_ended_once(server, reply.text.split()[-1])


# The end of a session.

def quit_(sender):
    assert sender.command(b"QUIT").code == 221
    assert sender.closed_by_server()


def vanish(sender):
    sender.close()


def vanish_in_data(sender):
    for line in (b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
        sender.command(line)
    sender.send(b"A: b\r\n\r\nhalf")
    sender.close()


def vanish_while_a_handler_waits(sender):
    sender.command(b"EHLO c")
    sender.send(b"MAIL FROM:<wait@b>\r\n")
    assert sender.nothing_more(0.1)
    sender.close()


def reset(sender):
    sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sender.close()


def reset_while_a_handler_waits(sender):
    sender.command(b"EHLO c")
    sender.send(b"MAIL FROM:<wait@b>\r\n")
    assert sender.nothing_more(0.1)
    reset(sender)


def err(sender):
    codes = [sender.command(b"NONSENSE").code for _ in range(2)]
    while codes[-1] != 421:
        codes.append(sender.command(b"NONSENSE").code)
    assert len(codes) <= 4 and sender.closed_by_server()


def half_close(sender):
    sender.half_close()
    assert sender.closed_by_server()


@pytest.mark.parametrize("end", [quit_, vanish, vanish_in_data, vanish_while_a_handler_waits, reset_while_a_handler_waits, err,
                                 half_close])
def test_cleanup_is_called_once_however_a_session_ends(server, hurried, end):
    if end is vanish_while_a_handler_waits:
        server = hurried            # it may have closed its half only, and be waiting for the answer
    with Sender(server.port) as sender:
        session = greeted(sender)
        end(sender)
    assert_ended_once(server, session)


@pytest.mark.parametrize("init,codes", [
    ("throw new Error('no greeting')", (421,)), ("return null", (421,)), ("return new SmtpResponse(554, 'go', true)", (554,)),
    ("return new SmtpResponse(421, 'later')", (421,)), ("return new SmtpResponse(220, 'bye at once', true)", (220,)),
])
def test_cleanup_is_called_once_when_the_greeting_ends_the_session(serve, init, codes):
    server = serve(POLICY + f"SmtpServer.prototype.smtpInit = function () {{ {init}; }};\n")
    with Sender(server.port) as sender:
        assert sender.reply().code in codes
        assert sender.closed_by_server()
    server.wait_for_log(" session client=")
    assert server.log.count("cleaned up") == 1


def test_a_cleanup_that_throws_or_waits_ends_all_the_same(serve, mute):
    server = serve(POLICY.replace('Sys.log(Sys.LOG_NOTICE, "cleaned up");', """
        Sys.log(Sys.LOG_NOTICE, "cleaned up");
        var mute = new SmtpClient("127.0.0.1", Sys.setting("mutePort", 0));
        mute.connect();
        mute.readResponse();"""), settings={"mutePort": mute.port}, timeouts={"handler": 0.3})
    with Sender(server.port) as sender:
        session = greeted(sender)
        quit_(sender)
    assert_ended_once(server, session)


def test_the_summary_of_a_session(server):
    with Sender(server.port) as sender:
        session = greeted(sender)
        sender.command(b"EHLO odd\x01name.test")
        sender.command(b"EHLO client.test")
        sender.deliver(b"A: b\r\n\r\nx\r\n")
        assert sender.command(b"MAIL FROM:<throw@b>").code == 451
        quit_(sender)
    line = assert_ended_once(server, session)
    assert re.search(r"info \S+ session client=127\.0\.0\.1 port=\d+ helo=client\.test messages=1 accepted=1 refused=0 faults=1 "
                     r"seconds=\d+\.\d{3} policy=[0-9a-f]{12}", line), line
    fault = next(line for line in lines_of(server, session) if "thrown by it" in line)
    assert re.search(r"error \S+ \S*policy\.js:\d+:\d+: smtpMail: Error: thrown by it source=", fault), fault


def test_draining_finishes_the_transaction_and_greets_nobody_new(serve):
    server = serve(POLICY)
    with Sender(server.port) as busy, Sender(server.port) as idle:
        session = greeted(busy)
        greeted(idle)
        busy.command(b"EHLO client.test")
        assert busy.command(b"MAIL FROM:<a@b>").code == 250
        server.signal(signal.SIGTERM)
        assert idle.reply().code == 421 and idle.closed_by_server()
        assert busy.command(b"RCPT TO:<c@d>").code == 250
        assert busy.command(b"DATA").code == 354
        busy.send(on_the_wire(b"A: b\r\n\r\nx\r\n"))
        assert [busy.reply().code, busy.reply().code] == [250, 421]
        assert busy.closed_by_server()
    assert server.wait() == 0
    assert_ended_once(server, session)


def test_too_many_connections(serve):
    server = serve(POLICY, limits={"connections": 1})
    with Sender(server.port) as first:
        greeted(first)
        with Sender(server.port) as second:
            assert second.reply().raw == b"421 4.3.2 Too many connections, try again later\r\n"
            assert second.closed_by_server()
        quit_(first)

    def again():
        with Sender(server.port) as sender:
            return sender.reply().code == 220
    wait_until(again, "room for a connection")


# The spool.

def test_d02_a_message_that_cannot_be_stored_is_refused_whole(serve, tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    server = serve(POLICY, limits={"spool_memory_bytes": 1000, "spool_shared_bytes": 0}, options=["--spool-directory", folder])
    with Sender(server.port) as sender:
        session = greeted(sender)
        sender.command(b"EHLO client.test")
        sender.deliver(b"A: b\r\n\r\n" + b"x" * 5000 + b"\r\n")
        shutil.rmtree(folder)
        replies = sender.transaction(b"A: b\r\n\r\n" + b"MAIL FROM:<injected@x>\r\n" * 1000)
        assert (replies[-1].code, replies[-1].text[:5]) == (452, "4.3.1")
        assert sender.nothing_more(0.1)
        folder.mkdir()
        sender.deliver(b"A: b\r\n\r\n" + b"x" * 5000 + b"\r\n")     # the session goes on
        quit_(sender)
    assert "messages=2 accepted=2" in assert_ended_once(server, session)
    assert sum("cannot be stored" in line for line in lines_of(server, session)) == 1
    assert list(folder.iterdir()) == []


def test_large_bodies_stay_in_memory_while_there_is_room(serve, tmp_path):
    # An eighth of it: half a MiB.
    folder = tmp_path / "spool"
    folder.mkdir()
    server = serve(POLICY, limits={"spool_memory_bytes": 1000, "spool_shared_bytes": "4m"},
                   options=["--spool-directory", folder])
    folder.rmdir()
    with Sender(server.port) as sender:
        sender.hello()
        for _ in range(12):             # the room comes back
            assert sender.transaction(b"A: b\r\n\r\n" + b"0123456\r\n" * 50_000)[-1].code == 250
        replies = sender.transaction(b"A: b\r\n\r\n" + b"0123456\r\n" * 60_000)
        assert (replies[-1].code, replies[-1].text[:5]) == (452, "4.3.1")
        quit_(sender)


# debugProtocol.

def test_debug_protocol_shows_both_dialogues_and_no_body(serve):
    with NextHop() as hop:
        policy = "SmtpServer.debugProtocol = true;\n" + (PROJECT / "js/policies/proxy.js").read_text("utf-8")
        server = serve(policy, settings={"nextHop": hop.address})
        with Sender(server.port, bytewise=True) as sender:
            sender.hello()
            sender.deliver(b"Subject: secret \x1b\r\n\r\nsecret body\r\n")
            assert sender.command(b"NOOP \xff\x01x").code in (250, 500, 501)
            quit_(sender)
    server.wait_for_log(" session client=")
    lines = [re.sub(r"^\S+ \S+ \S+ ", "", line) for line in server.log_lines]
    for expected in ("client < 220 hop.test ESMTP", "client > EHLO client.test", "client > MAIL FROM:<sender@client.test>",
                     "client < 354 go on", "client > QUIT", "next hop > 220 hop.test ESMTP",
                     "next hop < MAIL FROM:<sender@client.test>",
                     "next hop > 250 2.0.0 taken as H1", "next hop < QUIT"):
        assert expected in lines, (expected, lines)
    assert not any("secret" in line for line in lines if line.startswith("client"))
    assert "\x1b" not in server.log and any(r"client > NOOP \xff\x01x" in line for line in lines)


def test_without_debug_protocol_the_dialogue_stays_private(server):
    with Sender(server.port) as sender:
        greeted(sender)
        sender.command(b"EHLO private-name.test")
        quit_(sender)
    server.wait_for_log("helo=private-name.test")
    assert "client > " not in server.log
