"""js/engine.js: what becomes of what handlers do and return, to the session's properties and to the reply."""
import pytest
from handlers import Session, policy_of

from mailfilter._core.heap import ScriptError
from mailfilter.mail.message import Message
from mailfilter.mail.spool import Spool

SHOW = """
SmtpServer.prototype.smtpExpn = function (code) { return new SmtpResponse(250, String((0, eval)(code))); };
var server;
SmtpServer.prototype.smtpInit = function () { server = this; return new SmtpResponse(220, "hello"); };
"""
A, B = ["a", "x", [], []], ["b", "x", [], []]


@pytest.fixture
def start(tmp_path):
    sessions = []

    def start(text="", **options):
        session = Session(policy_of(tmp_path, SHOW + text), **options)
        sessions.append(session)
        assert session.run("smtpInit") == [220, False, "hello"]
        session.show = lambda code: session.run("smtpExpn", code)[2]
        return session

    yield start
    for session in sessions:
        session.close()


def test_a_transaction(start):
    session = start("SmtpServer.prototype.smtpData = function (headers, body) {"
                    " return new SmtpResponse(250, this.sender + ' ' + this.recipients + ' ' + headers + ' ' + body); };")
    assert session.run("smtpEhlo", "client.test")[:3] == [250, False, "mx.test"]
    assert session.show("[server.clientname, server.proto, server.sender]") == "client.test,ESMTP,"
    session.run("smtpMail", A)
    session.run("smtpRcpt", A)
    session.run("smtpRcpt", B)
    assert session.show("[server.sender, server.recipients]") == "<a@x>,<a@x>,<b@x>"
    assert session.run("smtpData", ["A", ["b"]], 1, 12)[2] == "<a@x> <a@x>,<b@x> A: b body of 12 bytes"
    assert session.show("[server.sender, server.recipients.length]") == ",0"


def test_refused_steps_change_nothing(start):
    session = start("""
        ["smtpHelo", "smtpMail", "smtpRcpt"].forEach(function (name) {
            SmtpServer.prototype[name] = function () { return new SmtpResponse(Number(this.say || 250), "x"); };
        });""")
    session.run("smtpHelo", "first")
    for code in (450, 550):
        session.show(f"server.say = {code}")
        assert session.run("smtpHelo", "second")[0] == code
        assert session.run("smtpMail", A)[0] == code
        assert session.show("[server.clientname, server.sender]") == "first,"
    session.show("server.say = 250")
    session.run("smtpMail", A)
    session.run("smtpRcpt", A)
    session.show("server.say = 550")
    session.run("smtpRcpt", B)
    assert session.show("server.recipients") == "<a@x>"
    session.show("server.say = 354")                            # a 3xx counts as accepted
    session.run("smtpRcpt", B)
    assert session.show("server.recipients") == "<a@x>,<b@x>"


@pytest.mark.parametrize("change", ["this.recipients = 5", "delete this.recipients", "this.recipients = null",
                                    "this.recipients = 'text'",
                                    "this.recipients = {length: 3}", "this.recipients = undefined"])
def test_d16_recipients_that_are_no_array_are_made_one(start, change):
    session = start(f"SmtpServer.prototype.smtpRcpt = function () {{ {change}; return new SmtpResponse(250, 'x'); }};")
    session.run("smtpMail", A)
    for _ in range(2):
        assert session.run("smtpRcpt", B)[0] == 250
        assert session.show("Array.isArray(server.recipients) + ' ' + server.recipients") == "true <b@x>"


@pytest.mark.parametrize("change", ["Object.freeze(this.recipients)", "Object.freeze(this)",
                                    "Object.defineProperty(this, 'recipients', {get: function () { throw new Error('no'); }})",
                                    "Object.defineProperty(this, 'recipients', {value: []})"])
