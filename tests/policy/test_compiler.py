"""Newer JavaScript and TypeScript: what comes out of the compilers, where errors are said to be, what is kept on disk."""
import json
import os
import stat
import textwrap
from functools import lru_cache
from pathlib import Path

import pytest
from at_hand import AtHand

from mailfilter.config import Settings
from mailfilter.errors import PolicyError
from mailfilter.policy import compiler, library, load
from mailfilter.policy.compiler import Compiler
from mailfilter.policy.dialect import NO_ASYNC
from mailfilter.policy.program_cache import FILES_LIMIT, ProgramCache, default_directory
from mailfilter.policy.sourcemap import LineMap, MapError

TEST_SECONDS = 120
POLICIES = Path(__file__).resolve().parents[1] / "policies"


@lru_cache(maxsize=1)
def shared():
    """One compiler for the module: loading Babel takes most of the time."""
    return Compiler()


def compiled(source, name="policy.js", kind="policy"):
    return shared().compile(name, textwrap.dedent(source).encode(), kind)


def refusal(source, name="policy.js", kind="policy"):
    with pytest.raises(PolicyError) as caught:
        compiled(source, name, kind)
    return caught.value


# What is compiled and what is not.

@pytest.mark.parametrize("source", [
    b"var a = 1;\r\nfunction f() { return this; }\n", b"const a = {b: function () {}};", b"// only a comment",
    b"'use strict';\nvar a = '\xc3\xa4';", "var a = '😀';".encode()])
def test_what_the_engine_understands_goes_through_byte_for_byte(source):
    for kind in ("policy", "module"):
        program = Compiler().compile("policy.js", source, kind)
        assert program.code == source and program.map is None and program.compilers == ()


@pytest.mark.parametrize("name", library.shipped_policies())
def test_the_shipped_policies_are_not_compiled(name):
    source = library.shipped_policy(name).read_bytes()
    assert Compiler().compile(name + ".js", source).code == source


def test_trying_a_policy_does_not_run_it():
    program = Compiler().compile("policy.js", b"function f() { f(); }\nf();\nwhile (true) { }")
    assert program.map is None


@pytest.mark.parametrize("source", [
    "let a = 1;", "var f = x => x;", "class A { }", "var t = `x`;", "var {a} = b;", "function f(a = 1) { }", "f(...a);",
    "for (const x of y) { }", "function* g() { yield 1; }", "var a = {...b};\nlet c;", "class A { x = 1; static y = 2; }",
    "import x from './x';", "f(\n  a,\n);", "let s = '😀', ä = `😀`;", "let r = /a/u;", "try { } catch { }",
    "let a = 1_000, b = 0xff_ff, c = '1_0';", "for (const c of 'a😀b') f();", "let r = /[(?<a>]/, s = a / b / y;"])
def test_newer_javascript_is_compiled(source):
    program = compiled(source)
    assert program.compilers == ("Babel",) and program.map is not None
    assert Compiler().compile("again.js", program.code).code == program.code


def test_a_policy_stays_a_sloppy_program():
    assert b"use strict" not in compiled("let a = 1; function f() { return this; }").code


def test_typescript_alone_where_that_is_enough():
    program = compiled("var a: number = 1;\n", "policy.ts")
    assert program.compilers == ("TypeScript",) and program.code == b"var a = 1;\n"
    assert compiled("let a: number = 1;", "policy.ts").compilers == ("TypeScript", "Babel")


# Refusals.

