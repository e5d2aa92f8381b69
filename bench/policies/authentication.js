/*
 * One check of senders, for measuring: setting `what` is nothing, spf, dnsbl, dkim, dmarc or all.
 * The client's number in EHLO, c17.bench, says its address, so that every session may be a client of its own.
 */
var what = Sys.setting('what'), everything = what === 'all' ? require('mailfilter/policies/authenticate') : null;
var lists = new Dnsbl(['list1.bench', 'list2.bench', 'list3.bench', 'list4.bench', 'list5.bench']);

function accepted(good) {
    return good ? new SmtpResponse(250, '2.0.0 Taken') : new SmtpResponse(451, '4.7.0 Not what was expected');
}

SmtpServer.prototype.smtpEhlo = function (name) {
    var number = +name.slice(1, name.indexOf('.'));
    this.remoteAddr = '10.' + (number >> 16 & 255) + '.' + (number >> 8 & 255) + '.' + (number & 255);
    return new SmtpResponse(250, [this.hostname].concat(this.extensions()));
};

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        return null;
    }
    switch (what) {
    case 'spf':
        return accepted(Spf.check(this.remoteAddr, this.sender, this.clientname).result === 'pass');
    case 'dnsbl':
        return accepted(!lists.check(this.remoteAddr).listed);
    case 'dkim':
        return accepted(Dkim.verify(headers, body)[0].result === 'pass');
    case 'dmarc':
        return accepted(Dmarc.evaluate(headers, {
            spf: {result: 'pass', identity: 'mailfrom', domain: this.sender.mailbox.domain}, dkim: []
        }).result === 'pass');
    case 'all':
        everything = everything.message(this, headers, body);
        return everything.response || accepted(everything.results.dmarc.result === 'pass' && everything.results.spf.result === 'pass' &&
            everything.results.dkim[0].result === 'pass' && everything.results.iprev.result === 'pass');
    default:
        return accepted(true);
    }
};
