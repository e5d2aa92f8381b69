"""policy/faults.py: the place of a fault, as an author finds it."""
import time

import pytest
from handlers import Session, policy_of

from mailfilter._core.heap import HeapStopped, ScriptError
from mailfilter.policy import lexer

TEXT = """\
SmtpServer.prototype.smtpMail = function (path) {
    %s
    return new SmtpResponse(250, "x");
};
function helper(x) {
    \treturn x.missing.more;
}
"""


def fault_of(folder, line):
    policy = policy_of(folder, TEXT % line)
    session = Session(policy)
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    return policy.fault(caught.value, session.heap.call(5)[1])


@pytest.mark.parametrize("line,place,message", [
    ("null.x;", (2, 10), "TypeError: cannot read property 'x' of null"),
    ("var a = 1; undefinedName + 1;", (2, 16), "ReferenceError: identifier 'undefinedName' undefined"),
    ("if (path) throw new RangeError('too much');", (2, 15), "RangeError: too much"),
    ("if (path) throw 'text';", (2, 15), "thrown: text"),
    ("throw {a: 1};", (2, 5), "thrown: [object Object]"),
    ("throw null;", (2, 5), "thrown: null"),
    ("helper({});", (6, 23), "TypeError: cannot read property 'more' of undefined"),
    ("path.noSuch();", (2, 10), "not callable"),
    ("new SmtpResponse(250);", (2, 9), "Invalid argument"),
    ("new SmtpHeader();", (2, 9), "Invalid argument"),
    ("[1].forEach(function () { helper({}); });", (6, 23), "TypeError"),
    ("[2, 1].sort(function () { throw new Error('no order'); });", (2, 31), "Error: no order"),
    ("Sys.setting('nothing');", (2, 5), "setting 'nothing' is needed"),
    ("JSON.parse('{');", (2, 5), "SyntaxError"),
    ("eval('var = 5');", (2, 5), "SyntaxError"),
    ("new Function('return null.x')();", (2, 31), "TypeError"),
    ("(function f() { f(); })();", (2, 5), "RangeError"),
    ("var e = new Error('kept'); e.name = 'Mine'; throw e;", (2, 49), "Mine: kept"),
    ("path.toString = function () { throw new Error('deep'); }; String(path);", (2, 35), "Error: deep"),
])
def test_the_place_of_a_fault(tmp_path, line, place, message):
    fault = fault_of(tmp_path, line)
    assert message in fault.message
    assert (fault.line, fault.column) == place, str(fault)
    assert fault.file == str(tmp_path / "policy.js")
    assert fault.source_line == (TEXT % line).split("\n")[place[0] - 1]
    assert fault.excerpt().split("\n")[1].rstrip().endswith("^")


# What a policy, or a client whose words are in a message, may put into an error.
GROWN = "var text = %s; while (text.length < 1e6) text += text; var e = new Error(%s); %s throw e;"
LARGE = {
    "parentheses in the stack": ("' at f ('", "'m'", "e.stack = text;"),
    "blank lines in the stack": ("' \\n'", "'m'", "e.stack = text;"),
    "places in the stack": ("'    at f (' + Sys.setting('file') + ':2)\\n'", "'m'", "e.stack = text;"),
    "places that end nowhere": ("'(a:1:1:1:1'", "'m'", "e.stack = '    at f ' + text;"),
    "lines beyond counting": ("'9'", "'m'", "e.stack = '    at f (' + Sys.setting('file') + ':' + text + ')';"),
    "the message in the stack": ("'\\n at f ('", "text", ""),
    "the message": ("'x'", "text", ""),
    "what is not iterable": ("'undefined not callable (property [Symbol '", "text", ""),
    "modules": ("'require('", "text", ""),
    "the name": ("'x'", "'m'", "e.name = text;"),
}


@pytest.mark.parametrize("parts", LARGE.values(), ids=LARGE)
def test_the_place_is_looked_for_no_longer_than_is_due(tmp_path, parts):
    policy = policy_of(tmp_path, TEXT % (GROWN % parts))
    session = Session(policy, settings={"file": str(tmp_path / "policy.js")})
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    begun = time.thread_time()
    fault = policy.fault(caught.value, None)
    assert time.thread_time() - begun < 1
    assert fault.line == 2 and len(fault.message) < 10_000


@pytest.mark.parametrize("line", ["1e400", "NaN", "-1", "0", "1.5", "1e9", "'2'", "{}", "true"])
def test_the_line_that_an_error_claims_may_be_anything(tmp_path, line):
    claim = ("var e = new Error('m'); e.stack = ''; Object.defineProperty(e, 'fileName', {value: Sys.setting('file')});"
             f"Object.defineProperty(e, 'lineNumber', {{value: {line}}}); throw e;")
    policy = policy_of(tmp_path, TEXT % claim)
    session = Session(policy, settings={"file": str(tmp_path / "policy.js")})
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    assert policy.fault(caught.value, None).message == "Error: m"


def test_a_thrown_value_of_an_earlier_handler_does_not_mislead(tmp_path):
    policy = policy_of(tmp_path, """SmtpServer.prototype.smtpMail = function () {
    try { throw "caught here"; } catch (e) { }
    throw new Error("this one");
};""")
    session = Session(policy)
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    assert policy.fault(caught.value, session.heap.call(5)[1]).line == 3


