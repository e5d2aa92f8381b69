"""The program as a user meets it: help, versions, checking a policy, serving, and its words when something is wrong."""
import json
import os
import re
import signal
import smtplib
import socket
import subprocess

import pytest
from peers.waiting import wait_until
from serving import PROGRAM, PROJECT, Server

from mailfilter import cli

POLICY = """
SmtpServer.listenAddress = [["127.0.0.1", 0], ["127.0.0.1", "0"]];
SmtpServer.prototype.smtpRcpt = function () { return new SmtpResponse(250, "fine"); };
"""


def run(*arguments):
    """The finished process of `mailfilter ARGUMENTS`."""
    return subprocess.run([str(word) for word in [PROGRAM, *arguments]], cwd=PROJECT, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=50)


@pytest.mark.parametrize("words, command", [
    (["quarantine", "list", "--older-than", "3d"], "quarantine list"),
    (["quarantine", "purge", "--older-than"], "quarantine purge"),
    (["quarantine", "--nothing", "list"], "quarantine"), (["quarantine", "nothing"], "quarantine"),
    (["serve", "--nothing"], "serve"), (["check", "a.js", "b.js"], "check"), (["--nothing", "version"], "")])
def test_wrong_options_show_the_usage_of_the_command(capsys, words, command):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    told = capsys.readouterr().err
    program = f"mailfilter {command}".strip()
    assert ended.value.code == 2 and told.startswith(f"usage: {program} [-h] ") and f"\n{program}: error: " in told


def test_help_shows_commands_and_examples():
    done = run("--help")
    assert done.returncode == 0
    for word in ("serve", "check", "version"):
        assert word in done.stdout
    done = run("serve", "--help")
    assert done.returncode == 0 and "examples:" in done.stdout
    for word in ("--listen", "--workers", "--user", "--group", "--set", "--timeout", "--limit", "--line-ends",
                 "--log-format", "--log-level", "--hostname", "--spool-directory", "message_bytes=", "shutdown=",
                 "SIGTERM"):
        assert word in done.stdout
    assert "examples:" in run("check", "--help").stdout


def test_version_names_everything_it_is_linked_with():
    done = run("version")
    assert done.returncode == 0 and not done.stderr
    versions = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert list(versions) == [
        "mailfilter", "python", "core", "uvloop", "dukpy", "duktape", "pycares", "c-ares", "pyspf", "greenlet",
        "openssl"]
    assert re.fullmatch(r"(release|debug) build, Cython \d+\.\d+.*", versions["core"])
    assert versions["duktape"].startswith("2.x, a development snapshot")
    for name, value in versions.items():
        assert re.search(r"\d", value) and "cannot" not in value, (name, value)


def test_the_module_is_the_program():
    done = subprocess.run([PROGRAM.with_name("python"), "-m", "mailfilter", "--version"], capture_output=True,
                          text=True, timeout=50)
    assert done.stdout == run("--version").stdout and done.stdout.startswith("mailfilter ")


