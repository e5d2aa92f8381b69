"""Clients are held to their limits, over real sockets: refusals, budgets, deadlines, early talk, protocols, the tarpit."""
import re
import socket
import threading
import urllib.request

import pytest
from peers.sender import Closed, Sender, on_the_wire
from peers.waiting import free_port, wait_until

from mailfilter.net.admission import REFUSALS

POLICY = """
SmtpServer.prototype.smtpData = function (headers, body) {
    return headers === null ? null : new SmtpResponse(250, "2.0.0 Taken");
};
"""
NOBODY = ["--exempt", "192.0.2.0/24"]       # the tests' own machine is counted, too


def talk(sender, *lines):
    return [sender.command(line).code for line in lines]


def assert_ended(sender, text):
    """The next reply is this one, and then the connection is closed."""
    assert sender.reply().raw == text + b"\r\n"
    assert sender.closed_by_server()


# Before a session.

def test_connections_of_an_address_are_refused_over_all_workers(serve):
    server = serve(POLICY, limits={"address_connections": 3}, options=[*NOBODY, "--workers", "2"])
    senders = [Sender(server.port) for _ in range(3)]
    assert [sender.reply().code for sender in senders] == [220] * 3
    for _ in range(8):                      # whichever worker they come to
        with Sender(server.port) as sender:
            assert_ended(sender, REFUSALS["address_connections"].rstrip())
    with Sender(server.port) as sender:
        sender.close()
    senders.pop().close()

    def again():
        with Sender(server.port) as sender:
            return sender.reply().code == 220
    wait_until(again, "room for a connection")
    for sender in senders:
        sender.close()
    assert "connection refused reason=address_connections client=127.0.0.1" in server.log


def test_a_refused_connection_makes_no_session(serve):
    server = serve(POLICY, limits={"address_rate": 1}, options=NOBODY)
    with Sender(server.port) as sender:
        assert sender.reply().code == 220
        assert talk(sender, b"QUIT") == [221]
    for _ in range(5):
        with Sender(server.port) as sender:
            assert_ended(sender, REFUSALS["address_rate"].rstrip())
    server.wait_for_log(" session client=")
    assert server.log.count(" session client=") == 1


def test_under_pressure_clients_read_421_before_a_greeting(serve):
    """No memory is ever enough: this machine has less than what is asked for. The exempt are turned away, too, by so much."""
    server = serve(POLICY, limits={"free_memory_bytes": "1000g"})

    def turned_away():
        with Sender(server.port) as sender:
            return sender.reply().raw == REFUSALS["busy"]
    wait_until(turned_away, "the pressure to be felt")
    assert "too much to do, clients are turned away" in server.log and "cause=memory" in server.log


