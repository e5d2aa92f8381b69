"""_core/tally.pyx: counting by key in memory that processes share."""
import random

import pytest

from mailfilter._core.tally import PART_BYTES, Tally

SECRET = bytes(range(16))


def tallies(parts=1):
    memory = bytearray(PART_BYTES * parts)
    return [Tally(memory, 0, parts, part, SECRET) for part in range(parts)]


def test_keys_are_siphash_2_4():
    """The vectors of the paper: SipHash-2-4 of 0, 1, 2, … with the key 0 to 15."""
    (tally,) = tallies()
    assert tally.key(bytes(range(15))) == 0xA129CA6149BE45E5
    assert tally.key(b"") == 0x726FDB47DD0E0E31
    assert tally.key(bytes(range(8))) == 0x93F5F5799A932462


def test_keys_depend_on_the_secret():
    memory = bytearray(PART_BYTES)
    assert Tally(memory, 0, 1, 0, SECRET).key(b"x") != Tally(memory, 0, 1, 0, bytes(16)).key(b"x")


def test_what_is_added_is_counted_until_it_is_taken():
    (tally,) = tallies()
    key, other = tally.key(b"a"), tally.key(b"b")
    assert tally.count(key) == 0
    tally.add(key)
    tally.add(key)
    assert (tally.count(key), tally.count(other)) == (2, 0)
    tally.take(key)
    assert tally.count(key) == 1
    tally.take(key)
    tally.take(key)             # once too often: it stays at nothing
    assert tally.count(key) == 0


def test_the_sum_of_all_parts_counts():
    first, second, third = tallies(3)
    key = first.key(b"a")
    assert second.key(b"a") == key
    first.add(key)
    second.add(key)
    second.add(key)
    assert [tally.count(key) for tally in (first, second, third)] == [3, 3, 3]
    second.take(key)
    assert first.count(key) == 2


def test_it_never_counts_too_little_and_hardly_too_much():
    (tally,) = tallies()
    rng = random.Random(1)
    truth = {}
    for _ in range(20_000):
        key = tally.key(b"client %d" % rng.randrange(5000))
        truth[key] = truth.get(key, 0) + 1
        tally.add(key)
    assert all(tally.count(key) >= count for key, count in truth.items())
    assert sum(tally.count(key) > count for key, count in truth.items()) / len(truth) < 0.1
    strangers = [tally.count(tally.key(b"stranger %d" % number)) for number in range(5000)]
    assert max(strangers) <= 20 and sum(strangers) / len(strangers) < 0.5


def test_notes_are_counted_over_a_period():
    (tally,) = tallies()
    key = tally.key(b"a")
    assert tally.lately(key, 1000.0, 60.0) == 0
    for second in range(1020, 1080):            # a minute of the clock, one a second
        tally.note(key, float(second), 60.0)
    assert tally.lately(key, 1079.0, 60.0) == 60
    assert tally.lately(key, 1110.0, 60.0) == pytest.approx(30)      # half a minute later, half of them
    tally.note(key, 1110.0, 60.0)
    assert tally.lately(key, 1110.0, 60.0) == pytest.approx(31)
    assert tally.lately(key, 1139.9, 60.0) == pytest.approx(1, abs=0.2)
    assert tally.lately(key, 1140.0, 60.0) == pytest.approx(1)
    assert tally.lately(key, 1200.0, 60.0) == 0
    tally.note(key, 5000.0, 60.0)               # the cells of long ago are emptied first
    assert tally.lately(key, 5000.0, 60.0) == 1


def test_notes_of_other_parts_are_counted_when_they_are_of_this_period():
    first, second = tallies(2)
    key = first.key(b"a")
    second.note(key, 30.0, 60.0)
    assert first.lately(key, 31.0, 60.0) == 1
    assert first.lately(key, 90.0, 60.0) == pytest.approx(0.5)
    assert first.lately(key, 150.0, 60.0) == 0  # second has not emptied its cells, they are only too old
    first.note(key, 150.0, 60.0)
    assert second.lately(key, 150.0, 60.0) == 1


@pytest.mark.parametrize("arguments", [
    (bytearray(PART_BYTES), 0, 1, 1, SECRET), (bytearray(PART_BYTES), 0, 2, 0, SECRET), (bytearray(PART_BYTES), 8, 1, 0, SECRET),
    (bytearray(PART_BYTES), 0, 0, 0, SECRET), (bytearray(PART_BYTES), 0, 1, -1, SECRET), (bytearray(PART_BYTES), 0, 1, 0, b"x"),
    (bytearray(PART_BYTES + 8), 4, 1, 0, SECRET)])
def test_wrong_parts_and_memory_are_refused(arguments):
    with pytest.raises(ValueError):
        Tally(*arguments)


def test_memory_that_cannot_be_written_is_refused():
    with pytest.raises(BufferError):
        Tally(bytes(PART_BYTES), 0, 1, 0, SECRET)


def test_the_memory_cannot_go_away_under_it():
    memory = bytearray(PART_BYTES)
    tally = Tally(memory, 0, 1, 0, SECRET)
    with pytest.raises(BufferError):
        memory.clear()
    assert tally.part == 0
