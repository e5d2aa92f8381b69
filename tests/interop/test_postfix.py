"""Real mail servers on both sides of `proxy.js`: 500 messages, none lost, none doubled, not a byte changed."""
import pytest
from messages.varied import number_of, varied
from peers import postfix
from peers.postfix import Postfix, without_trace
from peers.sender import Sender
from peers.smtp_sink import SmtpSink

NUMBER = 500
SESSIONS = 10

pytestmark = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))


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
    assert sorted(map(number_of, contents)) == list(MESSAGES), "lost or doubled"
    for content in contents:
        assert content == MESSAGES[number_of(content)]


def test_postfix_to_smtp_sink(serve):
    with SmtpSink(dump=True) as sink:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{sink.port}"})
        with Postfix(relay=proxy.port) as sender:
            send_all(sender.port)
            sender.wait_until_empty()
            assert "status=deferred" not in sender.log()
            assert "status=bounced" not in sender.log()
        dumped = sink.wait_for_messages(NUMBER)
    envelopes = {tuple(path.split(b" ")[0] for path in (m.sender, *m.recipients)) for m in dumped}
    assert envelopes == {(b"<sender@client.test>", b"<user@example.test>")}
    arrived = [m.content for m in dumped]
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