@pytest.mark.parametrize("arguments, words", [
    ([], "COMMAND"),
    (["fly"], "fly"),
    (["serve", "--fly"], "--fly"),
    (["serve", "mx", "more"], "more"),
    (["serve", "--workers", "0"], "--workers 0"),
    (["serve", "--workers", "many"], "--workers many"),
    (["serve", "--workers", "9999"], "--workers 9999"),
    (["serve", "--log-level", "loud"], "--log-level loud"),
    (["serve", "--log-format", "xml"], "--log-format"),
    (["serve", "--line-ends", "keep"], "--line-ends"),
    (["serve", "--hostname", "a b"], "--hostname a b"),
    (["serve", "--hostname", "a\r\n220 b"], "not a host name"),
    (["serve", "--spool-directory", "/no/such/folder"], "/no/such/folder"),
    (["serve", "--set", "domains"], "--set domains: expected NAME=VALUE"),
    (["serve", "--limit", "recipients=many"], "--limit recipients: 'many'"),
    (["serve", "--limit", "size=1"], "there is no limit 'size'"),
    (["serve", "--timeout", "command=0"], "--timeout command"),
    (["serve", "--timeout", "coffee=5"], "there is no timeout 'coffee'"),
    (["serve", "--listen", "mail.example.org:25"], "not a numeric address"),
    (["serve", "--listen", "127.0.0.1"], "expected HOST:PORT"),
    (["serve", "--user", "no-such-user-here"], "no such user"),
    (["serve", "--user", "root"], "uid 0"),
    (["serve", "--group", "nogroup"], "--group without --user"),
    (["check", "--set", "=x"], "expected NAME=VALUE"),
])
def test_a_wrong_command_line_is_exit_status_2_and_one_clear_line(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mailfilter") and words in last
    assert "Traceback" not in done.stderr


def test_check_lists_handlers(tmp_path):
    path = tmp_path / "policy.js"
    path.write_text(POLICY)
    done = run("check", path)
    assert done.returncode == 0, done.stderr
    own, _, others = done.stdout.partition("handlers left to the library")
    assert f"{path}: no error found" in own
    assert "listens on: 127.0.0.1:0" in own
    assert "  smtpRcpt\n" in own and "smtpMail" not in own
    assert "  smtpMail\n" in others


@pytest.mark.parametrize("name, settings", [
    ("mx", ["--set", "domains=example.org", "--set", "maildir=/tmp/Maildir"]),
    ("proxy", ["--set", "nextHop=127.0.0.1:25"]),
    ("submission", ["--set", "nextHop=127.0.0.1:25"]),
    ("submission", ["--set", "nextHop=127.0.0.1:25", "--set", "users=a:$6$b$c", "--set", "senders=own"]),
    (PROJECT / "js/policies/proxy.js", ["--set", "nextHop=127.0.0.1:25"]),
])
def test_the_shipped_policies_are_fine(name, settings):
    done = run("check", name, *settings)
    assert done.returncode == 0, done.stderr
    assert "no error found" in done.stdout


@pytest.mark.parametrize("source, line, words", [
    ("var a = 1;\nvar b = ;\n", 2, ["SyntaxError", "    var b = ;"]),
    ("var a = 1;\n\nnoSuchThing(a);\n", 3, ["noSuchThing", "    noSuchThing(a);", "^"]),
    ("function f() {\n  throw new Error('mine');\n}\nf();\n", 2, ["mine", "    "]),
    ("throw 'a text';\n", None, ["a text"]),
])
def test_check_shows_the_place_of_an_error(tmp_path, source, line, words):
    path = tmp_path / "policy.js"
    path.write_text(source)
    for command in ("check", "serve"):
        done = run(command, path, *(["--listen", "127.0.0.1:0"] if command == "serve" else []))
        assert done.returncode == 1
        place = f"mailfilter: {path}:{line}:" if line else f"mailfilter: {path}"
        assert place in done.stderr, done.stderr
        for word in words:
            assert word in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("policy", ["no-such-policy", "/no/such/policy.js", str(PROJECT), "/dev/null"])
def test_a_policy_that_cannot_be_read(policy):
    done = run("check", policy)
    assert done.returncode == 1 and policy in done.stderr and done.stderr.count("\n") == 1


def test_limits_of_a_policy_are_checked(tmp_path):
    path = tmp_path / "policy.js"
    path.write_text("SmtpServer.limits = {recipients: 'many'};\n")
    done = run("check", path)
    assert done.returncode == 1
    assert "SmtpServer.limits recipients: 'many' is not a whole number" in done.stderr


@pytest.mark.parametrize("source", ["var a;", "SmtpServer.listenAddress = [];"])
def test_d18_nowhere_to_listen_is_an_error(tmp_path, source):
    path = tmp_path / "policy.js"
    path.write_text(source)
    done = run("serve", path)
    assert done.returncode == 1 and "there is no address to listen on" in done.stderr


def test_an_address_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "proxy", "--set", "nextHop=127.0.0.1:25", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert f"mailfilter: cannot listen on 127.0.0.1:{port}: the address is in use" in done.stderr.splitlines()[-1]


def test_it_serves_where_the_policy_says(serve):
    """D18: every entry of listenAddress counts."""
    server = serve(POLICY, listen=())
    assert len(server.ports) == 2
    for port in server.ports:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            assert client.noop()[0] == 250


def test_listen_takes_the_place_of_the_policy_s(serve):
    assert len(serve(POLICY, listen=["127.0.0.1:0"]).ports) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_message_is_delivered(serve, tmp_path, workers):
    server = serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"},
                   options=["--workers", workers, "--hostname", "mx.example.org"])
    with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.test", timeout=10) as client:
        client.sendmail("a@example.net", ["b@example.org"], b"Subject: first\r\n\r\nHello.\r\n")
    (path,) = (tmp_path / "Maildir" / "new").iterdir()
    content = path.read_bytes()
    assert content.replace(b"\r\n", b"\n").endswith(b"Subject: first\n\nHello.\n")
    assert b"mx.example.org" in content


def test_a_misspelt_setting_is_told(serve):
    server = serve("proxy", settings={"nextHop": "127.0.0.1:25", "nextHopTLS": "required"})
    assert "the setting nextHopTLS is read by nobody; did you mean nextHopTls?" in server.log


