/*
 * One question to one service for each message (or, "limits", for each session), for measuring: setting `what` says which.
 * An answer that is not the one expected refuses the message, so that the load fails.
 */
var what = Sys.setting('what'), where = Sys.setting('where', ''), port = Sys.setting('port', 0);
var insert = 'INSERT INTO messages (sender, size) VALUES (?, ?)';
var ask = {
    nothing: function () { return true; },
    clamav: function (server, headers, body) { return !new ClamAV('127.0.0.1', port).scan(headers, body).found; },
    spamassassin: function (server, headers, body) { return !new SpamAssassin('127.0.0.1', port).scan(headers, body).spam; },
    rspamd: function (server, headers, body) {
        return new Rspamd('127.0.0.1', port).check(server, headers, body).action === 'no action';
    },
    milter: function (server, headers, body) {
        return new Milter('127.0.0.1', port).check(server, headers, body).action === 'accept';
    },
    sql: function (server, headers, body) {
        return Sql.connect(where).execute(insert, [String(server.sender), body.length]).count === 1;
    },
    get: function () { return Store.open(where).get('nobody') === null; },
    count: function (server) { return Store.open(where).count('from:' + server.remoteAddr, 3600) > 0; },
    http: function () { return Http.get(where).ok; },
    map: function (server) { return map.has(server.remoteAddr) === false; }
};
var map = what === 'map' ? Maps.load(where) : null;
var store = what === 'limits' ? Store.open(where) : null;
var limit = store && new RateLimit('bench', { most: 1e9, store: store }), greylist = store && new Greylist({ delay: 0, store: store });

if (what === 'sql') {
    SmtpServer.prototype.smtpVrfy = function (text) {       // before anything is measured
        Sql.connect(where).execute('CREATE TABLE IF NOT EXISTS messages (sender VARCHAR(200), size INTEGER)');
        return new SmtpResponse(252, '2.0.0 There is a table');
    };
}
SmtpServer.prototype.smtpRcpt = function (path) {
    if (store && !limit.take(RateLimit.network(this.remoteAddr)).allowed) {
        return new SmtpResponse(450, '4.7.1 Not to be expected');
    }
    if (store) {
        greylist.check({ address: this.remoteAddr, sender: this.sender, recipient: path, helo: this.clientname });
    }
    return new SmtpResponse(250, '2.1.5 Ok');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        return null;
    }
    return ask[what === 'limits' ? 'nothing' : what](this, headers, body) ? new SmtpResponse(250, '2.0.0 Taken') :
        new SmtpResponse(451, '4.7.0 Not what was expected');
};
