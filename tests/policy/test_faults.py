"""policy/faults.py: the place of a fault, as an author finds it."""
import pytest
from handlers import Session, policy_of

from mailfilter._core.heap import ScriptError

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
    ("new SmtpResponse(250);", (2, 5), "Invalid argument"),
    ("new SmtpHeader();", (2, 5), "Invalid argument"),
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


def test_a_thrown_value_of_an_earlier_handler_does_not_mislead(tmp_path):
    policy = policy_of(tmp_path, """SmtpServer.prototype.smtpMail = function () {
    try { throw "caught here"; } catch (e) { }
    throw new Error("this one");
};""")
    session = Session(policy)
    with pytest.raises(ScriptError) as caught:
        session.run("smtpMail", ["a", "b", [], []])
    assert policy.fault(caught.value, session.heap.call(5)[1]).line == 3
