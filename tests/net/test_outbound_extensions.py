"""net/outbound.py with extensions: chunks, LMTP, TLS, AUTH, headers of the PROXY protocol, against scripted next hops."""
import asyncio

import pytest
from certificates import Authority
from handlers import RecordingLog
from peers.scripted import CLOSE, DATA, TLS, WAIT, Octets, Scripted
from peers.waiting import wait_until

from mailfilter._core.proxy import ProxyReader
from mailfilter.config import Timeouts
from mailfilter.errors import ServiceProtocolError, ServiceTimeout, ServiceUnavailable
from mailfilter.net import outbound
from mailfilter.net.outbound import NextHop, NotNow
from mailfilter.net.proxy_header import proxy_header
from mailfilter.net.tls import ClientTls

HELLO = [b"220 hop.test", "EHLO me"]
ENVELOPE = ["MAIL FROM:<a@b>", b"250 ok", "RCPT TO:<c@d>", b"250 ok"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.make("hop.test", "127.0.0.1")


class Talk:
    """A NextHop whose callbacks are awaited."""

    def __init__(self, port, log=None, timeouts=None, **options):
        self.loop = asyncio.get_running_loop()
        self.hop = NextHop(self.loop, "127.0.0.1", port, Timeouts(**(timeouts or {})), log, "T-1", log is not None, **options)

    async def wait(self, start):
        """start(done) calls done(*values, error) later, or returns something at once."""
        future = self.loop.create_future()

        def done(*values):
            if values[-1] is not None:
                future.set_exception(values[-1])
            else:
                future.set_result(values[0])

        now = start(done)
        return now if now else await asyncio.wait_for(future, 10)

    async def reply(self):
        return (await self.wait(self.hop.receive)).code

    async def command(self, verb, arguments=None):
        self.hop.command(verb, arguments)
        return await self.reply()

    async def hello(self, verb=b"EHLO"):
        await self.wait(self.hop.connect)
        assert [await self.reply(), await self.command(verb, b"me")] == [220, 250]

    async def envelope(self, recipients=1):
        assert await self.command(b"MAIL", b"FROM:<a@b>") == 250
        return [await self.command(b"RCPT", b"TO:<c@d>") for _ in range(recipients)]


def run(scenario, *scripts, certificate=None, **options):
    """Run scenario(talk, hop) against these scripts."""
    async def main(hop):
        talk = Talk(hop.port, **options)
        try:
            await scenario(talk, hop)
        finally:
            talk.hop.close()

    with Scripted(*scripts, certificate=certificate.pair if certificate else None) as hop:
        asyncio.run(main(hop))


def offering(*extensions):
    lines = [b"250-hop.test", *(b"250-" + extension for extension in extensions[:-1]), b"250 " + extensions[-1]]
    return HELLO + lines


# Commands where PIPELINING is not offered.

def test_commands_wait_for_replies():
    async def scenario(talk, hop):
        await talk.hello()
        for line in ((b"MAIL", b"FROM:<a@b>"), (b"RCPT", b"TO:<c@d>"), (b"RSET", None)):
            talk.hop.command(*line)
        assert [await talk.reply() for _ in range(3)] == [250, 250, 250]
        # The script reads one line after the other; that none came early is seen from what is said in between.
        hop.wait_for_the_end()
    run(scenario, [*offering(b"SIZE"), *ENVELOPE, "RSET", b"250 ok"])


# BDAT.

def chunks(*sizes):
    for number, size in enumerate(sizes):
        yield bytes([97 + number]) * (size - 2) + b"\r\n"


def test_a_small_message_is_one_chunk():
    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        talk.hop.beyond_recall = False
        assert await talk.wait(lambda done: talk.hop.send_chunks(iter([b"A: b\r\n\r\n", b".dot\r\n"]), done)) is True
        assert talk.hop.beyond_recall and await talk.reply() == 250
        assert hop.heard[0][-1] == b"A: b\r\n\r\n.dot\r\n"
        assert talk.hop.pristine
    run(scenario, [*offering(b"CHUNKING"), *ENVELOPE, "BDAT 14 LAST", Octets(14), b"250 taken", WAIT])


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_large_message_goes_in_chunks(pipelining, monkeypatch):
    monkeypatch.setattr(outbound, "CHUNK_BYTES", 1000)
    offers = (b"CHUNKING", b"PIPELINING") if pipelining else (b"CHUNKING",)
    parts = ["BDAT 1200", Octets(1200)], ["BDAT 1000", Octets(1000)], ["BDAT 5 LAST", Octets(5)]
    replies = [b"250 one"], [b"250 two"], [b"250 three"]
    body = [*parts[0], *parts[1], *parts[2], *replies[0], *replies[1], *replies[2]] if pipelining else [
        step for part, reply in zip(parts, replies, strict=True) for step in part + reply]

    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        await talk.wait(lambda done: talk.hop.send_chunks(chunks(600, 600, 1000, 5), done) or None)
        assert await talk.reply() == 250
        hop.wait_for_the_end()
        assert b"".join(hop.heard[0][3:]).replace(b"BDAT", b"\nBDAT").count(b"\n") >= 3
    run(scenario, [*offering(*offers), *ENVELOPE, *body])


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_refused_chunk_ends_the_message_and_nothing_more_comes(pipelining, monkeypatch):
    monkeypatch.setattr(outbound, "CHUNK_BYTES", 1000)
    offers = (b"CHUNKING", b"PIPELINING") if pipelining else (b"CHUNKING",)
    later = ["BDAT 1000", Octets(1000), "BDAT 1000 LAST", Octets(1000)] if pipelining else []

    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        await talk.wait(lambda done: talk.hop.send_chunks(chunks(1000, 1000, 1000), done) or None)
        assert await talk.reply() == 552
        assert await talk.command(b"MAIL", b"FROM:<e@f>") == 251
        hop.wait_for_the_end()
    again = ["RSET", b"250 ok", "MAIL FROM:<e@f>", b"251 ok"]
    run(scenario, [*offering(*offers), *ENVELOPE, "BDAT 1000", Octets(1000), *later, b"552 5.3.4 too much",
                   *([b"503 5.5.1 what", b"503 5.5.1 what"] if pipelining else []), *again])


def test_a_spool_that_fails_between_chunks_costs_the_message_only(monkeypatch):
    monkeypatch.setattr(outbound, "CHUNK_BYTES", 1000)

    def broken():
        yield from chunks(1000, 1000)
        raise OSError(5, "Input/output error")

    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        with pytest.raises(ServiceUnavailable, match="could not be read"):
            await talk.wait(lambda done: talk.hop.send_chunks(broken(), done) or None)
        assert await talk.command(b"MAIL", b"FROM:<e@f>") == 250
        hop.wait_for_the_end()
    run(scenario, [*offering(b"CHUNKING"), *ENVELOPE, "BDAT 1000", Octets(1000), b"250 ok", "RSET", b"250 ok",
                   "MAIL FROM:<e@f>", b"250 ok"])


def test_chunks_are_not_possible_everywhere():
    async def scenario(talk, hop):
        await talk.hello()
        with pytest.raises(NotNow, match="no chunk"):
            talk.hop.send_chunks(iter([]), None)
        await talk.command(b"EHLO", b"me")
        await talk.envelope()
        with pytest.raises(NotNow, match="does not offer CHUNKING"):
            talk.hop.send_chunks(iter([]), None)
    run(scenario, [*offering(b"CHUNKING"), "EHLO me", b"250 hop", *ENVELOPE, WAIT])


def test_a_next_hop_that_does_not_answer_a_chunk_has_a_timeout(monkeypatch):
    monkeypatch.setattr(outbound, "CHUNK_BYTES", 10)

    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        with pytest.raises(ServiceTimeout, match=r"\(data_block\)"):
            await talk.wait(lambda done: talk.hop.send_chunks(chunks(10, 10), done) or None)
    run(scenario, [*offering(b"CHUNKING"), *ENVELOPE, "BDAT 10", Octets(10), WAIT], timeouts={"data_block": 0.2})


def test_a_next_hop_that_leaves_between_chunks(monkeypatch):
    monkeypatch.setattr(outbound, "CHUNK_BYTES", 10)

    async def scenario(talk, hop):
        await talk.hello()
        await talk.envelope()
        with pytest.raises(ServiceUnavailable):
            await talk.wait(lambda done: talk.hop.send_chunks(chunks(10, 10), done) or None)
    run(scenario, [*offering(b"CHUNKING"), *ENVELOPE, "BDAT 10", Octets(10), CLOSE])


# LMTP.

def test_lmtp():
    async def scenario(talk, hop):
        await talk.hello(b"LHLO")
        assert await talk.envelope(3) == [250, 550, 250]
        assert talk.hop.recipients == 2
        assert await talk.command(b"DATA") == 354
        talk.hop.begin_message()
        assert talk.hop.send_message(iter([b"A: b\r\n\r\n"]), None) is True
        assert [await talk.reply(), await talk.reply()] == [250, 452]
        assert talk.hop.pristine
    run(scenario, [b"220 hop.test LMTP", "LHLO me", b"250-hop", b"250 PIPELINING", "MAIL .*", b"250 ok", "RCPT .*", b"250 ok",
                   "RCPT .*", b"550 no", "RCPT .*", b"250 ok", "DATA", b"354 go", DATA, b"250 one", b"452 two", WAIT], lmtp=True)


def test_each_reply_of_lmtp_has_its_time():
    async def scenario(talk, hop):
        await talk.hello(b"LHLO")
        await talk.envelope(2)
        await talk.command(b"DATA")
        talk.hop.begin_message()
        talk.hop.send_message(iter([b"A: b\r\n\r\n"]), None)
        assert await talk.reply() == 250
        with pytest.raises(ServiceTimeout, match=r"\(data_end\)"):
            await talk.reply()
    run(scenario, [b"220 hop.test LMTP", "LHLO me", b"250 hop", *ENVELOPE, "RCPT .*", b"250 ok", "DATA", b"354 go", DATA,
                   b"250 one", WAIT], lmtp=True, timeouts={"data_end": 0.2})


# TLS.

STARTTLS = [*offering(b"STARTTLS"), "STARTTLS"]


async def secured(talk, tls):
    return await talk.wait(lambda done: talk.hop.start_tls(tls, done))


def test_tls(authority, certificate):
    async def scenario(talk, hop):
        await talk.hello()
        assert talk.hop.tls is None
        assert (await secured(talk, ClientTls("verified", ca=authority.file))).code == 220
        assert talk.hop.tls["version"] == "TLSv1.3" and talk.hop.tls["verified"]
        assert talk.hop.extensions == {}
        assert await talk.command(b"EHLO", b"me") == 250
        await talk.envelope()
        assert await talk.command(b"DATA") == 354
        talk.hop.begin_message()
        await talk.wait(lambda done: talk.hop.send_message(iter([b"x" * 70000 + b"\r\n"] * 20), done))
        assert await talk.reply() == 250
        assert len(hop.heard[0][-1]) == 20 * 70002
        assert await talk.command(b"QUIT") == 221
    run(scenario, [*STARTTLS, b"220 go", TLS, "EHLO me", b"250 hop", *ENVELOPE, "DATA", b"354 go", DATA, b"250 taken", "QUIT",
                   b"221 bye"], certificate=certificate)


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"250-inj", b"\x16\x03\x01"])
def test_replies_before_tls_are_an_error(certificate, behind):
    async def scenario(talk, hop):
        await talk.hello()
        with pytest.raises(ServiceProtocolError, match="octets without TLS"):
            await secured(talk, ClientTls("opportunistic"))
        with pytest.raises(ServiceUnavailable):
            talk.hop.command(b"EHLO", b"me")
    run(scenario, [*STARTTLS, b"220 go\r\n" + behind + b"\n", WAIT], certificate=certificate)


