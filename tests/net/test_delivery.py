"""Policies that deliver by themselves: nothing is acknowledged that is not safely somewhere."""
import os
import smtplib
import subprocess
import tempfile
from pathlib import Path

import pytest

POLICY = """
var boxes = Maps.load(Sys.setting('map')), quarantine = new Quarantine(Sys.setting('held'));
SmtpServer.prototype.smtpMail = function () { return new SmtpResponse(250, '2.1.0 ok'); };
SmtpServer.prototype.smtpRcpt = function (path) {
    if (!boxes.has(path.mailbox.local)) { return new SmtpResponse(550, '5.1.1 Nobody has that address'); }
    if (this.recipients.length) { return new SmtpResponse(451, '4.5.3 That recipient needs a transaction of its own'); }
    return new SmtpResponse(250, '2.1.5 ok');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) { return null; }
    var box = boxes.get(this.recipients[0].mailbox.local), folder = headers.filter(function (header) {
        return header.name === 'X-Folder';
    })[0];
    if (box === 'quarantine') { return new SmtpResponse(250, '2.0.0 ' + quarantine.hold(this, headers, body)); }
    new Maildir(box).deliver(headers, body, folder ? folder.getValue() : null);
    return new SmtpResponse(250, '2.0.0 delivered');
};
"""


@pytest.fixture(scope="module")
def small():
    """A file system with 128 KiB."""
    with tempfile.TemporaryDirectory(prefix="small.") as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=777", "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip("a small file system cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def policy(serve, folder, boxes, held, **options):
    (folder / "boxes.hash").write_text("".join(f"{name} {box}\n" for name, box in boxes.items()))
    (folder / "boxes.hash").chmod(0o644)
    return serve(POLICY, settings={"map": folder / "boxes.hash", "mapDirectory": folder, "held": held}, **options)


def send(server, recipient, size=10, folder=None):
    with smtplib.SMTP("127.0.0.1", server.port, timeout=40) as client:
        client.ehlo("client.example")
        client.mail("a@example.net")
        code, text = client.rcpt(f"{recipient}@example.org")
        if code == 250:
            code, text = client.data((f"X-Folder: {folder}\r\n" if folder else "").encode() + b"Subject: x\r\n\r\n" + b"y" * size)
        return f"{code} {text.decode()}"


def delivered(path):
    return [file for file in path.rglob("*") if file.is_file() and file.parent.name in ("new", "cur", "tmp")]


def test_a_mailbox_for_each_and_folders(serve, tmp_path):
    server = policy(serve, tmp_path, {"one": tmp_path / "one", "two": tmp_path / "two"}, tmp_path / "held")
    assert "read by nobody" not in server.log
    assert send(server, "one") == send(server, "two") == send(server, "two", folder="Junk") == "250 2.0.0 delivered"
    assert send(server, "nobody").startswith("550 5.1.1")
    assert [len(delivered(tmp_path / name)) for name in ("one", "two")] == [1, 2]
    assert len(list((tmp_path / "two" / ".Junk" / "new").iterdir())) == 1
    for name in ("../one", "a/b", "a..b"):
        assert send(server, "one", folder=name).startswith("451 4.3.0")
    assert len(delivered(tmp_path)) == 3
    with smtplib.SMTP("127.0.0.1", server.port, timeout=40) as client:
        client.ehlo("client.example")
        client.mail("a@example.net")
        assert client.rcpt("one@example.org")[0] == 250 and client.rcpt("two@example.org")[0] == 451


@pytest.mark.root
def test_a_full_disk(serve, tmp_path, small):
    server = policy(serve, tmp_path, {"box": small / "box", "held": "quarantine"}, small / "held")
    assert send(server, "box").startswith("250") and send(server, "held").startswith("250")
    before = sorted(path for path in small.rglob("*") if path.is_file() and path.name != "usage")
    for recipient in ("box", "held"):
        assert send(server, recipient, 400_000).startswith("451 4.3.0")
        server.wait_for_log("No space left on device")
    assert sorted(path for path in small.rglob("*") if path.is_file() and path.name != "usage") == before
    # What fits goes on.
    assert send(server, "box").startswith("250") and send(server, "held").startswith("250")


@pytest.mark.root
def test_a_directory_that_may_not_be_written(serve):
    plain = POLICY.replace("Maps.load(Sys.setting('map'))", """{
        has: function () { return true; },
        get: function (name) { return name === 'held' ? 'quarantine' : Sys.setting('map') + '/' + name; }
    }""")
    with tempfile.TemporaryDirectory(prefix="closed.") as folder:
        os.chmod(folder, 0o755)
        server = serve(plain, settings={"map": folder, "held": f"{folder}/held"}, options=["--user", "nobody"])
        for recipient in ("box", "held"):
            assert send(server, recipient).startswith("451 4.3.0")
            server.wait_for_log(f"{folder}/{recipient}: Permission denied")
        assert os.listdir(folder) == []
