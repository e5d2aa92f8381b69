// Spf and SpfServer, with checks answered by the test.

test("check takes paths and texts", function () {
    var path = new SmtpPath(), found;
    path.parse('<user@pass.example>');
    found = Spf.check('192.0.2.1', path, 'helo.example');
    same(found.result, 'pass');
    same(found.domain, 'asked 192.0.2.1 user@pass.example helo.example');
    same(Spf.check('192.0.2.1', '<user@fail.example>').domain, 'asked 192.0.2.1 user@fail.example ');
    path.parse('<>');
    same(Spf.check('192.0.2.1', path, 'helo.example').domain, 'asked 192.0.2.1  helo.example');
    same(Spf.check('192.0.2.1', null, 'helo.example').domain, 'asked 192.0.2.1  helo.example');
    same(Spf.checkHelo('192.0.2.1', 'helo.example').domain, 'asked 192.0.2.1  helo.example');
});

test("SpfServer answers as the predecessor did", function () {
    var server = new SpfServer(Spf.DNS_CACHE), found = server.query('192.0.2.1', 'user@pass.example');
    same(found.result, Spf.RESULT_PASS);
    same([found.status, found.errcode, found.reason], [0, 0, Spf.REASON_MECH]);
    same(found.spfRecord, 'Received-SPF: header');
    same(found.spfValue, 'header');
    same(found.headerComment, 'comment');
    same(found.smtpComment, null);
    same(found.errors, []);
    same(found instanceof SpfResponse, true);
    found = server.query('192.0.2.1', 'fail.example');
    same(found.result, Spf.RESULT_FAIL);
    same(found.smtpComment, 'comment');
    same(server.query('192.0.2.1', 'softfail.example').result, Spf.RESULT_SOFTFAIL);
    same(server.query('192.0.2.1', 'none.example').errcode, Spf.E_NOT_SPF);
});

test("errors are told apart, as they were not by the predecessor", function () {
    var server = new SpfServer(Spf.DNS_RESOLV);
    same(server.query('192.0.2.1', 'temperror.example').result, Spf.RESULT_TEMPERROR);
    same(server.query('192.0.2.1', 'temperror.example').errcode, Spf.E_DNS_ERROR);
    same(server.query('192.0.2.1', 'permerror.example').result, Spf.RESULT_PERMERROR);
    same(server.query('192.0.2.1', 'permerror.example').errors[0].isError, true);
});

test("localhost is always allowed", function () {
    var found = new SpfServer(Spf.DNS_ZONE).query('127.0.0.1', 'fail.example');
    same(found.result, Spf.RESULT_PASS);
    same(found.reason, Spf.REASON_LOCALHOST);
});

test("invalid arguments", function () {
    throws(function () { return new SpfServer(); }, /Invalid argument/);
    throws(function () { return new SpfServer(3); }, /Invalid argument/);
    var server = new SpfServer(Spf.DNS_CACHE);
    throws(function () { server.query(); }, /Invalid argument/);
    throws(function () { server.query('nonsense', 'a@b.example'); }, /Invalid argument/);
});

test("numbers and maps", function () {
    same(Spf.resultStrMap[Spf.RESULT_PERMERROR], 'permerror');
    same(Spf.resultChrMap.slice(1).join(''), '?+-~XTP');
    same(0 in Spf.resultStrMap, false);
    same([Spf.E_MULTIPLE_RECORDS, Spf.E_DNS_ERROR, Spf.E_UNKNOWN_MECH], [32, 26, 6]);
    same([Spf.DNS_RESOLV, Spf.DNS_CACHE, Spf.DNS_ZONE, Spf.REASON_2MX], [0, 1, 2, 6]);
});
