"""TLS towards clients, by the real program: implicit TLS, what policy and log learn, files that change, what fails."""
import os
import re
import signal
import socket
import ssl
import subprocess

import pytest
from certificates import Authority, client_context
from peers.sender import Sender
from peers.waiting import wait_until
from serving import PROGRAM

# Tells what it knows of TLS in its replies.
POLICY = """
SmtpServer.prototype.smtpInit = function () { return new SmtpResponse(220, JSON.stringify(this.tls)); };
SmtpServer.prototype.smtpNoop = function () { return new SmtpResponse(250, JSON.stringify(this.tls)); };
SmtpServer.prototype.smtpEhlo = function () { return new SmtpResponse(250, [this.hostname, "SMTPUTF8"]); };
SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, this.receivedHeader("id").toString().replace(/\\r\\n\\t/g, " "));
};
"""
FACTS = ["bits", "cipher", "fingerprint", "resumed", "sni", "subject", "verified", "version"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def mx(authority):
    return authority.make("mx.example.org")


@pytest.fixture(scope="module")
def server(serve_module, mx, authority):
    return serve_module(POLICY, listen=["tls:127.0.0.1:0", "127.0.0.1:0"], options=[
        "--tls-certificate", f"{mx.file},{mx.key}", "--tls-client-ca", authority.file])


def secure(server, context=None, name="mx.example.org", port=None):
    sender = Sender(port or server.port)
    try:
        sender.secure(context or client_context(), name)
    except BaseException:
        sender.close()
        raise
    return sender


def told(reply):
    import json
    return json.loads(reply.text)


def test_the_listener_is_named_with_what_comes_first(server):
    assert re.search(r"listening on 127.0.0.1:[0-9]+ tls=first", server.log)
    assert re.search(r"listening on 127.0.0.1:[0-9]+$", server.log, re.MULTILINE)


def test_the_policy_knows_from_the_first_handler_on(server, mx, authority):
    with secure(server, client_context(authority)) as sender:
        facts = told(sender.reply())
        assert sorted(facts) == FACTS
        assert facts["version"] == "TLSv1.3" and facts["bits"] >= 128 and facts["sni"] == "mx.example.org"
        assert facts["subject"] is None and facts["verified"] is False and facts["resumed"] is False
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(mx.file, mx.key)
    with secure(server, context) as sender:
        facts = told(sender.reply())
        assert facts["version"] == "TLSv1.2" and facts["subject"] == "CN=mx.example.org"
        assert facts["fingerprint"] == mx.fingerprint and facts["verified"] is True
    with Sender(server.ports[1]) as sender:
        assert told(sender.reply()) is None


def test_the_trace_field_and_the_log_say_how_it_came(server):
    for hello, secured, words in ((b"EHLO", True, " with ESMTPS id id (version=TLSv1.3 cipher=TLS_"),
                                  (b"HELO", True, " with SMTP id id (version=TLSv1.3 cipher=TLS_"),
                                  (b"EHLO", False, " with ESMTP id id; ")):
        with secure(server) if secured else Sender(server.ports[1]) as sender:
            sender.hello(hello)
            assert words in sender.deliver(b"Subject: x\r\n\r\n").text
            assert sender.command(b"QUIT").code == 221
    server.wait_for_log("cipher=TLS_")
    wait_until(lambda: len(re.findall(r" session client=.* tls=TLSv1.3 cipher=TLS_", server.log)) >= 2, "two summaries")


def test_the_trace_field_of_internationalised_mail(server):
    """RFC 6531 §4.3."""
    for secured, word in ((True, "UTF8SMTPS"), (False, "UTF8SMTP")):
        with secure(server) if secured else Sender(server.ports[1]) as sender:
            sender.hello()
            text = sender.deliver(b"Subject: x\r\n\r\n", sender="<grüße@client.test> SMTPUTF8".encode()).text
            assert f" with {word} id id" in text


def test_a_whole_session_bytewise(server):
    """Records of one octet each, and a message of several records."""
    with secure(server) as sender:
        sender.bytewise = True
        sender.hello()
        assert sender.deliver(b"Subject: x\r\n\r\n" + b"y" * 500 + b"\r\n.\r\n").code == 250
    with secure(server) as sender:
        sender.hello()
        assert sender.deliver(b"Subject: x\r\n\r\n" + b"y" * 70 * 30_000).code == 250


def test_what_is_not_tls_is_closed_logged_and_counted(server):
    with Sender(server.port) as sender:
        sender.send(b"EHLO client.test\r\n")
        data = b""
        while more := sender.socket.recv(100):
            data += more
        assert data[:1] in (b"", b"\x15")             # an alert at most, and no SMTP
    server.wait_for_log("TLS handshake failed client=127.0.0.1 why=\"wrong version number\"")


def test_old_versions_are_refused_and_the_reason_logged(server):
    context = client_context()
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        secure(server, context)
    server.wait_for_log("why=\"unsupported protocol\"")


def test_sessions_are_resumed_by_whichever_worker(serve, mx):
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], options=["--tls-certificate", mx.both, "--workers", "2"])
    context = client_context()
    session, seen = None, set()
    for _ in range(60):
        plain = socket.create_connection(("127.0.0.1", server.port), 10)
        with context.wrap_socket(plain, session=session) as tls:
            greeting = tls.recv(4096)
            assert (b'"resumed":true' in greeting) == (session is not None)
            session = tls.session
            tls.sendall(b"QUIT\r\n")
            tls.recv(100)
        seen = {line.split()[2].split("-")[0] for line in server.log_lines if " session client=" in line}
        if len(seen) == 2:
            break
    assert len(seen) == 2, "the other worker was never asked"


