"""Every transcript of tests/dialogs over TLS, against the real program: TLS from the first octet, or with STARTTLS.

Which transcript a connection plays is the port in its PROXY header; a policy answers what that transcript says. Those with
XCLIENT, by which the port becomes another, have a server of their own.
"""
import json
import socket

import dialog
import pytest
from certificates import Authority, client_context
from proxied import ends, v2

from mailfilter import config

# Those in shell/ show limits and timeouts that a session in memory does not have.
SCRIPTS = [dialog.Script(path) for path in sorted(dialog.FOLDER.glob("**/*.smtp"))]
LIMITS = vars(config.Limits()).keys()
TIMEOUTS = vars(config.Timeouts()).keys()

POLICY = """
var scripts = %s, only = %s;
function answer(session, kind, otherwise) {
    var list = session.answers && session.answers[kind], given = list && list.shift();
    return given ? new SmtpResponse(given[0], given[1], given[2]) : otherwise;
}
SmtpServer.prototype.smtpInit = function () {
    this.answers = JSON.parse(JSON.stringify(scripts[only || this.remotePort]));
    if (this.xclient && this.answers.CONNECT) {
        this.answers.CONNECT.shift();       // the policy that greeted before it is gone
    }
    return answer(this, "CONNECT", new SmtpResponse(220, this.hostname + " ESMTP Mailfilter"));
};
SmtpServer.prototype.smtpHelo = function () { return answer(this, "HELO", new SmtpResponse(250, this.hostname)); };
SmtpServer.prototype.smtpEhlo = function () {
    return answer(this, "EHLO", new SmtpResponse(250, [this.hostname, "8BITMIME", "ENHANCEDSTATUSCODES"]));
};
SmtpServer.prototype.smtpMail = function () { return answer(this, "MAIL", new SmtpResponse(250, "2.1.0 Sender ok")); };
SmtpServer.prototype.smtpRcpt = function () { return answer(this, "RCPT", new SmtpResponse(250, "2.1.5 Recipient ok")); };
SmtpServer.prototype.smtpPreData = function () { return answer(this, "DATA", null); };
SmtpServer.prototype.smtpStartTls = function () { return answer(this, "STARTTLS", null); };
SmtpServer.prototype.smtpRset = function () { return answer(this, "RSET", new SmtpResponse(250, "2.0.0 Flushed")); };
SmtpServer.prototype.smtpData = function (headers) {
    var list = headers && this.answers.MESSAGE, given;
    if (!list || !list.length || !Array.isArray(list[0][0])) {
        return headers && answer(this, "MESSAGE", new SmtpResponse(250, "2.0.0 Taken"));
    }
    given = list.shift().map(function (each) { return new SmtpResponse(each[0], each[1]); });
    return {code: given[given.length - 1].code, message: given.pop().message, recipients: given};
};
"""
AUTH_POLICY = """
SmtpServer.prototype.smtpAuth = function () {
    var response = answer(this, "AUTH", null);
    while (response && response.code === 334) {
        this.challenge(response.message[0]);
        response = answer(this, "AUTH_LINE", null);
    }
    return response;
};
"""
ANSWERED = {"STARTTLS", "CONNECT", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "MESSAGE", "AUTH", "AUTH_LINE"}


def reason_against(script):
    """Why a transcript cannot be played here, or None."""
    settable = {"line_ends", "hostname", "early_data", "auth_without_tls", "ways", "offer"} | LIMITS | TIMEOUTS
    if not script.options.keys() <= settable:
        return "it needs what only a session in memory has"
    if not script.answers.keys() <= ANSWERED:
        return "it needs answers that the policy here does not give"
    try:
        config.Limits().replaced(limits_of(script), "test")
    except config.ConfigError:
        return "its limits are below those that can be set"
    return None


def limits_of(script):
    return {name: value for name, value in script.options.items() if name in LIMITS}


def timeouts_of(script):
    return {name: value for name, value in script.options.items() if name in TIMEOUTS}


PLAYED = [script for script in SCRIPTS if reason_against(script) is None]


def wanted_of(script, way):
    """What the server has to be started with, as a key."""
    early = script.options.get("early_data", "take" if way == "whole" else "refuse")
    trusted = b"XCLIENT" in script.offers
    return (script.options.get("hostname", "localhost"), script.options.get("line_ends", "reject"), early,
            tuple(sorted(limits_of(script).items())), b"AUTH" in script.offers,
            script.options.get("auth_without_tls") == "yes",
            tuple(timeouts_of(script).items()), 1 + PLAYED.index(script) if trusted else 0)


