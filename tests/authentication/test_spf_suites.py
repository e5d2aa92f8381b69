"""The test suites of RFC 7208 and RFC 4408, and pyspf's own, through Spf.check of a policy.

Look-ups are DNS packets to and from a server of the test's own.
"""
import json

import pytest
from authentication.spf_zone import SuiteServer, records_of
from peers.dns import DnsThread
from peers.sender import Sender
from serving import PROJECT

yaml = pytest.importorskip("yaml")

SUITES = [path for name in ("rfc4408-tests.yml", "rfc7208-tests.yml", "test.yml")
          for path in (PROJECT / "build" / "suites").glob(f"pyspf-*/test/{name}")]

POLICY = """
SmtpServer.prototype.smtpVrfy = function (text) {
    var asked = JSON.parse(text), found = Spf.check(asked[0], asked[1], asked[2], { lax: asked[3] });
    return new SmtpResponse(252, JSON.stringify([found.result, found.explanation, found.identity, found.problem]));
};
"""

# What is answered differently on purpose, with the reason.
DIFFERENT = {
    "test:default-modifier-harsh": "asks for pyspf's mode for validators, whose result `ambiguous` RFC 7208 does not have",
}


def scenarios():
    for path in SUITES:
        for scenario in yaml.safe_load_all(path.read_text("utf-8")):
            for name, test in scenario["tests"].items():
                yield pytest.param(scenario, test, id=f"{path.stem}:{name}")


@pytest.fixture(scope="module")
def dns():
    with DnsThread({}, SuiteServer) as thread:
        yield thread


@pytest.fixture(scope="module")
def session(dns, serve_module):
    server = serve_module(POLICY, options=["--dns-server", dns.address],
                          limits={"dns_cache_entries": 0, "operations": 1000000, "session_ms": 100000})
    with Sender(server.port) as sender:
        sender.hello()
        yield sender


def test_the_suites_are_there():
    if not SUITES:
        pytest.skip("the source distribution of pyspf is not in build/suites; `make test` fetches it")
    assert len(list(scenarios())) == 410


@pytest.mark.parametrize("scenario, test", list(scenarios()))
def test_suite(dns, session, scenario, test, request):
    dns.server.suite = records_of(scenario["zonedata"])
    different = DIFFERENT.get(request.node.callspec.id)
    if different:
        pytest.skip(different)
    question = [test["host"], test["mailfrom"], test["helo"], test.get("strict", 1) == 0]
    reply = session.command(b"VRFY " + json.dumps(question).encode())
    assert reply.code == 252, reply
    result, explanation, identity, problem = json.loads(b" ".join(reply.lines).decode())
    wanted = test["result"] if isinstance(test["result"], list) else [test["result"]]
    assert result in wanted, problem
    assert identity == ("mailfrom" if test["mailfrom"] else "helo")
    if "explanation" in test:
        assert (explanation or "DEFAULT") == test["explanation"]