def test_what_is_refused_and_ended_is_counted(serve):
    pytest.importorskip("prometheus_client")
    server = serve(POLICY, limits={"address_connections": 1, "commands": 1, "tarpits": 0},
                   options=[*NOBODY, "--metrics", "127.0.0.1:0"])
    with Sender(server.port) as sender:
        sender.reply()
        with Sender(server.port) as second:
            assert second.reply().code == 421
        assert talk(sender, b"NOOP", b"NOOP") == [250, 421]
    page = re.search(r"metrics on 127\.0\.0\.1:([0-9]+)", server.log)[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for line in ('connections_refused_total{reason="address_connections"} 1.0', 'limits_total{limit="address_connections"} 1.0',
                 'limits_total{limit="commands"} 1.0', "mailfilter_tarpit 0.0"):
        assert line in text, line


def test_limits_of_one_listener(serve):
    port = free_port()
    server = serve(POLICY, listen=["127.0.0.1:0", f"127.0.0.1:{port}"],
                   options=["--limit", f"recipients@:{port}=1", "--limit", f"connections@:{port}=1",
                            "--timeout", f"greeting_delay@:{port}=0.001"])
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<a@b>", *[b"RCPT TO:<c@d>"] * 2) == [250, 250, 250]
    with Sender(port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<a@b>", *[b"RCPT TO:<c@d>"] * 2) == [250, 250, 452]
        with Sender(port) as second:
            assert_ended(second, REFUSALS["connections"].rstrip())


# Budgets.

@pytest.mark.parametrize("limit, number, lines, codes", [
    ("commands", 3, [b"EHLO c", b"NOOP", b"NOOP", b"NOOP"], [250, 250, 250, 421]),
    ("commands", 2, [b"EHLO c", b"RCPT TO:<a@b>", b"NOOP"], [250, 503, 421]),
    ("transactions", 2, [b"EHLO c", *[b"MAIL FROM:<a@b>", b"RSET"] * 2, b"MAIL FROM:<a@b>"], [250] * 5 + [421]),
    ("session_recipients", 2, [b"EHLO c", b"MAIL FROM:<a@b>", *[b"RCPT TO:<c@d>"] * 3], [250] * 4 + [421]),
    ("session_bytes", 41, [b"EHLO c", b"NOOP " + b"x" * 20, b"NOOP", b"NOOP"], [250, 250, 250, 421]),
])
def test_a_session_has_so_much_and_no_more(serve, limit, number, lines, codes):
    server = serve(POLICY, limits={limit: number})
    with Sender(server.port) as sender:
        sender.reply()
        replies = [sender.command(line) for line in lines]
        assert [reply.code for reply in replies] == codes
        assert replies[-1].text.startswith("4.7.0 Too m") and sender.closed_by_server()
    server.wait_for_log(f"ended by a limit limit={limit} client=127.0.0.1")


@pytest.mark.parametrize("chunk", [b"BDAT 1\r\nx", b"BDAT 0\r\n"])
@pytest.mark.parametrize("at_once", [True, False])
def test_chunks_are_commands(serve, chunk, at_once):
    server = serve(POLICY, limits={"commands": 6})
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>") == [250, 250]
        if at_once:
            sender.send(chunk * 50)
        for _ in range(60):
            if not at_once:
                sender.send(chunk)
            reply = sender.reply()
            if reply.code != 250:
                break
        assert reply.raw == b"421 4.7.0 Too many commands in one session, closing\r\n"
        assert sender.closed_by_server()
    assert "messages=0" in server.wait_for_log(" session client=")


def test_a_message_that_uses_up_the_session_s_bytes_is_not_taken(serve):
    server = serve(POLICY, limits={"session_bytes": 10_000})
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA") == [250, 250, 354]
        sender.send(b"A: b\r\n\r\n" + b"x" * 70 + b"\r\n" * 1 + (b"y" * 98 + b"\r\n") * 150)
        assert_ended(sender, b"421 4.7.0 Too much data in one session, closing")
    assert "accepted=0" in server.wait_for_log(" session client=")
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>") == [250, 250]
        sender.send(b"BDAT 6000\r\n" + (b"y" * 98 + b"\r\n") * 60)
        assert sender.reply().code == 250
        sender.send(b"BDAT 6000 LAST\r\n" + (b"y" * 98 + b"\r\n") * 60)
        assert_ended(sender, b"421 4.7.0 Too much data in one session, closing")


# Deadlines.

def trickle(sender, data, stop):
    """One octet after the other, until `stop` or the server hangs up."""
    def send():
        for octet in data:
            try:
                sender.send(bytes((octet,)))
            except (Closed, OSError):
                return
            if stop.wait(0.02):
                return
    thread = threading.Thread(target=send)
    thread.start()
    return thread


ENVELOPE = [b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>"]


@pytest.mark.parametrize("timeouts, limits, lines, data, text", [
    ({"command": 0.4}, {}, [b"EHLO c"], b"NOOP " + b"x" * 1000, b"421 4.4.2 No command came for 0 seconds, closing"),
    ({"data_block": 0.4}, {"data_rate": 1000}, [b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"], b"x" * 1000,
     b"421 4.4.2 The message comes too slowly, closing"),
    ({"transaction": 0.4}, {"data_rate": 0}, [b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"], b"x" * 1000,
     b"421 4.4.2 The transaction takes longer than 0 seconds, closing"),
    # The same by BDAT: in one chunk, in many of one octet, in many of none, and in nothing but the next command.
    ({"data_block": 0.4}, {"data_rate": 1000}, ENVELOPE, b"BDAT 1000\r\n" + b"x" * 1000,
     b"421 4.4.2 The message comes too slowly, closing"),
    ({"data_block": 0.4}, {"data_rate": 1000}, ENVELOPE, b"BDAT 1\r\nx" * 200,
     b"421 4.4.2 The message comes too slowly, closing"),
    ({"data_block": 0.4}, {"data_rate": 1000}, ENVELOPE, b"BDAT 0\r\n" * 200, b"421 4.4.2 The message comes too slowly, closing"),
    ({"data_block": 0.4}, {"data_rate": 1000}, ENVELOPE, b"BDAT 0\r\nNOOP " + b"x" * 1000,
     b"421 4.4.2 The message comes too slowly, closing"),
    ({"data_block": 0.4}, {"data_rate": 0}, [*ENVELOPE, b"BDAT 0"], b"", b"421 4.4.2 Nothing came for 0 seconds, closing"),
    ({"data_block": 0.4}, {"data_rate": 0}, ENVELOPE, b"BDAT 9\r\nx", b"421 4.4.2 Nothing came for 0 seconds, closing"),
    ({"transaction": 0.4}, {"data_rate": 0}, ENVELOPE, b"BDAT 1\r\nx" * 200,
     b"421 4.4.2 The transaction takes longer than 0 seconds, closing"),
    ({"session": 0.4}, {}, [b"EHLO c"], b"NOOP " + b"x" * 1000, b"421 4.4.2 The session takes longer than 0 seconds, closing"),
])
def test_a_drop_now_and_then_does_not_keep_a_session(serve, timeouts, limits, lines, data, text):
    server = serve(POLICY, timeouts=timeouts | {"idle_heap": 0.1}, limits=limits)
    stop = threading.Event()
    with Sender(server.port) as sender:
        sender.reply()
        talk(sender, *lines)
        thread = trickle(sender, data, stop)
        try:
            while (reply := sender.reply()).text.endswith("octets received"):
                pass
            assert reply.raw == text + b"\r\n"
        finally:
            stop.set()
            thread.join()
    log = server.wait_for_log(" session client=")
    name = next(name for name, number in [*limits.items(), *timeouts.items()] if number)
    assert f"ended by a limit limit={name}" in log


def test_slow_clients_are_gone_and_others_do_not_notice(serve):
    server = serve(POLICY, timeouts={"command": 0.5})
    slow = [Sender(server.port) for _ in range(100)]
    for sender in slow:
        sender.reply()
        sender.send(b"E")
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(b"A: b\r\n\r\nx\r\n")
    for sender in slow:
        assert sender.reply().code == 421
        sender.close()
    assert server.log.count("ended by a limit limit=command") == 100


# Talking early.

def test_a_client_that_waits_for_a_delayed_greeting_is_greeted(serve):
    server = serve(POLICY, timeouts={"greeting_delay": 0.2})
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(b"A: b\r\n\r\nx\r\n")


def test_a_client_that_talks_before_a_delayed_greeting_is_sent_away(serve):
    server = serve(POLICY, timeouts={"greeting_delay": 60})
    with Sender(server.port) as sender:
        sender.send(b"EHLO early.test\r\n")
        assert_ended(sender, b"554 5.5.0 Talking before the greeting is a protocol error")
    server.wait_for_log("limit=early_bytes")
    with Sender(server.port) as sender:         # one that goes while it waits
        sender.close()
    wait_until(lambda: server.log.count(" session client=") == 2, "the summaries of both")


def test_early_talk_can_be_forgiven_and_is_told_to_the_policy(serve):
    policy = POLICY + """
    SmtpServer.prototype.smtpInit = function () {
        return new SmtpResponse(220, this.talkedEarly() ? "early" : "patient");
    };
    """
    server = serve(policy, timeouts={"greeting_delay": 0.3}, limits={"early_bytes": 100})
    with Sender(server.port) as early, Sender(server.port) as patient:
        early.send(b"EHLO early.test\r\n")
        assert (early.reply().text, early.reply().code) == ("early", 250)
        assert patient.reply().text == "patient"


def test_a_policy_waits_for_early_talkers_by_itself(serve):
    policy = POLICY + """
    SmtpServer.prototype.smtpInit = function () {
        return this.pause(0.3) && this.talkedEarly() ? new SmtpResponse(554, "5.7.1 Wait", true) : new SmtpResponse(220, "Hi");
    };
    """
    server = serve(policy)
    with Sender(server.port) as early, Sender(server.port) as patient:
        early.send(b"EHLO early.test\r\n")
        assert early.reply().code == 554 and early.closed_by_server()
        assert patient.reply().code == 220


def test_the_end_does_not_wait_for_a_delayed_greeting(serve):
    server = serve(POLICY, timeouts={"greeting_delay": 60, "shutdown": 60})
    with Sender(server.port) as sender:
        wait_until(lambda: server.process.poll() is None, "the server")
        sender.send(b"")
        assert server.stop() == 0
        assert sender.reply().code == 421


# Other protocols.

@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
                                  b"\x05\x01\x00", b"\0\0\0\0"])
def test_what_is_no_text_is_hung_up_on_without_a_word(serve_module, data):
    server = serve_module(POLICY)
    with Sender(server.port) as sender:
        assert sender.reply().code == 220
        sender.send(data)
        assert sender.closed_by_server()
    server.wait_for_log("limit=foreign_commands client=127.0.0.1 protocol=")


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n", b"EHLO c\r\nOPTIONS sip:x SIP/2.0\r\n"])
def test_commands_of_other_protocols_end_the_session(serve_module, data, bytewise):
    server = serve_module(POLICY + "SmtpServer.prototype.smtpUnknown = function () { Sys.log(3, 'asked'); };")
    with Sender(server.port, bytewise=bytewise) as sender:
        assert sender.reply().code == 220
        if data.startswith(b"EHLO"):
            data = data[8:]
            assert sender.command(b"EHLO c").code == 250
        sender.send(data)
        assert_ended(sender, b"521 5.5.1 This is an SMTP server, closing")
    assert "asked" not in server.log


def test_a_web_page_cannot_send_mail(serve):
    """The browser's request comes first, and nothing that follows is carried out."""
    server = serve(POLICY)
    with Sender(server.port) as sender:
        sender.reply()
        sender.send(b"POST / HTTP/1.1\r\nHost: mx.test:25\r\n\r\nEHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
                    + on_the_wire(b"A: b\r\n\r\nx\r\n"))
        assert_ended(sender, b"521 5.5.1 This is an SMTP server, closing")
    assert "messages=0" in server.wait_for_log(" session client=")


def test_other_protocols_can_be_left_to_the_policy(serve):
    server = serve(POLICY + "SmtpServer.prototype.smtpUnknown = function () { return new SmtpResponse(500, 'what?'); };",
                   limits={"foreign_commands": 2})
    with Sender(server.port) as sender:
        sender.reply()
        assert talk(sender, b"GET / HTTP/1.1", b"Host: x", b"Accept: y") == [500, 500, 521]


# The tarpit.

TARPIT = POLICY + """
SmtpServer.prototype.smtpHelo = function (name) {
    this.tarpit(Number(name));
    return new SmtpResponse(250, "slow");
};
SmtpServer.prototype.smtpNoop = function (text) {
    return new SmtpResponse(250, String(this.pause(Number(text))));
};
"""


def test_replies_come_later_and_nobody_else_notices(serve):
    server = serve(TARPIT)
    with Sender(server.port) as slow, Sender(server.port) as other:
        slow.reply()
        other.hello()
        slow.send(b"HELO 60\r\n")
        other.deliver(b"A: b\r\n\r\nx\r\n")
        assert slow.nothing_more(0.1)
    with Sender(server.port) as slow:
        slow.reply()
        assert slow.command(b"HELO 0.1").code == 250
        slow.send(b"NOOP 0\r\nMAIL FROM:<a@b>\r\nNONSENSE\r\nQUIT\r\n")       # each by itself
        assert [slow.reply().code for _ in range(4)] == [250, 250, 500, 221]
        assert slow.closed_by_server()


def test_the_tarpit_has_so_many_places_and_whoever_finds_none_is_not_delayed(serve):
    server = serve(TARPIT, limits={"tarpits": 2})
    with Sender(server.port) as first, Sender(server.port) as second, Sender(server.port) as third:
        for sender in (first, second, third):
            sender.reply()
        first.send(b"HELO 60\r\n")
        second.send(b"NOOP 60\r\n")
        assert first.nothing_more(0.1)
        assert third.command(b"HELO 60").code == 250
        assert third.command(b"NOOP 60").text == "false"
        first.close()
        second.close()

        def room():
            with Sender(server.port) as probe:
                probe.reply()
                return probe.command(b"NOOP 0.01").text == "true"
        wait_until(room, "a place in the tarpit")


def test_the_end_lets_go_of_the_tarpit(serve):
    server = serve(TARPIT)
    with Sender(server.port) as sender:
        sender.reply()
        sender.send(b"HELO 300\r\n")
        assert sender.nothing_more(0.1)
        assert server.stop() == 0
        assert [sender.reply().code, sender.reply().code] == [250, 421]


@pytest.mark.parametrize("what", ["drain", "vanish"])
def test_a_pause_ends_with_its_session(serve, what):
    server = serve(TARPIT)
    with Sender(server.port) as sender:
        sender.reply()
        sender.send(b"NOOP 300\r\n")
        assert sender.nothing_more(0.1)
        if what == "drain":
            assert server.stop() == 0
            assert [sender.reply().code, sender.reply().code] == [250, 421]
        else:
            sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sender.close()
            server.wait_for_log(" session client=")


def test_pauses_that_are_none_are_refused(serve):
    server = serve(TARPIT)
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"NOOP 301", b"NOOP -1", b"NOOP x") == [451] * 3
        assert "RangeError: pause: 301 is not a number of seconds from 0 to 300" in server.log


# Seen and changed by the policy.

LIMITS = POLICY + """
SmtpServer.limits = {commands: 50, 'recipients@:1': 7};
SmtpServer.prototype.smtpNoop = function (text) {
    var before = this.limits();
    return new SmtpResponse(250, [before.commands, before.recipients, before.message_bytes, this.timeouts().command].join(' '));
};
SmtpServer.prototype.smtpMail = function (path) {
    if (path.mailbox.local === 'few')
        this.limits({recipients: 1, message_bytes: '1k', header_fields: 1});
    if (path.mailbox.local === 'hurry')
        this.timeouts({command: '300ms'});
    if (path.mailbox.local === 'fixed')
        this.limits({heap_bytes: '1g'});
    if (path.mailbox.local === 'nonsense')
        this.timeouts({teatime: 5});
    return new SmtpResponse(250, '2.1.0 Fine');
};
"""


def test_a_policy_sees_and_changes_the_limits_of_a_session(serve):
    server = serve(LIMITS, timeouts={"command": 77})
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"NOOP").text == f"50 1000 {50 << 20} 77"
        assert talk(sender, b"MAIL FROM:<few@b>", b"RCPT TO:<c@d>", b"RCPT TO:<c@d>", b"DATA") == [250, 250, 452, 354]
        sender.send(on_the_wire(b"A: b\r\n\r\n" + b"x" * 70 + b"\r\n" * 1 + (b"y" * 98 + b"\r\n") * 20))
        assert sender.reply().code == 552
        assert talk(sender, b"MAIL FROM:<x@b>", b"RCPT TO:<c@d>", b"DATA") == [250, 250, 354]
        sender.send(on_the_wire(b"A: b\r\nB: c\r\n\r\nx\r\n"))
        assert sender.reply().text == "5.3.4 Too many header fields"
        assert sender.command(b"NOOP").text == "50 1 1024 77"
        assert sender.command(b"EHLO again").text.count("SIZE 1024") == 1
        with Sender(server.port) as other:
            other.hello()
            assert other.command(b"NOOP").text == f"50 1000 {50 << 20} 77"
        sender.command(b"MAIL FROM:<hurry@b>")
        assert sender.reply().raw == b"421 4.4.2 No command came for 0 seconds, closing\r\n"


NUMBERS = """
SmtpServer.prototype.smtpMail = function (path) {
    var said = path.mailbox.local.split('.'), limits = {};
    limits[said[0]] = said[1];
    if (said.length === 2)
        this.limits(limits);
    return new SmtpResponse(250, '2.1.0 Fine');
};
"""


@pytest.mark.parametrize(("limit", "lines", "codes"), [
    ("commands.4", [b"RCPT TO:<c@d>", b"NOOP", b"NOOP"], [250, 250, 421]),
    ("transactions.1", [b"RSET", b"MAIL FROM:<a@b>"], [250, 421]),
    ("session_recipients.1", [b"RCPT TO:<c@d>", b"RCPT TO:<c@d>"], [250, 421]),
    ("session_bytes.400", [b"NOOP", b"NOOP " + b"x" * 400], [250, 421])])
def test_a_number_that_a_policy_changes_counts_from_then_on(serve, limit, lines, codes):
    server = serve(NUMBERS)
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<%s@b>" % limit.encode(), *lines) == [250, *codes]


def test_what_cannot_be_changed_is_an_error_of_the_policy(serve):
    server = serve(LIMITS)
    with Sender(server.port) as sender:
        sender.hello()
        assert talk(sender, b"MAIL FROM:<fixed@b>", b"MAIL FROM:<nonsense@b>") == [451, 451]
    assert "heap_bytes cannot be changed for one session" in server.log
    assert "there is no timeout 'teatime'" in server.log


# Commands sent ahead of replies that must be waited for.

AHEAD = b"4.7.0 Too many commands sent ahead of replies, closing"


def test_commands_sent_ahead_of_replies_are_counted(serve):
    server = serve(POLICY, limits={"pipelined_commands": 1})
    with Sender(server.port) as sender:
        sender.reply()
        sender.send(b"EHLO x\r\nNOOP\r\nNOOP\r\nNOOP\r\n")     # RFC 2920 §3.1: each of them is the last of its group
        assert sender.reply().code == 250
        assert_ended(sender, b"421 " + AHEAD)
    server.wait_for_log("ended by a limit limit=pipelined_commands client=127.0.0.1")


def test_groups_are_no_hurry(serve):
    server = serve(POLICY, limits={"pipelined_commands": 0})
    with Sender(server.port) as sender:
        sender.hello()
        for _ in range(2):
            sender.send(b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")
            assert [sender.reply().code for _ in range(5)] == [250, 250, 250, 250, 354]
            sender.send(b"A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\nNOOP\r\n")
            assert [sender.reply().code for _ in range(6)] == [250, 250, 250, 250, 250, 250]
        sender.send(b"NOOP\r\nQUIT\r\n")
        assert_ended(sender, b"421 " + AHEAD)


def test_without_ehlo_every_command_waits(serve):
    server = serve(POLICY, limits={"pipelined_commands": 0})
    with Sender(server.port) as sender:
        sender.reply()
        assert talk(sender, b"HELO x") == [250]
        sender.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
        assert_ended(sender, b"421 " + AHEAD)


def test_a_policy_can_change_what_may_be_sent_ahead(serve):
    server = serve(POLICY + """
SmtpServer.limits = {pipelined_commands: 0};
SmtpServer.prototype.smtpInit = function () {
    this.limits({pipelined_commands: 2});
    return new SmtpResponse(220, String(this.limits().pipelined_commands));
};
""")
    with Sender(server.port) as sender:
        assert sender.reply().text == "2"
        sender.send(b"NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n")
        assert [sender.reply().code for _ in range(2)] == [250, 250]
        assert_ended(sender, b"421 " + AHEAD)


# One client's commands in great numbers.

LABOUR = """
SmtpServer.prototype.smtpRset = function () {
    for (var n = 0; n < 4000; n++) ;
    return new SmtpResponse(250, "done");
};
SmtpServer.prototype.cleanup = function () { Sys.log(Sys.LOG_NOTICE, "over: " + this.clientname); };
"""


def test_a_client_with_many_commands_takes_turns_with_the_others(serve):
    """However much it sends at once: without turns nobody else is served, and new clients are turned away for the lag."""
    server = serve(LABOUR, limits={"session_ms": 600000})
    with Sender(server.port) as busy, Sender(server.port) as other:
        assert busy.hello(name=b"busy").code == other.hello(name=b"other").code == 250
        busy.send(b"RSET\r\n" * 1500 + b"QUIT\r\n")
        assert other.command(b"QUIT").code == 221
        assert [busy.reply().code for _ in range(1501)] == [250] * 1500 + [221]
        assert busy.closed_by_server()
    log = server.wait_for_log("over: busy")
    assert log.index("over: other") < log.index("over: busy")


def test_many_commands_and_the_end_behind_them_are_all_answered(serve):
    server = serve(LABOUR, limits={"session_ms": 600000})
    with Sender(server.port) as sender:
        sender.hello()
        sender.send(b"RSET\r\n" * 1000)
        sender.half_close()
        assert [sender.reply().code for _ in range(1000)] == [250] * 1000
        assert sender.closed_by_server()
