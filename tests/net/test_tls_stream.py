"""net/tls_stream.py over real sockets on uvloop: the handshake, the seam, ends of all kinds, pressure."""
import asyncio
import socket
import ssl

import pytest
import uvloop
from certificates import Authority, client_context

from mailfilter.net.tls import ClientTls, ServerTls, TlsError
from mailfilter.net.tls_stream import upgrade


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_tls(authority):
    return ServerTls([authority.make("mx.example.org").pair])


class Recorder(asyncio.Protocol):
    """A protocol that starts TLS at once and keeps all that it is told."""

    def __init__(self, tls, host=None, seconds=10.0, half_close=False):
        self.tls, self.host, self.seconds, self.half_close = tls, host, seconds, half_close
        self.told, self.data, self.stream, self.error = [], b"", None, None
        self.transport = None
        self.changed = asyncio.Event()

    def tell(self, what):
        self.told.append(what)
        self.changed.set()

    def connection_made(self, transport):
        self.transport = transport
        self.tell("made")
        self.stream = upgrade(asyncio.get_running_loop(), transport, self, self.tls, self.done, seconds=self.seconds,
                              host=self.host)
        assert self.told == ["made"]

    def done(self, error):
        self.error = error
        self.tell("done" if error is None else "failed")

    def data_received(self, data):
        assert "done" in self.told
        self.data += data
        self.changed.set()

    def eof_received(self):
        self.tell("eof")
        return self.half_close

    def pause_writing(self):
        self.tell("pause")

    def resume_writing(self):
        self.tell("resume")

    def connection_lost(self, error):
        self.tell("lost")

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    async def told_of(self, what):
        await self.until(lambda self: what in self.told)


def run(coroutine):
    """Run it on uvloop; whatever an event handler lets slip is a failure."""
    slips = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: slips.append(context))
        return await coroutine
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(main())
    assert slips == []
    return result


class Made(list):
    """The Recorders of a server; `arrived` is set when there is one."""

    def __init__(self):
        self.arrived = asyncio.Event()


async def accept(tls, **options):
    """A listening server of Recorders: (port, list of them, its server)."""
    made = Made()

    def factory():
        made.append(Recorder(tls, **options))
        made.arrived.set()
        return made[-1]
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1], made, server


def in_thread(function, *arguments):
    return asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def connected(tls, context=None, **options):
    """(server's Recorder after its handshake, client's blocking ssl socket)."""
    port, made, server = await accept(tls, **options)

    def dial():
        plain = socket.create_connection(("127.0.0.1", port), 10)
        return (context or client_context()).wrap_socket(plain, suppress_ragged_eofs=False)
    client = await in_thread(dial)
    await made[0].told_of("done")
    server.close()
    return made[0], client


def say_and_leave(client, data):
    """Send, and end our side of TCP. Closing it would be a reset: a session ticket has not been read."""
    client.sendall(data)
    socket.socket.shutdown(client, socket.SHUT_WR)


def test_octets_go_both_ways(server_tls):
    async def main():
        recorder, client = await connected(server_tls)
        assert recorder.stream.facts["version"] == "TLSv1.3"
        await in_thread(client.sendall, b"x" * 1_000_000)
        await recorder.until(lambda it: len(it.data) == 1_000_000)
        recorder.stream.write(b"")
        recorder.stream.write(b"y" * 100_000)
        recorder.stream.close()

        def fetch():
            got = b""
            while piece := client.recv(65536):
                got += piece
            return got
        assert await in_thread(fetch) == b"y" * 100_000         # and a proper end, or recv would raise
        client.close()
        await recorder.told_of("lost")
        assert recorder.told == ["made", "done", "lost"]
    run(main())


