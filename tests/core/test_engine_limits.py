"""Duktape's own limits are what docs/reference/limits-and-timeouts.md says: compiled in, so a new dukpy may move them."""
import pytest
from heaps import TestHeap

# The largest number that `works` does not throw for, below the first %, and the words of what it throws.
DEEPEST = """(function (works) {
    var low = 1, high = %d, words = '', middle;
    while (low < high) {
        middle = (low + high + 1) >> 1;
        try {
            works(middle);
            low = middle;
        } catch (e) {
            high = middle - 1;
            words = String(e);
        }
    }
    return low + ' ' + words;
})"""


def heap(megabytes=64, cpu_ms=20000):
    js = TestHeap(heap_bytes=megabytes << 20)
    js.heap.allow(cpu_ms)
    return js


@pytest.mark.parametrize("call, depth, words", [
    ("function f() { n++; return f() + 1; }", 10000, "callstack limit"),
    ("var o = {get f() { n++; return this.f; }}; function f() { return o.f; }", 1000, "C stack depth limit"),
])
def test_call_depth(call, depth, words):
    message, deepest = heap()(f"var n = 0; {call} try {{ f(); }} catch (e) {{ [String(e), n]; }}")
    assert message == f"RangeError: {words}"
    assert depth * 0.99 < deepest <= depth


@pytest.mark.parametrize("works, most, depth, words", [
    ("JSON.parse(rep('[', n) + rep(']', n))", 4000, 1000, "decode recursion limit"),
    ("var s = []; for (var i = 1; i < n; i++) s = [s]; JSON.stringify(s)", 4000, 1000, "encode recursion limit"),
    ("(0, eval)(rep('(', n) + '1' + rep(')', n))", 10000, 2500, "compiler recursion limit (line 1)"),
    ("new RegExp(rep('(', n) + '1' + rep(')', n))", 40000, 10000, "regexp compiler recursion limit"),
    ("/^(?:a|b)*$/.test(rep('a', n))", 40000, 5000, "regexp executor recursion limit"),
    ("(function () {}).apply(null, new Array(n))", 1900000, 1000000, "valstack limit"),
])
def test_depths(works, most, depth, words):
    code = f"{DEEPEST % most}(function (n) {{ function rep(c, n) {{ return new Array(n + 1).join(c); }} {works}; }})"
    found, _, message = heap(512)(code).partition(" ")
    assert message == f"RangeError: {words}"
    assert depth * 0.8 < int(found) <= depth


def test_memory_ends_a_recursion_before_the_engine_does():
    """What can be set bounds what cannot."""
    js = heap(1)
    words = js("var n = 0; function f(a) { n++; return f(a + 'x') + 1; } try { f(''); } catch (e) { [String(e), n]; }")
    assert words[0] != "RangeError: callstack limit" and words[1] < 9000 and js.heap.over_limit
