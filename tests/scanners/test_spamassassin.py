"""SpamAssassin, with the real spamd: GTUBE, the usual report and the one of six lines, the message with its marks."""
import pytest
from scanning import GTUBE, Spamd

SIX_LINES = ["_HOSTNAME_", "_VERSION_", "_SUBVERSION_", "_RULESVERSION_", "_BAYES_", "_TESTSSCORES(,)_"]
HAM = b"Subject: hello\nFrom: a@example.net\nX-Odd:value\n\nGood day\n.dot\n"
SPAM = b"Subject: hello\nFrom: a@example.net\nX-Odd:value\n\n" + GTUBE + b"\n"


@pytest.fixture(scope="module")
def spamd():
    server = Spamd()
    yield server
    server.finish()


@pytest.fixture(scope="module")
def ask(spamd, asker_module):
    return asker_module("spamassassin", spamd.port)


def test_ham_and_gtube(ask):
    assert ask(HAM) == {"spam": False, "score": 0, "required": 5, "tests": []}
    verdict = ask(SPAM)
    assert (verdict["spam"], verdict["score"] >= 1000, verdict["required"]) == (True, True, 5)
    assert verdict["tests"] == [{"name": "GTUBE", "score": 1000, "description": "BODY: Generic Test for Unsolicited Bulk Email"}]


def test_the_score_of_a_rule(ask):
    assert [(test["name"], test["score"]) for test in ask(HAM + b"cheap watches\n")["tests"]] == [("HAS_WORD", 2.5)]


def test_the_report_of_six_lines(asker):
    server = Spamd(SIX_LINES)
    try:
        ask = asker("spamassassin", server.port)
        verdict = ask(SPAM)
        assert list(verdict) == ["spam", "score", "required", "hostname", "version", "subversion", "rulesversion", "bayes",
                                 "testsscores"]
        assert verdict["spam"] and verdict["version"].startswith("4.") and "GTUBE=1000" in verdict["testsscores"]
        assert isinstance(verdict["bayes"], (int, float))
        assert ask(SPAM, how="tests") == [{"name": "GTUBE", "score": 1000, "description": ""}]
    finally:
        server.finish()


def test_the_message_with_its_marks(ask):
    spam, headers, body = ask(SPAM, how="modify")
    assert spam and "Subject: [SPAM] hello" in headers and "X-Spam-Flag: YES" in headers and "X-Odd: value" in headers
    assert body == GTUBE.decode() + "\r\n"
    spam, headers, body = ask(HAM, how="modify")
    assert not spam and "Subject: hello" in headers and body == "Good day\r\n.dot\r\n"
