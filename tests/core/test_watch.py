"""The watchdog (watch.c): what does not return is stopped near its time, whatever it does; others are not.

CPU time counts, so that a busy machine changes nothing; the margins are for coarse timers.
"""
import gc
import os
import time

import pytest
from heaps import TestHeap, image_of

from mailfilter._core import _build
from mailfilter._core.heap import HeapDead, HeapStopped, NoImage, ScriptError, regions

SLICE_MS = 20
MARGIN_MS = 400

ENDLESS = {
    "loop": "for (;;) ;",
    "catch": "for (;;) { try { throw 1; } catch (e) { } finally { continue; } }",
    "regular expression": "/^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab')",
    "objects": "for (;;) ({a: [1]})",
    "copies of memory": "var u = new Uint8Array(3e6), v = new Uint8Array(3e6); for (;;) u.set(v);",
    "memory filled": "for (;;) new Uint8Array(3e6)",
    "texts": "var s = new Array(100000).join('ab'); for (;;) s.indexOf('ba' + 'b')",
    "numbers": "for (;;) (0.1).toFixed(20)",
    "time zones": "for (;;) new Date(2020, 1, 1).getTimezoneOffset()",
    "collector": "var a = []; for (var i = 0; i < 1e4; i++) a.push({}); for (;;) Duktape.gc()",
    "finalizer": "Duktape.fin({}, function () { for (;;) ; }); Duktape.gc()",
    "getter handed out": "({get a() { for (;;) ; }})",
    "operation": "for (;;) now('x')",
    "operation refused": "for (;;) { try { now(); } catch (e) { } }",
    "a full heap": "var a = []; for (;;) { try { a.push(new Array(50).join('x') + a.length); } catch (e) { a.pop(); } }",
    "compiler": "for (;;) new Function(new Array(500).join('a + ') + '1')",
}


def answer(*arguments):
    """Refuse operations without a name."""
    return arguments[0]


# Under AddressSanitizer and valgrind these functions are theirs, which are not left.
LIBC = ("copies of memory", "memory filled")
REPLACED = _build.KIND == "asan" or "vgpreload" in os.environ.get("LD_PRELOAD", "")


@pytest.mark.parametrize("kind", [kind for kind in ENDLESS if not REPLACED or kind not in LIBC])
def test_what_does_not_return_is_stopped(kind):
    other = TestHeap()
    other("var kept = [1, 2, 3]")
    js = TestHeap(answer)
    js.heap.allow(SLICE_MS)
    begun = time.thread_time()
    with pytest.raises(HeapStopped):
        js(ENDLESS[kind])
    took = (time.thread_time() - begun) * 1e3
    assert SLICE_MS * 0.5 <= took < SLICE_MS + MARGIN_MS       # ticks come with the kernel's, which may be 4 ms apart
    assert js.heap.dead
    with pytest.raises(HeapDead):
        js("1")
    assert other("kept") == [1, 2, 3]


def test_a_heap_that_stays_full_is_stopped_in_time():
    """Joining free neighbours in vain once took seconds, where the watchdog did not reach."""
    js = TestHeap(heap_bytes=512 << 10)
    js.heap.allow(SLICE_MS)
    begun = time.thread_time()
    with pytest.raises((HeapStopped, ScriptError)):
        js("function f(n) { return [n, f(n + 1), 'x' + n]; } for (;;) { try { f(0); } catch (e) { } }")
    assert (time.thread_time() - begun) * 1e3 < SLICE_MS + MARGIN_MS


def test_the_place_is_told():
    js = TestHeap()
    js.heap.allow(SLICE_MS)
    with pytest.raises(HeapStopped) as stopped:
        js.heap.load("some.js", b"\n\nfunction spin() {\n    for (;;) {\n        String(1);\n    }\n}\n\nspin();\n", SLICE_MS)
    error = stopped.value
    assert ("some.js", 5) in error.places or ("some.js", 4) in error.places
    assert ("some.js", 9) in error.places
    assert (error.file, error.name) == ("some.js", "Stopped")
    assert "some.js:9" in error.stack


def test_many_short_calls_are_no_long_one():
    js = TestHeap()
    js.heap.allow(5)
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        assert js("1 + 1") == 2


def test_an_entry_inside_another_has_its_own_time():
    inner = TestHeap()
    inner.heap.allow(SLICE_MS)
    ended = []

    def operation(*_arguments):
        try:
            inner("for (;;) ;")
        except HeapStopped as error:
            ended.append(error)
        return "back"

    outer = TestHeap(operation)
    outer.heap.allow(SLICE_MS * 20)
    assert outer("now('x')") == "back" and len(ended) == 1
    assert outer("1 + 1") == 2
    # The outer one is still watched after that.
    outer.heap.allow(SLICE_MS)
    inner = TestHeap()
    with pytest.raises(HeapStopped):
        outer("now('x'); for (;;) ;")


def test_finalizers_in_the_collector_are_watched(monkeypatch):
    gc.collect()
    before = regions()[0]
    monkeypatch.setattr("mailfilter._core.heap.DEFAULT_LOAD_MS", SLICE_MS)
    js = TestHeap()
    js("var kept = {}; kept.self = kept; Duktape.fin(kept, function () { for (;;) ; }); kept = null")
    js.heap.collect()
    assert js.heap.dead
    js.heap.close()
    with pytest.raises((HeapDead, NoImage)):
        image_of(b"var kept = {}; kept.self = kept; Duktape.fin(kept, function () { for (;;) ; }); kept = null;")
    assert regions()[0] == before


def test_time_spent_is_told():
    js = TestHeap()
    before = js.heap.spent_ms
    js("for (var i = 0; i < 20000; i++) String(i)")
    assert before < js.heap.spent_ms < before + 1000
    js.heap.allow(SLICE_MS)
    before = js.heap.spent_ms
    with pytest.raises(HeapStopped):
        js("for (;;) ;")
    assert SLICE_MS * 0.5 < js.heap.spent_ms - before < SLICE_MS * 3 + MARGIN_MS
