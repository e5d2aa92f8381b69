"""A newer policy without a restart: new sessions get it, running ones keep theirs, nothing is lost, nothing is left behind."""
import itertools
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from pages import Pages
from peers.sender import Sender
from peers.waiting import wait_until
from processes import gone
from serving import PROGRAM

POLICY = """
var table = [], version = '%s';
for (var i = 0; i < 500; i++) table.push('entry ' + i);
SmtpServer.limits = {recipients: %d};
SmtpServer.prototype.smtpNoop = function () { return new SmtpResponse(250, version + ' ' + table.length); };
SmtpServer.prototype.smtpRcpt = function (path) { return new SmtpResponse(250, '2.1.5 ' + version); };
SmtpServer.prototype.smtpData = function (headers, body) { return new SmtpResponse(250, '2.0.0 ' + version); };
"""


def noop(server):
    """What a new session says that its policy is."""
    with Sender(server.port) as sender:
        sender.hello()
        return sender.command(b"NOOP").text.split()[0]


class Reloading:
    """A server whose policy's file the test changes. `reloads`: how many ended so far."""

    def __init__(self, serve, folder, workers, **options):
        self.file = folder / "reloaded.js"
        self.write("v0")
        more = options.pop("options", [])
        self.server = serve(self.file, options=["--workers", str(workers), "--metrics", "127.0.0.1:0", *more], **options)
        self.pages = Pages(self.server)
        self.reloads = 0

    def write(self, version, recipients=1000):
        # In one step: whoever reads it meanwhile has the old or the new one.
        fresh = self.file.with_suffix(".new")
        fresh.write_text(POLICY % (version, recipients))
        fresh.replace(self.file)

    def ended(self):
        return len(re.findall("notice - reloaded |error - reload failed", self.server.log))

    def reload(self):
        """SIGHUP, and wait for its outcome: the log's line."""
        self.server.signal(signal.SIGHUP)
        self.reloads += 1
        wait_until(lambda: self.ended() >= self.reloads, f"reload {self.reloads}:\n{self.server.log[-2000:]}", 30)
        return [line for line in self.server.log_lines if " - reload" in line][-1]

    def workers(self):
        children = subprocess.run(["pgrep", "-P", str(self.server.process.pid)], capture_output=True, text=True).stdout.split()
        return [int(pid) for pid in children] or [self.server.process.pid]


@pytest.fixture
def reloading(serve, tmp_path):
    return lambda workers=1, **options: Reloading(serve, tmp_path, workers, **options)


