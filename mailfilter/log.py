"""The log: one event is one line, whatever a client or a policy put into it.

`Log.write` filters by severity and hands what is left to a sink: readable text or JSON lines on a file
descriptor, or syslog. All escaping lives here, so that callers pass network text as it is. A log that
cannot be written (full disk, closed pipe) loses lines and counts them; it never stops mail.

Severities are those of syslog, 0 (emergency) to 7 (debug). Knows nothing of SMTP, sockets or policies.
"""
import json
import math
import os
import re
import select
import syslog
import time

__all__ = [
    "ALERT", "CRIT", "DEBUG", "EMERG", "ERR", "INFO", "NOTICE", "WARNING",
    "JsonSink", "Log", "SyslogSink", "TextSink", "escape", "severity_named",
]

EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)
_NAMES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_SYNONYMS = {"emerg": EMERG, "crit": CRIT, "err": ERR, "warn": WARNING}

# One value of a line is cut here. A reply line, a command and a path fit many times; a flood does not.
VALUE_CHARS = 4096

# What may not reach a log as it is: controls (C0, DEL, C1), the line and paragraph separators, marks that
# reorder text on a terminal, and the surrogates that stand for bytes outside UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\\\\]")
# A bare word needs no quotes in key=value.
_BARE = re.compile(r'[^\s"=]+')


def _escaped(match):
    char = match[0]
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if code < 0x100:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def _text_of(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value[:VALUE_CHARS + 1]).decode("utf-8", "surrogateescape")
    elif not isinstance(value, str):
        value = str(value)
    if len(value) > VALUE_CHARS:
        value = value[:VALUE_CHARS] + "..."
    return value


def escape(value):
    r"""`value` as printable text of one line.

    Bytes outside UTF-8, control characters, line separators and direction marks become `\xNN` or `\uNNNN`, a
    backslash becomes two. More than `VALUE_CHARS` characters are cut, with `...` behind.

    Args:
        value: str (surrogates U+DC80 to U+DCFF stand for raw bytes), bytes, or anything that str() takes.
    """
    return _UNSAFE.sub(_escaped, _text_of(value))


def severity_named(name):
    """The number of a severity (`"info"`, `"warning"`, `"6"`), or None when there is no such name."""
    name = name.strip().lower()
    if name in _NAMES:
        return _NAMES.index(name)
    if name in _SYNONYMS:
        return _SYNONYMS[name]
    return int(name) if name in "01234567" and len(name) == 1 else None


def severity_name(severity):
    """`"info"` for 6; a number outside 0 to 7 counts as the nearest."""
    return _NAMES[min(max(int(severity), EMERG), DEBUG)]


def _pair(name, value):
    text = escape(value)
    if not _BARE.fullmatch(text):
        text = '"' + text.replace('"', '\\"') + '"'
    return f"{name}={text}"


def _worded(text, fields):
    """`text key=value ...`: what the readable sink and syslog have in common."""
    words = escape(text)
    if fields:
        words += " " + " ".join([_pair(name, value) for name, value in fields.items()])
    return words


class _Clock:
    """UTC times as `2026-11-22T14:00:00.123Z`; the part before the milliseconds is made once a second."""

    def __init__(self):
        self._second = None
        self._prefix = ""

    def stamp(self):
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{int((now - second) * 1000):03d}Z"


class _Descriptor:
    """Whole lines on a file descriptor that other processes write to as well."""

    # What a full pipe may delay us before the line is given up. Everything else waits with it.
    PATIENCE_MS = 200

    def __init__(self, fd):
        self._fd = fd
        self._clock = _Clock()
        self.lost_lines = 0
        self._torn = False

    def _put(self, line):
        """Write one line; a line that cannot be written is counted and dropped."""
        if self.lost_lines:
            lost, self.lost_lines = self.lost_lines, 0
            if not self._put_bytes(self._note(f"{lost} log lines were lost").encode()):
                self.lost_lines = lost + 1
                return
        if not self._put_bytes(line.encode("utf-8", "backslashreplace")):
            self.lost_lines += 1

    def _put_bytes(self, data):
        # One write call for one line: lines of several workers then do not mix.
        if self._torn:
            data = b"\n" + data
        whole = len(data)
        while data:
            try:
                data = data[os.write(self._fd, data):]
            except BlockingIOError:
                if self._writable():
                    continue
                break
            except OSError:
                break
        # A line that was given up half written must not run into the next one.
        self._torn = self._torn and len(data) == whole or 0 < len(data) < whole
        return not data

    def _writable(self):
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(self.PATIENCE_MS))

    def _note(self, text):
        return self._line(WARNING, "-", text, {})


