"""Known defects of the predecessor, D1 to D12: mail lost, hidden, smuggled, changed, or dialogues out of step.
D5: test_security.py.
"""
import resource

import pytest
from peers.next_hop import Say
from peers.postfix import without_trace
from peers.sender import Closed, Sender, on_the_wire

ENVELOPE = (b"MAIL FROM:<a@client.test>", b"RCPT TO:<b@example.test>")


def contents(hop):
    """The messages that the next hop took, without trace fields."""
    return [without_trace(t.content)[1] for t in hop.accepted]


def send_raw(sender, data):
    """A transaction whose data is sent as it is given, dots and end included; returns the reply to it."""
    for line in ENVELOPE:
        assert sender.command(line).code == 250
    assert sender.command(b"DATA").code == 354
    sender.send(data)
    return sender.reply()


def proxy_to(serve, hop, **keywords):
    return serve("proxy", settings={"nextHop": hop.address}, **keywords)


def test_d01_unparsable_addresses_are_refused(serve, hop):
    proxy = proxy_to(serve, hop)
    with Sender(proxy.port) as sender:
        sender.hello()
        for bad in (b"garbage", b"<a@b", b"a@b.test", b"<a> <b@c>", b"<a@>", b"<@b>", b"", b"<a b@c.test>", b"<a@b@c>"):
            reply = sender.command(b"MAIL FROM:" + bad)
            assert reply.code == 501, (bad, reply)
        assert sender.command(b"MAIL FROM:<>").code == 250
        for bad in (b"<>", b"a@b", b"<a@b", b"garbage", b"<a@b>c"):
            reply = sender.command(b"RCPT TO:" + bad)
            assert 500 <= reply.code < 560, (bad, reply)
        for good in (b"<postmaster>", b"<PostMaster>", b'<"a@ >b"@example.test>', b"<@x.test,@y.test:a@example.test>",
                     b"<a@[192.0.2.1]>"):
            assert sender.command(b"RCPT TO:" + good).code == 250, good
        sender.send(b"DATA\r\n")
        assert sender.reply().code == 354
        sender.send(b"x\r\n.\r\n")
        assert sender.reply().code == 250
    assert hop.violations == []
    transaction, = hop.accepted
    assert transaction.sender == b"<>"
    assert transaction.recipients == [b"<postmaster>", b"<PostMaster>", b'<"a@ >b"@example.test>',
                                      b"<@x.test,@y.test:a@example.test>", b"<a@[192.0.2.1]>"]


def test_d02_a_body_never_becomes_commands_when_the_spool_fails(serve, hop, tmp_path):
    proxy = proxy_to(serve, hop, limits={"spool_memory_bytes": 4096, "spool_shared_bytes": 0},
                     options=["--spool-directory", tmp_path])
    evil = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<evil@example.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n"
    content = b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 40_000 + evil * 10
    with Sender(proxy.port) as sender:
        sender.hello()
        # From here on every write beyond this size of a file fails, as on a full disk. (The log is shorter.)
        before = resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        for _ in range(2):
            replies = sender.transaction(content)
            assert [r.code for r in replies] == [250, 250, 354, 452], replies
            assert replies[-1].text.startswith("4.3.1 ")
            assert sender.nothing_more()
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, before)
        sender.deliver(content)
    assert contents(hop) == [content]
    assert hop.violations == []
    assert not any(b"evil" in t.sender for t in hop.transactions)


