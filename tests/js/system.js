// Sys, SmtpServer.receivedHeader, SmtpClient's checks of its arguments, and what policies of the predecessor rely on.

test("constants", function () {
    same([Sys.LOG_EMERG, Sys.LOG_ALERT, Sys.LOG_CRIT, Sys.LOG_ERR, Sys.LOG_WARNING, Sys.LOG_NOTICE, Sys.LOG_INFO, Sys.LOG_DEBUG],
        [0, 1, 2, 3, 4, 5, 6, 7]);
    same([Sys.LOG_KERN, Sys.LOG_USER, Sys.LOG_MAIL, Sys.LOG_DAEMON, Sys.LOG_AUTH, Sys.LOG_SYSLOG, Sys.LOG_LPR, Sys.LOG_NEWS,
        Sys.LOG_UUCP, Sys.LOG_CRON, Sys.LOG_AUTHPRIV, Sys.LOG_FTP], [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88]);
    same([Sys.LOG_LOCAL0, Sys.LOG_LOCAL7, Sys.LOG_PRIMASK, Sys.LOG_FACMASK], [128, 184, 7, 1016]);
});
test("settings", function () {
    same(Sys.setting("word"), "some text");
    same(Sys.setting("number"), " 42.5 ");
    same(Sys.setting("number", 1), 42.5);
    same([Sys.setting("yes", false), Sys.setting("no", true), Sys.setting("number", "x")], [true, false, " 42.5 "]);
    same([Sys.setting("none", 5), Sys.setting("none", undefined), Sys.setting("none", null), Sys.setting("empty", "x")],
        [5, undefined, null, ""]);
    throws(function () { Sys.setting("none"); }, /setting 'none' is needed: give it with --set none=VALUE/);
    throws(function () { Sys.setting("word", 1); }, /setting 'word' is 'some text'; it must be a number/);
    throws(function () { Sys.setting("half", 1); }, /must be a number/);
    throws(function () { Sys.setting("empty", 1); }, /must be a number/);
    throws(function () { Sys.setting("word", true); }, /must be true or false/);
    throws(function () { Sys.setting("empty", true); }, /must be true or false/);
});
test("loadModule", function () {
    same([Sys.loadModule("mod_sql.so"), Sys.loadModule("mod_mysql.so")], [undefined, undefined]);
    throws(function () { Sys.loadModule("mod_other.so"); }, /no module 'mod_other.so'/);
    throws(function () { Sys.loadModule(); }, /no module/);
});
test("inspect", function () {
    same(Sys.inspect(), "");
    same(Sys.inspect(1, "x", true), "$0 = Number(1.000000)\n$1 = String(x)\n$2 = Boolean(true)\n");
    same(Sys.inspect(null, undefined, function () {}, Math.sin), "$0 = null\n$1 = undefined\n$2 = Function\n$3 = NativeFn\n");
    same(Sys.inspect([1, [], {}], {a: "b"}), "$0 = Array(3) [\n    Number(1.000000)\n    Array(0) [\n    ]\n    Object {\n    }\n]\n" +
        "$1 = Object {\n    a = String(b)\n}\n");
    same(Sys.inspect(NaN, Infinity, 1e30, Symbol("x")), "$0 = Number(NaN)\n$1 = Number(Infinity)\n$2 = Number(1e+30)\n$3 = Symbol()\n");
    var loop = {}, deep = [], i;
    loop.loop = loop;
    same(Sys.inspect(loop), "$0 = Object {\n    loop = …\n}\n");
    for (i = 0; i < 100; i++)
        deep = [deep];
    same(Sys.inspect(deep).length < 3000, true);
    same(Sys.inspect(new Array(2000).join("x")).length, 1999 + 14);
    same(Sys.inspect(Object.create(null)), "$0 = Object {\n}\n");
});

