"""policy/alarm.py: one time-out after the other on one timer, on a loop whose clock the test holds; and on a real one."""
import asyncio
import gc
import weakref

import pytest
import uvloop

from mailfilter.policy.alarm import Alarm


class Timer:
    def __init__(self, when, call):
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Time passes when the test says so; `made` counts timers."""

    def __init__(self):
        self.now, self.timers, self.made = 100.0, [], 0

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        self.made += 1
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def pass_time(self, seconds):
        end = self.now + seconds
        while True:
            due = [timer for timer in self.timers if not timer.cancelled and timer.when <= end]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.call()
        self.now = end


@pytest.fixture
def rung():
    return []


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def alarm(loop, rung):
    return Alarm(loop, lambda: rung.append(loop.now))


def test_it_rings_once_when_time_is_up(loop, alarm, rung):
    alarm.set(5)
    loop.pass_time(4.9)
    assert rung == []
    loop.pass_time(100)
    assert rung == [105.0] and loop.made == 1


def test_what_is_cleared_does_not_ring(loop, alarm, rung):
    alarm.set(5)
    alarm.clear()
    loop.pass_time(100)
    assert rung == []


def test_set_and_cleared_a_thousand_times_it_has_one_timer(loop, alarm, rung):
    for _ in range(1000):
        alarm.set(300)
        loop.pass_time(0.01)
        alarm.clear()
    assert loop.made == 1
    loop.pass_time(1000)
    assert rung == []


def test_a_later_time_takes_the_place_of_an_earlier_one(loop, alarm, rung):
    alarm.set(5)
    loop.pass_time(3)
    alarm.set(5)
    loop.pass_time(4)
    assert rung == []
    loop.pass_time(10)
    assert rung == [108.0]


def test_an_earlier_time_takes_the_place_of_a_later_one(loop, alarm, rung):
    alarm.set(300)
    loop.pass_time(1)
    alarm.clear()
    alarm.set(2)
    loop.pass_time(1000)
    assert rung == [103.0]


def test_a_shorter_time_than_before_needs_no_other_timer_where_that_was_long(loop, alarm, rung):
    alarm.set(300)
    loop.pass_time(1)
    alarm.set(25)
    assert loop.made == 1
    loop.pass_time(1000)
    assert rung == [126.0]


def test_it_can_be_set_again_by_what_it_calls(loop, rung):
    def ring():
        rung.append(loop.now)
        if len(rung) < 3:
            alarm.set(10)

    alarm = Alarm(loop, ring)
    alarm.set(10)
    loop.pass_time(1000)
    assert rung == [110.0, 120.0, 130.0]


def test_closed_it_rings_no_more_and_leaves_no_timer(loop, alarm, rung):
    alarm.set(5)
    alarm.close()
    alarm.close()
    assert all(timer.cancelled for timer in loop.timers)
    loop.pass_time(100)
    assert rung == []


def test_closed_it_lets_go_of_who_it_belongs_to():
    class Owner:
        def ring(self):
            raise AssertionError("it rang")

    owner = Owner()
    owner.alarm = Alarm(Loop(), owner.ring)
    owner.alarm.set(5)
    gone = weakref.ref(owner)
    owner.alarm.close()
    gc.disable()
    try:
        del owner
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_on_a_real_loop_it_does_not_ring_early(new_loop):
    async def wait():
        loop = asyncio.get_running_loop()
        rung = loop.create_future()
        alarm = Alarm(loop, lambda: rung.set_result(loop.time()))
        alarm.set(0.004)
        alarm.clear()
        due = loop.time() + 0.02
        alarm.set(0.02)
        at = await asyncio.wait_for(rung, 30)
        alarm.close()
        assert at >= due - 0.0015          # uvloop counts in milliseconds

    loop = new_loop()
    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()
