"""Limits of the engine reach what they limit, wherever they are set: default, policy over it, command line over both."""
import json

import pytest
from peers.scripted import Scripted
from peers.sender import Sender
from proxied import ends, triple, v2

from mailfilter import config

POLICY = """
%s
var tries = {
    // How many MiB fit, at most 15.
    heap: function () {
        var kept = [];
        try {
            while (kept.length < 15) kept.push(new Uint8Array(1 << 20));
        } catch (e) {
        }
        return kept.length;
    },
    // CPU that a call may burn: some 200 ms. Not counted by the clock, which goes on while others have the CPU.
    slice: function () {
        for (var n = 0; n < 16e6; n++) ;
        return 'done';
    },
    operations: function () {
        var n = 0;
        try {
            for (; n < 100; n++) Sys.setting('x', '');
        } catch (e) {
        }
        return n < 100 ? 'few' : 'enough';
    }
};
SmtpServer.prototype.smtpMail = function (path) {
    return new SmtpResponse(250, String(tries[path.mailbox.local]()));
};
"""


@pytest.fixture
def answer(serve):
    """answer(policy's statement, limits of the command line, name) gives the reply to MAIL of that trial."""
    def answer(statement, limits, name):
        with Sender(serve(POLICY % statement, limits=limits).port) as sender:
            sender.hello()
            return sender.command(b"MAIL FROM:<%s@client.test>" % name.encode())
    return answer


@pytest.mark.parametrize("statement, limits, least, most", [
    ("", {}, 5, 7),
    ("SmtpServer.limits = {heap_bytes: '3m'};", {}, 1, 2),
    ("SmtpServer.limits = {heap_bytes: 14 * 1024 * 1024};", {}, 9, 13),
    ("SmtpServer.limits = {heap_bytes: '14m'};", {"heap_bytes": "3m"}, 1, 2),
    ("SmtpServer.limits = {heap_bytes: '3m'};", {"heap_bytes": "12m"}, 8, 11),
    # Built for each connection.
    ("SmtpServer.limits = {heap_bytes: '3m', slice_ms: 1000}; var now = Date.now();", {}, 1, 2),
])
def test_heap_bytes(answer, statement, limits, least, most):
    reply = answer(statement, {"slice_ms": 1000, **limits} if "slice_ms" not in statement else limits, "heap")
    assert reply.code == 250 and least <= int(reply.text) <= most, reply.text


@pytest.mark.parametrize("statement, limits, code", [
    ("", {}, 421),
    ("SmtpServer.limits = {slice_ms: 1000};", {}, 250),
    ("SmtpServer.limits = {slice_ms: 1000};", {"slice_ms": 20}, 421),
    ("SmtpServer.limits = {slice_ms: 1000, session_ms: 60};", {}, 421),
    ("SmtpServer.limits = {slice_ms: 1000, session_ms: 60};", {"session_ms": 1500}, 250),
])
def test_slice_and_session(answer, statement, limits, code):
    assert answer(statement, limits, "slice").code == code


@pytest.mark.parametrize("statement, limits, words", [
    ("", {}, "enough"),
    ("SmtpServer.limits = {operations: 20};", {}, "few"),
    ("SmtpServer.limits = {operations: 20};", {"operations": 1000}, "enough"),
])
def test_operations(answer, statement, limits, words):
    assert answer(statement, limits, "operations").text == words


# Every name, so that a new one is not forgotten on one of the ways.

TOLD = """
SmtpServer.prototype.smtpVrfy = function (name) {
    return new SmtpResponse(250, String(this.limits()[name] === undefined ? this.timeouts()[name] : this.limits()[name]));
};
"""
DEFAULTS = {**vars(config.Limits()), **vars(config.Timeouts())}
# The largest prefixes are the widest; with greeting_delay a session would wait for nothing.
OTHERS = {name: 0 if name == "greeting_delay" else value - 1 if name.endswith("_prefix") else value + 7
          for name, value in DEFAULTS.items()}


def told(server):
    with Sender(server.port) as sender:
        sender.hello()
        return {name: float(sender.command(b"VRFY " + name.encode()).text) for name in DEFAULTS}


def statement(values):
    known = vars(config.Limits())
    return "SmtpServer.limits = {}; SmtpServer.timeouts = {};".format(*(
        json.dumps({name: value for name, value in values.items() if (name in known) == of_limits})
        for of_limits in (True, False)))


def options(values):
    known = vars(config.Limits())
    return {"limits": {name: value for name, value in values.items() if name in known},
            "timeouts": {name: value for name, value in values.items() if name not in known}}


def test_a_policy_sees_all_of_them(serve):
    assert told(serve(TOLD)) == DEFAULTS


def test_a_policy_sets_any_of_them(serve):
    assert told(serve(statement(OTHERS) + TOLD)) == OTHERS


def test_the_command_line_sets_any_of_them_over_the_policy(serve):
    assert told(serve(statement(DEFAULTS) + TOLD, **options(OTHERS))) == OTHERS


def test_a_session_changes_those_that_are_its_own(serve):
    limits, timeouts = (json.dumps({name: OTHERS[name] for name in known if name in config.PER_SESSION})
                        for known in (vars(config.Limits()), vars(config.Timeouts())))
    policy = f"""{TOLD}
    SmtpServer.prototype.smtpInit = function () {{
        this.limits({limits});
        this.timeouts({timeouts});
        return new SmtpResponse(220, 'go');
    }};
    """
    found = told(serve(policy))
    assert found == {name: (OTHERS if name in config.PER_SESSION else DEFAULTS)[name] for name in DEFAULTS}


# What no other test sets by its name.

@pytest.mark.parametrize(("policy", "limits", "taken"), [
    ("", {}, True), ("", {"proxy_bytes": 232}, False), ("SmtpServer.limits = {proxy_bytes: 232};", {}, False)])
def test_proxy_bytes(serve, policy, limits, taken):
    header = v2(*ends(("192.0.2.1", 1025), ("198.51.100.2", 25)), triple(4, b"x" * 300))
    with Sender(serve(policy + TOLD, listen=["proxy:127.0.0.1:0"], limits=limits).port) as sender:
        sender.send(header)
        if taken:
            assert sender.reply().code == 220
        else:
            assert sender.closed_by_server()


REUSING = """
SmtpServer.prototype.smtpMail = function () {
    this.hop = new SmtpClient('127.0.0.1', Number(Sys.setting('port')));
    return this.hop.open({reuse: true});
};
SmtpServer.prototype.cleanup = function () {
    Sys.log(Sys.LOG_NOTICE, 'kept ' + this.hop.release());
};
"""


@pytest.mark.parametrize(("numbers", "kept"), [
    ({"limits": {"kept_connections": 0}}, False), ({"timeouts": {"kept_connection": 0.05}}, True)])
def test_kept_connections_and_for_how_long(serve, numbers, kept):
    """None, or one for a moment: either ends with QUIT, once the session is over."""
    with Scripted([b"220 hop.test", "EHLO .*", b"250 hop.test", "QUIT"]) as hop:
        server = serve(REUSING, settings={"port": hop.port}, **numbers)
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"MAIL FROM:<a@b>").code == 250
            assert sender.command(b"QUIT").code == 221
        hop.wait_for_the_end()
        server.wait_for_log(f"kept {str(kept).lower()}")
