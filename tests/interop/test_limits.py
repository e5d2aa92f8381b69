"""JavaScript that takes too much, against a running server: the session gets 421 (451 where its heap is still sound),
the log names the policy's line, and the others on the same worker go on meanwhile.

Each way of taking too much is a function in the policy; the sender's local part names it.
"""
import re
import threading
import time

import pytest
from peers.sender import Closed, Sender

SLICE_MS, SESSION_MS = 20, 300
OPERATIONS = 300
HANDLER_S = 1.0

# Name: (what runs in smtpMail, the codes the client may get, words of the log). With both codes it depends on what ends
# first, time or memory.
STOPPED, MEMORY = "stopped after", "limit of [0-9]+ bytes was reached|memory limit reached"
TRAPS = {
    "while": ("while (1) ;", {421}, STOPPED),
    "dowork": ("for (var i = 0; ; i++) { i = Number(i); }", {421}, STOPPED),
    "catch": ("try { while (1) ; } catch (e) { while (1) ; }", {421}, STOPPED),
    "finally": ("try { while (1) ; } finally { for (;;) ; }", {421}, STOPPED),
    "again": ("for (;;) { try { (function f() { f(); }()); } catch (e) { } }", {421}, STOPPED),
    "rethrow": ("for (;;) { try { throw new Error('x'); } catch (e) { continue; } finally { continue; } }", {421}, STOPPED),
    "labels": ("out: for (;;) { try { break out; } finally { continue out; } }", {421}, STOPPED),
    "regex": ("return /^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab');", {421}, STOPPED),
    "regexsplit": ("return 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'.split(/(?:a|aa)+$/);", {421}, STOPPED),
    "double": ("var s = 'x'; for (;;) s += s;", {421, 451}, MEMORY),
    "push": ("var a = []; for (;;) a.push('x' + a.length);", {421, 451}, f"{MEMORY}|{STOPPED}"),
    "keep": ("var a = []; for (;;) { try { a.push(new Array(1000).join('y') + a.length); } catch (e) { } }", {421}, STOPPED),
    "recursion": ("return (function f(n) { return f(n + 1) + 1; }(0));", {451}, "limit"),
    "mutual": ("var f = function () { return g(); }, g = function () { return f.call(this); }; return f();", {421, 451},
               "limit|" + STOPPED),
    "join": ("return new Array(1e9).join();", {421, 451}, f"{MEMORY}|{STOPPED}"),
    "stringify": ("var a = [], i; for (i = 0; i < 300; i++) a[i] = a.slice(0, 50); return JSON.stringify(a);", {421, 451},
                  f"{MEMORY}|{STOPPED}"),
    "parse": ("var s = new Array(5000).join('['); for (;;) { try { JSON.parse(s); } catch (e) { } }", {421}, STOPPED),
    "tojson": ("return JSON.stringify({toJSON: function () { for (;;) ; }});", {421}, STOPPED),
    "sort": ("var a = [], n = 0; for (var i = 0; i < 5000; i++) a[i] = i; for (;;) a.sort(function () { return ++n % 3 - 1; });",
             {421}, STOPPED),
    "growing": ("var a = [3, 2, 1]; a.sort(function (x, y) { a.push(1); for (var i in a) { a[i] = y; } return x - y; });"
                " for (;;) a.sort(function () { return 1; });", {421}, STOPPED),
    "getter": ("return Object.defineProperty({message: 'x', disconnect: false}, 'code', {get: function () { for (;;) ; }});",
               {421}, STOPPED),
    "tostring": ("return {code: 250, disconnect: false, message: {toString: function () { for (;;) ; }}};", {421}, STOPPED),
    "proxy": ("return new Proxy({}, {get: function () { for (;;) ; }});", {421}, STOPPED),
    "thrown": ("throw {toString: function () { for (;;) ; }};", {421}, STOPPED),
    "message": ("var e = new Error('x'); Object.defineProperty(e, 'message', {get: function () { for (;;) ; }}); throw e;",
                {421}, STOPPED),
    "finalizer": ("Duktape.fin({}, function () { for (;;) ; }); Duktape.gc(); for (;;) ;", {421}, STOPPED),
    "arrays": ("var u = new Uint8Array(1e6), v = new Uint8Array(1e6); for (;;) u.set(v);", {421}, STOPPED),
    "numbers": ("for (;;) (0.1).toFixed(20);", {421}, STOPPED),
    "dates": ("for (;;) new Date(2020, 1, 1).toString();", {421}, STOPPED),
    "compile": ("for (;;) new Function('return ' + new Array(2000).join('1+') + '1')();", {421}, STOPPED),
    "asking": ("for (;;) { try { Sys.setting('x', ''); } catch (e) { } }", {421}, STOPPED),
    "asked": ("for (;;) Sys.setting('x', '');", {421, 451}, f"used up its {OPERATIONS} operations|{STOPPED}"),
    "refused": ("var c = new SmtpClient('127.0.0.1', 1); for (;;) { try { c.connect(); } catch (e) { } }", {421, 451},
                f"used up its {OPERATIONS} operations|no time left|used up its {SESSION_MS} ms"),
    "slowly": ("var c = new SmtpClient('127.0.0.1', 1), t; for (;;) { t = Date.now() + 5; while (Date.now() < t) ;"
               " try { c.connect(); } catch (e) { } }", {421}, f"used up its {SESSION_MS} ms|operations"),
}