@pytest.mark.parametrize("octet", [0x80, 0x81, 0x82, 0xFF])
def test_d03_no_octet_wedges_a_session(relay, hop, octet):
    octet = bytes([octet])
    policy = """SmtpServer.prototype.look = function (headers) {
        headers.forEach(function (header) {
            var value = header.getValue();
            if (header.name === "Subject")
                header.parts[0] = "[seen] " + header.parts[0];
            Sys.log(Sys.LOG_INFO, header.name + " is " + value + value.toLowerCase().length);
        });
    };"""
    server = relay(policy)
    content = (b"Subject: " + octet + b"\x8a\x83\r\nX-Untouched:" + octet + b"\r\nX-Fold: a\r\n\t" + octet + b"b\r\n"
               + octet + b"Name: x\r\n\r\n" + octet + b"body\r\n" + octet)
    with Sender(server.port) as sender:
        assert sender.reply().code == 220
        assert sender.command(b"EHLO " + octet + b"name").code in (250, 501)
        assert sender.command(b"EHLO client.test").code == 250
        for line in (b"MAIL FROM:<" + octet + b"@client.test>", b"MAIL FROM:<a@" + octet + b".test>"):
            assert 500 <= sender.command(line).code < 560
        assert sender.command(b"NOOP " + octet).code in (250, 501)
        sender.deliver(content)
        sender.deliver(b"Subject: next\r\n\r\nnext\r\n")
        assert sender.command(b"QUIT").code == 221
    expected = content.replace(b"Subject: ", b"Subject: [seen] ") + b"\r\n"
    assert contents(hop) == [expected, b"Subject: [seen] next\r\n\r\nnext\r\n"]
    assert hop.violations == []


