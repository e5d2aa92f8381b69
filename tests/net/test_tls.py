"""net/tls.py: certificates by name, their reloading, what is demanded of a next hop's, and the facts, in memory."""
import os
import ssl

import pytest
from certificates import Authority, client_context

from mailfilter import log as logs
from mailfilter.errors import ConfigError
from mailfilter.net import tls
from mailfilter.net.tls import ClientTls, ServerTls, TlsError


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def mx(authority):
    return authority.make("mx.example.org", "mail.example.org")


class Ends:
    """A handshake in memory: two SSLObjects that feed each other until both are content."""

    def __init__(self, server, client, host="mx.example.org", session=None):
        bios = [ssl.MemoryBIO() for _ in range(4)]
        self.server = server.wrap(bios[0], bios[1])
        if isinstance(client, ssl.SSLContext):
            self.client = client.wrap_bio(bios[1], bios[0], server_hostname=host, session=session)
        else:
            self.client = client.wrap(bios[1], bios[0], host)
        waiting = [self.client, self.server]
        for _ in range(10):
            for end in list(waiting):
                try:
                    end.do_handshake()
                    waiting.remove(end)
                except ssl.SSLWantReadError:
                    pass
            if not waiting:
                break
        assert not waiting
        self.server.write(b"x")         # brings the session ticket
        assert self.client.read(1) == b"x"

    def shown(self):
        """The fingerprint-like proof of which certificate was shown: its octets."""
        return ssl.DER_cert_to_PEM_cert(self.client.getpeercert(True))


class Lines:
    def __init__(self):
        self.lines = []

    def __call__(self, severity, session_id, text, **fields):
        self.lines.append((severity, text, fields))


def pem(certificate):
    with open(certificate.file) as file:
        return file.read()


# Which certificate is shown.

@pytest.mark.parametrize("asked,expected", [
    ("mx.example.org", 0), ("MAIL.example.org", 0), ("other.example.net", 1), ("a.wild.example", 2), (None, 0),
    ("a.b.wild.example", 0), ("wild.example", 0), ("unknown.example", 0)])
def test_certificates_are_chosen_by_the_name_asked_for(authority, mx, asked, expected):
    certificates = [mx, authority.make("other.example.net"), authority.make("*.wild.example")]
    server = ServerTls([certificate.pair for certificate in certificates])
    ends = Ends(server, client_context(), asked)
    assert ends.shown() == pem(certificates[expected])
    facts = server.established(ends.server)
    assert facts["sni"] == (asked.lower() if asked else None)
    assert facts["version"] == "TLSv1.3" and facts["bits"] >= 128 and facts["cipher"].startswith("TLS_")
    assert (facts["subject"], facts["fingerprint"], facts["verified"]) == (None, None, False)


def test_certificates_of_two_kinds_for_one_name_are_both_used(authority, mx):
    rsa = authority.make("mx.example.org", "mail.example.org", kind="rsa")
    server = ServerTls([rsa.pair, mx.pair])
    for ciphers, expected in (("ECDHE+aRSA", rsa), ("ECDHE+aECDSA", mx)):
        context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(ciphers)
        assert Ends(server, context).shown() == pem(expected)


def test_key_and_certificate_may_be_in_one_file(mx):
    assert ServerTls([(mx.both, mx.both)]).names == ["mail.example.org", "mx.example.org"]


# What is not accepted.

def test_old_versions_are_refused(mx):
    server = ServerTls([mx.pair])
    context = client_context()
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        Ends(server, context)


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "aNULL:eNULL:@SECLEVEL=0"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(mx, ciphers):
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError):
        Ends(ServerTls([mx.pair]), context)


def test_the_least_version_can_be_raised(mx):
    with pytest.raises(ssl.SSLError):
        Ends(ServerTls([mx.pair], minimum="1.3"), client_context(maximum_version=ssl.TLSVersion.TLSv1_2))
    with pytest.raises(ConfigError, match="expected 1.2 or 1.3"):
        ServerTls([mx.pair], minimum="1.1")
    with pytest.raises(ConfigError, match="none that OpenSSL knows"):
        ServerTls([mx.pair], ciphers="ROT13")


# Certificates that cannot be used stop the start and are named.

