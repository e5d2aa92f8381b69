// Dns, with look-ups answered by the test.

test("numbers of record types", function () {
    same(Dns.t_invalid, 0);
    same(Dns.t_a, 1);
    same(Dns.t_mx, 15);
    same(Dns.t_aaaa, 28);
    same(Dns.t_opt, 41);
    same(Dns.t_rrsig, 46);
    same(Dns.t_smimea, 53);
    same(Dns.t_hip, 55);
    same(Dns.t_csync, 62);
    same(Dns.t_spf, 99);
    same(Dns.t_eui64, 109);
    same(Dns.t_tkey, 249);
    same(Dns.t_any, 255);
    same(Dns.t_avc, 258);
    same(Dns.t_ta, 32768);
    same(Dns.t_dlv, 32769);
    same([Dns.HOST_NOT_FOUND, Dns.TRY_AGAIN, Dns.NO_RECOVERY, Dns.NO_DATA].join(), '1,2,3,4');
});

test("revAddr reverses addresses", function () {
    same(Dns.revAddr('192.0.2.1'), '1.2.0.192.in-addr.arpa');
    same(Dns.revAddr('192.0.2.1', 'zen.example'), '1.2.0.192.zen.example');
    same(Dns.revAddr('2001:db8::1'),
        '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa');
    same(Dns.revAddr('2001:db8::1', 'v6.example').slice(-24), '.8.b.d.0.1.0.0.2.v6.example'.slice(-24));
    same(Dns.revAddr('::ffff:192.0.2.1', 'zen.example'), '1.2.0.192.zen.example');
    same(Dns.revAddr('local'), null);
    same(Dns.revAddr('192.0.2'), null);
    throws(function () { Dns.revAddr(); }, /an address is needed/);
});

test("lookup gives records with their parts", function () {
    var mx = Dns.lookup('example.org', 'MX');
    same(mx.status, 'found');
    same(mx.temporary, false);
    same(mx.ttl, 60);
    same(mx.data.join(), '10 mx.example.org');
    same(mx.records[0].exchange, 'mx.example.org');
    same(mx.records[0].preference, 10);
    same(mx.records[0].type, Dns.t_mx);
});

test("lookup tells what went wrong", function () {
    var none = Dns.lookup('none.example', Dns.t_a), late = Dns.lookup('slow.example', Dns.t_a, { timeout: 0.5 });
    same(none.status, 'nxdomain');
    same(none.temporary, false);
    same(none.data.length, 0);
    same(late.status, 'timeout');
    same(late.temporary, true);
    same(late.reason, 'no answer within 0.5 s');
});

test("query answers as the predecessor did", function () {
    var found = Dns.query('example.org', Dns.t_mx);
    same(found.question[0].name, 'example.org');
    same(found.answer[0].data, '10 mx.example.org');
    same(found.answer[0].ttl, 60);
    same(found.ns.length + found.additional.length, 0);
    same(Dns.query('none.example', Dns.t_a), Dns.HOST_NOT_FOUND);
    same(Dns.query('slow.example', Dns.t_a), Dns.TRY_AGAIN);
    same(Dns.query('refused.example', Dns.t_a), Dns.NO_RECOVERY);
    same(Dns.query('empty.example', Dns.t_a), Dns.NO_DATA);
});

test("what is no type or no time is an error of the policy", function () {
    throws(function () { Dns.lookup('example.org', 'NOSUCH'); }, /there is no record type NOSUCH/);
    throws(function () { Dns.lookup('example.org', 0); }, /there is no record type 0/);
    throws(function () { Dns.lookup('example.org', 'A', { timeout: 0 }); }, /timeout is a number of seconds/);
});

test("iprev", function () {
    var found = Dns.iprev('192.0.2.1');
    same(found.result, 'pass');
    same(found.name, 'client.example');
    same(found.names.join(), 'client.example,other.example');
});
