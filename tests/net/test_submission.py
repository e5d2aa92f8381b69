"""submission.js: AUTH passed on to a next hop, or decided by its users; who may send, and as whom."""
import base64
import subprocess

import pytest
from certificates import Authority, client_context
from peers.next_hop import DEFAULTS, Drop, NextHop, Say
from peers.sender import Sender

CLEAR = ["--auth-without-tls"]
MECHANISMS = b"PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL XOAUTH2 OAUTHBEARER"
EHLO = DEFAULTS["ehlo"].replace(b"250 8BITMIME", b"250-8BITMIME\r\n250 AUTH " + MECHANISMS)
OFFERED = b"AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER"


def b64(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def hop(*replies, ehlo=EHLO, **steps):
    """A next hop that offers AUTH and answers each of its lines with the next of these."""
    return NextHop({"ehlo": [Say(ehlo)] * 9, "other": [Say(reply + b"\r\n") for reply in replies], **steps})


def logged_in(sender, text="\0alice\0secret"):
    assert sender.command(b"AUTH PLAIN " + b64(text)).code == 235


# Each mechanism: what the client says, in turn with what the next hop answers, and who it is then.
EXCHANGES = {
    "PLAIN": ([b"AUTH PLAIN " + b64("\0alice\0secret")], [], "alice"),
    "PLAIN, asked": ([b"AUTH PLAIN", b64("\0alice\0secret")], [b""], "alice"),
    "LOGIN": ([b"AUTH LOGIN", b64("alice"), b64("secret")], [b64("Username:"), b64("Password:")], "alice"),
    "CRAM-MD5": ([b"AUTH CRAM-MD5", b64("alice " + "0" * 32)], [b64("<1.2@hop.test>")], "alice"),
    "SCRAM-SHA-256": ([b"AUTH SCRAM-SHA-256 " + b64("n,,n=al=2Cice,r=abc"), b64("c=biws,r=abcdef,p=AAAA"), b""],
                      [b64("r=abcdef,s=QSXCR+Q6sek8bf92,i=4096"), b64("v=AAAA")], "al,ice"),
    "XOAUTH2": ([b"AUTH XOAUTH2 " + b64("user=alice@x\1auth=Bearer T\1\1")], [], "alice@x"),
    "OAUTHBEARER": ([b"AUTH OAUTHBEARER " + b64("n,a=alice@x,\1auth=Bearer T\1\1")], [], "alice@x"),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_any_mechanism_is_passed_on(serve, name):
    said, challenges, who = EXCHANGES[name]
    with hop(*[b"334 " + challenge for challenge in challenges], b"235 2.7.0 Welcome") as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            assert OFFERED in sender.hello().lines
            for line, challenge in zip(said, challenges, strict=False):
                assert sender.command(line).raw == b"334 " + challenge + b"\r\n"
            assert sender.command(said[-1]).raw == b"235 2.7.0 Welcome\r\n"
            assert sender.command(b"MAIL FROM:<a@b>").code == 250
            assert behind.conversations[0].commands[1:-1] == said
        server.wait_for_log(f'identity={who}' if "," not in who else who)


def test_a_refusal_of_the_next_hop_is_told_and_may_be_tried_again(serve):
    with hop(b"535 5.7.8 Not you", b"334 ", b"501 5.7.0 As you like", b"334 ", b"535 5.7.8 No, or try https://x",
             b"235 2.7.0 At last") as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"AUTH PLAIN AGEAYg==").raw == b"535 5.7.8 Not you\r\n"
            assert sender.command(b"MAIL FROM:<a@b>").raw == b"530 5.7.0 Authentication required\r\n"
            assert sender.command(b"AUTH PLAIN").code == 334
            assert sender.command(b"*").code == 501
            assert sender.command(b"AUTH XOAUTH2 " + b64("user=a\1auth=Bearer T\1\1")).code == 334
            assert sender.command(b"").text == "5.7.8 No, or try https://x"
            logged_in(sender)
            assert behind.conversations[0].commands[2:4] == [b"AUTH PLAIN", b"*"]
            assert len(behind.conversations) == 1


def test_strangers_cannot_relay(serve):
    with hop() as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.reply()
            for hello in (b"EHLO x", b"HELO x"):
                assert sender.command(hello).code == 250
                assert sender.command(b"MAIL FROM:<a@b>").raw == b"530 5.7.0 Authentication required\r\n"
                assert sender.command(b"RCPT TO:<c@d>").code == 503
                assert sender.command(b"VRFY c@d").code == 252
        assert all(line.split()[0] in (b"EHLO", b"QUIT") for line in behind.conversations[0].commands)


def test_never_in_clear_text_unless_allowed(serve, tmp_path):
    certificate = Authority(tmp_path).make("mx.example.org")
    with hop(b"235 2.7.0 ok") as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=["--tls-certificate", certificate.both])
        with Sender(server.port) as sender:
            assert not any(line.startswith(b"AUTH") for line in sender.hello().lines)
            assert sender.command(b"AUTH PLAIN AGEAYg==").code == 538
            assert behind.conversations == []       # nobody needs it yet
            assert sender.command(b"STARTTLS").code == 220
            sender.secure(client_context(), "mx.example.org")
            assert OFFERED in sender.command(b"EHLO x").lines
            logged_in(sender)
            assert sender.command(b"MAIL FROM:<a@b>").code == 250


