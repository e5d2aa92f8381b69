"""CPU time of a process and all its descendants, in seconds, to the nanosecond.

The kernel keeps a CPU clock (user and system together, all threads, those that ended too) for each process, and any
process may read it; `/proc/PID/stat` has the same in ticks of 10 ms, too coarse for a message of 50 µs.
Linux only. Must not know what is measured.
"""
import os
import time

_TICK = os.sysconf("SC_CLK_TCK")


def _clock(pid):
    """The kernel's id of another process's CPU clock: the complement of the pid, with type 2 in the low bits."""
    return (~pid << 3) | 2


def descendants(root):
    """The pids of a process and of everything under it."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except FileNotFoundError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                    todo.extend(int(word) for word in children.read().split())
            except FileNotFoundError:
                pass
    return found


def _children_seconds(pid):
    """User and system seconds of the children of a process that have ended; in ticks, for there is no clock of them."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as line:
            fields = line.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / _TICK


def cpu_seconds(root):
    """User and system seconds used so far by the tree, those of its processes that have ended included."""
    total = 0.0
    for pid in descendants(root):
        total += _children_seconds(pid)
        try:
            total += time.clock_gettime(_clock(pid))
        except OSError:  # ended between the two looks
            pass
    return total


def settled_cpu_seconds(root, limit_s=5.0):
    """The same, once the tree has gone quiet (under 1 ms in 50 ms), so that work left over is counted too."""
    end = time.monotonic() + limit_s
    before = cpu_seconds(root)
    while True:
        time.sleep(0.05)
        now = cpu_seconds(root)
        if now - before < 0.001 or time.monotonic() > end:
            return now
        before = now
