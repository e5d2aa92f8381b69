"""Standalone: heaps made, used, failed, stopped, put to sleep and ended in every state; prints what is left as JSON.

Run by tests/leaks/test_leaks.py in a process of its own, so that nothing else allocates. Argument: how many heaps.
"""
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

from mailfilter._core.heap import UNDEFINED, Heap, HeapDead, HostError, ScriptError, regions
from mailfilter.config import Settings
from mailfilter.policy import engine, load

POLICY = b"""
SmtpServer.prototype.smtpNoop = function (given) {
    this.kept = given;
    return new SmtpResponse(250, String(Sys.setting('x', '')));
};
SmtpServer.prototype.smtpVrfy = function (given) {
    switch (given) {
    case 'throw': throw new Error('thrown ' + Math.random());
    case 'memory': for (var s = 'x'; ; ) { s += s; }
    case 'loop': for (;;) { given = [given]; }
    case 'wait': return new SmtpClient('next.test', 25).connect();
    case 'getter': return {code: 250, disconnect: false, get message() { throw Sys.setting('x', ''); }};
    case 'large': this.large = new Uint8Array(500000); return new SmtpResponse(250, 'large');
    }
};
"""
SENTINELS = ["a value", b"\xff\xfe octets", {"key": [1, b"\x80"]}, [1.5, UNDEFINED, None]]


def answer(name, *_arguments):
    """Values, our own errors and our mistakes in turn."""
    answer.count += 1
    if name == "sys.setting" and answer.count % 7 == 0:
        raise HostError("no \udcff")
    if name == "sys.setting" and answer.count % 11 == 0:
        raise ZeroDivisionError
    if name.startswith(("clock.", "random.")):
        return 0.5
    return SENTINELS[answer.count % len(SENTINELS)]


answer.count = 0


def failing(heap, entry, *arguments):
    """Call, and forget whatever comes of it."""
    try:
        return heap.call(entry, *arguments)
    except (ScriptError, HeapDead):
        return None


def one(policy, number):
    """One heap from its making to one of its ends."""
    heap = policy.new_heap(answer) if number % 10 else policy._build(answer)
    heap.allow(5)
    failing(heap, engine.OPEN, "192.0.2.1", 25, "x")
    failing(heap, engine.START, ("smtpNoop", SENTINELS[number % len(SENTINELS)]))
    if number % 3 == 0:
        heap.sleep()
    # A loop takes its time; the others are cheap.
    what = ("throw", "getter", "large", "wait", "memory" if number % 40 == 4 else "wait",
            "loop" if number % 60 == 5 else "throw")[number % 6]
    result = failing(heap, engine.START, ("smtpVrfy", what))
    if what == "wait" and type(result) is list:
        how = number % 4
        if how == 1:
            failing(heap, engine.RESUME, SENTINELS)
        elif how == 2:
            failing(heap, engine.FAIL, ("ServiceTimeout", "late", None))
        elif how == 3:
            failing(heap, engine.ABANDON, "smtpVrfy")
    if number % 5 == 0:
        heap.sleep()
    if number % 2:
        heap.close()                    # asleep, dead, waiting, or in order; the others are dropped
    try:
        Heap(300_000, answer, None).load("x.js", b"[1, 2")
    except (ScriptError, MemoryError):
        pass


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(count):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "leaks.js")
        path.write_bytes(POLICY)
        policy = load(path, Settings({"cacheDirectory": ""}, {}), hostname="leak.test", heap_bytes=2 << 20)
    for number in range(max(count // 5, 120)):
        one(policy, number)
    gc.collect()
    before = resident(), sys.getallocatedblocks(), [sys.getrefcount(item) for item in (*SENTINELS, answer, UNDEFINED)]
    for number in range(count):
        one(policy, number)
    gc.collect()
    print(json.dumps({
        "regions": regions()[0], "pooled": regions()[1], "grown": resident() - before[0],
        "blocks": sys.getallocatedblocks() - before[1],
        "references": [b - a for a, b in zip(before[2], (sys.getrefcount(item) for item in (*SENTINELS, answer, UNDEFINED)),
                                             strict=True)]}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
