"""net/deadlines.py, foreign.py, tarpit.py, endings.py: what a session may take, without a session."""
import pytest

from mailfilter import config
from mailfilter.net import foreign
from mailfilter.net.deadlines import Deadlines
from mailfilter.net.endings import ENDINGS, ending
from mailfilter.net.tarpit import Tarpit

TIMEOUTS = config.Timeouts().replaced({"command": 10, "data_block": 5, "transaction": 60, "session": 100}, "test")
LIMITS = config.Limits().replaced({"data_rate": 100}, "test")


def look(deadlines, now, *, transaction=False, message=False, received=0, limits=LIMITS):
    return deadlines.look(now, limits, TIMEOUTS, transaction, message, received)


def test_a_command_must_come_in_time():
    deadlines = Deadlines(0.0)
    assert look(deadlines, 4.0) == (None, 6.0)
    deadlines.progress = 4.0
    assert look(deadlines, 10.0) == (None, 4.0)
    assert look(deadlines, 14.0) == ("command", 0.0)


def test_a_message_must_go_on_and_be_fast_enough():
    deadlines = Deadlines(0.0)
    deadlines.transaction = 1.0
    deadlines.begin_message(2.0, received=1000)
    deadlines.progress = 2.0
    assert look(deadlines, 3.0, transaction=True, message=True, received=1000) == (None, 4.0)
    assert look(deadlines, 7.0, transaction=True, message=True, received=1000)[0] == "data_block"
    # A drop now and then is not enough; what came, at the least rate, lasts until then.
    deadlines.progress = 11.5
    assert look(deadlines, 11.9, transaction=True, message=True, received=2000) == (None, pytest.approx(0.1))
    assert look(deadlines, 12.0, transaction=True, message=True, received=2000)[0] == "data_rate"
    assert look(deadlines, 12.0, transaction=True, message=True, received=2100)[0] is None
    off = LIMITS.replaced({"data_rate": 0}, "test")
    assert look(deadlines, 12.0, transaction=True, message=True, received=1001, limits=off)[0] is None


def test_a_transaction_and_a_session_must_end():
    deadlines = Deadlines(0.0)
    deadlines.transaction = 30.0
    deadlines.progress = 89.0
    assert look(deadlines, 89.5, transaction=True) == (None, 0.5)
    assert look(deadlines, 90.0, transaction=True)[0] == "transaction"
    assert look(deadlines, 90.0) == (None, 9.0)
    deadlines.progress = 99.0
    assert look(deadlines, 100.0)[0] == "session"


def test_everything_that_ends_a_session_has_its_reply():
    for name in ENDINGS:
        code, text = ending(name, TIMEOUTS)
        assert code in (421, 521, 554) and b"%" not in text
    assert ending("command", TIMEOUTS) == (421, b"4.4.2 No command came for 10 seconds, closing")
    assert set(ENDINGS) <= {*vars(LIMITS), *vars(TIMEOUTS)}


@pytest.mark.parametrize("data, name", [
    (b"\x16\x03\x01\x02\x00\x01", "tls"), (b"\x16", "tls"), (b"\x03\x00\x00\x13", "rdp"), (b"\x05\x01\x00", "socks"),
    (b"\x04\x01", "socks"), (b"\0", "binary"), (b"\xff\xfb", "binary"), (b"\x80", "binary"),
    (b"EHLO x\r\n", None), (b"\r\n", None), (b"\n", None), (b" x", None), (b"\tx", None), (b"GET / HTTP/1.1\r\n", None)])
def test_openings_that_are_no_text_are_recognised(data, name):
    assert foreign.opening_of(data) == name


@pytest.mark.parametrize("line, name", [
    (b"GET / HTTP/1.1", "http"), (b"get /x", "http"), (b"POST /x?y HTTP/1.0", "http"), (b"OPTIONS * HTTP/1.1", "http"),
    (b"CONNECT mx.example.org:25 HTTP/1.1", "http"), (b"PRI * HTTP/2.0", "http"), (b"HEAD http://x/ HTTP/1.1", "http"),
    (b"Host: example.org", "http"), (b"user-agent: x", "http"), (b"Content-Length: 3", "http"),
    (b"OPTIONS sip:nm SIP/2.0", "sip"), (b"DESCRIBE rtsp://x RTSP/1.0", "sip"), (b"SSH-2.0-OpenSSH_9", "ssh"),
    (b"GETX /", None), (b"GET", None), (b"PUT it there", None), (b"XADR x", None), (b"SSHX", None), (b"AUTH PLAIN x", None),
    (b"XCLIENT ADDR=1.2.3.4", None), (b"", None), (b"EHLO http://x", None), (b"TRACE", None)])
def test_commands_of_other_protocols_are_recognised(line, name):
    assert foreign.command_of(line) == name


def test_a_tarpit_has_so_many_places():
    tarpit = Tarpit(2)
    assert [tarpit.enter() for _ in range(3)] == [True, True, False]
    assert (tarpit.waiting, tarpit.turned_away) == (2, 1)
    tarpit.leave()
    assert tarpit.enter() and not Tarpit(0).enter()
