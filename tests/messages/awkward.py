"""Messages that are hard to carry unharmed, each with a name and its exact octets, un-stuffed.

`MESSAGES` must pass through every part octet for octet (save what a policy changes). None of them has a
CR or LF outside of CR LF. `REFUSED` are the ones that the default configuration refuses, as they are sent after
354, with the reply they get.

Everything here is made without the code under test, dot-stuffing too.
"""
import random
from dataclasses import dataclass, field

FIELDS_LIMIT = 1000
HEADER_LIMIT = 262144


@dataclass(frozen=True)
class Awkward:
    """A message: `name`, and `plain`, its octets as they are meant."""

    name: str
    plain: bytes

    @property
    def wire(self):
        """As DATA carries it (RFC 5321 §4.5.2): dots doubled, with the final line."""
        return stuffed(self.plain) + b".\r\n"

    @property
    def big(self):
        """Too big to be sent octet by octet over a socket many times."""
        return len(self.plain) > 5000

    @property
    def lines(self):
        return self.plain.split(b"\r\n")[:-1]

    @property
    def separated(self):
        """True when there is a blank line that ends the header section."""
        return b"" in self.lines

    @property
    def header(self):
        """The header section without the blank line after it."""
        lines = self.lines
        if self.separated:
            lines = lines[:lines.index(b"")]
        return b"".join(line + b"\r\n" for line in lines)

    @property
    def body(self):
        return self.plain[len(self.header) + 2:] if self.separated else b""

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Refused:
    """Octets sent after 354, `wire` with its true end, and the reply: `code`, `enhanced`.

    `limits` are what the session must be told (names as in the session's limits) to make it so.
    """

    name: str
    wire: bytes
    code: int
    enhanced: str
    limits: dict = field(default_factory=dict)

    def __str__(self):
        return self.name


def stuffed(plain):
    """Dots doubled at line starts, the plain way."""
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in plain.split(b"\r\n"))


def _text(*lines):
    return b"".join(line + b"\r\n" for line in lines)


def _subject(value):
    return _text(b"From: <a@example.org>", b"Subject: " + value, b"To: <b@example.net>", b"", b"text")


def _body(*lines):
    return _text(b"Subject: body", b"", *lines)


def _shapes():
    yield "nothing at all", b""
    yield "only a blank line", b"\r\n"
    yield "two blank lines", b"\r\n\r\n"
    yield "many blank lines", b"\r\n" * 50
    yield "only a body", _text(b"", b"text")
    yield "only a body of two lines", _text(b"", b"one", b"two")
    yield "one header, no blank line", _text(b"Subject: x")
    yield "many headers, no blank line", _text(b"From: a", b"To: b", b"Subject: x")
    yield "folded header, no blank line", _text(b"Subject: x", b" y")
    yield "header without a value, no blank line", _text(b"Subject:")
    yield "header and blank line, no body", _text(b"Subject: x", b"")
    yield "body of one blank line", _text(b"Subject: x", b"", b"")
    yield "body of three blank lines", _text(b"Subject: x", b"", b"", b"", b"")
    yield "body begins with blank lines", _text(b"Subject: x", b"", b"", b"", b"text")
    yield "body ends with blank lines", _text(b"Subject: x", b"", b"text", b"", b"")
    yield "body of one character", _text(b"Subject: x", b"", b"y")
    yield "body looks like a header", _text(b"Subject: x", b"", b"Subject: y", b"", b"z")
    yield "text without header or blank line", _text(b"hello", b"world")
    yield "one word", _text(b"hello")
    yield "one character", _text(b"x")
    yield "one blank", _text(b" ")
    yield "one tab", _text(b"\t")
    yield "one octet 0xff", _text(b"\xff")
    yield "one NUL", _text(b"\0")
    yield "blank-looking separator with a blank", _text(b"Subject: x", b" ", b"text: y", b"", b"z")
    yield "blank-looking separator with a tab", _text(b"Subject: x", b"\t", b"text", b"", b"z")
    yield "first line is a continuation", _text(b" folded", b"Subject: x", b"", b"y")
    yield "first line is a continuation with a tab", _text(b"\tfolded: x", b"Subject: x", b"", b"y")
    yield "first line is blanks", _text(b"   ", b"Subject: x", b"", b"y")
    yield "a message inside a message", _text(
        b"Content-Type: message/rfc822", b"", b"Subject: inner", b"", b".inner", b"..")