@pytest.mark.parametrize("source, line, column, words", [
    ("var a;\nlet x = ;\n", 2, 9, "Unexpected token"),
    ("let a = 1;\nlet a = 2;\n", 2, 5, 'Duplicate declaration "a"'),
    ("let b;\nconst a = 1;\na = 2;\n", 3, 1, '"a" is read-only'),
    ("let f;\nreturn 1;\n", 2, 1, "'return' outside of function"),
    ("let a = b?.c;", 1, 11, "optional chaining"),
    ("let a = b ?? c;", 1, 12, "the operator ??"),
    ("class A { #x = 1; }", 1, 11, "private members"),
    ("let a = 10n;", 1, 11, "big integers"),
    ("let a = import('./x');", 1, 9, 'write require("./module")'),
    ("let a = 1;\nlet r = /(?<n>b)/;\n", 2, 10, "named groups"),
    ("var a = 1;\nvar r = /(?<n>b)/;\n", 2, 10, "named groups"),
    ("var r = 'x'.match(/a(?<!b)/);", 1, 21, "look-behind"),
    ("var r = /a.b/s;", 1, 14, "write [\\s\\S] for the dot"),
    ("let r = /[/]\\/a/gy;", 1, 18, "the flag y"),
    ("let r = /^\\p{L}+$/u;", 1, 11, "\\p{…} is newer"),
    ("let a = 1;\nlet r = /(a/;\n", 2, 9, "unexpected end of pattern"),
    ("class A { static { f(); } }", 1, 18, "static blocks"),
    ("export default 1;", 1, 1, "a policy exports nothing"),
    ("let a;\nasync function f() { await a(); }\n", 2, 1, NO_ASYNC),
    ("var f = async x => x;", 1, 9, NO_ASYNC),
    ("let o = {\n  async m() { }\n};", 2, 3, NO_ASYNC),
    ("let a = 1;\nawait f();\n", 2, 7, NO_ASYNC),
    ("for await (const x of y) { }", 1, 5, NO_ASYNC),
])
def test_errors_are_in_the_author_s_lines(source, line, column, words):
    error = refusal(source)
    assert words in error.message and error.message.startswith("SyntaxError: ")
    assert error.file == "policy.js" and error.line == line and column in (None, error.column)
    assert error.source_line == source.split("\n")[line - 1]


@pytest.mark.parametrize("source, line, column, words", [
    ("let a: number = 1;\nlet b: = 2;\n", 2, 8, "Type expected"),
    ("interface A { x: string }\n\nasync function f(a: A) { }", 3, 1, NO_ASYNC),
    ("let a: any;\nlet b = a satisfies any;", 2, 11, "TypeScript 1.8"),
    ("class A { }\nlet f = async () => 1;", 2, 9, NO_ASYNC),
    ("interface A {\n  x: string;\n}\nlet a: A;\nlet a: A;\n", 5, 5, 'Duplicate declaration "a"'),
    ("type T = string;\nexport const a: T = '';", 2, 1, "a policy exports nothing"),
])
def test_errors_of_typescript_too(source, line, column, words):
    error = refusal(source, "policy.ts")
    assert words in error.message and (error.line, error.column) == (line, column)
    assert error.source_line == source.split("\n")[line - 1]


LATER_TYPES = """\
interface Rule { readonly domain: string | null; code?: undefined | number }
import type {Other} from './other';
class Rules {
    readonly all!: readonly string[];
    constructor(readonly name: string, private readonly rules: Rule[] = []) { }
    first(this: Rules): Rule | undefined { return this.rules[0]!; }
}
namespace Inner { export const x = 1; }
const o = {readonly: true, keyof: 1 || null, as: 'const'}, r = new Rules('n', [{domain: null}] as const);
type Key = keyof typeof o;
try { f(r.first()!.domain!, 1_000); } catch { f(o.readonly !== !r, Inner.x); }
function f(this: void, a: null | string | boolean, b: number | undefined = undefined): asserted { return a || null; }
"""


def test_later_types_are_dropped_like_all_types():
    code = compiled(LATER_TYPES.replace("asserted", "any"), "policy.ts").code.decode()
    for words in ("this.name = name", "this.rules = rules", "{ readonly: true, keyof: 1 || null, as: 'const' }",
                  "new Rules('n', [{ domain: null }])", "f(r.first().domain, 1000)", "catch (_)",
                  "f(o.readonly !== !r, Inner.x)", "return a || null"):
        assert words in code, code
    assert "readonly all" not in code and "require" not in code
    # Places stay: the error is where the author wrote it.
    error = refusal(LATER_TYPES.replace(": asserted", " ->"), "policy.ts")
    assert error.source_line == LATER_TYPES.replace(": asserted", " ->").split("\n")[-2] and error.line == 12


