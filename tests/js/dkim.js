// Dkim, with signatures verified and made by the test.

test("verify gives one object for each signature", function () {
    var found = Dkim.verify([new SmtpHeader('From', 'a@example.org')], 'text');
    same(found.length, 1);
    same([found[0].result, found[0].domain, found[0].keyBits, found[0].unsigned], ['pass', 'example.org', 2048, 0]);
});

test("sign gives a header to put in front", function () {
    var header = Dkim.sign([new SmtpHeader('From', 'a@example.org')], 'text', { domain: 'example.org', selector: 's', key: '/k' });
    same(header.name, 'DKIM-Signature');
    same(header.parts, ['v=1; a=rsa-sha256;', ' b=abc']);
});

test("what is missing to sign is an error of the policy", function () {
    var headers = [new SmtpHeader('From', 'a@example.org')];
    throws(function () { Dkim.sign(headers, 'text', { selector: 's', key: '/k' }); }, /`domain` is needed/);
    throws(function () { Dkim.sign(headers, 'text', { domain: 'd', selector: 's' }); }, /`key` is needed/);
    throws(function () {
        Dkim.sign(headers, 'text', { domain: 'd', selector: 's', key: 'k', canonicalization: 'relaxed' });
    }, /canonicalization is simple or relaxed/);
    throws(function () { Dkim.verify(null, null); }, /there is no message/);
});

test("keys by domain", function () {
    var keys = { 'example.org': { selector: 'one', key: 'k' }, 'sub.example.net': { selector: 'two', key: 'k' } };
    function of(from) { return Dkim.keyFor([new SmtpHeader('From', from)], keys); }
    same(of('A <a@example.org>').selector, 'one');
    same(of('a@Sub.Sub.Example.Net').domain, 'sub.example.net');
    same(of('a@example.net'), null);
    same(of('nobody'), null);
    same(Dkim.keyFor([new SmtpHeader('From', 'a@example.org'), new SmtpHeader('from', 'a@example.org')], keys), null);
});
