"""What a client is offered is what both we and the next hop can do; where the two differ, one is turned into the other."""
import itertools

import pytest
from certificates import Authority, client_context
from peers.next_hop import NextHop, Say
from peers.scripted import CLOSE, DATA, TLS, WAIT, Octets, Scripted
from peers.sender import Sender

CONTENT = b"Subject: x\r\n\r\n.dot\r\nbody\r\n"
DOTTED = CONTENT.replace(b"\r\n.dot", b"\r\n..dot")
ENVELOPE = ["MAIL FROM:<sender@client.test>", b"250 ok", "RCPT TO:<user@example.test>", b"250 ok"]
BYE = ["QUIT", b"221 bye"]

# What each keyword of the next hop's becomes for the client: told as it is; or never, since nobody here could keep it.
TOLD = [b"8BITMIME", b"SMTPUTF8", b"DSN", b"BINARYMIME", b"PRDR", b"ENHANCEDSTATUSCODES"]
NEVER = [b"STARTTLS", b"AUTH PLAIN LOGIN", b"XCLIENT NAME ADDR", b"XFORWARD NAME", b"REQUIRETLS", b"ETRN", b"HELP", b"VRFY",
         b"TURN", b"BURL", b"DELIVERBY 5", b"MT-PRIORITY MIXER", b"FUTURERELEASE 9 9",
         b"NO-SOLICITING", b"X-WHATEVER", b"PIPE_CONNECT"]
ALWAYS = {b"PIPELINING", b"SIZE", b"CHUNKING", b"LIMITS"}


def keywords(reply):
    return {line.split(b" ")[0] for line in reply.lines[1:]}


def hello(lines):
    return Say(b"".join(b"250-" + line + b"\r\n" for line in (b"hop.test", *lines)) + b"250 SIZE 1000\r\n")


def test_what_is_announced_for_every_next_hop(serve):
    """Every set of extensions that a next hop may have, with all that cannot be passed on beside it."""
    sets = [set(chosen) for size in range(len(TOLD) + 1) for chosen in itertools.combinations(TOLD, size)]
    with NextHop() as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address})
        for offered in sets:
            hop.begin({"ehlo": [hello([*sorted(offered), *NEVER])]})
            with Sender(proxy.port) as sender:
                told = sender.hello()
                sender.command(b"QUIT")
            expected = ALWAYS | offered
            if b"SMTPUTF8" in offered:
                expected.add(b"8BITMIME")       # RFC 6531 §3.1
            assert keywords(told) == expected, offered
            assert b"SIZE 1000" in told.lines   # the smaller one
        assert hop.violations == []


@pytest.mark.parametrize(("lines", "told"), [
    ([b"LIMITS RCPTMAX=7 MAILMAX=3"], b"LIMITS MAILMAX=3 RCPTMAX=7"), ([b"LIMITS RCPTMAX=5000"], b"LIMITS RCPTMAX=20"),
    ([], b"LIMITS RCPTMAX=20")])
def test_limits_of_both(serve, lines, told):
    with NextHop({"ehlo": [hello(lines)]}) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address}, limits={"recipients": 20})
        with Sender(proxy.port) as sender:
            assert told in sender.hello().lines


def test_commands_in_groups_go_on_one_by_one(serve):
    """The client is told PIPELINING, the next hop has not said so."""
    script = [b"220 x", "EHLO .*", b"250 x", *ENVELOPE, "RCPT TO:<second@example.test>", b"550 no", "DATA", b"354 go", DATA,
              b"250 taken", *ENVELOPE, "RSET", b"250 ok", *BYE]
    with Scripted(script, lock_step=True) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            assert b"PIPELINING" in sender.hello().lines
            sender.send(b"MAIL FROM:<sender@client.test>\r\nRCPT TO:<user@example.test>\r\n"
                        b"RCPT TO:<second@example.test>\r\nDATA\r\n")
            assert [sender.reply().code for _ in range(4)] == [250, 250, 550, 354]
            sender.send(DOTTED + b".\r\nMAIL FROM:<sender@client.test>\r\nRCPT TO:<user@example.test>\r\nRSET\r\nQUIT\r\n")
            assert [sender.reply().code for _ in range(5)] == [250, 250, 250, 250, 221]
        hop.wait_for_the_end()
        assert DOTTED in hop.heard[0]


