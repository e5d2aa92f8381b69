"""Known defects of the predecessor, D13 to D18: overload, restarts, privileges, memory, listening.

Coming with their parts, and not here: of D16 what concerns Dns, SpfServer and SQL.
"""
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing

import pytest
from peers.next_hop import Say
from peers.sender import NoReply, Sender
from peers.waiting import wait_until
from serving import PROGRAM

ACCEPT = """
SmtpServer.prototype.smtpData = function (headers, body) { return new SmtpResponse(250, "2.0.0 taken"); };
"""

GREETED = b"220 "


def test_d13_slow_clients_and_crowds_are_bounded(serve):
    server = serve(ACCEPT, timeouts={"command": 0.3, "data_block": 0.3}, limits={"connections": 5})
    with Sender(server.port) as silent:
        assert silent.reply().code == 220
        assert silent.reply().code == 421
        assert silent.closed_by_server()
    with Sender(server.port) as stuck:
        stuck.hello()
        for line in (b"MAIL FROM:<a@client.test>", b"RCPT TO:<b@example.test>", b"DATA"):
            assert stuck.command(line).code in (250, 354)
        stuck.send(b"Subject: half a mess")
        assert stuck.reply().code == 421
        assert stuck.closed_by_server()
    patient = serve(ACCEPT, limits={"connections": 5})
    with ExitStack() as stack:
        for _ in range(5):
            assert stack.enter_context(Sender(patient.port)).reply().code == 220
        with Sender(patient.port) as sixth:
            assert sixth.reply().code == 421
            assert sixth.closed_by_server()


