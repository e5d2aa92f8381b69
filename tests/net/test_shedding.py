"""net/shedding.py: how hard pressed a worker is. Time, memory and files are the test's own."""
import os

import pytest

from mailfilter import config
from mailfilter.net import shedding
from mailfilter.net.shedding import BEAT_S, EXEMPT, Pressure, free_memory


class World:
    """A clock, memory and files that the test sets; `loop` is what Pressure sees of an event loop."""

    def __init__(self, **limits):
        self.now, self.free, self.files = 100.0, 1 << 30, True
        self.lines = []
        self.pressure = Pressure(config.Limits().replaced(limits, "test"), self, clock=lambda: self.now,
                                 free=lambda: self.free, can_open=lambda: self.files)
        self.pressure.start(self)

    def write(self, severity, session, text, **details):
        self.lines.append((text, details))

    def call_later(self, seconds, callback):
        self.callback = callback
        return self

    def cancel(self):
        self.callback = None

    def beat(self, late=0.0, times=1):
        for _ in range(times):
            self.now += BEAT_S + late
            self.callback()
        return self.pressure.level, self.pressure.cause


def test_all_is_well():
    assert World().beat(times=10) == (0.0, "")


def test_a_loop_that_lags_is_pressure_in_proportion():
    world = World(lag_ms=100)
    world.beat(late=0.25)
    level, cause = world.beat(late=0.2)
    assert cause == "lag" and level == pytest.approx(2.0)
    assert world.beat(late=0.05) == (0.0, "")


def test_one_long_step_is_no_pressure():
    world = World(lag_ms=100)
    assert world.beat(late=5.0) == (0.0, "")
    assert world.beat(late=0.0) == (0.0, "")


def test_memory_that_runs_short_is_pressure():
    world = World(free_memory_bytes=1000)
    world.free = 1000
    assert world.beat(times=8) == (0.0, "")
    world.free = 400
    assert world.beat(times=4) == (2.5, "memory")
    world.free = 0
    assert world.beat(times=4) == (1000.0, "memory")
    world.free = None                   # nobody knows
    assert world.beat(times=4) == (0.0, "")


def test_no_more_files_is_the_worst():
    world = World()
    world.files = False
    assert world.beat(times=4) == (EXEMPT, "files")


def test_zero_switches_it_off():
    world = World(lag_ms=0, free_memory_bytes=0)
    world.free = 0
    assert world.beat(late=100.0, times=8) == (0.0, "")


def test_it_is_told_once_a_minute_and_stops():
    world = World(lag_ms=100)
    world.beat(late=1.0, times=20)
    assert len(world.lines) == 1 and world.lines[0][1]["cause"] == "lag"
    world.beat(late=1.0, times=60)
    assert len(world.lines) == 2
    world.pressure.stop()
    assert world.callback is None


def test_the_machine_s_memory_is_known():
    assert 1 << 20 < free_memory() < 1 << 50
    assert shedding._can_open()


@pytest.mark.parametrize("limit, left", [("max", None), ("1000", 1000 - 700 + 300), ("100", 0)])
def test_the_control_group_s_memory_counts(tmp_path, monkeypatch, limit, left):
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    monkeypatch.setattr(shedding, "_CGROUP", str(tmp_path))
    assert shedding._of_group() == left
    os.remove(tmp_path / "memory.max")
    assert shedding._of_group() is None
