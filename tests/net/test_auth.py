"""AUTH over real sockets: a policy decides, asks back, fails, waits too long; nothing of it is in the log."""
import base64

import pytest
from certificates import Authority, client_context
from peers.sender import Sender
from peers.waiting import wait_until

POLICY = """
SmtpServer.authMechanisms = ['PLAIN', 'LOGIN', 'X-TWICE', 'X-THROW', 'X-3XX', 'X-BAD', 'SCRAM-SHA-256', 'XOAUTH2'];
SmtpServer.debugProtocol = true;
SmtpServer.prototype.smtpAuth = function (mechanism, initialResponse) {
    var said, first, second;
    if (mechanism === 'X-TWICE') {
        first = this.challenge(Sys.toBase64('one'));
        second = this.challenge(Sys.toBase64('two'));
        Sys.log(Sys.LOG_NOTICE, 'heard ' + (first === '*') + (second === '*'));
        if (second === '*') {
            return new SmtpResponse(235, 'this is not heard');
        }
        this.authenticated = Sys.fromBase64(first) + '+' + Sys.fromBase64(second);
        return new SmtpResponse(235, '2.7.0 Twice');
    }
    if (mechanism === 'X-THROW') {
        this.challenge('');
        throw new Error('thrown by it');
    }
    if (mechanism === 'X-3XX') {
        return new SmtpResponse(334, 'AAAA');
    }
    if (mechanism === 'X-BAD') {
        try {
            this.challenge('no base64 \\r\\n235 2.7.0 injected');
        } catch (refused) {
            return new SmtpResponse(535, '5.7.8 ' + refused.message);
        }
    }
    if (mechanism !== 'PLAIN' && mechanism !== 'LOGIN') {
        return new SmtpResponse(235, '2.7.0 Ok');
    }
    said = this.credentials(mechanism, initialResponse);
    if (said && said.password === 'secret' && said.authzid === '') {
        return new SmtpResponse(235, '2.7.0 Hello ' + said.user);
    }
    return new SmtpResponse(535, '5.7.8 No');
};
SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(this.authenticated ? 250 : 530, '5.7.0 I am ' + this.authenticated + ' ' + path.params.AUTH);
};
SmtpServer.prototype.smtpVrfy = function () {
    return new SmtpResponse(250, this.receivedHeader().toString());
};
SmtpServer.prototype.smtpNoop = function () {
    try {
        return new SmtpResponse(250, this.challenge(''));
    } catch (refused) {
        return new SmtpResponse(250, refused.message);
    }
};
"""


def b64(text):
    return base64.b64encode(text.encode("utf-8", "surrogateescape"))


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(POLICY, options=["--auth-without-tls"], limits={"errors": 50})


@pytest.fixture
def sender(server):
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def who(sender):
    """Whom the policy takes the client for."""
    return sender.command(b"MAIL FROM:<a@b>").text.split("I am ")[1].split()[0]


def test_plain_with_an_initial_response(sender):
    assert sender.command(b"AUTH PLAIN " + b64("\0alice\0secret")).text == "2.7.0 Hello alice"
    assert who(sender) == "alice"


def test_plain_without_an_initial_response(sender):
    reply = sender.command(b"auth plain")
    assert (reply.code, reply.text) == (334, "")
    assert sender.command(b64("\0alice\0secret")).code == 235


def test_an_empty_initial_response(sender):
    assert sender.command(b"AUTH PLAIN =").text == "5.7.8 No"


def test_login(sender):
    assert sender.command(b"AUTH LOGIN").text == "VXNlcm5hbWU6"
    assert sender.command(b64("al\u00e4")).text == "UGFzc3dvcmQ6"
    assert sender.command(b64("secret")).text == "2.7.0 Hello al\u00e4"
    assert sender.command(b"AUTH LOGIN").code == 503




def test_what_a_client_says_cannot_inject_a_line(sender):
    # The name goes into a reply and has a line end in it: it becomes a further line of the same reply.
    assert sender.command(b"AUTH PLAIN " + b64("\0a\r\n550 b\0secret")).raw == b"235-2.7.0 Hello a\r\n235 550 b\r\n"
    assert sender.command(b"RSET").code == 250


@pytest.mark.parametrize("said", ["", "alice", "\0alice", "\0alice\0secret\0more", "root\0alice\0secret", "\0alice\0wrong"])
def test_plain_that_is_wrong(sender, said):
    assert sender.command(b"AUTH PLAIN " + (b64(said) or b"=")).code == 535
    assert who(sender) == "null"


def test_challenges_in_the_middle_of_a_handler(sender):
    assert sender.command(b"AUTH X-TWICE").text == "b25l"
    assert sender.command(b64("x")).text == "dHdv"
    assert sender.command(b64("y")).text == "2.7.0 Twice"
    assert who(sender) == "x+y"


def test_challenges_whose_answers_were_sent_ahead(sender):
    sender.send(b"AUTH X-TWICE\r\n" + b64("x") + b"\r\n" + b64("y") + b"\r\nNOOP\r\n")
    assert [sender.reply().code for _ in range(4)] == [334, 334, 235, 250]


@pytest.mark.parametrize(("line", "text"), [(b"*", "5.7.0 Authentication cancelled"), (b"!", "5.5.2 Cannot decode base64")])
def test_the_client_gives_up(server, sender, line, text):
    sender.command(b"AUTH X-TWICE")
    sender.command(b64("x"))
    reply = sender.command(line)
    assert (reply.code, reply.text) == (501, text)
    assert who(sender) == "null"
    server.wait_for_log("heard falsetrue")