def test_d16_recipients_made_unusable_end_in_an_error_at_most(start, change):
    session = start(f"SmtpServer.prototype.smtpRcpt = function () {{ {change}; return new SmtpResponse(250, 'x'); }};")
    session.run("smtpMail", A)
    for handler in ("smtpRcpt", "smtpRset", "smtpData"):
        try:
            session.run(handler, *([B] if handler == "smtpRcpt" else []))
        except ScriptError:
            pass
    assert session.run("smtpHelp", "x") == [0] and not session.heap.dead


def test_methods_of_array_prototype_reach_recipients_and_headers(start):
    session = start("""
        Object.defineProperty(Array.prototype, "indexOfStr", {value: function (text) {
            for (var i = 0; i < this.length; i++) if (this[i].toString() === text) return i;
            return -1;
        }});
        SmtpServer.prototype.smtpData = function (headers) {
            var keys = [], key;
            for (key in headers) keys.push(key);
            return new SmtpResponse(250, [this.recipients.indexOfStr("<b@x>"), headers.indexOfStr("A: b"), keys.join()]);
        };""")
    session.run("smtpMail", A)
    session.run("smtpRcpt", A)
    session.run("smtpRcpt", B)
    assert session.run("smtpData", ["C", ["d"], "A", ["b"]], 1, 0)[2:] == ["1", "1", "0,1"]


def test_a_class_that_is_replaced_is_used(start):
    session = start("""
        var made = [], OldPath = SmtpPath, OldHeader = SmtpHeader;
        SmtpPath = function () { OldPath.call(this); made.push("path"); };
        SmtpPath.prototype = OldPath.prototype;
        SmtpHeader = function (name, value) { OldHeader.call(this, name, value); made.push("header " + name); };
        SmtpHeader.prototype = OldHeader.prototype;
        SmtpServer.prototype.smtpData = function () { return {code: 250, message: made, disconnect: 1}; };""")
    session.run("smtpMail", A)
    assert session.run("smtpData", ["A", ["b"]], 1, 0) == [250, True, "path", "header A"]


def test_a_server_class_of_ones_own(tmp_path):
    session = Session(policy_of(tmp_path, """
        var Old = SmtpServer;
        SmtpServer = function (address, port) { Old.call(this, address, port); this.mine = address + ":" + port; };
        SmtpServer.prototype = Object.create(Old.prototype);
        SmtpServer.prototype.smtpInit = function () { return new SmtpResponse(220, this.mine + " " + this.remotePort); };
        SmtpServer.prototype.smtpNoop = function () { return new SmtpResponse(250, "asked"); };
    """))
    assert session.run("smtpInit") == [220, False, "192.0.2.1:1025 1025"]
    assert session.run("smtpNoop", "x") == [250, False, "asked"]
    assert session.run("smtpMail", A)[0] == 250
    session.close()


@pytest.mark.parametrize("where", ["SmtpServer.prototype", "this"])
def test_handlers_may_be_assigned_later(start, where):
    session = start(f"SmtpServer.prototype.smtpHelo = function () {{ {where}.smtpMail = function () {{"
                    " return new SmtpResponse(250, 'the later one'); }; return new SmtpResponse(250, 'x'); };")
    session.run("smtpHelo", "x")
    assert session.run("smtpMail", A)[2] == "the later one"


@pytest.mark.parametrize("value", ["null", "5", "undefined", "'text'", "{}"])
def test_a_handler_that_is_no_function_any_more(start, value):
    session = start("SmtpServer.prototype.smtpNoop = function () { throw 1; }; SmtpServer.prototype.smtpHelo = function () {"
                    f" SmtpServer.prototype.smtpMail = {value}; this.smtpNoop = {value};"
                    " return new SmtpResponse(250, 'x'); };")
    session.run("smtpHelo", "x")
    with pytest.raises(ScriptError, match="smtpMail is not a function"):
        session.run("smtpMail", A)
    assert session.run("smtpNoop", "x") == [0]                  # there need not be one