def test_what_is_not_utf_8_cannot_be_compiled():
    with pytest.raises(PolicyError, match="not UTF-8") as caught:
        shared().compile("policy.js", b"let a;\nlet b = '\xff';")
    assert caught.value.line == 2


def test_an_old_mistake_in_an_old_policy():
    error = refusal("var a = 1;\nvar b = a +;\n")
    assert (error.line, error.column, error.source_line) == (2, 12, "var b = a +;")


# Running.

@pytest.fixture(scope="module")
def modern():
    session = AtHand(POLICIES / "modern/policy.js")
    yield session
    session.close()


PATH = ["a", "b.example", [], []]


def test_newer_javascript_runs_and_has_an_image(modern):
    assert modern.policy.image is not None
    assert modern.lines("smtpInit") == ["hello from --a", "one", "two", "three,four", "x", "<x>", "1 b"]


def test_it_may_wait_everywhere(modern):
    modern.asked.clear()
    assert modern.lines("smtpHelo", "x") == ["reply 1", "reply 3", "kreply 5", "x", "y", "mreply 7", "strict reply 9", "1,2", "5"]
    hosts = [request[1] for request in modern.asked if request[0] == "client.connect"]
    assert hosts == ["a", "b", "entries", "map", "s"]


def test_generators_may_wait_and_be_ended_early(modern):
    modern.asked.clear()
    assert modern.lines("smtpEhlo", "x") == ["reply 1", "given value", "reply 3", "early true", '{"done":true}', "reply 7"]
    hosts = [request[1] for request in modern.asked if request[0] == "client.connect"]
    assert hosts == ["g1", "g2", "finally", "g3", "finally"]


def test_subclasses_of_errors(modern):
    assert modern.run("smtpMail", PATH)[0] == 553
    assert modern.lines("smtpMail", PATH) == ["Refused no such"]


def test_errors_at_run_time_are_in_the_author_s_lines(modern):
    lines = (POLICIES / "modern/policy.js").read_text().split("\n")
    with pytest.raises(PolicyError, match="identifier 'undefinedName' undefined") as caught:
        modern.run("smtpRcpt", PATH)
    number = lines.index("        undefinedName") + 1
    assert (caught.value.line, caught.value.column, caught.value.source_line) == (number, 9, "        undefinedName")
    with pytest.raises(PolicyError, match="thrown: a text") as caught:
        modern.run("smtpRset")
    assert (caught.value.line, caught.value.column) == (lines.index("    throw 'a text';") + 1, 5)


def session_of(tmp_path, source, name="policy.js", **options):
    path = tmp_path / name
    path.write_text(textwrap.dedent(source))
    return AtHand(path, **options)


def test_a_typescript_policy_runs_with_errors_in_its_own_lines(tmp_path):
    session = session_of(tmp_path, """\
        interface Rule { code: number; }
        class Rules<T extends Rule> {
            constructor(private list: T[]) { }
            *each() { for (const rule of this.list) { yield rule.code; } }
        }
        enum Answer { No = 550 }
        SmtpServer.prototype.smtpRcpt = function (path) {
            const codes: number[] = [...new Rules([{code: Answer.No}]).each()];
            return new SmtpResponse(codes[0], `no ${path}` as string);
        };
        SmtpServer.prototype.smtpMail = function (path: SmtpPath) {
            const nothing: Rule = null;
            return new SmtpResponse(nothing.code, 'x');
        };
    """, "policy.ts")
    assert session.run("smtpRcpt", PATH) == [550, False, "no <a@b.example>"]
    with pytest.raises(PolicyError, match="of null") as caught:
        session.run("smtpMail", PATH)
    assert caught.value.line == 13 and "nothing.code" in caught.value.source_line


def test_an_error_in_a_generated_part_shows_the_call(tmp_path):
    session = session_of(tmp_path, """\
        class A { }
        SmtpServer.prototype.smtpInit = function () {
            return A();
        };
    """)
    with pytest.raises(PolicyError, match="Cannot call a class as a function") as caught:
        session.run("smtpInit")
    assert caught.value.line == 1 and caught.value.source_line == "class A { }"