def test_a_client_that_has_given_up_is_not_asked_again(sender):
    sender.command(b"AUTH X-TWICE")
    assert sender.command(b"*").code == 501
    assert who(sender) == "null"


def test_a_fault_is_temporary(server, sender):
    sender.command(b"AUTH X-THROW")
    assert sender.command(b"").code == 454
    assert sender.command(b"AUTH X-3XX").code == 454
    server.wait_for_log("thrown by it")
    server.wait_for_log("smtpAuth returned a code 3xx")
    assert who(sender) == "null"


def test_a_challenge_is_one_line_of_base64(sender):
    reply = sender.command(b"AUTH X-BAD")
    assert reply.code == 535 and "a challenge is one line of base64" in reply.text


def test_there_are_no_challenges_elsewhere(sender):
    assert "the client has not said AUTH" in sender.command(b"NOOP").text


def test_who_the_client_is_when_the_policy_does_not_say(sender):
    sender.command(b"AUTH XOAUTH2 " + b64("user=bo,b\1auth=Bearer T\1\1"))
    assert who(sender) == "bo,b"
    assert "with ESMTPA id" in sender.command(b"VRFY x").text


def test_a_mechanism_that_tells_no_name(sender):
    sender.command(b"AUTH XOAUTH2 " + b64("nonsense"))
    assert who(sender) == "unknown"


def test_nothing_that_clients_say_is_in_the_log(server, sender):
    secret = b64("\0carol\0hunter2")
    sender.command(b"AUTH PLAIN " + secret)
    sender.send(b"AUTH X-TWICE\r\n" + secret + b"\r\n*\r\n")
    sender.reply(), sender.reply(), sender.reply()
    sender.command(b"AUTH LOGIN")
    sender.command(secret)
    sender.command(secret)
    server.wait_for_log("AUTH accepted mechanism=PLAIN client=127.0.0.1 identity=alice")
    assert "AUTH refused mechanism=PLAIN" in server.log
    assert secret.decode() not in server.log and "hunter2" not in server.log
    assert "(not shown)" in server.log


def test_clients_that_leave_in_the_middle(server):
    for _ in range(3):
        with Sender(server.port) as sender:
            session = sender.hello().text and None
            sender.command(b"AUTH X-TWICE")
        del session
    with Sender(server.port) as sender:
        sender.hello()
        sender.command(b"AUTH X-TWICE")
        sender.half_close()
        assert sender.closed_by_server()
    assert "internal error" not in server.log


def test_clients_that_do_not_answer(serve):
    server = serve(POLICY, options=["--auth-without-tls"], timeouts={"command": 0.3})
    with Sender(server.port) as sender:
        sender.hello()
        sender.command(b"AUTH X-TWICE")
        reply = sender.reply()
        assert reply.code == 421 and "No command came" in reply.text
        assert sender.closed_by_server()
    server = serve(POLICY, options=["--auth-without-tls"], timeouts={"handler": 0.3})
    with Sender(server.port) as sender:
        sender.hello()
        sender.command(b"AUTH X-TWICE")
        assert sender.reply().raw == b"421 4.4.2 Authentication took too long, closing\r\n"
        assert sender.closed_by_server()
    wait_until(lambda: " session client=" in server.log, "the summary")


def test_a_policy_without_smtp_auth_has_no_auth(serve):
    server = serve("SmtpServer.prototype.smtpMail = function () { return new SmtpResponse(250, 'ok'); };\n",
                   options=["--auth-without-tls"])
    with Sender(server.port) as sender:
        assert not any(line.startswith(b"AUTH") for line in sender.hello().lines)
        assert sender.command(b"AUTH PLAIN AGEAYg==").code == 500


def test_auth_needs_tls(serve, tmp_path):
    certificate = Authority(tmp_path).make("mx.example.org")
    server = serve(POLICY, options=["--tls-certificate", certificate.both])
    with Sender(server.port) as sender:
        said = sender.hello().lines
        assert b"STARTTLS" in said and not any(line.startswith(b"AUTH") for line in said)
        assert sender.command(b"AUTH PLAIN " + b64("\0a\0secret")).code == 538
        assert sender.command(b"STARTTLS").code == 220
        sender.secure(client_context(), "mx.example.org")
        said = sender.command(b"EHLO client.test").lines
        assert b"STARTTLS" not in said
        assert [line for line in said if line.startswith(b"AUTH")] == [
            b"AUTH PLAIN LOGIN X-TWICE X-THROW X-3XX X-BAD SCRAM-SHA-256 XOAUTH2"]
        assert sender.command(b"AUTH PLAIN " + b64("\0a\0secret")).code == 235
        assert who(sender) == "a"
        assert "with ESMTPSA id" in sender.command(b"VRFY x").text


def test_the_log_has_no_reply_that_the_client_did_not_read(server, sender):
    before = len(server.log)
    assert sender.command(b"AUTH LOGIN").code == 334
    assert sender.command(b"*").code == 501
    wait_until(lambda: "AUTH cancelled" in server.log[before:], "the line")
    line = next(line for line in server.log[before:].splitlines() if "AUTH cancelled" in line)
    assert "reply=" not in line and "mechanism=LOGIN" in line
