"""net/outbound.py over real sockets: one connection to a next hop, driven by callbacks."""
import asyncio
import socket
import threading

import pytest
import uvloop
from handlers import RecordingLog
from peers.next_hop import Drop, Mute, Say
from peers.next_hop import NextHop as Peer

from mailfilter.config import Timeouts
from mailfilter.errors import MailfilterError, ServiceProtocolError, ServiceTimeout, ServiceUnavailable
from mailfilter.net.outbound import NextHop, NotNow


class Talk:
    """A NextHop whose callbacks are awaited."""

    def __init__(self, host, port, log=None, **timeouts):
        self.loop = asyncio.get_running_loop()
        timeouts = Timeouts(**{"connect": 2.0, "greeting": 2.0, **timeouts})
        self.hop = NextHop(self.loop, host, port, timeouts, log, "T-1", log is not None)

    async def connect(self):
        future = self.loop.create_future()
        self.hop.connect(lambda error: future.set_result(error))
        error = await asyncio.wait_for(future, 10)
        if error is not None:
            raise error

    async def reply(self):
        future = self.loop.create_future()

        def received(reply, error):
            if error is None:
                future.set_result(reply)
            else:
                future.set_exception(error)

        reply = self.hop.receive(received)
        return reply if reply is not None else await asyncio.wait_for(future, 10)

    async def command(self, verb, arguments=None):
        self.hop.command(verb, arguments)
        return (await self.reply()).code

    async def message(self, chunks):
        future = self.loop.create_future()

        def sent(error):
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.hop.begin_message()
        if not self.hop.send_message(iter(chunks), sent):
            await asyncio.wait_for(future, 10)

    async def into_data(self):
        await self.connect()
        codes = [(await self.reply()).code, await self.command(b"EHLO", b"me"), await self.command(b"MAIL", b"FROM:<a@b>"),
                 await self.command(b"RCPT", b"TO:<c@d>"), await self.command(b"DATA")]
        assert codes == [220, 250, 250, 250, 354]


def run(scenario, script=None, **options):
    """Run scenario(talk, peer) against a scripted peer."""
    async def main(peer):
        talk = Talk("127.0.0.1", peer.port, **options)
        try:
            await scenario(talk, peer)
        finally:
            talk.hop.close()

    with Peer(script or {}) as peer:
        asyncio.run(main(peer))
        assert peer.violations == []


def test_a_transaction():
    async def scenario(talk, peer):
        assert not talk.hop.in_transaction
        await talk.into_data()
        assert talk.hop.in_message and talk.hop.in_transaction
        await talk.message([b"A: b\r\n\r\n", b"..dot\r\n"])
        assert (await talk.reply()).code == 250 and not talk.hop.in_transaction
        assert await talk.command(b"QUIT") == 221
        assert peer.accepted[0].content == b"A: b\r\n\r\n.dot\r\n"
    run(scenario)


@pytest.mark.parametrize("verb,arguments", [
    (b"NOOP", b"x\r\nRSET"), (b"NOOP\r\n", None), (b"NOOP", b"a\0b"), (b"NO\nOP", b"x"), (b"", None),
])
def test_commands_that_are_refused(verb, arguments):
    async def scenario(talk, peer):
        await talk.connect()
        assert (await talk.reply()).code == 220
        with pytest.raises(MailfilterError):
            talk.hop.command(verb, arguments)
        assert await talk.command(b"NOOP") == 250               # still in step
    run(scenario)


def test_nothing_is_possible_without_a_connection():
    async def scenario(talk, peer):
        for action in (lambda: talk.hop.command(b"NOOP", None), lambda: talk.hop.receive(None), talk.hop.begin_message):
            with pytest.raises(ServiceUnavailable, match="not connected"):
                action()
        talk.hop.close()
        talk.hop.close()
        talk.hop.resync()
    run(scenario)


def test_a_reply_that_nobody_asked_for_is_not_waited_for():
    async def scenario(talk, peer):
        await talk.connect()
        await talk.reply()
        with pytest.raises(NotNow, match="send a command first"):
            talk.hop.receive(lambda *a: None)
        with pytest.raises(NotNow):
            talk.hop.begin_message()
    run(scenario)


def test_commands_after_354_are_refused():
    async def scenario(talk, peer):
        await talk.into_data()
        with pytest.raises(NotNow):
            talk.hop.command(b"RSET", None)
        await talk.message([b"A: b\r\n\r\n"])
        assert (await talk.reply()).code == 250
    run(scenario)


