"""A pytest plugin (`-p slow_engine`) for runs in which everything takes many times longer, as under valgrind: JavaScript
may take longer, and so may tests. Must not know what makes it slow."""
from mailfilter._core import heap

SLICE_MS = 60_000
TEST_SECONDS = 3600

heap.DEFAULT_SLICE_MS = SLICE_MS


def pytest_collection_modifyitems(items):
    """Give every module's tests more time."""
    for item in items:
        item.module.TEST_SECONDS = TEST_SECONDS
