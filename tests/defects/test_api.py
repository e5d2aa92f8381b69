"""Known defects of the predecessor, D19 to D25: the API, replies, truncation, speed, logs, build.
D5, D19 and what D20 has of TLS: test_security.py.
"""
import os
import platform
import re
import signal
import subprocess
import time

import pytest
from peers.sender import Closed, NoReply, Sender
from peers.waiting import wait_until
from serving import PROGRAM, PROJECT

ACCEPT = """
SmtpServer.prototype.smtpData = function (headers, body) { return new SmtpResponse(250, "2.0.0 taken"); };
"""

def test_d20_what_the_api_promised_works(relay, hop):
    server = relay("""
    SmtpServer.debugProtocol = true;
    SmtpServer.prototype.look = function (headers, body) {
        var received = this.receivedHeader("my-id", this.recipients[0]), long = new SmtpHeader("X-Long"), i, thrown = 0;
        for (i = 0; i < 40; i++)
            long.parts.push((i ? "\\t" : "") + "word" + i);
        long.refold(60);
        headers.unshift(received, long);
        Sys.loadModule("mod_sql.so");
        try { Sys.loadModule("mod_nothing.so"); } catch (e) { thrown++; }
        if (new SmtpPath().parse("<a@b.test> SIZE=1").trim() !== "SIZE=1" || new SmtpPath().parse("nothing") !== null)
            thrown += 10;
        if (thrown !== 1)
            return new SmtpResponse(550, "thrown " + thrown);
    };
    SmtpServer.prototype.smtpNoop = function (text) { throw "a thrown string"; };
    """)
    with Sender(server.port) as sender:
        sender.hello(name=b"caller.test")
        sender.deliver(b"A: b\r\n\r\nx\r\n")
        assert sender.command(b"NOOP").code == 451
    content = hop.accepted[0].content.decode()
    received, content = content.split("X-Long", 1)
    assert re.match(r"Received: from caller\.test \(\S+ \[127\.0\.0\.1\]\)\r\n"
                    r"\tby \S+ \(Mailfilter\) with ESMTP id my-id\r\n\tfor <user@example\.test>;\r\n"
                    r"\t\w{3}, [ \d]\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", received), received
    folded = ("X-Long" + content.split("A: b")[0]).split("\r\n")[:-1]
    assert len(folded) > 3 and all(len(line) <= 60 for line in folded)
    assert all(line.startswith("\t") for line in folded[1:])
    assert " ".join("".join(folded).split()).count("word") == 40
    log = server.wait_for_log("a thrown string")
    assert "RCPT TO:<user@example.test>" in log  # debugProtocol: both sides of the dialogue
    assert "250 2.0.0 taken as H1" in log


def test_d20_the_client_name_is_never_null(serve, hop):
    with Sender(serve("""
        SmtpServer.prototype.smtpMail = function (path) {
            return new SmtpResponse(250, "by " + this.receivedHeader());
        };
        """).port) as sender:
        assert sender.reply().code == 220
        reply = sender.command(b"MAIL FROM:<a@client.test>")
    assert "null" not in reply.text and "undefined" not in reply.text, reply


def test_d21_replies_are_always_replies(serve):
    server = serve("""
    var REPLIES = {
        zero: {code: 0, message: "silence", disconnect: false},
        cr: new SmtpResponse(250, "one\\rtwo\\r\\n250 three"),
        long: new SmtpResponse(250, new Array(3000).join("word ")),
        unbroken: new SmtpResponse(250, new Array(20000).join("x")),
        nul: new SmtpResponse(250, "a\\0b"), lines: new SmtpResponse(250, ["one", "two\\nthree", ""]),
        bye: new SmtpResponse(250, "closing", true), low: {code: 99, message: "x", disconnect: false}
    };
    SmtpServer.prototype.smtpEhlo = function (name) { return new SmtpResponse(250, ["fine"]); };
    SmtpServer.prototype.smtpMail = function (path) { return REPLIES[path.mailbox.local]; };
    SmtpServer.prototype.smtpQuit = function () { return new SmtpResponse(221, "asked first"); };
    SmtpServer.prototype.smtpNoop = function () { return new SmtpResponse(252, "asked too"); };
    """)
    expected = {b"zero": 451, b"low": 451, b"cr": 250, b"long": 250, b"unbroken": 250, b"nul": 250, b"lines": 250}
    with Sender(server.port) as sender:
        sender.hello()
        for name, code in expected.items():
            reply = sender.command(b"MAIL FROM:<" + name + b"@client.test>")
            assert reply.code == code, (name, reply)  # Sender takes nothing but well-formed replies
            if name == b"lines":
                assert reply.text.split("\n")[:3] == ["one", "two", "three"]
            if name == b"unbroken":
                assert reply.text.replace("\n", "").count("x") == 19999
            assert sender.nothing_more(0.05)
            assert sender.command(b"RSET").code == 250
        assert sender.command(b"NOOP").text == "asked too"
        quit = sender.command(b"QUIT")
        assert (quit.code, quit.text) == (221, "asked first")
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"MAIL FROM:<bye@client.test>").code == 250
        assert sender.closed_by_server()


def test_d21_cleanup_is_called_when_the_greeting_failed(serve):
    server = serve("""
    SmtpServer.prototype.smtpInit = function () { throw new Error("no greeting"); };
    SmtpServer.prototype.cleanup = function () { Sys.log(Sys.LOG_NOTICE, "cleaned up"); };
    """)
    with Sender(server.port) as sender:
        assert sender.reply().code in (421, 451)
    server.wait_for_log("cleaned up")


