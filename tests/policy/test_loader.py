"""policy/loader.py and library.py: what a broken policy is told, what a good one tells, images and their warnings."""
import re
from pathlib import Path

import pytest
from handlers import RecordingLog, Session, policy_of

from mailfilter._core.heap import Heap
from mailfilter.errors import PolicyError
from mailfilter.policy import library, load

BROKEN = sorted((Path(__file__).parents[1] / "policies/broken").glob("*.js"))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_policy_is_refused_with_its_place(path):
    """Its comments say what is expected of the error, and of the line it shows."""
    text = path.read_text("utf-8")
    with pytest.raises(PolicyError) as caught:
        load(path, {"cache": ""})
    error = caught.value
    for expected in re.findall(r"^// expect: (.*)$", text, re.MULTILINE) or ["is empty"]:
        assert expected in str(error)
    for expected in re.findall(r"^// excerpt: (.*)$", text, re.MULTILINE):
        assert error.source_line.strip() == expected
    assert error.file is None or (error.file == str(path) and str(error).startswith(str(path)))


def test_a_policy_that_is_not_there():
    for name in ("nothing.js", "../mx", "js/policies", ""):
        with pytest.raises(PolicyError, match="there is no policy file .*mx, proxy"):
            load(name, {})


def test_a_policy_that_is_too_large(tmp_path):
    path = tmp_path / "large.js"
    path.write_bytes(b"// x\n" * ((4 << 20) // 5 + 1))
    with pytest.raises(PolicyError, match="the limit is 4194304"):
        load(path, {"cache": ""})


def test_the_library_is_found_in_the_checkout():
    assert library.directory() == Path(library.__file__).resolve().parents[2] / "js"
    assert [name for name, _ in library.every_source()] == [library.PREFIX + name for name in library.FILES]
    assert set(library.FILES) == {path.name for path in library.directory().glob("*.js")}
    assert {"mx", "proxy"} <= set(library.shipped_policies())
    assert library.shipped_policy("mx") == library.shipped_policy("mx.js") and library.shipped_policy("nothing") is None


def test_shipped_policies_by_name():
    policy = load("proxy", {"nextHop": "127.0.0.1:25", "cache": ""})
    assert policy.path.name == "proxy.js" and policy.handlers["smtpPreData"] is True
    with pytest.raises(PolicyError, match="nextHop"):
        load("proxy", {"cache": ""})


def test_a_byte_order_mark_is_no_code(tmp_path):
    assert policy_of(tmp_path, "\ufeffvar a = 1;").handlers["smtpMail"] is False


def test_what_a_policy_tells(tmp_path):
    policy = policy_of(tmp_path, """
        SmtpServer.listenAddress = [["127.0.0.1", 8025], "unix:/x"];
        SmtpServer.debugProtocol = true;
        SmtpServer.limits = {recipients: 5};
        SmtpServer.mine = {deep: [1, null]};
        SmtpServer.helper = function () {};
        SmtpServer.prototype.smtpMail = function () {};
        SmtpServer.prototype.smtpNoop = function () {};
        SmtpServer.prototype.relayCmd = function () {};
    """)
    assert policy.listen_addresses == [["127.0.0.1", 8025], "unix:/x"]
    assert policy.debug_protocol is True and policy.limits == {"recipients": 5} and policy.timeouts == {}
    assert policy.statics["mine"] == {"deep": [1, None]} and "helper" not in policy.statics
    assert policy.handlers["smtpMail"] is True and policy.handlers["smtpNoop"] is True
    assert policy.handlers["smtpRcpt"] is False and "relayCmd" not in policy.handlers
    assert policy.image is not None


def test_the_version_is_the_content(tmp_path):
    same, other = policy_of(tmp_path, "var a = 1;"), policy_of(tmp_path, "var a = 2;")
    assert re.fullmatch("[0-9a-f]{12}", same.version)
    assert same.version == policy_of(tmp_path, "var a = 1;").version != other.version


def test_what_is_logged_while_loading_is_logged_once(tmp_path, capfd):
    log = RecordingLog()
    policy = policy_of(tmp_path, "Sys.log(Sys.LOG_NOTICE, 'loading'); Sys.println('printed'); Sys.openlog('me');", log=log)
    assert log.texts == ["loading"] and log.opened == [("me", 16)] and policy.image is not None
    assert capfd.readouterr().out == "printed\n"
    for _ in range(3):
        policy.new_heap(lambda *a: None).close()
    assert log.texts == ["loading"] and capfd.readouterr().out == ""


@pytest.mark.parametrize("code,word,line", [
    ("\nvar started = new Date();", "Date", 2), ("var a;\n\nvar r = Math.random();", "Math.random", 3),
    ("var t = Date.now();", "Date", 1), ("// Date is not it\nvar d = Date();", "Date", 2),
    ("var p =\n performance.now();", "performance.now", 2),
])
def test_a_policy_that_cannot_be_copied_is_built_for_each_connection(tmp_path, code, word, line):
    log = RecordingLog()
    policy = policy_of(tmp_path, code + "\nvar list = [];\n"
                       "SmtpServer.prototype.smtpMail = function () {"
                       " list.push(1); return new SmtpResponse(250, 'x' + list.length); };",
                       log=log)
    assert policy.image is None
    (severity, _, text, _), = log.lines
    assert severity == 4 and f"policy.js:{line}: " in text and word in text and "smtpInit" in text
    for _ in range(2):                                          # apart all the same
        session = Session(policy)
        assert session.run("smtpMail", ["a", "b", [], []])[2] == "x1"
        assert session.heap.sleep() is False
        session.close()


@pytest.mark.parametrize("code", [
    "var sorted = ['b', 'a', 'c', 'e', 'd', 'f', 'g', 'i', 'h'].sort();", "var d = new Date(0), iso = d.toISOString();",
    "var day = Date.UTC(2020, 1, 1), parsed = Date.parse('2020-01-01');",
    "var t = {}; for (var i = 0; i < 3000; i++) t['k' + i] = i;",
    "var big = new Array(20000).join('x');", "var r = /a(b|c)+/.exec('xabcb');", "var f = Sys.inspect({a: [1]});",
    "var p = new SmtpPath(); p.parse('<a@b>');", "var s = Sys.setting('none', 'x');",
    "try { throw new Error('x'); } catch (e) {}",
    "var j = JSON.parse(JSON.stringify({a: [1, 2, {b: null}]}));", "var u = new Uint8Array(1000);",
])
def test_ordinary_policies_have_an_image(tmp_path, code):
    log = RecordingLog()
    assert policy_of(tmp_path, code, log=log).image is not None, log.texts


def test_images_of_another_size(tmp_path):
    policy = policy_of(tmp_path, "var a = 1;", heap_bytes=700_001)
    assert policy.image is not None
    with pytest.raises(PolicyError, match="does not fit into 50000 bytes"):
        policy_of(tmp_path, "var a = 1;", heap_bytes=50_000)
    with pytest.raises(PolicyError, match="limit of 180000 bytes"):
        policy_of(tmp_path, "var a = 1;", heap_bytes=180_000)


@pytest.mark.parametrize("text, given, expected", [
    ("var a = 1;", None, 8 << 20), ("SmtpServer.limits = {heap_bytes: '4m'};", None, 4 << 20),
    ("SmtpServer.limits = {heap_bytes: '4m'};", 2 << 20, 2 << 20), ("SmtpServer.limits = {recipients: 5};", 3 << 20, 3 << 20),
])
@pytest.mark.parametrize("copied", [True, False])
def test_the_cap_of_every_heap(tmp_path, text, given, expected, copied):
    """The default, the policy over it, the command line over both."""
    policy = policy_of(tmp_path, text + ("" if copied else "\nDate.now();"), heap_bytes=given, log=RecordingLog())
    assert (policy.image is not None) is copied and policy.heap_bytes == expected
    heap = policy.new_heap(None)
    assert heap.limit_bytes == expected
    heap.close()


def test_a_policy_may_be_loaded_with_more_than_the_default(tmp_path):
    text = "SmtpServer.limits = {heap_bytes: '%s'}; var a = []; while (a.length < 12) a.push(new Uint8Array(1 << 20));"
    assert policy_of(tmp_path, text % "20m").image.image_bytes > 12 << 20
    with pytest.raises(PolicyError, match="limit of 8388608 bytes"):
        policy_of(tmp_path, text % "8m")


@pytest.mark.parametrize("text, words", [
    ("\nSmtpServer.limits = {recipient: 5};", ":2:1: SmtpServer.limits: there is no limit 'recipient'"),
    ("\n\n  SmtpServer.timeouts = {command: 'x'};", ":3:3: SmtpServer.timeouts command: 'x' is not a number of seconds"),
    ("SmtpServer.limits = {heap_bytes: 5};", ":1:1: SmtpServer.limits heap_bytes: 5 is too small"),
    ("SmtpServer.limits = 5;", "SmtpServer.limits must be an object"),
])
def test_limits_that_make_no_sense(tmp_path, text, words):
    with pytest.raises(PolicyError) as caught:
        policy_of(tmp_path, text)
    assert words in str(caught.value)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_without_the_addresses_of_an_image_every_connection_builds_its_heap(tmp_path, taken):
    """Something else of the process lies there."""
    blocker = Heap(1 << 20, None, taken)
    try:
        log = RecordingLog()
        policy = policy_of(tmp_path, "var n = 1;", log=log)
        assert policy.image is None
        (severity, _, text, _), = log.lines
        assert severity == 4 and "the address for building" in text and "is taken" in text and "smtpInit" not in text
        session = Session(policy)
        assert session.run("smtpMail", ["a", "b", [], []])[0] == 250
        session.close()
    finally:
        blocker.close()
    assert policy_of(tmp_path, "var n = 1;").image is not None


def test_the_user_is_who_sessions_will_run_as(tmp_path):
    policy = policy_of(tmp_path, "SmtpServer.who = Sys.user;", user="somebody")
    assert policy.statics["who"] == "somebody" and policy.image is not None
    assert policy_of(tmp_path, "SmtpServer.who = Sys.user;").statics["who"] != "somebody"
