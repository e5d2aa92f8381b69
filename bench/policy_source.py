"""Source text of a policy of any length, as long ones are in practice: tables, rules, and functions that use them.

Always the same for the same length. Must not know what is measured with it.
"""

_HEAD = """\
// Generated: a policy of many rules.
var settings = {reject: 8, tag: 4, trusted: ['192.0.2.1', '198.51.100.7']};
var rules = [];

function Rule(name, weight, test) {
    this.name = name;
    this.weight = weight;
    this.test = test;
}

Rule.prototype.score = function (subject) {
    return this.test(subject) ? this.weight : 0;
};

function total(subject) {
    return rules.reduce(function (sum, rule) { return sum + rule.score(subject); }, 0);
}
"""

_PART = """
// Rule {n}: what the senders of kind {n} have in common.
var listed{n} = {{'host{n}.example.com': {weight}, 'mail{n}.example.org': {other}, 'bulk{n}.example.net': true}};

function isListed{n}(subject) {{
    var domain = String(subject.domain || '').toLowerCase(), words = domain.split('.');
    for (var i = 0; i < words.length - 1; i++) {{
        if (listed{n}.hasOwnProperty(words.slice(i).join('.'))) {{
            return true;
        }}
    }}
    return /^(?:list|news|offer){n}[0-9]*\\./i.test(domain) && subject.size > {size};
}}

rules.push(new Rule('listed {n}', {weight}, isListed{n}));
"""

_TAIL = """
SmtpServer.prototype.smtpInit = function () {
    return new SmtpResponse(220, this.hostname + ' ESMTP');
};

SmtpServer.prototype.smtpEhlo = function (name) {
    return new SmtpResponse(250, [this.hostname, 'PIPELINING', '8BITMIME']);
};

SmtpServer.prototype.smtpMail = function (path) {
    var score = total({domain: path.mailbox ? path.mailbox.domain : '', size: 0});
    return score >= settings.reject ? new SmtpResponse(550, '5.7.1 refused') : new SmtpResponse(250, '2.1.0 sender taken');
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, '2.1.5 recipient taken');
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, '2.0.0 dropped');
};
"""


def long_policy(length):
    """JavaScript (str) of about `length` octets: at least that, at most one rule more."""
    text = _HEAD
    number = 0
    while len(text) + len(_TAIL) < length:
        number += 1
        text += _PART.format(n=number, weight=number % 5 + 1, other=number % 7, size=number * 1000)
    return text + _TAIL
