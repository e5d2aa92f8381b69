"""JavaScript that takes too much, in whole sessions: what its client reads, what the log and the counters say of it, and that
the others on the same worker go on."""
import pytest
from pages import Pages
from peers.next_hop import Mute, NextHop
from peers.sender import Closed, Sender

HANDLERS = {
    "while": "while (1) ;",
    "text": "for (var s = 'x'; ; ) s += s;",
    "catch": "for (;;) { try { throw 1; } catch (e) { } finally { continue; } }",
    "finally": "for (;;) { try { for (;;) ; } finally { continue; } }",
    "regexp": "/^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab');",
    "recursion": "(function f() { return f() + 1; }());",
    "caught recursion": "(function f() { try { f(); } catch (e) { f(); } }());",
    "join": "new Array(1e9).join('');",
    "array": "new Array(1e9).join('xyz');",
    "stringify": "JSON.stringify(new Array(1e7));",
    "nested stringify": "for (var a = [1], i = 0; i < 40; i++) a = [a, a]; JSON.stringify(a);",
    "sort": "for (var a = [], i = 0; i < 3e5; i++) a.push(i); a.sort(function () { return 1; });",
    "getter": "return {get code() { for (;;) ; }};",
    "getter in an argument": "Sys.setting({get toString() { for (;;) ; }});",
    "getter in an answer": "return {code: 250, get message() { for (;;) ; }};",
    "objects": "for (var o = {}, i = 0; ; i++) o['k' + i] = {};",
    "buffers": "for (var b = []; ; ) b.push(new Uint8Array(1e6));",
    "asks": "for (;;) Sys.setting('x', '');",
    "asks and catches": "for (;;) { try { Sys.setting('x', ''); } catch (e) { } }",
    "text of what is thrown": "throw {toString: function () { for (;;) ; }};",
}

POLICY = "".join(f"function handler{number}() {{\n    {code}\n}}\n" for number, code in enumerate(HANDLERS.values())) + """
SmtpServer.prototype.smtpMail = function (path) {
    var what = path.mailbox.local, client;
    if (/^[0-9]+$/.test(what))
        return Function("return handler" + what + "()")() || new SmtpResponse(250, "2.1.0 fine");
    if (what === "waits") {
        client = new SmtpClient("127.0.0.1", Sys.setting("mute", 0));
        client.connect();
        client.readResponse();
    }
    if (what === "connects")
        for (;;) new SmtpClient("127.0.0.1", Sys.setting("mute", 0)).connect();
    return new SmtpResponse(250, "2.1.0 fine");
};
"""

LIMITS = {"slice_ms": 20, "heap_bytes": "4m", "operations": 500, "session_ms": 1000}
# A comparator that lies leaves the order open, and no more.
FINE = ("sort",)


@pytest.fixture(scope="module")
def mute():
    with NextHop({"connect": [Mute()] * 2000}) as hop:
        yield hop


@pytest.fixture(scope="module")
def server(serve_module, mute):
    return serve_module(POLICY, limits=LIMITS, settings={"mute": mute.port}, timeouts={"handler": 0.4},
                        options=["--metrics", "127.0.0.1:0"])


@pytest.fixture(scope="module")
def other(server):
    """A session that was there before all of them."""
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def faulted(pages):
    return {name[1]: count for name, count in pages.numbers().items() if name[0] in ("limits_total", "timeouts_total")}


@pytest.mark.parametrize("name", list(HANDLERS))
def test_what_takes_too_much_ends_one_handler_or_one_session(server, other, name):
    number, pages = list(HANDLERS).index(name), Pages(server)
    before, lines = faulted(pages), len(server.log_lines)
    faults = pages.numbers()["faults_total", "smtpMail"]
    with Sender(server.port) as sender:
        sender.hello()
        reply = sender.command(b"MAIL FROM:<%d@client.test>" % number)
        if name in FINE and reply.code == 250:
            return
        assert reply.code in (421, 451) and reply.text.startswith("4.3.0 ")
        if reply.code == 421:
            assert sender.closed_by_server()
        else:
            try:
                assert sender.command(b"NOOP").code in (250, 421)
            except Closed:
                pass
    assert other.command(b"MAIL FROM:<fine@client.test>").code == 250
    assert other.command(b"RSET").code == 250
    told, = [line for line in server.log_lines[lines:] if " error " in line]
    line = POLICY.split("\n").index("    " + HANDLERS[name]) + 1
    assert f"policy.js:{line}:" in told and "smtpMail: " in told, told
    after = faulted(pages)
    assert pages.numbers()["faults_total", "smtpMail"] == faults + 1
    if name not in ("recursion", "join", "array", "stringify"):         # errors of the engine's, which a handler may catch
        assert [limit for limit in after if after[limit] > before[limit]], told


@pytest.mark.parametrize("what", [b"waits", b"connects"])
def test_a_handler_that_waits_without_end(server, other, what):
    pages, lines = Pages(server), len(server.log_lines)
    before = faulted(pages)
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"MAIL FROM:<%b@client.test>" % what).code in (421, 451)
    assert other.command(b"MAIL FROM:<fine@client.test>").code == 250
    assert other.command(b"RSET").code == 250
    told, = [line for line in server.log_lines[lines:] if " error " in line]
    assert "policy.js:" in told
    after = faulted(pages)
    assert what == b"connects" or {limit for limit in after if after[limit] > before[limit]} & {"handler", "operations"}
