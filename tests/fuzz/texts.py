"""Fuzz target: the parsers and writers of single texts. The first octet chooses which; the rest is the text.

Invariants:

- paths: what is parsed is in the text, and parses again to the same from its own spelling; no CR, LF, NUL or blank outside
  quotes is in it; parameters have a keyword each, and neither blanks nor control characters;
- headers: the raw fields put together are the section; a field written from its name and parts is read as one field of that name;
- replies: what is written is read as one reply of that code, whole and octet by octet, and says nothing else;
- commands of ours: what is sent is one line.
"""
from mailfilter._core.address import PathError, parse_params, parse_path
from mailfilter._core.client import Client, ClientError
from mailfilter._core.header import render_field, split_header
from mailfilter._core.reply import Reply, ReplyParser

from . import running

PIECES = [b"<", b">", b"@", b":", b",", b'"', b"\\", b"[", b"]", b"IPv6:", b"127.0.0.1", b"..", b"=", b" ", b"\t", b"\r\n", b"\n",
          b"\r", b"\0", b"\x7f", b"\xc3\xa4", b"\xff", b"+0A", b"xn--", b"\xef\xbc\x8e", b"a" * 64, b"postmaster", b"SIZE=5",
          b"Subject", b"\r\n ", b"250-", b"334 ", b"-", b"." * 3, b"\xe2\x80\xa8", b"\x1a", b"\x85"]
ENHANCED = (None, b"2.0.0", b"5.7.1")


def paths(text):
    for utf8 in (False, True):
        for allow_null in (False, True):
            try:
                path, rest = parse_path(text, allow_null=allow_null, utf8=utf8)
            except PathError as error:
                assert error.reason and 0 <= error.offset <= len(text)
                continue
            assert text.endswith(rest) and path.text in text
            assert not set(path.text) & set(b"\r\n\0")
            assert utf8 or path.text.isascii()
            again, nothing = parse_path(path.text, allow_null=allow_null, utf8=utf8)
            assert nothing == b""
            assert (again.local, again.domain, again.route, again.is_null) == (path.local, path.domain, path.route, path.is_null)
            assert path.is_null == (path.local is None) and (allow_null or not path.is_null)
            if path.domain is not None:
                literal = path.domain.startswith(b"[")          # which may hold the other two (RFC 5321 §4.1.3)
                assert path.domain and not set(path.domain) & set(b"\r\n\0 " if literal else b"\r\n\0 <>")
    try:
        params = parse_params(text)
    except PathError:
        return
    for keyword, value in params:
        assert keyword and keyword == keyword.upper() and not set(keyword) & set(b" =\r\n\0")
        assert value is None or not set(value) & set(b" =\r\n\0\t")


def headers(text):
    section = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    section += b"" if not section or section.endswith(b"\r\n") else b"\r\n"
    while b"\r\n\r\n" in section:
        section = section.replace(b"\r\n\r\n", b"\r\n")
    section = section.removeprefix(b"\r\n")
    fields = split_header(section)
    assert b"".join(field.raw for field in fields) == section
    for field in fields:
        assert field.raw.endswith(b"\r\n")
        assert not set(field.name) & set(b":\r\n\0 \t")
    name, _, value = text.partition(b":")
    try:
        written = render_field(name, value.split(b"|"))
    except ValueError:
        return
    assert b"\0" not in written and written.endswith(b"\r\n")
    assert b"\r" not in written.replace(b"\r\n", b"") and b"\n" not in written.replace(b"\r\n", b"")
    [field] = split_header(written)
    assert field.name == name and field.raw == written


def replies(text):
    code = 200 + (text[0] if text else 0) % 400
    lines = text[1:].split(b"|")
    reply = Reply(code, lines, ENHANCED[len(text) % 3])
    written = reply.format()
    for chunks in ([written], [written[i:i + 1] for i in range(len(written))]):
        parser = ReplyParser()
        for chunk in chunks:
            parser.feed(chunk)
        read = parser.next()
        if read is None:
            assert parser.error and len(lines) > 1      # more lines than it takes
            continue
        assert read.code == code and parser.next() is None and parser.error is None
    for line in written.split(b"\r\n")[:-1]:
        assert len(line) <= 510 and line[:3] == b"%d" % code and line[3:4] in b" -"
        assert not any(octet < 32 and octet != 9 or octet == 127 for octet in line)


def commands(text):
    client = Client()
    client.feed(b"220 hi\r\n")
    client.next_reply()
    verb, _, arguments = text.partition(b" ")
    try:
        sent = client.command(verb, arguments if len(text) % 2 else None)
    except (ValueError, ClientError):
        return
    sent = (sent or b"") + (client.take_output() or b"")
    assert sent.endswith(b"\r\n") and sent.count(b"\n") == sent.count(b"\r") == 1 and b"\0" not in sent
    try:
        client.feed(b"334 \r\n")
        client.auth_line(text)
    except (ValueError, ClientError):
        return
    assert not set(text) & set(b"\r\n\0 ")


TARGETS = (paths, headers, replies, commands)


def check(data):
    """Texts are read and written the same way round, and none has a line in it that was not meant."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


if __name__ == "__main__":
    running.main("texts", check, PIECES)
