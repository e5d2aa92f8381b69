"""What SmtpClient and the shipped policies do with a next hop's extensions, through the whole program.

TLS in its modes, AUTH, XCLIENT, headers of the PROXY protocol, LMTP, BDAT both ways, several next hops, kept connections.
"""
import base64
import hashlib
import hmac

import pytest
from certificates import Authority
from peers.next_hop import Drop, NextHop, Say
from peers.scripted import CLOSE, DATA, TLS, WAIT, Octets, Scripted
from peers.sender import Sender

CONTENT = b"Subject: x\r\n\r\n.dot\r\nbody\r\n"
ENVELOPE = ["MAIL FROM:<sender@client.test>", b"250 ok", "RCPT TO:<user@example.test>", b"250 ok"]
MESSAGE = [*ENVELOPE, "DATA", b"354 go", DATA, b"250 2.0.0 taken"]
BYE = ["QUIT", b"221 bye"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.make("hop.test", "127.0.0.1")


@pytest.fixture
def policy(tmp_path, serve):
    """policy(text, **settings): a server whose smtpNoop evaluates what is written in `text`."""
    def start(text, **settings):
        path = tmp_path / "policy.js"
        path.write_text(text)
        return serve(path, settings=settings)
    return start


def asked(server, what=b"NOOP"):
    """The reply to one command of a session."""
    with Sender(server.port) as sender:
        sender.hello()
        reply = sender.command(what)
        sender.command(b"QUIT")
    return reply


EVALUATE = """
    void SmtpClient.prototype.open;         // all of SmtpClient is there when that is named
    SmtpServer.prototype.smtpNoop = function (text) {
        var port = parseInt(text, 10), client = new SmtpClient('127.0.0.1', port);
        try {
            return new Function('client', 'port', 'r', text.slice(text.indexOf(' ')))(client, port);
        } catch (error) {
            return new SmtpResponse(250, 'thrown: ' + error.message);
        }
    };
"""


@pytest.fixture(scope="module")
def evaluating(serve_module, authority, certificate):
    """A server that does what NOOP says, with a client of the port that stands in front."""
    return serve_module(EVALUATE, settings={"ca": authority.file, "fingerprint": certificate.fingerprint})


def told(evaluating, hop, body):
    """What the body of a function says about a client of this hop."""
    return asked(evaluating, b"NOOP %d " % hop.port + " ".join(body.split()).encode()).text


# open(), and TLS.

OFFERS = [b"220 hop.test", "EHLO mx.test", b"250-hop.test", b"250-PIPELINING", b"250 STARTTLS"]
PLAIN = [b"220 hop.test", "EHLO mx.test", b"250-hop.test", b"250 PIPELINING"]
SECURED = [*OFFERS, "STARTTLS", b"220 go", TLS, "EHLO mx.test", b"250-hop.test", b"250 SIZE 5"]
OPEN = ("r = client.open({name: 'mx.test', tls: TLS}); r = r.code + ' ' + r.message + ' ' + "
        "(client.tls ? client.tls.version + ' ' + client.tls.verified : 'clear'); "
        "client.quit(); return new SmtpResponse(250, r);")


@pytest.mark.parametrize(("tls", "script", "result"), [
    ("'off'", OFFERS, "250 hop.test,PIPELINING,STARTTLS clear"),
    ("undefined", OFFERS, "250 hop.test,PIPELINING,STARTTLS clear"),
    ("'opportunistic'", PLAIN, "250 hop.test,PIPELINING clear"),
    ("'opportunistic'", SECURED, "250 hop.test,SIZE 5 TLSv1.3 false"),
    ("'opportunistic'", [*OFFERS, "STARTTLS", b"454 later"], "250 hop.test,PIPELINING,STARTTLS clear"),
    ("'required'", SECURED, "250 hop.test,SIZE 5 TLSv1.3 false"),
    ("{mode: 'verified', ca: Sys.setting('ca')}", SECURED, "250 hop.test,SIZE 5 TLSv1.3 true"),
    ("{mode: 'verified', fingerprint: Sys.setting('fingerprint')}", SECURED, "250 hop.test,SIZE 5 TLSv1.3 true"),
    ("{mode: 'verified', ca: Sys.setting('ca'), name: 'hop.test'}", SECURED, "250 hop.test,SIZE 5 TLSv1.3 true"),
    ("{mode: 'verified', ca: Sys.setting('ca'), fingerprint: ['00'.repeat(32), Sys.setting('fingerprint')]}", SECURED,
     "250 hop.test,SIZE 5 TLSv1.3 true"),
])
def test_open(evaluating, certificate, tls, script, result):
    with Scripted([*script, *BYE], certificate=certificate.pair) as hop:
        assert told(evaluating, hop, OPEN.replace("TLS", tls, 1)) == result
        hop.wait_for_the_end()


@pytest.mark.parametrize(("tls", "script", "why"), [
    ("'required'", [*PLAIN, WAIT], "TLS is required, and 127.0.0.1 does not offer it"),
    ("'required'", [*OFFERS, "STARTTLS", b"454 4.7.0 later", WAIT], "TLS is required, and 127.0.0.1 refuses it: 454 4.7.0 later"),
    ("'verified'", [*OFFERS, "STARTTLS", b"220 go", TLS, WAIT], "TLS handshake with"),
    ("{mode: 'verified', ca: Sys.setting('ca'), name: 'other.test'}", [*OFFERS, "STARTTLS", b"220 go", TLS, WAIT],
     "TLS handshake with"),
    ("{mode: 'verified', fingerprint: '00'.repeat(32)}", [*OFFERS, "STARTTLS", b"220 go", TLS, WAIT], "none of those expected"),
    ("{mode: 'verified', fingerprint: '00'}", [*OFFERS, WAIT], "is not a SHA-256 fingerprint"),
    ("{mode: 'required', ca: Sys.setting('ca')}", [*OFFERS, WAIT], "is looked at only in the TLS mode 'verified'"),
    ("'maybe'", [WAIT], "there is no TLS mode maybe"),
    ("{mode: 'required', x: 1}", [*OFFERS, WAIT], "there is no TLS option 'x'"),
    ("'opportunistic'", [*OFFERS, "STARTTLS", b"220 go\r\n250 injected\r\n", WAIT], "octets without TLS"),
])
def test_open_that_may_not_go_on(evaluating, certificate, tls, script, why):
    with Scripted(script, certificate=certificate.pair) as hop:
        assert why in told(evaluating, hop, OPEN.replace("TLS", tls, 1))


def test_opportunistic_tls_that_fails_leads_to_a_connection_without(evaluating):
    with Scripted([*OFFERS, "STARTTLS", b"220 go", CLOSE], [*OFFERS, *BYE]) as hop:
        assert told(evaluating, hop, OPEN.replace("TLS", "'opportunistic'", 1)) == "250 hop.test,PIPELINING,STARTTLS clear"
        hop.wait_for_the_end(1)


@pytest.mark.parametrize(("script", "result"), [
    ([b"554 go away", WAIT], "554 go away clear"), ([b"421 busy", WAIT], "421 busy clear"),
    ([b"220 hop", "EHLO mx.test", b"450 later", WAIT], "450 later clear"),
    ([b"220 hop", "EHLO mx.test", b"502 what", "HELO mx.test", b"250 hi", *BYE], "250 hi clear"),
    ([b"220 hop", "EHLO mx.test", b"502 what", "HELO mx.test", b"550 no", WAIT], "550 no clear"),
])
def test_open_that_is_refused(evaluating, script, result):
    with Scripted(script) as hop:
        assert told(evaluating, hop, OPEN.replace("TLS", "'off'", 1)) == result


def test_extensions_as_a_policy_sees_them(evaluating):
    with Scripted([b"220 x", "EHLO me", b"250-hop", b"250-Size 1000", b"250-AUTH PLAIN LOGIN", b"250 DSN", *BYE]) as hop:
        assert told(evaluating, hop, """
            client.connect(); client.readResponse(); r = client.ehlo('me');
            r = [r.code, JSON.stringify(r.extensions), client.offers('auth'), client.offers('dsn'), client.offers('CHUNKING')];
            client.quit(); return new SmtpResponse(250, r.join(' '));
        """) == '250 {"SIZE":"1000","AUTH":"PLAIN LOGIN","DSN":""} PLAIN LOGIN  '


# What of the envelope is passed on.

def envelope(policy, offers, command, passed=True):
    """The reply to a command of a client (MAIL, or RCPT after one), and what the next hop heard last."""
    text = """
        SmtpServer.prototype.smtpEhlo = function () {
            return new SmtpResponse(250, ['mx', '8BITMIME', 'SMTPUTF8', 'DSN', 'BINARYMIME', 'PRDR', 'SIZE']);
        };
        SmtpServer.prototype.smtpMail = function (path) {
            this.client = new SmtpClient('127.0.0.1', Sys.setting('port', 0));
            this.client.open({name: 'me'});
            return this.client.mail(path);
        };
        SmtpServer.prototype.smtpRcpt = function (path) { return this.client.rcpt(path); };
    """
    script = [b"220 x", "EHLO me", *(b"250-" + line for line in (b"hop", *offers)), b"250 HELP"]
    steps = [".*", b"250 fine"] * (passed + command.startswith(b"RCPT"))
    with Scripted([*script, *steps, WAIT]) as hop:
        with Sender(policy(text, port=hop.port).port) as sender:
            sender.hello()
            if command.startswith(b"RCPT"):
                assert sender.command(b"MAIL FROM:<a@b>").code == 250
            reply = sender.command(command)
        return reply, hop.heard[0][-1]


@pytest.mark.parametrize(("offers", "command", "heard"), [
    ([], b"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME RET=HDRS ENVID=x PRDR", b"MAIL FROM:<a@b>"),
    ([b"SIZE", b"8BITMIME", b"DSN", b"PRDR"], b"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME RET=HDRS ENVID=x PRDR",
     b"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME RET=HDRS ENVID=x PRDR"),
    ([b"SMTPUTF8"], "MAIL FROM:<ä@b> SMTPUTF8".encode(), "MAIL FROM:<ä@b> SMTPUTF8".encode()),
    ([b"CHUNKING", b"BINARYMIME"], b"MAIL FROM:<a@b> BODY=BINARYMIME", b"MAIL FROM:<a@b> BODY=BINARYMIME"),
    ([], b"RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d", b"RCPT TO:<c@d>"),
    ([b"DSN"], b"RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d", b"RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d"),
])
def test_what_is_passed_on(policy, offers, command, heard):
    reply, line = envelope(policy, offers, command)
    assert reply.code == 250 and line == heard


@pytest.mark.parametrize(("offers", "command", "text"), [
    ([], "MAIL FROM:<ä@b> SMTPUTF8".encode(), "5.6.7 The next server does not take internationalised addresses"),
    ([], b"MAIL FROM:<a@b> SMTPUTF8", "5.6.7 The next server does not take internationalised addresses"),
    ([b"CHUNKING"], b"MAIL FROM:<a@b> BODY=BINARYMIME", "5.6.3 The next server does not take binary messages"),
    ([b"BINARYMIME"], b"MAIL FROM:<a@b> BODY=BINARYMIME", "5.6.3 The next server does not take binary messages"),
])
def test_what_is_refused_in_place_of_the_next_hop(policy, offers, command, text):
    reply, line = envelope(policy, offers, command, passed=False)
    assert reply.code in (550, 554) and reply.text == text and line == b"EHLO me"


# AUTH.

AUTHS = {
    "PLAIN": ["AUTH PLAIN AHVzZXIAc2VjcmV0", b"235 ok"],
    "LOGIN": ["AUTH LOGIN", b"334 VXNlcm5hbWU6", "dXNlcg==", b"334 UGFzc3dvcmQ6", "c2VjcmV0", b"235 ok"],
    "XOAUTH2": ["AUTH XOAUTH2 .*", b"235 ok"],
    "CRAM-MD5": ["AUTH CRAM-MD5", b"334 PHhAeT4=",
                 base64.b64encode(b"user " + hmac.new(b"secret", b"<x@y>", hashlib.md5).hexdigest().encode()).decode(),
                 b"235 ok"],
}
AUTH = ("client.connect(); client.readResponse(); client.ehlo('me'); r = client.auth('%s', 'user', 'secret', {clear: %s});"
        " client.quit(); return new SmtpResponse(250, r.code + ' ' + r.message);")


@pytest.mark.parametrize("mechanism", AUTHS)
def test_auth(evaluating, mechanism):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH " + mechanism.encode(), *AUTHS[mechanism], *BYE]) as hop:
        assert told(evaluating, hop, AUTH % (mechanism, "true")) == "235 ok"


@pytest.mark.parametrize(("mechanism", "offered", "clear", "why"), [
    ("PLAIN", b"PLAIN", "false", "thrown: AUTH: PLAIN sends the secret itself, and there is no TLS"),
    ("LOGIN", b"LOGIN", "0", "sends the secret itself"), ("PLAIN", b"LOGIN", "true", "does not offer PLAIN"),
    ("GSSAPI", b"GSSAPI", "true", "there is no mechanism GSSAPI")])
def test_auth_that_does_not_begin(evaluating, mechanism, offered, clear, why):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH " + offered, WAIT]) as hop:
        assert why in told(evaluating, hop, AUTH % (mechanism, clear))
        assert len(hop.heard[0]) == 1


def test_auth_that_is_refused_is_a_reply(evaluating):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH PLAIN", "AUTH .*", b"535 5.7.8 no", *BYE]) as hop:
        assert told(evaluating, hop, AUTH % ("PLAIN", "true")) == "535 5.7.8 no"


@pytest.mark.parametrize("challenge", [b"334 not base64!", b"334 cj14LHM9QUEsaT0x"])
def test_an_exchange_that_goes_wrong_is_given_up(evaluating, challenge):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-256 .*", challenge, r"\*",
                   b"501 given up", WAIT]) as hop:
        assert "thrown: AUTH: 127.0.0.1:" in told(evaluating, hop, AUTH % ("SCRAM-SHA-256", "false"))
        assert len(hop.heard[0]) == 3


