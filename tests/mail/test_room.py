"""mail/room.py: what large bodies share is never more than there is, and all of it comes back."""
import random
import threading

import pytest

from mailfilter import metrics
from mailfilter.mail.room import BODIES, STEP, Room, Share
from mailfilter.mail.spool import Spool

MIB = 1 << 20
PIECE = b"a line of text, again and again\r\n" * 1000


def fill(spool, size):
    """Write so many octets or a little more; their number."""
    done = 0
    while done < size:
        spool.write(PIECE)
        done += len(PIECE)
    return done


def counted(name, *labels):
    """What a counter or a gauge says now."""
    return next(value for metric, found in metrics.totals() if metric.name == name
                for combination, value in found if combination == labels)


def test_a_share_grows_in_steps_up_to_an_eighth():
    room = Room(32 * STEP)
    share = Share(room)
    for octets, taken in ((1, STEP), (STEP, STEP), (STEP + 1, 2 * STEP), (5, 2 * STEP), (4 * STEP, 4 * STEP)):
        assert share.grow(octets) and room.taken == share.octets == taken
    assert not share.grow(4 * STEP + 1) and room.taken == share.octets == 4 * STEP
    del share
    assert room.taken == 0


def test_no_more_than_there_is():
    room = Room(BODIES * STEP + STEP - 1)
    shares = [Share(room) for _ in range(BODIES + 1)]
    assert [share.grow(10) for share in shares] == [True] * BODIES + [False]
    shares.pop(0)
    assert shares[-1].grow(10)


def test_no_room_for_anybody_is_no_limit_that_is_reached():
    before = counted("limits_total", "spool_shared_bytes")
    assert not Share(Room(0)).grow(1)
    assert counted("limits_total", "spool_shared_bytes") == before
    assert not Share(Room(100)).grow(1)
    assert counted("limits_total", "spool_shared_bytes") == before + 1


def test_a_gauge_tells_how_much_is_taken():
    room = Room(64 * MIB)
    share = Share(room)
    share.grow(MIB)
    assert counted("spool_shared_bytes") == MIB
    del share
    assert counted("spool_shared_bytes") == 0


def test_a_body_stays_in_memory_while_there_is_room(tmp_path):
    room = Room(8 * MIB)
    large = Spool(memory_bytes=1000, directory=tmp_path / "missing", room=room)
    size = fill(large, MIB - 2 * len(PIECE))
    large.finish(size)
    assert large.in_memory and b"".join(large.chunks()) == PIECE * (size // len(PIECE)) and room.taken == MIB
    small = Spool(memory_bytes=100_000, room=room)
    small.finish(fill(small, 60_000))
    assert small.in_memory and room.taken == MIB
    huge = Spool(memory_bytes=1000, directory=tmp_path, room=room)
    size = fill(huge, 3 * MIB)
    assert not huge.in_memory and room.taken == MIB
    huge.finish(size)
    assert b"".join(huge.chunks()) == PIECE * (size // len(PIECE))
    large.close()
    assert room.taken == 0


def test_who_reads_a_body_that_is_closed_still_has_its_share():
    room = Room(8 * MIB)
    spool = Spool(memory_bytes=1000, room=room)
    size = fill(spool, 300_000)
    spool.finish(size)
    reader = spool.chunks()
    first = next(reader)
    spool.close()
    assert room.taken == 2 * STEP
    assert len(first + b"".join(reader)) == size
    del reader
    assert room.taken == 0


def test_a_forgotten_body_gives_its_share_back():
    room = Room(8 * MIB)
    for _ in range(30):
        fill(Spool(memory_bytes=0, room=room), 900_000)
    assert room.taken == 0


@pytest.mark.parametrize("memory_bytes", [10, 1 << 20])
def test_a_large_body_with_dots_is_read_in_pieces(memory_bytes):
    spool = Spool(memory_bytes=memory_bytes)
    for _ in range(30):
        spool.write(b"..dot\r\n" * 3000)
    spool.finish(30 * 3000 * 6)
    pieces = list(spool.chunks())
    assert len(pieces) > 1 and b"".join(pieces) == b".dot\r\n" * 90_000


def test_threads():
    room = Room(BODIES * 4 * STEP)

    def work(seed):
        chance = random.Random(seed)
        for _ in range(2000):
            share = Share(room)
            share.grow(chance.randrange(1, 4 * STEP))
            assert room.taken <= room.octets

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert room.taken == 0