def test_a_server_to_which_nobody_can_log_in_says_so(serve):
    warning = "no client can log in: AUTH is offered under TLS only"
    assert warning in serve("submission", settings={"nextHop": "127.0.0.1:1"}).log
    assert warning not in serve("submission", settings={"nextHop": "127.0.0.1:1"}, options=CLEAR).log


def test_passwords_do_not_go_on_in_clear_text_either(serve):
    """The next hop is not this machine for the policy when it has another name."""
    with hop() as behind:
        server = serve("submission", settings={"nextHop": f"0.0.0.0:{behind.port}"}, options=CLEAR)
        with Sender(server.port) as sender:
            assert b"AUTH CRAM-MD5 SCRAM-SHA-256" in sender.hello().lines
            assert sender.command(b"AUTH PLAIN AGEAYg==").code == 504
        server = serve("submission", settings={"nextHop": f"0.0.0.0:{behind.port}", "nextHopClear": "true"}, options=CLEAR)
        with Sender(server.port) as sender:
            assert OFFERED in sender.hello().lines


def test_tls_after_auth_makes_the_client_a_stranger_behind_too(serve, tmp_path):
    certificate = Authority(tmp_path).make("mx.example.org")
    with hop(b"235 2.7.0 ok", b"235 2.7.0 again") as behind:
        server = serve("submission", settings={"nextHop": behind.address},
                       options=[*CLEAR, "--tls-certificate", certificate.both])
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender)
            assert sender.command(b"STARTTLS").code == 220
            sender.secure(client_context(), "mx.example.org")
            sender.command(b"EHLO x")
            assert sender.command(b"MAIL FROM:<a@b>").code == 530
            assert sender.command(b"AUTH PLAIN " + b64("\0bob\0secret")).text == "2.7.0 again"
        assert len(behind.conversations) == 2


@pytest.mark.parametrize("odd", [Drop(), Say(b"nonsense\r\n"), Say(b"334 no base64!\r\n"), Say(b"354 go\r\n"),
                                 Say(b"334-AAAA\r\n334 AAAA\r\n")],
                         ids=["drop", "nonsense", "no base64", "354", "two lines"])
def test_a_next_hop_that_does_not_keep_to_it(serve, odd):
    with hop(other=[odd]) as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"AUTH PLAIN AGEAYg==").code == 454
            assert sender.command(b"MAIL FROM:<a@b>").code == 530
            assert sender.command(b"AUTH PLAIN AGEAYg==").raw == (
                b"421 4.4.2 The connection to the mail server behind was lost\r\n")
            assert sender.closed_by_server()


