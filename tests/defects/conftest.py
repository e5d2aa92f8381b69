"""A capturing next hop, and a relaying policy in front of it, for the tests of known defects."""
import pytest
from peers.next_hop import NextHop

# Passes everything on, as proxy.js does, and leaves `look(headers, body)` to the test: a reply that is returned
# instead of passing the message on, or nothing.
RELAY = """
function relay(server, verb, args) {
    server.next.sendCommand(verb, args);
    return server.next.readResponse();
}
SmtpServer.prototype.smtpInit = function () {
    this.next = new SmtpClient("127.0.0.1", Number(Sys.setting("port")));
    this.next.connect();
    return this.next.readResponse();
};
SmtpServer.prototype.smtpHelo = function (name) { return relay(this, "HELO", this.hostname); };
SmtpServer.prototype.smtpEhlo = function (name) { return relay(this, "EHLO", this.hostname); };
SmtpServer.prototype.smtpMail = function (path) { return relay(this, "MAIL", "FROM: " + path.toString()); };
SmtpServer.prototype.smtpRcpt = function (path) { return relay(this, "RCPT", "TO: " + path.toString()); };
SmtpServer.prototype.smtpRset = function () { return relay(this, "RSET", undefined); };
SmtpServer.prototype.smtpData = function (headers, body) {
    var said;
    if (headers === null) {
        relay(this, "RSET");
        return null;
    }
    if (this.look) {
        said = this.look(headers, body);
        if (said) {
            relay(this, "RSET");
            return said;
        }
    }
    said = relay(this, "DATA");
    if (said.code !== 354)
        return said;
    this.next.sendMessage(headers, body);
    return this.next.readResponse();
};
SmtpServer.prototype.cleanup = function () {
    if (this.next) {
        relay(this, "QUIT");
        this.next.disconnect();
    }
};
"""


@pytest.fixture
def hop():
    with NextHop() as hop:
        yield hop


@pytest.fixture
def relay(serve, hop):
    """Start the relaying policy, with more JavaScript after it, in front of `hop`."""
    def relay(more="", **keywords):
        return serve(RELAY + more, settings={"port": hop.port}, **keywords)
    return relay
