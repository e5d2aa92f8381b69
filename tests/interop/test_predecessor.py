"""Policies written in the style of the predecessor's run unchanged, with real programs on both sides.

Everything that those relied on is in POLICY: an ES5 script without a module, helpers on the prototype, a space after FROM: and
TO:, arguments that are explicitly undefined, smtpData(null, null), headers that are looped through with for…in and edited in
place, a method added to Array.prototype, DNS answers that are assigned to by mistake, loadModule, a handler for STARTTLS whose
result does not count.
"""
import re

import pytest
from peers.dns import DnsThread
from peers.next_hop import NextHop, Say
from peers.sender import Sender

POLICY = """\
//Sys.openlog("mailfilter", Sys.LOG_MAIL);

Sys.loadModule("mod_sql.so");
Sys.loadModule("mod_mysql.so");

SmtpServer.listenAddress = [["127.0.0.1", 8025]];
SmtpServer.debugProtocol = true;

// Our own: the predecessor kept what it did not know.
SmtpServer.dnsbl = [["lists.example", 2], ["other.example", 1]];
SmtpServer.bypassFilters = function () { return false; };

Object.defineProperty(Array.prototype, "indexOfStr", {
	value: function (text) {
		for (var i = 0; i < this.length; i++)
			if (this[i].toString() == text)
				return i;
		return -1;
	}
});

function subjectOf(headers) {
	for (i in headers) {
		if (headers[i].name.toLowerCase() == "subject")
			return headers[i];
	}
	return null;
}

SmtpServer.prototype.relayCmd = function (cmd, args) {
	this.smtpClient.sendCommand(cmd, args);
	return this.smtpClient.readResponse();
}

SmtpServer.prototype.smtpInit = function () {
	this.smtpClient = new SmtpClient("127.0.0.1", parseInt(Sys.setting("port")));
	this.smtpClient.connect();
	return this.smtpClient.readResponse();
}

SmtpServer.prototype.smtpHelo = function (hostname) {
	return this.relayCmd("HELO", this.hostname);
}

SmtpServer.prototype.smtpEhlo = function (hostname) {
	return this.relayCmd("EHLO", this.hostname);
}

SmtpServer.prototype.smtpMail = function (path) {
	return this.relayCmd("MAIL", "FROM: " + path.toString());
}

SmtpServer.prototype.smtpRcpt = function (path) {
	return this.relayCmd("RCPT", "TO: " + path.toString());
}

SmtpServer.prototype.smtpStartTls = function () {
	return new SmtpResponse(220, "ready");
}

SmtpServer.prototype.listed = function () {
	var score = 0;
	for (var i in SmtpServer.dnsbl) {
		var result = Dns.query(Dns.revAddr(this.remoteAddr, SmtpServer.dnsbl[i][0]), Dns.t_a);
		if (typeof result == "number")
			continue;
		for (var j in result.answer) {
			var rr = result.answer[j];
			// An assignment where a comparison was meant: it must be allowed.
			if (rr.type = Dns.t_a && rr.data)
				score += SmtpServer.dnsbl[i][1];
			Sys.log(Sys.LOG_DEBUG, "listed: " + rr.name + " " + rr.data);
		}
	}
	return score;
}

SmtpServer.prototype.verdict = function (headers) {
	if (!this.sender.mailbox.domain)
		return "SPAM";
	var spf = new SpfServer(Spf.DNS_CACHE), rsp = spf.query(this.remoteAddr, this.sender.mailbox.domain);
	Sys.log(Sys.LOG_INFO, "SPF: " + Spf.resultStrMap[rsp.result]);
	switch (rsp.result) {
	case Spf.RESULT_TEMPERROR:
		return "LATER";
	case Spf.RESULT_FAIL:
		return "FORGED";
	}
	return this.listed() >= 2 ? "SPAM" : null;
}

SmtpServer.prototype.smtpData = function (headers, body) {
	if (headers == null) {
		this.relayCmd("RSET", undefined);
		return null;
	}

	var verdict = this.verdict(headers), rsp;
	if (verdict == "LATER") {
		this.relayCmd("RSET", undefined);
		return new SmtpResponse(450, "Requested action not taken: try again");
	}
	if (verdict == "FORGED" && this.recipients.indexOfStr("<test@localhost>") < 0) {
		this.relayCmd("RSET", undefined);
		return new SmtpResponse(550, "Requested action not taken");
	}
	if (verdict) {
		var subject = subjectOf(headers);
		if (subject)
			subject.parts[0] = "[" + verdict + "] " + subject.parts[0];
		else
			headers.push(new SmtpHeader("Subject", "[" + verdict + "]"));
	}

	rsp = this.relayCmd("DATA", undefined);
	if (rsp.code != 354)
		return rsp;

	headers.unshift(this.receivedHeader());
	this.smtpClient.sendMessage(headers, body);
	return this.smtpClient.readResponse();
}

SmtpServer.prototype.smtpRset = function () {
	return this.relayCmd("RSET", undefined);
}

SmtpServer.prototype.cleanup = function () {
	this.relayCmd("QUIT", undefined);
	this.smtpClient.disconnect();
}
"""

