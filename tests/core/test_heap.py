"""_core/heap: values both ways, host.now, errors, the memory cap, and what becomes of a heap that is closed or dead."""
import asyncio
import contextlib
import gc
import math
import subprocess
import sys

import pytest
from heaps import EVALUATE, GIVE_BACK, TestHeap
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.heap import UNDEFINED, Heap, HeapDead, HostError, ScriptError, regions
from mailfilter.mail.octets import octets

DEPTH_LIMIT, COUNT_LIMIT = 16, 200_000     # duk_value.h


@pytest.fixture(scope="module")
def js():
    """A heap that the tests of values share; they leave nothing in it."""
    return TestHeap()


# Octets and text.

@given(st.binary(max_size=200))
def test_octets_come_back_as_they_went(js, data):
    assert octets(js.give(data)) == data


@given(st.lists(st.sampled_from([b"\x80", b"\x81", b"\x82", b"\xff", b"\xed\xa0\xbd", b"\xed\xb8\x80", b"\0", b"a", b"\xc3\xa9",
                                 b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\xc0\x80", b"\xf4\x90\x80\x80"])).map(b"".join))
def test_awkward_octets_come_back_as_they_went(js, data):
    assert octets(js.give(data)) == data
    assert octets(js.heap.call(GIVE_BACK, [data, {"k": data}])[1]["k"]) == data


@pytest.mark.parametrize("first", range(256))
def test_d03_no_first_octet_makes_anything_but_text(js, first):
    data = bytes([first]) + b"abc"
    js.heap.call(EVALUATE, "var given; function take(value) { given = value; return typeof value; }")
    described = TestHeap(answer=lambda: data)("var v = now(); [typeof v, v.length, v + '', v.charCodeAt(0), v === v]")
    assert described[0] == "string" and described[1] == 4 and octets(described[2]) == data
    assert described[3] == (first if first < 0x80 else 0xDC00 + first)


def test_octets_that_are_text_read_as_text(js):
    heap = TestHeap(answer=lambda: "Grüße \U0001f600".encode())
    assert heap("now() === 'Gr\\u00fc\\u00dfe \\ud83d\\ude00'") is True
    assert heap("now().length") == 8       # UTF-16 units, as ECMA-262 counts
    assert TestHeap(answer=lambda: b"a\xff\x80b")("now() === 'a\\udcff\\udc80b'") is True


@given(st.text(st.characters(), max_size=60))
def test_text_comes_back_as_it_went(js, text):
    assert js.give(text) == text


@given(st.text(st.characters(categories=["Cs"]) | st.sampled_from("a\0\u00e9"), max_size=20))
def test_surrogates_come_back_as_utf_16_reads_them(js, text):
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert js.give(text) == joined


def test_a_nul_cuts_nothing(js):
    assert js.give("a\0b") == "a\0b" and octets(js.give(b"\0\0")) == b"\0\0"
    assert js("'x\\u0000y'.length") == 3


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_long_texts(js, size):
    for data in (b"x" * size, b"\xff" * size, b"\xe2\x82\xac" * (size // 3), b"\xf0\x9f\x98\x80" * (size // 4)):
        assert octets(js.give(data)) == data
    js.heap.collect()


# Other values.

VALUES = [None, True, False, 0, 1, -1, 2**31, -2**31, 2**53, -2**53, 0.5, 1e300, -1e-300, math.inf, -math.inf, "", "text", [],
          [[]], [1, "a", None, [True]], {}, {"a": 1}, {"": ""}, {"\u00e9\0x": {"y": [{}]}}, [None] * 1000, {"length": 3}]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:30])
def test_values_come_back_as_they_went(js, value):
    back = js.give(value)
    assert back == value and type(back) is type(value)


@given(st.recursive(st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(
                        st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=5), max_leaves=20))
def test_nested_values_come_back_as_they_went(js, value):
    assert js.give(value) == value


@pytest.mark.parametrize("given,code,expected", [
    (UNDEFINED, "v === undefined", True), (None, "v === null", True), ((1, 2), "Array.isArray(v) && v.length", 2),
    (bytearray(b"\x01\xff"), "v instanceof Uint8Array && v[1]", 255), (math.nan, "v !== v", True),
    (2**60, "v === Math.pow(2, 60)", True), (10**400, "v === Infinity", True), (-10**400, "v === -Infinity", True),
    ({"__proto__": 1}, "typeof v", "object"), ({"toString": 1}, "v.toString", 1),
    ([UNDEFINED], "0 in v && v[0] === undefined", True),
])
def test_what_python_values_become(given, code, expected):
    assert TestHeap(answer=lambda: given)(f"var v = now(); {code}") == expected


@pytest.mark.parametrize("code,expected", [
    ("undefined", None), ("null", None), ("(function () {})", None), ("Symbol('s')", None), ("Math.sin", None),
    ("NaN", math.nan), ("-0", 0), ("Math.pow(2, 60)", 2.0**60), ("new Uint8Array([1, 255])", b"\x01\xff"),
    ("new ArrayBuffer(2)", b"\0\0"), ("new Uint16Array([258]).subarray(0)", b"\x02\x01"), ("[1,,3]", [1, None, 3]),
    ("(function () { return arguments; }(1, 2))", {"0": 1, "1": 2}), ("/x/g", {}), ("Object.create({inherited: 1})", {}),
    ("Object.create(null)", {}), ("Object.defineProperty({}, 'hidden', {value: 1})", {}), ("new Error('x')", {}),
    ("var o = {}; o[Symbol('s')] = 1; o.a = Symbol('t'); o", {"a": None}), ("[function () {}, Symbol()]", [None, None]),
    ("new Proxy([1, 2], {})", [1, 2]),
    ("new Proxy({}, {get: function () { return 5; }, ownKeys: function () { return []; }})", {}),
    ("var a = [1]; a.extra = 2; a", [1]), ("[[[[]]]]", [[[[]]]]), ("({get a() { return [1]; }})", {"a": [1]}),
])
def test_what_javascript_values_become(js, code, expected):
    value = js(code)
    assert value == expected or (value != value and expected != expected)


@pytest.mark.parametrize("code", ["new Array(200001)", "new Array(4294967295)", "var big = []; big.length = 3e9; big"])
def test_an_array_that_is_too_long_is_refused(js, code):
    with pytest.raises(ScriptError, match="array is too long"):
        js(code)
    assert js("big = null; 1") == 1


def test_a_value_with_too_many_elements_is_refused():
    js = TestHeap()
    with pytest.raises(ScriptError, match="too many elements"):
        js("var row = [], all = [], i; for (i = 0; i < 1000; i++) row[i] = i; for (i = 0; i < 250; i++) all[i] = row; all")
    assert js("all = 0; row").__len__() == 1000


# Texts that are there once and handed out a thousand times.
COPIES = {
    "texts": "all",
    "keys": "all.map(function (text) { var o = {}; o[text] = 1; return o; })",
    "buffers": "all.map(function () { return buffer; })",
    "views": "all.map(function () { return new Uint8Array(buffer.buffer, 1); })",
    "one behind the other": "[all.slice(0, 5), [all.slice(0, 5)], {a: all.slice(0, 5)}]",
    "an operation's": "now('x', all)",
    "an operation's arguments": "now.apply(null, all)",
}


@pytest.mark.parametrize("code", COPIES.values(), ids=COPIES)
def test_a_value_is_no_larger_than_the_heap(code):
    handed = []
    js = TestHeap(lambda *arguments: handed.append(arguments))
    js("var text = 'x', all = []; for (var i = 0; i < 20; i++) text += text; for (i = 0; i < 1000; i++) all.push(text);"
       "var buffer = new Uint8Array(1 << 20)")
    with pytest.raises(ScriptError, match="value is too large"):
        js(code)
    assert handed == []
    assert js("[text, buffer, {a: text}]") == ["x" * (1 << 20), bytes(1 << 20), {"a": "x" * (1 << 20)}]


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_the_depth_of_values_is_limited_both_ways(js):
    assert js.give(nested_list(DEPTH_LIMIT - 1)) == nested_list(DEPTH_LIMIT - 1)
    with pytest.raises(ScriptError, match="nested too deeply"):
        js.give(nested_list(DEPTH_LIMIT + 1))
    with pytest.raises(ScriptError, match="nested too deeply"):
        js("var deep = []; for (var i = 0; i < 40; i++) deep = [deep]; deep")
    with pytest.raises(ScriptError, match="nested too deeply"):
        js("for (deep = {}, i = 0; i < 40; i++) deep = {inner: deep}; deep")


@pytest.mark.parametrize("code", ["var c = []; c[0] = c; c", "var d = {}; d.d = d; d", "var e = [{}]; e[0].up = e; e",
                                  "var p = new Proxy({a: 1}, {get: function () { return p; }}); p"])
def test_a_value_that_contains_itself_is_refused(js, code):
    with pytest.raises(ScriptError, match="contains itself"):
        js(code)


@pytest.mark.parametrize("code", [
    "({get a() { throw new Error('thrown by it'); }})", "[1, 2, {get a() { throw new Error('thrown by it'); }}]",
    "Object.defineProperty([1], 0, {get: function () { throw new Error('thrown by it'); }})",
    "new Proxy({a: 1}, {get: function () { throw new Error('thrown by it'); }})",
    "new Proxy({a: 1}, {ownKeys: function () { throw new Error('thrown by it'); }})",
    "new Proxy([1], {get: function (t, k) { if (k === 'length') throw new Error('thrown by it'); return t[k]; }})",
])
def test_what_throws_while_it_is_handed_out_is_an_error(js, code):
    with pytest.raises(ScriptError, match="thrown by it"):
        js(code)
    assert js("1 + 1") == 2


@pytest.mark.parametrize("value", [object(), {1: 2}, {b"k": 1}, {"\udcff": 1}, {"\ud800": 1}, 1j, {1, 2}, range(3), [object()],
                                   {"a": object()}],
                         ids=lambda value: repr(value).partition(" object at")[0])
def test_python_values_without_a_javascript_form_are_refused(js, value):
    with pytest.raises(ScriptError, match="TypeError: (a Python object of this type|a key is no text)"):
        js.give(value)


def test_a_python_list_that_contains_itself_is_refused(js):
    loop = []
    loop.append(loop)
    with pytest.raises(ScriptError, match="nested too deeply"):
        js.give(loop)
    loop.clear()


# Errors of JavaScript.

def test_an_error_says_what_and_where():
    heap = Heap()
    with pytest.raises(ScriptError) as caught:
        heap.load("some.js", b"\n\nnull.x;\n")
    error = caught.value
    assert (error.name, error.file, error.line) == ("TypeError", "some.js", 3)
    assert "(some.js:3)" in error.stack and str(error).startswith("TypeError: ")
    with pytest.raises(ScriptError) as caught:
        heap.load("syntax.js", b"var a;\nvar = 3;\n")
    assert (caught.value.name, caught.value.file, caught.value.line) == ("SyntaxError", "syntax.js", 2)


@pytest.mark.parametrize("thrown,text", [
    ("'text'", "text"), ("5", "5"), ("null", "null"), ("undefined", "undefined"), ("({})", "[object Object]"),
    ("Object.create(null)", ""), ("({toString: function () { throw new Error('no'); }})", "no"), ("Symbol('s')", "Symbol"),
    ("'\\udcff\\ud800'", "\udcff\ud800"), ("[1, 2]", "1,2"),
])
def test_anything_may_be_thrown(js, thrown, text):
    with pytest.raises(ScriptError) as caught:
        js(f"throw {thrown}")
    assert caught.value.name is None and text in caught.value.message


@pytest.mark.parametrize("code", [
    "var e = new Error('m'); Object.defineProperty(e, 'stack', {get: function () { throw e; }}); throw e",
    "var e = new Error('m'); Object.defineProperty(e, 'name', {get: function () { throw 5; }}); throw e",
    "var e = new Error('m'); e.message = {}; e.name = []; e.stack = 5; e.fileName = null; throw e",
    "var e = new Error(); e.message = new Array(100000).join('x'); throw e",
    "throw new Proxy(new Error('m'), {get: function () { throw 1; }})",
    "(function f() { f(); })()", "(function f() { try { f(); } catch (e) { throw e; } })()",
])
def test_no_error_breaks_the_heap(js, code):
    with pytest.raises(ScriptError):
        js(code)
    assert js("1 + 1") == 2


def test_the_parts_of_an_error_are_what_they_should_be_or_nothing(js):
    odd = ("null", "5", "1e400", "NaN", "{}", "[1]", "'x'", "true", "Symbol('s')", "new Uint8Array(2)")
    for part in ("name", "message", "fileName", "lineNumber", "stack"):
        for value in odd:
            with pytest.raises(ScriptError) as caught:
                js(f"var e = new Error('m'); Object.defineProperty(e, '{part}', {{value: {value}}}); throw e")
            error = caught.value
            assert all(type(text) in (str, type(None)) for text in (error.name, error.file, error.stack)), (part, value)
            assert type(error.line) in (int, float, type(None)), (part, value)


# host.now.

def test_operations_get_arguments_and_give_results():
    calls = []

    def answer(*arguments):
        calls.append(arguments)
        return {"n": len(arguments), "all": list(arguments)}

    js = TestHeap(answer)
    assert js("now('a', 1, [2, {b: null}], 'x').all") == ["a", 1, [2, {"b": None}], "x"]
    assert js("now().n") == 0 and calls[1] == ()


def test_errors_of_an_operation_are_thrown_into_the_policy():
    def answer(what):
        if what == "host":
            raise HostError("50% of \u00fc failed", "ServiceTimeout")
        if what == "plain":
            raise HostError("plain")
        if what == "bug":
            raise KeyError("a bug of ours")
        return object()

    js = TestHeap(answer)
    caught = "try { now('%s'); } catch (e) { [e instanceof Error, e.name, e.message] }"
    assert js(caught % "host") == [True, "ServiceTimeout", "50% of \u00fc failed"]
    assert js(caught % "plain") == [True, "Error", "plain"]
    assert js(caught % "bug") == [True, "InternalError", "KeyError: 'a bug of ours'"]
    assert js(caught % "other")[1] == "TypeError"
    with pytest.raises(ScriptError) as error:
        js("now('host')")
    assert error.value.name == "ServiceTimeout"


@pytest.mark.parametrize("name,message", [
    ("Error", "no file \udcff\ud800"), ("Odd\udc80", "in its name"), ("Error", ""), ("Error", "a\0b"), ("", "no name"),
    ("Error", "100% %s %n"), ("ServiceTimeout", "\U0001f600"),
])
def test_the_words_of_an_error_reach_the_policy_whatever_they_are(name, message):
    def answer():
        raise HostError(message, name)

    js = TestHeap(answer)
    assert js("try { now(); } catch (e) { [e instanceof Error, e.name, e.message, typeof e.stack] }") \
        == [True, name, message, "string"]
    with pytest.raises(ScriptError) as caught:
        js("now()")
    assert (caught.value.name, caught.value.message) == (name, message)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interruption_is_no_error_of_the_policy(error):
    def answer(what):
        if what == "interrupt":
            raise error("from outside")
        return what

    js = TestHeap(answer)
    for code in ("now('interrupt')", "try { now('interrupt'); } catch (e) { } 'caught'"):
        with pytest.raises(error, match="from outside"):
            js(code)
        assert js("now('as ever')") == "as ever"
    with pytest.raises(error):
        js.heap.load("part.js", b"now('interrupt');")


def test_without_an_answerer_operations_fail():
    js = TestHeap()
    with pytest.raises(ScriptError, match="not available"):
        js("now('x')")
    js.heap.answer_with(lambda name: name + "!")
    assert js("now('x')") == "x!"
    js.heap.answer_with(None)
    with pytest.raises(ScriptError, match="not available"):
        js("now('x')")


GETTER = "{enumerable: true, get: function () { return now('inner', ['y']); }}"


@pytest.mark.parametrize("code", [
    "var o = {a: [1]}; for (var i = 0; i < 30; i++) Object.defineProperty(o, 'g' + i, " + GETTER + "); o",
    "var o = {a: [1]}; for (var i = 0; i < 30; i++) Object.defineProperty(o, 'g' + i, " + GETTER + "); now('outer', o, [o])",
    "var a = [1]; for (var i = 0; i < 30; i++) Object.defineProperty(a, i, " + GETTER + "); now('outer', a)",
    "new Proxy([1, 2, 3, 4], {get: function (t, k) { now('inner', k); return t[k]; }})",
    "new Proxy({a: 1, b: [2]}, {get: function (t, k) { now('inner', k); return t[k]; }})",
    "Object.defineProperty(Array.prototype, 1, {configurable: true, set: function () {"
    " delete Array.prototype[1]; now('inner'); }}); now('outer')",
    "for (var i = 0; i < 2000; i++) { var o = {}; o.o = o; Duktape.fin(o, function () { now('inner', '\\udcff') });"
    " now('outer', '\\udcff' + i); } Duktape.gc(); []",
])
def test_a_policy_may_call_operations_while_a_value_is_handed_over(code):
    """The inner call once dropped what the outer one was building."""
    js = TestHeap(lambda *arguments: [b"\xff" * 40, {"name": arguments[0]}] * 20, heap_bytes=32 << 20)
    js.heap.allow(5000)
    for _ in range(20):
        assert isinstance(js(code), (list, dict))


def test_nesting_of_operations_is_limited():
    js = TestHeap(lambda name, value=None: value)
    nested = ("var depth = 0, o = Object.defineProperty({}, 'a', "
              "{enumerable: true, get: function () { depth++; return now('x', o); }});")
    with pytest.raises(ScriptError, match="nested too deeply"):
        js(nested + "now('x', o)")
    assert js("depth") < 20 and js("now('x', 5)") == 5


def test_a_heap_is_not_entered_while_it_runs():
    problems = []

    def answer(what):
        for action in (lambda: js("1"), lambda: js.heap.load("x", b"1"), js.heap.close):
            try:
                action()
            except RuntimeError as error:
                problems.append(str(error))
        js.heap.collect()
        return js.heap.sleep()

    js = TestHeap(answer)
    assert js("now('x')") is False
    assert len(problems) == 3 and all("in" in text for text in problems)
    assert js("2") == 2


def test_another_heap_may_be_entered_meanwhile():
    inner = TestHeap()
    outer = TestHeap(lambda code: inner(code))
    assert outer("now('6 * 7')") == 42
    with pytest.raises(ScriptError, match="inside"):
        outer("now('throw new Error(\"inside\")')")
    assert outer("1") == inner("1") == 1


# Memory.

HUNGRY = [
    "var s = 'x'; for (;;) s += s", "var a = []; for (;;) a.push([a.length])", "new Array(1e8).join('xyz')",
    "var o = {}; for (var i = 0; ; i++) o['k' + i] = {}", "new Uint8Array(1e9)", "new ArrayBuffer(2e9)",
    "(function f(x) { return f([x, x]) + 1; })()", "var f = function () {}; for (;;) f = f.bind(null, f)",
    "var c = 'return 1'; for (;;) c = c + '+1', new Function(c)()", "JSON.stringify(new Array(1e7))",
    "var q = []; for (;;) { try { q.push(new Array(1000).join('y') + q.length); } catch (e) { throw 'caught'; } }",
]


@pytest.mark.parametrize("code", HUNGRY)
def test_memory_is_capped_and_others_do_not_notice(code):
    gc.collect()
    before = regions()[0]
    other = TestHeap()
    other("var mine = [1, 2, 3]")
    hungry = TestHeap(heap_bytes=1 << 20)
    with pytest.raises((ScriptError, HeapDead)):
        hungry(code)
    assert hungry.heap.dead or hungry.heap.over_limit or hungry("1 + 1") == 2
    assert hungry.heap.used_bytes <= 1 << 20
    with contextlib.suppress(ScriptError, HeapDead):        # full as it is, it may be asked again
        hungry("1 + 1")
    assert other("mine") == [1, 2, 3] and not other.heap.over_limit
    hungry.heap.close()
    other.heap.close()
    assert regions()[0] == before


def test_a_heap_that_met_its_cap_says_so_and_works_on():
    js = TestHeap(heap_bytes=1 << 20)
    assert js("1") == 1 and not js.heap.over_limit
    with pytest.raises(ScriptError, match="alloc failed|memory"):
        js("new Uint8Array(5e6)")
    assert js.heap.over_limit and not js.heap.dead
    assert js("'still here'") == "still here"


@pytest.mark.parametrize("size", [1, 1000, 20_000, *range(26_000, 130_000, 3000)])
def test_a_heap_that_cannot_hold_the_engine_is_not_made(size):
    gc.collect()
    before = regions()[0]
    for build in (None, None, 0):
        with pytest.raises(MemoryError):
            Heap(size, None, build)
    gc.collect()
    assert regions()[0] == before


@pytest.mark.parametrize("size", [200_000, 262_144, 300_001, 1 << 20])
def test_regions_of_any_size_are_recycled(size):
    TestHeap(heap_bytes=size).heap.close()
    _, pooled = regions()
    for _ in range(20):
        TestHeap(heap_bytes=size).heap.close()
    assert regions()[1] == pooled


def test_a_recycled_region_has_nothing_of_the_last_heap():
    for number in range(20):
        js = TestHeap()
        assert js("typeof mine") == "undefined" and not js.heap.over_limit
        js(f"var mine = 'secret {number}'; Array.prototype.push = null")
        js.heap.close()


# The end of a heap.

def test_a_closed_heap_is_refused():
    js = TestHeap()
    js.heap.close()
    js.heap.close()
    assert js.heap.dead and js.heap.used_bytes == 0 and not js.heap.sleep()
    js.heap.collect()
    for call in (lambda: js("1"), lambda: js.heap.load("x", b"1")):
        with pytest.raises(HeapDead):
            call()


def test_a_heap_needs_the_engine_to_be_bound():
    code = ("from mailfilter._core.heap import Heap\n"
            "for build in (None, 0):\n"
            "    try:\n        Heap(1 << 20, None, build)\n    except RuntimeError as error:\n        print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("import mailfilter.policy.engine first") == 2, done


def test_a_heap_is_made_once():
    heap = Heap()
    with pytest.raises(RuntimeError):
        heap.__init__()
    with pytest.raises(HeapDead):
        Heap.__new__(Heap).call(0)


@pytest.mark.parametrize("entry", [-1, 4, 7, 8, 1000])
def test_an_entry_that_is_none_is_refused(entry):
    with pytest.raises(HeapDead):
        TestHeap().heap.call(entry)


def test_a_heap_nobody_holds_is_closed():
    gc.collect()
    before = regions()[0]
    circle = [TestHeap()]
    circle[0].heap.answer_with(circle.append)           # through the heap and back
    assert regions()[0] == before + 1
    del circle
    gc.collect()
    assert regions()[0] == before


# Leaks.

class Marker(str):
    """A text whose references can be counted."""


def every_place(js, arguments):
    """Calls that end well and in every kind of error, with `arguments` on their way in or out."""
    for code in ("now('fine', [1, {a: 'b'}])", "now('host', 'x')", "now('bug')", "now('odd')", "now('deep')",
                 "now('x', {get a() { throw new Error('g'); }})", "[[1, 'a'], {get a() { throw 5; }}]",
                 "var l = []; l[0] = ['text', l]; l", "var m = {}; m.a = {b: 'text' + Math.random(), m: m}; m",
                 "throw new Error('e' + Math.random())", "throw {a: 'x'}", "({",
                 "now('x', new Proxy([1, 2], {get: function (t, k) { if (k === '1') throw new Error('trap'); return t[k]; }}))",
                 "['\\udcff', '\\ud800', '\\u20ac']",
                 "now('fine', {get a() { return now('fine', '\\udcff'); }, get b() { return now('host'); }})",
                 "now('octets')", "new Array(300000)"):
        try:
            js(code)
        except ScriptError:
            pass
    for value in arguments:
        try:
            js.give(value)
        except ScriptError:
            pass


def test_nothing_leaks_whatever_fails():
    shared = [b"\xffoctets", "text \udcff", {"key": [1.5]}, bytearray(b"x")]
    arguments = [*shared, [*shared, object()], {"a": shared, "b": object()}, nested_list(20), {"k\udcff": 1}]

    def answer(what="", *more):
        if what == "host":
            raise HostError("told \udcff")
        if what == "bug":
            raise ZeroDivisionError
        return {"odd": object(), "deep": nested_list(20), "octets": [b"\xff" * 300, b"\xfe"]}.get(what, shared)

    js = TestHeap(answer)
    for _ in range(20):
        every_place(js, arguments)
    js.heap.collect()
    gc.collect()
    rounds = 1000
    counts = [sys.getrefcount(item) for item in (*shared, shared, arguments, answer, UNDEFINED, None)]
    blocks = sys.getallocatedblocks()
    for _ in range(rounds):
        every_place(js, arguments)
    gc.collect()
    grown = sys.getallocatedblocks() - blocks
    after = [sys.getrefcount(item) for item in (*shared, shared, arguments, answer, UNDEFINED, None)]
    assert [b - a for a, b in zip(counts[:-1], after[:-1], strict=True)] == [0] * (len(counts) - 1)
    assert abs(after[-1] - counts[-1]) < rounds / 10
    assert grown < rounds / 10
    js.heap.collect()
    assert js.heap.used_bytes < 2 << 20


def test_heaps_that_come_and_go_leave_nothing():
    def one(number):
        js = TestHeap(lambda *a: [number], heap_bytes=256 << 10)
        try:
            js(["now()", "throw 1", "var s = 'x'; for (;;) s += s", "({get a() { return now(); }})"][number % 4])
        except (ScriptError, HeapDead):
            pass
        if number % 3:
            js.heap.close()

    for number in range(40):
        one(number)
    gc.collect()
    in_use, pooled = regions()
    blocks = sys.getallocatedblocks()
    for number in range(800):
        one(number)
    gc.collect()
    assert regions() == (in_use, pooled)
    assert sys.getallocatedblocks() - blocks < 80