test("receivedHeader", function (server) {
    var header;
    server.clientname = "client.test";
    server.proto = "ESMTP";
    header = server.receivedHeader();
    same(header instanceof SmtpHeader && header.name, "Received");
    same(header.parts.slice(0, 2), ["from client.test (client.example [192.0.2.1])", "\tby mx.test (Mailfilter) with ESMTP id T-1;"]);
    same(/^\t(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(.+\)$/.test(header.parts[2]), true);
    same(header.parts.length, 3);
});
test("receivedHeader with id and recipient", function (server) {
    var path = new SmtpPath();
    path.parse("<to@there.test>");
    same(server.receivedHeader("I-1", path).parts.slice(1, 3), ["\tby mx.test (Mailfilter) with SMTP id I-1", "\tfor <to@there.test>;"]);
    same(server.receivedHeader("", "<x@y>").parts.slice(1, 3), ["\tby mx.test (Mailfilter) with SMTP", "\tfor <x@y>;"]);
});
test("receivedHeader of clients without a name", function (server) {
    same(server.receivedHeader().parts[0], "from unknown (client.example [192.0.2.1])");
    server.remoteAddr = "192.0.2.9";
    same(server.receivedHeader().parts[0], "from unknown (unknown [192.0.2.9])");
    server.remoteAddr = "2001:db8::1";
    same(server.receivedHeader().parts[0], "from unknown (unknown [IPv6:2001:db8::1])");
    server.clientname = "evil\r\nname (x) <y>";
    same(server.receivedHeader().parts[0], "from evil??name??x???y? (unknown [IPv6:2001:db8::1])");
    server.remoteAddr = "local";
    server.clientname = "c";
    same(/^from c \(unknown/.test(server.receivedHeader().parts[0]), true);
});

test("SmtpClient checks its arguments", function () {
    same([new SmtpClient("h").port, new SmtpClient("h", "26").port, new SmtpClient(5).host], [25, 26, "5"]);
    [["h", 0], ["h", 65536], ["h", -1], ["", 25], ["h", "x"]].forEach(function (row) {
        throws(function () { new SmtpClient(row[0], row[1]).connect(); }, /Invalid host or port/);
    });
    var client = new SmtpClient("h");
    throws(function () { client.readResponse(); }, /not connected: call connect\(\) first/);
    throws(function () { client.sendCommand("NOOP"); }, /not connected/);
    throws(function () { client.sendMessage(null, null); }, /not connected/);
    same(client.disconnect(), undefined);
});
test("SmtpClient talks", function () {
    var client = new SmtpClient("h"), response;
    same(client.connect(), undefined);
    same(JSON.stringify(client), '{"host":"h","port":25}');
    response = client.readResponse();
    same([response.code, response.message, response.disconnect, response instanceof SmtpResponse], [250, ["fine"], false, true]);
});

test("for..in shows what a policy expects", function (server) {
    var keys = [], key;
    for (key in new SmtpResponse(250, "x")) keys.push(key);
    same(keys, ["code", "message", "disconnect"]);
    keys = [];
    for (key in [new SmtpHeader("A", "b")]) keys.push(key);
    same(keys, ["0"]);
    same(Object.keys(new SmtpHeader("A", "b")), ["name", "parts"]);
    same(Object.keys(new SmtpPath()), ["domains", "mailbox", "params"]);
    same(Object.keys(server), ["remoteAddr", "remotePort", "clientname", "proto", "sender", "recipients", "disconnect"]);
    same([server.remoteAddr, server.remotePort, server.clientname, server.proto, server.sender, server.recipients, server.disconnect],
        ["192.0.2.1", 1025, null, "SMTP", null, [], false]);
    same([server.sessionId, server.hostname], ["T-1", "mx.test"]);
});
test("the library's own door is not to be seen", function () {
    same(typeof host, "undefined");
    ["Sys", "SmtpServer", "SmtpClient", "SmtpPath", "SmtpHeader", "SmtpResponse", "Maildir"].forEach(function (name) {
        same(typeof (0, eval)(name) !== "undefined", true, name);
    });
});

test("the dates of mail", function () {
    function at(text) { return new Date(text).getTime(); }
    same(at("Sat, 29 Feb 2020 00:00:00 +0000"), 1582934400000);
    same(at(" Mon,02 Nov 2020 12:34:56 +0100 (CET)"), 1604316896000);
    same(at("1 January 2021 10:00 -0530"), 1609515000000);
    same(at("5 Feb 2020 10:11 EST"), 1580915460000);
    same(at("Tue, 3 Mar 20 01:02:03 GMT"), 1583197323000);
    same(at("3 Mar 99 01:02:03 Z"), Date.UTC(1999, 2, 3, 1, 2, 3));
    same(Date.parse("Thu, 1 Jan 1970 00:00:01 +0000"), 1000);
    same(isNaN(at("yesterday")), true);
    same(isNaN(at("Sat, 29 Foo 2020 00:00:00 +0000")), true);
    same(at("2020-02-29"), 1582934400000);
    same(at(Date.UTC(2020, 1, 29)), 1582934400000);
    same(at(new Date(5)), 5);
});