def test_chunks_in_a_group_go_on_as_data(serve):
    """Envelope and all chunks in one write; the next hop has neither CHUNKING nor PIPELINING."""
    script = [b"220 x", "EHLO .*", b"250 x", *ENVELOPE, "DATA", b"354 go", DATA, b"250 taken", *BYE]
    with Scripted(script, lock_step=True) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            chunks = [CONTENT[at:at + 5] for at in range(0, len(CONTENT), 5)]
            sender.send(b"MAIL FROM:<sender@client.test>\r\nRCPT TO:<user@example.test>\r\n"
                        + b"".join(b"BDAT %d\r\n" % len(chunk) + chunk for chunk in chunks) + b"BDAT 0 LAST\r\nQUIT\r\n")
            codes = [sender.reply().code for _ in range(2 + len(chunks) + 2)]
            assert codes == [250] * (len(codes) - 1) + [221]
        hop.wait_for_the_end()
        assert DOTTED in hop.heard[0]


@pytest.mark.parametrize(("offers", "verb", "heard"), [
    ([b"CHUNKING"], b"DATA", DOTTED), ([b"CHUNKING"], b"BDAT", CONTENT), ([], b"BDAT", DOTTED), ([], b"DATA", DOTTED)])
def test_each_way_in_and_each_way_out(serve, offers, verb, heard):
    onward = [r"BDAT \d+ LAST", Octets(len(CONTENT))] if heard == CONTENT else ["DATA", b"354 go", DATA]
    script = [b"220 x", "EHLO .*", *(b"250-" + line for line in (b"x", *offers)), b"250 HELP", *ENVELOPE, *onward,
              b"250 taken", *BYE]
    with Scripted(script) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@example.test>"):
                assert sender.command(line).code == 250
            if verb == b"DATA":
                assert sender.command(b"DATA").code == 354
                sender.send(DOTTED + b".\r\n")
            else:
                sender.send(b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)
            assert sender.reply().code == 250
            sender.command(b"QUIT")
        hop.wait_for_the_end()
        assert heard in hop.heard[0]


CHUNKING = [b"220 x", "EHLO .*", b"250-x", b"250 CHUNKING"]


@pytest.mark.parametrize(("end", "code"), [
    ([b"552 5.3.4 too big", *BYE], 552), ([b"452 4.3.1 full", *BYE], 452), ([b"421 4.3.2 bye", CLOSE], 421), ([CLOSE], 451),
    ([b"nonsense", WAIT], 451), ([b"250-half", CLOSE], 451)])
def test_a_message_in_chunks_is_taken_only_when_the_next_hop_says_so(serve, end, code):
    with Scripted([*CHUNKING, *ENVELOPE, r"BDAT \d+ LAST", Octets(len(CONTENT)), *end]) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@example.test>"):
                assert sender.command(line).code == 250
            sender.send(b"BDAT 5\r\n" + CONTENT[:5] + b"BDAT %d LAST\r\n" % (len(CONTENT) - 5) + CONTENT[5:])
            assert [sender.reply().code, sender.reply().code] == [250, code]
            if code != 421:
                assert sender.command(b"QUIT").code == 221


def test_chunks_that_are_given_up_never_reach_the_next_hop(serve):
    script = [*CHUNKING, *ENVELOPE, "RSET", b"250 ok", *ENVELOPE, r"BDAT \d+ LAST", Octets(len(CONTENT)), b"250 taken", *BYE]
    with Scripted(script) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            envelope = b"MAIL FROM:<sender@client.test>\r\nRCPT TO:<user@example.test>\r\n"
            sender.send(envelope + b"BDAT 5\r\n" + CONTENT[:5] + b"RSET\r\n" + envelope
                        + b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT + b"QUIT\r\n")
            assert [sender.reply().code for _ in range(8)] == [250] * 7 + [221]
        hop.wait_for_the_end()
        assert [octets for octets in hop.heard[0] if octets == CONTENT]


BINARY = b"Subject: x\r\n\r\nany \r octet \n and \0\r\n.\r\nwithout an end"


