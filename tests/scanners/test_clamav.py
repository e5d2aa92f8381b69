"""ClamAV, with the real clamd: EICAR plain, in MIME and in archives; sizes, sockets. Killed and hung: ../away."""
import base64
import io
import tarfile
import threading
import zipfile

import pytest
from scanning import EICAR, Clamd

FOUND = "Eicar-Test-Signature.UNOFFICIAL"


@pytest.fixture(scope="module")
def clamd():
    server = Clamd()
    yield server
    server.finish()


@pytest.fixture(scope="module")
def ask(clamd, asker_module):
    return asker_module("clamav", clamd.port)


def attached(octets, name="x"):
    return (b"Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n"
            b"Content-Type: application/octet-stream; name=%s\nContent-Transfer-Encoding: base64\n\n" % name.encode()
            + base64.encodebytes(octets) + b"--b--\n")


def zipped(octets, levels=1):
    for level in range(levels):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"file{level}", octets)
        octets = packed.getvalue()
    return octets


def tarred(octets):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        about = tarfile.TarInfo("file")
        about.size = len(octets)
        archive.addfile(about, io.BytesIO(octets))
    return packed.getvalue()


def forwarded(message):
    return (b"Subject: fwd\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=c\n\n"
            b"--c\nContent-Type: message/rfc822\n\n" + message + b"--c--\n")


def test_a_clean_message(ask):
    verdict = ask(b"Subject: x\n\nhello\n")
    assert verdict.pop("progver").startswith("ClamAV ")
    assert verdict == {"dbver": 0, "dbdate": "", "found": False}


@pytest.mark.parametrize("message", [
    attached(EICAR), attached(zipped(EICAR)), attached(zipped(EICAR, 3)), attached(tarred(EICAR)), forwarded(attached(EICAR)),
    forwarded(forwarded(attached(zipped(EICAR))))], ids=["attached", "zip", "zip-in-zip", "tar.gz", "forwarded", "all"])
def test_eicar(ask, message):
    verdict = ask(message)
    assert (verdict["found"], verdict["name"]) == (True, FOUND)


def test_a_unix_socket(asker, clamd):
    assert asker("clamav", host=f"unix:{clamd.socket}")(attached(EICAR))["name"] == FOUND


def test_what_clamd_does_not_take(ask):
    assert ask(attached(b"x" * 2_000_000)) is None
    ask.server.wait_for_log("StreamMaxLength")
    assert ask(attached(EICAR))["name"] == FOUND


def test_connections_are_kept_and_bounded(ask):
    """A hundred messages from ten clients at once."""
    told = []

    def client():
        for number in range(10):
            told.append(ask(attached(EICAR if number % 2 else b"clean"))["found"])
    clients = [threading.Thread(target=client) for _ in range(10)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert sorted(told) == [False] * 50 + [True] * 50