@pytest.mark.parametrize("workers", [1, 3])
def test_new_sessions_get_it_and_running_ones_keep_theirs(reloading, workers):
    it = reloading(workers, timeouts={"idle_heap": 0.1})
    server = it.server
    (before,) = re.findall(r" ready .*policy_version=(\w+)", server.log)
    old = [Sender(server.port) for _ in range(4)]
    for sender in old:
        sender.hello()
        assert sender.command(b"NOOP").text == "v0 500"
    late = Sender(server.port)                  # no handler but the greeting's so far, and its heap asleep
    late.reply()
    for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
        old[0].command(line)
    wait_until(lambda: it.pages.numbers()["heaps_asleep",] >= 1, "a heap to sleep")
    it.write("v1", recipients=2)
    line = it.reload()
    (after,) = re.findall(r"policy_version=(\w+)", line)
    assert "reloaded" in line and after != before and (workers == 1 or f"workers={workers}" in line)
    for _ in range(8):
        assert noop(server) == "v1"
    assert old[0].command(b"Subject: x\r\n\r\nx\r\n.").text == "2.0.0 v0"
    for sender in old[1:]:
        assert sender.command(b"NOOP").text == "v0 500"
    late.command(b"EHLO x")
    assert late.command(b"NOOP").text == "v0 500"
    late.command(b"MAIL FROM:<a@b>")            # the limits are those of its policy, too
    assert [late.command(b"RCPT TO:<c@d>").code for _ in range(3)] == [250] * 3
    with Sender(server.port) as new:
        new.hello()
        new.command(b"MAIL FROM:<a@b>")
        assert [new.command(b"RCPT TO:<c@d>").code for _ in range(3)] == [250, 250, 452]
    for sender in (*old, late):
        sender.command(b"QUIT")
        sender.close()
    wait_until(lambda: len(re.findall(f" session .*policy={before}", server.log)) == 5, "the summaries of the old sessions")
    assert len(re.findall(f" session .*policy={after}", server.log)) >= 9
    wait_until(lambda: it.pages.numbers()["images",] == workers, "the old image to go")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("text, words", [
    ("var a;\n  x = ;", "reloaded.js:2:7: SyntaxError"),
    ("\nnothing();", "reloaded.js:2:1: ReferenceError: identifier 'nothing' undefined"),
    ("\n\n throw new Error('not today');", "reloaded.js:3:2: Error: not today"),
    ("SmtpServer.limits = {recipients: 0};", "reloaded.js:1:1: SmtpServer.limits recipients: 0 is too small"),
    ("var a = []; for (;;) a.push(new Uint8Array(1 << 20));", "limit of 67108864 bytes"),
    (None, "there is no policy file"),
])
def test_a_policy_that_is_not_good_changes_nothing(reloading, workers, text, words):
    it = reloading(workers)
    (before,) = re.findall(r" ready .*policy_version=(\w+)", it.server.log)
    if text is None:
        it.file.unlink()
    else:
        it.file.write_text(text)
    line = it.reload()
    assert " error - reload failed, the old policy stays: " in line and words in line and f"policy_version={before}" in line
    assert noop(it.server) == "v0"
    it.write("v1")
    assert "reloaded" in it.reload() and noop(it.server) == "v1"
    now = it.pages.numbers()
    assert now["reloads_total", "failed"] == now["reloads_total", "done"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_refused_and_nothing_is_lost_meanwhile(reloading, workers):
    """Connections come all the time during three reloads; one transaction lasts through all of them."""
    it = reloading(workers)
    stop, problems, seen, accepted = threading.Event(), [], set(), [0]

    def work():
        while not stop.is_set():
            try:
                with Sender(it.server.port) as sender:
                    sender.hello()
                    texts = {sender.command(b"NOOP").text.split()[0]}
                    sender.command(b"MAIL FROM:<a@b>")
                    texts.add(sender.command(b"RCPT TO:<c@d>").text.split()[1])
                    assert sender.command(b"DATA").code == 354
                    reply = sender.command(b"Subject: x\r\n\r\nx\r\n.")
                    texts.add(reply.text.split()[1])
                    assert reply.code == 250 and len(texts) == 1, (reply, texts)
                    accepted[0] += 1
                    seen.update(texts)
                    assert sender.command(b"QUIT").code == 221
            except Exception as error:
                problems.append(repr(error))
                return

    with Sender(it.server.port) as lasting:
        lasting.hello()
        for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA"):
            lasting.command(line)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in (1, 2, 3):
                wait_until(lambda number=number: problems or f"v{number - 1}" in seen, "sessions of the policy before")
                it.write(f"v{number}")
                assert "reloaded" in it.reload()
            wait_until(lambda: problems or "v3" in seen, "sessions of the newest policy")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert problems == [] and seen == {"v0", "v1", "v2", "v3"}
        assert lasting.command(b"Subject: x\r\n\r\nx\r\n.").text == "2.0.0 v0"
    wait_until(lambda: it.pages.numbers()["messages_total", "accepted"] == accepted[0] + 1, "all messages to be counted")
    assert it.pages.numbers()["messages_total", "lost"] == 0


def memory(pid):
    """Octets that the process has for itself, and the number of its descriptors and maps."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(octets) for octets in re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE)) << 10
    maps = Path(f"/proc/{pid}/maps").read_text()
    return private, len(os.listdir(f"/proc/{pid}/fd")), maps.count("mailfilter-policy")


@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_reloads_leave_nothing_behind(reloading, workers):
    it = reloading(workers)
    versions = (f"v{number}" for number in itertools.count(1))

    def rounds(count):
        for _ in range(count):
            it.write(next(versions))
            assert "reloaded" in it.reload()
            with Sender(it.server.port) as sender:
                sender.hello()
                sender.command(b"QUIT")

    rounds(10)
    processes = {it.server.process.pid, *it.workers()}
    wait_until(lambda: it.pages.numbers()["images",] == workers, "old images to go")
    before = {pid: memory(pid) for pid in processes}
    rounds(50)
    wait_until(lambda: it.pages.numbers()["images",] == workers, "old images to go")
    for pid, (octets, descriptors, maps) in before.items():
        # One connection more or less may just be closing.
        wait_until(lambda pid=pid, before=descriptors: memory(pid)[1] <= before, "descriptors to be closed")
        now = memory(pid)
        # An image alone takes 150 KiB; fifty that stayed would be 7 MiB.
        assert now[0] - octets < 2 << 20, (pid, octets, now)
        assert now[2] == maps == 1
    assert not [pid for pid in processes if gone(pid)]


def test_workers_share_the_image(reloading):
    it = reloading(3)
    it.write("v1")
    it.reload()
    for _ in range(60):
        assert noop(it.server) == "v1"
    for pid in it.workers():
        (block,) = re.findall(r"mailfilter-policy.*\n((?:\w+: .*\n)+)", Path(f"/proc/{pid}/smaps").read_text())
        numbers = {name: int(kb) for name, kb in re.findall(r"^(\w+): +(\d+) kB", block, re.MULTILINE)}
        assert numbers["Private_Dirty"] == 0 and numbers["Rss"] > 100 and numbers["Pss"] <= numbers["Rss"] * 0.6


def test_a_worker_that_starts_later_has_the_newest(reloading):
    it = reloading(2)
    it.write("v1")
    it.reload()
    victim = it.workers()[0]
    os.kill(victim, signal.SIGKILL)
    it.server.wait_for_log("a worker died")
    wait_until(lambda: it.pages.numbers()["workers",] == 2, "its successor")
    assert {noop(it.server) for _ in range(20)} == {"v1"}
    it.write("v2")
    assert "workers=2" in it.reload()
    assert {noop(it.server) for _ in range(20)} == {"v2"}


@pytest.mark.parametrize("workers", [1, 2])
def test_while_it_is_built_sessions_go_on_and_the_end_does_not_wait(reloading, workers):
    """A policy that does not come to an end: loading stops after five seconds of CPU."""
    it = reloading(workers)
    it.file.write_text("for (;;) ;\n")
    it.server.signal(signal.SIGHUP)
    builder = wait_until(lambda: [pid for pid in it.workers() if Path(f"/proc/{pid}/wchan").exists()], "a child") and None
    assert builder is None
    for _ in range(20):
        assert noop(it.server) == "v0"
    it.server.signal(signal.SIGHUP)             # once more, while the first one is under way
    assert it.server.stop() == 0
    assert "reload" not in it.server.log.replace("reloaded.js", "")


def test_asked_for_again_while_it_is_built(reloading):
    """What was asked for last is what counts, however many asked."""
    it = reloading(2)
    for number in range(1, 8):
        it.write(f"v{number}")
        it.server.signal(signal.SIGHUP)
    wait_until(lambda: {noop(it.server) for _ in range(4)} == {"v7"}, "the last one")
    assert "reload failed" not in it.server.log


def test_everybody_may_be_signalled(reloading):
    it = reloading(2)
    it.write("v1")
    os.killpg(it.server.process.pid, signal.SIGHUP)
    it.server.wait_for_log("reloaded pid=")
    assert noop(it.server) == "v1" and len(it.workers()) == 2 and "died" not in it.server.log


def test_a_policy_without_an_image_is_handed_over_too(reloading):
    it = reloading(2)
    it.file.write_text(POLICY % ("v1", 5) + "\nvar begun = Date.now();")
    assert "reloaded" in it.reload()
    assert {noop(it.server) for _ in range(10)} == {"v1"}
    assert it.pages.numbers()["heaps_total", "built"] == 10
    assert it.server.log.count("the policy cannot be copied") == 1


def test_other_addresses_need_a_restart(serve, tmp_path):
    file = tmp_path / "policy.js"
    file.write_text("SmtpServer.listenAddress = [['127.0.0.1', 0]];")
    server = serve(file, listen=())
    file.write_text("SmtpServer.listenAddress = [['127.0.0.1', 1]];")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    assert "SmtpServer.listenAddress has changed; that needs a restart" in server.log


@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_manager_is_told(reloading, tmp_path, workers):
    """systemd's Type=notify-reload."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        it = reloading(workers, environment={**os.environ, "NOTIFY_SOCKET": str(path)})

        def told():
            return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())

        first = told()
        assert first["READY"] == "1" and first["MAINPID"] == str(it.server.process.pid)
        it.write("v1")
        it.reload()
        begun = told()
        assert begun["RELOADING"] == "1" and int(begun["MONOTONIC_USEC"]) > 0
        assert told()["READY"] == "1"
        it.file.write_text("x = ;")
        it.reload()
        assert told()["RELOADING"] == "1"
        failed = told()
        assert failed["READY"] == "1" and "reload failed" in failed["STATUS"]
        it.server.stop()
        assert told() == {"STOPPING": "1"}


