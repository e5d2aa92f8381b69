"""Plays transcripts of SMTP dialogues: readable files, tests/dialogs/*.smtp. Those in tests/dialogs/shell show limits and
timeouts, which they set by name, that only the program has: test_dialogs_over_tls.py plays them.

    # a comment; the first ones say what the dialogue shows
    @ line_ends normalise       an option of the session: line_ends, hostname, early_data, auth_without_tls, or a limit by
                                its name; `offer AUTH,XCLIENT`: see Session.offer; `ways steps,whole`: not in the others
    P: RCPT 550 5.1.1 Nobody    what the policy answers to the next event of this kind; | between the lines of a reply,
                                "close" in front of the code to close after it. Where nothing is said, all is accepted.
    P: MESSAGE each 250 A;550 B;250 C   a reply for each recipient, and one for all (PRDR)
    C: EHLO client.example      the client sends a line; CR LF is added
    C~ .\\n                      the client sends just this
    S: 250-mx.example           the server answers this line
    E: MESSAGE body=12          an event of this kind comes, with these attributes (in memory only; see `described`)
    TLS                         TLS starts
    EOF                         the client sends nothing more
    CLOSED                      the server has closed

\\r \\n \\t \\0 \\\\ and \\xNN may stand in what the client sends and the server answers; {N*x} is N times the octet x.

A transcript is played over a transport. Memory, here, is a Session without a socket; another would speak TCP. It has

    Transport(script, way)      `script.options` and `script.answers` say how the other side is to behave
    send(octets), end(), start_tls()    what the client does
    received()                  all that the server has said since the last call; it waits for it if it must
    closed()                    whether the server has closed
    events()                    the events since the last call, or None where they cannot be seen

and it is played in three ways: line by line ("steps"), the same but each octet by itself ("bytewise"), and all that the
client says at once, up to where TLS starts ("whole"). The server must say the same in all of them. Played whole, the
message comes before the 354 by nature: that is allowed then.
"""
import re
from pathlib import Path

from mailfilter._core.session import Limits, Session

FOLDER = Path(__file__).parent / "dialogs"
WAYS = ("steps", "bytewise", "whole")
_LIMITS = ("line_bytes", "auth_line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors",
           "pending_bytes")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\])|\{(\d+)\*(.|\\x[0-9a-fA-F]{2})\}", re.DOTALL)
_NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def unescape(text):
    """The octets that a line of a transcript stands for."""
    def octets(match):
        if match[2]:
            return unescape(match[3]) * int(match[2])
        return bytes([int(match[1][1:], 16)]) if match[1][:1] == b"x" else _NAMED[match[1]]
    return _ESCAPE.sub(octets, text)


class Script:
    """A transcript, read. steps: (line number, kind, value) each; options: a dict; answers: kind -> list of
    (code, lines, close)."""

    def __init__(self, path):
        self.path = Path(path)
        self.steps = []
        self.options = {}
        self.answers = {}
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            mark, rest = line[:2], line[3:]
            if not line.strip() or line[:1] == b"#":
                continue
            if mark == b"@ ":
                name, value = line[2:].decode().split()
                self.options[name] = value
            elif mark == b"P:":
                kind, *words = rest.split(b" ", 2)
                if words[0] == b"each":
                    replies = [_reply(text) for text in words[1].split(b";")]
                    self.answers.setdefault(kind.decode(), []).append(replies)
                    continue
                close = words[0] == b"close"
                code, _, text = words[1].partition(b" ") if close else (words[0], b"", (words + [b""])[1])
                self.answers.setdefault(kind.decode(), []).append((int(code), unescape(text).split(b"|"), close))
            elif mark == b"C:":
                self.steps.append((number, "send", unescape(rest) + b"\r\n"))
            elif mark == b"C~":
                self.steps.append((number, "send", unescape(rest)))
            elif mark == b"S:":
                self.steps.append((number, "reply", unescape(rest) + b"\r\n"))
            elif mark == b"E:":
                self.steps.append((number, "event", rest.decode()))
            elif line in (b"EOF", b"CLOSED", b"TLS"):
                self.steps.append((number, line.decode().lower(), None))
            else:
                raise ValueError(f"{self.path.name}:{number}: not a line of a transcript")

    @property
    def ways(self):
        """The ways in which this transcript is played."""
        return tuple(self.options.get("ways", ",".join(WAYS)).split(","))

    def session(self, way):
        """A Session with the options of this transcript."""
        limits = {name: int(value) for name, value in self.options.items() if name in _LIMITS}
        rest = {name: value for name, value in self.options.items() if name not in (*_LIMITS, "offer", "ways")}
        if "hostname" in rest:
            rest["hostname"] = rest["hostname"].encode()
        if "auth_without_tls" in rest:
            rest["auth_without_tls"] = rest["auth_without_tls"] == "yes"
        if way == "whole":
            rest.setdefault("early_data", "take")
        session = Session(Limits(**limits), **rest)
        session.offer(self.offers)
        return session

    @property
    def offers(self):
        return [name.encode() for name in self.options.get("offer", "").split(",") if name]


