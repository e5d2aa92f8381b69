"""STARTTLS by the real program: the seam between clear and encrypted, what is forgotten at it, what may go wrong."""
import json
import re
import signal
import ssl

import pytest
from certificates import Authority, client_context
from peers.sender import Closed, Sender
from peers.waiting import wait_until

# Says in NOOP what the session is; decides about STARTTLS by the client's name.
POLICY = """
SmtpServer.prototype.started = 0;
SmtpServer.prototype.smtpStartTls = function () {
    this.started++;
    this.before = this.clientname;
    switch (this.clientname) {
    case "throw.test": throw new Error("thrown by it");
    case "refuse.test": return new SmtpResponse(454, "4.7.0 Not now");
    case "wait.test": this.receivedHeader(); return null;
    case "odd.test": return new SmtpResponse(250, "as Mailfilter 3 had it");
    }
};
SmtpServer.prototype.smtpNoop = function () {
    return new SmtpResponse(250, JSON.stringify([this.tls && this.tls.sni, this.clientname, this.proto, this.started, this.before,
                                                 this.sender === null, this.recipients.length]));
};
SmtpServer.prototype.smtpData = function (headers, body) {
    return headers && new SmtpResponse(250, this.receivedHeader("id").toString().replace(/\\r\\n\\t/g, " "));
};
SmtpServer.prototype.cleanup = function () { Sys.log(Sys.LOG_NOTICE, "cleaned up"); };
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca")).make("mx.example.org")


@pytest.fixture(scope="module")
def server(serve_module, certificate):
    return serve_module(POLICY, listen=["127.0.0.1:0", "tls:127.0.0.1:0"], options=["--tls-certificate", certificate.both],
                        limits={"operations": 10_000_000, "session_ms": 600_000})


@pytest.fixture(scope="module")
def hurried(serve_module, certificate):
    return serve_module(POLICY, timeouts={"tls_handshake": 0.3}, options=["--tls-certificate", certificate.both])


def started(server, name=b"client.test"):
    """A Sender that has said EHLO and STARTTLS, and speaks TLS."""
    sender = Sender(server.port)
    sender.hello(name=name)
    assert sender.command(b"STARTTLS").code == 220
    sender.secure(client_context(), "mx.example.org")
    return sender


def told(sender):
    return json.loads(sender.command(b"NOOP").text)


def summary(server, number):
    wait_until(lambda: server.log.count(" session client=") >= number, "the session's summary")


def test_it_is_offered_until_it_was_used(server):
    with Sender(server.port) as sender:
        assert b"STARTTLS" in sender.hello().lines
        assert sender.command(b"STARTTLS").code == 220
        sender.secure(client_context(), "mx.example.org")
        assert b"STARTTLS" not in sender.command(b"EHLO client.test").lines
        reply = sender.command(b"STARTTLS")
        assert reply.code in (503, 554) and told(sender)[0] == "mx.example.org"


def test_it_is_not_offered_where_tls_came_first_or_is_not_there(server, serve):
    with Sender(server.ports[1]) as sender:
        sender.secure(client_context(), "mx.example.org")
        assert b"STARTTLS" not in sender.hello().lines
        assert sender.command(b"STARTTLS").code >= 500
    without = serve(POLICY)
    with Sender(without.port) as sender:
        assert b"STARTTLS" not in sender.hello().lines
        assert sender.command(b"STARTTLS").code == 500


def test_what_was_said_before_is_forgotten(server):
    with started(server) as sender:
        assert told(sender) == ["mx.example.org", None, "SMTP", 1, "client.test", True, 0]
        assert sender.command(b"MAIL FROM:<a@b>").code == 503
        assert sender.command(b"EHLO other.test").code == 250
        assert told(sender)[1:3] == ["other.test", "ESMTP"]
        assert " with ESMTPS id id (version=TLSv1.3 cipher=" in sender.deliver(b"Subject: x\r\n\r\n").text


def test_before_ehlo_after_helo_and_with_an_argument(server):
    with Sender(server.port) as sender:
        sender.reply()
        assert sender.command(b"STARTTLS now").code == 501
        assert sender.command(b"starttls").code == 220
        sender.secure(client_context())
        assert sender.command(b"HELO client.test").code == 250
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"MAIL FROM:<a@b>").code == 250
        assert sender.command(b"STARTTLS").code == 503


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("behind", [
    b"EHLO injected.test\r\nMAIL FROM:<injected@a.test>\r\n", b"NOOP\r\n", b"R", b"RSET\r\nQUIT\r\n"])
def test_what_is_said_in_clear_behind_it_counts_for_nothing(server, behind, bytewise):
    """CVE-2011-0411 and what came after it: no reply to it, no state of it, and it never gets to the policy."""
    with Sender(server.port, bytewise=bytewise) as sender:
        sender.hello()
        if bytewise:
            # What comes after the 220 is taken for the handshake, and fails as one.
            sender.send(b"STARTTLS\r\n")
            assert sender.reply().code == 220
            data = b""
            try:
                sender.send(behind + b"\r\n" * 20)     # it may have hung up before all is sent
                while more := sender.socket.recv(100):
                    data += more
            except (Closed, ConnectionError):
                pass
            assert data[:1] in (b"", b"\x15")
            return
        sender.send(b"STARTTLS\r\n" + behind)
        assert sender.reply().code == 220
        sender.secure(client_context(), "mx.example.org")
        assert told(sender) == ["mx.example.org", None, "SMTP", 1, "client.test", True, 0]
        assert sender.nothing_more()
    assert "injected" not in server.log


def test_a_client_hello_that_does_not_wait_for_the_220_is_discarded_too(hurried):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with Sender(hurried.port) as sender:
        sender.hello()
        sender.send(b"STARTTLS\r\n" + outgoing.read())
        assert sender.reply().code == 220
        assert sender.closed_by_server()
    hurried.wait_for_log("the handshake took longer than 0.3 s")


def test_a_handshake_that_fails_ends_the_session_once(server):
    before = server.log.count("cleaned up")
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"STARTTLS").code == 220
        sender.send(b"GET / HTTP/1.1\r\n\r\n")
        while sender.socket.recv(100):
            pass
    wait_until(lambda: server.log.count("cleaned up") == before + 1, "cleanup")
    assert re.search(r"TLS handshake failed client=127.0.0.1 why=\"http request\"", server.log)


def test_a_client_that_leaves_in_the_handshake(server):
    before = server.log.count("cleaned up")
    for _ in range(3):
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"STARTTLS").code == 220
            sender.send(b"\x16\x03\x01")
    wait_until(lambda: server.log.count("cleaned up") == before + 3, "cleanup")


def test_a_handshake_that_stalls_is_given_up(hurried):
    with Sender(hurried.port) as sender:
        sender.hello()
        assert sender.command(b"STARTTLS").code == 220
        assert sender.closed_by_server()


@pytest.mark.parametrize("name,code", [(b"throw.test", 451), (b"refuse.test", 454)])
def test_a_policy_may_refuse_and_the_session_goes_on_in_clear(server, name, code):
    with Sender(server.port) as sender:
        sender.hello(name=name)
        assert sender.command(b"STARTTLS").code == code
        assert told(sender)[:3] == [None, name.decode(), "ESMTP"]
        assert sender.deliver(b"Subject: x\r\n\r\n").code == 250
    if code == 451:
        server.wait_for_log("smtpStartTls: Error: thrown by it")


def test_what_is_said_behind_a_refused_starttls_is_said_in_clear(server):
    """It should be the last of its group (RFC 3207 §4); a client that goes on blindly does so by its own choice."""
    with Sender(server.port) as sender:
        sender.hello(name=b"refuse.test")
        sender.send(b"STARTTLS\r\nNOOP\r\n")
        assert [sender.reply().code for _ in range(2)] == [454, 250]


@pytest.mark.parametrize("name", ["wait.test", "odd.test"])
def test_a_policy_may_wait_and_whatever_its_success_says_the_client_reads_220(server, name):
    with started(server, name.encode()) as sender:
        assert told(sender)[3:5] == [1, name]


def test_twice_in_one_process_bytewise_and_with_large_messages(server):
    with started(server) as sender:
        sender.bytewise = True
        assert sender.command(b"EHLO client.test").code == 250
        assert sender.deliver(b"Subject: x\r\n\r\n.\r\n" + b"y" * 300).code == 250
        sender.bytewise = False
        assert sender.deliver(b"Subject: x\r\n\r\n" + b"z" * 70 * 30_000).code == 250
        sender.send(b"NOOP\r\n" * 100)
        assert [sender.reply().code for _ in range(100)] == [250] * 100


def test_draining_during_and_after_the_handshake(serve, certificate):
    server = serve(POLICY, options=["--tls-certificate", certificate.both])
    with started(server) as one, Sender(server.port) as other:
        other.hello()
        assert other.command(b"STARTTLS").code == 220
        server.signal(signal.SIGTERM)
        assert one.reply().code == 421
        other.secure(client_context())
        assert other.reply().code == 421
        assert server.wait() == 0


def test_over_a_unix_socket(serve, certificate, tmp_path):
    serve(POLICY, listen=[f"unix:{tmp_path}/s"], options=["--tls-certificate", certificate.both])
    with Sender(unix=tmp_path / "s") as sender:
        sender.hello()
        assert sender.command(b"STARTTLS").code == 220
        sender.secure(client_context(), "mx.example.org")
        assert told(sender)[0] == "mx.example.org"


def test_back_pressure_within_tls(server):
    """A client that does not fetch its replies is not read, and loses none of them."""
    with started(server) as sender:
        assert sender.command(b"EHLO client.test").code == 250
        sender.socket.setblocking(False)
        sent = 0
        line = b"NOOP " + b"x" * 500 + b"\r\n"
        try:
            while sent < 20_000:
                sender.socket.send(line)
                sent += 1
        except (ssl.SSLWantWriteError, BlockingIOError):
            pass
        sender.socket.setblocking(True)
        sender.socket.settimeout(20)
        got = 0
        while got < sent:
            assert sender.reply().code == 250
            got += 1


def test_quit_says_goodbye_in_tls(server):
    with started(server) as sender:
        sender.socket.suppress_ragged_eofs = False
        assert sender.command(b"QUIT").code == 221
        with pytest.raises(Closed):
            sender._more()
