"""`python -m bench.parse`: the compiled core alone, without sockets and without a policy.

Prints nanoseconds per command line, per header field and per reply line, and GB/s of message data, best of five. For
finding what became slower; what a message costs in all is measured by `python -m bench`.
"""
import argparse
import time

from mailfilter._core.data import unstuff
from mailfilter._core.header import split_header
from mailfilter._core.reply import Reply, ReplyParser
from mailfilter._core.session import Limits, Session

BEST_OF = 5
CHUNK = 65536  # what one read of a socket brings at most


def best(work, number):
    """Seconds of the fastest of several runs of `work()`, divided by `number`."""
    fastest = float("inf")
    for _ in range(BEST_OF):
        start = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest / number


def drain(session):
    """Answer every event with its default reply; data is asked for, messages are taken."""
    while (event := session.next_event()) is not None:
        if event.asks:
            if event.name == "DATA":
                session.reply(354, [b"go on"])
            elif event.name == "MESSAGE":
                session.reply(250, [b"2.0.0 taken"])
            else:
                session.reply_default()
    session.take_output()


def greeted():
    """A session that has said EHLO, with limits that a benchmark does not reach."""
    session = Session(limits=Limits(message_bytes=1 << 34, recipients=1 << 20, errors=1 << 20))
    drain(session)
    session.feed(b"EHLO client.test\r\n")
    drain(session)
    return session


def commands(line, number=1000, before=b"", after=b"RSET\r\n"):
    """ns per command line when `number` of them arrive pipelined."""
    session = greeted()
    data = line * number

    def work():
        if before:
            session.feed(before)
            drain(session)
        session.feed(data)
        drain(session)
        session.feed(after)
        drain(session)

    return best(work, number) * 1e9


def dialogue(length, number=500):
    """µs per whole transaction in lock step, with a message of `length` octets."""
    session = greeted()
    body = b"Subject: x\r\n\r\n" + (b"x" * 74 + b"\r\n") * (length // 76) + b".\r\n"
    steps = (b"MAIL FROM:<sender@client.test>\r\n", b"RCPT TO:<user@example.test>\r\n", b"DATA\r\n", body)

    def work():
        for _ in range(number):
            for step in steps:
                session.feed(step)
                drain(session)

    return best(work, number) * 1e6


def data(line, total):
    """GB/s of `total` octets of message data made of `line` again and again, fed in chunks."""
    session = greeted()
    chunk = (line * (CHUNK // len(line) + 1))[:CHUNK]
    # Whole lines only, so that every chunk begins where a line begins.
    chunk = chunk[:chunk.rindex(b"\n") + 1] if b"\n" in chunk else chunk
    number = total // len(chunk)

    def work():
        session.feed(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        drain(session)
        session.feed(b"Subject: x\r\n\r\n")
        for _ in range(number):
            session.feed(chunk)
            while session.next_event() is not None:
                pass
        session.feed(b"\r\n.\r\n")
        drain(session)

    return 1e-9 / best(work, number * len(chunk))


def headers(number=1000):
    """ns per field of a header section."""
    section = b"Received: from a.test (b.test [192.0.2.1])\r\n\tby c.test with ESMTP id 1;\r\n" * number
    return best(lambda: split_header(section), number) * 1e9


def replies(number=1000):
    """ns per reply parsed, and per reply formatted."""
    data = b"250 2.1.0 Sender ok\r\n" * number
    parser = ReplyParser()

    def parse():
        parser.feed(data)
        while parser.next() is not None:
            pass

    def form():
        for _ in range(number):
            Reply(250, [b"2.1.0 Sender ok"]).format()

    return best(parse, number) * 1e9, best(form, number) * 1e9


def rows(quick=False):
    """All cases: (what, figure, unit)."""
    total = (1 if quick else 64) << 20
    dotted = b"..x" + b"y" * 71 + b"\r\n"
    text = b"x" * 74 + b"\r\n"
    parsed, formed = replies()
    return [
        ("NOOP", commands(b"NOOP\r\n"), "ns"),
        ("MAIL and RSET", commands(b"MAIL FROM:<sender@client.test> SIZE=1000\r\nRSET\r\n"), "ns"),
        ("RCPT", commands(b"RCPT TO:<user@example.test>\r\n", before=b"MAIL FROM:<a@client.test>\r\n"), "ns"),
        ("unknown command", commands(b"BOGUS some text\r\n"), "ns"),
        ("transaction of 4 KiB", dialogue(4096), "µs"),
        ("data, lines of 76", data(text, total), "GB/s"),
        ("data, every line dotted", data(dotted, total), "GB/s"),
        ("data, one line", data(b"x" * 1024, total), "GB/s"),
        ("data, empty lines", data(b"\r\n", total // 8), "GB/s"),
        ("un-stuffing, lines of 76", 1e-9 / best(lambda: unstuff(text * 10_000), 760_000), "GB/s"),
        ("header field of two lines", headers(), "ns"),
        ("reply parsed", parsed, "ns"),
        ("reply formatted", formed, "ns"),
    ]


def main():
    """Print one line for each case."""
    parser = argparse.ArgumentParser(prog="python -m bench.parse", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="see whether everything works")
    for name, value, unit in rows(parser.parse_args().quick):
        print(f"{name:28}{value:10,.2f} {unit}" if unit == "GB/s" else f"{name:28}{value:10,.0f} {unit}")


if __name__ == "__main__":
    main()