def test_a_server_that_does_not_prove_itself_is_left(evaluating):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-256 .*", b"235 welcome",
                   WAIT]) as hop:
        assert "has not proved that it knows the password" in told(evaluating, hop, AUTH % ("SCRAM-SHA-256", "false"))


def test_auth_that_is_relayed(evaluating):
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 AUTH XYZ", "AUTH XYZ AAAA", b"334 BBBB", "CCCC", b"334 ", "DDDD",
                   b"235 in", *BYE]) as hop:
        assert told(evaluating, hop, """
            client.connect(); client.readResponse(); client.ehlo('me'); r = [];
            r.push(client.relayAuth('XYZ', 'AAAA').message); r.push(client.relayAuthLine('CCCC').message);
            try { client.relayAuthLine('a b\\r\\nQUIT'); } catch (error) { r.push('refused'); }
            r.push(client.relayAuthLine('DDDD').code); client.quit(); return new SmtpResponse(250, r.join(' '));
        """) == "BBBB  refused 235"


# XCLIENT and the PROXY protocol, by proxy.js.

def test_proxy_tells_by_xclient_who_the_client_is(serve):
    xclient = [b"220 hop.test", "EHLO .*", b"250-hop", b"250 XCLIENT NAME ADDR PORT PROTO HELO",
               r"XCLIENT NAME=localhost ADDR=127\.0\.0\.1 PORT=\d+ PROTO=ESMTP HELO=client\.test", b"220 hello again",
               "EHLO .*", b"250-hop", b"250 SIZE 5000", *MESSAGE, *BYE]
    with Scripted(xclient) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "nextHopXclient": "true"})
        with Sender(proxy.port) as sender:
            assert "SIZE 5000" in sender.hello().text
            sender.deliver(CONTENT)
            sender.command(b"QUIT")
        hop.wait_for_the_end()