def test_a_failed_operation_reaches_a_generator(tmp_path):
    def answer(name, *arguments):
        raise ConnectionError("gone")

    session = session_of(tmp_path, """\
        function* tries() {
            for (let i = 0; i < 2; i++) {
                try {
                    new SmtpClient('x', 25).connect();
                } catch (error) {
                    yield error.message + i;
                }
            }
        }
        SmtpServer.prototype.smtpInit = () => new SmtpResponse(220, [...tries()]);
    """, answer=answer)
    assert session.lines("smtpInit") == ["gone0", "gone1"]


def test_a_class_can_be_the_server(tmp_path):
    session = session_of(tmp_path, """\
        class Mine extends SmtpServer {
            smtpRcpt(path) { return new SmtpResponse(550, `no ${path}`); }
            smtpQuit() { return super.smtpRset(); }
        }
        SmtpServer = Mine;
        SmtpServer.debugProtocol = true;
    """)
    assert session.policy.handlers["smtpRcpt"] and session.policy.handlers["smtpQuit"] and session.policy.debug_protocol
    assert session.policy.handlers["smtpInit"] is False
    assert session.run("smtpRcpt", PATH) == [550, False, "no <a@b.example>"]


@pytest.mark.parametrize("name, words", [
    ("Promise.resolve()", "calls wait by themselves"), ("console.log(1)", "Sys.log"),
    ("setTimeout(f, 1)", "when the client has said"),
    ("module.exports = 1", "is no module")])
def test_names_known_elsewhere_are_explained(tmp_path, name, words):
    with pytest.raises(PolicyError, match=words) as caught:
        session_of(tmp_path, f"var f;\n{name};\n")
    assert caught.value.line == 2 and caught.value.message.startswith("ReferenceError: identifier")


# Standard methods.

@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    """`evaluate(expression)` gives the JSON of a JavaScript expression in an ES5 policy with all of the library."""
    path = tmp_path_factory.mktemp("standard") / "policy.js"
    path.write_text("// Map includes\nSmtpServer.prototype.smtpHelo = function (code) {\n"
                    "    return new SmtpResponse(250, JSON.stringify([(0, eval)('(' + code + ')')]));\n};\n"
                    "var all = [Map, [].includes];\n")
    session = AtHand(path)
    yield lambda code: json.loads(session.lines("smtpHelo", code)[0])[0]
    session.close()


