"""XCLIENT and XFORWARD, and replies for each recipient, over real sockets."""
import pytest
from peers.sender import Sender

POLICY = """
var count = 0;
SmtpServer.prototype.smtpInit = function () {
    this.number = ++count;
    this.born = this.remoteAddr + ' ' + this.remotePort + ' ' + this.clientname + ' ' + this.proto + ' ' + this.authenticated;
    if (this.remoteAddr === '192.0.2.66') {
        return new SmtpResponse(554, '5.7.1 Not you');
    }
    return new SmtpResponse(220, 'hello ' + this.remoteAddr);
};
SmtpServer.prototype.smtpVrfy = function () {
    return new SmtpResponse(250, [this.born, JSON.stringify(this.xclient), JSON.stringify(this.forwarded), 'n ' + this.number,
        this.receivedHeader().parts[0]]);
};
SmtpServer.prototype.smtpEhlo = function () {
    return new SmtpResponse(250, ['mx.test', 'PRDR']);
};
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        return null;
    }
    var answers = this.recipients.map(function (path) {
        var code = Number(path.mailbox.local.slice(0, 3));
        return new SmtpResponse(code, 'for ' + path.mailbox.local, path.mailbox.domain === 'close');
    });
    if (this.sender.mailbox.local === 'few') {
        answers.pop();
    }
    if (this.sender.mailbox.local === 'strangers') {
        return {code: 250, message: 'own', recipients: [250, 550, 250].map(function (code) {
            return {code: code, message: 'x'};
        })};
    }
    if (this.sender.mailbox.local === 'own') {
        return {code: 451, message: 'own', recipients: answers};
    }
    if (this.sender.mailbox.local === 'lying') {
        return {code: 250, message: 'own', recipients: answers};
    }
    return answers;
};
SmtpServer.prototype.cleanup = function () { Sys.log(Sys.LOG_NOTICE, 'cleaned up after ' + this.remoteAddr); };
"""


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(POLICY, options=["--trust", "127.0.0.1"])


@pytest.fixture
def sender(server):
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def test_offered_to_the_trusted_only(server, serve):
    with Sender(server.port) as sender:
        said = sender.hello().lines
        assert b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in said
        assert b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in said
    for options in ([], ["--trust", "192.0.2.0/24"]):
        with Sender(serve(POLICY, options=options).port) as sender:
            assert not any(line.startswith(b"X") for line in sender.hello().lines)
            assert sender.command(b"XCLIENT ADDR=192.0.2.1").code == 500
            assert "127.0.0.1" in sender.command(b"VRFY x").text


def test_the_client_is_somebody_else(server, sender):
    reply = sender.command(b"XCLIENT NAME=mx.example ADDR=192.0.2.1 PORT=1025 PROTO=ESMTP HELO=helo+2Bname LOGIN=me")
    assert (reply.code, reply.text) == (220, "hello 192.0.2.1")
    said = sender.command(b"VRFY x").lines
    assert said[:4] == [
        b"192.0.2.1 1025 helo+name ESMTP me",
        b'{"NAME":"mx.example","ADDR":"192.0.2.1","PORT":"1025","PROTO":"ESMTP","HELO":"helo+name","LOGIN":"me"}',
        b"null", b"n 1"]                    # a policy of its own, which knows nothing of before
    assert said[4] == b"from helo?name (mx.example [192.0.2.1])"
    assert "cleaned up after 127.0.0.1" in server.log
    assert sender.command(b"MAIL FROM:<a@b>").code == 503
    sender.command(b"EHLO again")
    sender.command(b"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1")
    said = sender.command(b"VRFY x").lines
    assert said[0].startswith(b"2001:db8::1 1025 ")
    assert said[4] == b"from helo?name (unknown [IPv6:2001:db8::1])"
    assert "XCLIENT name=- addr=2001:db8::1" in server.log


def test_addresses_that_are_not_known(sender):
    assert sender.command(b"XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]").text == "hello unknown"
    assert sender.command(b"VRFY x").lines[0].startswith(b"unknown 0 ")


def test_the_new_client_may_be_turned_away(sender):
    assert sender.command(b"XCLIENT ADDR=192.0.2.66").code == 554
    assert sender.command(b"EHLO x").code == 503
    assert sender.command(b"QUIT").code == 221


