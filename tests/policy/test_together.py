"""Sys.all: operations of one handler that run at the same time."""
import asyncio

import pytest

from mailfilter.config import Limits, Settings, Timeouts
from mailfilter.policy import load
from mailfilter.policy.context import SessionContext
from mailfilter.policy.driver import Driver


class Names:
    """A resolver that answers when told to. `asked`: the addresses, in their order."""

    def __init__(self):
        self.asked = []
        self._open = {}

    def known_reverse(self, address):
        return None

    async def reverse(self, address):
        self.asked.append(address)
        self._open[address] = future = asyncio.get_running_loop().create_future()
        return await future

    def answer(self, address, name):
        self._open.pop(address).set_result(name)

    def fail(self, address, error):
        self._open.pop(address).set_exception(error)


class Silent:
    level = 0

    def write(self, *_line, **_fields):
        pass


async def until(condition):
    """Let the loop run until a condition holds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


@pytest.fixture
def session(tmp_path):
    """`session(body, limits)`: a Driver whose smtpHelo has this body, and its names. `look(address)` is a look-up."""

    def make(body, **limits):
        policy = tmp_path / "policy.js"
        policy.write_text("""
            function look(address) {
                var other = new SmtpServer(address, 1);
                return /\\((\\S+)/.exec(other.receivedHeader('x').parts[0])[1];
            }
            SmtpServer.prototype.smtpHelo = function () {
                return new SmtpResponse(250, String((function () {BODY})()));
            };""".replace("BODY", body))
        names = Names()
        loaded = load(policy, Settings({}, {}), hostname="mx.test")
        context = SessionContext(
            loop=asyncio.get_running_loop(), log=Silent(), session_id="S-1", settings={}, hostname="mx.test",
            timeouts=Timeouts(), limits=Limits().replaced(limits, "test"), resolver=names, extensions=[],
            open_next_hop=None)
        driver = Driver(loaded, context, ("192.0.2.1", 25))
        done = context.loop.create_future()
        outcome = driver.run("smtpHelo", ("x",), 60, done.set_result)
        if outcome is not None:
            done.set_result(outcome)
        return driver, names, done

    return make


def test_they_are_under_way_together_and_answered_in_any_order(session):
    async def main():
        driver, names, done = session(
            "return Sys.all([function () { return look('192.0.2.7'); }, function () { return 7; },"
            "                function () { return look('192.0.2.9'); }]);")
        await until(lambda: len(names.asked) == 2)
        names.answer("192.0.2.9", "nine")
        names.answer("192.0.2.7", "seven")
        assert (await done).lines == ["seven,7,nine"]
        assert driver.context.groups == {}
    asyncio.run(main())


def test_one_function_may_wait_several_times_while_another_waits_once(session):
    async def main():
        _driver, names, done = session(
            "return Sys.all([function () { return look('192.0.2.1') + look('192.0.2.2'); },"
            "                function () { return look('192.0.2.3'); }]);")
        await until(lambda: names.asked == ["192.0.2.1", "192.0.2.3"])
        names.answer("192.0.2.1", "one")
        await until(lambda: names.asked == ["192.0.2.1", "192.0.2.3", "192.0.2.2"])
        names.answer("192.0.2.2", "two")
        names.answer("192.0.2.3", "three")
        assert (await done).lines == ["onetwo,three"]
    asyncio.run(main())


def test_a_group_inside_a_group(session):
    async def main():
        driver, names, done = session(
            "return Sys.all([function () { return Sys.all([function () { return look('192.0.2.1'); },"
            "                                              function () { return look('192.0.2.2'); }]).join('+'); },"
            "                function () { return look('192.0.2.3'); }]);")
        await until(lambda: len(names.asked) == 3)
        for number in "312":
            names.answer(f"192.0.2.{number}", f"n{number}")
        assert (await done).lines == ["n1+n2,n3"]
        assert driver.context.groups == {}
    asyncio.run(main())


def test_the_first_error_is_thrown_and_ends_the_others(session):
    async def main():
        driver, names, done = session(
            "try { Sys.all([function () { return look('192.0.2.1'); }, function () { throw new Error('no'); }]); }"
            "catch (error) { return 'caught ' + error.message; }")
        assert (await done).lines == ["caught no"]
        assert driver.context.groups == {}
        assert names.asked == []        # dropped before it began, or at least never waited for
    asyncio.run(main())


def test_errors_are_returned_when_asked_for(session):
    async def main():
        _driver, names, done = session(
            "return Sys.all([function () { throw new Error('no'); }, function () { return look('192.0.2.1'); },"
            "                function () { throw 'text'; }], {errors: 'return'}).map(String);")
        await until(lambda: names.asked)
        names.answer("192.0.2.1", "one")
        assert (await done).lines == ["Error: no,one,text"]
    asyncio.run(main())


def test_nothing_to_do_is_done_at_once(session):
    async def main():
        _driver, _names, done = session("return Sys.all([]).length;")
        assert done.done() and done.result().lines == ["0"]
    asyncio.run(main())


@pytest.mark.parametrize(("body", "message"), [
    ("Sys.all([1]);", "element 0 is not a function"),
    ("Sys.all([], {errors: 'maybe'});", "errors must be 'throw' or 'return'"),
])
def test_wrong_arguments_are_refused(session, body, message):
    async def main():
        _driver, _names, done = session(body)
        assert message in (await done).fault.message
    asyncio.run(main())


def test_the_limit_of_operations_at_once(session):
    async def main():
        _driver, names, done = session(
            "return Sys.all([1, 2, 3].map(function (n) { return function () { return look('192.0.2.' + n); }; }),"
            "               {errors: 'return'});", operations_at_once=2)
        await until(lambda: len(names.asked) == 2)
        names.answer("192.0.2.1", "one")
        names.answer("192.0.2.2", "two")
        assert "one,two,HostError" in (await done).lines[0] or "2 operations are under way" in (await done).lines[0]
    asyncio.run(main())


def test_a_handler_that_is_given_up_leaves_nothing_under_way(session):
    async def main():
        driver, names, done = session("return Sys.all([function () { return look('192.0.2.1'); }]);")
        await until(lambda: names.asked)
        driver.close()
        assert driver.context.groups == {}
        assert not done.done()
        await asyncio.sleep(0)
    asyncio.run(main())
