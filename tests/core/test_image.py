"""_core/heap.Image: copies of a heap behave like one that was built, know nothing of each other, sleep and wake."""
import mmap
import os
import random
import re

import pytest
from heaps import KEEP, KEPT, PROGRAM, TestHeap, image_of

from mailfilter._core.heap import Heap, HeapDead, Image, NoImage, ScriptError, images, regions

STATEFUL = b"""
var state = {count: 0, list: [1, 'two', {three: 3}], text: 'start', map: {}}, regexp = /(\\d+)-(\\w+)/g;
var counter = (function () { var n = 0; return function () { return ++n; }; }());
function step(word) {
    state.count = counter();
    state.list.push(word);
    state.text += word;
    state.map[word] = {made: state.count, found: 'ab 12-cd 3-e'.replace(regexp, '<$2>')};
    return JSON.stringify(state);
}
var bytes = new Uint8Array([1, 2, 3]), thread = new Duktape.Thread(function (first) {
    var seen = [first], more;
    for (;;) {
        try { more = Duktape.Thread.yield(seen.join()); } finally { seen.push('f'); }
        seen.push(more);
    }
});
Duktape.Thread.resume(thread, 'begun');
function talk(word) { return Duktape.Thread.resume(thread, word); }
"""


@pytest.fixture(scope="module")
def image():
    return image_of(STATEFUL)


@pytest.fixture
def copy(image):
    heaps = []

    def copy(**options):
        heaps.append(TestHeap(heap=image.heap(**options)))
        return heaps[-1]

    yield copy
    for js in heaps:
        js.heap.close()


def fresh():
    js = TestHeap()
    js.heap.load("part1.js", STATEFUL)
    return js


def test_a_copy_goes_on_where_the_image_is(copy):
    built, copied = fresh(), copy()
    for word in ("a", "b", "\u00e9\U0001f600"):
        assert copied(f"step('{word}')") == built(f"step('{word}')")
        assert copied(f"talk('{word}')") == built(f"talk('{word}')") != ""
    assert copied("bytes[1] = 7; bytes") == b"\x01\x07\x03"


EVERYTHING = """
(function () {
    var seen = [], names = Object.getOwnPropertyNames, i, k, own;
    function collect(object) {
        if (object === null || (typeof object !== 'object' && typeof object !== 'function') || seen.indexOf(object) >= 0)
            return;
        seen.push(object);
        names(object).forEach(function (name) {
            try { collect(object[name]); } catch (e) { }
        });
    }
    collect(this);
    for (i = 0; i < seen.length; i++) {
        own = names(seen[i]);
        for (k = 0; k < own.length; k++)
            try { seen[i][own[k]] = 'spoilt'; } catch (e) { }
        try { seen[i].extra = 'spoilt'; } catch (e) { }
        if (seen.length < 200) break;
    }
    return i;
}())
"""

INVENTORY = """
(function () {
    var seen = [], lines = [];
    function look(object, path) {
        if (object === null || (typeof object !== 'object' && typeof object !== 'function')) {
            lines.push(path + '=' + String(object));
            return;
        }
        if (seen.indexOf(object) >= 0) return;
        seen.push(object);
        Object.getOwnPropertyNames(object).sort().forEach(function (name) {
            var d = Object.getOwnPropertyDescriptor(object, name);
            lines.push(path + '.' + name + ':' + d.writable + d.enumerable + d.configurable);
            if ('value' in d) look(d.value, path + '.' + name);
        });
    }
    look(this, '');
    return lines.join('\\n');
}())
"""


def test_what_one_copy_spoils_no_other_sees(copy):
    first, other = copy(), copy()
    first.heap.allow(5000)
    other.heap.allow(5000)
    untouched = other(INVENTORY)
    assert len(untouched) > 10_000
    assert first(EVERYTHING) > 200
    later = copy()
    later.heap.allow(5000)
    assert other(INVENTORY) == later(INVENTORY) == untouched
    assert other("step('x')") == fresh()("step('x')")


