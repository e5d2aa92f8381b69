// Dnsbl, with checks answered by the test.

test("lists may be written in three ways", function () {
    var found = new Dnsbl(['one.example', ['two.example', 2.5, '127.0.0.2'], {
        zone: 'three.example', allow: true, codes: ['127.0.0.2', '127.0.0.4-127.0.0.11'], mask: 6, domains: true
    }], { threshold: 3, timeout: 2 }).check('192.0.2.1');
    same(found.skipped, [
        "['one.example', 1, False, [], 0, False]",
        "['two.example', 2.5, False, [[2130706434, 2130706434]], 0, False]",
        "['three.example', 1, True, [[2130706434, 2130706434], [2130706436, 2130706443]], 6, True]"
    ]);
    same(found.failed, [{ zone: 'two.example', reason: '3 2' }]);
    same(found.hits, [{ subject: '192.0.2.1', zone: 'one.example', weight: 1, allow: false, codes: ['127.0.0.2', '127.0.0.4'] }]);
    same([found.listed, found.score, found.allowed], [false, 2, false]);
    same(new Dnsbl(['one.example']).check(['192.0.2.1', '192.0.2.2']).listed, true);
});

test("a callback judges each record of a listing", function () {
    var seen = [], lists = new Dnsbl([['one.example', function (rr) {
        seen.push(rr.data);
        return rr.type = Dns.t_a && rr.data === '127.0.0.4';
    }]]), found = lists.check('192.0.2.1');
    same(found.listed, true);
    same(seen, ['127.0.0.2', '127.0.0.4']);
    lists = new Dnsbl([['one.example', function () { return false; }]]);
    found = lists.check('192.0.2.1');
    same([found.listed, found.hits.length, found.score], [false, 0, 0]);
});

test("what is no list is an error of the policy", function () {
    throws(function () { return new Dnsbl([5]); }, /a list is a name/);
    throws(function () { return new Dnsbl([{ zone: 'a.example', codes: '127.0.0' }]); }, /127.0.0 is no return code/);
    throws(function () { return new Dnsbl([{ zone: 'a.example', codes: '127.0.0.300' }]); }, /is no return code/);
});

test("domains of links", function () {
    same(Dnsbl.domainsIn('see http://www.one.example/x and https://two.example'), ['one.example', 'two.example']);
    same(Dnsbl.domainsIn('http://one.example http://two.example', 1), ['one.example']);
});
