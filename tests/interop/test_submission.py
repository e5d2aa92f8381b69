"""Real mail programs log in through `submission.js` to a real Postfix whose users Dovecot knows, by every mechanism they
have; and at `submission.js` itself."""
import re
import smtplib
import subprocess

import pytest
from certificates import Authority, client_context
from interop.test_clients import MESSAGE, NODE_MODULES, need, run
from peers import dovecot, postfix
from peers.dovecot import Dovecot
from peers.postfix import Postfix, without_trace

pytestmark = [pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing())),
              pytest.mark.skipif(dovecot.missing() is not None, reason=str(dovecot.missing()))]

USER, PASSWORD = "user", "secret"


class Wrong(Exception):
    """The password was refused."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def behind():
    """A Postfix that takes mail from whoever has logged in, and from nobody else."""
    with Dovecot() as users, Postfix(settings={
            "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": f"inet:127.0.0.1:{users.sasl_port}",
            "smtpd_sasl_authenticated_header": "yes", "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject", "mynetworks": "192.0.2.1/32"}) as server:
        yield server


@pytest.fixture(scope="module")
def relaying(serve_module, authority, behind):
    """The policy, which passes AUTH on."""
    return serve_module("submission", settings={"nextHop": f"127.0.0.1:{behind.port}"}, options=[
        "--tls-certificate", authority.make("localhost", "127.0.0.1").both, "--hostname", "localhost"],
        listen=["127.0.0.1:0", "tls:127.0.0.1:0"])


@pytest.fixture(scope="module")
def deciding(serve_module, authority, behind):
    """The policy with users of its own, which logs in at the next hop for them."""
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout.strip()
    return serve_module("submission", settings={
        "nextHop": f"127.0.0.1:{behind.port}", "users": f"{USER}:{hashed}", "nextHopUser": "second",
        "nextHopPassword": PASSWORD, "senders": "user:sender@client.test"}, options=[
        "--tls-certificate", authority.make("localhost", "127.0.0.1").both, "--hostname", "localhost"],
        listen=["127.0.0.1:0", "tls:127.0.0.1:0"])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "message.eml"
    path.write_bytes(MESSAGE)
    return path


def attempted(refusal, *command, **options):
    """Run a program; Wrong when it says that it was refused."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, timeout=60, **options)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode and re.search(refusal, said):
        raise Wrong(said)
    assert done.returncode == 0, said
    return said


def swaks(mechanism, port, file, ca, password, implicit=False):
    attempted("535 5.7.8", need("swaks"), "--server", "127.0.0.1", "--port", port, "--from", "sender@client.test", "--to",
              "user@example.test", "--ehlo", "client.test", "--data", f"@{file}", "--tls-on-connect" if implicit else "--tls",
              "--tls-verify", "--tls-ca-path", ca, "--tls-sni", "localhost", "--auth", mechanism, "--auth-user", USER,
              "--auth-password", password)


def curl(mechanism, port, file, ca, password, implicit=False):
    if mechanism.startswith("SCRAM") and b"gsasl" not in run(need("curl"), "--version").lower():
        pytest.skip("this curl knows no SCRAM")
    attempted("67|Login denied", need("curl"), "--silent", "--show-error", "--max-time", "30", "--ssl-reqd", "--cacert", ca,
              f"{'smtps' if implicit else 'smtp'}://localhost:{port}/client.test", "--ipv4", "--mail-from", "sender@client.test",
              "--mail-rcpt", "user@example.test", "--upload-file", file, "--user", f"{USER}:{password}", "--login-options",
              f"AUTH={mechanism}")


def msmtp(mechanism, port, file, ca, password, implicit=False):
    with open(file, "rb") as message:
        attempted("535 5.7.8", need("msmtp"), "--host=127.0.0.1", f"--port={port}", "--from=sender@client.test",
                  "--domain=client.test", "--tls=on", f"--tls-starttls={'off' if implicit else 'on'}", f"--tls-trust-file={ca}",
                  f"--auth={mechanism.lower()}", f"--user={USER}", f"--passwordeval=echo {password}", "--timeout=30",
                  "user@example.test", stdin=message)