def told(answer):
    """An answer of the script as the policy has it: [code, lines, close], or one such list for each recipient."""
    if isinstance(answer, list):
        return [told((*each, False)) for each in answer]
    code, lines, close = answer
    return code, [line.decode("utf-8", "surrogateescape") for line in lines], close


@pytest.fixture(scope="module")
def server_for(serve_module, tmp_path_factory):
    """`server_for(script, way)`: a server with its options, shared by all that want the same."""
    certificate = Authority(tmp_path_factory.mktemp("ca")).make("mx.example.org")
    answers = json.dumps([None, *({kind: [told(answer) for answer in given] for kind, given in script.answers.items()}
                                  for script in PLAYED)])
    servers = {}

    def get(script, way):
        key = hostname, line_ends, early, limits, auth, clear, timeouts, only = wanted_of(script, way)
        if key not in servers:
            options = ["--tls-certificate", certificate.both, "--hostname", hostname, "--line-ends", line_ends]
            if EARLY:
                options += ["--early-data", early]
            options += ["--auth-without-tls"] * clear + ["--trust", "192.0.2.1"] * bool(only)
            policy = POLICY % (answers, only) + AUTH_POLICY * auth
            servers[key] = serve_module(policy, listen=["proxy:tls:127.0.0.1:0", "proxy:127.0.0.1:0"],
                                        limits=dict(limits), timeouts=dict(timeouts), options=options)
        return servers[key]
    return get


EARLY = any("early_data" in script.options for script in SCRIPTS)


class Line:
    """A connection that plays one transcript."""

    def __init__(self, server, script):
        upgraded = any(kind == "tls" for _, kind, _ in script.steps) or b"STARTTLS" in script.offers
        self.socket = socket.create_connection(("127.0.0.1", server.ports[upgraded]), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(v2(*ends(("192.0.2.1", 1 + PLAYED.index(script)), ("192.0.2.2", 25))))
        if not upgraded:
            self.start_tls()

    def start_tls(self):
        self.socket = client_context().wrap_socket(self.socket, server_hostname="mx.example.org")

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError:
            pass                            # the server has closed: the replies tell whether it might

    def end(self):
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def exactly(self, length):
        """So many octets, or fewer when the server closes."""
        got = b""
        while len(got) < length:
            try:
                more = self.socket.recv(length - len(got))
            except ConnectionError:
                more = b""
            if not more:
                break
            got += more
        return got


def play(script, way, line):
    """As dialog.play, but for octets that come when they come; what is not said is not noticed before the end."""
    groups, steps = [[]], script.steps
    for step in steps:                      # what the client may send at once: up to where TLS starts
        groups[-1].append(step)
        if step[1] == "tls":
            groups.append([])
    for group in groups:
        if way == "whole":
            line.send(b"".join(value for _number, kind, value in group if kind == "send"))
            if any(kind == "eof" for _number, kind, _value in group):
                line.end()
        for number, kind, value in group:
            place = f"{script.path.name}:{number} ({way})"
            if kind == "reply":
                got = line.exactly(len(value))
                assert got == value, f"{place}: expected {value!r}, got {got!r}"
            elif kind == "closed":
                assert line.exactly(1) == b"", place
            elif kind == "tls":
                line.start_tls()
            elif way != "whole" and kind == "eof":
                line.end()
            elif way != "whole" and kind == "send":
                for octets in [value] if way == "steps" else [value[i:i + 1] for i in range(len(value))]:
                    line.send(octets)


@pytest.mark.parametrize("way", dialog.WAYS)
@pytest.mark.parametrize("script", PLAYED, ids=[script.path.stem for script in PLAYED])
def test_dialog_over_tls(script, way, server_for):
    if way not in getattr(script, "ways", dialog.WAYS):
        pytest.skip("not played in this way")
    line = Line(server_for(script, way), script)
    with line.socket:
        play(script, way, line)
        line.socket.close()


def test_all_transcripts_can_be_played():
    assert {script.path.stem: reason_against(script) for script in SCRIPTS if script not in PLAYED} == {}
