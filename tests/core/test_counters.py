"""counters.pyx: numbers in memory of somebody else's. It is one row for the process, so each test tries it in one of its own."""
import subprocess
import sys

import pytest
from serving import PROJECT

ROW = """
from array import array
from mailfilter._core.counters import count, count_in, observe, put
cells = array("d", bytes(8 * 6))
count_in(memoryview(cells), {1: (1, 2.5)})
"""


def run(text):
    done = subprocess.run([sys.executable, "-c", ROW + text], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_counters_gauges_and_histograms():
    assert run("""
count(0); count(0, 2.5); put(5, 7); put(5, 9)
for value in (0, 1, 1.5, 2.5, 3):
    observe(1, value)
print(*cells)
""") == ["3.5", "2.0", "2.0", "1.0", "8.0", "9.0"]


def test_what_is_outside_is_an_error_and_changes_nothing():
    assert run("""
for call in (lambda: count(-1), lambda: count(6), lambda: put(6, 1), lambda: put(-1, 1)):
    try:
        call()
    except IndexError:
        print("index")
count_in(memoryview(cells), {3: (1, 2)})
for call in (lambda: observe(3, 1), lambda: observe(1, 1)):
    try:
        call()
    except (IndexError, KeyError) as error:
        print(type(error).__name__)
print(*cells)
""") == ["index"] * 4 + ["IndexError", "KeyError"] + ["0.0"] * 6


def test_the_memory_is_held_and_the_one_before_is_let_go():
    assert run("""
import mmap
first, second = mmap.mmap(-1, 4096), mmap.mmap(-1, 4096)
count_in(memoryview(first).cast("d"), {})
count(3)
try:
    first.close()
except BufferError:
    print("held")
count_in(memoryview(second).cast("d"), {})
count(3, 5)
print(memoryview(first).cast("d")[3], memoryview(second).cast("d")[3])
first.close()
""") == ["held", "1.0", "5.0"]


@pytest.mark.parametrize("cells", ["bytearray(48)", "memoryview(bytearray(48))", "memoryview(bytes(48)).cast('d')", "None"])
def test_only_numbers_that_can_be_written_are_taken(cells):
    assert run(f"""
try:
    count_in({cells}, {{}})
except (AttributeError, ValueError, BufferError, TypeError):
    print("refused")
count(0)
print(cells[0])
""") == ["refused", "1.0"]