def python_smtplib(mechanism, port, file, ca, password, implicit=False):
    class Trusted:
        file = ca
    context = client_context(Trusted)
    if implicit:
        client = smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="client.test", timeout=30, context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=30)
        client.starttls(context=context)
    with client:
        client.ehlo()
        client.user, client.password = USER, password
        try:
            client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
        except smtplib.SMTPAuthenticationError as error:
            raise Wrong(error) from None
        assert client.sendmail("sender@client.test", ["user@example.test"], MESSAGE) == {}


NODEMAILER = """
const fs = require('fs');
const [port, file, ca, user, pass, method, implicit] = process.argv.slice(1);
const transport = require('nodemailer').createTransport({
    host: '127.0.0.1', port: Number(port), name: 'client.test', secure: implicit === '1', requireTLS: true,
    tls: {ca: fs.readFileSync(ca), servername: 'localhost'}, auth: {user, pass}, authMethod: method});
transport.sendMail({
    envelope: {from: 'sender@client.test', to: ['user@example.test']}, raw: fs.readFileSync(file)
}).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


def nodemailer(mechanism, port, file, ca, password, implicit=False):
    if not (NODE_MODULES / "nodemailer").exists():
        pytest.skip("nodemailer is not installed in build/interop (tests/install-packages.sh does it)")
    attempted("535 5.7.8", need("node"), "-e", NODEMAILER, port, file, ca, USER, password, mechanism, int(implicit),
              env={"NODE_PATH": str(NODE_MODULES)})


# What each program can do.
CLIENTS = [(client, mechanism) for client, mechanisms in {
    swaks: ("PLAIN", "LOGIN", "CRAM-MD5"), curl: ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"),
    msmtp: ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"), python_smtplib: ("PLAIN", "LOGIN", "CRAM-MD5"),
    nodemailer: ("PLAIN", "LOGIN", "CRAM-MD5")}.items() for mechanism in mechanisms]
IDS = [f"{client.__name__}-{mechanism}" for client, mechanism in CLIENTS]


def arrived(behind, before):
    [message] = [path.read_bytes() for path in set((behind.directory / "mail/inbox/new").glob("*")) - before]
    return without_trace(message.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(("client", "mechanism"), CLIENTS, ids=IDS)
def test_passed_on(relaying, behind, authority, file, client, mechanism):
    before = set((behind.directory / "mail/inbox/new").glob("*"))
    client(mechanism, relaying.ports[0], file, authority.file, PASSWORD)
    behind.wait_until_empty()
    fields, content = arrived(behind, before)
    assert b"gr\xc3\xbc\xc3\x9fe" in content
    assert b" with ESMTPSA id " in fields[-1] and b"from client.test" in fields[-1]
    assert b"(Authenticated sender: user)" in fields[-2]
    assert f"AUTH accepted mechanism={mechanism} client=127.0.0.1 identity={USER}" in relaying.log
    assert PASSWORD not in relaying.log


@pytest.mark.parametrize(("client", "mechanism"), CLIENTS, ids=IDS)
def test_a_wrong_password(relaying, authority, file, client, mechanism):
    with pytest.raises(Wrong):
        client(mechanism, relaying.ports[0], file, authority.file, "wrong")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("client", [swaks, curl, msmtp, python_smtplib, nodemailer], ids=lambda client: client.__name__)
def test_users_of_the_policy(deciding, behind, authority, file, client, mechanism):
    """By implicit TLS, too."""
    before = set((behind.directory / "mail/inbox/new").glob("*"))
    client(mechanism, deciding.ports[1], file, authority.file, PASSWORD, implicit=True)
    behind.wait_until_empty()
    fields, _content = arrived(behind, before)
    assert b"(Authenticated sender: second)" in fields[-2]
    with pytest.raises(Wrong):
        client(mechanism, deciding.ports[0], file, authority.file, "wrong")


def test_postfix_does_not_take_it_without(behind, relaying, authority):
    """It is the login that opens the way, on both sides."""
    for port in (behind.port, relaying.ports[0]):
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=30) as client, \
                pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused)):
            client.sendmail("sender@client.test", ["user@example.test"], MESSAGE)
