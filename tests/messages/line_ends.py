"""Everything that some server might take for the end of a message, and how many messages come of it.

Each `Sequence` stands in the data of a first message, right behind its text, with a whole second transaction behind it: a
server that takes the sequence for the end sees two messages. `data` and `chunks` say how many a client of ours has
acknowledged, by DATA and by BDAT, under (reject, normalise); and how many every next hop must have seen. `second` says
how many more by DATA, when text that comes before its 354 is not refused: then what follows a true end is another message.

docs/reference/line-ends.md is written from this table. Everything in it is made without the code under test.
"""
from dataclasses import dataclass

REFUSED, TEXT = (0, 0), (1, 1)
NORMALISED = (0, 1)
END = TEXT, TEXT, TEXT

HEADER, BODY, START, BLANK = "in the header", "in the body", "at the very start", "behind the blank line"

_PLACES = {
    HEADER: b"X-Cell: %(cell)s\r\nSubject: first",
    BODY: b"X-Cell: %(cell)s\r\nSubject: first\r\n\r\ntext",
    BLANK: b"X-Cell: %(cell)s\r\nSubject: first\r\n",
    START: b"",
}

_WORDS = {b"\r\n": "CR LF", b"\r": "CR", b"\n": "LF", b"\0": "NUL", b".": "`.`", b" ": "SP", b"\t": "TAB", b"\v": "VT",
          b"\f": "FF"}


@dataclass(frozen=True)
class Sequence:
    """One row: what stands where, and the expected numbers of messages, under (reject, normalise)."""

    octets: bytes
    place: str
    data: tuple
    chunks: tuple
    second: tuple = (0, 0)

    @property
    def words(self):
        """The sequence in words: `CR LF`, `.`, `NUL`."""
        words, rest = [], self.octets
        while rest:
            size = 2 if rest.startswith(b"\r\n") else 1
            octet, rest = rest[:size], rest[size:]
            words.append(_WORDS.get(octet) or octet.hex().upper())
        return " ".join(words)

    @property
    def name(self):
        return f"{self.words} {self.place}"

    def message(self, cell):
        """The first message and what is smuggled in it, as one text; `cell` is a word that both carry."""
        return _PLACES[self.place] % {b"cell": cell} + self.octets + smuggled(cell)

    def as_data(self, cell):
        """What follows 354: the text, and the true end."""
        return self.message(cell) + b"\r\n.\r\n"

    def acknowledged(self, line_ends, verb="DATA", early=False):
        """How many messages are acknowledged, and seen by every next hop. early: text before 354 is taken."""
        way = line_ends == "normalise"
        return self.chunks[way] if verb == "BDAT" else self.data[way] + (self.second[way] if early else 0)


def envelope(cell):
    """MAIL and RCPT of every transaction of this cell, the smuggled one included."""
    return b"MAIL FROM:<%s@client.test>\r\nRCPT TO:<user@example.test>\r\n" % cell


def smuggled(cell):
    """A second transaction, without its end."""
    return envelope(cell) + b"DATA\r\nX-Cell: %s\r\nSubject: second\r\n\r\nsmuggled" % cell


def _make():
    ends = [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\n", b"\r\n\r"]
    for before in ends:
        for behind in ends:
            both = before + b"." + behind
            if b"\r\n.\r\n" in both:
                # The end. A bare CR before it has the first refused; a bare LF behind it has the session closed, a bare CR
                # the second MAIL refused.
                yield Sequence(both, BODY, TEXT if before == b"\r\n" else NORMALISED,
                               TEXT if both == b"\r\n.\r\n" else NORMALISED, TEXT if behind == b"\r\n" else NORMALISED)
            else:
                yield Sequence(both, BODY, *_bare(both))
    for octets in (b"\r\n\0.\r\n", b"\r\n\0.\0\r\n", b"\r\n\0\0.\r\n", b"\r\n.\0.\r\n"):
        yield Sequence(octets, BODY, REFUSED, REFUSED if octets != b"\r\n.\0.\r\n" else TEXT)
    for octets in (b"\n\0.\n", b"\n.\0\n", b"\r\n.\r\0\n", b"\r\n.\0\n", b"\r\0\n.\r\n"):
        yield Sequence(octets, BODY, *_bare(octets))
    for octets in (b"\r\n.\0\r\n", b"\r\n.\0\0\r\n", b"\r\n.\0text\r\n", b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n.\v\r\n",
                   b"\r\n.\f\r\n", b"\r\n. \t \r\n", b"\r\n .\r\n", b"\r\n..\r\n", b"\r\n...\r\n", b"\r\n.text\r\n",
                   b"\r\n..\0\r\n", b"\r\n.. \r\n"):
        yield Sequence(octets, BODY, TEXT, TEXT)
    for octets in (b"\n..\n", b"\r\n..\n", b"\n..\r\n", b"\r..\r", b"\r\n..\r", b"\n. \n", b"\r\n. \n"):
        yield Sequence(octets, BODY, NORMALISED, NORMALISED)
    # What line ends and dots become when somebody strips the eighth bit or reads other characters for them.
    for octets in (b"\x8d\x8a.\x8d\x8a", b"\x8d\x8a\xae\x8d\x8a", b"\xc2\x85.\xc2\x85", b"\x85.\x85",
                   b"\xe2\x80\xa8.\xe2\x80\xa8", b"\xc0\x8d\xc0\x8a.\xc0\x8d\xc0\x8a", b"\r\n\xef\xbc\x8e\r\n",
                   b"\r\n\xc0\xae\r\n"):
        yield Sequence(octets, BODY, TEXT, TEXT)
    for octets in (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r"):
        yield Sequence(octets, HEADER, *_bare(octets))
    yield Sequence(b"\r\n.\r\n", HEADER, *END)
    yield Sequence(b"\r\n .\r\n", HEADER, TEXT, TEXT)
    yield Sequence(b"\r\n\0.\r\n", HEADER, REFUSED, REFUSED)
    for octets in (b".\n", b".\r", b"\n.\n", b"\r\n.\n", b".\r\r\n"):
        yield Sequence(octets, START, *_bare(octets))
    yield Sequence(b"\0.\r\n", START, REFUSED, REFUSED)
    yield Sequence(b".\r\n", START, *END)
    for octets in (b"\r\n.\n", b"\n\n.\n\n", b"\n.\r\n"):
        yield Sequence(octets, BLANK, *_bare(octets))
    yield Sequence(b"\r\n.\r\n", BLANK, *END)


def _bare(octets):
    """A bare CR or LF is refused, or normalised and the whole is one message; a dot between NULs is always refused."""
    if b"\0." in octets:
        return REFUSED, REFUSED
    return NORMALISED, NORMALISED


SEQUENCES = list(_make())
assert len({sequence.name for sequence in SEQUENCES}) == len(SEQUENCES)
