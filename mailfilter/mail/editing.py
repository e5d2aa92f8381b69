"""Changing parts of a message: a new body in which every octet that was not meant is as it came.

The new body is made of stretches of the old one and of new parts between them. A new part is encoded so that it can go
anywhere: lines of at most 998 octets that end with CR LF, and none that looks like a delimiter.

Must not know: JavaScript, sessions.
"""
import base64
import binascii
import re

from mailfilter._core.header import render_field
from mailfilter.errors import MailfilterError
from mailfilter.mail.octets import octets
from mailfilter.mail.spool import Spool

__all__ = ["Change", "edited", "encoded"]

LINE_OCTETS = 998
"""The longest line (RFC 5322 §2.1.1), without its end."""

# What a new content makes untrue.
_OF_THE_CONTENT = frozenset((b"content-type", b"content-transfer-encoding", b"content-md5", b"content-length"))
_PRINTABLE = bytes(range(32, 127)) + b"\r\n\t"
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z{}-]{1,127}/[!#$%&'*+.^_`|~0-9A-Za-z{}-]{1,127}")


class Change:
    """What becomes of one part.

    number: the part's. content: octets, text, or None to take it away. type: the new media type; None keeps the old one, of
    text the character set becomes UTF-8. name: the file's new name; None keeps its Content-Disposition.
    """

    __slots__ = ("number", "content", "type", "name")

    def __init__(self, number, content=None, type=None, name=None):
        self.number = number
        self.content = None if content is None else octets(content)
        self.type = type
        self.name = name
        if type is not None and not _MEDIA_TYPE.fullmatch(type):
            raise MailfilterError(f"'{type[:100]}' is no media type")


def encoded(content, text):
    """(Content-Transfer-Encoding, the content in it): of text with line ends as they should be."""
    if text:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        lines = content.split(b"\r\n")
        delimiting = any(line.startswith(b"--") for line in lines)
        if content.isascii() and b"\0" not in content and not delimiting and all(len(line) <= LINE_OCTETS for line in lines):
            return "7bit", content
        if not delimiting and len(content.translate(None, _PRINTABLE)) * 6 < len(content):
            quoted = binascii.b2a_qp(content.replace(b"\r\n", b"\n"), istext=True, quotetabs=False)
            return "quoted-printable", quoted.replace(b"\n", b"\r\n")
    return "base64", base64.encodebytes(content).replace(b"\n", b"\r\n")


def _fields(part, change):
    """(the encoded content, new fields as [(name, parts), …], names of fields that go) for a change of content."""
    kind = change.type or (part.type if part.leaf else "text/plain")
    text = kind.startswith("text/")
    encoding, content = encoded(change.content, text)
    fields = [(b"Content-Type", [f"{kind}; charset=utf-8".encode() if text else kind.encode()])]
    fields.append((b"Content-Transfer-Encoding", [encoding.encode()]))
    gone = set(_OF_THE_CONTENT)
    if change.name is not None:
        gone.add(b"content-disposition")
        fields.append((b"Content-Disposition", [b"attachment;", b" " + _file_name(change.name)]))
    return content, fields, gone


def _file_name(name):
    data = octets(name)
    if re.fullmatch(rb"[A-Za-z0-9._ +@-]{1,60}", data):
        return b'filename="' + data + b'"'
    quoted = b"".join(bytes([octet]) if chr(octet).isalnum() and octet < 128 or octet in b"._-" else b"%%%02X" % octet
                      for octet in data[:200])
    return b"filename*=UTF-8''" + quoted


def edited(tree, changes, memory_bytes, directory=None, room=None):
    """(new body, fields for the message's header or None): the body of `tree` with the Changes made.

    Of several changes of one part the last counts; one inside a part that is changed itself does not. A multipart from which
    all parts are taken keeps an empty one, as it must have one (RFC 2046 §5.1.1). The second is for a message that is
    one part, whose content has its fields in the header: ([(name, parts), …] to add, names to take away first).
    Raises OSError when the new body cannot be stored.
    """
    parts, body = tree.parts, tree.body
    wanted = {}
    for change in changes:
        if not 0 <= change.number < len(parts):
            raise MailfilterError(f"there is no part {change.number}")
        wanted[change.number] = change
    for number in sorted(wanted):
        above = parts[number].parent
        while above >= 0 and above not in wanted:
            above = parts[above].parent
        if above >= 0:
            del wanted[number]
    _spare_the_last(parts, wanted)
    new = _Writer(body, memory_bytes, directory, room)
    if 0 in wanted:
        change = wanted[0]
        if change.content is None:
            change = Change(0, b"", "text/plain")
        content, fields, gone = _fields(parts[0], change)
        new.add(content if not content or content.endswith(b"\r\n") else content + b"\r\n")
        return new.finish(), (fields, gone)
    at = 0
    for number in sorted(wanted, key=lambda number: parts[number].delimiter):
        part, change = parts[number], wanted[number]
        if change.content is None:
            new.keep(at, part.delimiter)
        else:
            content, fields, gone = _fields(part, change)
            new.keep(at, part.header_start)
            new.add(b"".join(field.raw for field in part.fields if field.name.lower() not in gone and field.name))
            new.add(b"".join(render_field(*field) for field in fields) + b"\r\n" + content)
        at = part.end
    new.keep(at, body.stored_bytes)
    return new.finish(), None


def _spare_the_last(parts, wanted):
    """What would leave a container without parts is emptied instead. A message inside a part goes with that part."""
    for number in sorted(wanted):
        change = wanted[number]
        if change.content is not None or number == 0:
            continue
        parent = parts[number].parent
        left = any(part.parent == parent and not (part.number in wanted and wanted[part.number].content is None)
                   for part in parts[parent + 1:])
        if not left:
            wanted[number] = Change(number, b"", "text/plain")


class _Writer:
    """A new body, kept in its plain form."""

    def __init__(self, old, memory_bytes, directory, room):
        self.old = old
        self.spool = Spool(memory_bytes, directory, plain=True, room=room)

    def keep(self, start, end):
        """Octets of the old body as they are. Where they begin is no dot that was put there for the wire."""
        for chunk in self.old.stretch(start, end):
            self.add(chunk)

    def add(self, content):
        """New octets."""
        if content:
            self.spool.write(content)

    def finish(self):
        """The new body."""
        self.spool.finish(self.spool.stored_bytes, self.old.binary)
        return self.spool