def _dots():
    for place, wrap in (
        ("body", lambda *lines: _body(*lines)),
        ("body after text", lambda *lines: _body(b"text", *lines)),
        ("body before text", lambda *lines: _body(*lines, b"text")),
        ("body without header", lambda *lines: _text(b"", *lines)),
    ):
        yield f"dots: a lone dot, {place}", wrap(b".")
        yield f"dots: two dots, {place}", wrap(b"..")
        yield f"dots: three dots, {place}", wrap(b"...")
        yield f"dots: dot and text, {place}", wrap(b".x")
        yield f"dots: dot and blank, {place}", wrap(b". ")
        yield f"dots: many lone dots, {place}", wrap(*[b"."] * 20)
        yield f"dots: lone dots between blank lines, {place}", wrap(b"", b".", b"", b"..", b"", b".")
    yield "dots: dot in the first header", _text(b".Subject: x", b"", b"y")
    yield "dots: two dots in the first header", _text(b"..Subject: x", b"", b"y")
    yield "dots: dot in a later header", _text(b"Subject: x", b".To: y", b"", b"z")
    yield "dots: dot in the last header, no blank line", _text(b"Subject: x", b".To: y")
    yield "dots: a lone dot in the header", _text(b"Subject: x", b".", b"To: y", b"", b"z")
    yield "dots: a lone dot is all there is", _text(b".")
    yield "dots: dots without a colon in the header", _text(b"...", b"Subject: x", b"", b"y")
    yield "dots: name of dots", _text(b".: x", b"..: y", b"", b"z")
    yield "dots: a dot begins a continuation's text", _text(b"Subject: x", b" .y", b"", b"z")
    yield "dots: a value that is a dot", _text(b"Subject: .", b"", b"z")
    yield "dots: a value that begins with a dot", _text(b"Subject: .x", b"X:.", b"", b"z")
    yield "dots: commands after dots", _body(b".", b"MAIL FROM:<evil@example.org>", b".", b"RSET", b"QUIT", b"..")
    for at in (16383, 16384, 32768, 65533, 65534, 65535, 65536, 65537):
        filler = b"x" * (at - 2) + b"\r\n"
        yield f"dots: a line with a dot begins at octet {at} of the body", \
            _text(b"Subject: x", b"") + filler + _text(b".dot", b".")
    yield "dots: every line of a long body", _body(*[b".%d" % n for n in range(3000)])


