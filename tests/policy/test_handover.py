"""handover.py: a policy that another process has built is as good as one's own."""
import os

import pytest
from handlers import RecordingLog, Session, policy_of

from mailfilter import log as logs
from mailfilter.errors import PolicyError
from mailfilter.policy import handover

TEXT = """
SmtpServer.listenAddress = [['127.0.0.1', 8025]];
SmtpServer.limits = {heap_bytes: '2m'};
SmtpServer.mine = {deep: [1, null, undefined]};
var rules = require('./rules');
SmtpServer.prototype.smtpMail = function (path) { return new SmtpResponse(250, rules.word + Sys.setting('name')); };
SmtpServer.prototype.smtpRcpt = function (path) { nothing(); };
"""


def handed_over(policy, settings=None, log=None):
    file = handover.new_file()
    handover.store(policy, ["more"], file)
    with pytest.raises(OSError):
        os.write(file, b"x")                    # sealed
    policy, more = handover.restore(file, settings or {}, log)
    assert more == ["more"]
    with pytest.raises(OSError):
        os.fstat(file)
    return policy


@pytest.mark.parametrize("more", ["", "var now = Date.now();"])
def test_it_is_the_same(tmp_path, more):
    (tmp_path / "rules.js").write_text("exports.word = 'from a module';")
    built = policy_of(tmp_path, TEXT + more, log=RecordingLog())
    policy = handed_over(built, {"name": "!"})
    for name in ("path", "name", "version", "handlers", "statics", "listen_addresses", "limits", "timeouts", "heap_bytes",
                 "debug_protocol", "no_image"):
        assert getattr(policy, name) == getattr(built, name), name
    assert (policy.image is None) == (built.image is None) == bool(more)
    session = Session(policy, settings={"name": "?"})
    assert session.heap.limit_bytes == 2 << 20
    assert session.run("smtpMail", ["a", "b", [], []])[2] == "from a module?"
    with pytest.raises(Exception, match="nothing") as thrown:
        session.run("smtpRcpt", ["a", "b", [], []])
    fault = policy.fault(thrown.value)
    assert isinstance(fault, PolicyError) and (fault.line, fault.column) == (7, 51)
    session.close()
    policy.build_heap().close()


def test_typescript_keeps_its_lines(tmp_path):
    text = "let a: number = 1;\nSmtpServer.prototype.smtpMail = function () {\n    nothing();\n};"
    policy = handed_over(policy_of(tmp_path, text, name="policy.ts", log=logs.Log(logs.TextSink(2), logs.ERR)))
    session = Session(policy)
    with pytest.raises(Exception, match="nothing") as thrown:
        session.run("smtpMail", ["a", "b", [], []])
    assert policy.fault(thrown.value).place.endswith("policy.ts:3:5")
    session.close()
