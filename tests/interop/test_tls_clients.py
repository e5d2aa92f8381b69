"""Real mail programs deliver over TLS, begun with STARTTLS and from the first octet, and verify our certificate."""
import os
import smtplib
from pathlib import Path

import pytest
from certificates import Authority, client_context
from interop.test_clients import MESSAGE, NODE_MODULES, need, run
from peers import postfix
from peers.postfix import Postfix, without_trace

POLICY = """
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return null; }
    if (this.tls === null) { return new SmtpResponse(550, "5.7.0 In clear"); }
    headers.unshift(this.receivedHeader());
    new Maildir(Sys.setting("maildir")).deliver(headers, body);
    return new SmtpResponse(250, "2.0.0 Taken");
};
"""
BEGINNINGS = ("starttls", "implicit")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def maildir(tmp_path_factory):
    return tmp_path_factory.mktemp("mail") / "Maildir"


@pytest.fixture(scope="module")
def server(serve_module, authority, maildir):
    return serve_module(POLICY, listen=["127.0.0.1:0", "tls:127.0.0.1:0"], settings={"maildir": maildir}, options=[
        "--tls-certificate", authority.make("localhost", "127.0.0.1").both, "--hostname", "localhost"])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "message.eml"
    path.write_bytes(MESSAGE)
    return path


def swaks(implicit, port, file, ca):
    run(need("swaks"), "--server", "127.0.0.1", "--port", port, "--from", "sender@client.test", "--to", "user@example.test",
        "--ehlo", "client.test", "--data", f"@{file}", "--tls-verify", "--tls-ca-path", ca, "--tls-sni", "localhost",
        "--tls-on-connect" if implicit else "--tls")


def curl(implicit, port, file, ca):
    scheme = "smtps" if implicit else "smtp"
    run(need("curl"), "--silent", "--show-error", "--max-time", "20", "--ssl-reqd", "--cacert", ca,
        f"{scheme}://localhost:{port}/client.test", "--ipv4", "--mail-from", "sender@client.test", "--mail-rcpt",
        "user@example.test", "--upload-file", file)


def msmtp(implicit, port, file, ca):
    with open(file, "rb") as message:
        run(need("msmtp"), "--host=127.0.0.1", f"--port={port}", "--from=sender@client.test", "--domain=client.test",
            "--tls=on", f"--tls-starttls={'off' if implicit else 'on'}", f"--tls-trust-file={ca}", "--auth=off",
            "--timeout=20", "user@example.test", stdin=message)


def python_smtplib(implicit, port, file, ca):
    class Trusted:
        file = ca
    context = client_context(Trusted)
    if implicit:
        client = smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="client.test", timeout=20, context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20)
        client.starttls(context=context)
    with client:
        assert client.sendmail("sender@client.test", ["user@example.test"], Path(file).read_bytes()) == {}


NODEMAILER = """
const fs = require('fs');
const transport = require('nodemailer').createTransport({
    host: '127.0.0.1', port: Number(process.argv[1]), name: 'client.test', secure: process.argv[3] === 'implicit',
    requireTLS: true, tls: {ca: fs.readFileSync(process.argv[4]), servername: 'localhost'}});
transport.sendMail({
    envelope: {from: 'sender@client.test', to: ['user@example.test']}, raw: fs.readFileSync(process.argv[2])
}).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


def nodemailer(implicit, port, file, ca):
    if not (NODE_MODULES / "nodemailer").exists():
        pytest.skip("nodemailer is not installed in build/interop (tests/install-packages.sh does it)")
    run(need("node"), "-e", NODEMAILER, port, file, BEGINNINGS[implicit], ca, env={"NODE_PATH": str(NODE_MODULES)})


CLIENTS = (swaks, curl, msmtp, python_smtplib, nodemailer)


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_delivered_over_tls(server, authority, maildir, file, client, beginning):
    implicit = beginning == "implicit"
    before = set(maildir.glob("new/*"))
    client(implicit, server.ports[implicit], file, authority.file)
    [delivered] = set(maildir.glob("new/*")) - before
    fields, content = without_trace(delivered.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert b"gr\xc3\xbc\xc3\x9fe" in content
    received = next(field for field in fields if field.startswith(b"Received"))
    assert b"from client.test" in received and b" with ESMTPS id " in received and b"(version=TLSv1.3 cipher=" in received


@pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_postfix_insists_on_tls(server, authority, maildir, beginning):
    implicit = beginning == "implicit"
    before = set(maildir.glob("new/*"))
    settings = {"smtp_tls_security_level": "secure", "smtp_tls_CAfile": authority.file,
                "smtp_tls_secure_cert_match": "localhost", "smtp_tls_wrappermode": "yes" if implicit else "no",
                "smtp_tls_loglevel": "1"}
    os.chmod(authority.file, 0o644)
    with Postfix(relay=server.ports[implicit], settings=settings) as sender:
        sender.inject(MESSAGE)
        sender.wait_until_empty()
        assert "Verified TLS connection established" in sender.log()
    [delivered] = set(maildir.glob("new/*")) - before
    assert b" with ESMTPS id " in delivered.read_bytes()
