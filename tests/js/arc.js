// Arc, with chains verified and sealed by the test.

test("Arc.verify gives the chain and who sealed it, the newest first", function () {
    var chain = Arc.verify([new SmtpHeader('From', 'a@example.org')], 'text');
    same([chain.result, chain.reason, chain.temporary, chain.ended, chain.oldestPass], ['pass', null, false, false, 0]);
    same(chain.domains, ['two.example', 'one.example']);
    same([chain.sets.length, chain.sets[0].cv, chain.sets[0].signatureResult, chain.sets[1].timestamp], [2, 'none', 'fail', 6]);
    same(AuthResults.read(chain.sets[0].authResults).results[0].method, 'spf');
});

test("Arc.seal gives three fields to put in front", function () {
    var headers = [new SmtpHeader('From', 'a@example.org')], made;
    made = Arc.seal(headers, 'text', { domain: 'd', selector: 's', key: 'k', results: 'mx; spf=pass' });
    same(made.map(function (header) { return header.name; }), ['ARC-Seal', 'ARC-Message-Signature', 'ARC-Authentication-Results']);
    same(made[0].parts, ['i=1; cv=pass;', ' b=abc']);
    same(made[2].parts, ['i=1; mx; spf=pass']);
});

test("Arc.seal takes our own results, and says when there are none", function () {
    var headers = [new SmtpHeader('Authentication-Results', ['mx.example.org;', '\tspf=pass (x)']),
        new SmtpHeader('authentication-results', 'other.example; dkim=pass'),
        new SmtpHeader('Authentication-Results', 'MX.example.org; dkim=none')];
    var options = { domain: 'd', selector: 's', key: 'k', authservId: 'mx.example.org', chain: { result: 'none' } };
    same(Arc.seal(headers, 'text', options)[2].parts, ['i=1; mx.example.org;', '\tspf=pass (x); dkim=none']);
    throws(function () { Arc.seal([], 'text', options); }, /no Authentication-Results of mx.example.org/);
});

test("Arc.seal leaves alone what could not be verified, and wants its options", function () {
    var headers = [new SmtpHeader('From', 'a@example.org')];
    same(Arc.seal(headers, 'x', { domain: 'd', selector: 's', key: 'k', chain: { result: 'fail', temporary: true } }), []);
    throws(function () { Arc.seal(headers, 'x', { domain: 'd', selector: 's' }); }, /`key` is needed/);
    throws(function () { Arc.seal(headers, 'x', { domain: 'd', selector: 's', key: 'k', chain: {} }); }, /what Arc.verify returned/);
    throws(function () { Arc.seal(null, null, {}); }, /there is no message/);
});