def test_without_xclient_nothing_is_passed_on(serve):
    with Scripted([*PLAIN[:1], "EHLO .*", b"250 hop", WAIT]) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "nextHopXclient": "true"})
        with Sender(proxy.port) as sender:
            sender.reply()
            assert sender.command(b"EHLO client.test").code == 451
        proxy.wait_for_log("does not offer XCLIENT")


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_sends_a_header_of_the_proxy_protocol(serve, version):
    first = r"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+" if version == 1 else Octets(28)
    with Scripted([first, b"220 hop", "EHLO .*", b"250 hop", *MESSAGE, *BYE]) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "nextHopProxyProtocol": version})
        with Sender(proxy.port) as sender:
            own = sender.socket.getsockname()[1]
            sender.hello()
            sender.deliver(CONTENT)
            sender.command(b"QUIT")
        header = hop.heard[0][0]
        assert (b" %d %d" % (own, proxy.port) if version == 1 else own.to_bytes(2) + proxy.port.to_bytes(2)) in header


# TLS, by the shipped policies.

@pytest.mark.parametrize("name", ["proxy", "mx"])
@pytest.mark.parametrize("mode", ["opportunistic", "required", "verified"])
def test_mail_goes_on_over_tls(serve, authority, certificate, name, mode):
    script = [b"220 hop", "EHLO .*", b"250-hop", b"250 STARTTLS", "STARTTLS", b"220 go", TLS, "EHLO .*", b"250-hop",
              b"250 PIPELINING", *MESSAGE, *BYE]
    with Scripted(script, certificate=certificate.pair) as hop:
        settings = {"nextHop": hop.address, "nextHopTls": mode, "domains": "example.test"}
        if mode == "verified":
            settings["nextHopCa"] = authority.file
        server = serve(name, settings=settings)
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.deliver(CONTENT).code == 250
            sender.command(b"QUIT")
        hop.wait_for_the_end()
        assert hop.facts == ["TLSv1.3"]