def test_tls_refused(certificate):
    async def scenario(talk, hop):
        await talk.hello()
        assert (await secured(talk, ClientTls("opportunistic"))).code == 454
        assert talk.hop.tls is None and await talk.command(b"NOOP") == 250
    run(scenario, [*STARTTLS, b"454 4.7.0 later", "NOOP", b"250 ok"])


@pytest.mark.parametrize(("options", "why"), [
    ({"mode": "verified"}, "certificate"), ({"mode": "verified", "fingerprint": "00" * 32}, "fingerprint"),
    ({"mode": "verified", "name": "other.test", "ca": True}, "other.test")])
def test_a_certificate_that_is_not_the_right_one(authority, certificate, options, why):
    async def scenario(talk, hop):
        await talk.hello()
        if options.get("ca"):
            options["ca"] = authority.file
        with pytest.raises(ServiceUnavailable, match="TLS handshake with .* failed: .*" + why):
            await secured(talk, ClientTls(**options))
        with pytest.raises(ServiceUnavailable, match="not connected"):
            talk.hop.command(b"EHLO", b"me")
    run(scenario, [*STARTTLS, b"220 go", TLS, WAIT], certificate=certificate)


def test_the_right_fingerprint(certificate):
    async def scenario(talk, hop):
        await talk.hello()
        await secured(talk, ClientTls("verified", fingerprint=certificate.fingerprint))
        assert talk.hop.tls["fingerprint"] == certificate.fingerprint
    run(scenario, [*STARTTLS, b"220 go", TLS, WAIT], certificate=certificate)


