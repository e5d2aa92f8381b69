"""Replays the corpus of every fuzz target, and a bounded run of inputs that is always the same."""
import itertools
from importlib import import_module

import pytest
from fuzz import running

TARGETS = sorted(path.name for path in running.CORPUS.iterdir())
INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name):
    target = import_module(f"fuzz.{name}")
    assert running.corpus(name)
    for file, data in running.corpus(name):
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"{name}/{file}: {data!r}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_bounded_run(name):
    target = import_module(f"fuzz.{name}")
    for data in itertools.islice(running.inputs(name, target.PIECES), getattr(target, "INPUTS", INPUTS)):
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"{name}: {running.smaller(target.check, data)!r}") from error