@pytest.mark.parametrize("code, value", [
    ("Object.entries({a: 1, b: 2})", [["a", 1], ["b", 2]]),
    ("Object.values({a: 1})", [1]),
    ("Object.fromEntries([['a', 1]])", {"a": 1}),
    ("Object.assign({a: 1}, {b: 2})", {"a": 1, "b": 2}),
    ("Array.from('a😀b')", ["a", "😀", "b"]),
    ("Array.from({length: 2}, function (_, i) { return i; })", [0, 1]),
    ("Array.from(new Set([1, 1, 2]))", [1, 2]),
    ("Array.from(new Uint8Array([1, 2]))", [1, 2]),
    ("Array.of(7)", [7]),
    ("[1, 2, 3].find(function (x) { return x > 1; })", 2),
    ("[1].findIndex(function (x) { return x > 1; })", -1),
    ("[NaN].includes(NaN) && ![1].includes(1, 1) && [1, 2].includes(2, -1)", True),
    ("new Array(3).fill(0)", [0, 0, 0]),
    ("[1, 2, 3, 4].fill(0, 1, -1)", [1, 0, 0, 4]),
    ("[1, [2, [3]]].flat()", [1, 2, [3]]),
    ("[1, [2, [3]]].flat(Infinity)", [1, 2, 3]),
    ("[1, 2].flatMap(function (x) { return [x, x]; })", [1, 1, 2, 2]),
    ("Array.from([5, 6].entries())", [[0, 5], [1, 6]]),
    ("Array.from([5, 6].keys())", [0, 1]),
    ("'abc'.includes('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc')", True),
    ("'1'.padStart(3, '0') + '1'.padEnd(3) + '|' + 'abc'.padStart(2)", "0011  |abc"),
    ("'x'.repeat(3)", "xxx"),
    ("'|' + '\\t a '.trimStart() + '|' + ' a '.trimEnd() + '|'", "|a | a|"),
    ("'a.b.c'.replaceAll('.', '-')", "a-b-c"),
    ("'aXbX'.replaceAll(/x/gi, function (x) { return x + 1; })", "aX1bX1"),
    ("Number.isInteger(1) && !Number.isInteger('1') && Number.isNaN(NaN) && Number.isFinite(1)", True),
    ("[Number.parseInt('7x'), Number.parseFloat('1.5'), Math.trunc(-1.5), Math.sign(-3)]", [7, 1.5, -1, -1]),
    ("new Map([['a', 1], ['b', 2]]).size", 2),
    ("Array.from(new Map([[1, 'a'], ['1', 'b'], [NaN, 'c']]).entries())", [[1, "a"], ["1", "b"], [None, "c"]]),
    ("new Map([[NaN, 1]]).get(NaN) + new Map([[0, 1]]).get(-0)", 2),
    ("(function () { var m = new Map(), o = {}, f = Object.freeze({}); m.set(o, 1).set(f, 2); "
     "return [m.get(o), m.get(f), m.get({}), m.has(f), m.delete(f), m.delete(f), m.size, Object.keys(o)]; }())",
     [1, 2, None, True, True, False, 1, []]),
    ("(function () { var s = new Set([1, 2, 3]), seen = []; s.forEach(function (x) { seen.push(x); s.delete(x); "
     "if (x === 1) { s.delete(2); s.add(4); } }); return [seen, s.size]; }())", [[1, 3, 4], 0]),
    ("(function () { var s = new Set([1, 2]), i = s.values(), first = i.next(); s.clear(); s.add(9); "
     "return [first.value, i.next().value]; }())", [1, 9]),
    ("(function () { var w = new WeakMap(), o = {}; w.set(o, 1); return [w.get(o), w.has({}), w.delete(o), w.has(o)]; }())",
     [1, False, True, False]),
    ("(function () { var o = {}, w = new WeakSet([o]); return w.has(o); }())", True),
    ("(function () { try { Map(); } catch (error) { return error.message; } }())", "Constructor Map requires 'new'"),
    ("(function () { var found = []; for (var key in [1]) { found.push(key); } return found; }())", ["0"]),
    ("(function () { var found = []; for (var key in '') { found.push(key); } return found; }())", []),
    ("Object.prototype.toString.call(new Map())", "[object Map]"),
])
def test_standard_methods(evaluate, code, value):
    assert evaluate(code) == value


@pytest.mark.parametrize("name", ["polyfill.js", "collections.js", "generators.js", "modules.js"])
def test_what_a_policy_does_not_name_is_not_in_its_heap(tmp_path, name):
    loaded = [file for file, _ in library.sources()]
    assert library.PREFIX + name not in loaded
    base = library.ON_DEMAND.get(library.ADDS_TO.get(name), frozenset())
    assert library.PREFIX + name in [file for file, _ in library.sources(library.ON_DEMAND[name] | base)]


@pytest.mark.parametrize("names", [("mail", "rcpt", "open"), ("ehlo", "auth"), ("SmtpRoutes",), ("SmtpClient",), ("Maildir",),
                                   ("SmtpClient", "mail", "auth")], ids=" ".join)
def test_whatever_a_policy_names_its_library_can_be_loaded(tmp_path, names):
    path = tmp_path / "policy.js"
    path.write_text(f"var names = {list(names)}, there = {{{names[0]}: typeof {names[0]}}};\n")
    policy = load(path, Settings({"cacheDirectory": ""}, {}), hostname="x")
    assert policy.image is not None
    heap = policy.new_heap(lambda *_: None)
    heap.load("look", b"if (/^[A-Z]/.test(names[0]) && there[names[0]] !== 'function') throw new Error(names[0]);")
    heap.close()


