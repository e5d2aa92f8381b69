"""`mailfilter check`: what it tells of a policy, and its warnings."""
import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from mailfilter import cli
from mailfilter import policy as policies
from mailfilter._core.heap import regions
from mailfilter.net import inbound
from mailfilter.policy import inspection, library, rehearsal
from mailfilter.policy.operations import OPERATIONS

POLICIES = Path(__file__).resolve().parents[1] / "policies"
TSC = library.directory().parent / "build/interop/node_modules/.bin"


@pytest.fixture
def check(tmp_path, capfd, monkeypatch):
    """`check(source or path)` gives (status, standard output, standard error)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def check(source, *options, name="policy.js"):
        path = source
        if isinstance(source, str):
            path = tmp_path / name
            path.write_text(textwrap.dedent(source))
        status = cli.main(["check", str(path), *options])
        return status, *capfd.readouterr()
    return check


WHOLE = """
    SmtpServer.prototype.smtpRcpt = function (path) { return new SmtpResponse(path.mailbox.domain === 'a.b' ? 250 : 550, 'x'); };
    SmtpServer.prototype.smtpData = function (headers, body) { return new SmtpResponse(550, 'No'); };
"""


def test_a_policy_without_a_mistake_has_no_warning(check):
    status, told, complaints = check(WHOLE)
    assert (status, complaints) == (0, "")
    assert re.search(r"^image: [0-9]+ bytes, [0-9]+ relocations, built in [0-9.]+ ms, copied in [0-9]+ µs$", told, re.MULTILINE)
    assert "operations: none\n" in told and "compiled" not in told and "modules" not in told


def test_modules_and_how_they_were_compiled(check):
    status, told, _ = check(POLICIES / "modules/policy.js")
    assert status == 0
    listed = told[told.index("modules:\n"):told.index("operations")].split("\n")[1:-1]
    folder = POLICIES / "modules"
    assert f"  {folder}/rules/dnsbl.js" in listed and f"  {folder}/rules/lazy.js (by Babel)" in listed
    assert f"  {folder}/rules/second.ts (by TypeScript and Babel)" in listed and len(listed) == 8
    status, told, _ = check(POLICIES / "modern/policy.js")
    assert f"compiled:\n  {POLICIES}/modern/policy.js (by Babel)\n" in told


@pytest.mark.parametrize("code, given, words", [
    ("Sys.setting('nextHopTls', 'off');", "nextHopTLS", "the setting nextHopTLS is read by nobody; did you mean nextHopTls?"),
    ("Sys.setting('domains', '');", "domain", "the setting domain is read by nobody; did you mean domains?"),
    ("var domain = Sys.setting('domains', '');", "colour", "the setting colour is read by nobody\n"),
    ("Sys.setting('domains', '');", "domains", None),
    ("var read = Sys.setting; read('colour', '');", "colour", None),
    ("['colour'].map(function (name) { return Sys.setting(name, ''); });", "other", None),
    ("", "cacheDirectory", None),
    ("", "store", None),
])
def test_a_setting_that_nobody_reads(check, code, given, words):
    status, _, complaints = check(WHOLE + code, "--set", f"{given}=")
    assert status == 0
    assert complaints == "" if words is None else f"policy.js: warning: {words}" in complaints


@pytest.mark.parametrize("code, operations", [
    ("new SmtpClient('a', 1).connect();", ["client.connect", "client.close"]),
    ("this.receivedHeader();", ["sys.hostname", "trace.received", "dns.reverse"]),
    ("Sys.log(6, 'x');", ["log.write"]),
    ("new Maildir('/x').deliver([], '');", ["maildir.deliver"]),
    ("JSON.parse('1'); Math.log(1); /* connect() */", []),
    ("Date.now(); Math.random();", ["clock.now", "random.number"]),
    ("Http.get('http://a.b/');", ["http.request"]),
    ("var db = Sql.connect('sqlite:/x'); db.execute('x', []);", ["sql.check", "sql.run"]),
    ("Sql.connect('sqlite:/x').transaction(function (tx) { tx.query('x'); });", ["sql.check", "sql.run", "sql.begin", "sql.end"]),
    ("DriverManager.getConnection('sqlite:/x').createStatement().executeQuery('x').next();", ["sql.check", "sql.run"]),
    ("Maps.load('a.cidr').get('x');", ["map.load", "map.find"]),
])
def test_operations_that_are_used(check, code, operations):
    told = check(WHOLE + "SmtpServer.prototype.smtpNoop = function () {" + code + "};")[1]
    named = re.search("^operations: (.*)$", told, re.MULTILINE)[1].split(", ")
    assert set(operations) - {"sys.hostname"} <= set(named)
    if not operations:
        assert named == ["none"]


def test_operations_of_the_shipped_policy_with_a_database(check):
    told = check(Path("database"), "--set", "nextHop=127.0.0.1:10025", "--set", "database=sqlite:/nowhere/mail.db")[1]
    named = re.search("^operations: (.*)$", told, re.MULTILINE)[1].split(", ")
    assert {"sql.check", "sql.begin", "sql.run", "sql.end", "client.connect"} <= set(named)


def test_a_namesake_in_another_file_is_not_what_is_used(check):
    told = check(WHOLE + "SmtpServer.prototype.smtpNoop = function () { Spf.check('192.0.2.1', 'a@b', 'c'); };")[1]
    assert re.search("^operations: (.*)$", told, re.MULTILINE)[1] == "spf.check"


def test_operations_of_the_library_are_those_of_the_table():
    known = {operation.name for operation in OPERATIONS}
    for name, meanings in inspection._library_functions().items():
        assert all(used <= known for _, used, _ in meanings), name


def test_why_there_is_no_image(check):
    status, told, complaints = check(WHOLE + "var begun = Date.now();")
    assert status == 0
    assert re.search(r"^image: none \(.*policy.js:4: it uses Date while it is loaded\); every connection", told, re.MULTILINE)


@pytest.mark.parametrize("name, hint", [
    ("smtpRcptTo", "did you mean smtpRcpt?"), ("smtprcpt", "did you mean smtpRcpt?"), ("smtpInnit", "did you mean smtpInit?"),
    ("smtpCompletelyOther", "known are cleanup, "), ("cleanUp", "did you mean cleanup?")])
def test_misspelt_handlers(check, name, hint):
    status, _, complaints = check(WHOLE + f"SmtpServer.prototype.{name} = function () {{ }};")
    assert status == 0
    assert f"policy.js:4:22: warning: {name} is no handler and is never called by itself; {hint}" in complaints


def test_misspelt_handlers_of_a_class(check):
    _, _, complaints = check(WHOLE + "class Mine extends SmtpServer {\n  smtpRcptTo() { }\n}\nSmtpServer = Mine;\n")
    assert "policy.js:5:3: warning: smtpRcptTo is no handler" in complaints and complaints.count("warning") == 1


def test_methods_of_the_policy_s_own_are_no_mistake(check):
    assert check(WHOLE + "SmtpServer.prototype.relay = function () { };")[2] == ""


@pytest.mark.parametrize("value", ["5", "'x'", "{}", "null", "undefined"])
def test_a_handler_that_is_no_function(check, value):
    status, told, complaints = check(WHOLE + f"SmtpServer.prototype.smtpMail = {value};")
    assert (status, told) == (1, "")
    assert complaints.endswith("/policy.js:4:22: SmtpServer.prototype.smtpMail must be a function\n"
                               f"    SmtpServer.prototype.smtpMail = {value};\n                         ^\n")


def test_handlers_taken_back_and_properties_with_like_names_are_no_mistake(check):
    assert check(WHOLE + "SmtpServer.prototype.smtpNoop = null; SmtpServer.prototype.smtpClient = {};"
                 "SmtpServer.prototype.smtpTimeout = 5;")[::2] == (0, "")
    status, _, complaints = check(WHOLE + "SmtpServer.prototype.smtpNoop = 'text';")
    assert status == 1 and "smtpNoop must be a function" in complaints


# What a stranger is told.

OPEN = "smtpRcpt accepts every recipient: a stranger's mail to anybody@a-strange-domain.example was taken"
DATA = "SmtpServer.prototype.smtpData = function (headers, body) { return new SmtpResponse(550, 'No'); };"


@pytest.mark.parametrize("body, warned", [
    ("return new SmtpResponse(250, 'Ok');", True),
    ("Sys.log(6, String(path)); Sys.println('x'); return new SmtpResponse(251, 'Ok');", True),
    ("if (Dns.lookup('x.example', 'A').status === 'found') { return new SmtpResponse(550, 'No'); }"
     "return new SmtpResponse(250, 'Ok');", True),
    ("try { this.receivedHeader(); } catch (e) { } return new SmtpResponse(250, 'Ok');", True),
    ("Sys.all([function () { return Dns.lookup('x.example', 'A'); }], {errors: 'return'}); return new SmtpResponse(250, 'Ok');",
     True),
    ("return this.remoteAddr === '127.0.0.1' ? new SmtpResponse(250, 'Ok') : new SmtpResponse(550, 'No');", False),
    ("return new SmtpResponse(450, 'Later');", False), ("throw new Error('x');", False), ("return null;", False),
    ("for (;;) ;", False), ("for (;;) { try { this.receivedHeader(); } catch (e) { } }", False),
    ("for (;;) { try { Dns.lookup('x.example', 'A'); } catch (e) { } }", False),
    ("var c = new SmtpClient('127.0.0.1', 1); c.connect(); return c.readResponse();", False),
    ("try { new SmtpClient('127.0.0.1', 1).connect(); } catch (e) { } return new SmtpResponse(250, 'Ok');", False),
])
def test_who_accepts_every_recipient_is_warned(check, body, warned):
    status, told, complaints = check(f"SmtpServer.prototype.smtpRcpt = function (path) {{ {body} }};\n{DATA}")
    assert status == 0
    assert (OPEN in complaints) == warned, complaints
    assert not warned or "policy.js:1:22: warning: " in complaints
    assert "\nx\n" not in told


@pytest.mark.parametrize("earlier", ["smtpInit", "smtpEhlo", "smtpMail"])
def test_a_stranger_turned_away_before_is_no_open_relay(check, earlier):
    complaints = check("SmtpServer.prototype.smtpRcpt = function (path) { return new SmtpResponse(250, 'Ok'); };"
                       f"SmtpServer.prototype.{earlier} = function () {{ return new SmtpResponse(554, 'No'); }};{DATA}")[2]
    assert complaints == ""


@pytest.mark.parametrize("name, settings", [
    ("mx", {"domains": "example.org", "maildir": "/nowhere"}), ("mx", {"domains": "example.org", "nextHop": "127.0.0.1:1"}),
    ("proxy", {"nextHop": "127.0.0.1:1"}), ("submission", {"nextHop": "127.0.0.1:1"})])
def test_the_shipped_policies_are_no_open_relays(capfd, name, settings):
    options = [option for setting in settings.items() for option in ("--set", "=".join(setting))]
    assert cli.main(["check", name, *options]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["mx", "proxy", "submission"])
@pytest.mark.parametrize("settings", [
    {"nextHopTls": "maybe"}, {"nextHopCa": "/etc/ssl/certs"}, {"nextHopTls": "required", "nextHopFingerprint": "00"}])
def test_tls_settings_that_cannot_be_meant_stop_the_start(capfd, name, settings):
    settings = {"domains": "example.org", "nextHop": "127.0.0.1:1", **settings}
    options = [option for setting in settings.items() for option in ("--set", "=".join(setting))]
    assert cli.main(["check", name, *options]) == 1
    assert "nextHopTls" in capfd.readouterr().err


def test_a_rehearsal_leaves_nothing_behind(tmp_path):
    path = tmp_path / "policy.js"
    path.write_text("SmtpServer.prototype.smtpRcpt = function (path) { for (;;) ; };")
    policy = policies.load(str(path), {"cacheDirectory": ""})
    before = regions()[0]
    for _ in range(3):
        assert not rehearsal.accepts_everyone(policy)
    assert regions()[0] == before


# Names that are known elsewhere.

@pytest.mark.parametrize("code, line, words", [
    ("var a;\nfunction f() { console.log('x'); }", 2, "there is no console: write Sys.log"),
    ("let a;\nlet f = () => {\n    setTimeout(f, 5);\n};", 3, "there is no setTimeout"),
    ("function f() { return new Promise(f); }", 1, "there is no Promise: calls wait by themselves"),
    ("function f() { module.exports = 1; }", 1, "there is no module: the policy itself is no module"),
    ("function f() { return process.env.X; }", 1, "Sys.setting"),
])
def test_names_that_are_not_there(check, code, line, words):
    status, _, complaints = check(code + WHOLE.replace("\n", " "))
    assert status == 0 and words in complaints and f"policy.js:{line}:" in complaints and complaints.count("warning") == 1


@pytest.mark.parametrize("code", [
    "var console = {log: function () { }}; console.log(1);", "function f(module) { return module.x; }", "var a = {console: 1};",
    "if (typeof console !== 'undefined') { console.log(1); }", "var a = 'console'; // console", "this.console = 1; console;",
    "let f = Promise => Promise.x;", "try { } catch (process) { process.x(); }", "var a = {}; a.fetch(1);",
])
def test_names_that_are_there_or_are_others(check, code):
    assert check(code + WHOLE)[2].count("there is no ") == 0


# For programs.

def test_the_report_as_json(check):
    status, told, complaints = check(
        WHOLE + "SmtpServer.listenAddress = [['127.0.0.1', 25]];\nlet a = 1;\nlet f = () => console;", "--json")
    told = json.loads(told)
    assert status == 0 and told["ok"]
    assert told["listens"] == ["127.0.0.1:25"] and re.fullmatch("[0-9a-f]{12}", told["version"])
    assert told["handlers"]["policy"] == ["smtpRcpt", "smtpData"] and "smtpMail" in told["handlers"]["library"]
    assert told["files"][0]["compilers"] == ["Babel"] and told["files"][0]["bytes"] > 100
    assert told["image"].keys() == {"bytes", "relocations", "copied_us"} and told["no_image"] is None
    assert told["types"] == "none" and told["errors"] == [] and told["built_ms"] > 0
    (warning,) = told["warnings"]
    assert (warning["line"], warning["column"], warning["source"]) == (6, 15, "let f = () => console;")
    assert warning["file"] == told["policy"] and "there is no console" in warning["message"]
    assert "policy.js:6:15: warning: there is no console" in complaints


def test_the_report_of_a_policy_that_cannot_be_loaded_as_json(check):
    status, told, complaints = check("Sys.println('printed');\nvar = 5;\n", "--json")
    told = json.loads(told)
    assert status == 1 and not told["ok"] and told["errors"][0]["line"] == 2 and told["errors"][0]["source"] == "var = 5;"
    status, told, complaints = check("Sys.println('printed');\nunknown();\n", "--json")
    assert status == 1 and json.loads(told)["errors"][0]["column"] == 1 and "printed" in complaints
    status, told, _ = check("SmtpServer.listenAddress = ['nonsense'];", "--json")
    assert status == 1 and json.loads(told)["errors"][0]["file"] is None


def test_warnings_may_count_as_errors(check):
    assert check(WHOLE, "--strict")[0] == 0
    assert check(WHOLE + "function f() { console; }", "--strict")[0] == 1
    assert check("var a;")[0] == 0 and check("var a;", "--strict", "--json")[0] == 1


def test_the_place_of_a_mistake_in_a_module(check, tmp_path):
    (tmp_path / "rules.js").write_text("exports.a = 1;\nlet b = function () {\n   return 1 +;\n};\n")
    status, told, complaints = check("var rules = require('./rules');")
    assert (status, told) == (1, "")
    assert complaints == (f"mailfilter: {tmp_path}/rules.js:3:14: SyntaxError: Unexpected token\n"
                          "       return 1 +;\n                 ^\n")


def test_what_lacks(check):
    _, _, complaints = check("var a;")
    assert "warning: there is no smtpData: every message is put off with 451" in complaints
    assert "warning: there is no smtpRcpt: every recipient is accepted" in complaints


def test_modules_that_are_missing(check):
    _, _, complaints = check(WHOLE + "function later() { require('./none'); }")
    assert "policy.js:4:20: warning: cannot find the module './none'" in complaints


def test_operations_of_what_is_not_named_do_not_count(check):
    told = check(WHOLE + "function f(x) { return x.lookup(1) + x.query(2) + x.connect(3); }")[1]
    assert "operations: none\n" in told


def test_the_known_handlers_are_those_that_are_called():
    source = (library.directory() / "engine.js").read_text()
    server = (library.directory() / "server.js").read_text()
    called = {*inbound._OPTIONAL.values(), *re.findall(r"case '(smtp\w+|cleanup)'", source), "smtpBody"}
    defaults = set(re.findall(r"SmtpServer\.prototype\.(smtp\w+|cleanup) = function", server))
    assert called | defaults == set(inspection.HANDLERS)


def test_what_is_not_installed(check, monkeypatch):
    monkeypatch.setitem(inspection._OPTIONAL, "no_such_module", "something")
    assert "not installed: no_such_module (something)\n" in check(WHOLE)[1]


# Types.

TYPED = """\
interface Rule { name: string; }
const rule: Rule = {name: 'x'};
SmtpServer.prototype.smtpRcpt = function (path) {
    return new SmtpResponse('550', `${rule.nam} ${path}`);
};
"""


def test_without_a_compiler_types_are_not_checked(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, told, _ = check(TYPED, name="policy.ts")
    assert status == 0 and "types: not checked; there is no tsc\n" in told


@pytest.mark.skipif(not (TSC / "tsc").exists() or not shutil.which("node"), reason="typescript is not installed")
def test_errors_in_types(check, monkeypatch):
    monkeypatch.setenv("PATH", f"{TSC}:{os.environ['PATH']}")
    status, told, complaints = check(TYPED, name="policy.ts")
    assert status == 1 and "policy.ts: 2 errors in types\n" in told
    assert re.search(r"policy\.ts:4:29: TS\d+: .*'string' is not assignable", complaints)
    assert re.search(r"policy\.ts:4:44: TS\d+: .*'nam' does not exist", complaints)
    assert "    return new SmtpResponse('550', `${rule.nam} ${path}`);" in complaints
    status, told, _ = check(TYPED.replace("'550'", "550").replace("nam}", "name}"), name="policy.ts")
    assert status == 0 and "no error found" in told and "types:" not in told


LATER = """\
SmtpServer.prototype.smtpRcpt = function (path) {
    const all: string[] = Object.values({a: 'x'.padStart(2)}), known = new Map(Object.entries({a: 1}));
    const last = [[1], [2]].flat().includes(2) && ' x'.trimStart() !== '' && 2 ** 2;
    return new SmtpResponse(550, `${all.length} ${known.size} ${last}`);
};
"""


@pytest.mark.skipif(not (TSC / "tsc").exists() or not shutil.which("node"), reason="typescript is not installed")
def test_the_types_of_the_standard_methods_that_are_there(check, monkeypatch):
    monkeypatch.setenv("PATH", f"{TSC}:{os.environ['PATH']}")
    status, told, complaints = check(LATER, name="policy.ts")
    assert status == 0 and "no error found" in told, complaints


@pytest.mark.parametrize("script, words", [
    ("exit 3", None), ("echo 'error TS5023: Unknown option'; exit 1", "error TS5023: Unknown option"),
    ("echo 'other.d.ts(3,4): error TS1: odd'", "other.d.ts:3:4: TS1: odd")])
def test_an_odd_compiler(check, monkeypatch, tmp_path, script, words):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tsc").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin/tsc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    status, _, complaints = check("SmtpServer.prototype.smtpRcpt = function (path: SmtpPath) { return null; };", name="policy.ts")
    assert status == (1 if words else 0) and (words is None or words in complaints)


# The page about it.

PAGE = library.directory().parent / "docs/javascript.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", blocks("js"))
def test_examples_of_the_page(check, block):
    assert check(block)[0] == 0


def test_the_typescript_example_of_the_page(check):
    (example,) = [block for block in blocks("javascript") if "interface" in block]
    assert check(example, name="policy.ts")[0] == 0


def test_what_parts_on_demand_cost_is_as_the_page_says(tmp_path):
    def size(words):
        path = tmp_path / "policy.js"
        path.write_text(f"var a = {{}};\nif (a.x) {{ a.{words}; }}\n")
        return policies.load(str(path), {"cacheDirectory": ""}).image.image_bytes

    plain = size("x")
    told = [int(number) << 10 for number in re.search(
        r"cost (\d+) KB of\s+every session, `Map` and its like (\d+) KB more, generators (\d+) KB, `require` (\d+) KB",
        PAGE.read_text()).groups()]
    measured = [size("flatMap") - plain, size("Map") - size("flatMap"), size("regeneratorRuntime") - size("flatMap"),
                size("require") - plain]
    for said, found in zip(told, measured, strict=True):
        assert abs(said - found) < said * 0.3, (told, measured)