@pytest.mark.root
def test_a_spool_directory_that_its_user_may_not_use_is_told(serve, tmp_path):
    os.chmod(tmp_path, 0o700)
    server = serve("proxy", settings={"nextHop": "127.0.0.1:25"},
                   options=["--user", "nobody", "--spool-directory", str(tmp_path)])
    assert "this user may not write into the spool directory" in server.log


def test_a_missing_package_is_told_with_what_to_do(monkeypatch, capsys):
    def serve(options):
        raise ModuleNotFoundError("No module named 'uvloop'", name="uvloop")
    monkeypatch.setattr(cli, "_serve", serve)
    assert cli.main(["serve"]) == 1
    assert capsys.readouterr().err.startswith("mailfilter: No module named 'uvloop': a package that Mailfilter needs is not")


def test_settings_come_from_the_environment(serve, tmp_path):
    environment = {**os.environ, "MAILFILTER_DOMAINS": "example.org", "MAILFILTER_MAILDIR": str(tmp_path / "Maildir")}
    server = serve("mx", environment=environment)
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
        client.sendmail("a@example.net", ["b@example.org"], b"Subject: first\r\n\r\nHello.\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@example.net", ["b@elsewhere.example"], b"Subject: first\r\n\r\nHello.\r\n")


def test_the_log_may_be_json(serve, tmp_path):
    server = serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"},
                   options=["--log-format", "json"])
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10):
        pass
    server.stop()
    events = [json.loads(line) for line in server.log_lines]
    assert all({"time", "level", "session", "text"} <= set(event) for event in events)
    texts = [event["text"] for event in events]
    assert f"listening on 127.0.0.1:{server.port}" in texts and "ready" in texts
    assert any(event["session"] != "-" for event in events)


def test_closed_descriptors_do_not_give_the_log_to_a_client(serve, tmp_path):
    """The first sockets would get the numbers of standard input, output and error."""
    path = tmp_path / "socket"
    words = [PROGRAM, "serve", "mx", "--set", "domains=a.example", "--set", f"maildir={tmp_path}/Maildir", "--listen",
             f"unix:{path}", "--listen", f"unix:{path}2", "--listen", f"unix:{path}3"]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *map(str, words)], cwd=PROJECT)
    try:
        wait_until(lambda: path.with_name("socket3").exists(), "the server to listen")
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(path))
        with client, client.makefile("rwb") as file:
            assert file.readline().startswith(b"220 ")
            file.write(b"NOOP\r\nQUIT\r\n")
            file.flush()
            assert [line[:3] for line in file] == [b"250", b"221"]
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_ctrl_c_ends_it_cleanly(serve, tmp_path):
    server = serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"})
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
        assert client.noop()[0] == 250
        server.signal(signal.SIGINT)
        # An idle client is told before it is left: RFC 5321 §3.8.
        assert client.getreply()[0] == 421
        assert server.wait() == 0
        client.close()


def test_a_transaction_is_finished_before_the_end(serve, tmp_path):
    server = serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"})
    client = smtplib.SMTP("127.0.0.1", server.port, timeout=10)
    client.ehlo("client.test")
    assert client.mail("a@example.net")[0] == 250
    assert client.rcpt("b@example.org")[0] == 250
    assert client.docmd("DATA")[0] == 354
    server.signal(signal.SIGTERM)
    server.wait_for_log("stopping")
    client.send(b"Subject: last\r\n\r\nHello.\r\n.\r\n")
    assert client.getreply()[0] == 250
    assert client.getreply()[0] == 421
    client.close()
    assert server.wait() == 0
    assert len(list((tmp_path / "Maildir" / "new").iterdir())) == 1


def test_d14_a_restart_binds_at_once_while_a_transaction_runs(serve, tmp_path):
    settings = {"domains": "example.org", "maildir": tmp_path / "Maildir"}
    old = serve("mx", settings=settings)
    client = smtplib.SMTP("127.0.0.1", old.port, timeout=10)
    client.ehlo("client.test")
    assert client.mail("a@example.net")[0] == 250
    old.signal(signal.SIGTERM)
    old.wait_for_log("stopping")
    new = serve("mx", settings=settings, listen=[f"127.0.0.1:{old.port}"])
    with smtplib.SMTP("127.0.0.1", new.port, timeout=10) as fresh:
        fresh.sendmail("a@example.net", ["b@example.org"], b"Subject: first\r\n\r\nHello.\r\n")
    assert client.rcpt("b@example.org")[0] == 250
    assert client.data(b"Subject: last\r\n\r\nHello.\r\n")[0] == 250
    client.close()
    assert old.wait() == 0
    assert len(list((tmp_path / "Maildir" / "new").iterdir())) == 2


def test_a_server_that_does_not_start_shows_why(tmp_path):
    """The fixture itself: what the program said is in the failure."""
    with pytest.raises(AssertionError, match="nextHop"):
        Server("proxy", tmp_path)
