"""Policies in the style of the predecessor that ask scanners, blocklists and databases run unchanged, with the real services.

MARK and FILTER share their look at a message, as theirs did: ClamAV and SpamAssassin by host and port, their answers logged as
JSON, spamd with the report of six lines, a table of blocklists with functions in it, loops that leak globals. DATABASE keeps
its record by DriverManager, with statements made anew for each message.
"""
import base64
import sqlite3
import subprocess

import databases
import pytest
from peers.dns import DnsThread
from peers.next_hop import NextHop
from peers.sender import Sender
from scanning import EICAR, GTUBE, Clamd, Spamd

TEST_SECONDS = 120

COMMON = """\
//Sys.openlog("mailfilter", Sys.LOG_MAIL);

SmtpServer.listenAddress = [["127.0.0.1", 8025]];
SmtpServer.debugProtocol = true;

Object.defineProperty(Array.prototype, "indexOfStr", {
	value: function (str) {
		for (var i = 0; i < this.length; i++)
			if (this[i].toString() == str)
				return i;
		return -1;
	}
});

SmtpServer.prototype.relayCmd = function (cmd, args) {
	this.smtpClient.sendCommand(cmd, args);
	return this.smtpClient.readResponse();
}
SmtpServer.prototype.smtpInit = function () {
	this.smtpClient = new SmtpClient("127.0.0.1", parseInt(Sys.setting("port")));
	this.smtpClient.connect();
	return this.smtpClient.readResponse();
}
SmtpServer.prototype.smtpHelo = function (hostname) { return this.relayCmd("HELO", this.hostname); }
SmtpServer.prototype.smtpEhlo = function (hostname) { return this.relayCmd("EHLO", this.hostname); }
SmtpServer.prototype.smtpMail = function (path) { return this.relayCmd("MAIL", "FROM: " + path.toString()); }
SmtpServer.prototype.smtpRcpt = function (path) { return this.relayCmd("RCPT", "TO: " + path.toString()); }
SmtpServer.prototype.smtpRset = function () { return this.relayCmd("RSET", undefined); }
SmtpServer.prototype.cleanup = function () {
	this.relayCmd("QUIT", undefined);
	this.smtpClient.disconnect();
}
SmtpServer.prototype.passOn = function (headers, body) {
	var rsp = this.relayCmd("DATA", undefined);
	if (rsp.code != 354)
		return rsp;
	headers.unshift(this.receivedHeader());
	this.smtpClient.sendMessage(headers, body);
	return this.smtpClient.readResponse();
}
"""

LOOK = COMMON + """\
SmtpServer.dnsbl = [
	["list.example", 2],
	["codes.example", 2, function (rr) { return rr.type = Dns.t_a && rr.data == "127.0.0.4"; }]
];

SmtpServer.prototype.filter = function (headers, body) {
	var clamAV = new ClamAV("127.0.0.1", parseInt(Sys.setting("clamd"))), result;
	result = clamAV.scan(headers, body);
	Sys.log(Sys.LOG_INFO, "ClamAV: " + JSON.stringify(result));
	if (result && result.found)
		return "VIRUS";

	result = new SpamAssassin("127.0.0.1", parseInt(Sys.setting("spamd"))).scan(headers, body);
	Sys.log(Sys.LOG_INFO, "SpamAssassin: " + JSON.stringify(result));
	if (result && result.spam)
		return "SPAM";

	if (!this.sender.mailbox.domain)
		return "SPAM";

	var rsp = new SpfServer(Spf.DNS_CACHE).query(this.remoteAddr, this.sender.mailbox.domain);
	Sys.log(Sys.LOG_DEBUG, "SPF: " + Spf.resultStrMap[rsp.result]);
	if (rsp.result == Spf.RESULT_FAIL)
		return "SPAM";

	score = 0;
	for (i in SmtpServer.dnsbl) {
		list = SmtpServer.dnsbl[i];
		answer = Dns.query(Dns.revAddr(this.remoteAddr, list[0]), Dns.t_a);
		if (typeof answer == "number")
			continue;
		for (j in answer.answer)
			if (!list[2] || list[2](answer.answer[j]))
				score += list[1];
	}
	return score >= 2 ? "SPAM" : null;
}
"""

MARK = LOOK + """\
SmtpServer.prototype.smtpData = function (headers, body) {
	if (headers == null && body == null) {
		this.relayCmd("RSET", undefined);
		return null;
	}
	var verdict = this.filter(headers, body), tagged = false;
	if (verdict) {
		for (i in headers)
			if (headers[i].name.toLowerCase() == "subject") {
				headers[i].parts[0] = "[" + verdict + "] " + headers[i].parts[0];
				tagged = true;
			}
		if (!tagged)
			headers.push(new SmtpHeader("Subject", "[" + verdict + "]"));
	}
	return this.passOn(headers, body);
}
"""