# Statements of several lines: each is the body of smtpMail, which begins in line 1; the place is that of the fault.

STATEMENTS = [
    ("""
    var found = [new SmtpHeader('A', 'b')]
        .filter(function (h) { return h.name === 'A'; })
        .map(function (h) { return h; })[0]
        .getvalue();""", (5, 10), "property 'getvalue'"),
    ("""
    var found = [new SmtpHeader('A', 'b')].filter(function (h) {
        return h.name === 'A';
    })[0]
        .getvalue();""", (5, 10), "property 'getvalue'"),
    ("""
    var found = [new SmtpHeader('A', 'b')].filter(function (h) {
        return h.name === 'B';
    })[0].getValue(
        1,
        2
    );""", (4, 11), "'getValue' of undefined"),
    ("""
    var self = this;
    return self
        .a          // .b is not here
        .b
        .c;""", (5, 10), "'b' of undefined"),
    ("""
    return new SmtpResponse(250,
        this.remoteAddr
            .toUpperCase()
            .toLowercase());""", (5, 14), "'toLowercase'"),
    ("""
    var yes = this.remoteAddr &&
        this.nothing ||
        unknownThing
            .more;""", (4, 9), "'unknownThing' undefined"),
    ("""
    throw new Error(
        'a long ' +
        'text');""", (2, 5), "a long text"),
    ("""
    this.first = 1;
    this.second(
        1,
        this.third()
    );""", (5, 14), "'third'"),
    ("""
    var found = [1, 2]
        .filter(Boolean)
        .map(undefined);""", (4, 14), "not a function"),
    ("""
    var self = this, text = JSON.stringify({get a() {
        var client = new SmtpClient('x');
        client
            .connect();
    }});""", (5, 14), "client.connect cannot wait here"),
]


@pytest.mark.parametrize("begin", ["var before;", "let before;"])
@pytest.mark.parametrize("body, place, message", STATEMENTS)
def test_the_line_of_a_statement_of_several(tmp_path, begin, body, place, message):
    text = f"SmtpServer.prototype.smtpMail = function (path) {{ {begin}{body}\n    return null;\n}};\n"
    policy = policy_of(tmp_path, text)
    session = Session(policy, lambda name, *arguments: None)
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    fault = policy.fault(caught.value, session.heap.call(5)[1])
    assert message in fault.message
    assert (fault.line, fault.column) == place, f"{fault}\n{fault.excerpt()}"


# Loops: what is stopped is inside one.

LOOPS = [
    ("var i = 0,\n    j = 1;\n    for (;;) {\n        i++;\n    }", (4, 5)),
    ("var i = 0;\n    while (true)\n        i += 1;", (3, 5)),
    ("var i = 0;\n    do {\n        i += 1;\n    } while (i);", (3, 5)),
    ("var i = Number(this.remotePort); for (;;) { i++; }", (2, 38)),
    ("var i = 1;\n    if (i) {\n        i = Number(i);\n        while (i) { i = 2; }\n    }\n    for (;;) { i++; }", (5, 9)),
    ("for (;;) {\n        Number(1);\n    }", (3, 9)),
    ("var i = 1;\n    /^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab');\n    for (;;) { i++; }", (3, 5)),
    ("function f() { for (;;) ; }\n    f();\n    for (;;) ;", (2, 20)),
]


@pytest.mark.parametrize("body, place", LOOPS)
def test_the_line_of_a_loop_that_was_stopped(tmp_path, body, place):
    policy = policy_of(tmp_path, f"SmtpServer.prototype.smtpMail = function (path) {{\n    {body}\n}};\n")
    session = Session(policy)
    session.heap.allow(20)
    with pytest.raises(HeapStopped) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    fault = policy.fault(caught.value)
    assert fault.message == "stopped after 20 ms of CPU"
    assert (fault.line, fault.column) == place, f"{fault}\n{fault.excerpt()}"


@pytest.mark.parametrize("text, number, lines", [
    ("a;\nb(\n1\n);\nc;", 2, (2, 4)), ("a;\nb(\n1\n);\nc;", 4, (2, 4)), ("f(function () {\n  a;\n})\n.b();", 3, (3, 4)),
    ("a", 1, (1, 1)), ("a;\n\n\nb", 4, (2, 4)), ("a\n" * 100, 50, (20, 80))])
def test_what_seems_to_be_a_statement(text, number, lines):
    assert lexer.statement(text.split("\n"), number) == lines


@pytest.mark.parametrize("code, number, loop", [
    ("a;\nfor (;;) ;", 1, 3), ("for (;;) {\na;\n}", 2, None), ("a; }", 1, None), ("{ a;\n}\nfor (;;) ;", 1, None),
    ("{ a;\n while (b) c; }", 1, 6), ("", 1, None), ("x\n.for(1)", 1, None), ("{{{", 1, None), ("a;\nfor (", 1, 3)])
def test_the_loop_that_a_line_leads_to(code, number, loop):
    assert lexer.loop_after(code, number) == loop
