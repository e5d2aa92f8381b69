"""--metrics: what the pages say after some sessions, over all workers; and what they say to nonsense."""
import signal
import socket
import subprocess
import sys

import pytest
from pages import Pages
from peers.sender import Sender
from peers.waiting import wait_until
from serving import PROGRAM, PROJECT

POLICY = """
SmtpServer.prototype.smtpHelo = function (name) { throw new Error('no HELO here'); };
SmtpServer.prototype.smtpRcpt = function (path) {
    var code = {refused: 550, deferred: 450}[path.mailbox.local] || 250;
    while (path.mailbox.local === 'forever') ;
    return new SmtpResponse(code, '2.1.5 x');
};
SmtpServer.prototype.smtpData = function (headers, body) {
    var what = headers && headers.length ? headers[0].parts[0] : '250';
    if (what === 'throw') throw new Error('as asked');
    return new SmtpResponse(Number(what), 'x');
};
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_is_counted(serve, workers):
    server = serve(POLICY, limits={"errors": 3, "recipients": 3, "message_bytes": 5000, "slice_ms": 20},
                   options=["--workers", str(workers), "--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    before = pages.numbers()
    assert before["workers",] == workers and before["connections_total",] == 0
    for what in (b"250", b"550", b"450", b"throw"):
        with Sender(server.port) as sender:
            sender.hello()
            for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<refused@b>", b"RCPT TO:<deferred@b>", b"RCPT TO:<a@b>", b"DATA"):
                sender.command(line)
            sender.command(b"X: %s\r\n\r\nbody\r\n." % what)
            sender.command(b"QUIT")
    with Sender(server.port) as sender:                 # too big, too many recipients, too many errors
        sender.hello()
        sender.command(b"MAIL FROM:<a@b>")
        for _ in range(4):
            sender.command(b"RCPT TO:<a@b>")
        sender.command(b"DATA")
        assert sender.command(b"y" * 6000 + b"\r\n.").code == 552
        for _ in range(4):
            sender.command(b"RCPT TO:<a@b>")
    with Sender(server.port) as sender:                 # a fault, the watchdog
        sender.reply()
        assert sender.command(b"HELO x").code == 451
        sender.command(b"EHLO x")
        sender.command(b"MAIL FROM:<a@b>")
        assert sender.command(b"RCPT TO:<forever@b>").code == 421
    with Sender(server.port) as sender:                 # lost in the middle of a message
        sender.hello()
        for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA"):
            sender.command(line)
    wait_until(lambda: pages.numbers()["session_seconds_count",] == 7, "the end of all sessions")
    now = pages.numbers()
    assert now["connections_total",] == 7
    for outcome in ("accepted", "refused", "deferred", "faulted", "rejected", "lost"):
        assert now["messages_total", outcome] == 1, outcome
    assert now["message_bytes_count",] == 4
    assert now["commands_refused_total", "5xx", "RCPT"] == now["commands_refused_total", "4xx", "RCPT"] == 4
    assert now["rejected_total", "too_many_recipients"] == now["limits_total", "recipients"] == 1
    assert now["rejected_total", "size"] == now["limits_total", "message_bytes"] == 1
    assert now["rejected_total", "sequence"] == 3 and now["limits_total", "errors"] == 1
    assert now["limits_total", "slice_ms"] == 1
    assert now["faults_total", "smtpHelo"] == now["faults_total", "smtpRcpt"] == now["faults_total", "smtpData"] == 1
    assert now["heaps_total", "copied"] == 7 and now["heaps_total", "built"] == 0
    assert now["handlers_total", "smtpMail"] == 7 and now["internal_errors_total",] == 0
    assert pages.get("/healthz") == (200, "ok\n")
    assert pages.get("/ready") == (200, f"ready, workers: {workers}\n")


def test_gauges_and_refused_connections(serve):
    server = serve(POLICY, limits={"connections": 2}, timeouts={"idle_heap": 0.1}, options=["--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    with Sender(server.port) as first, Sender(server.port) as second:
        first.hello()
        second.hello()
        with Sender(server.port) as third:
            assert third.reply().code == 421
        wait_until(lambda: pages.numbers()["heaps_asleep",] == 2, "the heaps to sleep")
        now = pages.numbers()
        assert now["sessions",] == now["heaps",] == 2 and now["timeouts_total", "idle_heap"] == 2
        assert now["connections_refused_total", "connections"] == now["limits_total", "connections"] == 1
        assert first.command(b"MAIL FROM:<a@b>").code == 250
        wait_until(lambda: pages.numbers()["timeouts_total", "idle_heap"] == 3, "a heap that woke to sleep again")
    wait_until(lambda: pages.numbers()["heaps",] == 0, "the heaps to go")


@pytest.mark.parametrize("begin", [b"DATA", b"BDAT 1000000 LAST"], ids=["DATA", "BDAT"])
def test_messages_that_drip_kept_their_heaps_awake(serve, begin):
    """Each of very many slow clients had a whole heap in memory, though no handler runs before a message has ended."""
    server = serve(POLICY, timeouts={"idle_heap": 0.3}, options=["--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    with Sender(server.port) as sender:
        sender.hello()
        for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>"):
            assert sender.command(line).code == 250
        sender.send(begin + b"\r\n")
        if begin == b"DATA":
            assert sender.reply().code == 354

        def asleep():
            sender.send(b"X: y\r\n")
            return pages.numbers()["heaps_asleep",] == 1
        wait_until(asleep, "the heap to sleep", 30)


def test_a_dead_worker_takes_its_gauges_with_it_and_leaves_its_counts(serve):
    server = serve(POLICY, options=["--workers", "2", "--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    pids = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True).stdout.split()
    for _ in range(20):
        with Sender(server.port) as sender:
            sender.hello()
            sender.command(b"QUIT")
    wait_until(lambda: pages.numbers()["session_seconds_count",] == 20, "the end of all sessions")
    subprocess.run(["kill", "-KILL", pids[0]], check=True)
    server.wait_for_log("a worker died")
    wait_until(lambda: pages.numbers()["workers",] == 2, "its successor")
    now = pages.numbers()
    assert now["worker_restarts_total",] == 1 and now["connections_total",] == 20


def test_requests_that_are_none(serve):
    server = serve(POLICY, options=["--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    assert pages.get("/") == (404, "there are /metrics, /healthz and /ready\n")
    assert pages.raw(b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert pages.raw(b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert pages.raw(b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert pages.raw(b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 8192).startswith(b"HTTP/1.1 431 ")
    head = pages.raw(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")
    status, text = pages.get("/metrics?x=y", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200 and text.endswith("# EOF\n")


def test_the_page_is_gone_with_the_listeners(serve):
    server = serve(POLICY, options=["--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    with Sender(server.port) as sender:
        sender.hello()
        sender.command(b"MAIL FROM:<a@b>")
        server.signal(signal.SIGTERM)

        def closed():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", pages.port)) != 0
        wait_until(closed, "the page to be gone")
        sender.command(b"RSET")
    assert server.wait() == 0


def test_without_the_package_it_is_an_error_at_the_start(tmp_path):
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('hidden by a test')")
    code = ("import sys; sys.path.insert(0, sys.argv.pop(1)); from mailfilter.cli import main; sys.exit(main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "serve", "mx", "--listen", "127.0.0.1:0", "--metrics",
                           "127.0.0.1:0"], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "pip install 'mailfilter[metrics]'" in done.stderr
    done = subprocess.run([PROGRAM, "serve", "mx", "--metrics", "nowhere"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "cannot listen on 'nowhere'" in done.stderr


def test_nobody_has_a_heap_before_the_first_handler(serve):
    server = serve(POLICY, limits={"connections": 3}, timeouts={"greeting_delay": 60},
                   options=["--metrics", "127.0.0.1:0"])
    pages = Pages(server)
    with Sender(server.port), Sender(server.port), Sender(server.port) as early:        # they wait for the greeting
        wait_until(lambda: pages.numbers()["sessions",] == 3, "the sessions")
        with Sender(server.port) as refused:
            assert refused.reply().code == 421
        early.send(b"EHLO early.test\r\n")                                               # and does not wait any longer
        assert early.reply().code == 554 and early.closed_by_server()
        now = pages.numbers()
        assert now["heaps",] == now["heaps_total", "copied"] == now["heaps_total", "built"] == 0
