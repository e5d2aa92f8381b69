"""Runs handlers of a policy without sockets and without an event loop: operations are answered by functions here.

Must not know: connections, the state machine of SMTP.
"""
from types import SimpleNamespace

from mailfilter._core.heap import HostError
from mailfilter.config import Limits, Timeouts
from mailfilter.errors import MailfilterError
from mailfilter.policy import engine, load
from mailfilter.policy.context import SessionContext
from mailfilter.policy.operations import AT_ONCE


class RecordingLog:
    """A Log that keeps its lines: `lines` is a list of (severity, session, text, fields)."""

    level = 7

    def __init__(self):
        self.lines = []
        self.opened = []

    def write(self, severity, session, text, **fields):
        self.lines.append((severity, session, text, fields))

    def openlog(self, ident, facility):
        self.opened.append((ident, facility))

    @property
    def texts(self):
        return [text for _, _, text, _ in self.lines]


def context_of(loop=None, log=None, settings=None, open_next_hop=None, resolver=None, **limits):
    """A SessionContext of its own."""
    return SessionContext(
        loop=loop, log=log or RecordingLog(), session_id="T-1", settings=settings or {}, hostname="mx.test",
        timeouts=Timeouts(), limits=SimpleNamespace(**{**vars_of(Limits()), **limits}), resolver=resolver,
        extensions=["PIPELINING", "SIZE 1000"], open_next_hop=open_next_hop)


def vars_of(limits):
    return {name: getattr(limits, name) for name in limits.__dataclass_fields__}


class Session:
    """One session of a policy.

    waited: {operation: function of its arguments}, for what handlers wait for; asked: the operations they waited for,
    as (name, [argument, …]). An exception that a function raises is thrown into the handler.
    """

    def __init__(self, policy, waited=None, remote=("192.0.2.1", 1025), **options):
        self.context = context_of(**options)
        self.waited = waited or {}
        self.asked = []
        self.heap = policy.new_heap(self._answer)
        self.heap.allow(5000)
        self.heap.call(engine.OPEN, *remote, "T-1")

    def _answer(self, name, *arguments):
        return AT_ONCE[name].perform(self.context, arguments)

    def run(self, handler, *arguments):
        """The handler's response [code, disconnect, line, …], or [0]. ScriptError when it throws."""
        result = self.heap.call(engine.START, (handler, *arguments))
        while isinstance(result[0], str):
            self.asked.append((result[0], result[1:]))
            try:
                value = self.waited[result[0]](*result[1:])
            except (HostError, MailfilterError) as error:
                result = self.heap.call(engine.FAIL, (type(error).__name__, str(error), None))
            else:
                result = self.heap.call(engine.RESUME, value)
        return result

    def evaluate(self, code):
        """The value of an expression as text; for policies with tests/js/harness.js in them."""
        return self.run("smtpVrfy", code)[2]

    def close(self):
        self.heap.close()


def policy_of(folder, text, settings=None, name="policy.js", **options):
    """A policy from its text, written to a file in `folder`."""
    path = folder / name
    path.write_text(text, "utf-8")
    return load(path, {"cache": "", **(settings or {})}, hostname="mx.test", **options)