@pytest.mark.parametrize("instead", [[b"this is no TLS", WAIT], [CLOSE], [WAIT]])
def test_a_handshake_that_fails(instead):
    async def scenario(talk, hop):
        await talk.hello()
        with pytest.raises((ServiceUnavailable, ServiceProtocolError), match="TLS handshake|without TLS"):
            await secured(talk, ClientTls("required"))
    run(scenario, [*STARTTLS, b"220 go", *instead], timeouts={"tls_handshake": 0.3})


def test_tls_is_not_possible_everywhere():
    async def scenario(talk, hop):
        await talk.hello()
        with pytest.raises(NotNow, match="does not offer STARTTLS"):
            talk.hop.start_tls(ClientTls("required"), None)
    run(scenario, [*offering(b"SIZE"), WAIT])


def test_a_session_that_ends_during_the_handshake_hears_nothing_of_it():
    called = []

    async def scenario(talk, hop):
        await talk.hello()
        talk.hop.start_tls(ClientTls("required"), lambda *a: called.append(a))
        await asyncio.to_thread(wait_until, lambda: talk.hop._client.state_name == "TLS", "220 to STARTTLS")
        talk.hop.resync()
        await asyncio.sleep(0)
        assert called == [] and not talk.hop.pristine
        with pytest.raises(ServiceUnavailable):
            talk.hop.command(b"NOOP", None)
    run(scenario, [*STARTTLS, b"220 go", WAIT])


