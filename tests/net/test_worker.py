"""One process that serves: sessions are counted and named, the end is graceful, running out of files is survived."""
import os
import resource
import signal
import socket

import pytest
from peers.waiting import wait_until
from processes import cpu_s, refused


def test_it_serves_in_the_same_process_and_says_where(line_server, connect):
    server = line_server(listen=["127.0.0.1:0", "127.0.0.1:0"])
    assert len(set(server.ports)) == 2
    for port in server.ports:
        client = connect(port)
        assert client.line() == f"220 127.0.0.1:{port}"
        assert client.ask("pid") == str(server.process.pid)
    lines = [line.split(" ", 3)[3] for line in server.log_lines if " listening on " in line or " ready" in line]
    assert lines[:2] == [f"listening on 127.0.0.1:{port}" for port in server.ports]
    assert lines[2].startswith("ready")


def test_sessions_have_names_of_their_own(line_server, connect):
    server = line_server()
    names = []
    for _ in range(3):
        client = connect(server.port)
        client.line()
        names.append(client.ask("id"))
    prefixes, numbers = zip(*[name.split("-") for name in names], strict=True)
    assert len(set(prefixes)) == 1 and len(prefixes[0]) == 4
    assert numbers == ("1", "2", "3")


def test_more_connections_than_allowed_are_refused_and_room_comes_back(line_server, connect):
    server = line_server("--limit", "connections=2")
    first, second = connect(server.port), connect(server.port)
    assert first.line().startswith("220") and second.line().startswith("220")
    third = connect(server.port)
    assert third.line() == "421 no room"
    assert third.line() is None
    first.close()
    assert wait_until(lambda: connect(server.port).line().startswith("220"), "room for a new session")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_waits_for_the_running_transaction(line_server, connect, number):
    server = line_server()
    idle, busy = connect(server.port), connect(server.port)
    assert idle.line() and busy.line()
    assert busy.ask("begin") == "begun"
    server.signal(number)
    assert idle.line() == "421 closing"
    assert idle.line() is None
    assert refused(server.port)
    assert server.process.poll() is None
    assert busy.ask("end") == "250 kept"
    assert busy.line() == "421 closing"
    assert server.wait() == 0


def test_the_end_does_not_wait_longer_than_the_timeout(line_server, connect):
    server = line_server("--timeout", "shutdown=0.3")
    client = connect(server.port)
    client.line()
    assert client.ask("begin") == "begun"
    server.signal(signal.SIGTERM)
    assert client.line() is None
    assert server.wait() == 0
    assert "sessions are cut off" in server.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_ends_at_once(line_server, connect, second):
    server = line_server("--timeout", "shutdown=1000")
    client = connect(server.port)
    client.line()
    assert client.ask("begin") == "begun"
    server.signal(signal.SIGTERM)
    wait_until(lambda: refused(server.port), "the end to begin")
    server.expected_status = 1
    server.signal(second)
    assert server.wait() == 1
    assert client.line() is None


def test_a_session_that_will_not_go_does_not_keep_the_process(line_server, connect):
    server = line_server("--timeout", "shutdown=0.1")
    client = connect(server.port)
    client.line()
    assert client.ask("hold") == "holding"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert client.line() is None


def test_d14_a_successor_binds_at_once_while_old_sessions_finish(line_server, connect):
    """D14: a restart was impossible while sessions lived, and orphans held the port."""
    old = line_server()
    client = connect(old.port)
    client.line()
    assert client.ask("begin") == "begun"
    old.signal(signal.SIGTERM)
    wait_until(lambda: refused(old.port), "the old server to stop listening")
    new = line_server(listen=[f"127.0.0.1:{old.port}"])
    fresh = connect(new.port)
    assert fresh.line().startswith("220")
    assert fresh.ask("pid") == str(new.process.pid)
    assert client.ask("end") == "250 kept"
    assert old.wait() == 0


def test_a_unix_socket_serves_and_goes_at_the_end(line_server, connect, tmp_path):
    path = str(tmp_path / "socket")
    server = line_server(listen=[f"unix:{path}"])
    assert connect(path).line() == f"220 unix:{path}"
    assert f"listening on unix:{path}" in server.log
    assert os.stat(path).st_mode & 0o777 == 0o660
    server.stop()
    assert not os.path.exists(path)


def test_the_limit_of_open_files_is_raised(line_server, connect):
    # In the child only: our own limit stays.
    server = line_server()
    client = connect(server.port)
    client.line()
    soft, hard = client.ask("files").split()
    assert soft == hard == str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def test_connections_are_capped_by_the_files_that_may_be_open(line_server, connect):
    server = line_server("--open-files", "70")
    assert "the limit of open files allows fewer connections than configured" in server.log
    first, second = connect(server.port), connect(server.port)
    assert first.line().startswith("220") and second.line().startswith("220")
    assert connect(server.port).line() == "421 no room"


def test_running_out_of_files_does_not_spin_and_is_survived(line_server, connect):
    """Clients that come when not one descriptor is left are closed, at no cost, and later ones served."""
    server = line_server("--open-files", "70", "--limit", "connections=1")
    keeper = connect(server.port)
    assert keeper.line().startswith("220")
    used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    # Take the limit away from under it: what is open stays open, nothing more can be opened.
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used, 70))
    before = cpu_s(server.process.pid)
    for _ in range(50):
        with socket.socket() as client:
            client.settimeout(10)
            client.connect(("127.0.0.1", server.port))
            try:
                assert client.recv(100) == b""
            except ConnectionResetError:
                pass
    assert keeper.ask("pid") == str(server.process.pid)
    # One second of a loop that spins would cost one second of CPU.
    with pytest.raises(AssertionError):
        wait_until(lambda: cpu_s(server.process.pid) - before > 0.4, "CPU use", seconds=1.0)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (70, 70))
    keeper.close()
    assert wait_until(lambda: (connect(server.port).line() or "").startswith("220"), "service again")


def test_an_exception_that_reaches_the_loop_is_one_line_of_the_log(line_server, connect):
    server = line_server()
    client = connect(server.port)
    client.line()
    client.send("raise")
    server.wait_for_log("our bug")
    found = [line for line in server.log_lines if "our bug" in line]
    assert len(found) == 1 and " error " in found[0] and "RuntimeError" in found[0]
    assert connect(server.port).line().startswith("220")
    # The one traceback that this test asked for.
    server.stop()
    server._log_path.write_text(server.log.replace("Traceback", "traceback"))


def test_running_out_of_files_is_told(line_server, connect):
    server = line_server("--open-files", "70", "--limit", "connections=1")
    keeper = connect(server.port)
    assert keeper.line().startswith("220")
    used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used, 70))
    server.wait_for_log("too much to do, clients are turned away")
    assert "cause=files" in server.log
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (70, 70))
    assert keeper.ask("pid") == str(server.process.pid)
    keeper.close()
    assert wait_until(lambda: (connect(server.port).line() or "").startswith("220"), "service again")
