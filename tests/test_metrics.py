"""metrics.py: the table, slots, rows shared by processes; and that its labels are what the program has."""
import dataclasses
import re
import subprocess
import sys
import time
import timeit

import pytest
from serving import PROJECT

from mailfilter import config, metrics
from mailfilter._core import session
from mailfilter._core.event import EVENT_NAMES
from mailfilter.policy import inspection


def test_the_table_is_sound():
    names = [metric.name for metric in metrics.TABLE]
    assert len(set(names)) == len(names)
    for metric in metrics.TABLE:
        assert re.fullmatch("[a-z][a-z_]*", metric.name) and metric.help.endswith(".") and metric.unit
        assert metric.kind in (metrics.COUNTER, metrics.GAUGE, metrics.HISTOGRAM)
        assert metric.name.endswith("_total") is (metric.kind == metrics.COUNTER)
        assert list(metric.bounds) == sorted(metric.bounds) and bool(metric.bounds) is (metric.kind == metrics.HISTOGRAM)
        for values in metric.labels.values():
            assert len(set(values)) == len(values)


def values(name, label):
    (metric,) = [metric for metric in metrics.TABLE if metric.name == name]
    return set(metric.labels[label])


def test_labels_are_what_the_program_has():
    assert values("limits_total", "limit") == {field.name for field in dataclasses.fields(config.Limits)}
    assert values("timeouts_total", "timeout") == {field.name for field in dataclasses.fields(config.Timeouts)}
    assert values("rejected_total", "reply") == set(session.REPLIES) | {"storage", "other"}
    assert set(metrics.HANDLERS) == inspection.HANDLERS | {"other"}
    assert set(metrics.COMMANDS) - {"other"} < set(EVENT_NAMES)


def test_what_is_not_in_the_table_cannot_be_counted():
    for name, *labels in (("nothing_total",), ("connections_total", "x"), ("messages_total",), ("messages_total", "x")):
        with pytest.raises(KeyError):
            metrics.slot(name, *labels)


def test_slots_do_not_overlap():
    taken = []
    for metric in metrics.TABLE:
        for combination in metric.combinations():
            place = metrics.slot(metric.name, *combination)
            taken += range(place, place + metric.width)
    assert sorted(taken) == list(range(len(taken)))


def test_a_histogram():
    place = metrics.slot("message_bytes")
    (before, total), = [found[0][1] for metric, found in metrics.totals() if metric.name == "message_bytes"]
    for octets in (1, 1024, 1025, 1 << 30):
        metrics.observe(place, octets)
    (after, new_total), = [found[0][1] for metric, found in metrics.totals() if metric.name == "message_bytes"]
    grown = [new[1] - old[1] for new, old in zip(after, before, strict=True)]
    assert grown == [2, 3, 3, 3, 3, 3, 3, 3, 3, 4] and new_total - total == 1 + 1024 + 1025 + (1 << 30)


FORKED = """
import os
from mailfilter import metrics
accepted, workers = metrics.slot("messages_total", "accepted"), metrics.slot("workers")
metrics.count(accepted, 5)
metrics.share(3)
def worker(row, times):
    child = os.fork()
    if child == 0:
        metrics.begin(row)
        for _ in range(times):
            metrics.count(accepted)
        metrics.put(workers, 1)
        os._exit(0)
    os.waitpid(child, 0)
worker(1, 1000)
worker(2, 100)
worker(1, 10)
metrics.count(accepted)
print(metrics.total(accepted), metrics.total(workers))
metrics.end(1)
print(metrics.total(accepted), metrics.total(workers))
"""


def test_processes_count_together():
    """Counters of a dead worker stay and its successor goes on with them; its gauges are gone."""
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["1116.0", "2.0", "1116.0", "1.0"]


def test_counting_is_cheap():
    """Some 80 ns; a microsecond would show in the CPU of a message."""
    place = metrics.slot("internal_errors_total")
    seconds = min(timeit.repeat(lambda: metrics.count(place, 0), timer=time.thread_time, number=20_000, repeat=5)) / 20_000
    assert seconds < 2e-6, f"{seconds * 1e9:.0f} ns"