def test_d04_no_header_is_hidden_from_the_policy(relay, hop):
    policy = """SmtpServer.prototype.look = function (headers) {
        return new SmtpResponse(550, headers.map(function (h) { return h.name; }).join("|"));
    };"""
    server = relay(policy)
    for hidden in (b"no colon here\r\n", b"From someone Mon Jan 1\r\n", b" blank at the start\r\n", b"\xff8-bit\r\n"):
        with Sender(server.port) as sender:
            sender.hello()
            header = hidden + b"X-Virus: yes\r\n" + hidden.lstrip() + b"X-Spam : yes\r\n"
            reply = send_raw(sender, header + b"\r\nbody\r\n.\r\n")
            assert reply.code == 550
            names = reply.text.split("|")
            assert "X-Virus" in names and "X-Spam" in names, reply


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\n.\r"])
def test_d06_nothing_but_crlf_dot_crlf_ends_data(serve, hop, end):
    proxy = proxy_to(serve, hop)
    hidden = (b"Subject: one\r\n\r\nfirst" + end
              + b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<evil@example.test>\r\nDATA\r\nx")
    with Sender(proxy.port) as sender:
        sender.hello()
        reply = send_raw(sender, hidden + b"\r\n.\r\n")
        assert reply.code == 554 and reply.text.startswith("5.6.0 "), reply
        assert sender.nothing_more()
        sender.deliver(b"Subject: next\r\n\r\nnext\r\n")
    assert contents(hop) == [b"Subject: next\r\n\r\nnext\r\n"]
    normalising = proxy_to(serve, hop, options=["--line-ends", "normalise"])
    with Sender(normalising.port) as sender:
        sender.hello()
        # Bare line ends are made CR LF, so what was hidden is text of the one message; nothing of it is a command.
        assert send_raw(sender, hidden + b"\r\n.\r\n").code == 250
    assert hop.violations == []
    assert len(hop.accepted) == 2
    wire = hop.accepted[1].wire
    assert wire.replace(b"\r\n", b"").count(b"\n") == wire.replace(b"\r\n", b"").count(b"\r") == 0
    assert not any(b"evil" in t.sender for t in hop.transactions)


def test_d06_bare_lf_in_commands_is_refused(serve, hop):
    proxy = proxy_to(serve, hop)
    with Sender(proxy.port) as sender:
        sender.hello()
        sender.send(b"MAIL FROM:<a@client.test>\nRCPT TO:<b@example.test>\r\n")
        assert sender.reply().code == 521
        assert sender.closed_by_server()
    assert not hop.transactions


@pytest.mark.parametrize("body", [b".\r\nx\r\n", b".first\r\n", b"..two\r\n", b"x\r\n.y\r\n", b".", b"..", b"...\r\n"])
def test_d07_dots_are_right_everywhere(relay, hop, body):
    policy = """SmtpServer.prototype.look = function (headers, body) {
        Sys.log(Sys.LOG_INFO, "body=" + encodeURIComponent(body.read()) + "=");
    };"""
    server = relay(policy)
    content = b"Subject: dots\r\n\r\n" + body
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(content)
    assert contents(hop) == [content if content.endswith(b"\r\n") else content + b"\r\n"]
    text = body if body.endswith(b"\r\n") else body + b"\r\n"
    server.wait_for_log("body=" + text.decode().replace("\r\n", "%0D%0A") + "=")


def test_d07_a_body_made_by_the_policy_cannot_end_data_early(relay, hop):
    policy = """SmtpServer.prototype.look = function (headers, body) {
        var said = relay(this, "DATA");
        this.next.sendMessage(headers, ".\\r\\nQUIT\\r\\n.\\nRSET\\n..\\r\\n");
        return this.next.readResponse();
    };
    """
    server = relay(policy)
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(b"Subject: x\r\n\r\nold\r\n")
    assert contents(hop) == [b"Subject: x\r\n\r\n.\r\nQUIT\r\n.\r\nRSET\r\n..\r\n"]
    assert hop.violations == []


@pytest.mark.parametrize("content", [
    b"Subject: x\r\n\r\n", b"Subject: x\r\n", b"\r\n", b"\r\n\r\n", b"",
    b"Name:x\r\nName:  x\r\nName :x\r\n\r\nbody\r\n",
    b".Dot: x\r\n..Dots: y\r\n\r\n", b"A:\r\n\tb\r\n\t \r\n c\r\n\r\n.\r\n", b"A: trailing \t\r\n\r\n"])
def test_d08_nothing_is_added_or_respaced(relay, serve, hop, content):
    for server in (relay(), proxy_to(serve, hop)):
        with Sender(server.port) as sender:
            sender.hello()
            sender.deliver(content)
    assert contents(hop) == [content, content]


def test_d09_no_command_can_be_injected_into_the_next_hop(relay, hop):
    evil = "\\r\\nRSET\\r\\nMAIL FROM:<evil@client.test>"
    policy = f"""
    SmtpServer.prototype.look = function (headers, body) {{
        var tried = "", server = this;
        [["NOOP", "x{evil}"], ["NOOP{evil}"], ["NOOP", "a\\nb"], ["NOOP", "a\\rb"], ["NOOP", "a\\0b"]].forEach(
            function (args) {{
                try {{
                    server.next.sendCommand(args[0], args[1]);
                    tried += "sent ";
                }} catch (e) {{
                    tried += "refused ";
                }}
            }});
        this.tried = tried;
        headers.push(new SmtpHeader("X-New", "one{evil}\\r\\n.\\r\\nRSET"));
        headers[0].parts[0] = "changed\\r\\n.\\r\\n\\r\\nQUIT\\r\\n";
        if (tried.indexOf("sent") >= 0)
            return new SmtpResponse(550, tried);
    }};"""
    server = relay(policy)
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(b"Subject: x\r\nX-Two: y\r\n\r\nbody\r\n")
    assert hop.violations == []
    assert [t.sender for t in hop.transactions] == [b"<sender@client.test>"]
    content, = contents(hop)
    head, _, body = content.partition(b"\r\n\r\n")
    assert body == b"body\r\n"
    # Whatever came after a line break has become a continuation line.
    assert all(line[:1] in b" \t" or line.split(b":")[0] in (b"Subject", b"X-Two", b"X-New")
               for line in head.split(b"\r\n"))


@pytest.mark.parametrize("name", ["''", "'A\\r\\nB'", "'A B'", "'A\\0'", "'\\u00e9'"])
def test_d09_a_header_name_that_is_none_refuses_the_message(relay, hop, name):
    policy = f"""SmtpServer.prototype.look = function (headers) {{ headers.push(new SmtpHeader({name}, "x")); }};"""
    server = relay(policy)
    with Sender(server.port) as sender:
        sender.hello()
        replies = sender.transaction(b"Subject: x\r\n\r\nbody\r\n")
        assert replies[-1].code == 451, replies
    assert hop.accepted == []
    assert not any(t.complete for t in hop.transactions)


def test_d10_engine_and_next_hop_stay_in_step_after_an_exception(relay, hop):
    policy = """
    SmtpServer.prototype.look = function (headers) {
        if (headers[0].getValue() === "throw")
            throw new Error("in the middle of everything");
    };"""
    server = relay(policy)
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.transaction(b"Subject: throw\r\n\r\nx\r\n")[-1].code == 451
        sender.deliver(b"Subject: fine\r\n\r\nx\r\n", sender=b"<second@client.test>", recipients=[b"<c@example.test>"])
    assert hop.violations == []
    transaction, = hop.accepted
    assert (transaction.sender, transaction.recipients) == (b"<second@client.test>", [b"<c@example.test>"])


def test_d10_a_421_of_the_next_hop_ends_the_session(serve, hop):
    hop.begin({"rcpt": [Say(b"421 4.3.2 going down\r\n", close=True)]})
    proxy = proxy_to(serve, hop)
    with Sender(proxy.port) as sender:
        sender.hello()
        replies = sender.transaction(b"x\r\n")
        assert replies[-1].code == 421
        assert sender.closed_by_server()


def test_d11_bare_codes_and_long_lines_of_the_next_hop_are_understood(serve, hop):
    hop.begin({"mail": [Say(b"250\r\n")], "rcpt": [Say(b"250 " + b"x" * 2000 + b"\r\n")], "dot": [Say(b"250\r\n")]})
    proxy = proxy_to(serve, hop)
    with Sender(proxy.port) as sender:
        sender.hello()
        sender.deliver(b"x\r\n")
        sender.deliver(b"y\r\n")
    assert contents(hop) == [b"x\r\n", b"y\r\n"]


@pytest.mark.parametrize("flood", [b"A: x\r\n" + b" \t \r\n" * 20_000, b":\r\n" * 40_000, b"A" * 100_000 + b": x\r\n",
                                   b"A:" + b" " * 100_000 + b"\r\n", b"no colon\r\n" * 20_000],
                         ids=["blank folds", "empty names", "a long name", "blanks", "no fields"])
def test_d12_the_header_section_is_limited_however_it_is_filled(serve, hop, flood):
    proxy = proxy_to(serve, hop, limits={"header_bytes": 32768, "header_fields": 500})
    with Sender(proxy.port) as sender:
        sender.hello()
        assert send_raw(sender, flood + b"\r\nbody\r\n.\r\n").code == 552
        sender.deliver(b"fine: x\r\n\r\nfine\r\n")
    assert contents(hop) == [b"fine: x\r\n\r\nfine\r\n"]


def test_d12_messages_and_recipients_are_limited(serve, hop):
    proxy = proxy_to(serve, hop, limits={"message_bytes": 100_000, "recipients": 3})
    with Sender(proxy.port) as sender:
        hello = sender.hello()
        assert b"SIZE 100000" in hello.lines
        reply = sender.command(b"MAIL FROM:<a@client.test> SIZE=100001")
        assert reply.code == 552 and reply.text.startswith("5.3.4 ")
        replies = sender.transaction(b"x" * 70 + b"\r\n" + b"y\r\n" * 40_000)
        assert replies[-1].code == 552, replies
        assert sender.command(b"MAIL FROM:<a@client.test>").code == 250
        codes = [sender.command(b"RCPT TO:<%d@example.test>" % i).code for i in range(5)]
        assert codes == [250, 250, 250, 452, 452]
    assert hop.accepted == []


def test_sessions_end_when_a_client_goes_on_making_errors(serve, hop):
    """Beside D12: the number of bad commands is limited too."""
    proxy = proxy_to(serve, hop, limits={"errors": 5})
    codes = []
    with Sender(proxy.port) as sender:
        sender.hello()
        try:
            for _ in range(10):
                codes.append(sender.command(b"BOGUS").code)
        except Closed:
            pass
    assert codes[-1] == 421 and 4 <= len(codes) <= 6


def test_dots_survive_both_ways_a_byte_at_a_time(serve, hop):
    """Beside D7: the same when the dots and line ends come in pieces."""
    proxy = proxy_to(serve, hop)
    content = b".H: x\r\n\r\n.\r\n..\r\n\r\n.a\r\n"
    with Sender(proxy.port, bytewise=True) as sender:
        sender.hello()
        sender.deliver(content)
    assert contents(hop) == [content]
    assert hop.accepted[0].wire.endswith(on_the_wire(content)[:-3])
