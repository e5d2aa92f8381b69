"""Giving up root. Everything that changes users runs in a process of its own."""
import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from peers.sender import Sender

from mailfilter.errors import ConfigError
from mailfilter.net import privileges

NOBODY = pwd.getpwnam("nobody")

PROBE = """
import json, os, sys
from mailfilter.net import privileges
user, group = [word or None for word in sys.argv[1:3]]
privileges.drop(privileges.resolve(user, group))
regained = []
for name, call in [("setuid", lambda: os.setuid(0)), ("setgid", lambda: os.setgid(0)),
                   ("seteuid", lambda: os.seteuid(0)), ("setgroups", lambda: os.setgroups([0])),
                   ("setresuid", lambda: os.setresuid(0, 0, 0)), ("shadow", lambda: open("/etc/shadow").read())]:
    try:
        call()
        regained.append(name)
    except OSError:
        pass
print(json.dumps({"uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()),
                  "regained": regained}))
"""


def after_drop(user, group=None):
    done = subprocess.run([sys.executable, "-c", PROBE, user, group or ""], capture_output=True, text=True, timeout=30,
                          check=True)
    return json.loads(done.stdout)


@pytest.mark.root
def test_d15_user_alone_takes_its_primary_group_and_nothing_of_root_is_left():
    """D15: -u alone kept gid 0."""
    state = after_drop("nobody")
    assert state == {"uids": [NOBODY.pw_uid] * 3, "gids": [NOBODY.pw_gid] * 3,
                     "groups": sorted(set(os.getgrouplist("nobody", NOBODY.pw_gid))), "regained": []}


@pytest.mark.root
def test_a_group_may_be_given():
    group = grp.getgrnam("daemon")
    state = after_drop("nobody", "daemon")
    assert state["gids"] == [group.gr_gid] * 3
    assert group.gr_gid in state["groups"] and 0 not in state["groups"]
    assert state["regained"] == []


@pytest.mark.root
def test_numbers_of_users_and_groups_are_understood():
    state = after_drop(str(NOBODY.pw_uid), str(NOBODY.pw_gid))
    assert state["uids"] == [NOBODY.pw_uid] * 3 and state["gids"] == [NOBODY.pw_gid] * 3


@pytest.mark.parametrize("user, group, word", [
    (None, "nogroup", "--group without --user"),
    ("root", None, "uid 0"),
    ("0", None, "uid 0"),
    ("nobody", "root", "gid 0"),
    ("nobody", "0", "gid 0"),
    ("no-such-user-here", None, "no such user"),
    ("4294967295", None, "no such user"),
    ("99999999999999999999", None, "no such user"),
    ("nobody", "no-such-group-here", "no such group"),
    ("nobody", "99999999999999999999", "no such group"),
])
def test_d15_what_is_refused(user, group, word):
    """D15: -g alone kept uid 0; uid and gid 0 are no way to give up root."""
    with pytest.raises(ConfigError, match=word):
        privileges.resolve(user, group)


def test_nothing_asked_is_nothing_done():
    assert privileges.resolve(None, None) is None
    privileges.drop(None)


def test_a_user_whose_primary_group_is_root_is_refused(monkeypatch):
    monkeypatch.setattr(privileges, "_account", lambda user: SimpleNamespace(pw_name=user, pw_uid=1234, pw_gid=0))
    with pytest.raises(ConfigError, match="primary group is root"):
        privileges.resolve("someone", None)


@pytest.mark.root
def test_a_member_of_group_root_is_refused(monkeypatch):
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 0])
    with pytest.raises(ConfigError, match="member of the group root"):
        privileges.resolve("nobody", None)


def test_without_root_only_the_own_user_will_do(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    with pytest.raises(ConfigError, match="need root"):
        privileges.resolve("nobody", None)
    monkeypatch.setattr(os, "getresuid", lambda: (NOBODY.pw_uid,) * 3)
    monkeypatch.setattr(os, "getresgid", lambda: (NOBODY.pw_gid,) * 3)
    assert privileges.resolve("nobody", None) is None


@pytest.mark.parametrize("left", ["uid", "gid", "group", "regain"])
def test_what_is_left_of_root_is_noticed(monkeypatch, left):
    """The proof is made by looking, whatever the calls before it said."""
    identity = privileges.Identity("nobody", NOBODY.pw_uid, NOBODY.pw_gid)

    def refuse(_):
        raise PermissionError

    for name in ("initgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *_: None)
    for name in ("setuid", "seteuid", "setgid", "setegid"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "getresuid", lambda: (identity.uid, identity.uid, 0 if left == "uid" else identity.uid))
    monkeypatch.setattr(os, "getresgid", lambda: (identity.gid, identity.gid, 0 if left == "gid" else identity.gid))
    monkeypatch.setattr(os, "getgroups", lambda: [identity.gid] + [0] * (left == "group"))
    if left == "regain":
        monkeypatch.setattr(os, "setegid", lambda _: None)
    with pytest.raises(ConfigError, match="privileges are not gone"):
        privileges.drop(identity)


def test_a_system_that_refuses_is_an_error(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "initgroups", refuse)
    with pytest.raises(ConfigError, match="cannot become user nobody"):
        privileges.drop(privileges.Identity("nobody", NOBODY.pw_uid, NOBODY.pw_gid))


@pytest.mark.root
@pytest.mark.parametrize("workers", [1, 2])
def test_d15_root_is_given_up_after_binding(line_server, connect, tmp_path, workers):
    """D15: privileges went before bind, so that port 25 could not be had. Every process is unprivileged after it."""
    path = tmp_path / "socket"
    tmp_path.chmod(0o711)
    server = line_server("--user", "nobody", "--workers", str(workers), listen=["127.0.0.1:0", f"unix:{path}"])
    client = connect(server.port)
    assert client.line().startswith("220")
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert client.ask("who").startswith(f"{(uid,) * 3} {(gid,) * 3} ")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status and "CapEff:\t0000000000000000\n" in status
    assert (path.stat().st_uid, path.stat().st_gid) == (uid, gid)


@pytest.mark.root
def test_a_privileged_port_is_bound_before_root_is_given_up(line_server, connect):
    for port in range(700, 720):
        try:
            server = line_server("--user", "nobody", listen=[f"127.0.0.1:{port}"])
            break
        except AssertionError as error:
            if "in use" not in str(error):
                raise
    assert connect(server.port).line().startswith("220")


@pytest.mark.root
def test_running_as_root_is_remarked(line_server):
    assert "running as root" in line_server().log


@pytest.mark.root
def test_a_policy_sees_the_user_that_it_will_run_as(serve):
    """The policy is loaded by root, but its handlers run as the user; so does what it read while it was loaded."""
    server = serve("var who = Sys.user;\nSmtpServer.prototype.smtpNoop = function () {\n"
                   "    return new SmtpResponse(250, who + ' ' + Sys.user);\n};", options=["--user", "nobody"])
    with Sender(server.port) as sender:
        sender.hello()
        assert sender.command(b"NOOP").text == "nobody nobody"
