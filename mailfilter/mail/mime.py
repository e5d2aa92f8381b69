"""The parts of a message (RFC 2045, 2046, 2183): where they are, what they say of themselves, and what is in them.

A walk over the stored body, which stays where it is: a Tree knows places, and a part's content is read and decoded when somebody
asks for it. The standard library's `email` is not used: it holds the whole message several times over, takes time that grows with
the square of some sizes, raises for some messages, and does not tell where in the body a part lies, which is needed
for changing one part and leaving every other octet alone.

Nothing here raises for what a message is like: it is hostile. `Tree.problems` names what is odd, and every number is bounded.

Must not know: JavaScript, sessions, what anybody looks for.
"""
import re

from mailfilter._core.data import unstuff
from mailfilter._core.header import split_header
from mailfilter._core.mime import HEADER_TOO_BIG, TOO_DEEP, TOO_MANY_PARTS, UNFINISHED, MimeScanner
from mailfilter.mail.charsets import decoder_of
from mailfilter.mail.decoding import ENCODINGS, content_of
from mailfilter.mail.words import fields_value, parameters_of

__all__ = ["DEPTH", "FIELDS", "HEADERS_OCTETS", "HEADER_OCTETS", "PARTS", "Part", "Tree", "fields_of", "tree_of"]

PARTS = 1000
"""Parts of one message that are looked for."""

DEPTH = 30
"""How deep parts lie inside one another."""

HEADER_OCTETS = 65536
"""The header of one part that is looked at."""

HEADERS_OCTETS = 1 << 20
"""All headers of parts together."""

FIELDS = 100
"""Fields of a part's header that a policy is shown."""