FILTER = LOOK + """\
SmtpServer.prototype.smtpData = function (headers, body) {
	if (headers == null) {
		this.relayCmd("RSET", undefined);
		return null;
	}
	if (this.filter(headers, body)) {
		if (this.recipients.indexOfStr("<test@localhost>") == -1) {
			this.relayCmd("RSET", undefined);
			return new SmtpResponse(550, "Requested action not taken");
		}
		for (i in headers)
			if (headers[i].name.toLowerCase() == "subject")
				headers[i].parts[0] = "[SPAM] " + headers[i].parts[0];
	}
	return this.passOn(headers, body);
}
"""

DATABASE = COMMON + """\
Sys.loadModule("mod_sql.so");
Sys.loadModule("mod_mysql.so");

function connect() {
	var url = Sys.setting("url");
	if (Sys.setting("user", ""))
		return DriverManager.getConnection(url, Sys.setting("user"), "secret");
	return DriverManager.getConnection(url);
}

SmtpServer.prototype.begin = function (subject) {
	var stmt = this.sql.prepareStatement("INSERT INTO log (sender, peer, subject) VALUES (?, ?, ?)", eval(Sys.setting("keys")));
	stmt.setString(1, this.sender.toString());
	stmt.setString(2, this.remoteAddr);
	stmt.setString(3, subject);
	stmt.executeUpdate();
	var keys = stmt.getGeneratedKeys();
	keys.next();
	return keys.getNumber(1);
}

SmtpServer.prototype.smtpData = function (headers, body) {
	if (headers == null) {
		this.relayCmd("RSET", undefined);
		return null;
	}
	this.sql = this.sql || connect();
	var id = this.begin(headers[0].getValue()), rsp = this.passOn(headers, body);

	var stmt = this.sql.createPreparedStatement("UPDATE log SET code = ?, text = ? WHERE id = ?");
	stmt.setNumber(1, rsp.code);
	stmt.setString(2, rsp.message.join("/"));
	stmt.setNumber(3, id);
	if (stmt.executeUpdate() != 1)
		Sys.log(Sys.LOG_ERR, "nothing updated");
	for (var i in this.recipients) {
		stmt = this.sql.prepareStatement("INSERT INTO rcpt (log, who) VALUES (?, ?)");
		stmt.setNumber(1, id);
		stmt.setString(2, this.recipients[i].toString());
		stmt.execute();
	}

	var rs = this.sql.createStatement().executeQuery("SELECT COUNT(*) AS n, MAX(text) AS last FROM log");
	while (rs.next())
		Sys.log(Sys.LOG_INFO, "rows: " + rs.getNumber(1) + " " + rs.getString(2));
	return rsp;
}
"""

SIX_LINES = ["_HOSTNAME_", "_VERSION_", "_SUBVERSION_", "_RULESVERSION_", "_BAYES_", "_TESTSSCORES(,)_"]
GOOD, LISTED, CODED, OTHER, FORGER = "192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5", "192.0.2.66"
ZONE = {("b.test", "TXT"): ['b.test 60 IN TXT "v=spf1 ip4:192.0.2.0/28 -all"'],
        ("2.2.0.192.list.example", "A"): ["2.2.0.192.list.example 60 IN A 127.0.0.2"],
        ("4.2.0.192.codes.example", "A"): ["4.2.0.192.codes.example 60 IN A 127.0.0.4"],
        ("5.2.0.192.codes.example", "A"): ["5.2.0.192.codes.example 60 IN A 127.0.0.9"]}
HEAD = b"Subject: Hello\r\nFrom: a@b.test\r\n"
HAM, SPAM, VIRUS = HEAD + b"\r\nHi\r\n", HEAD + b"\r\n" + GTUBE + b"\r\n", (
    HEAD + b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(EICAR) + b"\r\n")


@pytest.fixture(scope="module")
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture(scope="module")
def services():
    with DnsThread(ZONE) as dns:
        clamd, spamd = Clamd(), Spamd(SIX_LINES)
        yield {"clamd": clamd.port, "spamd": spamd.port}, dns.address
        spamd.finish()
        clamd.finish()


@pytest.fixture(scope="module", params=[MARK, FILTER], ids=["mark", "filter"])
def asked(request, serve_module, services, hop):
    """(whether it is FILTER, the server)"""
    settings, dns = services
    server = serve_module(request.param, settings={"port": hop.port, **settings}, listen=["proxy:127.0.0.1:0"],
                          options=["--dns-server", dns, "--log-level", "debug"])
    return request.param is FILTER, server


def deliver(server, hop, content=HAM, address=GOOD, proxied=True, **envelope):
    """(the last reply, the subject that the next hop read or None)"""
    taken = list(hop.accepted)
    with Sender(server.port, patience=40) as sender:
        if proxied:
            sender.send(f"PROXY TCP4 {address} 192.0.2.99 1025 25\r\n".encode())
        sender.hello()
        reply = sender.transaction(content, **{"sender": b"<a@b.test>", **envelope})[-1]
        sender.command(b"QUIT")
    assert not hop.violations
    new = [one.content for one in hop.accepted if not any(one is other for other in taken)]
    return reply, new[0].partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() if new else None