def test_a_next_hop_that_leaves_after_auth(serve):
    with hop(b"235 2.7.0 ok", mail=[Drop()]) as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender)
            assert sender.command(b"MAIL FROM:<a@b>").code == 451
            assert sender.command(b"EHLO x").code == 421        # nobody can log in for the client
            assert sender.closed_by_server()
        assert len(behind.conversations) == 1


def test_a_next_hop_that_refuses(serve):
    with NextHop({"connect": [Say(b"554 go away\r\n")]}) as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.reply()
            assert sender.command(b"EHLO x").raw == b"421 4.4.1 The mail server behind refused: 554\r\n"
            assert sender.closed_by_server()


def test_a_whole_message(serve):
    with hop(b"235 2.7.0 ok") as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender)
            assert sender.command(b"MAIL FROM:<a@b>").code == 250
            assert sender.command(b"RCPT TO:<c@d>").code == 250
            assert sender.command(b"DATA").code == 354
            sender.send(b"Subject: x\r\n\r\n..dot\r\n.\r\n")
            assert sender.reply().raw == DEFAULTS["dot"]
            assert sender.command(b"QUIT").code == 221
        [transaction] = behind.conversations[0].transactions
        assert transaction.content.endswith(b"Subject: x\r\n\r\n.dot\r\n") and b" with ESMTPA id " in transaction.content
        assert transaction.content.startswith(b"Received: from client.test")


# Lies about the name: what the next hop would not have looked at does not count.
@pytest.mark.parametrize(("mechanism", "said", "asks"), [
    (b"LOGIN", [b"LOGIN " + b64("boss@x"), b64("alice"), b64("secret")], 2),
    (b"PLAIN", [b"PLAIN " + b64("\0boss@x\0x"), b64("\0alice\0secret")], 1),
    (b"CRAM-MD5", [b"CRAM-MD5 " + b64("boss@x " + "0" * 32), b64("alice " + "0" * 32)], 1),
    (b"SCRAM-SHA-256", [b"SCRAM-SHA-256 " + b64("n,,n=boss@x,r=1"), b64("n,,n=alice,r=2"), b64("c=biws,r=2,p=A")], 2)],
    ids=["LOGIN", "PLAIN", "CRAM-MD5", "SCRAM"])
def test_an_initial_response_that_the_next_hop_ignored_names_nobody(serve, mechanism, said, asks):
    with hop(*[b"334 AAAA"] * asks, b"235 2.7.0 ok") as behind:
        server = serve("submission", settings={"nextHop": behind.address, "senders": "own"}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            for line in [b"AUTH " + said[0], *said[1:-1]]:
                assert sender.command(line).code == 334
            assert sender.command(said[-1]).code == 235
            assert sender.command(b"MAIL FROM:<boss@x>").code == 553
        server.wait_for_log("identity=unknown")


@pytest.mark.parametrize(("senders", "may", "may_not"), [
    ("any", ["a@b", "", "alice@x.test"], []),
    ("own", ["alice@x.test", "ALICE@X.TEST", ""], ["bob@x.test", "alice@y.test", "postmaster"]),
    ("alice@x.test:info@x.test,*@Y.test\n *:shared@x.test\nbob:alice@x.test",
     ["info@x.test", "any@y.test", "shared@x.test", "", "@route.test:INFO@x.test"],
     ["alice@x.test", "bob@x.test", "a@sub.y.test", "x@y.test.evil", "__proto__", '"*"@x.test'])])
def test_as_whom_a_user_may_send(serve, senders, may, may_not):
    with hop(b"235 2.7.0 ok") as behind:
        server = serve("submission", settings={"nextHop": behind.address, "senders": senders}, options=CLEAR)
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender, "\0Alice@x.test\0secret")
            for address in may:
                assert sender.command(b"MAIL FROM:<" + address.encode() + b">").code == 250, address
                assert sender.command(b"RSET").code == 250
            for address in may_not:
                path = address.encode() if "@" in address else address.encode() + b"@x"
                assert sender.command(b"MAIL FROM:<" + path + b">").raw == b"553 5.7.1 You may not send as that address\r\n"