_STEP = 65536
_LEAF, _MULTIPART, _MESSAGE = range(3)
_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z{}-]{1,127})\s*/\s*([!#$%&'*+.^_`|~0-9A-Za-z{}-]{1,127})")
_PROBLEMS = ((TOO_MANY_PARTS, f"more than {PARTS} parts"), (TOO_DEEP, f"parts more than {DEPTH} deep"),
             (HEADER_TOO_BIG, "a part's header is too big"), (UNFINISHED, "a multipart has no end"))


class Part:
    """One part. The message itself is one, too: number 0.

    number: its place in Tree.parts. parent: that of the part around it, -1 for the message. path: as "1.2", "" for the message.
    type: "text/plain", in lower case. parameters: of Content-Type. disposition: "attachment", "inline", … or None. name: of the
    file, decoded, or None. encoding: in lower case, "" for none. content_id: or None. fields: what its header has.
    delimiter, header_start, start, end: places in the stored body; header_start and start are the same for the message.
    leaf: whether no parts are in it.
    """

    __slots__ = ("number", "parent", "path", "type", "parameters", "disposition", "name", "encoding", "content_id", "fields",
                 "delimiter", "header_start", "start", "end", "leaf", "children")

    def __init__(self, fields, default, problems):
        self.fields = fields
        self.children = 0
        values = {}
        for field in fields:
            name = field.name.lower()
            if name.startswith(b"content-"):
                if name in values and name in (b"content-type", b"content-transfer-encoding"):
                    problems[f"two {name.decode()} fields in one header"] = None
                values.setdefault(name, fields_value(field.parts))
        kind, self.parameters = parameters_of(values.get(b"content-type", ""))
        found = _TYPE.match(kind)
        if kind and not found:
            problems["a content type that is none"] = None
        self.type = f"{found[1]}/{found[2]}".lower() if found else default
        disposition, more = parameters_of(values.get(b"content-disposition", ""))
        self.disposition = disposition.lower() or None
        name = more.get("filename", self.parameters.get("name"))
        self.name = name.replace("\0", "\ufffd") if name else None
        encoding, _ = parameters_of(values.get(b"content-transfer-encoding", ""))
        self.encoding = encoding.lower()
        if self.encoding not in ENCODINGS:
            problems["a transfer encoding that nobody knows"] = None
        self.content_id = values.get(b"content-id")

    def inside(self, problems):
        """(kind, boundary) for the scanner: what is to be looked for in it."""
        plain = ENCODINGS.get(self.encoding) is None
        if self.type.startswith("multipart/"):
            boundary = self.parameters.get("boundary", "").rstrip().encode("utf-8", "surrogateescape")
            if not boundary:
                problems["a multipart without a boundary"] = None
                return _LEAF, None
            if not plain:
                problems["a multipart that is encoded"] = None
            return _MULTIPART, boundary
        if self.type in ("message/rfc822", "message/global") and plain:
            return _MESSAGE, None
        return _LEAF, None

    @property
    def charset(self):
        """The character set that it names, or None."""
        return self.parameters.get("charset")

    @property
    def attachment(self):
        """Whether it is a file rather than something to be read."""
        return self.leaf and (self.disposition == "attachment" or self.name is not None or not self.type.startswith("text/"))


class Tree:
    """The parts of one body. `parts`: in the order in which they begin. `problems`: what is odd, in words."""

    __slots__ = ("body", "parts", "problems")

    def __init__(self, body, parts, problems):
        self.body = body
        self.parts = parts
        self.problems = problems

    def stored(self, part):
        """Iterate over a part's content as it stands, un-stuffed."""
        return self.body.stretch(part.start, part.end)

    def content(self, part):
        """Iterate over a part's decoded content (bytes). Of a multipart, all of it as it stands."""
        return content_of(self.stored(part), part.encoding if part.leaf else "")

    def text(self, part):
        """Iterate over a part's decoded content as text (str)."""
        decoder = decoder_of(part.charset)
        for chunk in self.content(part):
            text = decoder.decode(chunk)
            if text:
                yield text
        yield decoder.decode(b"", True)

    def beginning(self, part, count):
        """The first octets of a part's decoded content, `count` at most, out of its first 64 KiB: an encoding may be empty."""
        chunks = self.body.stretch(part.start, min(part.end, part.start + _STEP))
        return b"".join(content_of(chunks, part.encoding if part.leaf else ""))[:count]

    def texts(self):
        """The parts that hold text, whether to be read or in a file."""
        return [part for part in self.parts if part.leaf and part.type.startswith("text/")]


def fields_of(section):
    """The Fields of a header section (octets, un-stuffed)."""
    return split_header(section)


def tree_of(fields, body):
    """The Tree of a message: the header's Fields, and its finished Spool. Takes time linear in the body's size."""
    problems = {}
    top = Part(fields, "text/plain", problems)
    defaults = {0: "message/rfc822" if top.type == "multipart/digest" else "text/plain"}

    def describe(header, depth):
        default = defaults.get(depth - 1, "text/plain")
        part = Part(split_header(header if body.plain else unstuff(header)), default, problems)
        defaults[depth] = "message/rfc822" if part.type == "multipart/digest" else "text/plain"
        return part, *part.inside(problems)

    scanner = MimeScanner(describe, top, *top.inside(problems), PARTS, DEPTH, HEADER_OCTETS, HEADERS_OCTETS)
    for chunk in body.stored_chunks(_STEP):
        for at in range(0, len(chunk), _STEP):
            scanner.feed(chunk if len(chunk) <= _STEP else chunk[at:at + _STEP])
    scanner.finish()
    parts = []
    for number, (part, parent, delimiter, header_start, start, end) in enumerate(scanner.parts):
        part.number, part.parent = number, parent
        part.delimiter, part.header_start, part.start, part.end = delimiter, header_start, start, end
        part.leaf = True
        part.path = ""
        if parent >= 0:
            above = parts[parent]
            above.leaf = False
            above.children += 1
            part.path = f"{above.path}.{above.children}" if above.path else str(above.children)
        parts.append(part)
    for bit, words in _PROBLEMS:
        if scanner.problems & bit:
            problems[words] = None
    return Tree(body, parts, list(problems))
