"""The pool of connections to next hops, without connections: what is kept, for whom, how long."""
import pytest

from mailfilter.net.pool import Pool


class Timer:
    def __init__(self, call):
        self.call, self.cancelled = call, False

    def cancel(self):
        self.cancelled = True


class Loop:
    def __init__(self):
        self.timers = []

    def call_later(self, seconds, function, *arguments):
        self.timers.append(Timer(lambda: function(*arguments)))
        self.timers[-1].seconds = seconds
        return self.timers[-1]


class Hop:
    pristine = True
    on_idle_end = None

    def __init__(self):
        self.ends = []

    def leave(self):
        self.ends.append("left")

    def close(self):
        self.ends.append("closed")


@pytest.fixture
def loop():
    return Loop()


def test_a_connection_is_found_by_its_key_and_once(loop):
    pool, hop = Pool(loop, 5, 10), Hop()
    assert pool.keep(("a", 25), hop, ["hello"]) and len(pool) == 1
    assert pool.take(("b", 25)) is None
    assert pool.take(("a", 25)) == (hop, ["hello"])
    assert pool.take(("a", 25)) is None and len(pool) == 0
    assert loop.timers[0].cancelled and hop.on_idle_end is None and hop.ends == []


def test_the_one_that_was_used_last_is_taken_first(loop):
    pool, hops = Pool(loop, 5, 10), [Hop(), Hop(), Hop()]
    for hop in hops:
        pool.keep("a", hop, None)
    assert [pool.take("a")[0] for _ in hops] == hops[::-1]


def test_only_so_many_are_kept(loop):
    pool = Pool(loop, 2, 10)
    assert [pool.keep(key, Hop(), None) for key in "abc"] == [True, True, False]
    assert len(pool) == 2
    assert not Pool(loop, 0, 10).keep("a", Hop(), None)


def test_one_that_is_not_clean_is_not_kept(loop):
    hop = Hop()
    hop.pristine = False
    pool = Pool(loop, 5, 10)
    assert not pool.keep("a", hop, None) and len(pool) == 0 and loop.timers == []


def test_after_its_time_it_is_left(loop):
    pool, hop = Pool(loop, 5, 10), Hop()
    pool.keep("a", hop, None)
    assert loop.timers[0].seconds == 10
    loop.timers[0].call()
    assert hop.ends == ["left"] and pool.take("a") is None and len(pool) == 0


def test_whatever_happens_on_it_ends_it(loop):
    pool, hop = Pool(loop, 5, 10), Hop()
    pool.keep("a", hop, None)
    hop.on_idle_end()
    assert hop.ends == ["closed"] and pool.take("a") is None and loop.timers[0].cancelled


def test_the_end_of_the_worker(loop):
    pool, hops = Pool(loop, 5, 10), [Hop(), Hop(), Hop()]
    for key, hop in zip("aab", hops, strict=True):
        pool.keep(key, hop, None)
    pool.close()
    assert [hop.ends for hop in hops] == [["left"]] * 3 and len(pool) == 0