def _octets():
    yield "octets: NUL in the body", _body(b"a\0b", b"\0", b"\0\0\0", b"c\0")
    yield "octets: NUL begins the body", _body(b"\0text")
    yield "octets: NUL after a dot", _body(b".\0", b"\0.x", b"\0..", b"..\0")
    yield "octets: NUL in a value", _subject(b"before\0after")
    yield "octets: NUL begins a value", _subject(b"\0after")
    yield "octets: NUL ends a value", _subject(b"before\0")
    yield "octets: NUL in a continuation", _text(b"Subject: x", b" a\0b", b"", b"y")
    yield "octets: NUL in a name", _text(b"Sub\0ject: x", b"To: y", b"", b"z")
    yield "octets: NUL in a line without a colon", _text(b"a\0b", b"To: y", b"", b"z")
    yield "octets: every octet but CR and LF in the body", _body(bytes(n for n in range(256) if n not in (10, 13)))
    yield "octets: every octet but CR and LF in a value", _subject(bytes(n for n in range(256) if n not in (10, 13)))
    yield "octets: every octet twice, one a line", _body(*[bytes([n, n]) for n in range(256) if n not in (10, 13)])
    yield "octets: control characters in a value", _subject(bytes(n for n in range(1, 32) if n not in (10, 13)))
    yield "octets: DEL in a value", _subject(b"a\x7fb")
    yield "octets: vertical tab and form feed begin a line", _body(b"\x0btext", b"\x0ctext", b"\x1ctext", b"\x85text")
    yield "octets: vertical tab and form feed in the header", _text(b"A: b", b"\x0bC: d", b"\x0cE: f", b"", b"x")
    yield "octets: line separators of Unicode", _subject("a\u2028b\u2029c\u0085d".encode())
    yield "octets: byte order mark first", b"\xef\xbb\xbf" + _subject(b"x")
    yield "octets: UTF-16 body", _body("text\u2603".encode("utf-16-le").replace(b"\r", b"").replace(b"\n", b""))
    yield "octets: 8-bit in a name", _text(b"S\xfcbject: x", b"To: y", b"", b"z")
    yield "octets: 0xff in a name", _text(b"\xff\xfe: x", b"To: y", b"", b"z")
    yield "octets: 8-bit body, latin-1", _body("Gr\u00fc\u00dfe, \u00e7a va?".encode("latin-1"))
    yield "octets: 8-bit body, UTF-8", _body("Gr\u00fc\u00dfe \u2603 \U0001f4e7".encode())
    yield "octets: SUB ends nothing", _body(b"\x1a", b"after", b"\x04", b"after")


def _first_octets():
    """A value that begins with one of these became something that was no text (D3)."""
    for octet in (0x80, 0x81, 0x82, 0xff, 0x83, 0xc0, 0xed, 0xfe):
        first = bytes([octet])
        yield f"first octet 0x{octet:02x} of a value", _subject(first + b"abc")
        yield f"value is the one octet 0x{octet:02x}", _subject(first)
    for octet in (0x80, 0x81, 0x82, 0xff):
        first = bytes([octet])
        yield f"first octet 0x{octet:02x} of a value without a blank", _text(b"Subject:" + first, b"", b"x")
        yield f"first octet 0x{octet:02x} of a continuation", _text(b"Subject:", b" " + first + b"a", b"", b"x")
        yield f"first octet 0x{octet:02x} of the body", _body(first + b"text", first)
        yield f"first octet 0x{octet:02x} of the message", _text(first + b"abc", b"Subject: x", b"", b"y")
        yield f"0x{octet:02x} twice, then ASCII", _subject(first + first + b" abc")