@pytest.mark.parametrize("script,error,text", [
    ({"connect": [Mute()]}, ServiceTimeout, r"within 0\.3 s \(greeting\)"),
    ({"connect": [Drop()]}, ServiceUnavailable, "closed the connection"),
    ({"connect": [Drop(reset=True)]}, ServiceUnavailable, "Input/output error|severed|closed the connection"),
    ({"connect": [Say(b"hello there\r\n")]}, ServiceProtocolError, "Protocol error"),
    ({"connect": [Say(b"220-a\r\n250 b\r\n")]}, ServiceProtocolError, "Protocol error"),
    ({"connect": [Say(b"220 " + b"x" * 10_000 + b"\r\n")]}, ServiceProtocolError, "Protocol error"),
])
def test_no_greeting(script, error, text):
    async def scenario(talk, peer):
        with pytest.raises(error, match=text):
            await talk.connect()            # a reset may come as early as this
            await talk.reply()
        with pytest.raises(ServiceUnavailable):
            talk.hop.command(b"EHLO", b"me")
    run(scenario, script, greeting=0.3)


@pytest.mark.parametrize("name,verb,before", [
    ("hello", b"EHLO", 0), ("mail", b"MAIL", 1), ("rcpt", b"RCPT", 2), ("data", b"DATA", 3),
    ("reset", b"RSET", 1),
])
def test_each_command_has_its_timeout(name, verb, before):
    steps = [(b"EHLO", b"me"), (b"MAIL", b"FROM:<a@b>"), (b"RCPT", b"TO:<c@d>"), (b"DATA", None)]
    arguments = dict(steps).get(verb)
    step = {b"RSET": "rset"}.get(verb, verb.decode().lower())

    async def scenario(talk, peer):
        await talk.connect()
        await talk.reply()
        for line in steps[:before]:
            assert await talk.command(*line) == 250
        with pytest.raises(ServiceTimeout, match=rf"within 0\.2 s \({name}\)"):
            await talk.command(verb, arguments)
    run(scenario, {step: [Mute()]}, **{name: 0.2})


def test_the_reply_to_the_final_dot_has_its_timeout():
    async def scenario(talk, peer):
        await talk.into_data()
        await talk.message([b"A: b\r\n\r\n"])
        with pytest.raises(ServiceTimeout, match=r"\(data_end\)"):
            await talk.reply()
        assert not talk.hop.in_message
    run(scenario, {"dot": [Mute()]}, data_end=0.2)


def test_a_peer_that_does_not_read_has_a_timeout_and_bounds_the_buffer():
    produced = []

    def chunks():
        for number in range(2000):
            produced.append(number)
            yield b"x" * 65534 + b"\r\n"

    async def scenario(talk, peer):
        await talk.into_data()
        with pytest.raises(ServiceTimeout, match=r"\(data_block\)"):
            await talk.message(chunks())
        assert len(produced) < 400                              # what the kernel takes, and little more
        assert not peer.accepted
    run(scenario, {"body": [Mute(after=1000)]}, data_block=0.3)


def test_a_long_message_to_a_slow_reader_arrives_whole():
    async def scenario(talk, peer):
        await talk.into_data()
        await talk.message([b"A: b\r\n\r\n"] + [bytes([97 + n % 26]) * 65534 + b"\r\n" for n in range(200)])
        assert (await talk.reply()).code == 250
        assert len(peer.accepted[0].content) == 8 + 200 * 65536
    run(scenario)


def test_a_message_that_cannot_be_read_never_looks_complete():
    def broken():
        yield b"A: b\r\n\r\nhalf\r\n"
        raise OSError(5, "Input/output error")

    async def scenario(talk, peer):
        await talk.into_data()
        with pytest.raises(ServiceUnavailable, match="could not be read"):
            await talk.message(broken())
        await asyncio.to_thread(peer.wait_for, lambda peer: not any(c.open for c in peer.conversations), "the end")
        assert not any(t.complete for t in peer.transactions)
    run(scenario)


def test_closing_while_something_is_awaited_calls_nobody():
    called = []

    async def scenario(talk, peer):
        await talk.connect()
        talk.hop.receive(lambda *a: called.append(a))
        talk.hop.close()
        await asyncio.sleep(0)
        assert called == []
    run(scenario, {"connect": [Mute()]})


def test_spoiling_tells_who_waits():
    async def scenario(talk, peer):
        await talk.connect()
        future = asyncio.ensure_future(talk.reply())
        await asyncio.sleep(0)
        talk.hop.spoil("of this reason")
        with pytest.raises(ServiceUnavailable, match="of this reason"):
            await future
    run(scenario, {"connect": [Mute()]})


