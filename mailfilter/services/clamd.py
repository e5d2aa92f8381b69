"""ClamAV's clamd: a stream is sent to it in pieces (INSTREAM), and it says what it has found.

Connections are kept in session mode (IDSESSION), in which answers have the numbers of their requests. No database version is
needed, and none is believed beyond telling it.

Must not know: policies, headers.
"""
import re
import struct

from mailfilter.errors import ServiceError, ServiceProtocolError, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.connections import Connections
from mailfilter.services.stream import open_stream

__all__ = ["Clamd", "Verdict", "clamd_at"]

ANSWER_OCTETS = 4096
"""The longest answer that is read."""

IDLE_S = 10.0
"""How long a connection is kept: clamd ends those that are silent for 30 seconds, by default."""

_ANSWER = re.compile(r"(\d{1,9}): (.*)", re.DOTALL)
_FOUND = re.compile(r"stream: (.+) FOUND")
_END = struct.pack("!I", 0)


class Verdict:
    """program: as "ClamAV 1.4.6". version: of its signatures, 0 where there is none to tell; date: of them, "" then. name: what
    was found, or None. too_big: it does not take so much (StreamMaxLength), so that nothing is known."""

    __slots__ = ("program", "version", "date", "name", "too_big")

    def __init__(self, version):
        self.program, _, rest = version.partition("/")
        number, _, self.date = rest.partition("/")
        self.version = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
        self.name = None
        self.too_big = False


def clamd_at(outside, address):
    """The Clamd at an Address, shared by all sessions of the worker whose Outside this is."""
    return outside.get("clamav", address, lambda outside: Clamd(outside, address))


class Clamd:
    """A clamd as one worker uses it. circuit: where requests to it pass."""

    def __init__(self, outside, address):
        self.circuit = Circuit("clamav", f"clamd at {address}", outside.loop, outside.report)
        self._connections = Connections(outside.loop, lambda: open_stream(outside.loop, address), lambda stream: stream.usable,
                                        lambda stream: stream.close(), idle_s=IDLE_S)

    def close(self):
        """End the connections that nobody uses."""
        self._connections.close()

    async def scan(self, chunks_of):
        """The Verdict on what chunks_of() gives (an iterator over bytes; asked for again where a kept connection is dead)."""
        while True:
            stream = await self._connections.take()
            kept = stream.requests > 0
            try:
                verdict = await self._ask(stream, chunks_of())
            except (ServiceError, OSError) as error:
                self._connections.drop(stream)
                if kept and stream.over and not stream.used and not isinstance(error, ServiceProtocolError):
                    continue        # it was closed while nobody looked
                raise
            except BaseException:
                self._connections.drop(stream)
                raise
            if verdict.too_big:
                self._connections.drop(stream)
            else:
                self._connections.keep(stream)
            return verdict

    async def _ask(self, stream, chunks):
        stream.used = False
        number = stream.requests
        stream.requests += 2
        problem = None
        try:
            await stream.write(b"" if number else b"zIDSESSION\0", b"zVERSION\0zINSTREAM\0")
            for chunk in chunks:
                if chunk:
                    await stream.write(struct.pack("!I", len(chunk)), chunk)
            await stream.write(_END)
        except ServiceUnavailable as error:
            problem = error             # it may have said why before it closed
        answers = {}
        # Answers come in any order; where it hangs up, that to VERSION may be missing.
        while len(answers) < 2 and "size limit exceeded" not in answers.get(number + 2, ""):
            try:
                line = await stream.line(ANSWER_OCTETS, b"\0")
            except ServiceUnavailable as error:
                raise problem or error from None
            stream.used = True
            found = _ANSWER.fullmatch(line.decode("utf-8", "replace"))
            if found is None or int(found[1]) not in (number + 1, number + 2) or int(found[1]) in answers:
                raise ServiceProtocolError(f"clamd has answered {line[:100]!r}")
            answers[int(found[1])] = found[2]
        text = answers[number + 2]
        verdict = Verdict(answers.get(number + 1, ""))
        found = _FOUND.fullmatch(text)
        if found is not None:
            verdict.name = found[1]
        elif "size limit exceeded" in text:
            verdict.too_big = True
        elif text.endswith("ERROR"):
            raise ServiceUnavailable(f"clamd has answered: {text[:200]}")
        elif text != "stream: OK":
            raise ServiceProtocolError(f"clamd has answered {text[:100]!r}")
        return verdict