def _languages():
    yield "Shift-JIS subject", _subject("\u30c6\u30b9\u30c8\u8868\u793a\u30bd\u80fd".encode("shift_jis"))
    yield "Shift-JIS subject with backslash octets", _subject("\u8868\u30bd\u5341\u4e88".encode("shift_jis"))
    yield "Shift-JIS subject that begins with 0x82", _subject("\u3042\u3044\u3046".encode("shift_jis"))
    yield "Shift-JIS half-width", _subject("\uff83\uff7d\uff84".encode("shift_jis"))
    yield "Shift-JIS folded", _text(b"Subject: " + "\u30c6\u30b9".encode("shift_jis"),
                                    b" " + "\u30c8\u8868".encode("shift_jis"), b"", b"x")
    yield "Shift-JIS body", _body("\u8868\u793a.\u30bd".encode("shift_jis"), b"." + "\u80fd".encode("shift_jis"))
    yield "KOI8-R subject", _subject("\u041f\u0440\u0438\u0432\u0435\u0442".encode("koi8-r"))
    yield "KOI8-R subject that begins with 0xff", _subject("\u042a\u0430".encode("koi8-r"))
    yield "CP1251 subject that begins with 0xff", _subject("\u044f\u0431".encode("cp1251"))
    yield "ISO-2022-JP subject", _subject("\u30c6\u30b9\u30c8\u8868\u793a".encode("iso2022_jp"))
    yield "ISO-2022-JP body with dots", _body("\u30c6\u30b9\u30c8".encode("iso2022_jp"), b".\x1b$B", b"\x1b(B.")
    yield "EUC-JP subject", _subject("\u65e5\u672c\u8a9e".encode("euc_jp"))
    yield "GB18030 subject", _subject("\u4e2d\u6587\u3400".encode("gb18030"))
    yield "Big5 subject with backslash octets", _subject("\u8a31\u529f\u84cb".encode("big5"))
    yield "UTF-8 subject", _subject("Gr\u00fc\u00dfe \u65e5\u672c \U0001f4e7".encode())
    yield "UTF-8 subject, decomposed", _subject("Gru\u0308\u00dfe e\u0301".encode())
    yield "UTF-8 subject, right to left", _subject("\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd".encode())
    yield "UTF-8 subject with U+FFFD", _subject("a\ufffdb".encode())
    yield "UTF-8 subject with noncharacters", _subject("\ufffe\uffff\U0010ffff".encode())
    yield "UTF-8 name", _text("Gr\u00fc\u00dfe: x".encode(), b"To: y", b"", b"z")
    whole = "\U0001f4e7".encode()
    for kept in (1, 2, 3):
        yield f"UTF-8 cut after {kept} of 4 octets", _subject(b"x" + whole[:kept])
        yield f"UTF-8 cut after {kept} of 4 octets, at once ASCII", _subject(whole[:kept] + b"x")
        yield f"UTF-8 cut after {kept} of 4 octets, at the fold", _text(
            b"Subject: x" + whole[:kept], b" " + whole[kept:], b"", b"y")
    yield "UTF-8 continuation octets alone", _subject(b"\xbf\x80\xa0")
    yield "UTF-8 overlong slash", _subject(b"\xc0\xaf \xe0\x80\xaf")
    yield "UTF-8 overlong NUL", _subject(b"\xc0\x80")
    yield "UTF-8 overlong CR LF", _subject(b"\xc0\x8d\xc0\x8aX-Injected: y")
    yield "UTF-8 of a high surrogate", _subject(b"\xed\xa0\x80")
    yield "UTF-8 of a low surrogate", _subject(b"\xed\xbf\xbf")
    yield "UTF-8 of a low surrogate used as an escape", _subject(b"\xed\xb2\x80 \xed\xb3\xbf")
    yield "UTF-8 of a surrogate pair (CESU-8)", _subject(b"\xed\xa0\xbd\xed\xb3\xa7")
    yield "UTF-8 of a surrogate pair, halves apart", _subject(b"\xed\xa0\xbd \xed\xb3\xa7")
    yield "UTF-8 of a high surrogate, then an escaped octet", _subject(b"\xed\xa0\xbd\xed\xb3")
    yield "UTF-8 beyond U+10FFFF", _subject(b"\xf4\x90\x80\x80")
    yield "UTF-8 of five and six octets", _subject(b"\xf8\x88\x80\x80\x80 \xfc\x84\x80\x80\x80\x80")
    yield "UTF-8 mixed with latin-1", _subject(b"\xc3\xbc\xfc\xc3\xbc\xfc\xff")
    yield "encoded words", _subject(b"=?utf-8?B?R3LDvMOfZQ==?= =?iso-8859-1?q?Gr=FC=DFe?= =?broken?= =?x?y?z")


