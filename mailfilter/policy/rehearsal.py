"""Runs the first handlers of a policy without a server, to see what it says to a stranger: for `mailfilter check`.

A client at an address that belongs to nobody (RFC 5737) wants to send from one invented domain to another. Nothing outside
is asked or told: whatever a handler waits for fails, as with a network that is down. So what is accepted then is accepted
by the policy alone.

Must not know: sockets, event loops, the state machine.
"""
from mailfilter._core.heap import UNDEFINED, HeapDead, HostError, ScriptError
from mailfilter.errors import MailfilterError, PolicyError, ServiceUnavailable
from mailfilter.policy import engine
from mailfilter.policy.operations import AT_ONCE, WAITED_FOR

__all__ = ["ASKED_LIMIT", "RECIPIENT", "accepts_everyone"]

CLIENT = "192.0.2.1"
SENDER = ("somebody", "a-strange-sender.example")
RECIPIENT = ("anybody", "a-strange-domain.example")

ASKED_LIMIT = 1000
"""Operations after which a policy that goes on trying is left alone: nothing is known of it then."""

# What these subjects do without a resolver is their own answer, an outcome and no error.
_ANSWERING = ("dns", "dnsbl", "spf")


class _Nobody:
    """The session that operations see: all that is not named here is not there."""

    def __init__(self, settings, hostname):
        self.settings = settings
        self.hostname = hostname
        self.session_id = "check"
        self.extensions = []
        self.resolver = None
        self.groups = {}

    def __getattr__(self, name):
        return None


class _NoWaiting:
    """Stands where an operation expects a handler that can wait."""

    def run(self, coroutine):
        coroutine.close()
        raise ServiceUnavailable("nobody is asked in a check")

    def run_in_thread(self, *_arguments):
        raise ServiceUnavailable("nobody is asked in a check")


class _Rehearsal:
    """One session. asked: the names of the operations that were waited for."""

    def __init__(self, policy):
        self.context = _Nobody(policy.settings, policy.hostname)
        self.asked = set()
        self.left = ASKED_LIMIT
        self.heap = policy.new_heap(self._at_once)

    def _at_once(self, name, *arguments):
        operation = AT_ONCE.get(name)
        self.left -= 1
        if operation is None or self.left < 0:
            raise HostError(f"{name} is not there in a check")
        if operation.effects:
            operation.check(arguments)
            return UNDEFINED
        return operation.perform(self.context, arguments)

    def _waited(self, name, *arguments):
        """The answer of an operation that a handler waits for; MailfilterError, mostly."""
        self.asked.add(name)
        self.left -= 1
        if name == "session.pause":
            return UNDEFINED
        if name == "together.next":
            answers = []
            for function, request in arguments[1]:
                try:
                    answers.append([function, self._waited(*request), None])
                except MailfilterError as error:
                    answers.append([function, None, [type(error).__name__, str(error), None]])
            return answers
        if name.partition(".")[0] in _ANSWERING:
            answer = WAITED_FOR[name].run(self.context, _NoWaiting(), *arguments)
            if isinstance(answer, (list, str, type(None))):
                return answer
        raise ServiceUnavailable("nobody is asked in a check")

    def run(self, handler, *arguments):
        """The code of a handler's reply; 0 when it has no opinion."""
        result = self.heap.call(engine.START, (handler, *arguments))
        while isinstance(result[0], str):
            if self.left < 0:
                raise PolicyError("it goes on asking")
            try:
                answer = self._waited(*result)
            except MailfilterError as error:
                result = self.heap.call(engine.FAIL, (type(error).__name__, str(error), None))
            except Exception:           # of an operation that needs more of a session than there is here
                result = self.heap.call(engine.FAIL, ("ServiceUnavailable", "nobody is asked in a check", None))
            else:
                result = self.heap.call(engine.RESUME, answer)
        return result[0]


def accepts_everyone(policy):
    """Whether a stranger's mail to a stranger is taken by smtpRcpt, without the next hop having been asked.

    False, too, where it is not known: a handler before smtpRcpt refused, failed, or asked a next hop.
    """
    session = _Rehearsal(policy)
    try:
        session.heap.call(engine.OPEN, CLIENT, 25, session.context.session_id)
        for handler, *arguments in (("smtpInit",), ("smtpEhlo", "client.a-strange-sender.example"),
                                    ("smtpMail", [*SENDER, [], []]), ("smtpRcpt", [*RECIPIENT, [], []])):
            code = session.run(handler, *arguments)
            if not 200 <= code < 300:
                return False
        return not any(name.startswith("client.") for name in session.asked)
    except (ScriptError, HeapDead, PolicyError):
        return False
    finally:
        session.heap.close()
