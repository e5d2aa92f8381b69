"""The allocator of heaps (arena.c), as a heap uses it and alone: compiled here, driven through ctypes."""
import ctypes
import shutil
import subprocess
import sysconfig
from random import Random

import pytest
from heaps import TestHeap
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import PROJECT

from mailfilter._core.heap import HeapDead, ScriptError, regions

CAP = 1 << 17      # small, so that it is reached


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    """arena.c as a library of its own."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("arena") / "arena.so"
    subprocess.run([compiler, "-O1", "-g", "-DMAILFILTER_DEBUG", "-shared", "-fPIC", "-o", library,
                    PROJECT / "mailfilter/_core/arena.c"], check=True, timeout=60)
    arena = ctypes.CDLL(str(library))
    for name in ("arena_open", "arena_alloc", "arena_realloc"):
        getattr(arena, name).restype = ctypes.c_void_p
    arena.arena_in_use.restype = arena.arena_pooled.restype = ctypes.c_size_t
    arena.arena_open.argtypes = [ctypes.c_size_t]
    arena.arena_close.argtypes = [ctypes.c_void_p]
    arena.arena_alloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    arena.arena_realloc.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    arena.arena_free.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return arena


class Blocks:
    """A region and what was allocated in it; each block is filled, and must stay so."""

    def __init__(self, arena, cap=CAP):
        self.arena, self.cap = arena, cap
        self.region = arena.arena_open(cap)
        self.blocks = {}
        self.number = 0

    def fill(self, at, size):
        self.number += 1
        byte = self.number % 255 + 1
        ctypes.memset(at, byte, size)
        self.blocks[at] = (size, byte)

    def check(self, at):
        size, byte = self.blocks[at]
        assert ctypes.string_at(at, size) == bytes([byte]) * size

    def alloc(self, size):
        at = self.arena.arena_alloc(self.region, size)
        if at is None:
            return None
        assert at % 8 == 0 and self.region < at and at + size <= self.region + self.cap
        for other, (length, _) in self.blocks.items():
            assert at + size <= other or other + length <= at
        self.fill(at, size)
        return at

    def realloc(self, at, size):
        self.check(at)
        old, byte = self.blocks.pop(at)
        new = self.arena.arena_realloc(self.region, at, size)
        if size == 0:
            assert new is None
            return
        if new is None:
            self.blocks[at] = (old, byte)       # it stays as it was
            self.check(at)
            return
        assert self.region < new and new + size <= self.region + self.cap
        assert ctypes.string_at(new, min(old, size)) == bytes([byte]) * min(old, size)
        for other, (length, _) in self.blocks.items():
            assert new + size <= other or other + length <= new
        self.fill(new, size)

    def free(self, at):
        self.check(at)
        del self.blocks[at]
        self.arena.arena_free(self.region, at)

    def close(self):
        for at in self.blocks:
            self.check(at)
        self.arena.arena_close(self.region)


SIZES = st.one_of(st.integers(1, 600), st.integers(1, 70_000), st.sampled_from([
    1, 8, 9, 503, 504, 505, 512, 513, 4096, CAP, CAP + 1, 1 << 40]))


@given(st.lists(st.tuples(st.sampled_from("aaarrf"), st.integers(0, 1000), SIZES), max_size=60))
@settings(max_examples=150)
def test_blocks_never_overlap_and_keep_what_is_in_them(arena, steps):
    blocks = Blocks(arena)
    for what, which, size in steps:
        places = sorted(blocks.blocks)
        if what == "a" or not places:
            blocks.alloc(size)
        elif what == "r":
            blocks.realloc(places[which % len(places)], size if which % 7 else 0)
        else:
            blocks.free(places[which % len(places)])
    blocks.close()


@pytest.mark.parametrize("size", [*range(1, 530), *(n + d for n in (1 << k for k in range(9, 19)) for d in (-1, 0, 1)),
                                  3 << 15])
def test_a_freed_block_is_used_again_for_the_same_size(arena, size):
    blocks = Blocks(arena, 1 << 20)
    first, guard = blocks.alloc(size), blocks.alloc(16)
    blocks.free(first)
    assert blocks.alloc(size) == first
    blocks.check(guard)
    blocks.close()


def test_sizes_of_nothing(arena):
    region = arena.arena_open(CAP)
    assert arena.arena_alloc(region, 0) is None
    arena.arena_free(region, None)
    assert arena.arena_realloc(region, None, 0) is None
    at = arena.arena_realloc(region, None, 10)
    assert at and arena.arena_realloc(region, at, 0) is None
    arena.arena_close(region)


def test_the_newest_block_grows_in_place_and_gives_back(arena):
    region = arena.arena_open(CAP)
    at = arena.arena_alloc(region, 100)
    for size in (1000, 10_000, 60_000):
        assert arena.arena_realloc(region, at, size) == at
    assert arena.arena_realloc(region, at, CAP) is None        # does not fit any more, the block stays
    arena.arena_free(region, at)
    assert arena.arena_alloc(region, 60_000) == at
    arena.arena_close(region)


@pytest.mark.parametrize("newest", [True, False])
def test_a_block_that_shrinks_gives_the_rest_back(arena, newest):
    region = arena.arena_open(CAP)
    at = arena.arena_alloc(region, 100_000)
    behind = None if newest else arena.arena_alloc(region, 8)
    ctypes.memset(at, 7, 100_000)
    assert arena.arena_realloc(region, at, 1000) == at and ctypes.string_at(at, 1000) == b"\7" * 1000
    others = [arena.arena_alloc(region, 20_000) for _ in range(4)]
    assert all(at < other < at + 100_000 for other in others)
    arena.arena_free(region, at)
    if behind:
        arena.arena_free(region, behind)
    for other in others:
        arena.arena_free(region, other)
    assert arena.arena_alloc(region, 110_000) == at             # in one piece again
    arena.arena_close(region)


@pytest.mark.parametrize("size", [8, 100, 5000, 100_000])
def test_the_cap_holds_for_every_size(arena, size):
    region = arena.arena_open(1 << 18)
    given, ends = 0, [region]
    while at := arena.arena_alloc(region, size):
        given += 1
        assert at >= ends[-1]
        ends.append(at + size)
    assert ends[-1] <= region + (1 << 18)
    assert size > 5000 or given * (size + 24) > (1 << 18) * 0.8 - 4096
    arena.arena_close(region)


def test_regions_are_pooled_by_size_up_to_a_limit(arena):
    used = arena.arena_in_use()
    for cap in (1, 5000, 65_536, 70_001):
        region = arena.arena_open(cap)
        arena.arena_close(region)
        assert arena.arena_open(cap) == region
        arena.arena_close(region)
    many = [arena.arena_open(65_536) for _ in range(300)]
    assert len(set(many)) == 300 and arena.arena_in_use() == used + 300
    for region in many:
        arena.arena_close(region)
    assert arena.arena_in_use() == used and arena.arena_pooled() <= 256


def test_in_the_debug_build_nothing_is_left_in_a_recycled_region(arena):
    region = arena.arena_open(200_000)
    at = arena.arena_alloc(region, 100_000)
    ctypes.memmove(at, b"secret" * 10_000, 60_000)
    arena.arena_close(region)
    assert arena.arena_open(200_000) == region
    assert b"secret" not in ctypes.string_at(region, 200_000)
    arena.arena_close(region)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_cut_into_pieces_serves_large_blocks_again(arena, seed):
    random = Random(seed)
    sizes = [random.randrange(100, 9000) for _ in range(30)]
    blocks = Blocks(arena)
    while any(blocks.alloc(size) for size in sizes):
        pass
    places = list(blocks.blocks)
    random.shuffle(places)
    for at in places:
        blocks.free(at)
    assert blocks.alloc(CAP * 2 // 3)
    blocks.close()


def test_sizes_that_never_come_again_do_not_use_up_a_heap():
    random = Random(1)
    js = TestHeap(answer=lambda n: b"x" * n, heap_bytes=4 << 20)
    for _ in range(500):
        size = random.randrange(1, 1 << 19)
        assert js(f"var text = now({size}); text.length") == size


@pytest.mark.parametrize("cap", [1 << 20, 4 << 20])
def test_objects_that_come_and_go_do_not_use_up_a_heap(cap):
    random = Random(2)
    js = TestHeap(heap_bytes=cap)
    js.heap.allow(5000)
    js("function work(n) { var s = [], i;"
       " for (i = 0; i < n; i++) s.push({k: 'text' + i, r: /x/, f: function () {}}); return s.length; }")
    for _ in range(200):
        js(f"work({random.randrange(1, 300)})")
    js.heap.collect()
    assert js.heap.used_bytes - js.heap.free_bytes < 300_000


def test_many_heaps_at_once_are_apart():
    in_use = regions()[0]
    heaps = [TestHeap(heap_bytes=256 << 10) for _ in range(300)]
    for number, js in enumerate(heaps):
        js(f"var mine = 'heap {number}'")
    for number, js in enumerate(heaps):
        try:
            js("for (var s = 'x'; ; s += s) ;")
        except (ScriptError, HeapDead):
            pass
        if number % 2:
            js.heap.close()
    for number, js in enumerate(heaps):
        if number % 2 == 0 and not js.heap.dead:
            assert js("s = null; mine") == f"heap {number}"
            js.heap.close()
    assert regions()[0] <= in_use + sum(not js.heap.dead for js in heaps)