def test_xforward_is_told(server, sender):
    assert sender.command(b"XFORWARD NAME=x.example ADDR=192.0.2.9").code == 250
    assert sender.command(b"XFORWARD SOURCE=LOCAL").code == 250
    said = sender.command(b"VRFY x").lines
    assert said[0].startswith(b"127.0.0.1 ") and said[1] == b"null"
    assert said[2] == b'{"NAME":"x.example","ADDR":"192.0.2.9","SOURCE":"LOCAL"}'
    assert "XFORWARD name=x.example addr=192.0.2.9" in server.log


def message(sender, recipients, mail=b"<a@b>"):
    assert sender.command(b"MAIL FROM:" + mail).code == 250
    for recipient in recipients:
        assert sender.command(b"RCPT TO:<" + recipient + b"@x>").code == 250
    assert sender.command(b"DATA").code == 354
    sender.send(b"A: b\r\n\r\nx\r\n.\r\n")


def test_each_recipient_is_told_where_the_client_asks(sender):
    message(sender, [b"250a", b"550b", b"451c"], b"<a@b> PRDR")
    assert [sender.reply().raw for _ in range(5)] == [
        b"353 A reply for each recipient follows\r\n", b"250 for 250a\r\n", b"550 for 550b\r\n", b"451 for 451c\r\n",
        b"250 2.0.0 Accepted for 1 of 3 recipients\r\n"]
    message(sender, [b"550a", b"451b"], b"<own@b> PRDR")
    assert [sender.reply().code for _ in range(4)] == [353, 550, 451, 451]
    sender.command(b"RSET")


@pytest.mark.parametrize(("mail", "recipients", "reply"), [
    (b"<a@b>", [b"250a", b"250b"], b"250 for 250a\r\n"),
    (b"<a@b>", [b"250a", b"550b", b"450c"], b"550 for 550b\r\n"),
    (b"<a@b>", [b"250a", b"450b"], b"450 for 450b\r\n"),
    (b"<a@b>", [b"550a", b"450b"], b"450 for 450b\r\n"),
    (b"<a@b>", [b"551a", b"550b"], b"551 for 551a\r\n"),
    (b"<own@b>", [b"250a", b"550b"], b"451 own\r\n"),
    (b"<lying@b>", [b"250a", b"250b"], b"250 own\r\n"),
    (b"<lying@b>", [b"250a", b"550b"], b"550 for 550b\r\n"),
])
def test_one_reply_stands_for_all(sender, mail, recipients, reply):
    message(sender, recipients, mail)
    assert sender.reply().raw == reply


def test_a_wrong_number_of_answers_is_a_fault(server, sender):
    message(sender, [b"250a", b"250b"], b"<few@b> PRDR")
    assert sender.reply().code == 451
    assert "smtpData returned 1 responses for 2 recipients" in server.log


def test_an_answer_can_close(sender):
    sender.command(b"MAIL FROM:<a@b> PRDR")
    sender.command(b"RCPT TO:<250a@close>")
    sender.command(b"DATA")
    sender.send(b".\r\n")
    assert [sender.reply().code for _ in range(3)] == [353, 250, 250]
    assert sender.closed_by_server()


def test_attributes_need_not_be_utf8(server, sender):
    """What xtext stands for are octets."""
    assert sender.command(b"XFORWARD NAME=+FF+FE HELO=+C3+28").code == 250
    assert sender.command(b"XCLIENT NAME=+FF LOGIN=+FFx HELO=+C3+28").code == 220
    assert sender.command(b"EHLO x").code == 250
    assert sender.command(b"VRFY x").code // 100 == 2
    assert "internal error" not in server.log


@pytest.mark.parametrize(("mail", "code"), [(b"<strangers@b> PRDR", 550), (b"<strangers@b>", 550)])
def test_a_refusal_is_not_lost_where_a_next_hop_had_other_recipients(sender, mail, code):
    """The number of its replies is another than that of the client's recipients: 250 for some is no 250 for all."""
    message(sender, [b"250a", b"250b"], mail)
    assert sender.reply().code == code
