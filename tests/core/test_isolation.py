"""Heaps share nothing: what one session does to built-ins, to the library or to itself is seen in no other, before and
after sleep, the end by a limit, and the reuse of regions.

Whole policies, with the library in them, copied from one image as for connections.
"""
import gc
import mmap
import re

import pytest

from mailfilter._core import _build
from mailfilter._core.heap import HeapDead, ScriptError, regions
from mailfilter.config import Settings
from mailfilter.policy import engine, load

HEAP_BYTES = 2 << 20
SECRET = "secret-of-one-session"

POLICY = r"""
var mine = {text: 'of the policy', list: [1, 2, 3]};

/* All that can be reached from the global object, one line each: its way, its type, and what it is. */
function survey(global) {
    var seen = [], lines = [];
    (function walk(value, way, depth) {
        var names, i, found;
        lines.push(way + ' ' + typeof value + ' ' + (typeof value === 'function' ? value.name + value.length
            : typeof value === 'object' && value ? Object.prototype.toString.call(value) : String(value)));
        if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.indexOf(value) >= 0
                || depth > 6) {
            return;
        }
        seen.push(value);
        names = Object.getOwnPropertyNames(value);
        for (i = 0; i < names.length; i++) {
            found = Object.getOwnPropertyDescriptor(value, names[i]);
            if (!found) {
                continue;
            }
            if ('value' in found) {
                walk(found.value, way + '.' + names[i], depth + 1);
            } else {
                walk(found.get, way + '.get ' + names[i], depth + 1);
            }
        }
        walk(Object.getPrototypeOf(value), way + '.^', depth + 1);
    }(global, '', 0));
    return lines;
}

/* Replace, delete or change everything there is. */
function spoil(global) {
    var seen = [], owners = [], namesOf = Object.getOwnPropertyNames;
    (function walk(value, depth) {
        if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.indexOf(value) >= 0
                || depth > 6) {
            return;
        }
        seen.push(value);
        owners.push(value);
        Object.getOwnPropertyNames(value).forEach(function (name) {
            var found = Object.getOwnPropertyDescriptor(value, name);
            walk(found && 'value' in found ? found.value : null, depth + 1);
        });
        walk(Object.getPrototypeOf(value), depth + 1);
    }(global, 0));
    owners.reverse();
    for (var i = 0; i < owners.length; i++) {
        var names = namesOf(owners[i]);
        for (var j = 0; j < names.length; j++) {
            try { owners[i][names[j]] = 'secret-of-one-session'; } catch (e) { }
            try { delete owners[i][names[j]]; } catch (e) { }
        }
        try { owners[i].added = 'secret-of-one-session'; } catch (e) { }
    }
}

/* Memory as new heaps hand it out: how many octets of it are not zero. */
function dirt() {
    var count = 0, kinds = [new Uint8Array(200000), new Uint8Array(new ArrayBuffer(300000)), new Uint8Array(7),
        new Uint8Array(Uint8Array.allocPlain ? Uint8Array.allocPlain(100000) : 1)], i, j;
    for (i = 0; i < 4; i++) {
        for (j = 0; j < kinds[i].length; j++) {
            count += kinds[i][j] !== 0;
        }
    }
    return count;
}

SmtpServer.prototype.smtpNoop = function (what) {
    switch (what) {
    case 'survey':
        return new SmtpResponse(250, survey(Function('return this')()));
    case 'spoil':
        spoil(Function('return this')());
        return new SmtpResponse(250, 'spoiled');
    case 'dirt':
        return new SmtpResponse(250, String(dirt()));
    case 'fill':
        var kept = [];
        for (var i = 0; i < 3000; i++) {
            kept.push('secret-of-one-session ' + i, new Uint8Array([115, 101, 99, 114, 101, 116, i & 255]));
        }
        mine.kept = kept;
        return new SmtpResponse(250, 'filled');
    case 'mine':
        return new SmtpResponse(250, [mine.text, String(mine.list), String(mine.kept && mine.kept[0]), String(this.sessionId)]);
    case 'memory':
        for (var text = 'secret-of-one-session'; ; ) { text += text; }
    case 'loop':
        for (;;) { mine.kept = ['secret-of-one-session', Math.random()]; }
    case 'throw':
        throw new Error('secret-of-one-session');
    }
};
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("isolation") / "isolation.js"
    path.write_text(POLICY, "utf-8")
    loaded = load(path, Settings({"cacheDirectory": ""}, {}), hostname="mx.test", heap_bytes=HEAP_BYTES)
    assert loaded.image is not None, loaded.no_image
    return loaded


class Session:
    """One heap; answers of operations are fixed."""

    def __init__(self, policy, name="one"):
        self.heap = policy.new_heap(lambda name, *arguments: 0.5 if name.startswith(("random", "clock")) else None)
        self.heap.allow(2000)
        self.heap.call(engine.OPEN, "192.0.2.1", 25, name)

    def ask(self, what):
        return self.heap.call(engine.START, ("smtpNoop", what))[2:]

    def fail(self, what, slice_ms=2000):
        self.heap.allow(slice_ms)
        with pytest.raises((ScriptError, HeapDead)):
            self.ask(what)

    def close(self):
        self.heap.close()


@pytest.fixture(scope="module")
def untouched(policy):
    """What a session sees that was there before all others."""
    session = Session(policy)
    lines = session.ask("survey")
    session.close()
    assert len(lines) > 1000
    return lines


def what_is_left(session):
    """What a session sees that has nothing left to look with; None: it cannot even fail."""
    try:
        return session.ask("survey")
    except (ScriptError, HeapDead):
        return None


def test_who_changes_everything_changes_it_for_himself_alone(policy, untouched):
    before, bad = Session(policy), Session(policy)
    bad.fail("spoil")                               # there is no SmtpResponse left to say so with
    assert what_is_left(bad) != untouched
    after = Session(policy)
    assert before.ask("survey") == untouched
    assert after.ask("survey") == untouched
    assert bad.heap.sleep()
    assert what_is_left(bad) != untouched
    assert before.ask("dirt") == ["0"]
    for session in (before, bad, after):
        session.close()
    again = Session(policy)                         # in the region of the bad one
    assert again.ask("survey") == untouched
    again.close()


def test_the_library_is_there_to_be_changed(policy, untouched):
    """The test above means something: library and built-ins are among what it changes and surveys."""
    text = "\n".join(untouched)
    for name in (".SmtpResponse", ".SmtpServer.prototype.smtpMail", ".Array.prototype.forEach", ".Sys", ".JSON.parse",
                 ".SmtpPath", ".mine.text"):
        assert f"{name} " in text, name


@pytest.mark.parametrize("end", ["close", "sleep", "memory", "loop", "throw", "forget"])
def test_nothing_of_an_ended_session_is_found_in_the_next(policy, untouched, end):
    for number in range(3):
        one = Session(policy)
        one.ask("fill")
        if end in ("memory", "loop", "throw"):
            one.fail(end, 20 if end == "loop" else 2000)
        elif end == "sleep":
            assert one.heap.sleep()
        if end == "forget":
            del one
            gc.collect()
        else:
            one.close()
        two = Session(policy, f"two-{number}")
        assert two.ask("dirt") == ["0"]
        lines = two.ask("survey")
        assert not any(SECRET in line for line in lines)
        assert [line for line in lines if "sessionId" not in line] == [line for line in untouched if "sessionId" not in line]
        assert two.ask("mine") == ["of the policy", "1,2,3", "undefined", f"two-{number}"]
        two.close()


def test_sessions_that_sleep_and_wake_in_turns_keep_what_is_theirs(policy):
    before = regions()[0]
    sessions = [Session(policy, f"number-{n}") for n in range(20)]
    for n, session in enumerate(sessions):
        if n % 3 == 0:
            session.ask("fill")
    for turn in range(4):
        for n, session in enumerate(sessions):
            if (n + turn) % 2:
                assert session.heap.sleep()
        killed = Session(policy, "killed")
        killed.ask("fill")
        killed.fail("loop", 10)
        killed.close()
        for n, session in enumerate(sessions):
            text, numbers, kept, name = session.ask("mine")
            assert (text, numbers, name) == ("of the policy", "1,2,3", f"number-{n}")
            assert (SECRET in kept) == (n % 3 == 0)
    for session in sessions:
        session.close()
    assert regions()[0] == before


@pytest.mark.skipif(_build.KIND == "release", reason="only the debug builds poison what is closed")
def test_closed_regions_are_poisoned(policy):
    """Found by looking at the memory of this process: the region that was closed last holds no text of its session."""
    needle = re.compile(rb"secret-of-one-sessio[n] 29")         # which is not what it finds

    window = mmap.mmap(-1, 1 << 24)                             # shared, and so not looked through itself

    def found():
        held = 0
        with open("/proc/self/maps", encoding="ascii") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                ends, rights, *_ = line.split()
                start, end = (int(word, 16) for word in ends.split("-"))
                if not HEAP_BYTES <= end - start < 1 << 30 or not rights.startswith("rw-p"):    # or a sanitizer's own
                    continue
                for at in range(start, end, len(window)):       # neighbours are one mapping
                    memory.seek(at)
                    got = memory.readinto(memoryview(window)[:min(len(window), end - at)])
                    held += sum(1 for _ in needle.finditer(window, 0, got))
        return held

    session = Session(policy)
    session.ask("fill")
    assert found()
    session.close()
    assert not found()
