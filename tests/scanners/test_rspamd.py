"""Rspamd, the real one: actions, symbols, what it is told of the session, headers it wants changed."""
import pytest
from certificates import Authority
from peers.tls_front import TlsFront
from scanning import Bad, RspamdServer

HAM = b"Subject: hello\nFrom: a@example.net\nX-Old: 1\nx-old: 2\nDate: Sun, 22 Nov 2026 21:00:00 +0000\n\nGood day\n"


@pytest.fixture(scope="module")
def rspamd():
    server = RspamdServer()
    yield server
    server.finish()


@pytest.fixture(scope="module")
def ask(rspamd, asker_module):
    return asker_module("rspamd", rspamd.port)


def test_ham_and_spam(ask):
    assert ask(HAM)["action"] == "no action"
    verdict = ask(HAM + b"cheap watches\n")
    assert verdict["action"] == "add header" and verdict["symbols"]["WATCHES"]["score"] == 7.5
    assert verdict["score"] > 7 and verdict["required"] == 15 and not verdict["skipped"]


def test_what_it_is_told(ask):
    assert sorted(ask(HAM)["symbols"]["FACTS"]["options"]) == [
        "from=a@example.net", "helo=client.example", "ip=127.0.0.1", "rcpts=1", "tls=nil", "user=nil"]


def test_its_headers(ask):
    headers = ask(HAM, how="apply")
    assert headers[1] == "X-Facts: seen" and not [line for line in headers if line.lower().startswith("x-old")]


def test_a_message_that_it_changes(ask):
    assert ask(HAM, how="untouched") is None
    headers, body = ask(HAM + b"a secret\n" * 100, how="rewritten")
    assert headers[:2] == ["X-Rewritten: yes", "Subject: hello"] and len(headers) == 6
    assert body == "Good day\r\n" + "a hidden\r\n" * 100


def test_over_tls(rspamd, asker, tmp_path):
    authority = Authority(tmp_path)
    with TlsFront(rspamd.port, authority.make("127.0.0.1").pair) as front:
        ask = asker("rspamd", front.port, ca=authority.file)
        assert ask(HAM)["action"] == ask(HAM)["action"] == "no action" and front.handshakes
        stranger = Authority(tmp_path, "Another CA")
        assert "CERTIFICATE_VERIFY_FAILED" in asker("rspamd", front.port, ca=stranger.file)(HAM, away="throw")
        wrong = asker("rspamd", front.port, ca=authority.file, name="rspamd.example")(HAM, away="throw")
        assert wrong.startswith("ServiceUnavailable") and "rspamd.example" in wrong
    # One that does not speak TLS.
    assert asker("rspamd", rspamd.port, ca=authority.file)(HAM, away="throw").startswith("ServiceUnavailable")


def _answering(offset):
    """An Rspamd that changes every message, and says in `offset` where in its answer that begins."""
    body = b'{"action": "no action"}Subject: new\r\n\r\nnew\r\n'

    def behave(service, connection):
        connection.recv(1 << 20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nMessage-Offset: %s\r\nContent-Length: %d\r\n\r\n%s"
                           % (offset, len(body), body))
        while connection.recv(1 << 20):
            pass
    return behave


@pytest.mark.parametrize("offset, told", [
    (b"23", [["Subject: new"], "new\r\n"]),
    (b"0", "ServiceProtocolError: a message at 0 in an answer of 44 octets"),
    (b"45", "ServiceProtocolError: a message at 45 in an answer of 44 octets"),
    (b"22", "ServiceProtocolError: Rspamd's answer is no JSON"),
    (b"-1", "ServiceProtocolError: Rspamd's answer is no JSON"),
    (b"9" * 4000, "ServiceProtocolError: Rspamd's answer is no JSON"),
], ids=lambda value: str(value)[:20] if isinstance(value, bytes) else "")
def test_where_a_changed_message_begins(asker, offset, told):
    with Bad(_answering(offset)) as bad:
        assert asker("rspamd", bad.port)(HAM, how="rewritten", away="throw") == told
