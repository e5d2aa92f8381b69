"""Fuzz target: policies. An input is a session with generated JavaScript, limits, sleeps and answers.

Invariants, whatever the JavaScript does:

- a call ends with a value, a ScriptError or a dead heap, and in not much more than its time; the process lives;
- another heap of the same process, made of the same image, is what it was, asleep in between or not;
- when the session is over no region is left in use, and no reference to what was handed in.
"""
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from mailfilter._core.heap import UNDEFINED, HeapDead, HostError, ScriptError, regions
from mailfilter.config import Settings
from mailfilter.policy import engine, load

from . import running
from .javascript import Choices, program, value

POLICY = b"""
var kept = {n: 0, list: [1, 'two', {three: 3}], text: 'abc'}, Client = SmtpClient;

function ask() {
    return Sys.setting.apply(Sys, arguments);
}

function wait() {
    return new Client('next.test', 25).connect();
}

SmtpServer.prototype.smtpHelo = function (code) {
    return new Function('self', 'kept', 'ask', 'wait', code).call(this, this, kept, ask, wait);
};

SmtpServer.prototype.smtpNoop = function (given) {
    kept.given = given;
    return new SmtpResponse(250, 'taken ' + kept.n++);
};

SmtpServer.prototype.smtpHelp = function () {       // what the canary says: all that it can reach, and what it counts
    var sum = 0, text = JSON.stringify(kept) + [3, 1, 2].sort() + 'x'.concat('y').replace(/y/, 'z') + Math.max(1, 2);
    for (var i = 0; i < text.length; i++) {
        sum = (sum * 31 + text.charCodeAt(i)) % 1000003;
    }
    kept.list.push(sum);
    if (kept.list.length > 40) {
        kept.list = kept.list.slice(-20);
    }
    return new SmtpResponse(250, [String(sum), String(Object.getOwnPropertyNames(this.constructor.prototype).length)]);
};
"""

SLICES_MS = (5, 10, 20)
HEAPS = (8 << 20, 512 << 10, 1 << 20, 2 << 20)
OPERATIONS = (200, 3, 20)
ROOM_S = 2.0            # beyond its slice: the machine may be busy
STEPS, RESUMES, SESSION_MS = 8, 8, 100
INPUTS = 200            # in an ordinary test run; one that meets its limits takes a while
PIECES = [bytes([n]) * 2 for n in range(16)] + [b"\x0f\x01", b"\x06\x0f\x01\x00", b"\x0d", b"\x09", b"\x0b\x0c\x0d"]

SENTINEL = ["a value that sessions get", {"k": b"\xff"}]


@cache
def policy(heap_bytes):
    """The policy above, loaded once for each size of heap."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fuzzed.js")
        path.write_bytes(POLICY)
        loaded = load(path, Settings({"cacheDirectory": ""}, {}), hostname="fuzz.test", heap_bytes=heap_bytes)
    assert loaded.image is not None, loaded.no_image
    return loaded


def quiet(_name, *_arguments):
    return None


def opened(heap_bytes, answer, slice_ms):
    heap = policy(heap_bytes).new_heap(answer)
    heap.allow(slice_ms)
    heap.call(engine.OPEN, "192.0.2.1", 25, "fuzz")
    return heap


class Canary:
    """A heap that nobody touches, and what it has to say each time: the same as its twin, which was there first."""

    def __init__(self):
        self.heaps = [opened(HEAPS[0], quiet, 5000) for _ in range(2)]
        self.calls = 0

    def check(self):
        self.calls += 1
        if self.calls % 3 == 0:
            assert self.heaps[0].sleep()
        said = [heap.call(engine.START, ("smtpHelp",)) for heap in self.heaps]
        assert said[0] == said[1] and said[0][0] == 250, said
        assert not any(heap.over_limit for heap in self.heaps)


@cache
def canary():
    return Canary()


class Session:
    """One heap and the calls into it."""

    def __init__(self, choices):
        self.choices = choices
        self.slice_ms = choices.of(SLICES_MS)
        self.operations = choices.of(OPERATIONS)
        self.heap = opened(choices.of(HEAPS), self.answer, self.slice_ms)

    def answer(self, name, *arguments):
        self.operations -= 1
        if self.operations < 0:
            raise HostError("no more operations")
        if name == "sys.setting" and arguments[:1] in (("undefined",), ("NaN",)):
            raise ZeroDivisionError("a mistake of ours")
        if name.startswith("clock."):
            return 1.5e12 - self.operations
        return None if name.startswith("sys.") and name != "sys.setting" else SENTINEL

    def call(self, entry, *arguments):
        """The call's result, or None when it failed as it may."""
        begun = time.thread_time()
        try:
            return self.heap.call(entry, *arguments)
        except (ScriptError, HeapDead):
            return None
        finally:
            took = time.thread_time() - begun
            assert took < self.slice_ms / 1e3 + ROOM_S, f"{took:.1f} s"

    def handler(self, *job):
        """Run a handler, with all that it waits for."""
        result = self.call(engine.START, job)
        for _ in range(RESUMES):
            if type(result) is not list or not result or type(result[0]) is not str or self.heap.dead:
                break
            how = self.choices.take(6)
            if how == 1:
                self.heap.sleep()
            if how == 2:
                result = self.call(engine.FAIL, ("ServiceTimeout", "not now", None))
            elif how == 3:
                self.call(engine.ABANDON, job[0])
                return
            else:
                result = self.call(engine.RESUME, SENTINEL if how == 4 else 7)
        else:
            self.call(engine.ABANDON, job[0])

    def step(self):
        how = self.choices.take(10)
        if how < 4:
            self.handler("smtpHelo", program(self.choices))
        elif how == 4:
            self.heap.sleep()
        elif how == 5:
            self.handler("smtpNoop", value(self.choices, UNDEFINED))
        elif how == 6:
            self.call(engine.FAULT)
            self.handler("smtpHelp")
        elif how == 7:
            self.handler("smtpData", [b"Subject", [b" x"]] * self.choices.take(4), 1, 10)
        elif how == 8:
            self.handler("cleanup")
        else:
            self.handler("smtpMail", [b"user", b"example.com", [], []])


def check(data):
    """No JavaScript, in no order of calls, harms the process or another heap."""
    canary().check()
    before, references = regions()[0], [sys.getrefcount(item) for item in (SENTINEL, *SENTINEL)]
    session = Session(Choices(data))
    for _ in range(STEPS):
        if session.heap.dead or not session.choices.left or session.heap.spent_ms > SESSION_MS:
            break
        session.step()
    session.heap.close()
    assert regions()[0] == before
    del session
    assert [sys.getrefcount(item) for item in (SENTINEL, *SENTINEL)] == references
    canary().check()


if __name__ == "__main__":
    running.main("script", check, PIECES)
