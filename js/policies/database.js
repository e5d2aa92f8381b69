/*
 * A proxy that keeps a record: of every transaction one row in a database says who sent it to whom, when, how large, and what
 * became of it. Mail goes on as with proxy, mark or filter.
 *
 *     mailfilter serve database --listen 127.0.0.1:8025 --set nextHop=127.0.0.1:10025 \
 *         --set database=sqlite:/var/lib/mailfilter/mail.db
 *
 * The row is written before the message goes on, and completed when the next hop has answered: a row without a status is of a
 * message whose fate is not known, because the server died just then. Transactions that end without a message have a row, too.
 * The tables are in the files database.*.sql beside this one; in SQLite they are made when they are missing.
 *
 * Settings: those of the policy that decides, and:
 *   database   sqlite:/path, postgresql://user:password@host/database or mysql://user:password@host/database (needed); with a
 *     password in it best in a file: --set-file database=FILE
 *   databaseDecides   what becomes of mail: proxy, mark or filter (proxy)
 *   databaseAway   when no row can be written: tempfail, so that no message goes on without one, or accept (tempfail)
 *   databaseTimeout   seconds for one statement (5)
 */
var settings = require('mailfilter/policies/settings');

/* The policy that decides. Its handlers do the work; those below call them and look at what they say. */
require('mailfilter/policies/' + settings.choice('databaseDecides', 'proxy', ['proxy', 'mark', 'filter']));

/* Nothing is connected yet; a URL that is none, or whose driver is missing, ends the start. Connections are shared by sessions. */
var url = Sys.setting('database').trim();
var db = Sql.connect(url, {timeout: settings.number('databaseTimeout', 5, 1), away: settings.away('databaseAway', 'tempfail')});
/* To complete a row must not cost a message that the next hop has: it would come again. */
var after = Sql.connect(url, {timeout: db.seconds, away: 'accept'});

var product = url.replace(/^jdbc:/, '').split(':')[0].toLowerCase();
var sqlite = /^sqlite/.test(product), postgresql = /^postgres/.test(product);

/* The same as in database.sqlite.sql. */
var TABLES = [
    'CREATE TABLE IF NOT EXISTS smtp_transactions (' +
        'smtp_transaction_id INTEGER PRIMARY KEY, ' +
        'remote_addr TEXT NOT NULL, ' +
        'remote_port INTEGER NOT NULL, ' +
        'envelope_sender TEXT NOT NULL, ' +
        'time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, ' +
        'subject TEXT, ' +
        'smtp_status_code INTEGER, ' +
        'smtp_status_message TEXT, ' +
        'module TEXT, ' +
        'size INTEGER NOT NULL DEFAULT 0)',
    'CREATE TABLE IF NOT EXISTS smtp_transaction_recipients (' +
        'smtp_transaction_recipient_id INTEGER PRIMARY KEY, ' +
        'smtp_transaction_id INTEGER NOT NULL REFERENCES smtp_transactions (smtp_transaction_id) ON DELETE CASCADE, ' +
        'recipient TEXT NOT NULL)',
    'CREATE INDEX IF NOT EXISTS smtp_transactions_time ON smtp_transactions (time)',
    'CREATE INDEX IF NOT EXISTS smtp_transaction_recipients_of ON smtp_transaction_recipients (smtp_transaction_id)'
];

var INSERT = 'INSERT INTO smtp_transactions (remote_addr, remote_port, envelope_sender, subject, size, ' +
    'smtp_status_code, smtp_status_message, module) VALUES (?, ?, ?, ?, ?, ?, ?, ?)' +
    (postgresql ? ' RETURNING smtp_transaction_id' : '');      // how PostgreSQL tells which number the row has
var RECIPIENTS = 'INSERT INTO smtp_transaction_recipients (smtp_transaction_id, recipient) VALUES ';
var AT_ONCE = 100;              // recipients in one statement
var UPDATE = 'UPDATE smtp_transactions SET smtp_status_code = ?, smtp_status_message = ?, module = ? WHERE smtp_transaction_id = ?';

/* Texts fit into their columns, and have no NUL, which PostgreSQL does not take. */
function cut(text, most) {
    return text === null ? null : String(text).replace(/\0/g, '').slice(0, most);
}

function textOf(response) {
    return cut([].concat(response.message).join(' / '), 1000);
}