def test_random_numbers_differ_between_copies(copy):
    drawn = {tuple(copy()("[Math.random(), Math.random()]")) for _ in range(200)}
    assert len(drawn) == 200
    assert all(0 <= number < 1 for pair in drawn for number in pair)
    means = [sum(copy()("var r = []; for (var i = 0; i < 200; i++) r.push(Math.random()); r")) / 200 for _ in range(20)]
    assert all(0.35 < mean < 0.65 for mean in means)


def test_copies_have_answerers_of_their_own(copy):
    one, two, none = copy(answer=lambda: "one"), copy(answer=lambda: "two"), copy()
    assert (one("now()"), two("now()"), one("now()")) == ("one", "two", "one")
    with pytest.raises(ScriptError, match="not available"):
        none("now()")


# Sleeping.

def test_sleep_keeps_everything(copy):
    built, copied = fresh(), copy()
    for number, word in enumerate(("a", "b", "\u00e9", "c" * 5000, "d")):
        assert copied.heap.sleep() is True
        assert copied.heap.kept_bytes > 0 and not copied.heap.dead
        assert copied.heap.sleep() is False                     # asleep already
        if number % 2:
            copied.heap.wake()
            copied.heap.wake()
        assert copied(f"step('{word}')") == built(f"step('{word}')")
        assert copied.heap.kept_bytes == 0
        copied.heap.sleep()
        assert copied(f"talk('{word}')") == built(f"talk('{word}')")


def test_what_a_heap_has_had_and_has_no_more_is_not_kept(copy):
    js = copy()
    js("(function deep(n) { return n ? deep(n - 1) + 1 : 0; }(900));"
       "var many = []; for (var i = 0; i < 9000; i++) many.push(i / 2); 1")
    assert js.heap.sleep() and js.heap.kept_bytes > 60_000
    js("many = null; Duktape.gc(); 1")
    assert js.heap.sleep() and js.heap.kept_bytes < 16384
    assert js("many") is None


def test_references_and_coroutines_survive_sleep(copy):
    js = copy()
    js.heap.call(KEEP, {"deep": [1, b"\xff", "text"]})
    js("var pending = new Duktape.Thread(function () {"
       " try { Duktape.Thread.yield(1); } finally { state.text = 'ended'; } return 2; });"
       "Duktape.Thread.resume(pending); var big = new Uint8Array(300000); big[299999] = 9; "
       "var cycle = {}; cycle.cycle = cycle; 1")
    assert js.heap.sleep()
    assert js.heap.call(KEPT) == {"deep": [1, "\udcff", "text"]}
    assert js.heap.sleep()
    woken = js("[Duktape.Thread.resume(pending), state.text, big[299999], cycle.cycle.cycle === cycle]")
    assert woken == [2, "ended", 9, True]
    js.heap.sleep()
    js.heap.collect()
    js("big = pending = null")
    js.heap.collect()
    assert js("step('z').length") > 0


def test_a_new_copy_sleeps_and_wakes(copy):
    js = copy(answer=lambda: 5)
    assert js.heap.sleep() and js.heap.kept_bytes < 4096
    assert js("now()") == 5


def test_loading_wakes(copy):
    js = copy()
    js.heap.sleep()
    js.heap.load("more.js", b"var more = counter();")
    assert js("more") == 1


def test_closing_while_asleep(copy):
    before = regions()[0]
    js = copy()
    js("step('x')")
    js.heap.sleep()
    js.heap.close()
    assert js.heap.dead and js.heap.kept_bytes == 0 and regions()[0] == before
    with pytest.raises(HeapDead):
        js("1")
    abandoned = copy()
    abandoned.heap.sleep()
    assert copy()("step('x')") == fresh()("step('x')")


def test_closing_while_asleep_wakes_nothing(copy):
    def resident_kib():
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    sleepers = [copy() for _ in range(40)]
    for js in sleepers:
        js("step('x')")
        js.heap.sleep()
    before = resident_kib()
    for js in sleepers:
        js.heap.close()
    assert resident_kib() - before < 40 * 16       # a page of each, where its size is written; a heap has a hundred KiB


def test_only_copies_sleep():
    assert TestHeap().heap.sleep() is False


