"""Rspamd, the real one: actions, symbols, what it is told of the session, headers it wants changed."""
import pytest
from scanning import RspamdServer

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
