"""net/inbound.py: a client whose connection breaks while a handler waits, before and after the message is on its way."""
import socket

import pytest
from peers.next_hop import Mute, NextHop
from peers.sender import Sender, on_the_wire
from peers.waiting import wait_until

BODY = b"A: b\r\n\r\n" + b"text\r\n" * 10
LARGE = b"A: b\r\n\r\n" + (b"y" * 998 + b"\r\n") * 30_000
STEPS = (("mail", b"MAIL FROM:<a@b>\r\n"), ("rcpt", b"RCPT TO:<c@d>\r\n"), ("data", b"DATA\r\n"))


def reset(sender):
    """Break the connection: RST, so that the other side knows that nobody reads any more."""
    sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sender.close()


def summary(server):
    server.wait_for_log(" session client=")
    return next(line for line in server.log_lines if " session client=" in line)


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
def test_a_handler_that_waits_is_given_up_when_its_client_is_gone(serve, step):
    """Long before its time is up: the timeouts are minutes."""
    with NextHop({step: [Mute()]}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address})
        with Sender(proxy.port) as sender:
            if step != "connect":
                sender.reply()
                sender.send(b"EHLO client.test\r\n")
            if step not in ("connect", "ehlo"):
                sender.reply()
                for name, line in STEPS:
                    sender.send(line)
                    if name == step:
                        break
                    assert sender.reply().code in (250, 354)
            verb = {"connect": b"", "ehlo": b"EHLO"}.get(step, step.upper().encode())
            wait_until(lambda: hop.conversations and (not verb or hop.conversations[0].commands[-1:]
                                                      and hop.conversations[0].commands[-1].upper().startswith(verb)),
                       f"the next hop to have {step}")
            reset(sender)
        assert "accepted=0" in summary(proxy)
        wait_until(lambda: not hop.conversations[0].open, "the connection to the next hop to be closed")
        assert not hop.accepted
        with Sender(proxy.port) as sender:      # and everything goes on
            sender.hello()
            sender.deliver(BODY)
        assert len(hop.accepted) == 1 and not hop.violations


def test_a_message_on_its_way_is_not_finished_for_nobody(serve):
    with NextHop({"body": [Mute(after=1000)]}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address}, options=["--log-level", "info"])
        with Sender(proxy.port) as sender:
            sender.hello()
            for _, line in STEPS:
                sender.send(line)
                assert sender.reply().code in (250, 354)
            sender.send(on_the_wire(LARGE))
            wait_until(lambda: hop.conversations[0].transactions and len(hop.conversations[0].received) > 1000,
                       "the next hop to have a part of the message")
            reset(sender)
        assert "messages=1 accepted=0" in summary(proxy)
        lost = [line for line in proxy.log_lines if " lost " in line]
        assert len(lost) == 1 and "sender=<a@b>" in lost[0] and "the client has left" in lost[0]
    assert not hop.accepted and not any(transaction.complete for transaction in hop.conversations[0].transactions)


def test_a_message_that_the_next_hop_has_is_followed_to_its_end(serve):
    with NextHop({"dot": [Mute()]}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address}, options=["--log-level", "info"])
        with Sender(proxy.port) as sender:
            sender.hello()
            for _, line in STEPS:
                sender.send(line)
                assert sender.reply().code in (250, 354)
            sender.send(on_the_wire(BODY))
            wait_until(lambda: any(t.complete for c in hop.conversations for t in c.transactions), "the message to arrive")
            reset(sender)
        with Sender(proxy.port) as other:           # while others are served, the handler still waits for the reply
            other.hello()
            other.deliver(BODY)
            other.command(b"QUIT")
        assert "accepted=1" in summary(proxy) and hop.conversations[0].open
        hop.die()
        wait_until(lambda: sum(" session client=" in line for line in proxy.log_lines) == 2, "the end of the first session")
    refused = [line for line in proxy.log_lines if " refused " in line]
    assert len(refused) == 1 and "(the client has left)" in refused[0]


MAILDIR = """
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null)
        return null;
    var waited = new SmtpClient("127.0.0.1", Sys.setting("mutePort", 0));
    waited.connect();
    if (Sys.setting("first", "") === "deliver")
        new Maildir(Sys.setting("maildir")).deliver(headers, body);
    Sys.log(Sys.LOG_NOTICE, "waits");
    waited.readResponse();
    if (Sys.setting("first", "") !== "deliver")
        new Maildir(Sys.setting("maildir")).deliver(headers, body);
    return new SmtpResponse(250, "2.0.0 Delivered");
};
"""


@pytest.mark.parametrize("first", ["wait", "deliver"])
def test_a_maildir_gets_nothing_for_nobody(serve, tmp_path, first):
    folder = tmp_path / "Maildir"
    with NextHop({"connect": [Mute()]}) as hop:
        server = serve(MAILDIR, settings={"mutePort": hop.port, "maildir": folder, "first": first},
                       options=["--log-level", "info"])
        with Sender(server.port) as sender:
            sender.hello()
            for _, line in STEPS:
                sender.send(line)
                assert sender.reply().code in (250, 354)
            sender.send(on_the_wire(BODY))
            server.wait_for_log("waits")
            reset(sender)
        if first == "wait":
            assert "accepted=0" in summary(server)
            assert not list(folder.glob("new/*"))
        hop.die()
        assert "messages=1" in summary(server)
    assert len(list(folder.glob("new/*"))) == (first == "deliver")
    assert any(" lost " in line for line in server.log_lines) == (first == "wait")
