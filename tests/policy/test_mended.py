"""The mistake of the engine about characters beyond U+FFFF: mended where it can be, survived where it cannot."""
import random
import shutil
import subprocess
import sys
import textwrap

import dukpy._dukpy
import pytest
from heaps import TestHeap

from mailfilter.policy import engine, mended

# Two letters before a pair, from the end, in every alignment.
WALK = """
(function () {
    var n, tail, from, text, found = [];
    for (n = 1; n < 40; n++) {
        for (tail = 0; tail < 9; tail++) {
            text = '\\u00e4' + new Array(n).join('x') + '\\ud83d\\ude00' + '123456789'.slice(0, tail);
            for (from = 0; from <= text.length; from++) {
                found.push(text.slice(from).length === text.length - from);
            }
        }
    }
    return found.indexOf(false) < 0;
}())
"""


def test_the_engine_finds_its_way_in_texts():
    assert engine.sound()
    assert TestHeap()(WALK) is True


def run(program):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)


UNMENDED = """
    import os
    def refused(*arguments):
        raise OSError("not here")
    os.memfd_create = refused
    from mailfilter.policy import engine
"""


def test_where_it_cannot_be_mended_one_session_ends_and_the_process_goes_on():
    done = run(UNMENDED + f"""
    from mailfilter._core.heap import Heap, HeapStopped
    if engine.sound():
        print("sound")
        raise SystemExit
    other = Heap()
    other.load("other", b"var kept = 1;")
    for number in range(3):
        heap = Heap()
        try:
            heap.load("policy.js", b"\\n" + {WALK!r}.encode())
        except HeapStopped as error:
            print(number, heap.dead, error, error.places[-1])
    other.load("other", b"if (kept !== 1) throw new Error();")
    print("alive")
    """)
    assert done.returncode == 0, done.stderr
    if done.stdout == "sound\n":
        pytest.skip("the installed dukpy has no mistake to survive")
    lines = done.stdout.splitlines()
    assert lines[-1] == "alive" and len(lines) == 4, done.stdout
    for number, line in enumerate(lines[:3]):
        assert line.startswith(f"{number} True the JavaScript engine failed (it touched memory that is not there)"), line
        assert "('policy.js', " in line


def test_who_loads_a_policy_then_is_told(tmp_path):
    (tmp_path / "policy.js").write_text("var a;")
    done = run(UNMENDED + f"""
    from mailfilter import log as logs, policy as policies
    if engine.sound():
        print("sound")
        raise SystemExit
    policies.load({str(tmp_path / "policy.js")!r}, {{}}, log=logs.Log(logs.TextSink(1)))
    from mailfilter.cli import main
    main(["version"])
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sound\n" or done.stdout.count(engine.UNSOUND) == 2, done.stdout


def test_a_fault_that_is_not_the_engine_s_still_ends_the_process():
    done = run("""
    import ctypes
    from mailfilter.policy import engine
    engine.sound()
    ctypes.string_at(0)
    """)
    assert done.returncode == -11 or "AddressSanitizer: SEGV" in done.stderr


@pytest.mark.parametrize("machine, loop, wrong, right", [
    ("x86_64", "4983f90376572488d0d", None, None),
    ("x86_64", "4983f9037657488d0d11223344660f1f84000000000000"
     "0fb650ff0fb670fe4883e8048b34b18b14914801f20fb670018b34b14801f20fb6308b34b14801f24929d14983f90377cf",
     "4983f903", "4983f904"),
    ("aarch64", "bf0c00f149020054112233445566778899aabbcc88f05f388ae05f3889d05f3886cc5f38e8d868b8ead86ab8e9d869b8e6d866b8"
     "08010a8bc600098bc600088ba50006cbbf0c00f168feff54", "bf0c00f1", "bf1000f1"),
])
def test_what_is_changed_and_what_is_not(machine, loop, wrong, right):
    loop = bytes.fromhex(loop if len(loop) % 2 == 0 else loop + "0")
    image = b"\x00head" * 7 + loop + b"tail"
    if wrong is None:
        assert mended.mended(image, machine) is None
        return
    assert mended.mended(image, machine) == image.replace(bytes.fromhex(wrong), bytes.fromhex(right))
    assert mended.mended(image + loop, machine) is None          # twice: which one?
    assert mended.mended(image, "riscv64") is None


def test_the_file_itself_stays_as_it_is():
    with open(dukpy._dukpy.__file__, "rb") as file:
        before = file.read()
    mended.library(dukpy._dukpy.__file__)
    with open(dukpy._dukpy.__file__, "rb") as file:
        assert file.read() == before


# Texts of all kinds, compared with another engine.

ATOMS = ["a", "b", " ", "\\ud83d\\ude00", "\\u00e4", "\\u3042", "\\udc80", "X", "ab", "aaa"]


def expressions(chance):
    def text(most):
        return "'" + "".join(chance.choice(ATOMS) for _ in range(chance.randrange(1, most))) + "'"

    def number():
        return str(chance.randrange(-5, 40))

    return [f"t.slice({number()}, {number()})", f"t.substring({number()}, {number()})", f"t.substr({number()}, {number()})",
            f"t.charAt({number()})", f"t.charCodeAt({number()})", f"t.indexOf({text(3)}, {number()})",
            f"t.lastIndexOf({text(3)}, {number()})", f"t.split({text(3)})", f"t.replace({text(3)}, {text(3)})",
            "t.replace(/(a)|b/g, function (m, a, i) { return '<' + i + '>'; })", f"t[{number()}]",
            f"t.startsWith({text(3)}, {number()})", f"t.endsWith({text(3)}, {number()})", "t.toUpperCase()", "t.length",
            "t.match(/a+|[\\u3042b]/g)", "/([^ ]*) (.*)/.exec(t)"]


def test_texts_are_as_in_node(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    chance = random.Random(7)
    programs = []
    for _ in range(1500):
        text = "".join(chance.choice(ATOMS) for _ in range(chance.randrange(30)))
        asked = ", ".join(chance.sample(expressions(chance), 5))
        programs.append(f"(function () {{ var t = '{text}'; return JSON.stringify([{asked}]); }}())")
    path = tmp_path / "programs.js"
    path.write_text("console.log(JSON.stringify([" + ",\n".join(programs) + "].map(escape)));")
    done = subprocess.run(["node", path], check=True, capture_output=True, text=True, timeout=30)
    js = TestHeap(heap_bytes=64 << 20)
    js.heap.allow(20_000)
    # Surrogates that stand alone are written as escapes by one and as they are by the other.
    there = js("JSON.stringify(" + done.stdout + ".map(function (t) { return JSON.parse(unescape(t)); }))")
    here = js("JSON.stringify([" + ",\n".join(programs) + "].map(function (t) { return JSON.parse(t); }))")
    assert here == there