def test_the_names_on_demand_are_those_in_the_file():
    text = (library.directory() / "polyfill.js").read_text()
    for name in library.ON_DEMAND["polyfill.js"]:
        assert name in text or name in library.ON_DEMAND["collections.js"] | library.ON_DEMAND["generators.js"]


# Generators in depth: each gives what the standard says.

@pytest.mark.parametrize("body, values", [
    ("yield 1; return 2;", [1]),
    ("var got = yield 1; yield got;", [1, None]),
    ("try { yield 1; throw new Error('x'); } catch (e) { yield e.message; } finally { yield 'f'; }", [1, "x", "f"]),
    ("try { try { throw 1; } finally { yield 'a'; } } catch (e) { yield e; }", ["a", 1]),
    ("for (var i = 0; i < 3; i++) { if (i === 1) { continue; } yield i; }", [0, 2]),
    ("outer: for (;;) { try { for (;;) { yield 1; break outer; } } finally { yield 2; } } yield 3;", [1, 2, 3]),
    ("for (var k in {a: 1, b: 2}) { yield k; }", ["a", "b"]),
    ("yield* [1, 2]; yield* 'ab';", [1, 2, "a", "b"]),
    ("var r = yield* (function* () { yield 1; return 'r'; }()); yield r;", [1, "r"]),
    ("try { yield* (function* () { yield 1; throw 2; }()); } catch (e) { yield e; }", [1, 2]),
    ("function* inner() { try { return 'inner'; } finally { yield 'late'; } } yield yield* inner();", ["late", "inner"]),
    ("switch (yield 1) { default: yield 2; case 5: yield 3; }", [1, 2, 3]),
    ("yield this.x; yield arguments.length;", [7, 1]),
])
def test_generators(tmp_path, body, values):
    session = session_of(tmp_path, f"""\
        function* run(argument) {{ {body} }}
        SmtpServer.prototype.smtpInit = () => new SmtpResponse(220, JSON.stringify([...run.call({{x: 7}}, 0)]));
    """)
    assert json.loads(session.lines("smtpInit")[0]) == values


# Source maps.

def test_a_map_is_decoded():
    lines = LineMap.decode("AAAA,IAAMA,CAAC;;AACF;EADE,C,AAEA")
    assert lines.lines == [[(0, 0, 0), (4, 0, 6), (5, 0, 7)], [], [(0, 1, 5)], [(2, 0, 7), (3, 2, 7)]]
    assert lines.places(1) == [(1, 1)] and lines.places(2) == [] and lines.places(99) == [] and lines.places(0) == []
    assert lines.places(4) == [(1, 8), (3, 8)]


def test_two_maps_make_one():
    first = LineMap([[(0, 4, 0), (10, 5, 2)]])
    second = LineMap([[], [(0, 0, 12), (3, 0, 1), (4, 7, 0)]])
    assert second.after(first).lines == [[], [(0, 5, 2), (3, 4, 0)]]


@pytest.mark.parametrize("text", ["!", "A", "AA", "g", "AAAAAAAA", "DDDD", "ggggggggggggA"])
def test_what_is_no_map(text):
    if text == "A":
        assert LineMap.decode(text).lines == [[]]
        return
    with pytest.raises(MapError):
        LineMap.decode(text)


# The store.

SOURCE = b"let a = 1;\n"


def entry_in(folder):
    (path,) = folder.iterdir()
    return path


def counting(monkeypatch):
    runs = []
    original = compiler.Compiler._compile

    def count(self, *arguments):
        runs.append(arguments[0])
        return original(self, *arguments)

    monkeypatch.setattr(compiler.Compiler, "_compile", count)
    return runs