def test_what_cannot_be_loaded_is_named_with_its_reason(tmp_path, authority, mx):
    other = authority.make("other.example")
    garbage, cut = tmp_path / "garbage.pem", tmp_path / "cut.pem"
    garbage.write_text("nothing of the kind\n")
    cut.write_text(pem(mx)[:200] + "\n-----END CERTIFICATE-----\n")
    from cryptography.hazmat.primitives import serialization as form
    locked = tmp_path / "locked.key"
    locked.write_bytes(mx.private.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")))
    for pair, words in (
            ((str(tmp_path / "none.pem"), mx.key), "none.pem cannot be read: No such file"),
            ((mx.file, str(tmp_path / "none.key")), "none.key cannot be read: No such file"),
            ((str(garbage), mx.key), "garbage.pem cannot be used: there is no certificate in it"),
            ((mx.file, str(garbage)), "cannot be used: there is no certificate in it, or no key in .*garbage.pem"),
            ((str(cut), mx.key), "cut.pem cannot be used"),
            ((mx.file, other.key), "the key in .*other.example.* is not the certificate's"),
            ((mx.file, str(locked)), "locked.key: the key is encrypted"),
            ((str(tmp_path), str(tmp_path)), "Is a directory")):
        with pytest.raises(ConfigError, match=words) as raised:
            ServerTls([pair])
        assert "_ssl.c" not in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="--tls-certificate"):
        ServerTls([])
    with pytest.raises(ConfigError, match="CA file .*garbage.pem.* there is no certificate in it"):
        ServerTls([mx.pair], client_ca=str(garbage))


def test_certificates_out_of_date_are_used_with_a_warning(authority):
    lines = Lines()
    old = authority.make("old.example", days=(-9, -2))
    early = authority.make("early.example", days=(2, 9))
    ServerTls([old.pair, early.pair], log=lines)
    assert [severity for severity, *_ in lines.lines] == [logs.WARNING] * 2
    assert old.file in lines.lines[0][1] and "has expired on 2" in lines.lines[0][1]
    assert early.file in lines.lines[1][1] and "is not valid before" in lines.lines[1][1]


# Reloading.

def replace(certificate, by):
    for target, source in ((certificate.file, by.file), (certificate.key, by.key)):
        with open(source, "rb") as file:
            content = file.read()
        with open(target + ".new", "wb") as file:
            file.write(content)
        os.replace(target + ".new", target)


def test_changed_files_are_read_again(authority, monkeypatch):
    monkeypatch.setattr(tls, "RELOAD_CHECK_S", 0.0)
    lines = Lines()
    used = authority.make("mx.example.org")
    server = ServerTls([used.pair], log=lines)
    new = authority.make("mx.example.org", "more.example.org", kind="rsa")
    expected = pem(new)
    replace(used, new)
    assert Ends(server, client_context()).shown() == expected
    assert server.names == ["more.example.org", "mx.example.org"]
    assert [(severity, text) for severity, text, _ in lines.lines] == [(logs.NOTICE, "TLS certificate reloaded")]
    Ends(server, client_context())
    assert len(lines.lines) == 1


def test_a_broken_new_file_keeps_the_old_certificate_and_is_told_once(authority, monkeypatch):
    monkeypatch.setattr(tls, "RELOAD_CHECK_S", 0.0)
    lines = Lines()
    used = authority.make("mx.example.org")
    before = pem(used)
    server = ServerTls([used.pair], log=lines)
    with open(used.file, "w") as file:
        file.write("half a certif")
    for _ in range(3):
        assert Ends(server, client_context()).shown() == before
    [(severity, text, _)] = lines.lines
    assert severity == logs.ERR and used.file in text and "loaded before is kept" in text
    os.unlink(used.file)
    assert Ends(server, client_context()).shown() == before
    assert "No such file" in lines.lines[1][1]
    replace(used, new := authority.make("mx.example.org"))
    assert Ends(server, client_context()).shown() == pem(new)


def test_files_are_looked_at_no_more_often_than_said(authority):
    used = authority.make("mx.example.org")
    before = pem(used)
    server = ServerTls([used.pair])
    replace(used, authority.make("mx.example.org"))
    assert Ends(server, client_context()).shown() == before
    server.reload()
    assert Ends(server, client_context()).shown() == pem(used)


