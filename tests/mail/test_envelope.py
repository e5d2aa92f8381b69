"""mail/envelope.py."""
import pytest

from mailfilter._core.address import parse_path
from mailfilter.mail.envelope import Envelope


def test_it_is_built_of_paths():
    sender, _ = parse_path(b"<a@example.org>", allow_null=True)
    recipients = [parse_path(text, allow_null=False)[0] for text in (b'<"b c"@example.net>', b"<Postmaster>")]
    envelope = Envelope.of_paths(sender, recipients)
    assert envelope == Envelope(b"<a@example.org>", (b'<"b c"@example.net>', b"<Postmaster>"))
    assert not envelope.is_null
    assert envelope.return_path() == b"Return-Path: <a@example.org>\r\n"


def test_the_null_sender():
    envelope = Envelope(b"<>")
    assert envelope.is_null
    assert envelope.return_path() == b"Return-Path: <>\r\n"


def test_other_recipients():
    envelope = Envelope(b"<a@b>", (b"<c@d>", b"<e@f>")).for_recipients([b"<e@f>"])
    assert envelope == Envelope(b"<a@b>", (b"<e@f>",))


def test_it_is_a_value():
    with pytest.raises(AttributeError):
        Envelope(b"<>").sender = b"<a@b>"


@pytest.mark.parametrize("sender", [
    b"", b"a@b", b"<a@b", b"a@b>", b"<a@b>\r\nX: <y>", b"<a\0@b>", b"<a\n@b>", b"<a\x7f@b>",
])
def test_a_return_path_never_begins_a_header(sender):
    with pytest.raises(ValueError):
        Envelope(sender).return_path()
