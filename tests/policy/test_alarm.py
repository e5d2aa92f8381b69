"""policy/alarm.py: one time-out after the other, many on one timer, on a loop whose clock the test holds; and on a real one."""
import asyncio
import gc
import weakref

import pytest
import uvloop

from mailfilter.policy.alarm import COARSE_S, GRAIN_S, Alarm


class Timer:
    def __init__(self, when, call):
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Time passes when the test says so; `made` counts timers."""

    def __init__(self):
        self.now, self.timers, self.made, self.told = 100.0, [], 0, []

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        self.made += 1
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def call_exception_handler(self, context):
        self.told.append(context)

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


def late_by_a_grain(*times):
    """What `rung` equals when it has rung at those times, or up to GRAIN_S after them; never before."""
    return [pytest.approx(time + GRAIN_S / 2, abs=GRAIN_S / 2) for time in times]


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
    assert rung == late_by_a_grain(105.0) and loop.made == 1


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
    assert rung == late_by_a_grain(108.0)


def test_an_earlier_time_takes_the_place_of_a_later_one(loop, alarm, rung):
    alarm.set(300)
    loop.pass_time(1)
    alarm.clear()
    alarm.set(2)
    loop.pass_time(1000)
    assert rung == late_by_a_grain(103.0)


def test_a_shorter_time_than_before_needs_no_other_timer_where_that_was_long(loop, alarm, rung):
    alarm.set(300)
    loop.pass_time(1)
    alarm.set(125)
    assert loop.made == 1
    loop.pass_time(1000)
    assert rung == late_by_a_grain(226.0)


def test_it_can_be_set_again_by_what_it_calls(loop, rung):
    def ring():
        rung.append(loop.now)
        if len(rung) < 3:
            alarm.set(10)

    alarm = Alarm(loop, ring)
    alarm.set(10)
    loop.pass_time(1000)
    assert len(rung) == 3
    assert all(10 <= after - before <= 10 + GRAIN_S for before, after in zip([100.0, *rung], rung, strict=False))


def test_closed_it_rings_no_more_and_leaves_no_timer(loop, alarm, rung):
    alarm.set(5)
    alarm.close()
    alarm.close()
    loop.pass_time(100)
    assert rung == []


def test_closed_a_short_one_leaves_no_timer(loop, alarm, rung):
    alarm.set(0.5)
    alarm.close()
    assert all(timer.cancelled for timer in loop.timers)
    loop.pass_time(100)
    assert rung == []


def test_a_short_one_rings_in_its_moment(loop, alarm, rung):
    alarm.set(COARSE_S * 0.7)
    loop.pass_time(100)
    assert rung == [100.7]


def test_the_last_part_of_a_wait_is_exact(loop, alarm, rung):
    alarm.set(5)
    loop.pass_time(0.3)
    alarm.set(5)
    loop.pass_time(100)
    assert rung == [105.3]          # it looks at 105, and has 0.3 left


def test_many_share_one_timer(loop, rung):
    alarms = [Alarm(loop, lambda: rung.append(loop.now)) for _ in range(500)]
    for alarm in alarms:
        alarm.set(30)
    assert loop.made == 1
    for alarm in alarms[:200]:
        alarm.close()
    loop.pass_time(100)
    assert rung == late_by_a_grain(*[130.0] * 300) and loop.made == 1


def test_each_rings_in_its_turn_whatever_the_order_of_setting(loop):
    rung = []
    for seconds in (7, 3, 300, 5, 1, 30):
        Alarm(loop, lambda seconds=seconds: rung.append((seconds, loop.now))).set(seconds)
    loop.pass_time(1000)
    assert [seconds for seconds, _ in rung] == [1, 3, 5, 7, 30, 300]
    assert [when for _, when in rung] == late_by_a_grain(101, 103, 105, 107, 130, 400)
    assert all(timer.cancelled for timer in loop.timers)


def test_one_that_fails_does_not_keep_the_others(loop, rung):
    def fail():
        raise ZeroDivisionError

    Alarm(loop, fail).set(5)
    Alarm(loop, lambda: rung.append(loop.now)).set(5)
    Alarm(loop, lambda: rung.append(loop.now)).set(6)
    loop.pass_time(100)
    assert rung == late_by_a_grain(105, 106)
    assert [type(context["exception"]) for context in loop.told] == [ZeroDivisionError]


def test_one_that_another_closes_in_the_same_moment_does_not_ring(loop, rung):
    pair = []

    def ring():
        rung.append(loop.now)
        for alarm in pair:
            alarm.close()

    pair += [Alarm(loop, ring), Alarm(loop, ring)]
    for alarm in pair:
        alarm.set(5)
    loop.pass_time(100)
    assert len(rung) == 1


def test_two_loops_have_their_own(rung):
    loops = [Loop(), Loop()]
    for loop in (*loops, *loops):
        Alarm(loop, lambda loop=loop: rung.append(loop)).set(5)
    loops[0].pass_time(100)
    assert rung == [loops[0]] * 2
    loops[1].pass_time(100)
    assert rung == [loops[0]] * 2 + [loops[1]] * 2


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


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_on_a_real_loop_the_wheel_turns(new_loop):
    async def wait():
        loop = asyncio.get_running_loop()
        rung, done = [], loop.create_future()

        def ring():
            rung.append(loop.time())
            if len(rung) == 2:
                done.set_result(None)

        begun = loop.time()
        alarms = [Alarm(loop, ring), Alarm(loop, ring)]
        for alarm in alarms:
            alarm.set(COARSE_S)
        await asyncio.wait_for(done, 30)
        assert all(when >= begun + COARSE_S - 0.0015 for when in rung)
        for alarm in alarms:
            alarm.close()

    loop = new_loop()
    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()
