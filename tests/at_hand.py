"""A policy's handlers called by hand: no server, no loop; what a handler waits for is answered by a function.

Must not know: sockets, the state machine.
"""
from mailfilter import policy as policies
from mailfilter._core.heap import HeapDead, ScriptError
from mailfilter.policy import engine


class AtHand:
    """A session of the policy in a file.

    answer(name, *arguments) is asked for every operation that a handler waits for; an exception it raises fails the
    operation. `asked`: those operations, in order.
    """

    def __init__(self, path, settings=None, answer=None, log=None):
        settings = {"cacheDirectory": "", **(settings or {})}
        self.policy = policies.load(str(path), settings, hostname="mx.example.org", log=log)
        self.heap = self.policy.new_heap(self._at_once)
        self.heap.call(engine.OPEN, "192.0.2.1", 1025, "s-1")
        self.answer = answer or self._echo
        self.asked = []

    def _at_once(self, name, *arguments):
        if name == "module.want":
            from mailfilter.policy.operations import AT_ONCE
            return AT_ONCE[name].perform(None, arguments)
        return {"sys.hostname": "mx.example.org", "client.command": None}.get(name)

    def _echo(self, name, *arguments):
        """Connections are numbered; a reply tells what it is the reply of."""
        if name == "client.connect":
            return len(self.asked)
        return [250, [f"reply {arguments[0]}"]]

    def run(self, handler, *arguments):
        """[code, disconnect, line, …] of a handler; PolicyError when it threw."""
        try:
            result = self.heap.call(engine.START, (handler, *arguments))
            while isinstance(result[0], str):
                self.asked.append(tuple(result))
                try:
                    value = self.answer(*result)
                except OSError as error:
                    result = self.heap.call(engine.FAIL, (type(error).__name__, str(error), None))
                else:
                    result = self.heap.call(engine.RESUME, value)
        except (ScriptError, HeapDead) as error:
            thrown_at = None if self.heap.dead else self.heap.call(engine.FAULT)[1]
            raise self.policy.fault(error, thrown_at) from error
        return result

    def lines(self, handler, *arguments):
        """The lines of a handler's reply."""
        return list(self.run(handler, *arguments)[2:])

    def close(self):
        """End the session."""
        self.heap.close()
