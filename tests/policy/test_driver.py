"""policy/driver.py: handlers that wait, run out of time, are given up, fail; on a loop whose clock the test holds."""
import pytest
from handlers import RecordingLog, context_of, policy_of

from mailfilter.errors import ServiceTimeout, ServiceUnavailable, TemporaryFailure
from mailfilter.policy.driver import Driver

MAIL = (["a", "b", [], []],)


class Timer:
    def __init__(self, when, call, arguments):
        self.when, self.call, self.arguments, self.cancelled = when, call, arguments, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Time passes when the test says so."""

    def __init__(self):
        self.now, self.timers = 0.0, []

    def time(self):
        return self.now

    def call_later(self, seconds, call, *arguments):
        self.timers.append(Timer(self.now + seconds, call, arguments))
        return self.timers[-1]

    def pass_time(self, seconds):
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.call(*timer.arguments)

    @property
    def running(self):
        return [timer for timer in self.timers if not timer.cancelled]


class Hop:
    """A next hop that answers when the test says so."""

    def __init__(self):
        self.connected = self.received = None
        self.touched = self.beyond_recall = self.in_message = self.in_transaction = False
        self.events = []

    def connect(self, done):
        self.connected = done

    def receive(self, done):
        self.received = done

    def command(self, verb, arguments):
        self.touched = True
        self.events.append(verb)

    recipients = 1

    def begin_message(self):
        self.events.append("begin")

    def send_message(self, chunks, done):
        self.events.append(b"".join(chunks))
        self.sent = done
        return False

    def stop_receiving(self):
        self.events.append("stop")

    def resync(self):
        self.events.append("resync")

    def close(self):
        self.events.append("close")


class Reply:
    def __init__(self, code, *lines):
        self.code, self.lines = code, list(lines)


POLICY = """
function talk(server) {
    server.client = server.client || new SmtpClient("hop.test");
    server.client.connect();
    return server.client.readResponse();
}
SmtpServer.prototype.smtpMail = function (path) { return talk(this); };
SmtpServer.prototype.smtpRcpt = function (path) { return new SmtpResponse(250, ["rcpt", path.toString()]); };
SmtpServer.prototype.smtpRset = function () {
    this.client.sendCommand("RSET");
    return this.client.readResponse();
};
SmtpServer.prototype.smtpExpn = function (what) {
    if (!this.client) {
        this.client = new SmtpClient("hop.test");
        return this.client.greeting();
    }
    return what === "message" ? this.client.exchangeMessage(["A: b"], "text") : this.client.exchange("VRFY", what);
};
SmtpServer.prototype.smtpData = function () { return null; };
SmtpServer.prototype.smtpNoop = function (text) { };
SmtpServer.prototype.smtpHelp = function (what) {
    this.disconnect = what === "bye";
    throw new Error("no help");
};
SmtpServer.prototype.smtpVrfy = function (what) { Duktape.Thread.yield((0, eval)("(" + what + ")")); };
"""


class Running:
    """A Driver of POLICY with everything it touches."""

    def __init__(self, policy, **limits):
        self.loop, self.hops, self.log, self.outcomes = Loop(), [], RecordingLog(), []
        self.context = context_of(loop=self.loop, log=self.log, open_next_hop=self._open, **limits)
        self.driver = Driver(policy, self.context, ("192.0.2.1", 1025))

    def _open(self, host, port, options):
        self.hops.append(Hop())
        return self.hops[-1]

    def quiet(self):
        """Whether nothing happens any more, however long one waits: no time-out is left behind."""
        before = list(self.outcomes)
        self.loop.pass_time(1e6)
        return self.outcomes == before and self.driver.handler is None and not self.loop.running

    def run(self, handler, *arguments, seconds=5.0):
        return self.driver.run(handler, arguments, seconds, self.outcomes.append)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return policy_of(tmp_path_factory.mktemp("driver"), POLICY)


@pytest.fixture
def running(policy):
    running = Running(policy)
    yield running
    running.driver.close()


def test_a_handler_that_does_not_wait_has_its_outcome_at_once(running):
    assert not running.driver.started
    outcome = running.run("smtpRcpt", ["x", "y", [], []])
    assert (outcome.code, outcome.lines, outcome.disconnect, outcome.fault) == (250, ["rcpt", "<x@y>"], False, None)
    assert running.driver.started and running.driver.handler is None and not running.loop.running
    assert running.run("smtpNoop", "x").code == 0
    assert running.run("smtpTurn", "x").code == 0               # not there


def test_a_handler_waits_and_goes_on(running):
    assert running.run("smtpMail", *MAIL) is None
    assert running.driver.handler == "smtpMail" and len(running.loop.running) == 1
    running.hops[0].connected(None)
    assert running.outcomes == []
    running.hops[0].received(Reply(251, b"one \xff", b"two"), None)
    outcome, = running.outcomes
    assert (outcome.code, outcome.lines) == (251, ["one \udcff", "two"])
    assert running.driver.handler is None and running.quiet()


@pytest.mark.parametrize("error,text", [
    (ServiceTimeout("too slow"), "ServiceTimeout: too slow"), (ServiceUnavailable("gone"), "ServiceUnavailable: gone"),
])
def test_a_failed_operation_is_thrown_at_its_place(running, error, text):
    running.run("smtpMail", *MAIL)
    running.hops[0].connected(error)
    fault = running.outcomes[0].fault
    assert text in str(fault) and (fault.line, fault.source_line) == (4, "    server.client.connect();")
    assert str(fault).startswith(f"{fault.file}:4:") and "smtpMail: " in str(fault)


def test_a_mistake_of_ours_is_an_internal_error_for_the_policy(running):
    running.run("smtpMail", *MAIL)
    running.hops[0].connected(ZeroDivisionError("our bug"))
    assert "internal error" in str(running.outcomes[0].fault) and "our bug" not in str(running.outcomes[0].fault)
    assert any("our bug" in fields.get("stack", "") for _, _, _, fields in running.log.lines)


def test_no_time_left(running):
    running.run("smtpMail", *MAIL, seconds=5.0)
    running.hops[0].connected(None)
    running.loop.pass_time(4.9)
    assert running.outcomes == []
    late = running.hops[0].received
    running.loop.pass_time(0.2)
    outcome, = running.outcomes
    assert "no time left after 5 s of waiting (for client.reply)" in str(outcome.fault) and not outcome.dead
    assert outcome.fault.line == 7                              # where the handler is
    assert running.hops[0].events == ["stop"]
    late(Reply(250, b"late"), None)                             # nobody waits for it any more
    assert len(running.outcomes) == 1
    assert running.run("smtpRcpt", ["x", "y", [], []]).code == 250


def test_all_waits_of_a_handler_share_its_time(running):
    running.run("smtpMail", *MAIL, seconds=5.0)
    running.loop.pass_time(3)
    running.hops[0].connected(None)
    running.loop.pass_time(3)
    assert "no time left" in str(running.outcomes[0].fault)


def test_next_hops_that_a_failed_handler_touched_are_brought_into_step(running):
    running.run("smtpMail", *MAIL)
    hop = running.hops[0]
    hop.connected(None)
    hop.received(Reply(220, b"hello"), None)
    running.run("smtpRset", seconds=1.0)
    assert hop.events == [b"RSET"]
    running.loop.pass_time(1.1)
    assert hop.events == [b"RSET", "stop", "resync"]


def test_a_connection_whose_greeting_a_handler_waits_for_is_closed_with_it(running):
    running.run("smtpExpn", "x", seconds=1.0)
    hop = running.hops[0]
    hop.connected(None)
    running.loop.pass_time(1.1)
    assert "no time left after 1 s of waiting (for client.greeting)" in str(running.outcomes[0].fault)
    assert hop.events == ["close"] and running.context.next_hops == {}
    hop.received(Reply(220, b"late"), None)
    assert running.context.next_hops == {} and len(running.outcomes) == 1
    assert "Transport endpoint is not connected" in str(running.run("smtpExpn", "x").fault)


def test_an_exchange_that_is_cut_off_is_brought_into_step(running):
    running.run("smtpExpn", "x")
    hop = running.hops[0]
    hop.connected(None)
    hop.received(Reply(220, b"hello"), None)
    running.run("smtpExpn", "x", seconds=1.0)
    late = hop.received
    running.loop.pass_time(1.1)
    assert hop.events == [b"VRFY", "stop", "resync"]
    late(Reply(252, b"late"), None)
    running.run("smtpExpn", "y")
    hop.received(Reply(251, b"right"), None)
    assert [outcome.code for outcome in running.outcomes] == [220, 0, 251]


@pytest.mark.parametrize("sent", [False, True])
def test_a_message_is_cut_off_while_it_is_sent_or_while_its_reply_is_waited_for(running, sent):
    running.run("smtpExpn", "x")
    hop = running.hops[0]
    hop.connected(None)
    hop.received(Reply(220, b"hello"), None)
    hop.received = None
    running.run("smtpExpn", "message", seconds=1.0)
    assert hop.received is None
    if sent:
        hop.sent(None)
    running.loop.pass_time(1.1)
    assert hop.events[2:] == (["stop"] if sent else ["close"])


@pytest.mark.parametrize("error", [None, ServiceUnavailable("gone")])
def test_a_message_that_is_sent_later_than_at_once(running, error):
    running.run("smtpExpn", "x")
    hop = running.hops[0]
    hop.connected(None)
    hop.received(Reply(220, b"hello"), None)
    running.run("smtpExpn", "message")
    hop.sent(error)
    if error is None:
        hop.received(Reply(250, b"taken"), None)
        assert running.outcomes[1].code == 250
    assert hop.events == ["begin", b"A: b\r\n\r\ntext\r\n"]
    assert error is None or "gone" in str(running.outcomes[1].fault)


def test_giving_up_has_no_outcome(running):
    running.run("smtpMail", *MAIL)
    running.driver.give_up()
    running.driver.give_up()
    assert running.hops[0].events == ["close"] and running.outcomes == [] and running.quiet()
    running.hops[0].connected(None)
    assert running.outcomes == [] and running.run("smtpRcpt", ["x", "y", [], []]).code == 250


def test_the_end_while_a_handler_waits(running):
    running.run("smtpMail", *MAIL)
    running.driver.close()
    running.driver.close()
    assert running.driver.heap.dead and running.outcomes == [] and running.quiet()
    running.hops[0].connected(None)


def test_one_handler_at_a_time(running):
    running.run("smtpMail", *MAIL)
    with pytest.raises(RuntimeError, match="smtpRcpt called while smtpMail is running"):
        running.run("smtpRcpt", ["x", "y", [], []])


@pytest.mark.parametrize("wish,disconnect", [("stay", False), ("bye", True)])
def test_a_fault_keeps_the_wish_to_disconnect(running, wish, disconnect):
    outcome = running.run("smtpHelp", wish)
    assert (outcome.code, outcome.disconnect, outcome.dead) == (0, disconnect, False)
    assert "smtpHelp: Error: no help" in str(outcome.fault)


def test_a_fault_whose_place_cannot_be_found_is_one_all_the_same(running, monkeypatch):
    monkeypatch.setattr(type(running.driver.policy), "fault", lambda *_: 1 // 0)
    outcome = running.run("smtpHelp", "bye")
    assert "no help" in outcome.fault.message and outcome.disconnect
    assert any("the place of a fault was not found" in text for text in running.log.texts)


@pytest.mark.parametrize("own", [
    "5", "null", "{}", "[]", "'text'", "[null]", "[{}]", "[[250], true, 'x']", "[250]", "[250, false]", "[250, 0, 'x']",
    "[250, false, 5]", "[99, false, 'x']", "[NaN, false, 'x']",
    "[true, false, 'x']", "function () {}", "[0, 1]", "[600, true, 'x']",
])
def test_what_a_handler_yields_by_itself_is_a_fault(running, own):
    outcome = running.run("smtpVrfy", own)
    assert outcome.fault is not None and outcome.code == 0
    assert running.run("smtpRcpt", ["x", "y", [], []]).code == 250


@pytest.mark.parametrize("forged", ["['no.operation']", "['client.reply']", "['client.reply', 'x']", "['session.tls']",
                                    "['log.write', 1, 'x']"])
def test_a_forged_operation_gets_nothing(running, forged):
    outcome = running.run("smtpVrfy", forged)
    assert outcome.code == 0 and running.log.lines == []
    assert running.run("smtpRcpt", ["x", "y", [], []]).code == 250
    running.run("smtpMail", *MAIL)
    running.hops[0].connected(None)                             # nothing is left over for the next wait
    running.hops[0].received(Reply(250, b"fine"), None)
    assert running.outcomes[0].fault is None


def test_too_many_operations_are_a_fault(policy):
    running = Running(policy, operations=1)
    running.run("smtpMail", *MAIL)
    running.hops[0].connected(None)
    assert "used up its 1 operations" in str(running.outcomes[0].fault)
    running.driver.close()


def test_a_sleeping_session_wakes_for_its_next_handler(running):
    running.run("smtpMail", *MAIL)
    running.driver.sleep()                                      # while it waits
    running.hops[0].connected(None)
    running.driver.sleep()
    running.hops[0].received(Reply(250, b"awake"), None)
    assert running.outcomes[0].lines == ["awake"]
    running.driver.sleep()
    assert running.run("smtpRcpt", ["x", "y", [], []]).code == 250


# Where nothing can wait.

CANNOT = {
    "getter": "({get x() { return w(); }}).x", "setter": "({set x(v) { w(); }}).x = 1",
    "toString": "'' + {toString: w}",
    "String()": "String({toString: w})", "valueOf": "1 + {valueOf: w}", "toJSON": "JSON.stringify({toJSON: w})",
    "eval": "eval('w()')",
    "indirect eval": "(0, eval)('w()')", "JSON.parse": "JSON.parse('[1]', w)", "JSON.stringify": "JSON.stringify([1], w)",
    "Proxy": "new Proxy({}, {get: w}).x", "sort by text": "[{toString: w}, {toString: w}].sort()",
    "join": "[{toString: w}].join()", "defineProperty": "Object.defineProperty({}, {toString: w}, {value: 1})",
    "replace pattern": "'x'.replace({toString: w}, 'y')", "header": "new SmtpHeader({toString: w}, 'x')",
}


@pytest.mark.parametrize("code", CANNOT.values(), ids=CANNOT)
def test_waiting_where_nothing_can_wait_says_what_to_do(tmp_path, code):
    policy = policy_of(tmp_path, f"""
        var server;
        function w() {{ var r = server.client.readResponse(); return r; }}
        SmtpServer.prototype.smtpNoop = function () {{
            server = this;
            this.client = new SmtpClient("hop.test");
            this.client.connect();
            {code};
        }};""")
    running = Running(policy)
    running.run("smtpNoop")
    running.hops[0].connected(None)
    fault = running.outcomes[0].fault
    assert "client.reply cannot wait here" in str(fault) and "Call it before, keep the result in a variable" in str(fault)
    assert fault.line == 3
    assert running.run("smtpRcpt", ["x", "y", [], []]).code == 250
    running.driver.close()


CATCHES_ALL = """
SmtpServer.prototype.smtpMail = function () {
    try {
        new SmtpClient("hop.test").connect();
    } catch (error) {
        return new SmtpResponse(250, "caught " + error.name);
    }
};
SmtpServer.prototype.smtpNoop = function () {
    try {
        return new SmtpResponse(250, Sys.all([
            function () { new SmtpClient("one.test").connect(); return "one"; },
            function () { new SmtpClient("two.test").connect(); return "two"; }
        ], {errors: 'return'}).join(" "));
    } catch (error) {
        return new SmtpResponse(250, "caught " + error.name);
    }
};
SmtpServer.prototype.smtpVrfy = function () { return new SmtpResponse(252, "here"); };
"""


@pytest.mark.parametrize("handler, arguments", [("smtpMail", MAIL), ("smtpNoop", ("",))])
def test_a_temporary_failure_ends_the_handler_wherever_it_stands(tmp_path, handler, arguments):
    """What a service's absence means is said where the service is named, and no catch further out undoes it."""
    running = Running(policy_of(tmp_path, CATCHES_ALL))
    try:
        running.run(handler, *arguments)
        running.hops[-1].connected(TemporaryFailure("scores.test: Connection refused"))
        outcome, = running.outcomes
        assert type(outcome.fault) is TemporaryFailure and not outcome.dead and running.driver.handler is None
        assert outcome.fault.message == f"{handler}: scores.test: Connection refused" and outcome.fault.line is not None
        assert running.quiet()
        assert running.run("smtpVrfy", "").code == 252
    finally:
        running.driver.close()