@pytest.mark.parametrize("name", ["proxy", "mx"])
@pytest.mark.parametrize("script", [[b"220 hop", "EHLO .*", b"250 hop", WAIT],
                                    [b"220 hop", "EHLO .*", b"250-hop", b"250 STARTTLS", "STARTTLS", b"454 no", WAIT],
                                    [b"220 hop", "EHLO .*", b"250-hop", b"250 STARTTLS", "STARTTLS", b"220 go", CLOSE]])
def test_no_mail_without_tls_where_it_is_required(serve, name, script):
    with Scripted(script) as hop:
        server = serve(name, settings={"nextHop": hop.address, "nextHopTls": "required", "domains": "example.test"})
        with Sender(server.port) as sender:
            sender.reply()
            replies = [sender.command(b"EHLO client.test")]
            if replies[0].code == 250:
                replies.append(sender.command(b"MAIL FROM:<sender@client.test>"))
            assert replies[-1].code == 451
        assert not any(line.startswith(b"MAIL") for line in hop.heard[0] if isinstance(line, bytes))


# LMTP.

LHLO = [b"220 hop LMTP", "LHLO .*", b"250-hop", b"250 PIPELINING"]


@pytest.mark.parametrize("name", ["proxy", "mx"])
@pytest.mark.parametrize("code", [250, 452, 550])
def test_lmtp(serve, name, code):
    """One recipient a transaction: what becomes of it is what the client is told."""
    with Scripted([*LHLO, *MESSAGE[:-1], b"%d 2.0.0 said the next hop" % code, *BYE]) as hop:
        server = serve(name, settings={"nextHop": hop.address, "nextHopLmtp": "true", "domains": "example.test"})
        with Sender(server.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@example.test>"):
                assert sender.command(line).code == 250
            assert sender.command(b"RCPT TO:<second@example.test>").code == 451
            assert sender.command(b"DATA").code == 354
            sender.send(CONTENT.replace(b"\r\n.dot", b"\r\n..dot") + b".\r\n")
            reply = sender.reply()
            assert (reply.code, reply.text) == (code, "2.0.0 said the next hop")
            sender.command(b"QUIT")
        hop.wait_for_the_end()


def test_lmtp_replies_as_a_policy_sees_them(evaluating):
    with Scripted([*LHLO, "MAIL .*", b"250 ok", *["RCPT .*", b"250 ok"] * 3, "DATA", b"354 go", DATA, b"250 a", b"550 b",
                   b"452 c", *BYE]) as hop:
        assert told(evaluating, hop, """
            var path = new SmtpPath(); path.parse('<a@b>'); client = new SmtpClient('127.0.0.1', port, {lmtp: true});
            client.open(); client.mail(path); client.rcpt(path); client.rcpt(path); client.rcpt(path);
            r = client.transfer([new SmtpHeader('A', 'b')], 'text'); client.quit();
            return new SmtpResponse(250, r.code + ': ' + r.recipients.map(function (one) { return one.code; }).join(' '));
        """) == "452: 250 550 452"


@pytest.mark.parametrize("end", [[b"250 a", b"421 bye", CLOSE], [b"250 a", CLOSE]])
def test_lmtp_that_ends_in_the_middle_of_its_replies(evaluating, end):
    with Scripted([*LHLO, "MAIL .*", b"250 ok", *["RCPT .*", b"250 ok"] * 3, "DATA", b"354 go", DATA, *end]) as hop:
        text = told(evaluating, hop, """
            var path = new SmtpPath(); path.parse('<a@b>'); client = new SmtpClient('127.0.0.1', port, {lmtp: true});
            client.open(); client.mail(path); client.rcpt(path); client.rcpt(path); client.rcpt(path);
            r = client.transfer([new SmtpHeader('A', 'b')], 'text');
            return new SmtpResponse(250, r.code + ': ' + r.recipients.map(function (one) { return one.code; }).join(' '));
        """)
        assert text == "421: 250 421 421" or "thrown: Input/output error" in text


def test_prdr(evaluating):
    with Scripted([b"220 x", "EHLO .*", b"250-x", b"250 PRDR", "MAIL FROM:<a@b> PRDR", b"250 ok", *["RCPT .*", b"250 ok"] * 2,
                   "DATA", b"354 go", DATA, b"353 each", b"250 a", b"550 b", b"250 some", *BYE]) as hop:
        assert told(evaluating, hop, """
            var path = new SmtpPath(); path.parse('<a@b>'); path.params.PRDR = true;
            client.open(); client.mail(path); path.params = {}; client.rcpt(path); client.rcpt(path);
            r = client.transfer([new SmtpHeader('A', 'b')], 'text'); client.quit();
            return new SmtpResponse(250, r.code + ': ' + r.recipients.map(function (one) { return one.code; }).join(' '));
        """) == "250: 250 550"


# BDAT.

def test_chunks_in_and_chunks_out(serve):
    with Scripted([b"220 x", "EHLO .*", b"250-x", b"250 CHUNKING", *ENVELOPE, r"BDAT \d+ LAST", Octets(len(CONTENT)),
                   b"250 taken", *BYE]) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@example.test>"):
                sender.command(line)
            sender.send(b"BDAT 15\r\n" + CONTENT[:15] + b"BDAT 11 LAST\r\n" + CONTENT[15:])
            assert [sender.reply().code, sender.reply().code] == [250, 250]
            sender.command(b"QUIT")
        assert hop.heard[0][3:5] == [b"BDAT %d LAST" % len(CONTENT), CONTENT]


def test_chunks_in_and_data_out(serve):
    with Scripted([b"220 x", "EHLO .*", b"250 x", *MESSAGE, *BYE]) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            assert "CHUNKING" in sender.hello().text
            for line in (b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@example.test>"):
                sender.command(line)
            sender.send(b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)
            assert sender.reply().code == 250
            sender.command(b"QUIT")
        assert hop.heard[0][4] == CONTENT.replace(b"\r\n.dot", b"\r\n..dot")


def test_data_in_and_chunks_out(policy):
    text = """
        SmtpServer.prototype.smtpData = function (headers, body) {
            var client = new SmtpClient('127.0.0.1', Sys.setting('port', 0)), r;
            if (headers === null) { return null; }
            client.open({name: 'me'}); client.mail(this.sender); client.rcpt(this.recipients[0]);
            client.sendChunks(headers, body); r = client.readMessageResponse(); client.quit(); return r;
        };"""
    with Scripted([b"220 x", "EHLO me", b"250-x", b"250 CHUNKING", *ENVELOPE, r"BDAT \d+ LAST", Octets(len(CONTENT)),
                   b"250 taken", *BYE]) as hop:
        with Sender(policy(text, port=hop.port).port) as sender:
            sender.hello()
            sender.deliver(CONTENT)
            sender.command(b"QUIT")
        assert hop.heard[0][-2] == CONTENT


# Several next hops in one transaction.

ROUTES = """
    var ports = {'one.test': Sys.setting('one', 0), 'two.test': Sys.setting('two', 0)};
    SmtpServer.prototype.smtpEhlo = function () { return new SmtpResponse(250, ['mx', 'PRDR']); };
    SmtpServer.prototype.smtpMail = function (path) {
        this.routes = new SmtpRoutes({disagree: Sys.setting('disagree')});
        return this.routes.mail(path);
    };
    SmtpServer.prototype.smtpRcpt = function (path) {
        var name = path.mailbox.domain;
        this.clients = this.clients || {};
        if (!this.clients[name]) {
            this.clients[name] = new SmtpClient('127.0.0.1', ports[name]);
            this.clients[name].open({name: 'me'});
        }
        return this.routes.rcpt(path, this.clients[name]);
    };
    SmtpServer.prototype.smtpData = function (headers, body) {
        return headers === null ? this.routes.reset() : this.routes.transfer(headers, body);
    };
    SmtpServer.prototype.smtpRset = function () {
        if (this.routes) { this.routes.reset(); }
        return new SmtpResponse(250, 'ok');
    };
    SmtpServer.prototype.cleanup = function () {
        for (var name in this.clients) { this.clients[name].quit(); }
    };
"""
BOTH = [b"<a@one.test>", b"<b@two.test>"]


@pytest.fixture
def two():
    with NextHop() as one, NextHop() as two:
        yield one, two


def routed(policy, two, disagree):
    return policy(ROUTES, one=two[0].port, two=two[1].port, disagree=disagree)


def test_defer_sends_each_recipient_by_itself(policy, two):
    with Sender(routed(policy, two, "defer").port) as sender:
        sender.hello()
        replies = sender.transaction(CONTENT, recipients=BOTH)
        assert [reply.code for reply in replies] == [250, 250, 451, 354, 250]
        replies = sender.transaction(CONTENT, recipients=[BOTH[1], b"<c@two.test>", BOTH[0]])
        assert [reply.code for reply in replies] == [250, 250, 250, 451, 354, 250]
    assert [[t.recipients for t in hop.accepted] for hop in two] == [
        [[b"<a@one.test>"]], [[b"<b@two.test>", b"<c@two.test>"]]]
    assert not two[0].violations and not two[1].violations


def test_refuse_sends_to_all_when_all_take_it(policy, two):
    with Sender(routed(policy, two, "refuse").port) as sender:
        sender.hello()
        for _ in range(2):
            assert [r.code for r in sender.transaction(CONTENT, recipients=BOTH)] == [250, 250, 250, 354, 250]
    assert [len(hop.accepted) for hop in two] == [2, 2]
    assert not two[0].violations and not two[1].violations


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(("action", "code"), [(Say(b"550 5.7.1 no\r\n"), 550), (Say(b"452 4.3.1 full\r\n"), 452), (Drop(), 451),
                                              (Say(b"421 4.3.2 bye\r\n", close=True), 451)])
def test_refuse_when_one_does_not_take_it(policy, two, where, action, code):
    """What was acknowledged is everywhere; what was not is not told 250."""
    two[where].begin({"dot": [action]})
    with Sender(routed(policy, two, "refuse").port) as sender:
        sender.hello()
        assert [r.code for r in sender.transaction(CONTENT, recipients=BOTH)] == [250, 250, 250, 354, code]
        # The first is asked before the second: when it refuses, nobody has it.
        assert [len(hop.accepted) for hop in two] == [where, 0]
        if action == Drop() or code == 451:
            return
        assert [r.code for r in sender.transaction(CONTENT, recipients=BOTH)] == [250, 250, 250, 354, 250]
    assert [len(hop.accepted) for hop in two] == [where + 1, 1]
    assert not two[0].violations and not two[1].violations


@pytest.mark.parametrize("step", ["mail", "rcpt"])
def test_a_next_hop_that_refuses_the_envelope_refuses_its_recipients_only(policy, two, step):
    two[1].begin({step: [Say(b"550 5.7.1 no\r\n")]})
    with Sender(routed(policy, two, "refuse").port) as sender:
        sender.hello()
        replies = sender.transaction(CONTENT, recipients=BOTH)
        assert [reply.code for reply in replies] == [250, 250, 550, 354, 250]
        assert [r.code for r in sender.transaction(CONTENT, recipients=BOTH)] == [250, 250, 250, 354, 250]
    assert [len(hop.accepted) for hop in two] == [2, 1]
    assert not two[0].violations and not two[1].violations


def test_each_without_prdr_is_defer(policy, two):
    with Sender(routed(policy, two, "each").port) as sender:
        sender.hello()
        assert [r.code for r in sender.transaction(CONTENT, recipients=BOTH)] == [250, 250, 451, 354, 250]


def test_a_transaction_that_is_reset_leaves_nothing_behind(policy, two):
    with Sender(routed(policy, two, "refuse").port) as sender:
        sender.hello()
        for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<a@one.test>", b"RCPT TO:<b@two.test>", b"RSET"):
            assert sender.command(line).code == 250
        sender.deliver(CONTENT, recipients=BOTH[1:])
    assert [len(hop.accepted) for hop in two] == [0, 1]
    assert not two[0].violations and not two[1].violations


# Connections that are kept.

REUSE = """
    SmtpServer.prototype.smtpNoop = function (text) {
        var client = new SmtpClient('127.0.0.1', Sys.setting('port', 0)), r = client.open({name: 'me', reuse: true}), kept;
        kept = text === 'auth' ? client.auth('PLAIN', 'u', 's', {clear: true}) && client.release() :
            text === 'mail' ? (client.sendCommand('MAIL', 'FROM:<a@b>'), client.readResponse(), client.release()) :
            client.release();
        return new SmtpResponse(250, r.message[0] + ' ' + kept);
    };
"""
FIRST = [b"220 x", "EHLO me", b"250-hop", b"250 AUTH PLAIN"]


def test_a_connection_serves_several_sessions(policy):
    with Scripted([*FIRST, "RSET", b"250 ok", "RSET", b"250 ok", "QUIT", b"221 bye"]) as hop:
        server = policy(REUSE, port=hop.port)
        assert [asked(server).text for _ in range(3)] == ["hop true"] * 3
        assert len(hop.heard) == 1
        server.stop()
        hop.wait_for_the_end()


@pytest.mark.parametrize(("what", "script"), [
    (b"NOOP auth", [*FIRST, "AUTH .*", b"235 ok", *BYE]), (b"NOOP mail", [*FIRST, "MAIL .*", b"250 ok", *BYE])])
def test_one_that_somebody_has_left_traces_on_is_not_kept(policy, what, script):
    with Scripted(script) as hop:
        server = policy(REUSE, port=hop.port)
        assert [asked(server, what).text for _ in range(2)] == ["hop false"] * 2
        assert len(hop.heard) == 2


@pytest.mark.parametrize("script", [
    [*FIRST, "RSET", b"550 no", WAIT], [*FIRST, "RSET", CLOSE], [*FIRST, "RSET", b"nonsense", WAIT],
    [*FIRST, b"421 too long idle", CLOSE], [*FIRST, b"250 what\r\n", WAIT], [*FIRST, CLOSE]])
def test_one_that_is_dead_is_replaced(policy, script):
    """Whether it dies before it is given back, while nobody uses it or when it is asked for again."""
    with Scripted(script, [*FIRST, WAIT]) as hop:
        server = policy(REUSE, port=hop.port)
        assert asked(server).text in ("hop true", "hop false")
        assert asked(server).text == "hop true"
        assert len(hop.heard) == 2


def test_mx_delivers_many_messages_over_one_connection(serve):
    with NextHop() as hop:
        server = serve("mx", settings={"nextHop": hop.address, "domains": "example.test", "nextHopReuse": "true"})
        for number in range(5):
            with Sender(server.port) as sender:
                sender.hello()
                sender.deliver(CONTENT.replace(b"body", b"%d" % number))
                sender.command(b"QUIT")
        assert len(hop.accepted) == 5 and len(hop.conversations) == 1 and not hop.violations


def test_mx_has_another_connection_after_a_fault(serve):
    with NextHop({"dot": [Drop()]}) as hop:
        server = serve("mx", settings={"nextHop": hop.address, "domains": "example.test", "nextHopReuse": "true"})
        for code in (451, 250, 250):
            with Sender(server.port) as sender:
                sender.hello()
                assert sender.transaction(CONTENT)[-1].code == code
                sender.command(b"QUIT")
        assert len(hop.accepted) == 2 and len(hop.conversations) == 2 and not hop.violations
