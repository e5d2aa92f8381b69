"""Heaps for tests of the engine alone: no library, two entry functions, and what host.now() is answered with.

`heap(code)` evaluates JavaScript, `heap.give(value)` hands a value in and back. Must not know mail.
"""
from mailfilter._core.heap import DEFAULT_HEAP_BYTES, Heap, Image
from mailfilter.policy import engine  # noqa: F401  (binds the engine)

EVALUATE, GIVE_BACK, KEEP, KEPT = range(4)

PROGRAM = b"""
(function (global) {
    var host = global.host, kept = null;
    global.now = host.now;
    host.entries(
        function evaluate(code) { return (0, eval)(code); },
        function giveBack(value) { return value; },
        function keep(value) { kept = value; },
        function () { return kept; }
    );
    delete global.host;
}(this));
"""


class TestHeap:
    """A heap with PROGRAM in it. `heap`: the Heap itself."""

    __test__ = False

    def __init__(self, answer=None, heap_bytes=DEFAULT_HEAP_BYTES, heap=None):
        if heap is None:
            heap = Heap(heap_bytes, answer)
            heap.load("program.js", PROGRAM)
        self.heap = heap

    def __call__(self, code):
        return self.heap.call(EVALUATE, code)

    def give(self, value):
        return self.heap.call(GIVE_BACK, value)


def image_of(*programs, heap_bytes=DEFAULT_HEAP_BYTES, answer=None):
    """An Image of PROGRAM and these further programs (bytes)."""
    builds = []
    try:
        for number in range(3):
            heap = Heap(heap_bytes, answer, number)
            builds.append(heap)
            for index, source in enumerate((PROGRAM, *programs)):
                heap.load(f"part{index}.js", source)
        return Image(builds)
    finally:
        for heap in builds:
            heap.close()
