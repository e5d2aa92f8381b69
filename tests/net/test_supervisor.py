"""Several workers: all serve, dead ones come back, all end together, and none outlives the supervisor."""
import os
import signal
from collections import Counter

import pytest
from peers.waiting import wait_until
from processes import gone, refused


def pids_of(server, connect, connections=64):
    """The workers that answer, by how many of the connections each took."""
    found = Counter()
    for _ in range(connections):
        client = connect(server.port)
        client.line()
        found[int(client.ask("pid"))] += 1
        client.close()
    return found


def test_every_worker_takes_part(line_server, connect):
    server = line_server("--workers", "3")
    found = pids_of(server, connect)
    assert len(found) == 3
    assert server.process.pid not in found
    assert [line for line in server.log_lines if "listening on" in line][1:] == []
    assert server.log.count(" ready ") == 1


def test_workers_share_a_unix_socket(line_server, connect, tmp_path):
    path = str(tmp_path / "socket")
    server = line_server("--workers", "2", listen=[f"unix:{path}"])
    assert connect(path).line() == f"220 unix:{path}"
    assert server.stop() == 0
    assert not os.path.exists(path)


def test_workers_name_sessions_differently(line_server, connect):
    server = line_server("--workers", "2")
    names = set()
    for _ in range(32):
        client = connect(server.port)
        client.line()
        names.add(client.ask("id"))
    assert len(names) == 32
    assert len({name.split("-")[0] for name in names}) == 2


@pytest.mark.parametrize("word, how", [("crash 3", "status 3"), ("crash 0", "status 0"), ("segv", "signal 11")])
def test_a_dead_worker_is_started_again(line_server, connect, word, how):
    server = line_server("--workers", "2")
    bystander = connect(server.port)
    bystander.line()
    kept = bystander.ask("pid")
    while True:
        victim = connect(server.port)
        victim.line()
        dead = victim.ask("pid")
        if dead != kept:
            break
        victim.close()
    victim.send(word)
    assert victim.line() is None
    log = server.wait_for_log(f"how=\"{how}\"")
    assert f"worker={dead}" in log
    assert bystander.ask("pid") == kept
    # Connections to the dead worker's socket wait for its successor; none is refused.
    found = pids_of(server, connect)
    assert len(found) == 2 and int(kept) in found and int(dead) not in found


def test_restarts_come_more_slowly_each_time(line_server, connect):
    server = line_server("--workers", "2")
    for number, delay in enumerate(("0.1", "0.2", "0.4"), 1):
        # Always the same place: the one whose worker is not the keeper's.
        if number == 1:
            keeper = connect(server.port)
            keeper.line()
            kept = keeper.ask("pid")
        while True:
            victim = connect(server.port)
            victim.line()
            if victim.ask("pid") != kept:
                break
            victim.close()
        victim.send("crash 1")
        server.wait_for_log(f"after_s={delay}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_gracefully(line_server, connect, number):
    server = line_server("--workers", "2")
    clients = [connect(server.port) for _ in range(8)]
    pids = set()
    for client in clients:
        client.line()
        pids.add(int(client.ask("pid")))
        assert client.ask("begin") == "begun"
    server.signal(number)
    wait_until(lambda: refused(server.port), "every listening socket to be closed")
    assert server.process.poll() is None
    for client in clients:
        assert client.ask("end") == "250 kept"
        assert client.line() == "421 closing"
    assert server.wait() == 0
    assert all(gone(pid) for pid in pids)


def test_a_service_manager_may_signal_everybody(line_server, connect):
    """systemd signals all processes of a service at once; a terminal's Ctrl-C does, too."""
    server = line_server("--workers", "2")
    client = connect(server.port)
    client.line()
    assert client.ask("begin") == "begun"
    os.killpg(server.process.pid, signal.SIGTERM)
    wait_until(lambda: refused(server.port), "the end to begin")
    assert client.ask("end") == "250 kept"
    assert server.wait() == 0


def test_ctrl_c_reaches_workers_as_a_graceful_end(line_server, connect):
    server = line_server("--workers", "2")
    client = connect(server.port)
    client.line()
    assert client.ask("begin") == "begun"
    os.killpg(server.process.pid, signal.SIGINT)
    wait_until(lambda: refused(server.port), "the end to begin")
    assert client.ask("end") == "250 kept"
    assert server.wait() == 0


def test_a_second_signal_ends_at_once(line_server, connect):
    server = line_server("--workers", "2", "--timeout", "shutdown=1000")
    client = connect(server.port)
    client.line()
    pid = int(client.ask("pid"))
    assert client.ask("begin") == "begun"
    server.signal(signal.SIGTERM)
    wait_until(lambda: refused(server.port), "the end to begin")
    server.expected_status = 1
    server.signal(signal.SIGINT)
    assert server.wait() == 1
    assert client.line() is None
    assert gone(pid)


def test_workers_that_hang_are_killed(line_server, connect):
    server = line_server("--workers", "2", "--timeout", "shutdown=0.2")
    client = connect(server.port)
    client.line()
    pid = int(client.ask("pid"))
    os.kill(pid, signal.SIGSTOP)
    assert server.stop() == 0
    assert "workers did not end in time and are killed" in server.log
    assert gone(pid)


def test_d14_workers_do_not_outlive_a_killed_supervisor(line_server, connect):
    """D14: children of a dead parent held the listening socket, and clients were accepted by nobody."""
    server = line_server("--workers", "2")
    pids = pids_of(server, connect)
    server.expected_status = -signal.SIGKILL
    server.kill()
    wait_until(lambda: all(gone(pid) for pid in pids), "the workers to end")
    assert refused(server.port)
    assert "the supervisor is gone" in server.log


def test_workers_that_cannot_start_end_the_server(line_server, tmp_path):
    with pytest.raises(AssertionError) as failure:
        line_server("--workers", "2", "--spoil", "0")
    assert "ended with 1" in str(failure.value)
    assert "giving up" in str(failure.value)
