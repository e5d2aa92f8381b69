// AuthResults: reading and writing (RFC 8601), and removing what is forged.

function read(text) { return AuthResults.read(text); }
function ok(condition, what) { same(!!condition, true, what); }
function written(results) { return AuthResults.write('mx.example.org', results).toString(); }

test("a field as the standard has them", function () {
    var found = read('example.com 1;\r\n\tspf=pass (good (really)) smtp.mailfrom=example.net;\r\n' +
        ' dkim/2 = fail reason="bad \\"signature\\"" header.i=@mail-router.example.net header.b="oINEO8hg"');
    same([found.authservId, found.version, found.problem, found.results.length], ['example.com', 1, null, 2]);
    same(found.results[0], { method: 'spf', version: 1, result: 'pass', reason: null, comment: 'good (really)',
        properties: { 'smtp.mailfrom': 'example.net' } });
    same([found.results[1].version, found.results[1].reason, found.results[1].properties['header.i'],
        found.results[1].properties['header.b']], [2, 'bad "signature"', '@mail-router.example.net', 'oINEO8hg']);
});

test("no result, comments everywhere, blanks everywhere", function () {
    same(read('example.org 1; none').results, []);
    same(read('example.org; none').problem, null);
    var found = read('(a) foo.example.net (b) 1 (c) ; (d) DKIM (e) / (f) 1 (g) = (h) Pass (i) policy (j) . (k) expired (l) = (m) x (n)');
    same([found.authservId, found.problem], ['foo.example.net', null]);
    same([found.results[0].method, found.results[0].result, found.results[0].properties['policy.expired']], ['dkim', 'pass', 'x']);
});

test("addresses and what the world leaves unquoted", function () {
    var found = read('mx; auth=pass (cram-md5) smtp.auth="a b"@example.com; dkim=pass header.b=Ab/C+d==; x=y a.b=c:d/e');
    same(found.results.map(function (one) { return one.properties; }),
        [{ 'smtp.auth': 'a b@example.com' }, { 'header.b': 'Ab/C+d==' }, { 'a.b': 'c:d/e' }]);
});

test("what cannot be understood ends what is believed", function () {
    ['', ';', '; spf=pass', 'mx spf=pass', 'mx; spf', 'mx; spf=', 'mx; spf="pass"', 'mx; spf=pa=ss', 'mx; (', 'mx (((', '"mx; spf=pass',
        'mx; spf=pass smtp', 'mx; spf=pass smtp.=x', 'mx; spf=pass reason=', 'spf=pass smtp.mailfrom=x', 'mx; spf=pass)'
    ].forEach(function (text) {
        var found = read(text);
        ok(found.problem !== null, text);
        same(found.results, []);
    });
    same(read('mx; spf=pass; dkim=; arc=pass').results.length, 1);
    same(read('mx; spf=pass a.b=c a.b=d __proto__.x=y').results.length, 0);
    same(read('mx; spf=pass a.b=c a.b=d').results[0].properties, { 'a.b': 'c' });
});

test("hostile values are read in no time", function () {
    [new Array(30000).join('('), 'mx' + new Array(20000).join(' ;'), 'mx; spf=pass ' + new Array(10000).join('a.b=c '),
        'mx; spf=pass (' + new Array(30000).join('\\'), 'mx; spf=pass reason="' + new Array(30000).join('\\"'),
        'mx; ' + new Array(5000).join('spf=pass;'), new Array(30000).join('a-'), 'mx; ' + new Array(60000).join('-'),
        new Array(70000).join('a')].forEach(function (text) { ok(read(text).results.length <= 200); });
});

