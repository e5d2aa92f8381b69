"""Modules: what require() finds, when and where from, what it refuses; the lexer that looks for it."""
import textwrap
from pathlib import Path

import pytest
from at_hand import AtHand

from mailfilter import policy as policies
from mailfilter.errors import PolicyError
from mailfilter.log import Log
from mailfilter.policy import modules as module_rules
from mailfilter.policy.lexer import code_only, required, words

POLICIES = Path(__file__).resolve().parents[1] / "policies"
PATH = ["a", "b.example", [], []]


@pytest.fixture
def write(tmp_path):
    """`write(name, text)` puts a file into the policy's folder, which is tmp_path / "policy"."""
    def write(name, text):
        path = tmp_path / "policy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path
    return write


def load(path, **options):
    return policies.load(str(path), {"cacheDirectory": ""}, hostname="mx.example.org", **options)


def greeting(path):
    session = AtHand(path)
    try:
        return session.lines("smtpInit")
    finally:
        session.close()


def says(expression):
    """A handler that says what an expression gives."""
    return f"\nSmtpServer.prototype.smtpInit = function () {{ return new SmtpResponse(220, String({expression})); }};\n"


class Lines:
    """A sink that keeps its lines."""

    def __init__(self):
        self.lines = []

    def write(self, severity, session_id, text, fields):
        self.lines.append(text)

    emit = write


# The fixture policy: several files, all kinds.

@pytest.fixture(scope="module")
def session():
    session = AtHand(POLICIES / "modules/policy.js")
    yield session
    session.close()


def test_files_json_and_computed_names_at_load_time(session):
    assert session.policy.image is not None and session.policy.modules.missing == []
    assert session.lines("smtpInit") == ["hello from ä file", "first,second", "dnsbl in ./rules/dnsbl.js", "true"]


def test_a_module_required_in_a_handler_runs_once_and_may_wait(session):
    session.asked.clear()
    assert session.lines("smtpHelo", "x") == ["reply 1, reply 3", "1"]
    assert [request[1] for request in session.asked if request[0] == "client.connect"] == ["at first", "x"]
    session.asked.clear()
    assert session.lines("smtpHelo", "y") == ["reply 1, reply 1", "2"]


def test_each_session_has_modules_of_its_own(session):
    other = AtHand(POLICIES / "modules/policy.js")
    assert other.lines("smtpHelo", "x")[1] == "1"
    other.close()


def test_a_computed_name_in_a_handler(session):
    assert session.lines("smtpEhlo", "first") == ["first"]
    with pytest.raises(PolicyError, match="'./rules/third' was not loaded with the policy") as caught:
        session.run("smtpEhlo", "third")
    assert caught.value.line == 14


def test_an_error_in_a_module_names_its_file_and_line(session):
    with pytest.raises(PolicyError, match="Error: in a module") as caught:
        session.run("smtpMail", PATH)
    assert caught.value.file == str(POLICIES / "modules/rules/dnsbl.js")
    assert (caught.value.line, caught.value.column) == (4, 5) and "throw new Error" in caught.value.source_line


def test_cycles_are_as_in_node(session):
    assert session.lines("smtpRcpt", PATH) == ["a knows early a undefined, b knows function"]


# Names.

@pytest.mark.parametrize("request_, file", [
    ("./a", "a.js"), ("./a.js", "a.js"), ("./a", "a.json"), ("./a", "a.ts"), ("./a", "a/index.js"), ("./a/", "a/index.js"),
    ("./x/../a", "a.js"), ("./b/c/a", "b/c/a.js"), (".//a", "a.js")])
def test_what_a_name_may_look_like(write, request_, file):
    write(file, '{"name": 7}' if file.endswith(".json") else "exports.name = 7;")
    assert greeting(write("policy.js", says(f"require('{request_}').name"))) == ["7"]


def test_js_comes_before_json_and_ts(write):
    for ending in ("ts", "json", "js"):
        write(f"a.{ending}", '{"n": "json"}' if ending == "json" else f"exports.n = '{ending}';")
    assert greeting(write("policy.js", says("require('./a').n + require('./a.json').n + require('./a.ts').n"))) == ["jsjsonts"]


def test_names_are_relative_to_the_requiring_file(write):
    write("rules/a.js", "exports.n = require('./b').n + require('../b').n;")
    write("rules/b.js", "exports.n = 'rules ';")
    write("b.js", "exports.n = 'top';")
    assert greeting(write("policy.js", says("require('./rules/a').n"))) == ["rules top"]


