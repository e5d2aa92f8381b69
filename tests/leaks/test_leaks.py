"""Nothing is left over: heaps in a process of their own (heaps_come_and_go.py), and whole sessions through a server."""
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from peers.sender import Closed, Sender
from serving import PROJECT

HEAPS = 3000
SESSIONS = 360
LIMITED = (b"memory", b"slice", b"operations", b"session", b"recursion")
# What memory may grow by: a region's pages that are touched for the first time, not what a leak adds for each.
HEAPS_GROWTH_BYTES = 2 << 20
SESSIONS_GROWTH_KIB = 6 << 10

POLICY = PROJECT / "bench/policies/limits.js"


def test_heaps_that_end_in_every_way_leave_nothing():
    done = subprocess.run([sys.executable, Path(__file__).with_name("heaps_come_and_go.py"), str(HEAPS)], cwd=PROJECT,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, timeout=55,
                          check=False)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)
    assert left["regions"] == 0 and 0 < left["pooled"] <= 64
    assert left["references"] == [0] * len(left["references"])
    assert abs(left["blocks"]) < HEAPS / 20, left
    assert left["grown"] < HEAPS_GROWTH_BYTES, left


def resident_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def session(port, number):
    """One session; every second one meets a limit."""
    with Sender(port) as sender:
        sender.hello()
        if number % 2 == 0:
            sender.deliver(b"Subject: x\r\n\r\ntext\r\n")
            assert sender.command(b"QUIT").code == 221
            return
        kind = LIMITED[number // 2 % len(LIMITED)]
        assert sender.command(b"MAIL FROM:<" + kind + b"@client.test>").code in (421, 451)
        if number % 3 == 0:
            try:
                sender.command(b"NOOP")
            except Closed:
                pass


@pytest.mark.parametrize("idle_s", [600, 0.001], ids=["awake", "asleep"])
def test_sessions_that_meet_limits_leave_nothing(serve, idle_s):
    server = serve(POLICY, timeouts={"idle_heap": idle_s}, limits={
        "slice_ms": 5, "session_ms": 50, "operations": 100, "heap_bytes": 2 << 20})
    memory, files = [], []
    for number in range(SESSIONS):
        session(server.port, number)
        if number % 10 == 9:
            memory.append(resident_kib(server.process.pid))
            files.append(len(os.listdir(f"/proc/{server.process.pid}/fd")))
    third = len(memory) // 3
    assert statistics.median(memory[-third:]) - statistics.median(memory[:third]) < SESSIONS_GROWTH_KIB, memory
    assert max(files[-third:]) <= max(files[:third]) + 2, files