def test_resync_gets_back_into_step():
    async def scenario(talk, peer):
        await talk.connect()
        await talk.reply()
        assert await talk.command(b"EHLO", b"me") == 250
        assert await talk.command(b"MAIL", b"FROM:<first@b>") == 250
        talk.hop.command(b"RCPT", b"TO:<c@d>")                  # its reply is never fetched
        talk.hop.resync()
        assert await talk.command(b"MAIL", b"FROM:<second@b>") == 250
        assert peer.conversations[0].commands[-2:] == [b"RSET", b"MAIL FROM:<second@b>"]
    run(scenario)


def test_a_command_after_resync_has_its_own_timeout():
    """It had that of a command whose reply was dropped."""
    async def scenario(talk, peer):
        await talk.connect()
        await talk.reply()
        assert await talk.command(b"EHLO", b"me") == 250
        talk.hop.command(b"NOOP", None)                         # its reply is never fetched
        talk.hop.resync()
        with pytest.raises(ServiceTimeout, match=r"within 0\.2 s \(mail\)"):
            await talk.command(b"MAIL", b"FROM:<second@b>")
    run(scenario, {"mail": [Mute()]}, mail=0.2)


def test_resync_inside_a_message_leaves():
    async def scenario(talk, peer):
        await talk.into_data()
        talk.hop.resync()
        with pytest.raises(ServiceUnavailable):
            talk.hop.command(b"RSET", None)
    run(scenario)


# Connecting.

def test_names_in_messages():
    names = [NextHop(None, host, 25, None).name for host in ("h.test", "192.0.2.1", "::1", "unix:/x")]
    assert names == ["h.test:25", "192.0.2.1:25", "[::1]:25", "unix:/x"]


@pytest.mark.parametrize("host", ["127.0.0.1", "unix:/nowhere/at/all", "", "a..b", "x" * 300, "a\0b", "unix:",
                                  "unix:" + "x" * 300])
def test_what_cannot_be_reached(host):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))

        async def main():
            talk = Talk(host, unused.getsockname()[1])
            with pytest.raises((ServiceUnavailable, ServiceTimeout), match="Link has been severed"):
                await talk.connect()
        asyncio.run(main())


def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "hop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 unix\r\n")
                connection.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()

        async def main():
            talk = Talk(f"unix:{path}", 25)
            await talk.connect()
            assert (await talk.reply()).lines == [b"unix"]
            talk.hop.close()
        asyncio.run(main())
        thread.join()


def test_the_debug_log_has_both_sides():
    log = RecordingLog()

    async def scenario(talk, peer):
        await talk.connect()
        await talk.reply()
        await talk.command(b"EHLO", b"me")
    run(scenario, {"connect": [Say(b"220-a\r\n220 b\r\n")]}, log=log)
    assert log.texts[:3] == [b"next hop > 220-a", b"next hop > 220 b", b"next hop < EHLO me"]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("words", [b"552 5.3.4 too much\r\n", b"250 2.0.0 fine\r\n"], ids=["refusal", "acceptance"])
def test_a_refusal_in_the_middle_of_a_message_is_read_though_the_connection_is_reset(loop, words):
    """The next hop does not want the rest: it says so and closes, with octets unread, and writing fails before its reply was
    seen. An acceptance would not be believed."""
    async def main(server):
        talk = Talk("127.0.0.1", server.getsockname()[1])
        connected = asyncio.ensure_future(talk.connect())
        other, _ = await asyncio.get_running_loop().run_in_executor(None, server.accept)
        await connected
        for said, verb in ((b"220 hello", None), (b"250 ok", b"EHLO"), (b"250 ok", b"MAIL"), (b"250 ok", b"RCPT"),
                           (b"354 go", b"DATA")):
            if verb is not None:
                talk.hop.command(verb, {b"EHLO": b"me", b"MAIL": b"FROM:<a@b>", b"RCPT": b"TO:<c@d>"}.get(verb))
            other.sendall(said + b"\r\n")
            assert (await talk.reply()).code == int(said[:3])
        talk.hop.begin_message()

        def chunks():
            yield b"A: b\r\n\r\n" + b"x" * 70_000 + b"\r\n"
            other.sendall(words)
            other.close()
            for _ in range(100):
                yield b"x" * 70_000 + b"\r\n"

        ended = asyncio.get_running_loop().create_future()
        if not talk.hop.send_message(chunks(), ended.set_result):
            assert isinstance(await asyncio.wait_for(ended, 30), MailfilterError)
        if words[:1] == b"5":
            assert (await talk.reply()).code == 552
        else:
            with pytest.raises(ServiceUnavailable):
                await talk.reply()
        talk.hop.close()

    with socket.create_server(("127.0.0.1", 0)) as server, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(server))