def test_d13_five_hundred_clients_at_once_are_greeted_at_once(serve):
    server = serve(ACCEPT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
    began = time.monotonic()
    with ExitStack() as stack:
        clients = [stack.enter_context(Sender(server.port)) for _ in range(500)]
        for client in clients:
            assert client.reply().code == 220
    assert time.monotonic() - began < 5  # with a backlog of 20 the SYNs of the rest are sent again after 1, 3, 7 s


def test_d14_a_successor_serves_while_the_last_session_finishes(serve):
    first = serve(ACCEPT)
    with Sender(first.port) as old:
        old.hello()
        assert old.command(b"MAIL FROM:<a@client.test>").code == 250
        assert old.command(b"RCPT TO:<b@example.test>").code == 250
        first.signal(signal.SIGTERM)

        def refused():
            try:
                socket.create_connection(("127.0.0.1", first.port), 1).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(refused, "the first server to stop listening")
        second = serve(ACCEPT, listen=[f"127.0.0.1:{first.port}"])
        with Sender(second.port) as new:
            new.hello()
            new.deliver(b"x\r\n")
        assert first.process.poll() is None
        assert old.command(b"DATA").code == 354
        old.send(b"y\r\n.\r\n")
        assert old.reply().code == 250
        try:
            assert old.reply().code == 421
        except NoReply:
            assert old.command(b"NOOP").code == 421
        assert old.closed_by_server()
    assert first.wait() == 0


@pytest.mark.root
def test_d15_privileges_are_dropped_after_binding_and_wholly(serve):
    nobody = pwd.getpwnam("nobody")
    for port in range(600, 1024):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
    else:
        pytest.skip("no free port below 1024")
    for workers in (1, 2):
        server = serve(ACCEPT, listen=[f"127.0.0.1:{port}"], options=["--user", "nobody", "--workers", workers])
        pids = [server.process.pid]
        with open(f"/proc/{pids[0]}/task/{pids[0]}/children", encoding="ascii") as children:
            pids += map(int, children.read().split())
        assert len(pids) == (1 if workers == 1 else 3)
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
            assert fields["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert fields["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert "0" not in fields["Groups"].split()
            assert int(fields["CapEff"], 16) == 0
        with Sender(port) as sender:
            sender.hello()
        assert server.stop() == 0


@pytest.mark.root
@pytest.mark.parametrize("options", [
    ["--group", "nogroup"], ["--user", "root"], ["--user", "no-such-user"],
    ["--user", "nobody", "--group", "root"], ["--user", "nobody", "--group", "no-such"]], ids=" ".join)
def test_d15_half_or_wrong_identities_are_refused(options):
    done = subprocess.run([PROGRAM, "serve", "mx", "--listen", "127.0.0.1:0", *options], check=False,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--group" in done.stderr or "--user" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("crime", [
    "this.recipients = 5", "delete this.recipients", "this.recipients = null", "this.sender = 3; delete this.sender",
    "Object.defineProperty(this, 'recipients', {get: function () { throw new Error('getter'); }})",
    "this.remoteAddr = null; this.hostname = {}; this.clientname = 7",
    "delete SmtpServer; SmtpPath = null; SmtpHeader = SmtpResponse = undefined",
    "SmtpPath = function () { throw new Error('no paths today'); }",
    "Array = Object = Error = String = undefined", "Object.freeze(this)", "JSON = null; Symbol = null",
    "Array.prototype.push = null; Array.prototype.map = null; Function.prototype.call = null",
], ids=range(12))
def test_d16_a_policy_cannot_break_the_process(serve, crime):
    policy = ACCEPT + f"""
    SmtpServer.prototype.smtpMail = function (path) {{
        if (path.mailbox.local === "crime") {{ {crime}; }}
        return new SmtpResponse(250, "2.1.0 fine");
    }};
    """
    server = serve(policy)
    pid = server.process.pid
    with Sender(server.port) as sender:
        sender.hello()
        for number in range(2):
            replies = sender.transaction(b"A: b\r\n\r\nx\r\n", sender=b"<crime@client.test>") if number == 0 else [
                sender.command(b"RSET")]
            assert all(r.code in (250, 354, 421, 451) for r in replies), replies
            if replies[-1].code == 421:
                break
    with Sender(server.port) as other:
        other.hello()
        other.deliver(b"x\r\n")
    assert server.process.poll() is None and server.process.pid == pid


@pytest.mark.parametrize("change", [
    "headers[0].name = 5", "headers[0].name = null", "delete headers[0].name", "headers[0].parts = 7",
    "headers[0].parts = null", "headers[0].parts = [{toString: function () { throw new Error('part'); }}]",
    "headers.push(null)", "headers.push(undefined)", "headers.push(3)", "headers.push({toString: null})",
    "headers.push(headers)", "headers.length = 1e6", "headers[0].parts = [headers]", "headers.push(Symbol('x'))",
], ids=range(14))
def test_d16_odd_headers_give_an_error_at_most(relay, hop, change):
    server = relay(f"SmtpServer.prototype.look = function (headers) {{ {change}; }};")
    with Sender(server.port) as sender:
        sender.hello()
        reply = sender.transaction(b"A: b\r\n\r\nx\r\n")[-1]
        assert reply.code in (250, 421, 451), reply
    assert len(hop.accepted) == (reply.code == 250)
    assert not [t for t in hop.transactions if t.complete and not t.accepted]
    with Sender(server.port) as sender:
        sender.hello()
    assert server.process.poll() is None


def test_d16_ehlo_keywords_with_parameters_are_filtered_safely(serve, hop):
    lines = [b"hop.test", b"SIZE 1000000", b"AUTH PLAIN LOGIN " + b"X" * 400, b"pipelining", b"X-ODD " + b"y" * 300,
             b"SIZE", b"8bitmime", b"8BITMIME", b"", b" ", b"STARTTLS", b"CHUNKING", b"DSN", b"SMTPUTF8"]
    reply = b"".join(b"250-" + line + b"\r\n" for line in lines) + b"250 ENHANCEDSTATUSCODES\r\n"
    hop.begin({"ehlo": [Say(reply)]})
    proxy = serve("proxy", settings={"nextHop": hop.address})
    with Sender(proxy.port) as sender:
        announced = sender.hello().lines[1:]
    assert sorted(announced) == [b"8BITMIME", b"CHUNKING", b"DSN", b"ENHANCEDSTATUSCODES", b"LIMITS RCPTMAX=1000",
                                 b"PIPELINING", b"SIZE 1000000", b"SMTPUTF8"]


@pytest.mark.root
def test_d17_the_ident_of_openlog_stays(serve):
    if os.path.exists("/dev/log"):
        pytest.skip("there is a system log here; this test would take its place")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as system_log:
        system_log.bind("/dev/log")
        try:
            system_log.settimeout(10)
            server = serve("""
            SmtpServer.prototype.smtpInit = function () {
                Sys.openlog("mail" + "filter-" + "ident", Sys.LOG_MAIL);
                return new SmtpResponse(220, "fine");
            };
            SmtpServer.prototype.smtpEhlo = function (name) {
                var i, garbage = [];
                for (i = 0; i < 1000; i++)
                    garbage.push("remoteAddr" + i);
                Duktape.gc();
                Sys.log(Sys.LOG_NOTICE, "hello from " + name);
                return new SmtpResponse(250, "fine");
            };
            """)
            lines = []
            for number in range(20):
                with Sender(server.port) as sender:
                    sender.hello(name=b"n%d.test" % number)
                while not any(f"hello from n{number}.test" in line for line in lines):
                    lines.append(system_log.recv(65536).decode("utf-8", "replace"))
        finally:
            os.unlink("/dev/log")
    assert all(re.match(r"<\d+>.*\bmailfilter-ident\[\d+\]: ", line) for line in lines), lines


def test_d18_every_listen_address_works_and_says_who_is_there(serve, tmp_path):
    where = tmp_path / "socket"
    policy = ACCEPT + f"""
    SmtpServer.listenAddress = [["127.0.0.1", 0], ["127.0.0.1", "0"], ["::1", 0], ["unix:{where}", 0]];
    SmtpServer.prototype.smtpEhlo = function (name) {{
        return new SmtpResponse(250, [this.remoteAddr, "PIPELINING"]);
    }};
    """
    server = serve(policy, listen=[])
    assert len(server.ports) == 3
    for host, port in zip(("127.0.0.1", "127.0.0.1", "::1"), server.ports, strict=True):
        with Sender(port, host=host) as sender:
            assert sender.hello().lines[0].decode() == host
    with Sender(unix=where) as sender:
        sender.hello()
        sender.deliver(b"x\r\n")


@pytest.mark.parametrize("addresses", ["[]", "undefined", "[['127.0.0.1']]", "'127.0.0.1:0'", "[['no.name.test', 0]]"])
def test_d18_no_address_to_listen_on_is_an_error(tmp_path, addresses):
    policy = tmp_path / "policy.js"
    policy.write_text(f"SmtpServer.listenAddress = {addresses};\n")
    done = subprocess.run([PROGRAM, "serve", policy], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2)
    assert "listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_greeting_is_no_longer_than_it_must_be(serve):
    """Beside D23: nothing waits for a name service before the greeting."""
    server = serve(ACCEPT)
    took = []
    for _ in range(5):
        began = time.monotonic()
        with closing(socket.create_connection(("127.0.0.1", server.port), 5)) as client:
            assert client.recv(4) == GREETED
        took.append(time.monotonic() - began)
    assert min(took) < 0.5


@pytest.mark.root
def test_maps_are_read_by_root_and_asked_by_the_user_that_workers_are(serve, tmp_path):
    """Workers need neither read the file, nor what root has compiled, nor run the program that compiles."""
    policy = tmp_path / "policy.js"
    policy.write_text("var map = Maps.load('a.hash');\n" + ACCEPT + """
    SmtpServer.prototype.smtpVrfy = function (name) { return new SmtpResponse(250, 'found ' + map.get(name)); };
    """)
    (tmp_path / "a.hash").write_text("key value\n")
    (tmp_path / "cache").mkdir(mode=0o700)
    for workers in (1, 2):
        server = serve(policy, settings={"cacheDirectory": tmp_path / "cache"},
                       options=["--user", "nobody", "--workers", workers])
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"VRFY key").text == "found value"