class TextSink(_Descriptor):
    """Readable lines: `2026-11-22T14:00:00.123Z info 3F2K-17 text key=value`."""

    def emit(self, severity, session_id, text, fields):
        """Write one event; see `Log.write`."""
        self._put(self._line(severity, session_id, text, fields))

    def _line(self, severity, session_id, text, fields):
        return f"{self._clock.stamp()} {severity_name(severity)} {session_id} {_worded(text, fields)}\n"


class JsonSink(_Descriptor):
    """One JSON object a line: `time`, `level`, `session`, `text`, and the event's fields beside them."""

    def emit(self, severity, session_id, text, fields):
        """Write one event; see `Log.write`."""
        self._put(self._line(severity, session_id, text, fields))

    def _line(self, severity, session_id, text, fields):
        event = {"time": self._clock.stamp(), "level": severity_name(severity), "session": session_id,
                 "text": _json_text(text)}
        for name, value in fields.items():
            # Not every reader of JSON knows numbers that are not finite.
            if value is not None and not isinstance(value, (bool, int)) and not (
                    isinstance(value, float) and math.isfinite(value)):
                value = _json_text(value)
            # A field cannot replace one of the four above.
            event.setdefault(name, value)
        return json.dumps(event, allow_nan=False, separators=(",", ":")) + "\n"


_LONE = re.compile("[\ud800-\udfff]")


def _json_text(value):
    # json.dumps escapes controls itself; lone surrogates would make JSON that strict readers refuse.
    return _LONE.sub(_escaped, _text_of(value))


class SyslogSink:
    """The system log, by the C library; the session id stands before the text.

    Args:
        ident: the program's name in every line.
        facility: a LOG_* facility number as in syslog.h (16 is mail).
    """

    def __init__(self, ident, facility):
        self.ident, self.facility = ident, facility
        syslog.openlog(escape(ident), syslog.LOG_PID, facility)

    def emit(self, severity, session_id, text, fields):
        """Write one event; see `Log.write`."""
        syslog.syslog(min(max(int(severity), EMERG), DEBUG), f"{session_id} {_worded(text, fields)}")


class Log:
    """Where a process writes what happens.

    Args:
        sink: an object with `emit(severity, session_id, text, fields)`.
        level: the least important severity that is written (`INFO` writes 0 to 6).
    """

    def __init__(self, sink, level=INFO):
        self.sink = sink
        self.level = level

    def enabled(self, severity):
        """Whether `write` at this severity writes anything; for callers whose text is costly to make."""
        return severity <= self.level

    def write(self, severity, session_id, text, **fields):
        """Write one event if its severity is enabled. That holds for what a policy writes with Sys.log, too.

        Args:
            severity: 0 to 7.
            session_id: the session it belongs to, `-` for the process itself.
            text: a few words, str or bytes; anything in it is escaped.
            fields: details as name=value; str, bytes, numbers or None.
        """
        if severity <= self.level:
            self.sink.emit(severity, session_id, text, fields)

    def openlog(self, ident="mailfilter", facility=syslog.LOG_MAIL):
        """Send everything that follows to the system log, or stay (and say so) where there is none.

        The C library drops what it cannot deliver without a word; a container without /dev/log would
        be silent from here on.
        """
        if not os.path.exists("/dev/log"):
            self.write(WARNING, "-", "there is no system log here (/dev/log is missing), logging goes on as before")
            return
        self.sink = SyslogSink(ident, facility)

    @staticmethod
    def close():
        """Close the system log's socket; the next openlog() opens one again."""
        syslog.closelog()
