"""services/stream.py: connections whose other side hangs up."""
import asyncio
import socket

import pytest
import uvloop

from mailfilter.errors import ServiceUnavailable
from mailfilter.services.stream import address_of, open_stream


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run(test):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(test())
    return run


@pytest.mark.parametrize("words", [b"says why\0", b"says why\0" + b"x" * 100_000, b"", b"says w"])
def test_last_words_before_a_reset_are_read(run, words):
    """A scanner does not want the rest of a message, answers and closes: writing fails before the answer was seen."""
    async def test():
        with socket.create_server(("127.0.0.1", 0)) as server:
            stream = await open_stream(asyncio.get_running_loop(), address_of("127.0.0.1", server.getsockname()[1]))
            other, _ = server.accept()
            await stream.write(b"a message")
            other.sendall(words)
            other.close()                   # with what it has not read: that resets
            for _ in range(3):
                await stream.write(b"the rest")
            if b"\0" in words:
                assert await stream.line(100, b"\0") == b"says why"
            else:
                with pytest.raises(ServiceUnavailable, match="in the middle of an answer" if words else "without an answer"):
                    await stream.line(100, b"\0")
    run(test)