def test_a_sleeping_heap_touches_no_other(copy):
    asleep, awake = [copy() for _ in range(20)], copy()
    for number, js in enumerate(asleep):
        js(f"state.text = 'secret {number}'")
        js.heap.sleep()
    for number, js in enumerate(asleep):
        newcomer = copy()
        assert newcomer("state.text") == "start"
        newcomer("state.text = 'newcomer'")
        newcomer.heap.close()
        assert js("state.text") == f"secret {number}"
    assert awake("state.text") == "start"


def test_a_heap_keeps_its_image_alive():
    js = TestHeap(heap=image_of(b"var v = 'here';").heap())
    js.heap.sleep()
    assert js("v") == "here"


# What cannot be an image.

def builds(*sources):
    heaps = []
    for number, source in enumerate(sources):
        heaps.append(Heap(1 << 20, None, number))
        heaps[-1].load("program.js", PROGRAM)
        heaps[-1].load("part.js", source)
    return heaps


@pytest.mark.parametrize("sources", [
    (b"var a = 1;", b"var a = 2;", b"var a = 1;"), (b"var a = 1;", b"var a = 1;", b"var a = 2;"),
    (b"var a = 'x';", b"var a = 'xyz';", b"var a = 'x';"), (b"var a = 1.1;", b"var a = 1.1;", b"var a = 2.2;"),
    (b"var a = 'abc';", b"var a = 'abd';", b"var a = 'abc';"), (b"", b"", b"var b = [1, 2, 3];"),
    (b"var a = Math.random();",) * 3, (b"var a = {}; a['k' + Math.random()] = 1;",) * 3,
    (b"var a = new Date().getTime();", b"var a = new Date().getTime() + 4096;", b"var a = 0;"),
    # Numbers whose lower half is the same, as that of a tag with other padding is.
    *((b"var a = 1.25;", b"var a = 1.5;", third) for third in (b"var a = 1.25;", b"var a = 1.5;", b"var a = 1.75;")),
    (b"var a = 1.5;", b"var a = 1.5;", b"var a = 1.25;"), (b"var a = 0;", b"var a = 2;", b"var a = 0;"),
    (b"var a = 0;", b"var a = -0;", b"var a = 0;"), (b"var a = {n: 1};", b"var a = {n: 2};", b"var a = {n: 4};"),
    (b"var a = {n: 1, t: 'text'};", b"var a = {n: 2, t: 'text'};", b"var a = {n: 2, t: 'text'};"),
    (b"var a = [1.25, 'x', 1];", b"var a = [1.5, 'x', 1];", b"var a = [1.5, 'x', 1];"),
    (b"var a = [1, 2, 'x', 1.25];", b"var a = [1, 2, 'x', 1.5];", b"var a = [1, 2, 'x', 1.25];"),
    (b"var a = [1, 1, 1];", b"var a = [1, 2, 1];", b"var a = [1, 1, 1];"),
    (b"var a = 1.0000000000000018;", b"var a = 1.5000000000000018;", b"var a = 1.25;"),       # they end in a text's tag
    (b"var a = new Float64Array([1.25, 1.25]);", b"var a = new Float64Array([1.25, 1.5]);", b"var a = 1;"),
    (b"var a = new Float64Array([0, 1.25, 1]);", b"var a = new Float64Array([0, 1.5, 1]);") * 2,
    (b"var a = new Uint32Array([8, 1000000000]);", b"var a = new Uint32Array([8, 2000000000]);",
     b"var a = new Uint32Array([8, 1000000000]);"),
    (b"var a = (function (n) { return function () { return n++; }; }(1.25));",
     b"var a = (function (n) { return function () { return n++; }; }(1.5));",
     b"var a = (function (n) { return function () { return n++; }; }(1.5));"),
    (b"var a = function () { return 1.25; };", b"var a = function () { return 1.5; };", b"var a = function () { return 1.5; };"),
    (b"var a = /x/g; a.exec('xx');", b"var a = /x/g; a.exec('xx'); a.exec('xx');", b"var a = /x/g; a.exec('xx');"),
    (b"var a = 8 > 1;", b"var a = 8 < 1;", b"var a = 8 > 1;"),
], ids=lambda sources: sources[1].decode()[:40])
def test_builds_that_differ_are_refused(sources):
    heaps = builds(*sources[:3])
    with pytest.raises(NoImage):
        Image(heaps)
    assert all(heap.dead for heap in heaps)
    image_of(b"var after = 1;").heap().close()                  # the addresses are free again