@pytest.mark.parametrize("middle", ["truncated", "gone", "another"])
def test_a_file_that_was_replaced_while_it_was_read_broke_the_handshake_or_was_taken_for_another(authority, monkeypatch, middle):
    """Between being loaded and being asked for its names."""
    monkeypatch.setattr(tls, "RELOAD_CHECK_S", 0.0)
    lines = Lines()
    used, new, other = (authority.make(name) for name in ("mx.example.org", "mx.example.org", "other.example.org"))
    before, load = pem(used), tls._load_chain
    server = ServerTls([used.pair], log=lines)

    def replaced_behind(context, file, key):
        load(context, file, key)
        if middle == "another":
            replace(used, other)
            os.utime(used.file, ns=(0, next(times)))
        else:
            os.truncate(file, 0) if middle == "truncated" else os.unlink(file)

    times = iter(range(1, 100))
    replace(used, new)
    monkeypatch.setattr(tls, "_load_chain", replaced_behind)
    assert Ends(server, client_context()).shown() == before
    assert server.names == ["mx.example.org"]
    monkeypatch.setattr(tls, "_load_chain", load)
    replace(used, new)
    assert Ends(server, client_context()).shown() == pem(new)
    assert [severity for severity, _, _ in lines.lines] == [logs.ERR, logs.NOTICE]


def test_handshakes_while_certificate_and_key_are_written_in_place(authority, monkeypatch):
    """In pieces, first the one and then the other: every client is shown a whole one, the old or the new."""
    monkeypatch.setattr(tls, "RELOAD_CHECK_S", 0.0)
    used = authority.make("mx.example.org")
    server = ServerTls([used.pair])
    known, last = {pem(used)}, None
    for kind in ("rsa", "ec", "ec"):
        new = authority.make("mx.example.org", kind=kind)
        last = pem(new)
        known.add(last)
        for target, source in (used.pair[0], new.file), (used.pair[1], new.key):
            with open(source, "rb") as file:
                content = file.read()
            with open(target, "wb", buffering=0) as file:
                for at in range(0, len(content), 200):
                    file.write(content[at:at + 200])
                    assert Ends(server, client_context()).shown() in known
        assert Ends(server, client_context()).shown() == last


# Tickets.

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_also_after_a_reload(authority, version):
    used = authority.make("mx.example.org")
    server = ServerTls([used.pair])
    context = client_context(maximum_version=version, minimum_version=version)
    first = Ends(server, context)
    assert not server.established(first.server)["resumed"]
    second = Ends(server, context, session=first.client.session)
    assert server.established(second.server)["resumed"]
    replace(used, authority.make("mx.example.org"))
    server.reload()
    third = Ends(server, context, session=second.client.session)
    assert server.established(third.server)["resumed"]


def test_forked_workers_take_each_others_tickets(mx):
    """The ticket of one process is good in another that was forked from the same parent."""
    server = ServerTls([mx.pair])
    context = client_context()
    first = Ends(server, context)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        resumed = False
        try:
            resumed = Ends(server, context, session=first.client.session).server.session_reused
        finally:
            os.write(writing, b"1" if resumed else b"0")
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1) == b"1"
    os.close(reading), os.close(writing)


# Clients' certificates.

def test_client_certificates_are_seen_and_may_be_missing(authority, mx):
    server = ServerTls([mx.pair], client_ca=authority.file)
    partner = authority.make("partner.example", organisation="Partners, Ltd.")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(maximum_version=version)
        assert server.established(Ends(server, context).server)["fingerprint"] is None
        context.load_cert_chain(partner.file, partner.key)
        ends = Ends(server, context)
        facts = server.established(ends.server)
        assert facts["subject"] == "CN=partner.example, O=Partners, Ltd."
        assert (facts["fingerprint"], facts["verified"]) == (partner.fingerprint, True)
        resumed = server.established(Ends(server, context, session=ends.client.session).server)
        assert resumed["resumed"] and resumed["fingerprint"] == partner.fingerprint


