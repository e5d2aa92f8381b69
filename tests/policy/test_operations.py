"""The table of operations, its checks, and whether js/ and the table name the same ones."""
import re

import pytest
from handlers import context_of

from mailfilter._core.heap import HostError
from mailfilter.errors import ServiceUnavailable
from mailfilter.policy import library
from mailfilter.policy.operation import Operation
from mailfilter.policy.operations import AT_ONCE, LOADING, OPERATIONS, WAITED_FOR


def named(door):
    text = b"\n".join(source for _, source in library.every_source()).decode()
    return set(re.findall(rf"\b{door}\(\[?'([a-z.]+)'", text))


def test_the_library_and_the_table_name_the_same_operations():
    assert named("now") == set(AT_ONCE) - {"module.want"} or named("now") == set(AT_ONCE)
    assert named("wait") == set(WAITED_FOR)


def test_the_table_is_sound():
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
    for operation in OPERATIONS:
        assert re.fullmatch(r"[a-z]+\.[a-z]+", operation.name)
        assert operation.waits == bool(operation.deadline), operation.name
        assert not (operation.waits and operation.loading), operation.name
    assert set(LOADING) <= set(AT_ONCE)


def row(run, *arguments, **more):
    return Operation("test.row", run, arguments, **more)


def test_arguments_are_checked():
    operation = row(lambda context, number, text: (number, text), (int, float), (str, type(None)))
    assert operation.perform(None, (1, None)) == (1, None)
    for wrong, message in (((1,), "takes 2 arguments, 1 given"), ((1, "a", 2), "3 given"), (("a", "b"), "argument 1 is of"),
                           ((1, 5), "argument 2 is of"), ((None, "b"), "argument 1")):
        with pytest.raises(HostError, match=message) as caught:
            operation.perform(None, wrong)
        assert caught.value.name == "TypeError"


def test_errors_on_purpose_reach_the_policy_by_name():
    def fail(context):
        raise ServiceUnavailable("not there")

    with pytest.raises(HostError, match="not there") as caught:
        row(fail).perform(None, ())
    assert caught.value.name == "ServiceUnavailable"


def test_a_session_has_only_so_many_operations():
    context = context_of(operations=3)
    for _ in range(3):
        context.charge("session.tls")
    with pytest.raises(HostError, match="used up its 3 operations"):
        context.charge("session.tls")