def test_only_three_living_builds_make_an_image():
    heaps = builds(b"", b"")
    with pytest.raises(ValueError):
        Image([*heaps, Heap()])
    heaps[1].close()
    with pytest.raises(ValueError):
        Image([heaps[0], heaps[1], heaps[0]])
    heaps[0].close()


def test_an_address_that_is_taken_is_refused():
    first = Heap(1 << 20, None, 0)
    with pytest.raises(OSError, match="taken"):
        Heap(1 << 20, None, 0)
    first.close()
    Heap(1 << 20, None, 0).close()


@pytest.mark.parametrize("cap", [300_000, 262_144, 1 << 20])
def test_copies_are_recycled_whatever_their_size(cap):
    image = image_of(b"var a = 1;", heap_bytes=cap)
    image.heap().close()
    pooled = regions()[1]
    for _ in range(20):
        js = TestHeap(heap=image.heap())
        with pytest.raises((ScriptError, HeapDead)):
            js("var s = 'x'; for (;;) s += s")
        assert js.heap.dead or js.heap.limit_bytes >= cap
        js.heap.close()
    assert regions()[1] == pooled


# Copies of generated programs against fresh builds.

class Programs:
    """Random ES5 programs that keep state, with a function `probe(n)` that changes and shows it."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth=0):
        r = self.random
        kind = r.randrange(13 if depth < 3 else 7)
        if kind < 3:
            return repr(r.choice([0, 1, -1, 7, 2**31, -2**31 - 1, 0.5, 1e21, 3.14159, 4294967296, 5e-324]))
        if kind < 6:
            return "'" + r.choice(["", "a", "length", "x" * r.randrange(300),
                                   "\\u00e9\\ud83d\\ude00", "\\udcff", "__proto__x"]) + "'"
        if kind == 6:
            return r.choice(["null", "undefined", "true", "NaN", "-Infinity"])
        if kind < 9:
            return "[" + ", ".join(self.value(depth + 1) for _ in range(r.randrange(6))) + "]"
        if kind < 11:
            return "{" + ", ".join(f"k{r.randrange(50)}x{i}: {self.value(depth + 1)}" for i in range(r.randrange(6))) + "}"
        if kind == 11:
            return (f"(function (c) {{ var n = {r.randrange(100)}; "
                    f"return function (d) {{ n += d; return [n, c]; }}; }}({self.value(3)}))")
        return r.choice(["/a(b+)c/gi", "new Uint8Array([1, 2, 3])", "new Error('made')", "Object.create({up: 1})",
                         "new Array(20)", "Symbol('s')", "Math.sin", "parseInt.bind(null, '12')", "new Date(86400000)",
                         "new Float64Array(3)", "Object.freeze([1])",
                         "new Proxy({p: 1}, {})", "(function () { return arguments; }(1, 2))"])

    def statement(self, i):
        r = self.random
        return r.choice([
            f"var v{i} = {self.value()};",
            f"all['p{r.randrange(20)}'] = {self.value()};",
            f"all.list.push({self.value()});",
            f"all['dropped{i}'] = {self.value()}; delete all['dropped{i}'];",
            f"for (var i{i} = 0; i{i} < {r.randrange(60)}; i{i}++) all.list.push('t' + i{i} * {r.randrange(9)});",
            f"String.prototype.own{r.randrange(5)} = function () {{ return this.length + {r.randrange(9)}; }};",
            f"try {{ null.x{i}; }} catch (e) {{ all.caught{i} = String(e); }}",
            f"Object.defineProperty(all, 'g{i}', "
            f"{{configurable: true, enumerable: true, get: function () {{ return ++all.gets; }}}});",
            f"all.sorted{i} = [{', '.join(str(r.randrange(99)) for _ in range(r.randrange(12)))}].reverse();",
            f"all.text = (all.text + 'word{i} ').replace(/w(or)d/g, '$1').slice(-200);",
            f"var t{i} = new Duktape.Thread(function (x) {{ for (;;) x = Duktape.Thread.yield(x + 1); }});"
            f" all.list.push(Duktape.Thread.resume(t{i}, {i})); threads.push(t{i});",
            "Duktape.gc();",
        ])

    def program(self):
        body = "\n".join(self.statement(i) for i in range(self.random.randrange(1, 25)))
        return f"""
