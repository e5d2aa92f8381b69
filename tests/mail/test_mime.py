"""The parts of messages: what is found, what is in them, what changing them leaves alone, and what it costs."""
import random
import time

import pytest

from mailfilter._core.header import split_header
from mailfilter.errors import MailfilterError
from mailfilter.mail import mime
from mailfilter.mail.decoding import content_of
from mailfilter.mail.editing import Change, edited
from mailfilter.mail.magic import media_type
from mailfilter.mail.spool import Spool
from mailfilter.mail.words import decoded, parameters_of


def tree(text, **spool):
    """The Tree of a message given as text with plain line feeds."""
    octets = (text.encode() if isinstance(text, str) else text).replace(b"\n", b"\r\n")
    head, _, body = octets.partition(b"\r\n\r\n")
    return mime.tree_of(split_header(head + b"\r\n"), body_of(body, **spool))


def body_of(body, memory_bytes=1 << 20):
    spool = Spool(memory_bytes, plain=True)
    spool.write(body)
    spool.finish(len(body))
    return spool


def multipart(*parts, boundary="b", kind="mixed"):
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n' + "".join(
        f"--{boundary}\n{part}\n" for part in parts) + f"--{boundary}--\n"


def test_a_message_without_mime_is_one_part():
    found = tree("Subject: x\n\nhello\n")
    assert [(part.path, part.type, part.encoding, part.name) for part in found.parts] == [("", "text/plain", "", None)]
    assert "".join(found.text(found.parts[0])) == "hello\r\n"
    assert found.problems == []


def test_parts_inside_parts():
    inner = multipart("Content-Type: text/plain\n\none",
                      "Content-Type: text/html\n\n<b>two</b>", boundary="i", kind="alternative")
    message = "Content-Type: message/rfc822\n\nSubject: inside\n\nthree"
    found = tree(multipart(inner, message, "\nfour"))
    assert [(part.path, part.type) for part in found.parts] == [
        ("", "multipart/mixed"), ("1", "multipart/alternative"), ("1.1", "text/plain"), ("1.2", "text/html"),
        ("2", "message/rfc822"), ("2.1", "text/plain"), ("3", "text/plain")]
    assert ["".join(found.text(part)) for part in found.texts()] == ["one", "<b>two</b>", "three", "four"]


def test_a_digest_is_made_of_messages():
    found = tree(multipart("\nSubject: a\n\nx", kind="digest"))
    assert [part.type for part in found.parts] == ["multipart/digest", "message/rfc822", "text/plain"]


@pytest.mark.parametrize("line, is_one", [
    ("--b", True), ("--b ", True), ("--b\t \t", True), ("--b--", True), ("--bc", False), (" --b", False), ("-- b", False),
    ("--b-", False), ("--b--x", False), ("--B", False)])
def test_what_a_delimiter_is(line, is_one):
    found = tree(f"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n{line}\n\ntwo\n--b--\n")
    assert ("".join(found.text(found.parts[1])) == "one") == is_one


@pytest.mark.parametrize("header, problem", [
    ("Content-Type: multipart/mixed", "a multipart without a boundary"),
    ("Content-Type: text/plain\nContent-Type: text/html", "two content-type fields in one header"),
    ("Content-Type: nonsense", "a content type that is none"),
    ("Content-Transfer-Encoding: rot13", "a transfer encoding that nobody knows"),
    ("Content-Type: multipart/mixed; boundary=b", "a multipart has no end"),
    ("Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64", "a multipart that is encoded"),
])
def test_what_is_odd_is_told(header, problem):
    assert problem in tree(header + "\n\ntext\n").problems


def test_numbers_are_bounded():
    many = tree(multipart(*["\nx"] * 2000))
    assert len(many.parts) == mime.PARTS and f"more than {mime.PARTS} parts" in many.problems
    deep = "\nx"
    for level in range(60):
        deep = multipart(deep, boundary=f"b{level}")
    deep = tree(deep)
    assert len(deep.parts) == mime.DEPTH + 1 and f"parts more than {mime.DEPTH} deep" in deep.problems
    messages = tree("Content-Type: message/rfc822\n\n" * 60)
    assert len(messages.parts) == mime.DEPTH + 1
    big = tree(multipart("X: " + "y" * 100_000 + "\n\nx"))
    assert "a part's header is too big" in big.problems and "".join(big.text(big.parts[1])) == "x"