def test_client_certificates_of_strangers_fail_the_handshake(tmp_path, authority, mx):
    server = ServerTls([mx.pair], client_ca=authority.file)
    stranger = Authority(tmp_path).make("partner.example")
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(stranger.file, stranger.key)
    with pytest.raises(ssl.SSLError):
        Ends(server, context)


# Towards a next hop.

def demand(server, host="mx.example.org", **options):
    client = ClientTls(**options)
    return client.established(Ends(server, client, host).client, host)


def test_without_verification_any_certificate_is_taken_and_told(tmp_path, mx):
    own = Authority(tmp_path)
    server = ServerTls([own.make("nobody.example", days=(-9, -2)).pair])
    for mode in ("opportunistic", "required"):
        facts = demand(server, mode=mode)
        assert facts["subject"] == "CN=nobody.example" and facts["verified"] is False
        assert facts["sni"] == "mx.example.org" and len(facts["fingerprint"]) == 64


def test_verification_by_ca_and_name(tmp_path, authority, mx):
    server = ServerTls([mx.pair])
    ca = authority.file
    assert demand(server, mode="verified", ca=ca)["verified"] is True
    assert demand(server, "elsewhere.example", mode="verified", ca=ca, name="mail.example.org")["sni"] == "mail.example.org"
    for options, words in (({"ca": ca, "name": "other.example"}, "Hostname mismatch"),
                           ({"ca": Authority(tmp_path, "Another CA").file}, "unable to get local issuer"), ({}, "certificate")):
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            demand(server, mode="verified", **options)
    old = ServerTls([authority.make("mx.example.org", days=(-9, -2)).pair])
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        demand(old, mode="verified", ca=ca)


def test_addresses_are_verified_but_not_asked_for(authority):
    server = ServerTls([authority.make("127.0.0.1", "::1").pair])
    for host in ("127.0.0.1", "::1", "[::1]"):
        facts = demand(server, host, mode="verified", ca=authority.file)
        assert facts["verified"] is True and facts["sni"] is None
    with pytest.raises(ssl.SSLCertVerificationError):
        demand(server, "127.0.0.2", mode="verified", ca=authority.file)


def test_verification_by_fingerprint_alone_or_with_a_ca(tmp_path, authority, mx):
    server = ServerTls([mx.pair])
    colons = ":".join(mx.fingerprint[i:i + 2].upper() for i in range(0, 64, 2))
    assert demand(server, "any.example", mode="verified", fingerprint=colons)["verified"] is True
    assert demand(server, mode="verified", fingerprint=["0" * 64, mx.fingerprint], ca=authority.file)["verified"] is True
    with pytest.raises(TlsError, match=f"has the fingerprint {mx.fingerprint}") as raised:
        demand(server, mode="verified", fingerprint="0" * 64)
    assert raised.value.reason == "wrong fingerprint"
    with pytest.raises(ssl.SSLCertVerificationError):
        demand(server, mode="verified", fingerprint=mx.fingerprint, ca=Authority(tmp_path).file)


@pytest.mark.parametrize("options,words", [
    ({"mode": "maybe"}, "no TLS mode 'maybe'; known are off, opportunistic, required, verified"),
    ({"mode": "required", "ca": "/x"}, "only in the TLS mode 'verified'"),
    ({"mode": "verified", "ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be used: No such file"),
    ({"mode": "verified", "fingerprint": "12:34"}, "is not a SHA-256 fingerprint")])
def test_demands_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        ClientTls(**options)


@pytest.mark.parametrize("host", ["unix:/run/smtp", "", None])
def test_nameless_hosts_cannot_be_verified_without_a_name(authority, mx, host):
    with pytest.raises(TlsError, match="name has to be given"):
        ClientTls("verified", ca=authority.file).wrap(ssl.MemoryBIO(), ssl.MemoryBIO(), host)
    facts = demand(ServerTls([mx.pair]), host, mode="verified", ca=authority.file, name="mx.example.org")
    assert facts["verified"] is True


@pytest.mark.parametrize("name", [".example.org", "a..b", "x" * 64 + ".example", "a\0b"])
def test_names_that_cannot_be_asked_for_are_an_error_of_that_connection(name):
    with pytest.raises(TlsError, match="cannot be asked for"):
        ClientTls("required", name=name).wrap(ssl.MemoryBIO(), ssl.MemoryBIO(), "h")
