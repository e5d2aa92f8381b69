"""Mechanisms of SASL against the examples of their standards, and against servers that lie."""
import base64
import hashlib
import hmac

import pytest

from mailfilter.services import sasl
from mailfilter.services.sasl import SaslError


def test_plain():
    exchange = sasl.exchange("plain", b"tim", b"tanstaaftanstaaf")
    assert exchange.first() == b"\0tim\0tanstaaftanstaaf"          # RFC 4616 §4
    assert exchange.answer(b"") == exchange.first() and exchange.clear
    with pytest.raises(SaslError):
        exchange.answer(b"again")


def test_login():
    exchange = sasl.exchange("LOGIN", b"tim", b"secret")
    assert (exchange.first(), exchange.answer(b"User Name\0"), exchange.answer(b"Password\0")) == (None, b"tim", b"secret")
    with pytest.raises(SaslError):
        exchange.answer(b"and your mother's name?")


def test_cram_md5():
    """RFC 2195 §2."""
    exchange = sasl.exchange("CRAM-MD5", b"tim", b"tanstaaftanstaaf")
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert exchange.first() is None and not exchange.clear
    assert exchange.answer(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"


SCRAM = [
    # RFC 5802 §5, RFC 7677 §3
    ("SCRAM-SHA-1", b"fyko+d2lbbFgONRv9qkxdawL", b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="),
    ("SCRAM-SHA-256", b"rOprNGfwEbeRWgbNEkqO",
     b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
]


@pytest.mark.parametrize(("mechanism", "nonce", "server_first", "client_final", "server_final"), SCRAM)
def test_scram(mechanism, nonce, server_first, client_final, server_final):
    exchange = sasl.exchange(mechanism, b"user", b"pencil")
    exchange.nonce = nonce
    assert exchange.first() == b"n,,n=user,r=" + nonce
    assert exchange.answer(server_first) == client_final and not exchange.proved
    assert exchange.answer(server_final) == b"" and exchange.proved


@pytest.mark.parametrize("server_final", [b"v=AAAA", b"v=", b"", b"e=unknown-user", b"v=not base64!", b"x"])
def test_scram_with_a_server_that_does_not_know_the_password(server_final):
    mechanism, nonce, server_first, *_ = SCRAM[1]
    exchange = sasl.exchange(mechanism, b"user", b"pencil")
    exchange.nonce = nonce
    exchange.answer(server_first)
    with pytest.raises(SaslError):
        exchange.answer(server_final)
    assert not exchange.proved


@pytest.mark.parametrize("server_first", [
    b"", b"nonsense", b"r=short,s=AAAA,i=4096", b"r=NONCE,s=AAAA,i=4096", b"r=NONCEx,s=AAAA,i=1", b"r=NONCEx,s=AAAA,i=4095",
    b"r=NONCEx,s=AAAA,i=1000000000000000000000", b"r=NONCEx,s=AAAA,i=99999999", b"r=NONCEx,s=AAAA,i=-5", b"r=NONCEx,s=AAAA,i=",
    b"r=NONCEx,s=!,i=4096", b"r=NONCEx,s=,i=4096", b"r=NONCEx,s=AAAA", b"m=x,r=NONCEx,s=AAAA,i=4096",
    b"r=NONCEx,s=AAAA,i=4096,i=5000", b"\xff\xfe"])
def test_scram_with_a_server_that_does_not_keep_to_it(server_first):
    exchange = sasl.exchange("SCRAM-SHA-256", b"user", b"pencil")
    exchange.nonce = b"NONCE"
    with pytest.raises(SaslError):
        exchange.answer(server_first)


def test_scram_quotes_names_and_has_a_nonce_of_its_own():
    first = sasl.exchange("SCRAM-SHA-1", b"a=b,c", b"x").first()
    assert first.startswith(b"n,,n=a=3Db=2Cc,r=") and first != sasl.exchange("SCRAM-SHA-1", b"a=b,c", b"x").first()


@pytest.mark.parametrize(("given", "prepared"), [
    (b"user", b"user"), ("I\u00adX".encode(), b"IX"), ("\u00aa".encode(), b"a"), ("\u2168".encode(), b"IX"),
    ("a\u00a0b".encode(), b"a b"), (b"\xff\xfe", b"\xff\xfe"), ("\u0627\u0628".encode(), "\u0627\u0628".encode())])
def test_names_and_passwords_are_prepared(given, prepared):
    """RFC 4013 §3."""
    assert sasl._prepared(given) == prepared


@pytest.mark.parametrize("text", [b"a\0b", b"a\x07", "\u0627\u0031".encode(), "x\ufffd".encode(), "a\u0627".encode()])
def test_forbidden_names_and_passwords(text):
    with pytest.raises(SaslError):
        sasl.exchange("SCRAM-SHA-256", b"user", text)


def test_xoauth2():
    exchange = sasl.exchange("XOAUTH2", b"someuser@example.com", b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    assert base64.b64encode(exchange.first()) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==")
    assert exchange.answer(b'{"status":"401"}') == b"" and exchange.clear


def test_oauthbearer():
    exchange = sasl.exchange("OAUTHBEARER", b"user@example.com", b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
                             "server.example.com", 587)
    assert exchange.first() == (b"n,a=user@example.com,\1host=server.example.com\1port=587\1"
                                b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1")
    assert exchange.answer(b'{"status":"invalid_token"}') == b"\1"


@pytest.mark.parametrize(("mechanism", "user", "secret"), [
    ("PLAIN", b"a\0b", b"c"), ("PLAIN", b"a", b"\0"), ("XOAUTH2", b"a\1", b"t"), ("XOAUTH2", b"a", b"t\1"),
    ("OAUTHBEARER", b"a", b"\1")])
def test_what_would_end_a_field(mechanism, user, secret):
    with pytest.raises(SaslError):
        sasl.exchange(mechanism, user, secret).first()


def test_an_unknown_mechanism():
    with pytest.raises(SaslError, match="there is no mechanism GSSAPI; known are PLAIN, LOGIN"):
        sasl.exchange("GSSAPI", b"a", b"b")


def test_a_whole_exchange_of_scram_with_another_implementation():
    """The server's side, written out here from RFC 5802 §3."""
    password, salt, count = "pass wörd".encode(), b"0123456789abcdef", 5000
    exchange = sasl.exchange("SCRAM-SHA-256", b"me", password)
    client_first = exchange.first()[3:]
    server_first = client_first.split(b"r=")[1] + b"server"
    server_first = b"r=" + server_first + b",s=" + base64.b64encode(salt) + b",i=%d" % count
    final = exchange.answer(server_first)
    without, _, proof = final.rpartition(b",p=")
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, count)
    key = hmac.digest(salted, b"Client Key", "sha256")
    message = client_first + b"," + server_first + b"," + without
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    assert bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True)) == key
    proof_of_server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    exchange.answer(b"v=" + base64.b64encode(proof_of_server))
    assert exchange.proved
