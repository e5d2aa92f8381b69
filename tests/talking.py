"""Brings a Session into a state, by talking to it in memory."""
from mailfilter._core import fsm, session
from mailfilter._core.session import Session


def started(limits=None, **options):
    """A greeted session that has said HELO."""
    running = Session(limits, **options)
    assert running.next_event().kind == session.EV_CONNECT
    running.reply(220, [b"hello"])
    say(running, b"HELO client")
    running.take_output()
    return running


def say(running, line, code=None, end=b"\r\n"):
    """Send a line; answer what it asks with the default or this code; give the event."""
    running.feed(line + end)
    event = running.next_event()
    if event is not None and event.asks:
        if code is None:
            running.reply_default()
        else:
            running.reply(code, [b"x"])
    return event


def in_data(limits=None, **options):
    running = started(limits, **options)
    for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
        say(running, line)
    running.take_output()
    assert running.state == fsm.ST_DATA
    return running
