// Does one operation again and again: `VRFY kind number`. Setting `file`: of a store. Used by `make bench`: what one operation costs.
var store = null;

var kinds = {
    nothing: function () {},
    setting: function () { Sys.setting('file'); },
    pause: function (session) { session.pause(0); },
    dns: function () { Dns.query('d1.bench', Dns.t_txt); },
    store: function () { store.get('x'); }
};

SmtpServer.prototype.smtpVrfy = function (text) {
    var words = text.split(' '), act = kinds[words[0]], left = Number(words[1]);
    if (words[0] === 'store') {
        store = store || Store.open(Sys.setting('file'));
    }
    while (left-- > 0) {
        act(this);
    }
    return new SmtpResponse(252, '2.0.0 Done');
};
