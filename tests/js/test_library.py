"""Every `test("…", …)` of the .js files here, each in a session of its own, with the library loaded."""
import re
from pathlib import Path

import pytest
from handlers import Session, policy_of

HERE = Path(__file__).parent
HARNESS = (HERE / "harness.js").read_text("utf-8")
FILES = sorted(path for path in HERE.glob("*.js") if path.name not in ("harness.js", "language.js"))
NAMED = [(path, name) for path in FILES
         for name in re.findall(r'^test\("([^"\n]+)"', path.read_text("utf-8"), re.MULTILINE)]

SETTINGS = {"number": " 42.5 ", "yes": "On", "no": "FALSE", "word": "some text", "empty": "", "half": "12px"}

OUTCOMES = {"none.example": "nxdomain", "slow.example": "timeout", "refused.example": "refused", "empty.example": "nodata"}


def looked_up(name, seconds, rows):
    status = OUTCOMES.get(name, "found")
    if status != "found":
        return [status, 5, f"no answer within {seconds:g} s", []]
    return [status, 60, None, rows]


def question(name, rows):
    status = OUTCOMES.get(name, "found")
    return [status, None, rows if status == "found" else [], [], []]


def spf_outcome(who, asked):
    result = who.rpartition("@")[2].partition(".")[0]
    result = "pass" if result == "helo" else result
    mechanism = "ip4:192.0.2.1" if result in ("pass", "fail", "softfail") else None
    problem = "some reason" if result.endswith("error") else None
    return [result, "mailfrom", asked, mechanism, None, problem, "header", "comment"]


def ran(where, handle, text, values, keys, seconds, away):
    if where[0].endswith("away"):
        return None
    if where[0].endswith("change"):
        return [None, [], 3, 7, []]
    return [["text", "values", "when"], [[text, values, 86400000], [text, values, None]], -1, None, [2]]


WAITED = {
    "sql.run": ran,
    "sql.begin": lambda where, seconds, away: None if where[0].endswith("away") else 1,
    "sql.end": lambda handle, commit, seconds, away: True,
    "maildir.deliver": lambda path, headers, body, folder: "delivered",
    "dns.lookup": lambda name, kind, seconds: looked_up(name, seconds, [[name, 15, 60, "10 mx.example.org",
                                                                         ["preference", 10, "exchange", "mx.example.org"]]]),
    "dns.question": lambda name, kind, seconds: question(name, [[name, 15, 60, "10 mx.example.org", []]]),
    "dns.iprev": lambda address: ["pass", "client.example", ["client.example", "other.example"]],
    "dnsbl.check": lambda subjects, zones, threshold, seconds: [
        2, False, [[subjects[0], 0, ["127.0.0.2", "127.0.0.4"]]], [["two.example", f"{threshold} {seconds}"]],
        [str(zone) for zone in zones]],
    "dkim.verify": lambda headers, body: [["pass", None, "example.org", "s1", None, "rsa-sha256", "relaxed/relaxed", 2048,
                                           ["from"], None, 0, False, 1, None, "abc"]],
    "dkim.sign": lambda headers, body, *options: "v=1; a=rsa-sha256;\r\n b=abc" if options[0] == "example.org" else str(options),
    "arc.verify": lambda headers, body: ["pass", None, False, False, 0, [
        [1, "none", "one.example", "s", "pass", None, "one.example", "fail", "changed", 5, "one.example; spf=pass"],
        [2, "pass", "two.example", "s", "pass", None, "two.example", "pass", None, 6, "two.example; arc=pass"]]],
    "arc.seal": lambda headers, body, *options: [f"i=1; cv={options[5]};\r\n b=abc", "i=1; b=def", f"i=1; {options[4]}"],
    "dmarc.evaluate": lambda headers, spf, dkim, standard, smtputf8, sample: [
        "fail", f"{standard} {smtputf8} {sample}", "sub.example.org", "example.org", "reject", "quarantine", "example.org",
        "v=DMARC1", True, bool(spf and spf[1] == "example.org"), [one[1] == "example.org" for one in dkim],
        ["reject", None, None, "r", "s", 50, "u", False, "0", ["mailto:a@example.org"]] if spf else None],
    "spf.check": lambda address, sender, helo, lax: spf_outcome(sender or helo, f"asked {address} {sender} {helo}"),
    "dns.reverse": lambda address: {"192.0.2.1": "client.example"}.get(address),
    "client.connect": lambda host, port, options: 7,
    "client.reply": lambda handle: [250, ["fine"]],
    "client.message": lambda *arguments: None,
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Each file as a policy, loaded when it is first asked for."""
    made = {}

    def policy(path):
        if path not in made:
            made[path] = policy_of(tmp_path_factory.mktemp("js"), HARNESS + path.read_text("utf-8"), SETTINGS, path.name)
        return made[path]

    return policy


@pytest.mark.parametrize("path,name", NAMED, ids=[f"{path.stem}: {name}" for path, name in NAMED])
def test_library(policies, path, name):
    session = Session(policies(path), WAITED, settings=SETTINGS)
    try:
        assert session.run("smtpHelp", name) == [0]
    finally:
        session.close()


def test_names_are_unique_and_every_file_has_tests():
    assert len(NAMED) == len(set(NAMED)) and {path for path, _ in NAMED} == set(FILES)
