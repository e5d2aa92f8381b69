// Dmarc, with the evaluation made up by the test.

var FROM = [new SmtpHeader('From', 'a@example.org')];

test("evaluate gives an object with names", function () {
    var found = Dmarc.evaluate(FROM, {
        spf: { result: 'pass', identity: 'mailfrom', domain: 'example.org' },
        dkim: [{ result: 'pass', domain: 'example.net', selector: 's1', unsigned: 0 }], sample: 7
    });
    same([found.result, found.reason, found.domain, found.organizationalDomain, found.policy, found.disposition],
        ['fail', 'rfc9989 False 7', 'sub.example.org', 'example.org', 'reject', 'quarantine']);
    same(found.spf, { result: 'pass', identity: 'mailfrom', domain: 'example.org', aligned: true });
    same(found.dkim, [{ result: 'pass', domain: 'example.net', selector: 's1', aligned: false }]);
    same([found.published.domain, found.published.p, found.published.pct, found.published.rua.length], ['example.org', 'reject', 50, 1]);
    same([found.record, found.sampledOut], ['v=DMARC1', true]);
});

test("neither SPF nor DKIM is needed", function () {
    var found = Dmarc.evaluate(FROM, { standard: 'rfc7489', smtputf8: true, sample: 0 });
    same([found.reason, found.spf, found.dkim, found.published], ['rfc7489 True 0', null, [], null]);
    same(Dmarc.evaluate(FROM).result, 'fail');
});

test("mistakes of the policy are told", function () {
    throws(function () { Dmarc.evaluate(FROM, { standard: 'rfc822' }); }, /standard is "rfc9989" or "rfc7489"/);
    throws(function () { Dmarc.evaluate(null, {}); }, /`headers` is needed/);
});