def test_it_is_compiled_once(tmp_path, monkeypatch):
    runs = counting(monkeypatch)
    first = Compiler(tmp_path / "deep/cache").compile("policy.js", SOURCE)
    second = Compiler(tmp_path / "deep/cache").compile("other.js", SOURCE)
    assert runs == ["policy.js"] and first.code == second.code and first.map.lines == second.map.lines
    assert second.name == "other.js" and second.compilers == ("Babel",)
    assert stat.S_IMODE((tmp_path / "deep/cache").stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_in(tmp_path / "deep/cache").stat().st_mode) == 0o600


def test_another_source_kind_or_language_is_another_entry(tmp_path, monkeypatch):
    runs = counting(monkeypatch)
    one = Compiler(tmp_path)
    for name, source, kind in (("a.js", SOURCE, "policy"), ("a.js", SOURCE, "module"), ("a.ts", SOURCE, "policy"),
                               ("a.js", SOURCE + b"\n", "policy")):
        one.compile(name, source, kind)
    assert len(runs) == 4 == len(list(tmp_path.iterdir()))


def replaced(path, content):
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: replaced(path, b""),
    "cut": lambda path: replaced(path, path.read_bytes()[:-5]),
    "changed": lambda path: replaced(path, path.read_bytes().replace(b"var a", b"var b")),
    "no digest": lambda path: replaced(path, b'{"code": "var b", "lines": [], "compilers": []}'),
    "writable by all": lambda path: path.chmod(0o666),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link": lambda path: (path.rename(path.parent.parent / "moved"), path.symlink_to(path.parent.parent / "moved")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_was_tampered_with_is_compiled_again(tmp_path, monkeypatch, damage):
    folder = tmp_path / "cache"
    right = Compiler(folder).compile("policy.js", SOURCE)
    damage(entry_in(folder))
    runs = counting(monkeypatch)
    assert Compiler(folder).compile("policy.js", SOURCE).code == right.code
    assert runs == ["policy.js"]


@pytest.mark.root
def test_what_somebody_else_wrote_is_not_used(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    Compiler(folder).compile("policy.js", SOURCE)
    os.chown(entry_in(folder), 65534, 65534)
    runs = counting(monkeypatch)
    Compiler(folder).compile("policy.js", SOURCE)
    os.chown(folder, 65534, 65534)
    Compiler(folder).compile("policy.js", SOURCE)
    assert len(runs) == 2


def test_the_right_content_of_a_wrong_form_is_compiled_again(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    one = Compiler(folder)
    key = one._key("policy.js", SOURCE, "policy")
    for value in ([], {}, {"code": 1}, {"code": "x", "lines": 5, "compilers": []},
                  {"code": "x", "lines": [["a"]], "compilers": []}):
        assert ProgramCache(folder).put(key, value)
        assert b"var a = 1" in Compiler(folder).compile("policy.js", SOURCE).code


def test_without_a_folder_that_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (None, tmp_path / "file", tmp_path / "file/below", Path("/proc/nothing")):
        assert b"var a = 1" in Compiler(directory).compile("policy.js", SOURCE).code
        assert ProgramCache(directory).put("0", 1) is False


def test_a_folder_that_others_may_write_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    assert ProgramCache(tmp_path).put("0", 1) is False and list(tmp_path.iterdir()) == []


def test_the_oldest_go_first_and_only_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("mailfilter.policy.program_cache.FILES_LIMIT", 3)
    (tmp_path / "precious.txt").write_text("not ours")
    os.utime(tmp_path / "precious.txt", (1, 1))
    store = ProgramCache(tmp_path)
    for number in range(5):
        assert store.put(str(number), number)
        os.utime(tmp_path / f"mailfilter-{number}.json", (100 + number, 100 + number))
    assert FILES_LIMIT > 3 and store.put("last", 0)
    assert (tmp_path / "precious.txt").exists()
    assert [store.get(key) for key in ("0", "1", "2", "3", "4", "last")] == [None, None, None, 3, 4, 0]


@pytest.mark.parametrize("environment, folder", [
    ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/mailfilter"), ({"HOME": "/h"}, "/h/.cache/mailfilter"),
    ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/mailfilter"), ({}, None), ({"HOME": "h"}, None)])
def test_where_it_is_kept(environment, folder):
    assert default_directory(environment) == (folder and Path(folder))
