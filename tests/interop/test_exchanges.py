"""SmtpClient's exchange(), greeting() and exchangeMessage(): each is two other calls as one, and behaves as these two do.

Every case is played twice, as one call and as the two, by the same next hop; what the policy is told must be the same.
"""
import json

import pytest
from peers.scripted import CLOSE, DATA, WAIT, Scripted
from peers.sender import Sender

POLICY = """
    void SmtpClient.prototype.exchangeMessage;      // all of SmtpClient is there when that is named
    var ways = {
        one: {
            greet: function (client) { return client.greeting(); },
            ask: function (client, verb, args) { return client.exchange(verb, args); },
            give: function (client, headers, body) { return client.exchangeMessage(headers, body); }
        },
        two: {
            greet: function (client) { client.connect(); return client.readResponse(); },
            ask: function (client, verb, args) {
                client.sendCommand(verb, args);
                return client.readResponse();
            },
            give: function (client, headers, body) {
                client.sendMessage(headers, body);
                return client.readMessageResponse();
            }
        }
    };
    function tell(response) {
        return response.code + ' ' + response.message.join('|') +
            (response.recipients ? ' for ' + response.recipients.length : '');
    }
    SmtpServer.prototype.smtpNoop = function (text) {
        var given = JSON.parse(text), options = given.options, client, told = [], t;
        client = this.client = new SmtpClient('127.0.0.1', given.port, options);
        t = function (work) {
            try {
                told.push(tell(work()));
            } catch (error) {
                told.push('thrown: ' + error.name + ': ' + error.message.replace(/:\\d+/g, ''));
            }
        };
        new Function('way', 'client', 't', 'server', given.code)(ways[given.way], client, t, this);
        client.disconnect();
        return new SmtpResponse(250, told.join('; '));
    };
"""
GREETING = b"220 hop.test"
MAIL = ["MAIL FROM:<a@b.test>", b"250 ok", "RCPT TO:<c@d.test>", b"250 ok", "DATA", b"354 go"]
GREET = "t(function () { return way.greet(client); });"


def ask(*words):
    return f"t(function () {{ return way.ask(client, {', '.join(map(repr, words))}); }});"


ENVELOPE = ask("MAIL", "FROM:<a@b.test>") + ask("RCPT", "TO:<c@d.test>") + ask("DATA")
GIVE = "t(function () { return way.give(client, ['A: b'], 'text'); });"


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(POLICY, limits={"errors": 1000, "commands": 0})


def told(server, way, code, *scripts, **options):
    with Scripted(*scripts) as hop, Sender(server.port) as sender:
        sender.hello()
        reply = sender.command(b"NOOP " + json.dumps({"port": hop.port, "way": way, "code": code, "options": options}).encode())
        sender.command(b"QUIT")
        assert hop.complaints == []
    assert reply.code == 250
    return reply.text