def test_octets_sent_together_with_the_last_of_the_handshake_arrive_after_it(server_tls):
    """Fed in one piece and byte by byte: the Finished message and what the client says right behind it."""
    async def main(size):
        port, made, server = await accept(server_tls)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        client.write(b"EHLO client\r\n")
        with pytest.raises(ssl.SSLError):
            client.unwrap()
        octets = outgoing.read()
        for start in range(0, len(octets), size):
            writer.write(octets[start:start + size])
            await asyncio.sleep(0)
        await made[0].told_of("eof")
        assert made[0].data == b"EHLO client\r\n"
        await made[0].told_of("lost")
        assert made[0].told == ["made", "done", "eof", "lost"]
        writer.close()
        server.close()
    run(main(1_000_000))
    run(main(1))


@pytest.mark.parametrize("said,words", [
    (b"GET / HTTP/1.1\r\n\r\n", "http request"), (b"EHLO client\r\n", "wrong version number"), (b"\x16\x03", "closed the"),
    (b"", "closed the")])
def test_what_is_no_handshake_fails(server_tls, said, words):
    async def main():
        port, made, server = await accept(server_tls)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.write_eof()
        await reader.read()
        await made[0].told_of("lost")
        assert made[0].told == ["made", "failed", "lost"]
        assert isinstance(made[0].error, TlsError) and words in str(made[0].error)
        assert made[0].stream.is_closing()
        writer.close()
        server.close()
    run(main())


