"""Milters: filters that speak libmilter's protocol, version 6 down to 2, asked about one message in one conversation.

The mail server's side of it: what the milter asked for in the negotiation decides which steps it sees, which of them it answers,
and which macros go with them. All of the changes it may make are taken in, and are the caller's to apply.

Must not know: policies, how a change is made.
"""
import re
import struct

from mailfilter.errors import ServiceProtocolError
from mailfilter.services.circuit import Circuit
from mailfilter.services.stream import open_stream

__all__ = ["Facts", "Outcome", "milter_at"]

PACKET_OCTETS = 1 << 20
"""The largest packet that is taken from a milter."""

CHANGES = 1000
"""Changes of headers and recipients that are taken from one."""

CHUNK_OCTETS = 65535
"""The largest piece of a body that a milter gets (MILTER_CHUNK_SIZE)."""

_VERSION = 6
_ACTIONS = 0x1FF            # every change there is, and lists of macros
# Steps that it may leave out, and answers that it need not give; of rejected recipients it hears nothing (0x800), and packets
# larger than the usual are not offered.
_NO_CONNECT, _NO_HELO, _NO_MAIL, _NO_RCPT, _NO_BODY, _NO_HEADERS, _NO_EOH = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40
_NO_DATA, _SKIP, _LEADING_SPACE = 0x200, 0x400, 0x100000
_SILENT = {"C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000, "L": 0x80, "N": 0x40000, "B": 0x80000}
_PROTOCOL = 0x1FFFFF & ~0x800
_OF_VERSION_2 = 0x7F

# Which macros go with which step, unless the milter names its own (SMFIR_SETSYMLIST): sendmail's usual ones.
_STAGES = {"C": 0, "H": 1, "M": 2, "R": 3, "T": 4, "E": 5, "N": 6}
_MACROS = {
    "C": ["j", "_", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "{if_name}", "{if_addr}", "v"],
    "H": ["{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"],
    "M": ["i", "{auth_type}", "{auth_authen}", "{auth_author}", "{auth_ssf}", "{mail_addr}", "{mail_host}", "{mail_mailer}"],
    "R": ["{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"], "T": ["i"], "N": ["i"], "E": ["i", "{msg_id}"],
}
_REPLY = re.compile(rb"([45]\d\d)[ -]?(.*)", re.DOTALL)


class Facts:
    """What a milter is told: name (of the client's host), address (None for a UNIX socket), port, helo, sender and recipients
    (each an array: the path with its brackets, then ESMTP parameters), headers ([(name, what is behind the colon), …], octets),
    macros (octets by name, long ones in braces); rcpt_macros: the same for each recipient."""

    __slots__ = ("name", "address", "port", "helo", "sender", "recipients", "headers", "macros", "rcpt_macros")


class Outcome:
    """What a milter has said.

    action: "accept", "reject", "tempfail" or "discard". code, lines: its own reply, or None. quarantine: why, or None. refused:
    [(number of the recipient, action, code or None, lines), …]. headers: [("add" | "insert" | "change", place, name, value), …],
    in order. recipients: [("add" | "remove", path, parameters), …]. sender: (path, parameters) or None.
    """

    __slots__ = ("action", "code", "lines", "quarantine", "refused", "headers", "recipients", "sender")

    def __init__(self):
        self.action = "accept"
        self.code = None
        self.lines = []
        self.quarantine = None
        self.refused = []
        self.headers = []
        self.recipients = []
        self.sender = None


def milter_at(outside, address):
    """The milter at an Address, shared by all sessions of the worker whose Outside this is."""
    return outside.get("milter", address, lambda outside: _Milter(outside, address))


class _Milter:
    """A milter as one worker uses it. circuit: where requests to it pass; each has a connection of its own."""

    def __init__(self, outside, address):
        self._loop = outside.loop
        self._address = address
        self.circuit = Circuit("milter", f"milter at {address}", outside.loop, outside.report)

    def close(self):
        """Nothing is kept."""

    async def check(self, facts, body, replace):
        """The Outcome for one message. body: an iterator over its octets. replace(octets) is called with each piece of another
        body."""
        stream = await open_stream(self._loop, self._address)
        try:
            conversation = _Conversation(stream, facts, replace)
            outcome = await conversation.run(body)
            if not stream.over:
                await stream.write(_packet("Q"))
        except BaseException:
            stream.close()
            raise
        stream.end()
        return outcome


def _packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command.encode("ascii") + data


def _strings(*texts):
    # A NUL ends a string: nothing that came from a client may end it earlier.
    return b"".join(text.replace(b"\0", b"?") + b"\0" for text in texts)


class _Over(Exception):
    """The milter wants to hear no more of this message."""


class _Conversation:
    """One message, from the negotiation to the end."""

    def __init__(self, stream, facts, replace):
        self.stream = stream
        self.facts = facts
        self.replace = replace
        self.outcome = Outcome()
        self.actions = self.protocol = 0
        self.lists = {}

    async def run(self, body):
        await self._negotiate()
        try:
            await self._steps(body)
        except _Over:
            pass
        return self.outcome

    async def _steps(self, body):
        facts, protocol = self.facts, self.protocol
        if not protocol & _NO_CONNECT:
            await self._step("C", self._client())
        if not protocol & _NO_HELO and facts.helo is not None:
            await self._step("H", _strings(facts.helo))
        if not protocol & _NO_MAIL:
            await self._step("M", _strings(*facts.sender))
        if not protocol & _NO_RCPT:
            await self._recipients()
        if not protocol & _NO_DATA:
            await self._step("T")
        if not protocol & _NO_HEADERS:
            for name, value in facts.headers:
                value = value.replace(b"\r\n", b"\n").removesuffix(b"\n")
                await self._step("L", _strings(name, value if protocol & _LEADING_SPACE else value.lstrip(b" \t")))
        if not protocol & _NO_EOH:
            await self._step("N")
        if not protocol & _NO_BODY:
            await self._body(body)
        await self._macros("E", facts.macros)
        await self.stream.write(_packet("E"))
        await self._end()

    def _client(self):
        facts = self.facts
        if facts.address is None:
            return _strings(facts.name) + b"U"
        family = b"6" if b":" in facts.address else b"4"
        address = b"IPv6:" + facts.address if family == b"6" else facts.address
        return _strings(facts.name) + family + struct.pack("!H", facts.port) + _strings(address)

    async def _recipients(self):
        refused = 0
        for number, path in enumerate(self.facts.recipients):
            said = await self._step("R", _strings(*path), {**self.facts.macros, **self.facts.rcpt_macros[number]}, recipient=True)
            if said is not None:
                self.outcome.refused.append((number, *said))
                refused += 1
                last = said
        if refused and refused == len(self.facts.recipients):
            self._refuse(*last)

    async def _body(self, body):
        silent = self._is_silent("B")
        for chunk in body:
            for at in range(0, len(chunk), CHUNK_OCTETS):
                await self.stream.write(_packet("B", bytes(chunk[at:at + CHUNK_OCTETS])))
                if not silent and await self._answer("B") == "s":
                    return

    # -- negotiation and macros

    async def _negotiate(self):
        await self.stream.write(_packet("O", struct.pack("!III", _VERSION, _ACTIONS, _PROTOCOL)))
        kind, data = await self._read()
        if kind != "O" or len(data) < 12:
            raise ServiceProtocolError("the milter has not negotiated")
        version, self.actions, self.protocol = struct.unpack("!III", data[:12])
        if not 2 <= version <= _VERSION:
            raise ServiceProtocolError(f"the milter speaks version {version}")
        if self.actions & ~_ACTIONS or self.protocol & ~(_PROTOCOL if version > 2 else _OF_VERSION_2):
            raise ServiceProtocolError("the milter wants what was not offered")
        if version < 6:
            # DATA came with version 4.
            self.protocol |= _NO_DATA if version < 4 else 0
        at = 12
        while at + 4 < len(data):
            stage, = struct.unpack("!I", data[at:at + 4])
            end = data.find(b"\0", at + 4)
            if end < 0:
                raise ServiceProtocolError("a list of macros without an end")
            self.lists[stage] = re.split(r"[\s,]+", data[at + 4:end].decode("ascii", "replace").strip())
            at = end + 1

    async def _macros(self, step, values):
        names = self.lists.get(_STAGES.get(step), _MACROS.get(step, ()))
        given = []
        for name in names:
            value = values.get(name, values.get(f"{{{name}}}"))
            if value is not None:
                given += [name.encode("ascii", "replace"), value]
        if given:
            await self.stream.write(_packet("D", step.encode("ascii") + _strings(*given)))

    # -- steps and answers

    def _is_silent(self, step):
        return bool(self.protocol & _SILENT[step])

    async def _step(self, step, data=b"", macros=None, recipient=False):
        """One step. For a recipient that is refused (action, code, lines), else None; _Over when the message is decided."""
        if step in _STAGES:
            await self._macros(step, self.facts.macros if macros is None else macros)
        await self.stream.write(_packet(step, data))
        if self._is_silent(step):
            return None
        said = await self._answer(step, recipient)
        return said if isinstance(said, tuple) else None

    async def _answer(self, step, recipient=False):
        """The answer to a step: "c", or "s" to a piece of the body. What decides the message raises _Over."""
        while True:
            kind, data = await self._read()
            if kind == "p":
                continue
            if kind == "c" or kind == "s" and step == "B" and self.protocol & _SKIP:
                return kind
            decided = self._decided(kind, data)
            if decided is None:
                raise ServiceProtocolError(f"the milter has answered {kind!r} to {step}")
            if recipient and decided[0] in ("reject", "tempfail"):
                return decided
            self._refuse(*decided)

    def _decided(self, kind, data):
        """(action, code, lines) of an answer that decides; None for any other."""
        if kind == "a":
            return "accept", None, []
        if kind == "d":
            return "discard", None, []
        if kind == "r":
            return "reject", None, []
        if kind == "t":
            return "tempfail", None, []
        if kind == "4":
            return "tempfail", 421, [b"4.3.2 Closing"]
        if kind == "f":
            return "tempfail", None, []
        if kind != "y":
            return None
        found = _REPLY.match(data.split(b"\0", 1)[0])
        if found is None:
            raise ServiceProtocolError("the milter's reply has no code")
        # A line of a reply that has several begins with the code again; libmilter doubles percent signs.
        lines = [re.sub(rb"^%s[ -]?" % found[1], b"", line) for line in re.split(rb"\r?\n", found[2]) if line]
        return ("reject" if found[1][:1] == b"5" else "tempfail", int(found[1]), [line.replace(b"%%", b"%") for line in lines])

    def _refuse(self, action, code, lines):
        self.outcome.action, self.outcome.code, self.outcome.lines = action, code, lines
        raise _Over

    async def _end(self):
        """Changes, up to the answer that decides."""
        while True:
            kind, data = await self._read()
            if kind == "p":
                continue
            if kind == "c":
                return
            decided = self._decided(kind, data)
            if decided is not None:
                self._refuse(*decided)
            self._change(kind, data)

    _NEEDS = {"h": 0x1, "i": 0x1, "b": 0x2, "+": 0x4, "-": 0x8, "m": 0x10, "q": 0x20, "e": 0x40, "2": 0x80}

    def _change(self, kind, data):
        outcome, needed = self.outcome, self._NEEDS.get(kind)
        # Many milters insert headers who have asked for changing them only; sendmail lets them.
        if needed is None or not self.actions & (needed | (0x10 if kind in "hi" else 0)):
            raise ServiceProtocolError(f"the milter has answered {kind!r}, which it has not asked for")
        if len(outcome.headers) + len(outcome.recipients) >= CHANGES:
            raise ServiceProtocolError(f"the milter makes more than {CHANGES} changes")
        if kind == "b":
            self.replace(data)
            return
        place = 0
        if kind in "im":
            if len(data) < 4:
                raise ServiceProtocolError("a change without a place")
            place, = struct.unpack("!I", data[:4])
            data = data[4:]
        texts = data.split(b"\0")[:-1]
        if kind in "him":
            if len(texts) < 2 or not texts[0]:
                raise ServiceProtocolError("a change of a header without name or value")
            outcome.headers.append(({"h": "add", "i": "insert", "m": "change"}[kind], place, texts[0], texts[1]))
        elif not texts:
            raise ServiceProtocolError("a change without a value")
        elif kind == "q":
            outcome.quarantine = texts[0]
        elif kind == "e":
            outcome.sender = texts[0], texts[1] if len(texts) > 1 else b""
        else:
            outcome.recipients.append(("remove" if kind == "-" else "add", texts[0], texts[1] if len(texts) > 1 else b""))

    async def _read(self):
        """(command, data) of the next packet."""
        size, = struct.unpack("!I", await self.stream.exactly(4))
        if not 0 < size <= PACKET_OCTETS:
            raise ServiceProtocolError(f"a packet of {size} octets")
        packet = await self.stream.exactly(size)
        return packet[:1].decode("latin-1"), packet[1:]
