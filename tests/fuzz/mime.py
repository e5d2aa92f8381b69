"""Fuzz target: the parts of a message. An input is a header section, an empty line and a body.

Invariants:

- no exception, whatever comes, from finding parts to decoding their content, links, and types;
- the same parts whether the body comes whole, octet by octet, or in a file; dot-stuffed or plain, the same contents;
- parts lie inside one another, in their order, within the body; their number and depth are bounded;
- changing nothing gives the same octets; taking a part away, or giving it another content, leaves what was before and
  behind it as it was, and the new content is what is read back.
"""
from mailfilter._core.data import stuff
from mailfilter._core.header import split_header
from mailfilter._core.mime import MimeScanner
from mailfilter.mail import mime
from mailfilter.mail.editing import Change, edited
from mailfilter.mail.links import links_in
from mailfilter.mail.magic import media_type
from mailfilter.mail.spool import Spool

from . import running

INPUTS = 200
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--a", b"--a--", b"--a\r\n", b"\r\n--a\r\n", b"\r\n--b\r\n",
    b"--b--\r\n", b"--", b";", b'"', b"(", b"\\",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n", b"Content-Type: multipart/digest; boundary=\"b\"\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type: text/html; charset=utf-16\r\n",
    b"charset=iso-2022-jp", b"charset=utf-7",
    b"Content-Transfer-Encoding: base64\r\n\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    b"Content-Transfer-Encoding: x-uuencode\r\n\r\n", b"=", b"=\r\n", b"=E4", b"AAAA", b"A=",
    b"begin 644 x\r\n#0V%T\r\n", b"=?utf-8?q?x?=",
    b"filename*0*=utf-8''a%20; filename*1=b", b"http://x.test/", b"&#104;", b"\r\n.", b"\0", b"\xff", b"x" * 60]


def spool_of(body, size=None, plain=True, file=False):
    spool = Spool(0 if file else 1 << 20, plain=plain)
    stored = body if plain else stuff(body)
    for at in range(0, len(stored), size or len(stored) or 1):
        spool.write(stored[at:at + (size or len(stored))])
    spool.finish(len(body), plain)
    return spool


def shape(tree):
    return [(part.path, part.type, part.name, part.encoding, part.delimiter, part.header_start, part.start, part.end)
            for part in tree.parts]


def contents(tree):
    return [(part.path, part.type, b"".join(tree.content(part)), "".join(tree.text(part))) for part in tree.parts]


def scanned(fields, chunks):
    """What the scanner finds; as tree_of uses it."""
    problems = {}
    top = mime.Part(fields, "text/plain", problems)

    def describe(header, depth):
        part = mime.Part(split_header(header), "text/plain", problems)
        return header, *part.inside(problems)

    scanner = MimeScanner(describe, None, *top.inside(problems), 20, 5, 200, 500)
    for chunk in chunks:
        scanner.feed(chunk)
    scanner.finish()
    return scanner.parts, scanner.problems


def check(data):
    """Parts are found the same however a body comes, and changing one leaves the rest alone."""
    head, _, body = data.partition(b"\r\n\r\n")
    fields = split_header(head + b"\r\n")
    whole = mime.tree_of(fields, spool_of(body))
    assert scanned(fields, [body]) == scanned(fields, [body[i:i + 1] for i in range(len(body))])
    assert shape(whole) == shape(mime.tree_of(fields, spool_of(body, 1)))
    assert shape(whole) == shape(mime.tree_of(fields, spool_of(body, 7, file=True)))
    found = contents(whole)
    assert found == contents(mime.tree_of(fields, spool_of(body, 5)))
    if b"\n" not in body.replace(b"\r\n", b""):
        assert found == contents(mime.tree_of(fields, spool_of(body, plain=False)))
    assert 1 <= len(whole.parts) <= mime.PARTS
    end = 0
    for part in whole.parts:
        assert 0 <= part.delimiter <= part.header_start <= part.start <= part.end <= len(body)
        assert part.header_start >= end or part.parent >= 0
        if part.parent >= 0:
            above = whole.parts[part.parent]
            assert above.number < part.number and above.start <= part.header_start and part.end <= above.end
        media_type(whole.beginning(part, 100))
        links_in("".join(whole.text(part)), 10)
    changed(whole, body)


def changed(tree, body):
    """Changes of each part."""
    assert b"".join(edited(tree, [], 1 << 20)[0].chunks()) == body
    for part in tree.parts[1:6]:
        again, _ = edited(tree, [Change(part.number, "new\r\n--a\r\n")], 1 << 20)
        new = b"".join(again.chunks())
        assert new.startswith(body[:part.header_start]) and new.endswith(body[part.end:])
        again, _ = edited(tree, [Change(part.number)], 1 << 20)
        new = b"".join(again.chunks())
        assert new.startswith(body[:part.delimiter]) and new.endswith(body[part.end:])
    new, (added, _) = edited(tree, [Change(0, "all\n.of it")], 1 << 20)
    again = mime.tree_of(split_header(b"".join(name + b": " + b"".join(lines) + b"\r\n" for name, lines in added)), new)
    expected = b"all\r\n.of it\r\n" if not tree.parts[0].leaf or tree.parts[0].type.startswith("text/") else b"all\n.of it"
    assert b"".join(again.content(again.parts[0])) == expected


if __name__ == "__main__":
    running.main("mime", check, PIECES)