test("writing folds and quotes", function () {
    same(written([]), 'Authentication-Results: mx.example.org; none');
    same(written([{ method: 'spf', result: 'pass', properties: { 'smtp.mailfrom': 'a@example.org' } },
        { method: 'dkim', result: 'fail', reason: 'the body has been changed', comment: '2048-bit key',
            properties: { 'header.d': 'example.org', 'header.s': null, 'header.i': '@example.org', 'header.b': 'ab/+' } }]),
    'Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=a@example.org;\r\n' +
        '\tdkim=fail (2048-bit key) reason="the body has been changed"\r\n\theader.d=example.org header.i=@example.org header.b="ab/+"');
});

test("nothing can be injected", function () {
    var bad = ['x; dkim=pass', 'x\r\nSubject: y', 'x" dkim=pass', 'x\\', 'x\\"; spf=pass', ') dkim=pass (', '(', 'x\u0000y', 'x\u2028y',
        'a@b; c', 'a b@c', '"x"', '\u00e4@example.org', '\udcff\udc80', new Array(5000).join('x;')];
    bad.forEach(function (text) {
        var header = AuthResults.write('mx.example.org', [
            { method: 'spf', result: 'fail', reason: text, comment: text, properties: { 'smtp.mailfrom': text } }]), found, whole;
        whole = header.parts.join('\r\n');
        ok(!/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(whole) && !/\n[^\t]/.test(whole) && !/\r(?!\n)/.test(whole), whole);
        found = read(header);
        same([found.problem, found.results.length, found.authservId], [null, 1, 'mx.example.org']);
        same([found.results[0].method, found.results[0].result, Object.keys(found.results[0].properties)],
            ['spf', 'fail', ['smtp.mailfrom']]);
        header.parts.forEach(function (part) { ok(part.length < 998); });
    });
    throws(function () { written([{ method: 'spf=pass;x', result: 'pass' }]); }, /a method is a word/);
    throws(function () { written([{ method: 'spf', result: 'pass; dkim=pass' }]); }, /a result is a word/);
    throws(function () { written([{ method: 'spf', result: 'pass', properties: { 'a.b=c d': 'x' } }]); }, /a property is a word/);
});

test("what was written is read again", function () {
    var results = [{ method: 'spf', version: 1, result: 'pass', reason: 'a "reason" \\ (x)', comment: 'c (d) \\',
        properties: { 'smtp.mailfrom': '"a b"@example.org', 'policy.x': 'one two' } }];
    same(read(AuthResults.write('"odd" id', results)).results, results);
    same(read(AuthResults.write('"odd" id', results)).authservId, '"odd" id');
});

var FORGED = [
    'mx.example.org; spf=pass', 'MX.Example.ORG; spf=pass', ' \t mx.example.org ; spf=pass', '(c) mx.example.org; x=y',
    '(a (b) \\) c)\r\n\t(d) mx.example.org 1; x=y', '"mx.example.org"; x=y', '"m\\x.example.org"; x=y', 'mx.example.org.; x=y',
    '\r\n\tmx.example.org; x=y', 'mx.example.org', 'mx.example.org 1', 'mx.example.org foo; x=y', 'mx.example.org(c); x=y',
    'foo mx.example.org; x=y', '; mx.example.org; x=y', 'spf=pass smtp.mailfrom=x', '(unclosed mx.example.org; x=y', '',
    'mx\u200b.example.org; x=y', 'mx.example\u3002org; x=y', '\uff4d\uff58.example.org; x=y', '\ufeffmx.example.org; x=y',
    'mx.example.org\u0000; x=y', '=?utf-8?q?mx.example.org?=; x=y', 'm\udcffx.example.org; x=y', 'xn--\u00e4.example; x=y', '"mx.example.org'
];

test("forged fields of ours are removed", function () {
    FORGED.forEach(function (text) {
        var headers = [new SmtpHeader('Subject', 'x'), new SmtpHeader('authentication-RESULTS', text.split('\r\n')), new SmtpHeader('To', 'y')];
        same(AuthResults.remove(headers, 'mx.example.org'), 1);
        same(headers.map(function (header) { return header.name; }), ['Subject', 'To']);
    });
});

