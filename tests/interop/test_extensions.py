"""DSN parameters and internationalised addresses from real servers, through `proxy.js`, to real servers."""
import pytest
from interop.test_servers import SERVERS, server
from messages.varied import varied
from peers import exim, postfix
from peers.next_hop import DEFAULTS, NextHop, Say
from peers.postfix import Postfix, without_trace
from peers.sender import Sender

pytestmark = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))

MESSAGE = varied(1, nul=False)
MAIL = b"<sender@client.test> RET=HDRS ENVID=QQ314159+2B"
RCPT = b"<user@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;original+2Buser@example.test"


def parameters(path):
    """The parameters of a MAIL or RCPT as a set, keywords in capitals."""
    return {keyword.upper() + equals + value for keyword, equals, value in
            (word.partition(b"=") for word in path.split(b" ")[1:])}


@pytest.mark.parametrize("offered", [True, False], ids=["offered", "not offered"])
@pytest.mark.parametrize("name", SERVERS)
def test_delivery_status_notifications(name, offered, serve):
    """What the sender asks for (RFC 3461) arrives word for word; where the next hop does not offer it, nothing of it."""
    hello = DEFAULTS["ehlo"].replace(b"250-SIZE", b"250-DSN\r\n250-SIZE") if offered else DEFAULTS["ehlo"]
    with NextHop({"ehlo": [Say(hello)] * 20}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address})
        with server(name, relay=proxy.port) as sender:
            with Sender(sender.port) as client:
                client.hello()
                client.deliver(MESSAGE, sender=MAIL, recipients=[RCPT])
            sender.wait_until_empty()
        hop.wait_for(lambda hop: hop.accepted, "the message")
        # A sender that asked for a notification of success makes one when nobody behind it will.
        transaction = next(t for t in hop.accepted if t.sender.startswith(b"<sender@"))
        assert hop.violations == []
    assert without_trace(transaction.content)[1] == MESSAGE
    asked = parameters(transaction.sender) | parameters(transaction.recipients[0])
    wanted = {b"RET=HDRS", b"ENVID=QQ314159+2B", b"NOTIFY=SUCCESS,FAILURE", b"ORCPT=rfc822;original+2Buser@example.test"}
    if offered:
        assert wanted <= asked
    else:
        assert not {keyword.split(b"=")[0] for keyword in asked} & {b"RET", b"ENVID", b"NOTIFY", b"ORCPT"}


UTF8_MESSAGE = MESSAGE.replace(b"To: user@example.test", "To: üser@example.test".encode())
UTF8_MAIL, UTF8_RCPT = "<sönder@client.test> SMTPUTF8".encode(), "<üser@example.test>".encode()


def hand_over_utf8(port):
    with Sender(port) as client:
        assert b"SMTPUTF8" in client.hello().lines
        client.deliver(UTF8_MESSAGE, sender=UTF8_MAIL, recipients=[UTF8_RCPT])


@pytest.mark.parametrize("behind", ["postfix", "exim"])
@pytest.mark.parametrize("before", ["postfix", "exim"])
def test_internationalised_addresses(before, behind, serve):
    with server(behind) as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}"})
        with server(before, relay=proxy.port) as sender:
            hand_over_utf8(sender.port)
            sender.wait_until_empty()
            destination.wait_until_empty()
        [content] = destination.delivered()
    fields, content = without_trace(content)
    assert content == UTF8_MESSAGE
    assert "<sönder@client.test>".encode() in fields[0]
    assert any("üser@example.test".encode() in field for field in fields)
    assert any(b"UTF8SMTP" in field and b"Mailfilter" in field for field in fields)


@pytest.mark.parametrize("before", ["postfix", pytest.param("exim", marks=pytest.mark.skipif(
    exim.missing() is not None, reason=str(exim.missing())))])
def test_internationalised_addresses_are_not_announced_where_nobody_takes_them(before, serve):
    """The sender knows at once, and tells its own sender; nothing is lost on the way."""
    with NextHop() as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address})
        with Sender(proxy.port) as client:
            assert b"SMTPUTF8" not in client.hello().lines
        with server(before, relay=proxy.port) as sender:
            hand_over_utf8(sender.port)
            postfix.wait_until(lambda: "SMTPUTF8" in sender.log() or "utf8" in sender.log().lower(), "a bounce in the log")
        assert hop.violations == []
        assert not any(b"sender" in t.sender for t in hop.accepted)


def test_a_sender_that_only_speaks_helo(serve):
    """Nothing of ESMTP reaches it or the next hop."""
    with Postfix() as destination:
        proxy = serve("proxy", settings={"nextHop": f"127.0.0.1:{destination.port}"})
        with Postfix(relay=proxy.port, settings={"smtp_never_send_ehlo": "yes", "smtp_always_send_ehlo": "no"}) as sender:
            with Sender(sender.port) as client:
                client.hello()
                client.deliver(MESSAGE)
            sender.wait_until_empty()
            destination.wait_until_empty()
        [content] = destination.delivered()
    fields, content = without_trace(content)
    assert content == MESSAGE
    assert any(b" with SMTP id " in field for field in fields)
