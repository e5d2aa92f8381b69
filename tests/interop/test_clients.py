"""Real mail programs deliver through `proxy.js`, and into the Maildir of `mx.js`.

What a program makes of its input is its own affair; so each sends the same message twice, once straight to a capturing
next hop and once through Mailfilter, and the two must be the same but for Mailfilter's trace fields.
"""
import re
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest
from peers.next_hop import NextHop
from peers.postfix import without_trace
from peers.sender import Sender
from serving import PROJECT

NODE_MODULES = PROJECT / "build/interop/node_modules"

MESSAGE = (b"From: Sender <sender@client.test>\r\nTo: user@example.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?= and\r\n"
           b"\tfolded\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@client.test>\r\nX-Odd:no blank\r\n"
           b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
           b".leading dot\r\n..two\r\n.\r\nFrom the start\r\ngr\xc3\xbc\xc3\x9fe\r\n"
           + b"long " * 150 + b"\r\n\r\ntrailing blanks  \r\n\r\n").replace(b"\r\n.\r\nFrom", b"\r\n. \r\nFrom")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, timeout=30, **options)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    return done.stdout


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    return program


def swaks(port, file, *more):
    return run(need("swaks"), "--server", "127.0.0.1", "--port", port, "--from", "sender@client.test",
               "--to", "user@example.test", "--ehlo", "client.test", "--data", f"@{file}", *more)


def swaks_pipelined(port, file):
    said = swaks(port, file, "--pipeline")
    assert re.search(rb"\n -> MAIL .*\n -> RCPT .*\n -> DATA\n", said), "it sent one command at a time"


def curl(port, file):
    run(need("curl"), "--silent", "--show-error", "--max-time", "20", f"smtp://127.0.0.1:{port}/client.test",
        "--mail-from", "sender@client.test", "--mail-rcpt", "user@example.test", "--upload-file", file)


def msmtp(port, file):
    with open(file, "rb") as message:
        run(need("msmtp"), "--host=127.0.0.1", f"--port={port}", "--from=sender@client.test", "--domain=client.test",
            "--tls=off", "--auth=off", "--timeout=20", "user@example.test", stdin=message)


def python_smtplib(port, file):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
        refused = client.sendmail("sender@client.test", ["user@example.test"], Path(file).read_bytes(),
                                  mail_options=["BODY=8BITMIME"])
        assert refused == {}


NODEMAILER = """
const transport = require('nodemailer').createTransport({
    host: '127.0.0.1', port: Number(process.argv[1]), name: 'client.test', secure: false, ignoreTLS: true});
transport.sendMail({
    envelope: {from: 'sender@client.test', to: ['user@example.test']}, raw: require('fs').readFileSync(process.argv[2])
}).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


def nodemailer(port, file):
    if not (NODE_MODULES / "nodemailer").exists():
        pytest.skip("nodemailer is not installed in build/interop (tests/install-packages.sh does it)")
    run(need("node"), "-e", NODEMAILER, port, file, env={"NODE_PATH": str(NODE_MODULES)})


CLIENTS = [swaks, swaks_pipelined, curl, msmtp, python_smtplib, nodemailer]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request):
    return request.param


@pytest.fixture
def message_file(tmp_path):
    file = tmp_path / "message.eml"
    file.write_bytes(MESSAGE)
    return file


@pytest.fixture
def reference(client, message_file):
    """What the client sends when nothing is in between: its one transaction with a next hop."""
    with NextHop() as hop:
        client(hop.port, message_file)
        assert len(hop.accepted) == 1 and hop.violations == []
        return hop.accepted[0]


def test_through_the_proxy(client, reference, message_file, serve):
    with NextHop() as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address})
        client(proxy.port, message_file)
        assert len(hop.accepted) == 1
        assert hop.violations == []
        passed = hop.accepted[0]
    fields, content = without_trace(passed.content)
    assert content == reference.content
    assert len(fields) == 1 and b"from client.test" in fields[0]
    assert passed.sender.split(b" ")[0] == b"<sender@client.test>"
    assert passed.recipients == [b"<user@example.test>"]


def test_the_exchanger_relays_for_its_domains_only(client, reference, message_file, serve):
    with NextHop() as hop:
        mx = serve("mx", settings={"domains": "other.test, example.test", "nextHop": hop.address})
        client(mx.port, message_file)
        assert [without_trace(t.content)[1] for t in hop.accepted] == [reference.content]
        with Sender(mx.port) as sender:
            sender.hello()
            assert sender.command(b"MAIL FROM:<a@client.test>").code == 250
            assert sender.command(b"RCPT TO:<b@elsewhere.test>").code == 550
            assert sender.command(b"RCPT TO:<b@OTHER.test>").code == 250
        assert hop.violations == []


def test_into_the_maildir(client, reference, message_file, serve, tmp_path):
    maildir = tmp_path / "Maildir"
    mx = serve("mx", settings={"domains": "example.test", "maildir": maildir})
    client(mx.port, message_file)
    delivered = [path.read_bytes() for path in (maildir / "new").iterdir()]
    assert len(delivered) == 1
    assert list((maildir / "tmp").iterdir()) == []
    fields, content = without_trace(delivered[0].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert content == reference.content
    assert [f.split(b":")[0] for f in fields] == [b"Return-Path", b"Received"]
    assert fields[0] == b"Return-Path: <sender@client.test>\r\n"