def test_a_handshake_that_takes_too_long_is_given_up(server_tls):
    async def main():
        port, made, server = await accept(server_tls, seconds=0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16")
        await reader.read()
        await made[0].told_of("lost")
        assert made[0].error.reason == "timeout" and "longer than 0.05 s" in str(made[0].error)
        writer.close()
        server.close()
    run(main())


def test_a_connection_that_is_reset_during_the_handshake(server_tls):
    async def main():
        port, made, server = await accept(server_tls)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            await asyncio.sleep(0)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await made.arrived.wait()
        await made[0].told_of("lost")
        assert made[0].told == ["made", "failed", "lost"] and made[0].error.reason == "closed"
        server.close()
    run(main())


@pytest.mark.parametrize("act", ["abort", "close"])
def test_after_abort_and_close_nothing_is_told_but_the_loss(server_tls, act):
    async def main():
        port, made, server = await accept(server_tls)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await made.arrived.wait()
        await made[0].told_of("made")
        await asyncio.sleep(0)
        getattr(made[0].stream, act)()
        await made[0].told_of("lost")
        assert made[0].told == ["made", "lost"]
        made[0].stream.write(b"into nothing")
        made[0].stream.close()
        made[0].stream.resume_reading()
        writer.close()
        server.close()
    run(main())


def test_half_closed_connections_can_still_be_answered(server_tls):
    """The client says goodbye in TLS, or closes its side of TCP without a word; what it asked before is answered."""
    async def main(ragged):
        recorder, client = await connected(server_tls, half_close=True)

        def ask():
            client.sendall(b"question")
            if ragged:
                socket.socket.shutdown(client, socket.SHUT_WR)
            else:
                client.setblocking(False)
                with pytest.raises(ssl.SSLError):
                    client.unwrap()
                client.setblocking(True)
        client.settimeout(10)
        await in_thread(ask)
        await recorder.told_of("eof")
        assert recorder.data == b"question" and "lost" not in recorder.told
        recorder.stream.write(b"answer")
        recorder.stream.close()
        if ragged:
            assert await in_thread(client.recv, 100) == b"answer"
        client.close()
        await recorder.told_of("lost")
    run(main(False))
    run(main(True))


def test_records_that_were_tampered_with_end_the_connection(server_tls):
    async def main():
        recorder, client = await connected(server_tls)
        plain = socket.socket(fileno=client.detach())
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        await recorder.told_of("lost")
        assert recorder.data == b"" and "eof" not in recorder.told
        plain.close()
    run(main())


def test_a_client_may_not_renegotiate(server_tls):
    async def main():
        recorder, client = await connected(server_tls, client_context(maximum_version=ssl.TLSVersion.TLSv1_2))
        # Python has no call for it; the option that refuses it is what counts.
        assert recorder.stream.get_extra_info("ssl_object").context.options & ssl.OP_NO_RENEGOTIATION
        assert recorder.stream.facts["version"] == "TLSv1.2"
        client.close()
        await recorder.told_of("lost")
    run(main())


def test_pausing_stops_what_is_decrypted_already(server_tls):
    async def main():
        recorder, client = await connected(server_tls)
        recorder.stream.pause_reading()
        recorder.stream.pause_reading()
        await in_thread(say_and_leave, client, b"a" * 50_000)
        for _ in range(5):
            await in_thread(lambda: None)
        assert recorder.data == b"" and "eof" not in recorder.told
        recorder.stream.resume_reading()
        await recorder.told_of("lost")
        assert recorder.data == b"a" * 50_000 and recorder.told == ["made", "done", "eof", "lost"]
        client.close()
    run(main())


def test_pausing_in_the_middle_of_what_came_loses_nothing(server_tls):
    async def main():
        recorder, client = await connected(server_tls)
        given = recorder.data_received

        def one_at_a_time(data):
            given(data)
            recorder.stream.pause_reading()
            asyncio.get_running_loop().call_soon(recorder.stream.resume_reading)
        recorder.data_received = one_at_a_time
        await in_thread(say_and_leave, client, bytes(range(256)) * 2000)
        await recorder.told_of("lost")
        assert recorder.data == bytes(range(256)) * 2000
        client.close()
    run(main())


def test_a_peer_that_does_not_fetch_pauses_the_writer(server_tls):
    async def main():
        recorder, client = await connected(server_tls)
        while "pause" not in recorder.told:
            recorder.stream.write(b"z" * 65536)
            await asyncio.sleep(0)
        assert recorder.stream.get_write_buffer_size() > 0

        def fetch():
            client.settimeout(0.5)
            try:
                while client.recv(65536):
                    pass
            except TimeoutError:
                client.close()
        await in_thread(fetch)
        await recorder.told_of("resume")
        await recorder.told_of("lost")
    run(main())


def test_client_and_server_of_ours_understand_each_other(server_tls, authority):
    async def main():
        port, made, server = await accept(server_tls)
        loop = asyncio.get_running_loop()
        demands = ClientTls("verified", ca=authority.file)
        _, client = await loop.create_connection(lambda: Recorder(demands, "mx.example.org"), "127.0.0.1", port)
        await client.told_of("done")
        assert client.stream.facts["verified"] is True
        await made[0].told_of("done")
        assert made[0].stream.facts["sni"] == "mx.example.org"
        client.stream.write(b"hello")
        await made[0].until(lambda it: it.data == b"hello")
        client.stream.abort()
        await made[0].told_of("lost")
        server.close()
    run(main())


@pytest.mark.parametrize("options,host,words", [
    ({"mode": "verified", "fingerprint": "0" * 64}, "mx.example.org", "has the fingerprint"),
    ({"mode": "verified", "ca": "the authority's"}, "other.example", "Hostname mismatch"),
    ({"mode": "required", "name": "a..b"}, "x", "cannot be asked for")])
def test_certificates_that_are_not_what_was_demanded(server_tls, authority, options, host, words):
    async def main():
        port, made, server = await accept(server_tls)
        demands = ClientTls(**{**options, **({"ca": authority.file} if "ca" in options else {})})
        _, client = await asyncio.get_running_loop().create_connection(lambda: Recorder(demands, host), "127.0.0.1", port)
        await client.told_of("lost")
        assert client.told == ["made", "failed", "lost"] and words in str(client.error)
        await made[0].told_of("lost")
        server.close()
    run(main())


def test_a_server_that_has_nothing_to_do_with_tls(authority):
    async def main():
        async def answer(reader, writer):
            await reader.read(1)
            writer.write(b"500 What?\r\n")
            writer.close()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Recorder(ClientTls("required"), "x.example"), "127.0.0.1", port)
        await client.told_of("lost")
        assert client.error.reason == "wrong version number"
        server.close()
    run(main())
