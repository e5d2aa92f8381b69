"""services/circuit.py, connections.py and outside.py: services that are dead, silent, slow, or back again."""
import asyncio
import errno

import pytest
import uvloop

from mailfilter.errors import MailfilterError, ServiceProtocolError, ServiceTimeout, ServiceUnavailable
from mailfilter.services.circuit import Circuit
from mailfilter.services.connections import Connections
from mailfilter.services.outside import SERVICES, Outside


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """`run(coroutine function)` on a loop; whatever is left over or goes unhandled fails."""
    def run(test):
        complaints = []

        async def body():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            result = await test()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(body())
        assert complaints == []
        return result
    return run


class Said(list):
    def __call__(self, text):
        self.append(text)


def circuit_of(said=None, **options):
    return Circuit("store", "store.example", asyncio.get_running_loop(), Said() if said is None else said, **options)


async def answer(value=1):
    return value


async def refuse(error=None):
    raise error or ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


async def hang():
    await asyncio.get_running_loop().create_future()


async def over_with(circuit):
    """Wait until nothing is under way."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not circuit.under_way


def test_an_answer(run):
    async def test():
        circuit = circuit_of()
        assert await circuit.run(lambda: answer("yes"), 5) == "yes"
        assert (circuit.under_way, circuit.failures) == (0, 0)
    run(test)


@pytest.mark.parametrize("raised, kind", [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), ServiceUnavailable),
    (asyncio.IncompleteReadError(b"", 5), ServiceUnavailable), (TimeoutError(), ServiceTimeout),
    (ServiceProtocolError("nonsense"), ServiceProtocolError), (ConnectionResetError("gone"), ServiceUnavailable)],
    ids=["refused", "closed", "timeout", "protocol", "reset"])
def test_what_says_that_it_is_away(run, raised, kind):
    async def test():
        circuit = circuit_of()
        with pytest.raises(kind):
            await circuit.run(lambda: refuse(raised), 5)
        assert circuit.failures == 1
    run(test)


def test_an_answer_that_nobody_likes_is_one(run):
    async def test():
        circuit = circuit_of()
        with pytest.raises(MailfilterError, match="syntax"):
            await circuit.run(lambda: refuse(MailfilterError("syntax")), 5)
        assert circuit.failures == 0
    run(test)


def test_silence_ends_at_the_deadline(run):
    async def test():
        circuit, loop = circuit_of(), asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(ServiceTimeout, match="no answer within 0.05 s"):
            await circuit.run(hang, 0.05)
        assert 0.04 < loop.time() - begun < 5 and circuit.failures == 1
        await over_with(circuit)
    run(test)


def test_what_does_not_let_itself_be_cancelled_holds_nobody_up(run):
    async def test():
        circuit, over = circuit_of(), asyncio.Event()

        async def stubborn():
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue

        with pytest.raises(ServiceTimeout):
            await circuit.run(stubborn, 0.05)
        assert circuit.under_way == 1       # it is still there, and counts
        over.set()
        await over_with(circuit)
    run(test)


def test_a_dead_service_is_left_alone_and_tried_again(run):
    async def test():
        said, tried = Said(), []
        circuit = circuit_of(said, failures=3, open_s=60.0)

        def dead():
            tried.append(1)
            return refuse()

        for _ in range(10):
            with pytest.raises(ServiceUnavailable):
                await circuit.run(dead, 5)
        assert len(tried) == 3
        assert said == ["store.example is away, and is asked every 60 s only: store.example: Connection refused"]
        circuit.open_until = asyncio.get_running_loop().time()
        for _ in range(5):
            with pytest.raises(ServiceUnavailable):
                await circuit.run(dead, 5)
        assert len(tried) == 4              # one tried; it is left alone again
        circuit.open_until = asyncio.get_running_loop().time()
        assert await circuit.run(answer, 5) == 1
        assert await circuit.run(answer, 5) == 1
        assert said[1:] == ["store.example answers again"]
    run(test)


def test_only_one_tries(run):
    async def test():
        circuit, gate = circuit_of(failures=1, open_s=0.0), asyncio.Event()
        with pytest.raises(ServiceUnavailable):
            await circuit.run(refuse, 5)
        trial = asyncio.ensure_future(circuit.run(gate.wait, 5))
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailable, match="is away"):
            await circuit.run(answer, 5)
        gate.set()
        assert await trial
        assert await circuit.run(answer, 5) == 1
    run(test)


def test_a_trial_that_nobody_waits_for_any_more_makes_room_for_another(run):
    async def test():
        circuit = circuit_of(failures=1, open_s=0.0)
        with pytest.raises(ServiceUnavailable):
            await circuit.run(refuse, 5)
        circuit.start(hang, 5, lambda value, error: None).cancel()
        await over_with(circuit)
        assert await circuit.run(answer, 5) == 1
    run(test)


def test_so_many_at_one_time_and_so_many_waiting(run):
    async def test():
        circuit, gate, most, now = circuit_of(at_once=2, waiting=3), asyncio.Event(), [], []

        async def counted():
            now.append(1)
            most.append(len(now))
            await gate.wait()
            now.pop()

        requests = [asyncio.ensure_future(circuit.run(counted, 5)) for _ in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailable, match="too much to do: 3 requests wait"):
            await circuit.run(answer, 5)
        gate.set()
        await asyncio.gather(*requests)
        assert max(most) == 2 and circuit.failures == 0
    run(test)


def test_waiting_counts_for_the_deadline_but_not_against_the_service(run):
    async def test():
        circuit = circuit_of(at_once=1)
        slow = circuit.start(hang, 5, lambda value, error: None)
        await asyncio.sleep(0)
        with pytest.raises(ServiceTimeout):
            await circuit.run(answer, 0.05)
        assert circuit.failures == 0
        slow.cancel()
        assert await circuit.run(answer, 5) == 1
        await over_with(circuit)
    run(test)


class Line:
    def __init__(self, number):
        self.number, self.usable, self.closed, self.over = number, True, False, asyncio.Event()


def lines(**options):
    made = []

    async def open():
        made.append(Line(len(made)))
        return made[-1]

    def close(line):
        line.closed = True
        line.over.set()

    return made, Connections(asyncio.get_running_loop(), open, lambda line: line.usable and not line.closed, close, **options)


def test_connections_are_kept_and_those_that_died_are_not_given_out(run):
    async def test():
        made, kept = lines(kept=2)
        taken = [await kept.take() for _ in range(3)]
        for line in taken:
            kept.keep(line)
        assert [line.closed for line in made] == [False, False, True]
        made[1].usable = False
        assert await kept.take() is made[0] and made[1].closed
        kept.close()
        kept.keep(made[0])
        assert made[0].closed
    run(test)


def test_idle_connections_are_closed(run):
    async def test():
        made, kept = lines(idle_s=0.02)
        kept.keep(await kept.take())
        await made[0].over.wait()
        assert made[0].closed and not len(kept)
    run(test)


def test_services_are_shared_and_not_without_number(run):
    async def test():
        ended = []

        class Service:
            def __init__(self, outside):
                self.outside = outside

            def close(self):
                ended.append(self)

        outside = Outside(asyncio.get_running_loop(), Said())
        first = outside.get("sql", 0, Service)
        assert outside.get("sql", 0, Service) is first
        for number in range(SERVICES):
            outside.get("sql", number + 1, Service)
        assert ended == [first]
        await outside.close()
        assert len(ended) == SERVICES + 1
    run(test)


def test_closing_waits_and_says_what_goes_wrong(run):
    async def test():
        said, ended = Said(), []

        class Service:
            async def close(self):
                await asyncio.sleep(0)
                ended.append(1)
                raise OSError("no")

        outside = Outside(asyncio.get_running_loop(), said)
        outside.get("sql", 0, lambda outside: Service())
        await outside.close()
        assert ended == [1] and said == ["a service could not be closed: no"]
    run(test)