def test_another_failure_is_thrown(tmp_path):
    running = Running(policy_of(tmp_path, CATCHES_ALL))
    try:
        running.run("smtpMail", *MAIL)
        running.hops[-1].connected(ServiceUnavailable("scores.test: Connection refused"))
        assert running.outcomes[0].lines == ["caught ServiceUnavailable"]
    finally:
        running.driver.close()


def test_a_request_that_cannot_be_taken_over_ends_the_transaction_of_a_message(tmp_path):
    """The handler still stands where it asked, so nothing in JavaScript has tidied up: the next message must not go to the
    recipients of this one."""
    running = Running(policy_of(tmp_path, """
        SmtpServer.prototype.smtpMail = SmtpServer.prototype.smtpRcpt = function (path) { return new SmtpResponse(250, "ok"); };
        SmtpServer.prototype.smtpData = function (headers, body) {
            var big = new Array(300001).join("x"), list = [], i;
            for (i = 0; i < 300; i++) {
                list.push(big);
            }
            new SmtpClient("hop.test", 25, {timeouts: {connect: list}}).connect();
        };
        SmtpServer.prototype.smtpNoop = function (text) {
            return new SmtpResponse(250, [String(this.recipients.length), String(this.sender)]);
        };"""), slice_ms=5000)
    assert running.run("smtpMail", *MAIL).code == running.run("smtpRcpt", *MAIL).code == 250
    outcome = running.run("smtpData", [], 1, 10)
    assert "value is too large" in outcome.fault.message and not outcome.dead
    assert running.run("smtpNoop", "x").lines == ["0", "null"]
    running.driver.close()
