"""Database servers for the tests here, started when the first test asks for one, and policies that run against them."""
import asyncio

import databases
import pytest
import uvloop
from handlers import RecordingLog, context_of, policy_of

from mailfilter.policy.driver import Driver
from mailfilter.services.outside import Outside


def _server(kind):
    @pytest.fixture(scope="session")
    def fixture():
        server = kind()
        yield server
        server.finish()
    return fixture


postgresql = _server(databases.PostgreSql)
mariadb = _server(databases.MariaDb)
redis = _server(databases.Redis)


class Worker:
    """What sessions of one worker share, and sessions in it: `await session(policy)(handler, …)`."""

    def __init__(self, folder):
        self.folder = folder
        self.loop = asyncio.get_running_loop()
        self.log = RecordingLog()
        self.outside = Outside(self.loop, lambda text: self.log.write(4, "-", text))
        self._drivers = []
        self._policies = {}

    def policy(self, text, settings=None):
        """A loaded policy; handlers are functions of the text's `exports`-like global `run`."""
        key = text, tuple((settings or {}).items())
        if key not in self._policies:
            self._policies[key] = policy_of(self.folder, text, settings, f"policy{len(self._policies)}.js")
        return self._policies[key]

    def session(self, text, settings=None, **options):
        """A session of a policy with this text. Its call runs the body of smtpVrfy: what it replies, as lines."""
        context = context_of(loop=self.loop, log=self.log, settings=settings, **options)
        context.outside = self.outside
        context.limits.slice_ms = 5000
        driver = Driver(self.policy(text, settings), context, ("192.0.2.1", 1025))
        self._drivers.append(driver)

        async def call(argument="", seconds=30.0):
            ended = self.loop.create_future()
            outcome = driver.run("smtpVrfy", (argument,), seconds, ended.set_result)
            return outcome if outcome is not None else await ended

        call.driver = driver
        call.context = context
        return call

    async def run(self, code, settings=None, **options):
        """The value of a JavaScript expression or function body as JSON text; AssertionError with the fault."""
        import json
        body = code if "return" in code else f"return {code};"
        session = self.session(f"SmtpServer.prototype.smtpVrfy = function () {{ var v = (function () {{ {body} }}()); "
                               "return new SmtpResponse(250, 'x' + JSON.stringify(v === undefined ? null : v)); };",
                               settings, **options)
        outcome = await session()
        assert outcome.fault is None, outcome.fault
        session.driver.close()
        session.context.close()
        return json.loads(outcome.lines[0][1:])

    async def close(self):
        for driver in self._drivers:
            driver.close()
            driver.context.close()
        await self.outside.close()


@pytest.fixture(params=[uvloop.new_event_loop], ids=["uvloop"])
def work(request, tmp_path):
    """`work(test)` runs the coroutine function test(worker); whatever goes unhandled fails."""
    def work(test):
        complaints = []

        async def body():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            worker = Worker(tmp_path)
            try:
                return await test(worker)
            finally:
                await worker.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(body())
        assert complaints == []
        return result
    return work
