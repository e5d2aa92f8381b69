"""The verb table, and command lines taken apart."""
import pytest

from mailfilter._core import command
from mailfilter._core.command import VERBS, parse_command
from mailfilter._core.reply import Reply


def test_rows_are_complete_and_in_order():
    assert [row[0] for row in VERBS] == list(range(command.CMD_COUNT))
    names = [row[1] for row in VERBS]
    assert len(set(names)) == len(names)
    assert names[-1] == b""
    # The parser compares a verb as one number of four octets; those that are longer come last.
    long = [name for name in names[:-1] if len(name) != 4]
    assert names[-1 - len(long):-1] == long
    assert all(len(name) in (4, 7, 8) and name.isupper() for name in names[:-1])


@pytest.mark.parametrize("row", VERBS, ids=lambda row: row[1].decode() or "unknown")
def test_default_replies_can_be_said(row):
    code, enhanced, text = row[4]
    assert Reply(code, [text], enhanced).format()
    # Every reply of our own carries an enhanced code, but those to HELO, EHLO and DATA (RFC 2034 §4), and those that
    # are never said.
    assert (enhanced is None) == (row[1] in (b"HELO", b"EHLO", b"DATA", b"BDAT", b"XCLIENT"))
    assert enhanced is None or enhanced[:1] == b"%d" % (code // 100)


@pytest.mark.parametrize("row", VERBS[:-1], ids=lambda row: row[1].decode())
@pytest.mark.parametrize("spell", [bytes, bytes.lower, bytes.title])
def test_verbs_in_any_case(row, spell):
    name = spell(row[1])
    for line, argument in ((name, b""), (name + b" ", b""), (b" \t" + name + b"\t x  y \t", b"x  y")):
        assert parse_command(line) == (row[0], argument)


@pytest.mark.parametrize("line", [
    b"HEL", b"HELOX", b"HELO:x", b"NOOPNOOP", b"\0\0\0\0", b"hel\xef", b"MAIL\0FROM:<a@b>", b"ABCD", b".", b"NO P"])
def test_unknown(line):
    assert parse_command(line)[0] == command.CMD_UNKNOWN


@pytest.mark.parametrize("line", [b"", b" ", b"\t \t"])
def test_empty(line):
    assert parse_command(line) == (-1, b"")


def test_arguments_keep_what_is_inside():
    assert parse_command(b"MAIL FROM:<a@b>\tSIZE=1") == (command.CMD_MAIL, b"FROM:<a@b>\tSIZE=1")