def _header_spacing():
    yield "header: no blank after the colon", _text(b"Subject:x", b"To:<b@example.net>", b"", b"y")
    yield "header: many blanks after the colon", _text(b"Subject:     x", b"", b"y")
    yield "header: tab after the colon", _text(b"Subject:\tx", b"To: \t y", b"", b"z")
    yield "header: blank before the colon", _text(b"Subject : x", b"To\t: y", b"From  \t : z", b"", b"x")
    yield "header: trailing blanks", _text(b"Subject: x   ", b"To: y\t", b"From: z \t ", b"", b"x")
    yield "header: empty values", _text(b"Subject:", b"To: ", b"From:\t", b"Cc:   ", b"", b"x")
    yield "header: fold at once", _text(b"Subject:", b" x", b"To: ", b"\ty", b"From:\t", b" \tz", b"", b"x")
    yield "header: folds of many kinds", _text(
        b"Subject: one", b" two", b"\tthree", b"    four", b" \t five", b"\t\tsix ", b"", b"x")
    yield "header: blank-only continuation lines", _text(
        b"Subject: x", b" ", b" y", b"\t", b"\t\t ", b"To: z", b"", b"x")
    yield "header: blank-only continuation line last", _text(b"Subject: x", b" ", b"", b"y")
    yield "header: only blank-only continuation lines", _text(b"Subject:", b" ", b"\t", b"", b"y")
    yield "header: a fold after trailing blanks", _text(b"Subject: x \t", b"  y", b"", b"z")
    yield "header: very many folds", _text(b"References: <0@x>", *[b"\t<%d@x>" % n for n in range(1, 400)], b"", b"y")
    yield "header: colons in the value", _text(b"Subject: a: b:c::", b"X:: y", b"", b"z")
    yield "header: a value that is a colon", _text(b"Subject: :", b"X::", b"", b"z")
    yield "header: odd case", _text(b"sUBJECT: x", b"SUBJECT: y", b"subject: z", b"", b"x")
    yield "header: odd but legal names", _text(
        b"!#$%&'*+-/=?^_`{|}~: x", b"1: y", b"(: z", b'"<>@,;\\.[]: a', b"", b"x")
    yield "header: names of JavaScript", _text(
        b"__proto__: x", b"constructor: y", b"toString: z", b"hasOwnProperty: a", b"length: 5", b"0: b", b"", b"x")
    yield "header: a name of 76 octets", _text(b"X" * 76 + b": y", b"", b"z")
    yield "header: a name of 2000 octets", _text(b"X" * 2000 + b": y", b"", b"z")
    yield "header: comments and quoted strings", _text(
        b'To: "Doe, \\"Joe\\"" <joe@example.net> (a (nested\\) ) comment)', b"", b"x")
    yield "header: groups and source routes", _text(b"To: undisclosed-recipients:;", b"Cc: <@a,@b:c@d>", b"", b"x")
    yield "header: resent blocks", _text(
        b"Resent-From: a", b"Resent-To: b", b"Received: from x", b"Resent-From: c", b"Subject: y", b"", b"z")


def _header_lines():
    """Lines that are no header; nothing behind them may be hidden (D4)."""
    yield "lines: mbox From first", _text(b"From joe@example.org Sat Jan  3 01:05:34 1998", b"Subject: x", b"", b"y")
    yield "lines: escaped mbox From first", _text(b">From joe@example.org Sat Jan  3 01:05:34 1998", b"Subject: x", b"",
                                                 b"y")
    yield "lines: mbox From in the middle", _text(b"Subject: x", b"From joe Sat Jan  3 1998", b"To: y", b"", b"z")
    yield "lines: From in the body", _body(b"From here on", b">From there", b"From: x")
    yield "lines: no colon, first", _text(b"hello", b"Subject: x", b"", b"y")
    yield "lines: no colon, in the middle", _text(b"Subject: x", b"hello", b"X-Hidden: y", b"", b"z")
    yield "lines: no colon, last", _text(b"Subject: x", b"hello", b"", b"z")
    yield "lines: no colon, then a continuation", _text(b"Subject: x", b"hello", b" there: y", b"To: z", b"", b"a")
    yield "lines: many without a colon", _text(*[b"line %d" % n for n in range(30)], b"Subject: x", b"", b"y")
    yield "lines: blank inside the name", _text(b"A b : c", b"Subject: x", b"", b"y")
    yield "lines: colon first", _text(b": c", b"Subject: x", b"", b"y")
    yield "lines: colon alone", _text(b":", b"Subject: x", b":", b"", b"y")
    yield "lines: colons", _text(b"::", b":::", b": :", b"", b"y")
    yield "lines: dashes", _text(b"Subject: x", b"----- Original Message -----", b"To: y", b"", b"z")
    yield "lines: a command", _text(b"RCPT TO:<evil@example.org>", b"Subject: x", b"", b"y")
    yield "lines: a reply", _text(b"250 2.0.0 Ok", b"Subject: x", b"", b"y")
    yield "lines: quoted text", _text(b"> quoted: x", b"Subject: y", b"", b"z")
    yield "lines: HTML", _text(b"<html><body style='a:b'>", b"Subject: y", b"", b"z")
    yield "lines: a URL", _text(b"http://example.org/", b"Subject: y", b"", b"z")