def test_a_binary_body_keeps_its_octets(serve):
    script = [b"220 x", "EHLO .*", b"250-x", b"250-CHUNKING", b"250 BINARYMIME", "MAIL FROM:<a@b> BODY=BINARYMIME", b"250 ok",
              "RCPT TO:<c@d>", b"250 ok", f"BDAT {len(BINARY)} LAST", Octets(len(BINARY)), b"250 taken", *BYE]
    with Scripted(script) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "received": "false"})
        with Sender(proxy.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<a@b> BODY=BINARYMIME", b"RCPT TO:<c@d>"):
                assert sender.command(line).code == 250
            sender.send(b"BDAT 20\r\n" + BINARY[:20] + b"BDAT %d LAST\r\n" % (len(BINARY) - 20) + BINARY[20:])
            assert [sender.reply().code, sender.reply().code] == [250, 250]
            sender.command(b"QUIT")
        hop.wait_for_the_end()
        assert BINARY in hop.heard[0]


# A reply for each recipient.

@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("lmtp", [True, False])
def test_replies_for_each_recipient(serve, lmtp, asks):
    """From LMTP or PRDR behind, to a client that asks by PRDR; without that LMTP gets one recipient a transaction."""
    first, second = "RCPT TO:<a@example.test>", "RCPT TO:<b@example.test>"
    both = lmtp is False or asks
    replies = [b"250 2.0.0 a", b"552 5.2.2 b"] if both else [b"250 2.0.0 a"]
    if not lmtp:
        replies = [b"353 each", *replies, b"250 2.0.0 some"] if asks else [b"250 2.0.0 all"]
    script = [b"220 x", ("LHLO" if lmtp else "EHLO") + " .*", b"250-x", b"250-PRDR" if not lmtp else b"250-SIZE", b"250 HELP",
              "MAIL FROM:<s@client.test>" + (" PRDR" if asks and not lmtp else ""), b"250 ok", first, b"250 ok",
              *([second, b"250 ok"] if both else []), "DATA", b"354 go", DATA, *replies, *BYE]
    with Scripted(script) as hop:
        proxy = serve("proxy", settings={"nextHop": hop.address, "nextHopLmtp": str(lmtp).lower()})
        with Sender(proxy.port) as sender:
            assert b"PRDR" in sender.hello().lines
            assert sender.command(b"MAIL FROM:<s@client.test>" + (b" PRDR" if asks else b"")).code == 250
            assert sender.command(first.encode()).code == 250
            assert sender.command(second.encode()).code == (250 if both else 451)
            assert sender.command(b"DATA").code == 354
            sender.send(DOTTED + b".\r\n")
            codes = [sender.reply().code for _ in range(4 if asks else 1)]
            assert codes == ([353, 250, 552, 250] if asks else [250])
            sender.command(b"QUIT")
        hop.wait_for_the_end()


ROUTES = """
    var ports = {'one.test': Sys.setting('one', 0), 'two.test': Sys.setting('two', 0)};
    SmtpServer.prototype.smtpEhlo = function () { return new SmtpResponse(250, ['mx', 'PRDR']); };
    SmtpServer.prototype.smtpMail = function (path) {
        this.routes = new SmtpRoutes({disagree: 'each'});
        this.clients = {};
        return this.routes.mail(path);
    };
    SmtpServer.prototype.smtpRcpt = function (path) {
        var name = path.mailbox.domain;
        if (!this.clients[name]) {
            this.clients[name] = new SmtpClient('127.0.0.1', ports[name]);
            this.clients[name].open({name: 'me'});
        }
        return this.routes.rcpt(path, this.clients[name]);
    };
    SmtpServer.prototype.smtpData = function (headers, body) {
        return headers === null ? this.routes.reset() : this.routes.transfer(headers, body);
    };
"""


@pytest.mark.parametrize(("one", "two", "codes"), [
    (b"250 2.0.0 taken\r\n", b"250 2.0.0 taken\r\n", [250, 250, 250, 250]),
    (b"250 2.0.0 taken\r\n", b"550 5.7.1 no\r\n", [250, 550, 250, 250]),
    (b"452 4.3.1 full\r\n", b"250 2.0.0 taken\r\n", [452, 250, 452, 250]),
    (b"452 4.3.1 full\r\n", b"550 5.7.1 no\r\n", [452, 550, 452, 452]),
    (b"550 5.7.1 no\r\n", b"550 5.7.1 no\r\n", [550, 550, 550, 550]),
])
def test_next_hops_that_disagree_and_a_client_that_hears_each(serve, one, two, codes):
    """codes: for recipients at the first, the second, and the first again; then for all."""
    with NextHop({"dot": [Say(one)]}) as first, NextHop({"dot": [Say(two)]}) as second:
        server = serve(ROUTES, settings={"one": first.port, "two": second.port})
        with Sender(server.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<s@client.test> PRDR", b"RCPT TO:<a@one.test>", b"RCPT TO:<b@two.test>",
                         b"RCPT TO:<c@one.test>"):
                assert sender.command(line).code == 250
            assert sender.command(b"DATA").code == 354
            sender.send(DOTTED + b".\r\n")
            replies = [sender.reply().code for _ in range(5)]
            assert replies == [353, *codes]
        assert [len(hop.accepted) for hop in (first, second)] == [codes[0] == 250, codes[1] == 250]
        assert first.violations == second.violations == []


# REQUIRETLS: only where TLS is on both sides, the next hop's certificate is verified, and it offers REQUIRETLS.

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(("mode", "offered", "code"), [
    ("verified", True, 250), ("required", True, 550), ("verified", False, 555)])
def test_requiretls(serve, authority, mode, offered, code):
    inside = [b"250-hop", *([b"250-REQUIRETLS"] if offered else []), b"250 HELP"]
    script = [b"220 hop", "EHLO .*", b"250-hop", b"250 STARTTLS", "STARTTLS", b"220 go", TLS, "EHLO .*", *inside,
              "EHLO .*", *inside]
    script += ["MAIL FROM:<a@b> REQUIRETLS", b"250 ok", *BYE] if code == 250 else BYE
    with Scripted(script, certificate=authority.make("hop.test", "127.0.0.1").pair) as hop:
        settings = {"nextHop": hop.address, "nextHopTls": mode}
        if mode == "verified":
            settings["nextHopCa"] = authority.file
        proxy = serve("proxy", settings=settings, options=["--tls-certificate", authority.make("proxy.test").both])
        with Sender(proxy.port) as sender:
            assert b"REQUIRETLS" not in sender.hello().lines
            assert sender.command(b"STARTTLS").code == 220
            sender.secure(client_context(authority), "proxy.test")
            assert (b"REQUIRETLS" in sender.command(b"EHLO client.test").lines) is offered
            assert sender.command(b"MAIL FROM:<a@b> REQUIRETLS").code == code
            sender.command(b"QUIT")


# What a policy may say about a connection.

CONNECTION = """
    SmtpServer.prototype.smtpNoop = function () {
        var client = new SmtpClient('127.0.0.1', Sys.setting('port', 0), %s);
        try {
            client.open({name: 'me'});
            client.sendCommand('NOOP');
            return new SmtpResponse(250, client.readResponse().message[0]);
        } catch (error) {
            return new SmtpResponse(250, 'thrown: ' + error.message);
        }
    };
"""


def asked(server):
    with Sender(server.port) as sender:
        sender.hello()
        return sender.command(b"NOOP").text


@pytest.mark.parametrize("source", ["'127.0.0.9'", "['127.0.0.9', 0]"])
def test_the_source_address(serve, source):
    with Scripted([b"220 x", "EHLO me", b"250 x", "NOOP", b"250 fine", WAIT]) as hop:
        asked(serve(CONNECTION % f"{{sourceAddress: {source}}}", settings={"port": hop.port}))
        assert hop.peer[0] == "127.0.0.9"


@pytest.mark.parametrize(("script", "timeouts", "why"), [
    ([WAIT], "{greeting: 0.2}", "thrown: Connection timed out"),
    ([b"220 x", "EHLO me", WAIT], "{hello: 0.2}", "thrown: Connection timed out"),
    ([b"220 x", "EHLO me", b"250 x", "NOOP", WAIT], "{hello: 0.2}", "thrown: Connection timed out"),
    ([WAIT], "{nonsense: 1}", "nonsense"), ([WAIT], "{hello: -1}", "hello"),
    # Replies that nobody has asked for yet are none.
    ([b"220 x\r\n250 x\r\n250 fine\r\n", WAIT], "{}", "protocol error: unsolicited reply"),
    ([b"220 x", "EHLO me", b"250 x\r\n250 fine\r\n", WAIT], "{}", "protocol error: unsolicited reply"),
])
def test_time_outs_and_replies_that_come_too_early(serve, script, timeouts, why):
    with Scripted(script) as hop:
        assert why in asked(serve(CONNECTION % f"{{timeouts: {timeouts}}}", settings={"port": hop.port}))