@pytest.fixture(scope="module")
def users_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users"
    hashes = [subprocess.run(["openssl", "passwd", "-6", word], capture_output=True, text=True, check=True).stdout.strip()
              for word in ("secret", "pass w\u00f6rd")]
    path.write_text(f"alice:{hashes[0]}\n\nBob@x.test:{hashes[1]}\n")
    return path


def test_users_of_a_file(serve, users_file):
    with NextHop() as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=[*CLEAR, "--set-file", f"users={users_file}"])
        with Sender(server.port) as sender:
            assert b"AUTH PLAIN LOGIN" in sender.hello().lines
            for said in ("\0alice\0wrong", "\0alice\0secret\0", "\0mallory\0secret", "bob\0alice\0secret", "\0__proto__\0secret",
                         "\0\0", "\0alice\0", "\0alice\0" + "s" * 600):
                reply = sender.command(b"AUTH PLAIN " + b64(said))
                assert reply.raw == b"535 5.7.8 Authentication failed\r\n", said
                assert sender.command(b"MAIL FROM:<a@b>").code == 530
            logged_in(sender)
            assert sender.command(b"MAIL FROM:<a@b>").code == 250
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"AUTH LOGIN " + b64("bob@X.test")).code == 334
            assert sender.command(b64("pass w\u00f6rd")).code == 235
        server.wait_for_log("identity=bob@x.test")
        assert not any(line.startswith(b"AUTH") for line in behind.conversations[0].commands)


def test_a_password_with_nul_behind_it_is_wrong(serve, users_file):
    with NextHop() as behind:
        server = serve("submission", settings={"nextHop": behind.address}, options=[*CLEAR, "--set-file", f"users={users_file}"])
        with Sender(server.port) as sender:
            sender.hello()
            sender.command(b"AUTH LOGIN " + b64("alice"))
            assert sender.command(b64("secret\0x")).code == 535


def test_no_users_means_nobody(serve, tmp_path):
    (tmp_path / "users").write_text("\n")
    with hop() as behind:
        server = serve("submission", settings={"nextHop": behind.address},
                       options=[*CLEAR, "--set-file", f"users={tmp_path / 'users'}"])
        with Sender(server.port) as sender:
            assert b"AUTH PLAIN LOGIN" in sender.hello().lines
            assert sender.command(b"AUTH PLAIN " + b64("\0alice\0secret")).code == 535


def test_users_are_read_again_by_a_reload(serve, tmp_path, users_file):
    (tmp_path / "users").write_text("nobody:$6$x$y\n")
    with NextHop() as behind:
        server = serve("submission", settings={"nextHop": behind.address},
                       options=[*CLEAR, "--set-file", f"users={tmp_path / 'users'}"])
        (tmp_path / "users").write_text(users_file.read_text())
        server.signal(1)
        server.wait_for_log("reloaded")
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender)


def test_logging_in_behind_for_the_users(serve, users_file):
    settings = {"nextHopUser": "relay", "nextHopPassword": "pw"}
    options = [*CLEAR, "--set-file", f"users={users_file}"]
    ehlo = DEFAULTS["ehlo"].replace(b"250 8BITMIME", b"250-8BITMIME\r\n250 AUTH LOGIN PLAIN")
    with hop(b"235 2.7.0 ok", b"235 2.7.0 ok", ehlo=ehlo, mail=[Drop()]) as behind:
        server = serve("submission", settings={"nextHop": behind.address, **settings}, options=options)
        with Sender(server.port) as sender:
            sender.hello()
            logged_in(sender)
            assert behind.conversations[0].commands[1] == b"AUTH PLAIN " + b64("\0relay\0pw")
            assert sender.command(b"MAIL FROM:<a@b>").code == 451
            assert sender.command(b"MAIL FROM:<a@b>").code == 250       # on a new connection
    with hop(b"535 5.7.8 no", ehlo=ehlo) as behind:
        server = serve("submission", settings={"nextHop": behind.address, **settings}, options=options)
        with Sender(server.port) as sender:
            sender.reply()
            assert sender.command(b"EHLO x").code == 421