@pytest.mark.parametrize("line", [b"--", b"--b" + b"b" * 60 + b"c", b"", b"x" * 74, b"--b", b"Content-Type: message/rfc822\r\n"])
def test_time_is_linear(line):
    """Twenty megabytes of what costs most, in lines of every kind, in less than what a slow machine takes for two seconds."""
    size = 20_000_000
    body = ((line + b"\r\n") * (size // (len(line) + 2)))
    fields = split_header(b'Content-Type: multipart/mixed; boundary="b%s"\r\n' % (b"b" * 60 if line[2:3] == b"b" else b""))
    before = time.process_time()
    mime.tree_of(fields, body_of(body, len(body)))
    assert time.process_time() - before < 4


@pytest.mark.parametrize("encoding, encoded, content", [
    ("base64", b"aGVs\r\nbG8=\r\n", b"hello"), ("base64", b"aGVs!bG8", b"hello"), ("base64", b"aGVsbG8=d29ybGQ=", b"helloworld"),
    ("base64", b"A", b""), ("quoted-printable", b"a=3D=\r\nb=\n c=zz=", b"a=b c=zz"), ("quoted-printable", b"=e4", b"\xe4"),
    ("x-uuencode", b"begin 644 cat\r\n#0V%T\r\n`\r\nend\r\n", b"Cat"), ("7bit", b"a=3D", b"a=3D"), ("rot13", b"nop", b"nop")])
def test_transfer_encodings(encoding, encoded, content):
    for size in (1, 2, 3, 5, 100):
        chunks = [encoded[at:at + size] for at in range(0, len(encoded), size)]
        assert b"".join(content_of(iter(chunks), encoding)) == content


def test_character_sets():
    def text(charset, octets):
        found = tree(b"Content-Type: text/plain; charset=" + charset + b"\n\n" + octets)
        return "".join(found.text(found.parts[0]))
    assert text(b"iso-8859-1", b"caf\xe9") == "café"
    assert text(b'"UTF-8"', "日本".encode()) == "日本"
    assert text(b"iso-2022-jp", "日本".encode("iso2022_jp")) == "日本"
    assert text(b"gb2312", "中文".encode("gbk")) == "中文"
    assert text(b"utf-16", "ab".encode("utf-16-be")) == "ab"
    for name in (b"x-unknown", b"unicode_escape", b"idna", b"punycode", b"zlib_codec", b"a" * 5000, b"..os"):
        assert text(name, b"caf\\u0041\xff") == "caf\\u0041\ufffd"


def test_unknown_character_sets_are_not_remembered():
    import encodings
    for number in range(50):
        found = tree(f"Content-Type: text/plain; charset=unheard-of-{number}\n\nx")
        "".join(found.text(found.parts[0]))
    assert not [name for name in encodings._cache if "unheard" in name]


@pytest.mark.parametrize("value, text", [
    ("plain", "plain"), ("=?utf-8?Q?caf=C3=A9_x?=", "café x"), ("=?utf-8?B?w6Q=?= =?UTF-8?B?w6Q=?=", "ää"),
    ("=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "é"), ("a =?iso-8859-1*de?q?=E4?= b", "a ä b"), ("=?utf-8?B?!?=", ""),
    ("=?utf-8?X?a?=", "=?utf-8?X?a?="), ("=?utf-8?Q?a", "=?utf-8?Q?a"), ("=?us-ascii?Q?=00?=", "\ufffd"),
    ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本")])
def test_encoded_words(value, text):
    assert decoded(value) == text


@pytest.mark.parametrize("value, head, parameters", [
    ('text/plain; charset="a b"; x=y', "text/plain", {"charset": "a b", "x": "y"}),
    ("text/plain (a (b) \\) ;) ; charset=(c)utf-8", "text/plain", {"charset": "utf-8"}),
    ("a; name*0*=utf-8'en'%C3; name*1*=%A4; name*2=\".exe\"; name=old", "a", {"name": "ä.exe"}),
    ("a; name*=utf-8''%41", "a", {"name": "A"}), ("a; x=1; x=2", "a", {"x": "1"}), ('a; n="b\\"c', "a", {"n": 'b"c'}),
    ("a; name==?utf-8?q?=C3=A4?=", "a", {"name": "ä"}), (";;;=;x", "", {}), ("a; n*1=b; n*0=a; n*3=d", "a", {"n": "ab"})])
def test_parameters(value, head, parameters):
    assert parameters_of(value) == (head, parameters)


def test_hostile_parameters_take_no_time():
    before = time.process_time()
    for text in ('a;' + 'x="' * 20000, "a" + "(" * 60000, "a;" * 30000, "a; " + "x*0*=" * 10000, "=?a?q?" * 10000, "=?" * 30000):
        parameters_of(text)
        decoded(text)
    assert time.process_time() - before < 4


@pytest.mark.parametrize("name, attachment", [("", False), ('; name="x.exe"', True)])
def test_attachments(name, attachment):
    found = tree(multipart(f"Content-Type: text/plain{name}\n\nx", "Content-Type: image/png\n\nx",
                           "Content-Type: text/html\nContent-Disposition: ATTACHMENT\n\nx"))
    assert [part.attachment for part in found.parts] == [False, attachment, True, True]


@pytest.mark.parametrize("octets, kind", [
    (b"MZ\x90\0", "application/x-dosexec"), (b"%PDF-1.7", "application/pdf"), (b"PK\x03\x04", "application/zip"),
    (b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml" + b"word/document.xml",
     "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"PK\x03\x04" + b"\0" * 26 + b"mimetypeapplication/epub+zipPK", "application/epub+zip"),
    (b" \r\n<!DOCTYPE html>", "text/html"), (b"\0" * 257 + b"ustar", "application/x-tar"), (b"hello", None), (b"", None)])
def test_what_a_file_begins_like(octets, kind):
    assert media_type(octets) == kind


MESSAGE = multipart("\none\n.dot", multipart("\ntwo", "Content-Type: application/x\nContent-Transfer-Encoding: base64\n"
                    "Content-Disposition: attachment; filename=x\n\nAAAA", boundary="c"), "\nthree") + "epilogue\n.\n"


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
def test_what_is_not_changed_stays(memory_bytes):
    found = tree(MESSAGE, memory_bytes=memory_bytes)
    whole = b"".join(found.body.chunks())
    part = found.parts[4]
    new, header = edited(found, [Change(part.number, b"\0\1", "application/y", "n\u00e9w.bin")], memory_bytes)
    changed = b"".join(new.chunks())
    assert header is None
    assert changed == whole[:part.header_start] + (
        b"Content-Type: application/y\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment;\r\n filename*=UTF-8''n%C3%A9w.bin\r\n\r\nAAE=\r\n") + whole[part.end:]
    again = mime.tree_of(split_header(b"Content-Type: multipart/mixed; boundary=b\r\n"), new)
    assert (again.parts[4].name, b"".join(again.content(again.parts[4]))) == ("néw.bin", b"\0\1")
    assert b"".join(new.wire_chunks()).endswith(b"epilogue\r\n..\r\n")


def test_parts_are_taken_away():
    found = tree(MESSAGE)
    whole = b"".join(found.body.chunks())
    inner = found.parts[2]
    new, _ = edited(found, [Change(inner.number), Change(3), Change(4)], 1 << 20)
    assert b"".join(new.chunks()) == whole[:inner.delimiter] + whole[inner.end:]
    new, _ = edited(found, [Change(3), Change(4)], 1 << 20)
    again = mime.tree_of(split_header(b"Content-Type: multipart/mixed; boundary=b\r\n"), new)
    assert [(part.path, part.type) for part in again.parts] == [
        ("", "multipart/mixed"), ("1", "text/plain"), ("2", "multipart/mixed"), ("2.1", "text/plain"), ("3", "text/plain")]


def test_new_contents_can_go_anywhere():
    found = tree(MESSAGE)
    random.seed(1)
    texts = ["a" * 5000, "--b\n--b--\n--c", "\n.\n..\n", "ä" * 600, "x = 1\nä\n", "\r\r\n\n", "", " \t", "\0"]
    texts += ["".join(random.choice("a-b.=\r\n\t ä\u20ac\0") for _ in range(200)) for _ in range(200)]
    for text in texts:
        new, _ = edited(found, [Change(3, text)], 1 << 20)
        octets = b"".join(new.chunks())
        assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
        assert b"\n" not in octets.replace(b"\r\n", b"") and b"\r" not in octets.replace(b"\r\n", b"")
        again = mime.tree_of(split_header(b"Content-Type: multipart/mixed; boundary=b\r\n"), new)
        assert len(again.parts) == len(found.parts)
        expected = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        assert "".join(again.text(again.parts[3])) == expected


def test_a_message_of_one_part():
    found = tree("Content-Type: text/html; charset=iso-8859-1\n\n<b>x</b>\n")
    new, (fields, gone) = edited(found, [Change(0, "<i>\u20ac</i>")], 1 << 20)
    assert fields[0] == (b"Content-Type", [b"text/html; charset=utf-8"]) and b"content-transfer-encoding" in gone
    assert b"".join(new.chunks()).endswith(b"\r\n")
    for number, kind in ((7, None), (0, "text/plain\r\nX: y")):
        with pytest.raises(MailfilterError):
            edited(found, [Change(number, "x", kind)], 1 << 20)