def test_what_a_module_knows_of_itself(write, tmp_path):
    write("rules/a.js", "var early = module.loaded; module.exports = [module.id, module.loaded, early, __filename, __dirname, "
                        "this === exports, typeof require, module.filename === __filename].join(' ');")
    folder = tmp_path / "policy"
    assert greeting(write("policy.js", says("require('./rules/a')"))) == [
        f"./rules/a.js false false {folder}/rules/a.js {folder}/rules true function true"]


def test_a_policy_is_a_program_and_a_module_a_function(write):
    write("a.js", "var mine = 1; function f() { } return;")
    path = write("policy.js", """\
        require('./a');
        var own = 1, self = this;
        function g() { }
        SmtpServer.prototype.smtpInit = function () {
            return new SmtpResponse(220, [typeof mine, typeof f, self.own, typeof self.g, typeof module, typeof exports].join());
        };
    """)
    assert greeting(path) == ["undefined,undefined,1,function,undefined,undefined"]


def test_the_library_as_a_module(write):
    assert greeting(write("policy.js", says(
        "require('mailfilter').SmtpResponse === SmtpResponse && !('host' in require('mailfilter'))"))) == ["true"]


def test_a_policy_that_comes_with_mailfilter_as_a_module(write):
    path = write("policy.js", """\
        require('mailfilter/policies/mx');
        var before = SmtpServer.prototype.smtpRcpt;
        SmtpServer.prototype.smtpRcpt = function (path) {
            return path.mailbox.local === 'nobody' ? new SmtpResponse(550, 'nobody') : before.call(this, path);
        };
    """)
    session = AtHand(path, settings={"domains": "b.example", "maildir": "/tmp/x"})
    assert session.policy.handlers["smtpData"] is True
    assert session.run("smtpRcpt", ["nobody", "b.example", [], []])[2] == "nobody"
    session.close()


# import and export.

def test_modules_of_the_standard(write):
    write("a.js", "import {b, early} from './b';\nexport const a = 'a';\nexport function known() { return a + b + early; }")
    write("b.js", "import * as a from './a';\nexport const b = 'b', early = typeof a.a;")
    write("live.js", "export let n = 1;\nexport function more() { n++; }")
    write("kind.js", "export default class Kind { name() { return 'kind'; } }\nexport {Kind as Other};")
    write("old.js", "module.exports = function () { return 'old'; };")
    write("data.json", '{"k": 7}')
    assert greeting(write("policy.js", """
        import {known} from './a';
        import {n, more} from './live';
        import Kind, {Other} from './kind';
        import old from './old';
        import data, {k} from './data';
        import {SmtpResponse as Answer} from 'mailfilter';
        import './old';
        more();
    """ + says("[known(), n, new Kind().name(), Kind === Other, old(), data.k + k, Answer === SmtpResponse]"))) == [
        "abundefined,2,kind,true,old,14,true"]


@pytest.mark.parametrize("statement", ["import x from './none';", "import './none';", "export {x} from './none';"])
def test_the_place_of_an_import_that_leads_nowhere(write, statement):
    write("module.js", f"var a;\n\n{statement}\n")
    with pytest.raises(PolicyError, match="cannot find the module './none'") as caught:
        load(write("policy.js", "require('./module');"))
    assert (caught.value.line, caught.value.column) == (3, statement.index("./none") + 1)
    assert caught.value.file.endswith("module.js")


# Refusals.

@pytest.mark.parametrize("request_, words", [
    ("./none", "cannot find the module './none'"), ("lodash", "a module is a file of the policy's folder, './lodash'"),
    ("/etc/passwd", "a module is a file of the policy's folder"), ("../outside", "reaches outside the policy's folder"),
    ("./a/../../outside", "reaches outside the policy's folder"), ("./link", "reaches outside the policy's folder"),
    ("./linked/outside", "reaches outside the policy's folder"), ("./policy", "is the policy itself"),
    ("mailfilter/client", "the library's own names are global"), ("mailfilter/../../x", "the library's own names are global"),
    ("mailfilter/policies/none", "cannot find the module"), ("mailfilter/policies/../../mailfilter/config.py", "cannot find"),
    ("./types.d.ts", "declarations are no module"), ("./folder", "the folder folder has no index.js"),
    ("../policy-other/secret", "reaches outside the policy's folder")])
