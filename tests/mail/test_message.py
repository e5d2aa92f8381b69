"""mail/message.py: untouched is unchanged, changed is safe."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.data import stuff
from mailfilter._core.header import canonical, split_header
from mailfilter.errors import MailfilterError
from mailfilter.mail.message import JOIN_BYTES, HeaderRefused, Message
from mailfilter.mail.spool import Spool

SECTION = (b"From:<a@example.org>\r\n"
           b"Subject :  odd   spacing \r\n"
           b"not a field\r\n"
           b".Dotted: x\r\n"
           b"To:\r\n\t<b@example.net>\r\n   <c@example.net>\r\n"
           b"X-Empty:\r\n"
           b"X-8-bit: \xff\x80\xfc\r\n")


def message(section=SECTION, separator=True, body=b"text\r\n.dot\r\n", **options):
    spool = Spool(**options)
    wire = stuff(body)
    if wire:
        spool.write(wire)
    spool.finish(len(body))
    return Message(split_header(section), separator, spool)


def unchanged(msg):
    """What a policy gives back that did nothing."""
    return [(index, canonical(field)) for index, field in enumerate(msg.fields)]


def plain(msg, headers=None):
    result = b"".join(msg.plain_chunks(headers))
    wire = b"".join(msg.wire_chunks(headers))
    assert wire == stuff(result)
    assert msg.plain_size(headers) == len(result)
    assert b"" not in [*msg.plain_chunks(headers), *msg.wire_chunks(headers)]
    return result


WHOLE = SECTION + b"\r\ntext\r\n.dot\r\n"


def test_nothing_touched():
    msg = message()
    assert plain(msg) == plain(msg, unchanged(msg)) == WHOLE
    assert plain(msg, [(index, None) for index in range(len(msg.fields))]) == WHOLE


def test_text_of_the_policy_may_be_str():
    msg = message()
    headers = [(index, text.decode("utf-8", "surrogateescape")) for index, text in unchanged(msg)]
    assert plain(msg, headers) == WHOLE


def test_what_a_policy_is_shown():
    assert message().header_pairs() == [
        (b"From", [b"<a@example.org>"]), (b"Subject", [b"odd   spacing "]), (b"", [b"not a field"]),
        (b".Dotted", [b"x"]),
        (b"To", [b"", b"\t<b@example.net>", b"   <c@example.net>"]), (b"X-Empty", [b""]),
        (b"X-8-bit", [b"\xff\x80\xfc"])]


def test_one_header_added_in_front():
    msg = message()
    headers = [(-1, b"Received: from x\r\n\tby y; now"), *unchanged(msg)]
    assert plain(msg, headers) == b"Received: from x\r\n\tby y; now\r\n" + WHOLE


def test_one_header_added_at_the_end():
    msg = message()
    assert plain(msg, [*unchanged(msg), (-1, "X-New: y")]) == SECTION + b"X-New: y\r\n\r\ntext\r\n.dot\r\n"


def test_one_header_changed_the_rest_as_it_came():
    msg = message()
    headers = unchanged(msg)
    headers[1] = (1, b"Subject: [SPAM] odd   spacing ")
    assert plain(msg, headers) == WHOLE.replace(b"Subject :  odd", b"Subject: [SPAM] odd")


def test_changed_and_changed_back_is_untouched():
    msg = message()
    headers = unchanged(msg)
    headers[1] = (1, b"".join([b"Subject", b": ", b"odd   spacing "]))
    assert plain(msg, headers) == WHOLE


def test_a_text_that_belongs_to_another_field_is_rendered():
    msg = message()
    assert msg.outgoing([(0, canonical(msg.fields[1]))]) == [b"Subject: odd   spacing \r\n"]


def test_removed_doubled_and_in_another_order():
    msg = message()
    headers = unchanged(msg)
    assert plain(msg, [headers[6], headers[0], headers[0]]) == (
        b"X-8-bit: \xff\x80\xfc\r\nFrom:<a@example.org>\r\nFrom:<a@example.org>\r\n\r\ntext\r\n.dot\r\n")


def test_all_removed():
    assert plain(message(), []) == b"\r\ntext\r\n.dot\r\n"


def test_a_place_that_never_was_is_a_new_header():
    msg = message()
    assert msg.outgoing([(7, b"A: b"), (-5, b"C: d"), (10 ** 9, "E: f")]) == [b"A: b\r\n", b"C: d\r\n", b"E: f\r\n"]


# The separator

@pytest.mark.parametrize(("headers", "expected"), [
    (None, b"A: b\r\n"), ([(0, b"A: b")], b"A: b\r\n"), ([(-1, b"X: y"), (0, b"A: b")], b"X: y\r\nA: b\r\n"),
    ([(0, b"A: b"), (-1, b"X: y")], b"A: b\r\nX: y\r\n"), ([(0, b"A: c")], b"A: c\r\n"), ([], b""),
])
def test_without_a_separator_there_is_none_after_either(headers, expected):
    assert plain(message(b"A: b\r\n", separator=False, body=b""), headers) == expected


def test_a_separator_without_a_body_stays():
    assert plain(message(b"A: b\r\n", body=b"")) == b"A: b\r\n\r\n"
    assert plain(message(b"", body=b"")) == b"\r\n"


def test_a_header_added_to_nothing_at_all():
    msg = message(b"", separator=False, body=b"")
    assert plain(msg) == b""
    assert plain(msg, [(-1, b"X: y")]) == b"X: y\r\n"


def test_a_body_made_for_a_message_without_a_separator_is_kept_apart():
    msg = message(b"A: b\r\n", separator=False, body=b"")
    assert plain(msg.with_body("Not: a header")) == b"A: b\r\n\r\nNot: a header\r\n"
    assert plain(msg.with_body("")) == b"A: b\r\n"


# Bodies of a policy

@pytest.mark.parametrize(("body", "expected"), [
    (None, b""), (b"", b""), ("", b""), ("x", b"x\r\n"), (".\n..", b".\r\n..\r\n"), (b"\xff\r", b"\xff\r\n"),
])
def test_a_body_of_a_policy(body, expected):
    msg = message()
    assert plain(msg.with_body(body), unchanged(msg)) == SECTION + b"\r\n" + expected
    assert plain(msg) == WHOLE


def test_a_message_that_is_all_of_a_policy():
    made = Message([], True, "one\n.\ntwo")
    assert plain(made, [(-1, "Subject: x"), (-1, "To: y")]) == b"Subject: x\r\nTo: y\r\n\r\none\r\n.\r\ntwo\r\n"


# Headers of a policy, safely (D9)

@pytest.mark.parametrize(("text", "expected"), [
    ("X: y", b"X: y\r\n"), ("X:y", b"X: y\r\n"), ("X:  \t y ", b"X: y \r\n"), ("X : y", b"X: y\r\n"),
    ("X\t:y", b"X: y\r\n"),
    ("X:", b"X: \r\n"), ("X: y\r\n", b"X: y\r\n"), ("X: y\r\n z", b"X: y\r\n z\r\n"), ("X: y\nz", b"X: y\r\n\tz\r\n"),
    ("X: y\rInjected: z", b"X: y\r\n\tInjected: z\r\n"), ("X: y\r\n\r\nbody", b"X: y\r\n\tbody\r\n"),
    ("X: y\n.\nz", b"X: y\r\n\t.\r\n\tz\r\n"), ("X: y\r\n \r\n\t\r\n z", b"X: y\r\n z\r\n"),
    ("X: a:b:c", b"X: a:b:c\r\n"), (".X: y", b".X: y\r\n"), ("X: \udcff\u00fc", b"X: \xff\xc3\xbc\r\n"),
    ("X:\r\n\ty", b"X: \r\n\ty\r\n"), (b"X: \x80y", b"X: \x80y\r\n"),
])
def test_a_header_of_a_policy_is_one_field(text, expected):
    msg = message(b"", separator=False, body=b"")
    assert plain(msg, [(-1, text)]) == expected
    assert len(split_header(expected)) == 1


@pytest.mark.parametrize(("text", "name"), [
    ("no colon", b"no colon"), ("", b""), (": x", b""), ("a b: c", b"a b"), ("X\r\nY: z", b"X\r\nY"),
    ("X\0: y", b"X\0"),
    ("X: a\0b", b"X"), ("Gr\u00fc\u00dfe: x", "Gr\u00fc\u00dfe".encode()), (b"\xff: x", b"\xff"), ("\r\n: x", b"\r\n"),
    (" X: y", b" X"),
    ("x" * 500, b"x" * 78),
])
def test_a_header_that_is_refused(text, name):
    msg = message()
    for use in (msg.wire_chunks, msg.plain_chunks, msg.plain_size, msg.outgoing):
        with pytest.raises(HeaderRefused) as caught:
            use([*unchanged(msg), (-1, text)])
        assert caught.value.name == name
        assert isinstance(caught.value, MailfilterError)
        assert all(" " <= char <= "~" for char in str(caught.value))


def test_a_line_that_is_no_field_may_stay_or_go_and_not_change():
    msg = message()
    headers = unchanged(msg)
    assert headers[2] == (2, b": not a field")
    headers[2] = (2, b": not a field at all")
    with pytest.raises(HeaderRefused):
        msg.wire_chunks(headers)
    del headers[2]
    assert plain(msg, headers) == WHOLE.replace(b"not a field\r\n", b"")


def test_what_is_no_text_is_a_mistake():
    with pytest.raises(TypeError):
        message().outgoing([(-1, 5)])


@given(st.text(max_size=60) | st.text(alphabet="X:\r\n \t\0.y", max_size=30), st.integers(-1, 8))
def test_any_text_is_one_field_or_refused(text, index):
    msg = message()
    try:
        lines = msg.outgoing([(index, text)])
    except HeaderRefused:
        return
    [line] = lines
    assert line.endswith(b"\r\n") and not line.startswith((b" ", b"\t"))
    bare = line.replace(b"\r\n", b"")
    assert b"\r" not in bare and b"\n" not in bare and b"\0" not in bare
    assert len(split_header(line)) == 1 and b"\r\n\r\n" not in line


# Chunks

def test_a_small_message_is_one_chunk():
    assert len(list(message().wire_chunks())) == len(list(message().plain_chunks())) == 1


def test_a_big_message_is_not_joined():
    body = b"x" * JOIN_BYTES + b"\r\n"
    msg = message(body=body)
    head, chunk = msg.wire_chunks()
    assert head == stuff(SECTION) + b"\r\n"
    assert chunk is next(msg.body.wire_chunks())
    assert plain(msg) == SECTION + b"\r\n" + body


def test_a_body_in_a_file():
    msg = message(memory_bytes=1)
    assert not msg.body.in_memory
    assert plain(msg) == WHOLE


def test_closing():
    msg = message()
    chunks = msg.wire_chunks()
    msg.close()
    assert b"".join(chunks) == stuff(WHOLE)
    with pytest.raises(ValueError):
        msg.wire_chunks()