CASES = {
    "a command": (GREET + ask("NOOP"), [GREETING, "NOOP", b"250-one", b"250 two"], "220 hop.test; 250 one|two"),
    "its argument": (GREET + ask("VRFY", "x y"), [GREETING, "VRFY x y", b"252 maybe"], "220 hop.test; 252 maybe"),
    "no argument": (GREET + "t(function () { return way.ask(client, 'NOOP', null); });", [GREETING, "NOOP", b"250 ok"],
                    "220 hop.test; 250 ok"),
    "no texts": (GREET + "t(function () { return way.ask(client, {toString: function () { return 'VRFY'; }}, 5); });",
                 [GREETING, "VRFY 5", b"252 maybe"], "220 hop.test; 252 maybe"),
    "a symbol": (GREET + "t(function () { return way.ask(client, 'VRFY', Symbol('x')); });", [GREETING, WAIT], "TypeError"),
    "a refusal": (GREET + ask("NOOP"), [GREETING, "NOOP", b"502 no"], "220 hop.test; 502 no"),
    "a line of its own": (GREET + ask("NOOP", "x\r\nRSET") + ask("NOOP"), [GREETING, "NOOP", b"250 ok"],
                          "NotNow: NOOP"),
    "not possible": (GREET + ask("STARTTLS") + ask("NOOP"), [GREETING, "NOOP", b"250 ok"], "NotNow: STARTTLS"),
    "inside the message": (GREET + ENVELOPE + ask("NOOP") + GIVE, [GREETING, *MAIL, DATA, b"250 taken"], "NotNow: NOOP"),
    "no connection": (ask("NOOP") + GIVE, [WAIT], "thrown: Error: Transport endpoint is not connected"),
    "replies not yet read": (GREET + "client.sendCommand('VRFY', 'first');" + ask("NOOP")
                             + "t(function () { return client.readResponse(); });",
                             [GREETING, "VRFY first", b"252 first", "NOOP", b"250 second"],
                             "220 hop.test; 252 first; 250 second"),
    "closed": (GREET + ask("NOOP"), [GREETING, "NOOP", CLOSE], "ServiceUnavailable: Input/output error"),
    "after 421": (GREET + ask("NOOP") + ask("NOOP"), [GREETING, "NOOP", b"421 bye", WAIT], "220 hop.test; 421 bye; thrown: "),
    "no reply": (GREET + ask("MAIL", "FROM:<a@b.test>"), [GREETING, "MAIL .*", WAIT],
                 "ServiceTimeout: Connection timed out", {"timeouts": {"mail": 0.3}}),
    "nonsense": (GREET + ask("NOOP"), [GREETING, "NOOP", b"I am a teapot", WAIT], "ServiceProtocolError: Protocol error"),
    "a greeting that refuses": (GREET, [b"554 no"], "554 no"),
    "no greeting": (GREET, [WAIT], "ServiceTimeout: Connection timed out", {"timeouts": {"greeting": 0.3}}),
    "closed instead of a greeting": (GREET, [CLOSE], "ServiceUnavailable: Input/output error"),
    "no greeting, but nonsense": (GREET, [b"SSH-2.0", WAIT], "ServiceProtocolError: Protocol error"),
    "an option that is none": (GREET, [WAIT], "there is no option 'nothing'", {"nothing": 1}),
    "a second connection": (GREET + GREET + ask("NOOP"), [GREETING], [GREETING, "NOOP", b"250 ok"],
                            "220 hop.test; 220 hop.test; 250 ok"),
    "a message": (GREET + ENVELOPE + GIVE + ask("NOOP"), [GREETING, *MAIL, DATA, b"250 taken", "NOOP", b"250 ok"],
                  "354 go; 250 taken; 250 ok"),
    "a large message": (GREET + ENVELOPE + GIVE.replace("'text'", "new Array(1 << 17).join('a line\\r\\n')"),
                        [GREETING, *MAIL, DATA, b"250 taken"], "354 go; 250 taken"),
    "a message that is refused": (GREET + ENVELOPE + GIVE, [GREETING, *MAIL, DATA, b"552 no"], "354 go; 552 no"),
    "a message without an answer": (GREET + ENVELOPE + GIVE, [GREETING, *MAIL, DATA, WAIT], "354 go; thrown: ServiceTimeout",
                                    {"timeouts": {"data_end": 0.3}}),
    "a message and the end": (GREET + ENVELOPE + GIVE, [GREETING, *MAIL, DATA, CLOSE], "354 go; thrown: ServiceUnavailable"),
    "a message nobody waits for": (GREET + GIVE + ask("NOOP"), [GREETING, "NOOP", b"250 ok"], "NotNow: sendMessage"),
    "a message that cannot be written": (GREET + ENVELOPE + GIVE.replace("'A: b'", "'no field'") + ask("NOOP"),
                                         [GREETING, *MAIL, WAIT], "it has no colon"),
    "no message": (GREET + ENVELOPE + GIVE.replace("['A: b'], 'text'", "null, null") + ask("NOOP"), [GREETING, *MAIL, WAIT],
                              "thrown: TypeError"),
    "lmtp": (GREET + ask("LHLO", "me") + ENVELOPE.replace(ask("DATA"), ask("RCPT", "TO:<e@f.test>") + ask("DATA")) + GIVE,
             [GREETING, "LHLO me", b"250 hop", *MAIL[:4], "RCPT TO:<e@f.test>", b"250 ok", *MAIL[4:], DATA, b"250 one",
              b"452 two"], "452 two for 2", {"lmtp": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_one_call_is_the_two(server, case):
    code, *scripts, expected = CASES[case]
    options = {}
    if isinstance(expected, dict):
        options = expected
        expected = scripts.pop()
    one, two = (told(server, way, code, *scripts, **options) for way in ("one", "two"))
    assert expected in one
    assert one.replace("exchangeMessage", "sendMessage") == two
