"""mail/returned.py: a message that a scanner gives back is the same however it is cut into pieces."""
import random

import pytest

from mailfilter.errors import ServiceProtocolError
from mailfilter.mail import returned as module
from mailfilter.mail.returned import Returned
from mailfilter.mail.spool import Spool

LIKE = Spool(memory_bytes=1 << 20)
MESSAGE = b"A: one\r\nB: two\r\n\tfolded\r\n\r\n.body\r\n\r\nmore\r\n"


def result(pieces):
    returned = Returned(LIKE)
    for piece in pieces:
        returned.take(piece)
    returned.finish()
    return [(field.name, field.parts) for field in returned.fields], b"".join(returned.body.chunks())


def every_way(message):
    """The message whole, octet by octet, in two pieces cut anywhere, and in pieces by chance."""
    yield [message]
    yield [message[at:at + 1] for at in range(len(message))]
    for at in range(len(message)):
        yield [message[:at], message[at:]]
    chance = random.Random(1)
    for _ in range(50):
        places = sorted({0, len(message), *(chance.randrange(len(message) + 1) for _ in range(5))})
        yield [message[begin:end] for begin, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("message, names, body", [
    (MESSAGE, [b"A", b"B"], b".body\r\n\r\nmore\r\n"),
    (b"A: one\r\n\r\n", [b"A"], b""),
    (b"A: one\r\n", [b"A"], b""),
    (b"A: one", [b"A"], b""),
    (b"\r\nbody\r\n\r\nmore", [], b"body\r\n\r\nmore"),
    (b"\r\n\r\n", [], b"\r\n"),
    (b"", [], b""),
], ids=["whole", "no body", "no empty line", "no line end", "no header", "empty lines", "nothing"])
def test_pieces(message, names, body, end):
    message = message.replace(b"\r\n", end)
    for pieces in every_way(message):
        fields, found = result(pieces)
        assert [name for name, _ in fields] == names and found == body, pieces
    assert fields == result([message])[0]


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_the_longest_header(size, monkeypatch):
    monkeypatch.setattr(module, "HEADER_OCTETS", 4000)
    for more, refused in ((0, False), (1, True)):
        section = b"A: " + b"x" * (4000 - 5 + more) + b"\r\n"
        message = section + b"\r\nbody\r\n"
        pieces = [message[at:at + size] for at in range(0, len(message), size)]
        if refused:
            with pytest.raises(ServiceProtocolError, match="header has no end"):
                result(pieces)
        else:
            assert result(pieces)[1] == b"body\r\n"


def test_a_header_without_end_is_given_up():
    returned = Returned(LIKE)
    with pytest.raises(ServiceProtocolError, match="header has no end"):
        for _ in range(1000):
            returned.take(b"x" * 65536)
    assert len(returned._head) <= module.HEADER_OCTETS + 65536


class Counted(bytearray):
    """Notes how much is searched."""

    searched = 0

    def find(self, what, start=0):
        self.searched += len(self) - start
        return super().find(what, start)


def test_octet_by_octet_costs_linear_time():
    returned, head = Returned(LIKE), Counted()
    returned._head = head
    text = b"A: " + b"x" * 20_000
    for at in range(len(text)):
        returned.take(text[at:at + 1])
    assert returned._head is head and head == text
    assert head.searched <= 5 * len(text)


def test_as_a_context_only_an_exception_closes_it():
    with Returned(LIKE) as returned:
        returned.take(MESSAGE)
        returned.finish()
    assert not returned.body.closed
    with pytest.raises(OSError), Returned(LIKE) as returned:
        raise OSError
    assert returned.body.closed