def shown(port):
    return ssl.get_server_certificate(("127.0.0.1", port))


def pem(certificate):
    with open(certificate.file) as file:
        return file.read()


def test_changed_certificates_are_used_on_sighup_by_all_workers(serve, authority):
    used, new = authority.make("mx.example.org"), authority.make("mx.example.org")
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], options=["--tls-certificate", used.both, "--workers", "2"])
    assert shown(server.port) == pem(used)
    os.replace(new.both, used.both)
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log.count("TLS certificate reloaded") == 2, "both workers have the new one")
    assert {shown(server.port) for _ in range(8)} == {pem(new)}
    with open(used.both, "w") as file:
        file.write("half")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log.count("the one loaded before is kept") == 2, "both workers tell")
    assert shown(server.port) == pem(new)


def test_changed_certificates_are_noticed_without_a_signal(serve, authority):
    used, new = authority.make("mx.example.org"), authority.make("mx.example.org")
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], options=["--tls-certificate", used.both])
    os.replace(new.both, used.both)
    wait_until(lambda: shown(server.port) == pem(new), "the new certificate")


def test_a_handshake_that_stalls_is_given_up_and_counted(serve, mx):
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], timeouts={"tls_handshake": 0.2},
                   options=["--tls-certificate", mx.both])
    with Sender(server.port) as sender:
        assert sender.closed_by_server()
    server.wait_for_log("why=\"the handshake took longer than 0.2 s\"")


def test_handshakes_count_as_connections_and_end_with_the_server(serve, mx):
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], limits={"connections": 1}, options=["--tls-certificate", mx.both])
    with Sender(server.port) as first, Sender(server.port) as second:
        assert second.closed_by_server()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("sessions=1")
        first.secure(client_context())
        assert first.reply().code == 421
    assert server.wait() == 0


def test_draining_speaks_within_tls(serve, mx):
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], options=["--tls-certificate", mx.both])
    with secure(server) as sender:
        sender.hello()
        server.signal(signal.SIGTERM)
        assert sender.reply().code == 421
        assert sender.closed_by_server()
    assert server.wait() == 0


def test_over_a_unix_socket(serve, mx, tmp_path):
    serve(POLICY, listen=[f"tls:unix:{tmp_path}/s"], options=["--tls-certificate", mx.both])
    with Sender(unix=tmp_path / "s") as sender:
        sender.secure(client_context())
        assert told(sender.reply())["version"] == "TLSv1.3"


def start(*options):
    done = subprocess.run([PROGRAM, "serve", "mx", "--set", "domains=a.test", "--set", "nextHop=127.0.0.1:1", *options],
                          capture_output=True, text=True, timeout=30)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_what_cannot_be_loaded_stops_the_start(tmp_path, mx, authority):
    listen = ["--listen", "tls:127.0.0.1:0"]
    other = authority.make("other.example")
    for options, words in (
            ([], "cannot listen with TLS on 127.0.0.1:0: give --tls-certificate FILE[,KEY]"),
            (["--tls-certificate", "/nowhere/x.pem"], "the TLS certificate /nowhere/x.pem cannot be read: No such file"),
            (["--tls-certificate", mx.file], "there is no certificate in it, or no key in"),
            (["--tls-certificate", f"{mx.file},{other.key}"], "is not the certificate's"),
            (["--tls-certificate", mx.both, "--tls-client-ca", mx.key], "for client certificates cannot be used"),
            (["--tls-certificate", mx.both, "--tls-ciphers", "NONSENSE"], "none that OpenSSL knows")):
        status, text = start(*listen, *options)
        assert status == 1 and words in text and text.count("\n") == 1, text
    status, text = start("--listen", "127.0.0.1:0", "--tls-certificate", "/nowhere/x.pem")
    assert status == 1 and "/nowhere/x.pem" in text
    for option in (["--tls-client-ca", mx.file], ["--tls-ciphers", "NONSENSE"], ["--tls-minimum", "1.3"]):
        status, text = start("--listen", "127.0.0.1:0", *option)
        assert status == 1 and f"{option[0]} without a certificate does nothing" in text and text.count("\n") == 1, text


@pytest.mark.root
def test_files_that_only_root_may_read_are_told(serve, authority):
    certificate = authority.make("mx.example.org")
    os.chmod(certificate.key, 0o600)
    options = ["--tls-certificate", f"{certificate.file},{certificate.key}", "--workers", "2"]
    os.chmod(certificate.file, 0o644)
    server = serve(POLICY, options=[*options, "--user", "nobody"])
    told = re.findall(r"warning - this user may not read a TLS file.* file=(\S+)", server.log)
    assert certificate.key in told and len(told) == len(set(told))
    assert "may not read" not in serve(POLICY, options=options).log


def test_an_expired_certificate_warns(serve, authority):
    old = authority.make("mx.example.org", days=(-9, -2))
    server = serve(POLICY, listen=["tls:127.0.0.1:0"], options=["--tls-certificate", old.both])
    assert re.search(r"warning - the TLS certificate .* has expired on 2", server.log)


def test_a_server_name_outside_ascii_is_one_line_of_the_log(server):
    """Neither the log nor anybody else gets a stack for what a stranger sent."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(coming, going, server_hostname="NNNNNN")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = going.read()
    assert hello.count(b"NNNNNN") == 1
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        before = len(server.log)
        raw.sendall(hello.replace(b"NNNNNN", b"\xff\xfe\r\n\xfdx"))
        assert raw.recv(1) == b"\x15"                     # an alert
        wait_until(lambda: "TLS handshake failed" in server.log[before:], "the end of the handshake")
    assert len(server.log[before:].splitlines()) == 1
    with secure(server) as sender:
        assert sender.reply().code == 220