ZONE = {
    ("sender.example", "TXT"): ['sender.example 60 IN TXT "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 ip4:127.0.0.1 -all"'],
    ("broken.example", "TXT"): "SERVFAIL", ("broken.example", "SPF"): "SERVFAIL",
    ("2.2.0.192.lists.example", "A"): ["2.2.0.192.lists.example 60 IN A 127.0.0.2"],
    ("1.2.0.192.other.example", "A"): ["1.2.0.192.other.example 60 IN A 127.0.0.3"],
}

MESSAGE = b"From: a@sender.example\r\nSubject:  odd   spacing\r\n\tand a fold\r\nX-Other:no blank\r\n\r\nthe body\r\n.dot\r\n"


@pytest.fixture(scope="module")
def dns():
    with DnsThread(ZONE) as server:
        yield server


@pytest.fixture
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture
def server(serve, hop, dns):
    return serve(POLICY, settings={"port": hop.port}, listen=["proxy:127.0.0.1:0"],
                 options=["--dns-server", dns.address, "--proxy-from", "127.0.0.1", "--log-level", "debug"])


def deliver(server, address, content=MESSAGE, **envelope):
    """The last reply to a client at `address`, a mail's path through the policy and a NOOP-free session."""
    with Sender(server.port) as sender:
        sender.send(f"PROXY TCP4 {address} 192.0.2.99 1025 25\r\n".encode())
        sender.hello()
        envelope = {"sender": b"<a@sender.example>", **envelope}
        reply = sender.transaction(content, **envelope)[-1]
        assert sender.command(b"RSET").code == 250
        assert sender.command(b"QUIT").code == 221
        return reply


def taken(hop):
    """(the Received field, the rest of the message) of the one message that the next hop took."""
    (transaction,) = hop.accepted
    assert not hop.violations
    received, rest = re.match(rb"(Received: .*\r\n(?:[ \t].*\r\n)*)((?s:.*))", transaction.content).groups()
    return received, rest


def test_good_mail_passes_as_it_came(server, hop):
    reply = deliver(server, "192.0.2.1")
    assert (reply.code, reply.text) == (250, "2.0.0 taken as H1")
    received, rest = taken(hop)
    assert rest == MESSAGE
    assert re.match(rb"Received: from client\.test \(unknown \[192\.0\.2\.1\]\)\r\n\tby \S+ \(Mailfilter\) with ESMTP", received)
    assert "SPF: pass" in server.wait_for_log("SPF: ")


def test_listed_mail_is_tagged(server, hop):
    assert deliver(server, "192.0.2.2").code == 250
    assert taken(hop)[1] == MESSAGE.replace(b"Subject:  odd", b"Subject: [SPAM] odd")
    assert "listed: 2.2.0.192.lists.example 127.0.0.2" in server.wait_for_log("listed: ")


def test_the_null_sender_is_tagged_where_there_is_no_subject(server, hop):
    assert deliver(server, "192.0.2.1", b"A: b\r\n\r\nx\r\n", sender=b"<>").code == 250
    assert taken(hop)[1] == b"A: b\r\nSubject: [SPAM]\r\n\r\nx\r\n"


def test_forged_mail_is_refused_and_the_next_hop_reset(server, hop):
    reply = deliver(server, "192.0.2.66")
    assert (reply.code, reply.text) == (550, "Requested action not taken")
    assert not hop.accepted and not hop.violations
    assert "RSET" in [line.decode() for line in hop.conversations[0].commands]


def test_one_recipient_gets_forged_mail_all_the_same(server, hop):
    assert deliver(server, "192.0.2.66", recipients=(b"<user@example.test>", b"<test@localhost>")).code == 250
    assert b"[FORGED]" in taken(hop)[1]


def test_a_resolver_that_fails_puts_mail_off(server, hop):
    assert deliver(server, "192.0.2.1", sender=b"<a@broken.example>").code == 450
    assert not hop.accepted and not hop.violations


@pytest.mark.parametrize("step, reply", [
    ("mail", b"550 5.1.8 not you\r\n"), ("rcpt", b"450 4.2.1 later\r\n"), ("data", b"451 4.3.0 no room\r\n"),
    ("dot", b"554 5.6.0 not that\r\n"), ("ehlo", b"502 5.5.1 what?\r\n")])
def test_refusals_of_the_next_hop_reach_the_client_where_they_happen(serve, dns, step, reply):
    with NextHop({step: [Say(reply)]}) as hop:
        server = serve(POLICY, settings={"port": hop.port}, options=["--dns-server", dns.address])
        with Sender(server.port) as sender:
            assert sender.reply().text == "hop.test ESMTP"
            said = sender.command(b"EHLO client.test")
            if step != "ehlo":
                said = sender.transaction(MESSAGE)[-1]
            assert b"%d %s\r\n" % (said.code, said.lines[0]) == reply
        assert not hop.violations


def test_messages_given_up_reset_the_next_hop(serve, hop, dns):
    server = serve(POLICY, settings={"port": hop.port}, limits={"message_bytes": 1000}, options=["--dns-server", dns.address])
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.transaction(b"A: b\r\n\r\n" + b"x" * 70 + b"\r\n" * 1000)[-1].code == 552
        assert sender.transaction(MESSAGE)[-1].code == 250
    assert len(hop.accepted) == 1 and not hop.violations