def run(*words):
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_pid_file(reloading, tmp_path, workers):
    path = tmp_path / "mailfilter.pid"
    it = reloading(workers, options=["--pid-file", path])
    assert path.read_text() == f"{it.server.process.pid}\n"
    it.write("v1")
    done = run("reload", "--pid-file", path)
    assert done.returncode == 0 and str(it.server.process.pid) in done.stdout
    it.server.wait_for_log("reloaded pid=")
    assert noop(it.server) == "v1"
    second = run("serve", it.file, "--listen", "127.0.0.1:0", "--pid-file", path)
    assert second.returncode == 1 and f"the server with the process id {it.server.process.pid} is running" in second.stderr
    assert path.read_text() == f"{it.server.process.pid}\n"
    assert it.server.stop() == 0
    assert not path.exists()
    done = run("reload", "--pid-file", path)
    assert done.returncode == 1 and "No such file" in done.stderr


def test_a_pid_file_that_was_left_behind_is_nobody(reloading, tmp_path):
    """Never a signal to whoever has that number now."""
    path = tmp_path / "mailfilter.pid"
    path.write_text(f"{os.getpid()}\n")
    done = run("reload", "--pid-file", path)
    assert done.returncode == 1 and "no server is running" in done.stderr
    it = reloading(1, options=["--pid-file", path])
    assert path.read_text() == f"{it.server.process.pid}\n"
    it.server.expected_status = -signal.SIGKILL
    it.server.kill()
    assert path.exists()
    assert run("reload", "--pid-file", path).returncode == 1
    for wrong in (tmp_path, tmp_path / "no" / "folder"):
        done = run("serve", it.file, "--listen", "127.0.0.1:0", "--pid-file", wrong)
        assert done.returncode == 1 and f"--pid-file {wrong}: " in done.stderr


@pytest.mark.root
def test_reloading_as_the_user_that_it_became(serve, request):
    """The file must be readable for that user then; who cannot read it has a log line and the old policy."""
    # Not tmp_path: its parents are for their owner alone.
    folder = tempfile.TemporaryDirectory()
    request.addfinalizer(folder.cleanup)
    os.chmod(folder.name, 0o755)
    it = Reloading(serve, Path(folder.name), 2, options=["--user", "nobody"])
    it.write("v1")
    assert "reloaded" in it.reload() and noop(it.server) == "v1"
    it.write("v2")
    it.file.chmod(0o600)
    assert "Permission denied" in it.reload() and noop(it.server) == "v1"