@pytest.mark.parametrize("cut", [b"MAIL FROM:<part@b", b"MAIL FROM:<part@b.test>", b"MAIL FROM:<part@b.test>\r"])
def test_d22_a_truncated_command_is_not_executed(serve, hop, cut):
    proxy = serve("proxy", settings={"nextHop": hop.address})
    with Sender(proxy.port) as sender:
        sender.hello()
        sender.send(cut)
        sender.half_close()
        assert sender.closed_by_server()
    hop.wait_for(lambda hop: not any(c.open for c in hop.conversations), "the connection behind to be closed")
    assert not any(line.startswith(b"MAIL") for c in hop.conversations for line in c.commands)


def test_d22_long_commands_and_parameters_are_passed_on(serve, hop):
    proxy = serve("proxy", settings={"nextHop": hop.address})
    sender_path = b"<" + b"s" * 200 + b"@" + b".".join([b"d" * 60] * 4) + b">"
    route = b"<@" + b",@".join([b"relay%d.test" % i for i in range(40)]) + b":user@example.test>"
    with Sender(proxy.port) as sender:
        sender.hello()
        assert sender.command(b"MAIL FROM:" + sender_path + b" SIZE=1000 BODY=8BITMIME").code == 250
        assert len(route) > 512
        assert sender.command(b"RCPT TO: " + route).code == 250
    assert hop.transactions[0].sender == sender_path + b" SIZE=1000 BODY=8BITMIME"
    assert hop.transactions[0].recipients == [route]
    assert hop.violations == []  # which a blank after the colon would be


@pytest.mark.parametrize("length", [2_000, 5_000, 10_000, 65_000])
def test_d23_no_message_waits_for_a_delayed_acknowledgement(serve, hop, length):
    proxy = serve("proxy", settings={"nextHop": hop.address})
    content = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * (length // 72)
    times = []
    with Sender(proxy.port) as sender:
        sender.hello()
        for _ in range(15):
            began = time.perf_counter()
            sender.deliver(content)
            times.append(time.perf_counter() - began)
    assert min(times) < 0.020       # an acknowledgement that is waited for is waited for each time, 40 ms; other work is not


def test_d24_what_is_printed_is_printed_once(serve):
    server = serve("Sys.println('printed while loading');\n" + ACCEPT, options=["--workers", "2"])
    for _ in range(8):
        with Sender(server.port) as sender:
            sender.hello()
            sender.command(b"QUIT")
    server.stop()
    assert server.log.count("printed while loading") == 1


def test_d24_log_lines_are_whole_and_name_their_session(serve):
    server = serve("""
    SmtpServer.prototype.smtpEhlo = function (name) {
        Sys.log(Sys.LOG_NOTICE, "evil\\n2026-01-01T00:00:00.000Z notice X forged " + name);
        return new SmtpResponse(250, "fine");
    };
    """)
    for _ in range(3):
        with Sender(server.port) as sender:
            sender.reply()
            sender.command(b"EHLO a\x1b[31m\x7fb")
            sender.command(b"EHLO client.test")
    server.wait_for_log("forged client.test")
    lines = [line for line in server.log_lines if "forged" in line]
    whole = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z notice [0-9A-Z]\S+ evil\\x0a2026"
    assert all(re.match(whole, line) for line in lines)
    assert len({line.split(" ")[2] for line in lines}) == 3
    assert "\x1b" not in server.log


def test_d24_no_temporary_file_outlives_a_killed_process(serve, hop, tmp_path):
    proxy = serve("proxy", settings={"nextHop": hop.address}, limits={"spool_memory_bytes": 1000, "spool_shared_bytes": 0},
                  options=["--spool-directory", tmp_path])
    proxy.expected_status = -signal.SIGKILL
    with Sender(proxy.port) as sender:
        sender.hello()
        for line in (b"MAIL FROM:<a@client.test>", b"RCPT TO:<b@example.test>", b"DATA"):
            assert sender.command(line).code in (250, 354)
        sender.send(b"A: b\r\n\r\n" + b"x" * 60_000 + b"\r\n")

        def spooling():
            return any("deleted" in os.readlink(f"/proc/{proxy.process.pid}/fd/{fd}")
                       for fd in os.listdir(f"/proc/{proxy.process.pid}/fd"))

        wait_until(spooling, "the message to be spooled into a file")
        proxy.kill()
        with pytest.raises((Closed, NoReply)):
            sender.reply()
    assert list(tmp_path.iterdir()) == []
    assert hop.accepted == []


def test_d25_what_was_built_is_what_runs():
    """No build switch goes wrong unseen: the program names what it is linked with, and refuses stale modules."""
    done = subprocess.run([PROGRAM, "version"], check=True, capture_output=True, text=True, timeout=30)
    for name in ("mailfilter", "python", "duktape", "c-ares", "uvloop"):
        assert re.search(rf"^{name}\s+\d|^{name}\s+\S*\d", done.stdout, re.MULTILINE), done.stdout
    assert "cannot be used" not in done.stdout
    assert platform.python_version() in done.stdout
    sources = {path.stem for path in (PROJECT / "mailfilter/_core").glob("*.pyx")}
    modules = {path.name.partition(".")[0] for path in (PROJECT / "mailfilter/_core").glob("*.so")}
    assert sources <= modules
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module('mailfilter._core.' + name)"
    subprocess.run([PROGRAM.parent / "python", "-W", "error", "-c", code, *sorted(sources)], check=True, cwd=PROJECT,
                   timeout=60)