/* A row, and one for each recipient: all or none. Gives the row's number; null when the database is away and that is accepted. */
function write(of, row) {
    return of.transaction(function (tx) {
        var values = [cut(row.address, 64), row.port, cut(row.sender, 1000), cut(row.subject, 1000), row.size,
            row.code, row.text, row.module], i, some, id;
        id = postgresql ? tx.query(INSERT, values)[0].smtp_transaction_id : tx.execute(INSERT, values).key;
        for (i = 0; i < row.recipients.length; i += AT_ONCE) {
            some = row.recipients.slice(i, i + AT_ONCE);
            tx.execute(RECIPIENTS + some.map(function () { return '(?, ?)'; }).join(', '),
                some.reduce(function (all, recipient) { return all.concat([id, cut(recipient, 1000)]); }, []));
        }
        return id;
    });
}

function insert(of, row) {
    try {
        return write(of, row);
    } catch (problem) {
        if (!sqlite || !/no such table/.test(problem.message)) {
            throw problem;
        }
    }
    TABLES.forEach(function (table) { of.execute(table); });
    return write(of, row);
}

/* What must not go wrong any more: it is told in the log instead. */
function anyhow(work) {
    try {
        return work();
    } catch (problem) {
        Sys.log(Sys.LOG_ERR, 'no record: ' + problem);
        return null;
    }
}

/* What is known of the running transaction, for its row. */
SmtpServer.prototype.rowOf = function (headers, body) {
    var subjects = headers === null ? [] : headers.filter(function (header) { return header.name.toLowerCase() === 'subject'; });
    return {
        address: this.remoteAddr, port: this.remotePort, sender: this.sender.toString(),
        recipients: this.recipients.map(function (path) { return path.toString(); }),
        subject: subjects.length ? subjects[0].decoded() : null, size: body === null ? 0 : body.length,
        code: null, text: null, module: null
    };
};

/* The handlers of the policy that decides, by name. */
var decide = {};
['smtpMail', 'smtpRcpt', 'smtpPreData', 'smtpData', 'smtpRset', 'smtpHelo', 'smtpEhlo', 'cleanup'].forEach(function (name) {
    decide[name] = SmtpServer.prototype[name];
});

/* A refusal before the message: if the transaction ends with that, its row tells of it. */
SmtpServer.prototype.noting = function (response, recipient) {
    if (response !== null && response.code >= 400) {
        this.refusal = {response: response, recipient: recipient};
    }
    return response;
};

SmtpServer.prototype.smtpMail = function (path) {
    var response;
    this.complete(451, '4.3.0 Cannot process this now', 'fault');       // the last message's handler has failed
    this.refusal = null;
    response = this.noting(decide.smtpMail.call(this, path), null);
    if (response.code >= 400) {
        this.sender = path;                             // there will be no transaction; the row needs its sender
        this.conclude();
        this.sender = null;
    }
    return response;
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return this.noting(decide.smtpRcpt.call(this, path), path.toString());
};

SmtpServer.prototype.smtpPreData = function (how) {
    return this.noting(decide.smtpPreData.call(this, how), null);
};

SmtpServer.prototype.smtpData = function (headers, body) {
    var response;
    if (headers === null) {                             // given up: too large, cut off, and the like
        this.refusal = this.refusal || {response: {code: null, message: 'the message was given up'}, recipient: null};
        this.conclude();
        return decide.smtpData.call(this, null, null);
    }
    this.refusal = this.found = null;
    this.unfinished = insert(db, this.rowOf(headers, body));    // no row, no message, unless databaseAway is accept
    response = decide.smtpData.call(this, headers, body);
    this.complete(response.code, textOf(response), this.found ? this.found.test : 'next hop');
    return response;
};

/* The row of the message is completed. */
SmtpServer.prototype.complete = function (code, text, module) {
    var id = this.unfinished;
    this.unfinished = null;
    if (id) {
        anyhow(function () { after.execute(UPDATE, [code, text, module, id]); });
    }
};

/* The transaction is over. A row, if something in it was refused and no message came; and if deciding about one has failed. */
SmtpServer.prototype.conclude = function () {
    var refusal = this.refusal, row;
    this.refusal = null;
    this.complete(451, '4.3.0 Cannot process this now', 'fault');
    if (!refusal || !this.sender) {
        return;
    }
    row = this.rowOf(null, null);
    row.code = refusal.response.code;
    row.text = textOf(refusal.response);
    row.module = row.code === null ? 'engine' : 'next hop';
    if (refusal.recipient !== null) {
        row.recipients.push(refusal.recipient);
    }
    anyhow(function () { insert(after, row); });
};

['smtpRset', 'smtpHelo', 'smtpEhlo', 'cleanup'].forEach(function (name) {
    SmtpServer.prototype[name] = function (argument) {
        this.conclude();
        return decide[name].call(this, argument);
    };
});