def _repetition():
    yield "repeat: the same header twice", _text(b"Subject: x", b"Subject: x", b"", b"y")
    yield "repeat: two subjects", _text(b"Subject: x", b"From: a", b"subject: y", b"", b"z")
    yield "repeat: two From", _text(b"From: <a@example.org>", b"From: <b@example.org>", b"", b"z")
    yield "repeat: three Content-Type", _text(
        b"Content-Type: text/plain", b"Content-Type: text/html", b"content-type:multipart/mixed", b"", b"x")
    yield "repeat: 30 Received", _text(*[b"Received: from h%d by h%d; Mon" % (n, n + 1) for n in range(30)], b"", b"x")
    yield "repeat: 900 headers", _text(*[b"X-%d: value %d" % (n, n) for n in range(900)], b"", b"x")
    yield "repeat: 900 equal headers", _text(*[b"X: y"] * 900, b"", b"x")
    yield "repeat: 900 empty headers", _text(*[b"X:"] * 900, b"", b"x")
    yield "repeat: 500 lines without a colon", _text(*[b"x"] * 500, b"", b"x")
    yield f"repeat: exactly {FIELDS_LIMIT} headers", _text(*[b"X: y"] * FIELDS_LIMIT, b"", b"x")


def _sizes():
    for size in (997, 998, 999, 1000, 1001, 2046, 2047, 2048, 4096, 100001):
        yield f"size: a line of {size} octets", _body(b"x" * size, b"end")
        if size < 5000:
            yield f"size: a header line of {size} octets", _text(b"X: " + b"y" * (size - 3), b"", b"z")
    yield "size: a header line of 100000 octets", _text(b"X: " + b"y" * 100000, b"", b"z")
    yield "size: a line of 300000 octets", _body(b"x" * 300000)
    yield "size: a line of dots", _body(b"." * 5000)
    yield "size: folded header of 200000 octets", _text(b"X: y", *[b" " + b"z" * 997] * 200, b"", b"x")
    yield "size: a continuation of blanks", _text(b"X: y", b" " * 5000 + b"z", b"", b"x")
    yield "size: a value after 5000 blanks", _text(b"X:" + b" " * 5000 + b"y", b"", b"x")
    yield "size: body of 262143 octets", _body(b"x" * 262141)
    yield "size: body of 262144 octets", _body(b"x" * 262142)
    yield "size: body of 262145 octets", _body(b"x" * 262143)
    yield "size: body of one MiB", _body(*[b"0123456789abcdef" * 4] * 15888)
    yield "size: body of one MiB of random octets", _body(_random_octets(1 << 20, seed=1))
    yield "size: body of many one-octet lines", _body(*[b"x"] * 3000)
    yield "size: body of many blank lines", _body(*[b""] * 5000)


def _random_octets(size, seed):
    return random.Random(seed).randbytes(size).replace(b"\r", b"C").replace(b"\n", b"\r\n")


