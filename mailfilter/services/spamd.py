"""SpamAssassin's spamd: a message is sent to it, and it says how it scores, or gives the message back with its marks.

One connection for each message, as spamd's protocol (SPAMC 1.5) has it. Must not know: policies, headers.
"""
import re

from mailfilter.errors import ServiceProtocolError, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.stream import open_stream

__all__ = ["Verdict", "process", "report", "spamd_at"]

HEADER_OCTETS, HEADER_LINES = 1000, 50
"""The longest line of an answer's header, and how many there may be."""

REPORT_OCTETS = 262144
"""The longest report."""

MORE_OCTETS = 1 << 20
"""By so much a message may grow by what spamd puts into it."""

_STATUS = re.compile(rb"SPAMD/[0-9.]+ (\d+) (.*)")
_SPAM = re.compile(rb"(true|yes|false|no)\s*;\s*(-?[0-9.]+)\s*/\s*(-?[0-9.]+)\s*", re.IGNORECASE)
_ROW = re.compile(r"\s{0,8}(-?\d+(?:\.\d+)?)\s+(\w+)\s*(.*)")
_TEST = re.compile(r"([A-Za-z0-9_]+)=(-?\d+(?:\.\d+)?)")


class Verdict:
    """spam, score, required: as it says. report: the text of the report, or None.

    tests: [(name, score, description), …]. six: hostname, version, subversion, version of the rules, Bayes probability and tests,
    when the report is that of six lines that the predecessor's user_prefs makes; else None.
    """

    __slots__ = ("spam", "score", "required", "report", "tests", "six")

    def __init__(self, spam, score, required):
        self.spam = spam
        self.score = score
        self.required = required
        self.report = None
        self.tests = []
        self.six = None

    def read(self, text):
        """Take in a report."""
        self.report = text
        lines = text.strip("\r\n").splitlines()
        if len(lines) == 6 and not _ROW.match(lines[0]) and re.fullmatch(r"[0-9.]*|N/A", lines[4].strip()):
            bayes = lines[4].strip()
            self.six = [*(line.strip() for line in lines[:4]), float(bayes) if re.fullmatch(r"\d*\.?\d+", bayes) else 0.5,
                        lines[5].strip()]
            self.tests = [(name, float(score), "") for name, score in _TEST.findall(lines[5])]
            return
        below = False
        for line in lines:
            if re.match(r"\s*-{3,}\s+-{3,}", line):
                below = True
            elif below:
                row = _ROW.match(line)
                if row is not None:
                    self.tests.append((row[2], float(row[1]), row[3].strip()))
                elif self.tests and line[:8].isspace() and line.strip():
                    name, score, description = self.tests[-1]
                    self.tests[-1] = name, score, f"{description} {line.strip()}".strip()


def spamd_at(outside, address):
    """The Circuit of the spamd at an Address, shared by all sessions of the worker whose Outside this is."""
    return outside.get("spamassassin", address, lambda outside: _Spamd(outside, address))


class _Spamd:
    """A spamd as one worker uses it."""

    def __init__(self, outside, address):
        self.loop = outside.loop
        self.address = address
        self.circuit = Circuit("spamassassin", f"spamd at {address}", outside.loop, outside.report)

    def close(self):
        """Nothing is kept."""

    async def ask(self, verb, user, size, chunks):
        """(stream, Verdict, octets that follow): the answer up to its empty line."""
        stream = await open_stream(self.loop, self.address)
        try:
            head = f"{verb} SPAMC/1.5\r\nContent-length: {size}\r\n" + (f"User: {user}\r\n" if user else "") + "\r\n"
            problem = None
            try:
                await stream.write(head.encode("utf-8", "surrogateescape"))
                for chunk in chunks:
                    if chunk:
                        await stream.write(chunk)
                stream.finish_writing()
            except ServiceUnavailable as error:
                problem = error         # it may have said why before it closed
            try:
                status = _STATUS.fullmatch((await stream.line(HEADER_OCTETS)).rstrip(b"\r"))
            except ServiceUnavailable as error:
                raise problem or error from None
            if status is None:
                raise ServiceProtocolError("spamd has answered no status line")
            if int(status[1]):
                raise ServiceUnavailable(f"spamd has answered: {status[2][:200].decode('ascii', 'replace')}")
            return stream, *await _header(stream)
        except BaseException:
            stream.close()
            raise


async def _header(stream):
    verdict = length = None
    for _ in range(HEADER_LINES):
        line = (await stream.line(HEADER_OCTETS)).rstrip(b"\r")
        if not line:
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"spam":
            found = _SPAM.fullmatch(value.strip())
            if found is not None:
                try:
                    verdict = Verdict(found[1].lower() in (b"true", b"yes"), float(found[2]), float(found[3]))
                except ValueError:
                    verdict = None
        elif name.lower() == b"content-length" and value.strip().isdigit() and len(value) < 16:
            length = int(value)
    else:
        raise ServiceProtocolError("spamd's header has no end")
    if verdict is None or length is None:
        raise ServiceProtocolError("spamd has not told a verdict and a length")
    return verdict, length


async def report(spamd, user, size, chunks):
    """The Verdict on a message of `size` octets, with its report."""
    stream, verdict, length = await spamd.ask("REPORT", user, size, chunks)
    try:
        if length > REPORT_OCTETS:
            raise ServiceProtocolError(f"a report of {length} octets")
        verdict.read((await stream.exactly(length)).decode("utf-8", "surrogateescape"))
    finally:
        stream.close()
    return verdict


async def process(spamd, user, size, chunks, take):
    """The Verdict on a message; take(octets) is called with the message that spamd gives back, piece by piece."""
    stream, verdict, length = await spamd.ask("PROCESS", user, size, chunks)
    try:
        if length > size + MORE_OCTETS:
            raise ServiceProtocolError(f"a message of {length} octets came back for one of {size}")
        while length:
            piece = await stream.some(min(length, 65536))
            if not piece:
                raise ServiceUnavailable("the connection was closed in the middle of a message")
            length -= len(piece)
            take(piece)
    finally:
        stream.close()
    return verdict