POLICY = "var traps = {\n" + ",\n".join(
    f"    {name}: function () {{\n{code}\n    }}" for name, (code, _, _) in TRAPS.items()) + """
};

SmtpServer.prototype.smtpMail = function (path) {
    var trap = traps[path.mailbox.local];
    return trap ? trap.call(this) : new SmtpResponse(250, '2.1.0 taken');
};

SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse(250, '2.1.5 taken');
};

SmtpServer.prototype.smtpData = function (headers, body) {
    return new SmtpResponse(250, '2.0.0 dropped');
};
"""


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(POLICY, timeouts={"handler": HANDLER_S}, limits={
        "slice_ms": SLICE_MS, "session_ms": SESSION_MS, "operations": OPERATIONS, "heap_bytes": 4 << 20})


@pytest.fixture(scope="module")
def others(server):
    """Two sessions on the same worker that work on during all tests of this module; each reply must come in time."""
    stop, problems, worst = threading.Event(), [], [0.0, 0]

    def work():
        try:
            with Sender(server.port) as sender:
                sender.hello()
                while not stop.wait(0.002):
                    begun = time.monotonic()
                    assert sender.command(b"MAIL FROM:<fine@client.test>").code == 250
                    assert sender.command(b"RSET").code == 250
                    worst[0] = max(worst[0], time.monotonic() - begun)
                    worst[1] += 1
                    # A session's time is limited: begin a new one now and then.
                    if worst[1] % 500 == 0:
                        sender.command(b"QUIT")
                        sender.close()
                        sender.__init__(server.port)
                        sender.hello()
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield worst
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert worst[1] > 0


@pytest.mark.parametrize("trap", TRAPS)
def test_who_takes_too_much_is_stopped(server, others, trap):
    _, codes, words = TRAPS[trap]
    seen = len(server.log)
    with Sender(server.port) as sender:
        sender.hello()
        # Another session's answer, while this one's handler is at it.
        with Sender(server.port) as other:
            sender.send(f"MAIL FROM:<{trap}@client.test>\r\n".encode())
            other.hello()
            other.deliver(b"Subject: meanwhile\r\n\r\nfine\r\n")
        reply = sender.reply()
        assert reply.code in codes, reply
        assert reply.text.startswith("4.3.0 ")
        if reply.code == 421:
            assert sender.closed_by_server()
        else:
            assert sender.command(b"MAIL FROM:<fine@client.test>").code == 250
    log = server.wait_for_log("smtpMail: ")[seen:]
    assert re.search(words, log), log
    # The line is one of the trap's, or of the handler that called it.
    numbers = [int(number) for number in re.findall(r"policy\.js:([0-9]+)", log)]
    lines = POLICY.splitlines()
    own = lines.index(f"    {trap}: function () {{") + 1
    handler = next(i for i, line in enumerate(lines, 1) if "smtpMail = " in line)
    assert any(own <= number <= own + 2 or handler <= number <= handler + 3 for number in numbers), (own, handler, log)


def test_what_others_notice_is_bounded(others):
    """Not the figure (`make bench-engine` has it), but that nobody waits for all of a trap."""
    assert others[1] > 20 and others[0] < 5


def test_who_was_stopped_may_come_back(server):
    for _ in range(3):
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"MAIL FROM:<while@client.test>").code == 421
            with pytest.raises(Closed):
                sender.command(b"NOOP")
    with Sender(server.port) as sender:
        sender.hello()
        sender.deliver(b"Subject: fine\r\n\r\nfine\r\n")


def test_a_heap_that_ran_out_is_another_sessions_full_one_again(server):
    """Half of the heap is there for everybody, however often somebody else used all of it."""
    for _ in range(5):
        with Sender(server.port) as sender:
            sender.hello()
            assert sender.command(b"MAIL FROM:<double@client.test>").code in (421, 451)
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"MAIL FROM:<fine@client.test>").code == 250