def test_what_cannot_be_required(write, tmp_path, request_, words):
    (tmp_path / "outside.js").write_text("exports.secret = 1;")
    (tmp_path / "policy-other").mkdir()
    (tmp_path / "policy-other/secret.js").write_text("exports.secret = 1;")
    write("types.d.ts", "declare var x;")
    (tmp_path / "policy/folder").mkdir()
    (tmp_path / "policy/link.js").symlink_to(tmp_path / "outside.js")
    (tmp_path / "policy/linked").symlink_to(tmp_path)
    for name in (f"require('{request_}')", f"require('' + '{request_}')"):
        with pytest.raises(PolicyError) as caught:
            load(write("policy.js", f"var a;\n  {name};\n"))
        assert words in caught.value.message and caught.value.line == 2
        assert caught.value.column == caught.value.source_line.index(request_) + 1


@pytest.mark.parametrize("argument", ["", "''", "5", "null", "{}"])
def test_require_takes_a_name(write, argument):
    with pytest.raises(PolicyError, match="require takes the name of a module"):
        load(write("policy.js", f"require({argument});"))


def test_a_link_inside_the_folder_is_the_same_module(write, tmp_path):
    write("real/a.js", "exports.count = (exports.count || 0) + 1; exports.id = module.id;")
    (tmp_path / "policy/alias.js").symlink_to("real/a.js")
    assert greeting(write("policy.js", says(
        "require('./alias') === require('./real/a') && require('./alias').id"))) == ["./real/a.js"]


def test_a_policy_behind_a_link_has_the_folder_of_its_file(write, tmp_path):
    write("a.js", "exports.n = 'found';")
    write("policy.js", says("require('./a').n"))
    (tmp_path / "current.js").symlink_to(tmp_path / "policy/policy.js")
    assert greeting(tmp_path / "current.js") == ["found"]


def test_a_missing_module_can_be_caught_and_is_warned_of(write):
    path = write("policy.js", "var local;\ntry {\n    local = require('./local.json');\n} catch (error) {\n"
                              "    local = error.code;\n}\n" + says("local"))
    assert greeting(path) == ["MODULE_NOT_FOUND"]
    (problem,) = load(path).modules.missing
    assert (problem.line, problem.column) == (3, 13) and "./local.json" in problem.message


def test_a_missing_module_of_a_handler_throws_there(write):
    session = AtHand(write("policy.js", "// x\n" + says("require('./later').n")))
    assert [problem.line for problem in session.policy.modules.missing] == [3]
    with pytest.raises(PolicyError, match="'./later' was not loaded with the policy"):
        session.run("smtpInit")
    session.close()


def test_a_module_that_failed_can_be_tried_again(write):
    write("a.js", "exports.half = 1; if (!require('mailfilter').ready) { throw new Error('not yet'); } exports.n = 'ready';")
    path = write("policy.js", """\
        try { require('./a'); } catch (error) { require('mailfilter').ready = true; }
    """ + says("require('./a').n"))
    assert greeting(path) == ["ready"]


@pytest.mark.parametrize("name, text, line, words", [
    ("a.js", "var a = 1;\nvar b = ;\n", 2, "SyntaxError: Unexpected token"),
    ("a.js", "let a;\nasync function f() { }\n", 2, "calls wait by themselves"),
    ("a.js", "var a = 1;\nnoSuchThing();\n", 2, "identifier 'noSuchThing' undefined"),
    ("a.js", "let a = 1;\n\nthrow `text`;\n", 3, "thrown: text"),
    ("a.ts", "let a: number;\nlet b: = 1;\n", 2, "Type expected"),
    ("a.json", '{"a": 1,\n "b": }', 2, "Expecting value"),
    ("a.json", '{"a": NaN}', None, "NaN is not JSON"),
])
def test_mistakes_in_a_module(write, name, text, line, words):
    path = write(name, text)
    with pytest.raises(PolicyError) as caught:
        load(write("policy.js", "var first = 1;\n\n\nrequire('./a');\n"))
    assert words in caught.value.message and caught.value.line == line
    assert caught.value.file == str(path)


def test_waiting_is_not_possible_while_a_module_is_loaded(write):
    write("a.js", "\nnew SmtpClient('x', 25).connect();")
    with pytest.raises(PolicyError, match="cannot be used while the policy is being loaded") as caught:
        load(write("policy.js", "require('./a');"))
    assert caught.value.line == 2 and caught.value.file.endswith("a.js")


# Loading.

def test_what_is_said_while_loading_is_said_once(write, capfd):
    for number in range(3):
        write(f"rules/{number}.js", f"Sys.println('rule {number}');")
    load(write("policy.js", "Sys.println('begins'); for (var i = 0; i < 3; i++) { require('./rules/' + i); }"))
    assert capfd.readouterr().out == "begins\nrule 0\nrule 1\nrule 2\n"