var all = {{list: [], gets: 0, text: ''}}, threads = [];
{body}
function show(key, value) {{
    return typeof value === 'function' ? 'f' + value.length + JSON.stringify(value.length === 1 ? value(3) : 0)
        : typeof value === 'symbol' ? 'symbol' : value instanceof RegExp ? String(value)
        : value === undefined ? 'undefined' : value !== value ? 'NaN' : value;
}}
function probe(n) {{
    all.list.push('probe' + n, {{n: n}}); all['n' + n] = 'text ' + n;
    threads.forEach(function (t) {{ all.list.push(Duktape.Thread.resume(t, n)); }});
    return JSON.stringify(all, show) + 'abc'.length + ('own1' in String.prototype ? 'x'.own1() : '-');
}}
"""


def test_copies_of_generated_programs_behave_like_fresh_builds():
    programs, refused = Programs(20261122), 0
    for number in range(1000):
        source = programs.program().encode()
        built = TestHeap(heap_bytes=2 << 20)
        built.heap.load("part1.js", source)
        try:
            image = image_of(source, heap_bytes=2 << 20)
        except NoImage:
            refused += 1
            continue
        one, two = TestHeap(heap=image.heap()), TestHeap(heap=image.heap())
        for n in range(3):
            expected = built(f"probe({n})")
            for js in (one, two):
                assert js(f"probe({n})") == expected, (number, source.decode())
            one.heap.collect()
            two.heap.sleep()
        for js in (built, one, two):
            js.heap.close()
    assert refused < 20, "images are refused too often"


def test_no_word_of_the_image_points_into_a_build(image):
    """A copy lives on after the builds are gone, and after their addresses are used for something else."""
    blockers = [Heap(1 << 20, None, number) for number in range(3)]
    js = TestHeap(heap=image.heap())
    js.heap.allow(5000)
    assert re.search("probe|state", js(INVENTORY))
    for _ in range(5):
        js.heap.collect()
        js("step('again')")
    for heap in blockers:
        heap.close()


def test_a_packed_image_is_as_good():
    """What processes of one parent share: bytes that anybody may map."""
    image = image_of(b"var a = [1, 2, {b: 3}];")
    packed = image.pack()
    memory = mmap.mmap(-1, len(packed) + 100)
    memory.write(packed)
    other = Image.unpack(memoryview(memory).toreadonly())
    assert (other.image_bytes, other.relocations) == (image.image_bytes, image.relocations)
    assert other.pack() == packed
    heaps = [TestHeap(heap=other.heap()) for _ in range(2)]
    del other
    assert heaps[0]("a.push(4); a[2].b + a.length") == 7
    assert heaps[0].heap.sleep()
    assert heaps[1]("a.length") == 3 and heaps[0]("a.length") == 4
    assert heaps[0]("Math.random()") != heaps[1]("Math.random()")
    with pytest.raises(BufferError):
        memory.close()                              # still in use
    for js in heaps:
        js.heap.close()
    heaps.clear()
    del js
    memory.close()


def test_what_is_no_image_is_not_unpacked():
    packed = image_of(b"var a = 1;").pack()
    for wrong in (b"", bytes(56), b"x" * len(packed), packed[:55], packed[:1000], packed[:-1],
                  packed[:8] + b"\xff" * 8 + packed[16:], packed[:-4] + b"\xff\xff\xff\x7f"):
        with pytest.raises(ValueError, match="holds no image"):
            Image.unpack(wrong)


def test_images_are_counted():
    before = images()
    image = image_of(b"var a = 1;")
    other = Image.unpack(image.pack())
    assert images() == before + 2
    del image
    assert images() == before + 1
    other = None
    assert images() == before and other is None