RESPONSES = [
    ("new SmtpResponse(250, 'x')", [250, False, "x"]), ("{code: 250, message: 'x'}", [250, False, "x"]),
    ("{code: 250, message: ['a', 'b'], disconnect: 'yes'}", [250, True, "a", "b"]),
    ("{code: 550, message: 5}", [550, False, "5"]),
    ("new SmtpResponse(250, 'a\\nb\\r\\nc')", [250, False, "a", "b", "c"]),
    ("{code: 250, message: ['a\\nb', 'c']}", [250, False, "a", "b", "c"]),
    ("{code: 250, message: [null, undefined]}", [250, False, "null", "undefined"]),
    ("{code: 250, message: ['', '']}", [250, False, "", ""]),
    ("{code: 250, message: {toString: function () { return 'made'; }}}", [250, False, "made"]),
    ("(function () { var f = function () {}; f.code = 250; f.message = 'f'; return f; }())", [250, False, "f"]),
    ("{code: 200, message: 'least'}", [200, False, "least"]), ("{code: 599, message: 'most'}", [599, False, "most"]),
    ("{code: 250, message: 'a\\rb\\u0000c'}", [250, False, "a\rb\0c"]),        # the core writes blanks for these
]
NO_RESPONSES = ["undefined", "null", "true", "250", "'250 x'", "{}", "[]", "{code: 250}", "{code: '250', message: 'x'}",
                "{code: 199, message: 'x'}", "{code: 600, message: 'x'}", "{code: 250.5, message: 'x'}",
                "{code: NaN, message: 'x'}", "{code: 250, message: ''}", "{code: 250, message: []}", "{code: 250, message: ['']}",
                "{code: 250, message: null}",
                "new SmtpResponse(0, 'x')", "Symbol('s')", "{code: 250, message: Object.create(null)}"]


@pytest.mark.parametrize("value,expected", RESPONSES)
def test_what_is_a_response(start, value, expected):
    session = start(f"SmtpServer.prototype.smtpMail = function () {{ return {value}; }};")
    assert session.run("smtpMail", A) == expected
    assert session.show("server.disconnect") == str(expected[1]).lower()
    assert session.show("server.disconnect") == "false"         # every response overwrites it
    assert session.show("String(server.sender)") == ("<a@x>" if expected[0] < 400 else "null")


@pytest.mark.parametrize("value", NO_RESPONSES)
def test_what_is_no_response(start, value):
    session = start(f"SmtpServer.prototype.smtpMail = function () {{ return {value}; }};")
    with pytest.raises(ScriptError):
        session.run("smtpMail", A)
    assert session.show("server.sender") == "null"


@pytest.mark.parametrize("handler", ["smtpNoop", "smtpVrfy", "smtpHelp", "smtpUnknown", "smtpQuit", "smtpPreData"])
@pytest.mark.parametrize("value", ["undefined", "null"])
def test_no_opinion(start, handler, value):
    assert start(f"SmtpServer.prototype.{handler} = function () {{ return {value}; }};").run(handler) == [0]


# The message.

def message(session, *headers):
    session.run("smtpMail", A)
    session.run("smtpRcpt", B)
    return session.run("smtpData", list(headers), 1, 5)


def test_smtp_body_may_refuse_the_message(start):
    session = start("""
        var calls = [];
        SmtpServer.prototype.smtpBody = function (headers, body) {
            calls.push("body " + this.sender + this.recipients + body.length);
            headers[0].parts[0] = "changed";
            return this.refuse ? new SmtpResponse(this.refuse, "refused", true) : this.say;
        };
        SmtpServer.prototype.smtpData = function (headers) {
            calls.push("data " + headers);
            return new SmtpResponse(250, calls);
        };""")
    assert message(session, "A", ["b"]) == [250, False, "body <a@x><b@x>5", "data A: changed"]
    session.show("server.say = new SmtpResponse(250, 'an opinion')")
    assert message(session, "A", ["b"])[0] == 250               # a success is not the answer yet
    session.show("calls.length = 0; server.refuse = 550")
    assert message(session, "A", ["b"]) == [550, True, "refused"]
    assert session.show("[calls, server.sender, server.recipients.length]") == "body <a@x><b@x>5,,0"


def test_smtp_body_that_fails(start):
    session = start("SmtpServer.prototype.smtpBody = function () { throw new Error('b'); };")
    with pytest.raises(ScriptError):
        message(session)
    assert session.show("[server.sender, server.recipients.length]") == ",0"


