"""Real mail servers on both sides of `proxy.js`: 500 messages, none lost, none doubled, not a byte changed."""
import random

import pytest
from peers import postfix
from peers.postfix import Postfix, without_trace
from peers.sender import Sender
from peers.smtp_sink import SmtpSink

NUMBER = 500
SESSIONS = 10

pytestmark = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))


def varied(number):
    """A message for each number: sizes from nothing to 300 KiB, 8-bit, long lines, dots, folded and odd fields.

    Nothing that Postfix itself would change (it makes `Name :` `Name:` and adds a missing blank line).
    """
    rng = random.Random(number)
    fields = [b"X-Number: %d" % number, b"Subject: " + rng.choice([
        b"plain", b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", b"raw \x93\xfa\x96{\x8c\xea", b"",
        b"folded\r\n\there\r\n  and here", b"  leading and trailing  "])]
    fields += [b"X-Field-%d:%s%s" % (i, rng.choice([b"", b" ", b"\t "]), b"v" * rng.randrange(200))
               for i in range(rng.randrange(10))]
    if number % 50 == 0:
        fields.append(b"X-Big: " + b"\r\n ".join(b"w" * 70 for _ in range(100)))
    lines = [rng.choice([
        b"", b".", b"..", b".dot", b"From here", b"plain text " * rng.randrange(1, 8), b"\x80\x81\xff gr\xfc\xdfe",
        b"trailing \t ", b"tab\there", b"x" * rng.randrange(900, 1100), b"\0nul\0",
        b"y" * (2500 if number % 10 == 0 else 5),
    ]) for _ in range(rng.randrange(40))]
    if number % 100 == 7:
        lines += [b"z" * 76] * 4000
    if number % 9 == 0:
        lines = []
    return b"\r\n".join([*fields, b"", *lines]) + b"\r\n"


MESSAGES = {number: varied(number) for number in range(NUMBER)}


def send_all(port):
    """Hand all messages to a Postfix over a few parallel connections."""
    senders = [Sender(port) for _ in range(SESSIONS)]
    try:
        for sender in senders:
            sender.hello()
        for number, content in MESSAGES.items():
            senders[number % SESSIONS].deliver(content)
    finally:
        for sender in senders:
            sender.close()


def assert_all_there(arrived):
    """Each message once, and the same but for trace fields."""
    contents = [without_trace(content)[1] for content in arrived]
    numbers = sorted(int(content.split(b"\r\n")[0].removeprefix(b"X-Number: ")) for content in contents)
    assert numbers == list(MESSAGES), "lost or doubled"
    for content in contents:
        number = int(content.split(b"\r\n")[0].removeprefix(b"X-Number: "))
        assert content == MESSAGES[number]


def test_postfix_to_smtp_sink(serve):
    with SmtpSink(dump=True) as sink:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{sink.port}"})
        with Postfix(relay=proxy.port) as sender:
            send_all(sender.port)
            sender.wait_until_empty()
            assert "status=deferred" not in sender.log()
            assert "status=bounced" not in sender.log()
        arrived = [m.content for m in sink.wait_for_messages(NUMBER)]
    assert_all_there(arrived)
    for content in arrived:
        names = [field.split(b":")[0] for field in without_trace(content)[0]]
        assert names == [b"Received", b"Received"]  # ours, and the sending Postfix's


def test_postfix_to_postfix(serve):
    with Postfix() as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}"})
        with Postfix(relay=proxy.port) as sender:
            send_all(sender.port)
            sender.inject(b"Subject: by the sendmail command\r\n\r\nhello\r\n")
            sender.wait_until_empty()
            destination.wait_until_empty()
            assert "status=deferred" not in sender.log()
        arrived = destination.delivered()
    local = [content for content in arrived if b"by the sendmail command" in content]
    assert len(local) == 1
    assert_all_there([content for content in arrived if content not in local])


def test_postfix_retries_until_the_next_hop_takes_it(serve, tmp_path):
    """A next hop that is down at first: every message is deferred, none is lost, none comes twice."""
    with SmtpSink(dump=True) as sink:
        port = sink.port
    proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{port}"})
    with Postfix(relay=proxy.port) as sender:
        with Sender(sender.port) as client:
            client.hello()
            for number in range(20):
                client.deliver(MESSAGES[number])
        postfix.wait_until(lambda: sender.log().count("status=deferred") >= 20, "20 deferrals", 30)
        with SmtpSink(dump=True, port=port) as sink:
            sender.wait_until_empty()
            arrived = [without_trace(m.content)[1] for m in sink.wait_for_messages(20)]
    assert sorted(arrived) == sorted(MESSAGES[number] for number in range(20))