def test_what_was_said_before_an_error_is_said(write, capfd):
    with pytest.raises(PolicyError):
        load(write("policy.js", "Sys.println('before');\nthrow new Error('x');"))
    assert capfd.readouterr().out == "before\n"


def test_a_wait_for_the_clock_in_a_module_is_named(write):
    write("a.js", "// Date\nexports.now = 1;\nexports.then = Date.now();")
    policy = load(write("policy.js", "require('./a');"))
    assert policy.image is None and policy.no_image.endswith("a.js:3: it uses Date while it is loaded")


def test_the_version_is_of_all_that_is_loaded(write, tmp_path):
    def version():
        return load(path).version

    write("a.js", "exports.n = 1;")
    path = write("policy.js", "function later() { require('./a'); }")
    seen = [version(), version()]
    write("unused.js", "exports.n = 1;")
    seen.append(version())
    (tmp_path / "moved").symlink_to(tmp_path / "policy")
    seen.append(load(tmp_path / "moved/policy.js").version)
    assert len(set(seen)) == 1
    write("a.js", "exports.n = 2;")
    seen.append(version())
    write("policy.js", "function later() { return require('./a'); }")
    seen.append(version())
    assert len(set(seen)) == 3


def test_the_number_of_modules_is_limited(write, monkeypatch):
    monkeypatch.setattr(module_rules, "MODULES_LIMIT", 3)
    for number in range(4):
        write(f"{number}.js", f"require('./{number + 1}');" if number < 3 else "")
    path = write("policy.js", "require('./1');")
    load(path)
    write("policy.js", "require('./0');")
    with pytest.raises(PolicyError, match="more than 3 modules"):
        load(path)


def test_the_size_of_modules_is_limited(write, monkeypatch):
    monkeypatch.setattr(module_rules, "BYTES_LIMIT", 1000)
    write("a.js", "//" + "x" * 990)
    with pytest.raises(PolicyError, match="more than 1000 bytes"):
        load(write("policy.js", "require('./a');"))


def test_json_is_data(write):
    write("a.json", '{"__proto__": {"x": 1}, "constructor": 2, "t": "\\u2028\\u00e4\\ud83d\\ude00", "n": [1.5, -0, null, true]}')
    assert greeting(write("policy.js", says("JSON.stringify([require('./a'), ({}).x])"))) == [
        '[{"__proto__":{"x":1},"constructor":2,"t":"\\u2028ä😀","n":[1.5,0,null,true]},null]']


# The lexer.

@pytest.mark.parametrize("source, names", [
    ("require('a')", ["a"]), ('require ( "a" )', ["a"]), ("require('a', )", ["a"]), ("a/require('b')/c", ["b"]),
    ("// require('a')\nrequire('b')", ["b"]), ("/* require('a') */", []), ("'require(\"a\")'", []), ("`require('a')`", []),
    ("x.require('a')", []), ("require(a)", []), ("require('a' + b)", []), ("$require('a')", []), ("require('a\\n')", []),
    ("/require('a')/.test(b)", []), ("x = /['\"]/; require('a')", ["a"]),
    ("return /[/'\"]/, require('a')", ["a"]), ("a = b / c; require('a'); d = e / f", ["a"]), ("'it\\'s'; require('a')", ["a"]),
    ("i++ / 2; require('a') / 2", ["a"]), ("require('a'), require('b')", ["a", "b"]), ("require(/* the rule */ 'a')", ["a"]),
    ("'unterminated\nrequire('a')", ["a"]), ("require('')", []), ("", []),
])
def test_what_is_required(source, names):
    assert [name for name, _ in required(source)] == names
    for name, offset in required(source):
        assert source[offset:].startswith("require") and name in source[offset:]


def test_code_only_keeps_places():
    source = "a = 'x'; // y\nb = `z\n` + /q'/g;"
    assert code_only(source).split() == ["a", "=", ";", "b", "=", "+", ";"]
    assert len(code_only(source)) == len(source) and code_only(source).count("\n") == source.count("\n")


def test_words():
    assert words("a.b('c', `d ${e.f} g`) // h") == {"a", "b", "e", "f"}


def test_the_log_warns_of_missing_modules(write):
    sink = Lines()
    load(write("policy.js", "function later() { require('./none'); }"), log=Log(sink))
    assert any("cannot find the module './none'" in line and "policy.js:1:20" in line for line in sink.lines)
