"""Dovecot's LMTP server as next hop of `proxy.js` (RFC 2033), with real mail servers in front."""
import pytest
from interop.test_servers import SERVERS, assert_the_same, hand_over, server
from messages.varied import varied
from peers import dovecot, postfix
from peers.dovecot import Dovecot
from peers.postfix import without_trace
from peers.sender import Sender

pytestmark = pytest.mark.skipif(dovecot.missing() is not None, reason=str(dovecot.missing()))

MESSAGE = varied(1, nul=False)


@pytest.fixture(scope="module")
def lmtp():
    with Dovecot(users=["user", "second"], full=["full"]) as lmtp:
        yield lmtp


@pytest.fixture(scope="module")
def proxy(lmtp, serve_module):
    return serve_module("proxy", settings={"nextHop": f"127.0.0.1:{lmtp.port}", "nextHopLmtp": "true"},
                        options=["--hostname", "proxy.test"])


def arrived(lmtp, kind, user="user"):
    """(trace fields, rest) of a user's messages of this kind."""
    return [pair for pair in map(without_trace, lmtp.delivered(user)) if b"X-Kind: " + kind + b"\r\n" in pair[1]]


@pytest.mark.parametrize("name", SERVERS)
def test_every_message_reaches_its_mailbox_once_and_unchanged(name, proxy, lmtp):
    kind = name.encode()
    messages = {number: varied(number, nul=False, kind=kind) for number in range(10)}
    with server(name, relay=proxy.port) as sender:
        hand_over(sender.port, messages)
        sender.wait_until_empty()
    assert_the_same(arrived(lmtp, kind), messages)
    for fields, _ in arrived(lmtp, kind):
        assert any(b"by mailbox.test with LMTP" in field for field in fields)
        assert any(b"by proxy.test (Mailfilter)" in field for field in fields)


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_two_recipients_get_one_each(name, proxy, lmtp):
    """One reply to a message cannot speak for two: the second comes in a transaction of its own, by the sender itself."""
    kind = b"two-" + name.encode()
    with server(name, relay=proxy.port) as sender:
        with Sender(sender.port) as client:
            client.hello()
            client.deliver(varied(1, nul=False, kind=kind), recipients=[b"<user@example.test>", b"<second@example.test>"])
        sender.wait_until_empty()
    assert len(arrived(lmtp, kind)) == len(arrived(lmtp, kind, "second")) == 1


def test_each_recipient_hears_its_own(proxy, lmtp):
    """LMTP's reply for each recipient reaches a sender that asks for that by PRDR."""
    kind = b"each"
    with server("exim", relay=proxy.port, prdr=True) as sender:
        with Sender(sender.port) as client:
            client.hello()
            client.deliver(varied(1, nul=False, kind=kind), recipients=[b"<user@example.test>", b"<full@example.test>"])
        postfix.wait_until(lambda: "Quota exceeded" in sender.log() and "Completed" in sender.log(), "both outcomes")
        log = sender.log()
    assert " => user@example.test " in log and " ** full@example.test " in log and " PRDR" in log, log
    assert len(arrived(lmtp, kind)) == 1 and arrived(lmtp, kind, "full") == []


def test_what_a_mailbox_says_after_the_data_reaches_the_client(proxy, lmtp):
    with Sender(proxy.port) as client:
        client.hello()
        replies = client.transaction(MESSAGE, recipients=[b"<full@example.test>"])
        assert [reply.code for reply in replies] == [250, 250, 354, 552]
        assert "Quota exceeded" in replies[-1].text
        assert client.command(b"MAIL FROM:<sender@client.test>").code == 250
        assert client.command(b"RCPT TO:<nobody@example.test>").code == 550
        assert client.command(b"RSET").code == 250
        client.deliver(varied(2, nul=False, kind=b"after"))
    assert lmtp.delivered("full") == []
    assert len(arrived(lmtp, b"after")) == 1


def test_the_exchanger_delivers_by_lmtp(lmtp, serve):
    """`mx.js` as a small mail exchanger: its own domain only, straight into mailboxes."""
    mx = serve("mx", settings={"domains": "example.test", "nextHop": f"127.0.0.1:{lmtp.port}", "nextHopLmtp": "true"})
    with Sender(mx.port) as client:
        client.hello()
        client.deliver(varied(3, nul=False, kind=b"exchanged"))
        assert client.command(b"MAIL FROM:<sender@client.test>").code == 250
        assert client.command(b"RCPT TO:<user@elsewhere.test>").code == 550
    assert len(arrived(lmtp, b"exchanged")) == 1
