/* Everything that newer JavaScript offers, in one policy; each result is a line of the greeting or a reply. */
const greeting = `hello from ${'a'.padStart(3, '-')}`;
let [first, second = 'two', ...others] = ['one', undefined, 'three', 'four'];

/** Waits for two operations; what it gives proves that it was resumed. */
const ask = (host, port = 25) => {
    const client = new SmtpClient(host, port);
    client.connect();
    return client.readResponse().message[0];
};

class Rule {
    static from(...names) {
        return names.map(name => new Rule(name));
    }

    constructor(name) {
        this.name = name;
    }

    get label() {
        return `<${this.name}>`;
    }

    decide() {
        return ask(this.name);
    }
}

class StrictRule extends Rule {
    limit = 5;

    decide() {
        return `strict ${super.decide()}`;
    }
}

class Refused extends Error {
    constructor(code, ...rest) {
        super(...rest);
        this.name = 'Refused';
        this.code = code;
    }
}

function* answers(names) {
    try {
        for (const name of names) {
            const given = yield ask(name);
            if (given) {
                yield `given ${given}`;
            }
        }
    } finally {
        ask('finally');
    }
    return 'end';
}

SmtpServer.prototype.smtpInit = function () {
    const {name: alias, label} = new Rule('x'), map = {...{a: 1}, b: 2}, {a, ...rest} = map;
    return new SmtpResponse(220, [greeting, first, second, others.join(), alias, label, `${a} ${Object.keys(rest)}`]);
};

SmtpServer.prototype.smtpHelo = function (name) {
    const lines = [];
    for (const rule of Rule.from('a', 'b')) {
        lines.push(rule.decide());
    }
    for (const [key, value] of Object.entries({k: ask('entries')})) {
        lines.push(key + value);
    }
    for (const letter of 'xy') {
        lines.push(letter);
    }
    for (const [key, value] of new Map([['m', ask('map')]])) {
        lines.push(key + value);
    }
    lines.push(new StrictRule('s').decide(), [...new Set([1, 1, 2])].join(), String(new StrictRule('s').limit));
    return new SmtpResponse(250, lines);
};

SmtpServer.prototype.smtpEhlo = function (name) {
    const steps = answers(['g1', 'g2']), lines = [];
    lines.push(steps.next().value, steps.next('value').value, steps.next().value);
    const {value, done} = steps.return('early');
    lines.push(`${value} ${done}`, JSON.stringify(steps.next()));
    for (const answer of answers(['g3'])) {
        lines.push(answer);
    }
    return new SmtpResponse(250, lines);
};

SmtpServer.prototype.smtpMail = function (path) {
    try {
        throw new Refused(553, 'no such');
    } catch (error) {
        if (error instanceof Refused && error instanceof Error) {
            return new SmtpResponse(error.code, `${error.name} ${error.message}`);
        }
        throw error;
    }
};

SmtpServer.prototype.smtpRcpt = function (path) {
    const found = ['r1', 'r2'].find(name => ask(name) === 'reply 2');
    const all = Array.from([1, 2], n => ask('n' + n));

    return all.concat(found).concat(
        undefinedName
    );
};

SmtpServer.prototype.smtpRset = () => {
    throw 'a text';
};