test("internationalised names are one name in both spellings", function () {
    ['b\u00fccher.example; x=y', 'B\u00dcCHER.example; x=y', 'xn--bcher-kva.example; x=y', 'XN--BCHER-KVA.EXAMPLE; x=y',
        'bu\u0308cher.example; x=y'].forEach(function (text) {
        same(AuthResults.remove([new SmtpHeader('Authentication-Results', text)], 'b\u00fccher.example'), 1);
        same(AuthResults.remove([new SmtpHeader('Authentication-Results', text)], 'xn--bcher-kva.example'), 1);
    });
});

test("lines that only a generous reader takes for the field are removed", function () {
    var headers = [new SmtpHeader('', ['Authentication-Results\u0000: mx.example.org; spf=pass']),
        'Authentication-Results : mx.example.org; spf=pass', new SmtpHeader('', ['Authentication-Results\u00a0: x; y=z'])];
    same(AuthResults.remove(headers, 'mx.example.org'), 3);
    same(headers, []);
});

test("fields of others stay", function () {
    var headers = ['other.example; spf=pass', 'mx.example.org.evil.example; x=y', 'amx.example.org; x=y', 'example.org; x=y',
        '(mx.example.org) other.example; x=y', '"an id with blanks"; x=y', 'm\u00fcnchen.example 1; none'].map(function (text) {
        return new SmtpHeader('Authentication-Results', text);
    }).concat([new SmtpHeader('ARC-Authentication-Results', 'i=1; mx.example.org; spf=pass'), new SmtpHeader('', ['no header at all'])]);
    same(AuthResults.remove(headers, 'mx.example.org'), 0);
    same(headers.length, 9);
});

test("one field sums a session up", function () {
    var header = AuthResults.header('mx.example.org', {
        spf: { result: 'pass', identity: 'mailfrom', domain: 'example.org', problem: null, sender: 'a@example.org' },
        helo: { result: 'none', identity: 'helo', domain: 'client.example', problem: null },
        iprev: { result: 'pass', name: 'client.example', address: '2001:db8::1' },
        dkim: [{ result: 'pass', reason: null, domain: 'example.org', identity: '@example.org', selector: 's', algorithm: 'rsa-sha256',
            keyBits: 2048, testing: true, value: 'abcdefghij' }],
        arc: Arc.verify([], 'text'), dmarc: { result: 'fail', domain: 'example.org', policy: 'reject', disposition: 'none' },
        dnsbl: { listed: true, score: 2, hits: [{ zone: 'a.example' }, { zone: 'b.example' }] }, auth: 'me@example.org'
    }), by = {};
    read(header).results.forEach(function (one) { by[one.method] = by[one.method] || one; });
    same(read(header).problem, null);
    same(Object.keys(by), ['auth', 'iprev', 'spf', 'dkim', 'arc', 'dmarc', 'x-dnsbl']);
    same(by.iprev.properties, { 'policy.iprev': '2001:db8::1' });
    same(by.spf.properties, { 'smtp.helo': 'client.example' });
    same(by.dkim.properties, { 'header.d': 'example.org', 'header.i': '@example.org', 'header.s': 's', 'header.a': 'rsa-sha256',
        'header.b': 'abcdefgh' });
    same(by.dkim.comment, '2048-bit key, testing');
    same(by.arc.properties, { 'header.oldest-pass': '0' });
    same([by.dmarc.comment, by.dmarc.properties], ['p=reject dis=none', { 'header.from': 'example.org' }]);
    same(by['x-dnsbl'].properties, { 'policy.score': '2', 'policy.zones': 'a.example b.example' });
    same(AuthResults.header('mx', { dkim: [], spf: null }).toString(), 'Authentication-Results: mx;\r\n\tdkim=none');
    throws(function () { AuthResults.header('mx', { dkin: [] }); }, /no check dkin/);
});