@pytest.mark.parametrize("how, word", [
    ({}, None), ({"content": SPAM}, "SPAM"), ({"content": VIRUS}, "VIRUS"), ({"sender": b"<>"}, "SPAM"),
    ({"address": FORGER}, "SPAM"),
    ({"address": LISTED}, "SPAM"), ({"address": CODED}, "SPAM"), ({"address": OTHER}, None)],
    ids=["ham", "spam", "virus", "null-sender", "forged", "listed", "callback", "callback-says-no"])
def test_the_outcomes_are_those_of_the_predecessor(asked, hop, how, word):
    filters, server = asked
    reply, subject = deliver(server, hop, **how)
    if word is None:
        assert (reply.text, subject) == ("2.0.0 taken as H1", "Hello")
    elif filters:
        assert (reply.code, reply.text, subject) == (550, "Requested action not taken", None)
        assert b"RSET" in hop.conversations[-1].received
        reply, subject = deliver(server, hop, **how, recipients=(b"<x@b.test>", b"<test@localhost>"))
        assert (reply.code, subject) == (250, "[SPAM] Hello")
    else:
        assert (reply.code, subject) == (250, f"[{word}] Hello")


def test_what_the_scanners_say_can_be_logged(asked, hop):
    deliver(asked[1], hop, SPAM)
    log = asked[1].wait_for_log('SpamAssassin: {"spam":true')
    assert 'ClamAV: {"progver":"ClamAV' in log and '"found":false}' in log and '"testsscores":"GTUBE=1000"' in log


def test_a_scanner_that_fails_is_a_451(serve, services, hop):
    settings, dns = services
    server = serve(MARK, settings={"port": hop.port, **settings, "clamd": 9}, options=["--dns-server", dns])
    reply, subject = deliver(server, hop, proxied=False)
    assert reply.code == 451 and subject is None


SERIAL = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY", "mysql": "INTEGER PRIMARY KEY AUTO_INCREMENT"}


@pytest.mark.parametrize("product", SERIAL)
def test_a_record_by_the_predecessors_api(serve, hop, product, tmp_path):
    """Rows in all three databases, several messages in one session, hostile text in values."""
    tables = f"CREATE TABLE log (id {SERIAL[product]}, sender TEXT, peer TEXT, subject TEXT, code INTEGER, text TEXT); " \
             "CREATE TABLE rcpt (log INTEGER, who TEXT);"
    question = "SELECT id, sender, peer, subject, code, text, who FROM log JOIN rcpt ON rcpt.log = log.id ORDER BY id, who"
    server_of = {"postgresql": databases.PostgreSql, "mysql": databases.MariaDb}
    database = server_of[product]() if product in server_of else None
    try:
        if database is None:
            settings = {"url": f"sqlite:{tmp_path}/log.db", "keys": "true"}

            def ask(text):
                with sqlite3.connect(tmp_path / "log.db") as file:
                    file.executescript(text)
                    return ["|".join(map(str, row)) for row in file.execute(question)]
        else:
            name = {"postgresql": "postgres", "mysql": "mail"}[product]
            settings = {"url": f"{product}://127.0.0.1:{database.port}/{name}", "user": "mail",
                        "keys": {"postgresql": "['id']", "mysql": "Statement.RETURN_GENERATED_KEYS"}[product]}
            client = [databases.program("psql", "/usr/lib/postgresql/*/bin"), "-XqAt", "-v", "ON_ERROR_STOP=1", database.url]
            if product == "mysql":
                client = [databases.program("mariadb"), "--no-defaults", "-N", "-B", "-h127.0.0.1", f"-P{database.port}",
                          "-umail", "-psecret", "mail"]

            def ask(text):
                done = subprocess.run(client, input=f"{text}{question};", capture_output=True, text=True, timeout=50, check=True)
                return done.stdout.replace("\t", "|").splitlines()
        assert ask(tables) == []
        server = serve(DATABASE, settings={"port": hop.port, **settings})
        with Sender(server.port, patience=40) as sender:
            sender.hello()
            sender.deliver(HAM, sender=b"<a@b.test>", recipients=(b"<x@b.test>", b"<y@b.test>"))
            sender.deliver(b"Subject: '); DROP TABLE log; -- ?\r\n\r\nx\r\n", sender=b"<>")
            sender.command(b"QUIT")
        assert ask("") == [
            "1|<a@b.test>|127.0.0.1|Hello|250|2.0.0 taken as H1|<x@b.test>",
            "1|<a@b.test>|127.0.0.1|Hello|250|2.0.0 taken as H1|<y@b.test>",
            "2|<>|127.0.0.1|'); DROP TABLE log; -- ?|250|2.0.0 taken as H1|<user@example.test>"]
        assert "rows: 2 2.0.0 taken as H1" in server.wait_for_log("rows: 2") and "nothing updated" not in server.log
    finally:
        if database is not None:
            database.finish()