def _reply(text):
    code, _, text = text.partition(b" ")
    return int(code), [unescape(line) for line in text.split(b"|")]


def described(event):
    """The words that an E: line may use for an event."""
    words = {"text": event.text.decode("latin-1").replace(" ", "_")}
    if event.attributes is not None:
        words["attributes"] = ",".join(f"{name.decode()}={'-' if value is None else value.decode()}"
                                       for name, value in event.attributes)
    if event.path is not None:
        words["path"] = event.path.text.decode("latin-1")
    if event.fields is not None:
        words["fields"] = str(len(event.fields))
        words["separator"] = "yes" if event.separator else "no"
        words["body"] = str(event.body_bytes)
        words["size"] = str(event.message_bytes)
        words["wire"] = "yes" if event.wire else "no"
        words["binary"] = "yes" if event.binary else "no"
    words["reply"] = str(event.reply.code) if event.reply is not None else "none"
    return words


class Memory:
    """A Session without a socket, and a policy that answers what the script says."""

    def __init__(self, script, way):
        self.session = script.session(way)
        self.body = b""
        self._answers = {kind: list(answers) for kind, answers in script.answers.items()}
        self._events = []
        self._run()

    def send(self, octets):
        self.session.feed(octets)
        self._run()

    def end(self):
        self.session.eof()
        self._run()

    def start_tls(self):
        self.session.tls_started()
        self._run()

    def received(self):
        return self.session.take_output()

    def closed(self):
        return self.session.closed

    def events(self):
        events, self._events = self._events, []
        return events

    def _run(self):
        while (event := self.session.next_event()) is not None:
            if event.name == "BODY":
                self.body += event.chunk
                continue
            self._events.append(event)
            if event.asks:
                self._answer(event.name)

    def _answer(self, kind):
        if self._answers.get(kind):
            answer = self._answers[kind].pop(0)
            if type(answer) is list:
                *each, (code, lines) = answer
                self.session.reply_each(each, code, lines)
                return
            code, lines, close = answer
            self.session.reply(code, lines, close, b"user" if kind.startswith("AUTH") and code < 300 else None)
        elif kind == "MESSAGE":
            self.session.reply(250, [b"2.0.0 Taken"])
        else:
            self.session.reply_default()


def play(script, way, transport=Memory):
    """Play a script in one of WAYS over a new transport, which is returned. AssertionError names file and line."""
    line = transport(script, way)
    events = []
    heard = bytearray(line.received())
    steps = script.steps
    if way == "whole":
        steps = _at_once(line, steps)
    for number, kind, value in steps:
        place = f"{script.path.name}:{number} ({way})"
        heard += line.received()
        seen = line.events()
        events += seen or ()
        if kind == "reply":
            assert heard[:len(value)] == value, f"{place}: expected {value!r}, got {bytes(heard[:200])!r}"
            del heard[:len(value)]
        elif kind == "closed":
            assert line.closed(), f"{place}: not closed"
        elif kind == "event":
            if seen is not None:
                _expect(events, value, place)
        elif kind == "tls":
            assert not heard, f"{place}: {bytes(heard)!r} before TLS"
            line.start_tls()
        elif way != "whole":
            assert not heard, f"{place}: nothing was to be answered here, but {bytes(heard)!r} was"
            if kind == "eof":
                line.end()
            else:
                for octets in [value] if way == "steps" else [value[i:i + 1] for i in range(len(value))]:
                    line.send(octets)
    heard += line.received()
    assert not heard, f"{script.path.name} ({way}): {bytes(heard)!r} at the end"
    return line


def _at_once(line, steps):
    """The steps, and at the right moments everything is sent that comes before the next start of TLS."""
    def send(start):
        rest = steps[start:]
        end = next((n for n, step in enumerate(rest) if step[1] == "tls"), len(rest))
        line.send(b"".join(value for _number, kind, value in rest[:end] if kind == "send"))
        if any(kind == "eof" for _number, kind, _value in rest[:end]):
            line.end()
    send(0)
    for n, step in enumerate(steps):
        yield step
        if step[1] == "tls":
            send(n + 1)


def _expect(events, wanted, place):
    """Take events off the front up to and including the wanted one."""
    kind, *words = wanted.split()
    while events:
        event = events.pop(0)
        if event.name == kind:
            found = described(event)
            for word in words:
                name, _, value = word.partition("=")
                assert found.get(name) == value, f"{place}: {name} is {found.get(name)!r} in {event!r}"
            return
    raise AssertionError(f"{place}: no event {kind}")
