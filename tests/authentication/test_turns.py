"""Nobody waits for long while a hostile message is verified: the loop gets its turn between signatures and between seals.

Measured in CPU time, so that a busy machine does not decide. The budget is that of a slice of JavaScript (50 ms).
"""
import asyncio
import base64
import hashlib
import time

import pytest
from authentication.test_spoofing import pem, record_of
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter.errors import MailfilterError
from mailfilter.mail import auth_results, author
from mailfilter.services import arc, dkim, dmarc_record
from mailfilter.services.dns_answer import FOUND, Answer
from mailfilter.services.synchronous import Synchronous, breathe, look_up

BUDGET_S = 0.05
KEY = rsa.generate_private_key(65537, 4096)
OURS, RECORD = dkim.PrivateKey(pem(KEY)), record_of(KEY).encode()


class Record:
    def __init__(self, data):
        self.data = data


class Resolver:
    """Knows every key, at once."""

    def lookup(self, name, kind, done):
        answer = Answer(FOUND, name, kind)
        answer.records = [Record(RECORD)]
        return answer


class Silent:
    """Never answers. asked: how often it was asked."""

    asked = 0

    def lookup(self, name, kind, done):
        self.asked += 1
        return self

    def cancel(self):
        pass


def longest_turn(begin):
    """(what begin(done) gave to done, the longest CPU time between two turns of the loop, turns)."""
    async def run():
        loop, turns = asyncio.get_running_loop(), [time.thread_time()]
        result = loop.create_future()

        def tick():
            turns.append(time.thread_time())
            if not result.done():
                loop.call_soon(tick)

        loop.call_soon(tick)
        begin(result.set_result)
        found = await result
        turns.append(time.thread_time())
        return found, max(b - a for a, b in zip(turns, turns[1:], strict=False)), len(turns)
    return asyncio.run(run())


