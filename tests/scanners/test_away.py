"""Scanners that are dead, hung, slow, or talk nonsense: what the policy asked for happens, within the deadline."""
import time

import pytest
from peers.waiting import free_port
from scanning import BAD, Bad

MESSAGE = b"Subject: x\n\n" + b"text\n" * 100_000
KINDS = ["clamav", "spamassassin", "rspamd", "milter"]


@pytest.mark.parametrize("behave", BAD, ids=lambda behave: behave.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_what_answers_badly(asker, kind, behave):
    with Bad(behave) as bad:
        ask = asker(kind, bad.port, seconds=1)
        for away, answer in (("tempfail", "451 4.3.0"), ("accept", None), ("throw", "Service")):
            begun = time.monotonic()
            told = ask(MESSAGE, away=away)
            assert time.monotonic() - begun < 6
            assert told is None if answer is None else told.startswith(answer), told
            assert ask(MESSAGE, how="nothing") == "nothing"         # a session that does not use it
        assert bad.taken >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there(asker, kind):
    ask = asker(kind, free_port())
    assert ask(MESSAGE).startswith("451 4.3.0")
    assert ask(MESSAGE, away="accept") is None
    assert ask(MESSAGE, away="throw").startswith("ServiceUnavailable")
    for _ in range(4):
        told = ask(MESSAGE, away="throw")
    assert "is away: it failed" in told         # it is not even asked


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_an_address(asker, kind):
    assert "no path of a UNIX socket" in asker(kind, 1, host="unix:relative")(MESSAGE, away="throw")


@pytest.mark.parametrize("kind", KINDS)
def test_too_big_is_not_sent(asker, kind):
    with Bad(BAD[0]) as bad:
        assert asker(kind, bad.port)(MESSAGE, how="small") is None
        assert bad.taken == 0