# AUTH.

def test_auth_and_its_lines_are_not_in_the_log():
    log = RecordingLog()

    async def scenario(talk, hop):
        await talk.hello()
        assert await talk.command(b"AUTH", b"PLAIN c2VjcmV0") == 334
        with pytest.raises(NotNow):
            talk.hop.auth_line(b"no base64!")
        talk.hop.auth_line(b"c2VjcmV0Mg==")
        assert await talk.reply() == 235
        assert not talk.hop.pristine
    run(scenario, [*offering(b"AUTH PLAIN"), "AUTH PLAIN c2VjcmV0", b"334 ", "c2VjcmV0Mg==", b"235 ok", WAIT], log=log)
    written = b"\n".join(text if isinstance(text, bytes) else text.encode() for text in log.texts)
    assert b"next hop < AUTH PLAIN" in written and b"c2Vj" not in written


# In front of everything.

@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("source", "destination"), [
    (("192.0.2.1", 1025), ("192.0.2.2", 25)), (("2001:db8::1", 1025), ("2001:db8::2", 25)),
    (("192.0.2.1", 1025), ("2001:db8::2", 25)), (("local", 0), ("192.0.2.2", 25)), (("192.0.2.1", 70000), ("192.0.2.2", 25)),
    (("192.0.2.1", 1025), None), (("fe80::1%eth0", 5), ("fe80::2", 25)), (("x\r\nQUIT", 5), ("192.0.2.2", 25))])
def test_proxy_headers_are_read_as_they_were_meant(version, source, destination):
    header = proxy_header(version, source, destination)
    reader = ProxyReader(4096)
    found = reader.feed(header)
    assert reader.error is None and reader.rest == b""
    if destination is None or source[0] == "local" or source[1] > 65535 or source[0].startswith("x"):
        assert not found.source or found.source[0] == "local"
        return
    assert found.source == (source[0].partition("%")[0], source[1])
    assert found.destination == destination


def test_the_header_is_sent_before_the_greeting_is_read():
    async def scenario(talk, hop):
        await talk.hello()
        assert not talk.hop.pristine
    run(scenario, ["PROXY TCP4 192.0.2.1 192.0.2.2 1025 25", *HELLO, b"250 hop", WAIT],
        preface=proxy_header(1, ("192.0.2.1", 1025), ("192.0.2.2", 25)))


def test_the_source_address():
    async def scenario(talk, hop):
        await talk.hello()
        assert hop.peer[0] == "127.0.0.9"
    run(scenario, [*HELLO, b"250 hop", WAIT], source=("127.0.0.9", 0))


def test_a_source_address_that_is_not_ours():
    async def scenario(talk, hop):
        with pytest.raises(ServiceUnavailable, match="Link has been severed"):
            await talk.hello()
    run(scenario, [WAIT], source=("192.0.2.77", 0))