def lines_of(count, size):
    return [b"From: a@example.org\r\n", *(b"X-%d: " % n + b"a  b " * (size // 5) + b"\r\n" for n in range(count))]


def test_who_computes_long_lets_others_go_on():
    def function():
        for _ in range(5):
            end = time.perf_counter() + 0.01
            while time.perf_counter() < end:
                pass
            breathe()
        return "done"
    found, _, turns = longest_turn(lambda done: Synchronous(Silent(), function, lambda value, error: done(value)))
    assert found == "done" and turns > 5
    breathe()                       # anywhere else it does nothing


@pytest.mark.parametrize("modulus, exponent", [
    (1 << 2047, 3), ((1 << 2047) + 2, 65537), ((1 << 2047) + 1, 1), ((1 << 2047) + 1, 2), ((1 << 2047) + 1, 0),
    ((1 << 8191) + 1, (1 << 32) - 1), (3 ** 700, 65537)])
def test_keys_that_are_none_verify_nothing(modulus, exponent):
    hasher = hashlib.sha256(b"text")
    for signature in (b"", b"\0" * 256, b"\x01" * 256, b"x" * 4000):
        try:
            assert not dkim.rsa_verify(hasher, signature, {"modulus": modulus, "publicExponent": exponent})
        except ValueError:
            pass


@pytest.mark.parametrize("count, size", [(5, 100), (100, 2000)])
def test_ten_signatures_over_large_headers(count, size):
    lines = lines_of(count, size)
    bodies = dkim.body_hashes({("relaxed", "sha256", None)}, [b"hello\r\n"])
    include = [b"from", *(b"x-%d" % n for n in range(count))]
    signature = dkim.sign(
        dkim.headers_of(lines), bodies, domain=b"example.org", selector=b"s", key=OURS, include=include, oversign=(),
        canonicalization="relaxed/relaxed", identity=None, now=1, expires=None)
    headers = dkim.headers_of([signature] * 10 + lines)
    found, turn, _ = longest_turn(lambda done: dkim.verify(Resolver(), headers, bodies, done))
    assert [one.result for one in found] == ["pass"] * 10
    assert turn < BUDGET_S


def test_a_chain_of_fifty_sets():
    lines = [b"From: a@example.org\r\n"]
    bodies = dkim.body_hashes({("relaxed", "sha256", None)}, [b"hello\r\n"])
    for number in range(50):
        lines = arc.seal(dkim.headers_of(lines), bodies, results=b"x; spf=pass " + b"(a) " * 500,
                         cv=b"pass" if number else b"none", domain=b"example.org", selector=b"s", key=OURS, include=[b"from"],
                         now=1) + lines
    headers = dkim.headers_of(lines)
    before = time.thread_time()
    arc.wanted_bodies(headers)
    assert time.thread_time() - before < BUDGET_S
    chain, turn, turns = longest_turn(lambda done: arc.verify(Resolver(), headers, bodies, done))
    assert (chain.result, chain.reason) == ("pass", None) and len(chain.sets) == 50
    assert turn < BUDGET_S and turns > 2


def test_all_keys_of_a_message_are_asked_for_at_once_and_have_one_deadline(monkeypatch):
    monkeypatch.setattr(dkim, "DEADLINE_S", 0.05)
    silent = Silent()
    [(digest, _octets)] = dkim.body_hashes({("simple", "sha256", None)}, [b""]).values()
    headers = [[b"DKIM-Signature", b"v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=%b; b=AAAA" % (
        n, base64.b64encode(digest))]
               for n in range(5)]
    headers.append([b"From", b" a@example.org\r\n"])
    bodies = dkim.body_hashes(dkim.wanted_bodies(headers), [b""])
    asked = []
    found, _, _ = longest_turn(lambda done: (dkim.verify(silent, headers, bodies, done), asked.append(silent.asked)))
    assert asked == [6]             # five ahead, and the first is waited for
    assert [one.result for one in found] == ["temperror"] * 5


def test_a_function_out_of_time_is_told_time_out():
    def function():
        return [look_up(f"{n}.example", 1).status for n in range(3)]
    silent = Silent()
    found, _, _ = longest_turn(lambda done: Synchronous(silent, function, lambda value, error: done(value), seconds=0.02))
    assert found == ["timeout"] * 3 and silent.asked == 1


# Parsers.

VALUES = {
    "a quoted string without end": 'x; a="' + "\\a" * 8000, "quoted properties": "x; a=b " + 'c.d="e" ' * 2000,
    "comments without end": "x " + "(" * 16000, "comments": "x " + "(a)" * 5400, "comments in front": "(a)" * 5400 + "x",
    "escapes in a comment": "x (" + "\\(" * 8000, "results": "x" + ";a=b" * 4000, "properties": "x; a=b " + "a.b=c " * 2700,
    "blanks": "x;" + " " * 16000, "letters with marks": "a" + "\u0301\u0316" * 8000, "wide letters": "ü." * 8000,
    "ligatures": "\ufdfa" * 16000, "A-labels": "xn--" + "a" * 16000, "longer than anybody writes": "a" * 250000,
}


@pytest.mark.parametrize("name", VALUES)
def test_authentication_results_are_read_soon(name):
    before = time.thread_time()
    auth_results.read(VALUES[name])
    auth_results.claims(VALUES[name], "mx.test")
    assert time.thread_time() - before < BUDGET_S / 2


def test_what_nobody_can_compare_may_be_ours():
    assert auth_results.claims("a" + "\u0301\u0316" * 8000, "mx.test") and auth_results.claims("(a)" * 5400 + "x", "mx.test")
    assert not auth_results.claims("other.test; " + "a=b; " * 3000, "mx.test")


@pytest.mark.parametrize("data", [
    b"v=DMARC1;p=" + b" " * 4000 + b"\x80", b"v=DMARC1;p" + b" " * 4000 + b"=none", b"v" + b" " * 4000 + b"=DMARC1",
    b"v=DMARC1" + b";p=none" * 580, b"v=DMARC1;p=none;rua=" + b"mailto:a!" * 400, b"v=DMARC1;p=none;fo=" + b"0:" * 2000])
def test_dmarc_records_are_read_soon(data):
    before = time.thread_time()
    dmarc_record.parse(data, "rfc9989")
    assert time.thread_time() - before < BUDGET_S / 5


@pytest.mark.parametrize("value", [b'"' + b"\\a" * 4000, b"(" * 8000, b"a," * 4000, b" " * 8000, b"a " * 4000 + b"<a@b>",
                                   b"\r\n " * 2700 + b"a@b.c", b"[" * 8000])
def test_authors_are_read_soon(value):
    before = time.thread_time()
    try:
        author.author_domain([b"\x01" * 200000 + b": x\r\n", b"From: " + value + b"\r\n"])
    except MailfilterError:
        pass
    assert time.thread_time() - before < BUDGET_S / 2