@pytest.mark.parametrize("body", ["throw new Error('x')", "return null", "return new SmtpResponse(354, 'go')", "return 250"])
def test_the_transaction_ends_whatever_smtp_data_does(start, body):
    session = start(f"SmtpServer.prototype.smtpData = function () {{ {body}; }};")
    with pytest.raises(ScriptError):
        message(session)
    assert session.show("[server.sender, server.recipients.length]") == ",0"


def test_without_a_handler_messages_are_deferred(start):
    assert message(start())[0] == 451


def test_a_message_that_the_engine_gave_up(start):
    session = start("var told = []; SmtpServer.prototype.smtpData = function (h, b) {"
                    " told.push([h, b, this.sender]); return 'ignored'; };")
    session.run("smtpMail", A)
    assert session.run("smtpData") == [0]
    assert session.show("[told[0][0], told[0][1], told[0][2], server.sender]") == ",,<a@x>,"
    session.run("smtpMail", A)
    session.show("told = null")
    with pytest.raises(ScriptError):
        session.run("smtpData")
    assert session.show("server.sender") == "null"


@pytest.mark.parametrize("answer,kept", [
    ("new SmtpResponse(250, 'x')", False), ("new SmtpResponse(450, 'x')", True), ("null", False),
])
def test_rset(start, answer, kept):
    session = start(f"SmtpServer.prototype.smtpRset = function () {{ return {answer}; }};")
    session.run("smtpMail", A)
    session.run("smtpRcpt", B)
    try:
        session.run("smtpRset")
    except ScriptError:
        assert answer == "null"
    assert session.show("String(server.sender) + server.recipients.length") == ("<a@x>1" if kept else "null0")


def test_properties_of_ones_own_stay(start):
    session = start("SmtpServer.prototype.smtpMail = function () { this.count = (this.count || 0) + 1;"
                    " return new SmtpResponse(250, String(this.count)); };")
    for number in range(1, 4):
        assert session.run("smtpMail", A)[2] == str(number)
        session.run("smtpRset")


def test_handlers_run_on_after_a_throw_that_waited(start):
    session = start("""
        SmtpServer.prototype.smtpNoop = function () {
            try { new Maildir("x").deliver(null, "text"); } finally { this.left = true; }
            throw new Error("after the wait");
        };""", waited={"maildir.deliver": lambda *arguments: "name"})
    for _ in range(3):
        with pytest.raises(ScriptError, match="after the wait"):
            session.run("smtpNoop", "x")
    assert session.show("server.left") == "true"
    assert session.asked[0] == ("maildir.deliver", ["x", [], "text", None])


# The body.

def test_reading_a_body(start):
    session = start("""
        var kept;
        SmtpServer.prototype.smtpData = function (h, body) {
            kept = body;
            return new SmtpResponse(250, ["x" + body.length, body.read(), body.read(3), body.read(3, 4), body.read(-5, 2),
                body.read(100), body.read(0, 0), body.read(2.9, 1.9), body.read(0, -1)].map(escaped));
        };
        function escaped(text) { return text.replace(/\\r/g, "R").replace(/\\n/g, "N"); }""")
    content = b"abcd\xff\r\n.line\r\n"
    spool = Spool(1 << 20, None)
    spool.write(b"abcd\xff\r\n..line\r\n")
    spool.finish(len(content))
    session.context.message = Message([], True, spool)
    session.context.message_handle = 1
    session.run("smtpMail", A)
    assert session.run("smtpData", [], 1, len(content))[2:] == [
        f"x{len(content)}", "abcd\udcffRN.lineRN", "d\udcffRN.lineRN", "d\udcffRN", "ab", "", "", "c", ""]
    session.context.message.close()
    session.context.message = None
    with pytest.raises(ScriptError, match="earlier message is gone"):
        session.show("kept.read()")
    assert session.show("'' + kept + Object.keys(kept)") == f"body of {len(content)} byteslength"