def _mime():
    yield "mime: multipart", _multipart(b"b")
    yield "mime: boundary of blanks and quotes", _multipart(b"=_a b'c")
    yield "mime: boundary begins with a dot", _text(
        b"Content-Type: multipart/mixed; boundary=\".b\"", b"", b"--.b", b"", b"x", b".--.b--", b"--.b--")
    yield "mime: boundary that never comes", _text(
        b'Content-Type: multipart/mixed; boundary="b"', b"", b"no part at all")
    yield "mime: boundary that never ends", _text(
        b'Content-Type: multipart/mixed; boundary="b"', b"", b"--b", b"", b"x")
    yield "mime: empty boundary", _text(b'Content-Type: multipart/mixed; boundary=""', b"", b"--", b"", b"x", b"----")
    yield "mime: no boundary", _text(b"Content-Type: multipart/mixed", b"", b"--b", b"", b"x", b"--b--")
    yield "mime: 8-bit boundary", _multipart(b"b\xfc\xff")
    yield "mime: boundary that is a prefix of another", _text(
        b'Content-Type: multipart/mixed; boundary="b"', b"", b"--b",
        b'Content-Type: multipart/mixed; boundary="bb"', b"", b"--bb", b"", b"x", b"--bb--", b"--b--")
    yield "mime: boundary in the header section", _text(
        b'Content-Type: multipart/mixed; boundary="b"', b"--b", b"Subject: x", b"", b"--b--")
    yield "mime: nested deeply", _nested(40)
    yield "mime: preamble and epilogue", _text(
        b'Content-Type: multipart/mixed; boundary="b"', b"", b"preamble", b".", b"--b", b"", b"x", b"--b--",
        b".epilogue", b"")
    yield "mime: attachment in base64", _text(
        b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: base64", b"", *[b"QUJD" * 19] * 50)
    yield "mime: quoted-printable with soft breaks", _text(
        b"Content-Transfer-Encoding: quoted-printable", b"", b"a=", b"=2E", b".=", b"=0D=0A.=0D=0A", b"b =20")
    yield "mime: binary encoding announced", _text(b"Content-Transfer-Encoding: binary", b"", b"\0\x80\xff")
    yield "mime: parameters continued (RFC 2231)", _text(
        b"Content-Disposition: attachment;", b"\tfilename*0*=utf-8''a%20;", b"\tfilename*1=b.txt", b"", b"x")
    yield "mime: signed mail with trailing blanks", _text(
        b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org;", b"\th=From:To ;", b"\tb=AAAA",
        b"\t BBBB ;", b"From:  a", b"To :b ", b"", b"text ", b"\t", b"", b"")
    yield "mime: uuencoded", _body(b"begin 644 x", b"#86)C", b"`", b"end")
    yield "mime: yEnc", _body(b"=ybegin line=128 size=3 name=x", b"\x8b\x8c\x8d", b"=yend size=3")


def _multipart(boundary):
    return _text(
        b'Content-Type: multipart/alternative; boundary="' + boundary + b'"', b"", b"--" + boundary,
        b"Content-Type: text/plain", b"", b".text", b"--" + boundary, b"Content-Type: text/html", b"", b"<p>.</p>",
        b"--" + boundary + b"--")


def _nested(depth):
    opening = [line for n in range(depth)
               for line in (b'Content-Type: multipart/mixed; boundary="b%d"' % n, b"", b"--b%d" % n)]
    return _text(*opening, b"", b"x", *[b"--b%d--" % n for n in reversed(range(depth))])


def _random():
    """Any lines of any octets, many of which matter to somebody."""
    rng = random.Random(5321)
    pieces = [b".", b"..", b" ", b"\t", b":", b"A", b"Subject", b"\0", b"\xff", b"\x80", b"x" * 70, b"From ",
              b"\xed\xa0", b""]
    for number in range(30):
        lines = [b"".join(rng.choices(pieces, k=rng.randrange(5))) for _ in range(rng.randrange(1, 40))]
        yield f"random lines {number}", _text(*lines)


def _collect(*makers):
    messages = [Awkward(name, plain) for maker in makers for name, plain in maker()]
    assert len({message.name for message in messages}) == len(messages)
    return messages


MESSAGES = _collect(_shapes, _dots, _octets, _first_octets, _languages, _header_spacing, _header_lines, _repetition,
                    _sizes, _mime, _random)

_END = b"\r\n.\r\n"


def _refused():
    """Bare CR and bare LF everywhere (D6), and everything over a limit, each with its reply."""
    for name, line_end in (("LF", b"\n"), ("CR", b"\r"), ("LF CR", b"\n\r"), ("CR CR LF", b"\r\r\n"),
                           ("CR LF LF", b"\r\n\n"), ("CR LF CR", b"\r\n\r")):
        for place, before, after in (
            ("the first header", b"Subject: x", b"To: y\r\n\r\nz"),
            ("the header before the blank line", b"Subject: x\r\nTo: y", b"\r\nz"),
            ("the middle of a value", b"Subject: x", b"y\r\n\r\nz"),
            ("the body", b"Subject: x\r\n\r\none", b"two"),
            ("the end of the body", b"Subject: x\r\n\r\none", b""),
            ("the beginning of the body", b"Subject: x\r\n\r\n", b"one"),
        ):
            yield Refused(f"{name} in {place}", before + line_end + after + _END, 554, "5.6.0")
    smuggled = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
    for name, dot in (
        ("LF dot LF", b"\n.\n"), ("LF dot CR LF", b"\n.\r\n"), ("CR dot CR LF", b"\r.\r\n"), ("CR dot CR", b"\r.\r"),
        ("CR LF dot LF", b"\r\n.\n"), ("CR LF dot CR", b"\r\n.\r"), ("LF CR dot CR LF", b"\n\r.\r\n"),
        ("CR CR LF dot CR LF", b"\r\r\n.\r\r\n"), ("CR LF dot CR CR LF", b"\r\n.\r\r\n"),
        ("CR LF NUL dot LF", b"\r\n\0.\n"), ("CR dot LF", b"\r.\n"), ("LF LF dot LF LF", b"\n\n.\n\n"),
    ):
        yield Refused(f"smuggling by {name}", b"Subject: x\r\n\r\none" + dot + smuggled + _END, 554, "5.6.0")
        yield Refused(f"smuggling by {name} in the header", b"Subject: x" + dot + smuggled + _END, 554, "5.6.0")
    for name, line in (("NUL dot", b"\0."), ("NUL dot NUL", b"\0.\0"), ("dot NUL dot", b".\0.")):
        yield Refused(f"a line of {name}", b"Subject: x\r\n\r\none\r\n" + line + b"\r\n" + smuggled + _END, 554, "5.6.0")
        yield Refused(f"a line of {name} in the header", b"Subject: x\r\n" + line + b"\r\n\r\none" + _END, 554, "5.6.0")
    yield Refused("a lone LF is all there is", b"\n" + b".\r\n" + b"x" + _END, 554, "5.6.0")
    yield Refused("one header more than allowed", b"X: y\r\n" * (FIELDS_LIMIT + 1) + b"\r\nz" + _END, 552, "5.3.4")
    yield Refused("one line without a colon more than allowed",
                  b"x\r\n" * (FIELDS_LIMIT + 1) + b"\r\nz" + _END, 552, "5.3.4")
    yield Refused("headers more than allowed, no blank line", b"X: y\r\n" * (FIELDS_LIMIT + 1) + b".\r\n", 552, "5.3.4")
    yield Refused("a header line over the limit", b"X: " + b"y" * HEADER_LIMIT + b"\r\n\r\nz" + _END, 552, "5.3.4")
    yield Refused("a folded header over the limit",
                  b"X: y\r\n" + b" \r\n" * (HEADER_LIMIT // 3) + b"\r\nz" + _END, 552, "5.3.4")
    yield Refused("blanks after a fold over the limit",
                  b"X: y\r\n" + b" " * HEADER_LIMIT + b"z\r\n\r\nz" + _END, 552, "5.3.4")
    yield Refused("a body over the limit",
                  b"Subject: x\r\n\r\n" + b"y" * 5000 + _END, 552, "5.3.4", {"message_bytes": 4096})
    yield Refused("a header over the limit of the message",
                  b"Subject: " + b"y" * 5000 + b"\r\n\r\nz" + _END, 552, "5.3.4",
                  {"message_bytes": 4096})
    yield Refused("blank lines over the limit", b"\r\n" * 3000 + b".\r\n", 552, "5.3.4", {"message_bytes": 4096})


REFUSED = list(_refused())
assert len({refused.name for refused in REFUSED}) == len(REFUSED)
