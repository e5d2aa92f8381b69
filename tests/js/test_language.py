"""Today's JavaScript: the functions of language.js give the same in a policy, waiting in the middle, as in node."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from at_hand import AtHand

TEST_SECONDS = 120
CASES = (Path(__file__).parent / "language.js").read_text("utf-8")
NUMBER = CASES.count("\n    function (ask) {\n")

POLICY = CASES + """
function ask(x) {
    var client = new SmtpClient(String(x), 1);
    client.connect();
    client.disconnect();
    return x;
}

SmtpServer.prototype.smtpVrfy = function (number) {
    return new SmtpResponse(250, 'gives ' + JSON.stringify(CASES[number](ask)));
};
"""


@pytest.fixture(scope="module")
def expected():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = CASES + "\nconsole.log(JSON.stringify(CASES.map(f => String(JSON.stringify(f(x => x))))));"
    done = subprocess.run(["node", "-"], input=script, check=True, capture_output=True, text=True, timeout=30)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "policy.js"
    path.write_text(POLICY, "utf-8")
    session = AtHand(path)
    yield session
    session.close()


@pytest.mark.parametrize("number", range(NUMBER))
def test_it_gives_what_node_gives(expected, session, number):
    assert len(expected) == NUMBER
    assert "\n".join(session.lines("smtpVrfy", number)) == "gives " + expected[number]


def test_they_have_waited(session):
    session.asked.clear()
    for number in range(NUMBER):
        session.run("smtpVrfy", number)
    assert len(session.asked) > 30
