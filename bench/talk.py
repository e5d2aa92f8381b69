"""`python -m bench.talk`: the load, a process that plays SMTP sessions in lock step over bare sockets and checks every
reply.

The plan is a JSON object on standard input, the outcome one on standard output; `play` writes and reads them. A session
waits for each reply before it goes on and must get the code that its kind expects. Closed loop: so many sessions at
once, one after the other; open loop (`rate`): a session begins when it is due, however long the others take. Its own
CPU is part of the outcome. Must not know what it loads. No asyncio here: a load must cost less than what it measures.
"""
import json
import resource
import select
import socket
import subprocess
import sys
import time

from . import launching

SENDER, RECIPIENT = b"sender@client.test", b"user@example.test"
HELLO = (b"EHLO client.test\r\n", b"250")
QUIT = (b"QUIT\r\n", b"221")
REPLY_S = 60.0      # without anything from anybody: the load has failed
GRACE_S = 30.0


class LoadFailed(Exception):
    """The system refused a message, hung or closed; the text says which."""


def message(length):
    """A message of about `length` octets as it follows 354, in lines of 76 characters, with its final dot."""
    head = (b"From: <%b>\r\nTo: <%b>\r\nSubject: load\r\nMessage-Id: <load@client.test>\r\n"
            b"Date: Sun, 01 Nov 2026 00:00:00 +0000\r\n\r\n" % (SENDER, RECIPIENT))
    line = b"The quick brown fox jumps over the lazy dog, again and again and again...\r\n"
    return head + line * max(0, (length - len(head)) // len(line)) + b".\r\n"


def script(kind, length=4096, each=1):
    """What a session says: [(octets, beginning of the reply that it must get)], the first without octets: the greeting.

    kinds: "message" (`each` messages of `length` octets, all taken), "connect" (refused by the greeting), "rcpt" (the recipient
    is refused), "data" (the message is refused after it was sent), "hello" (EHLO and QUIT).
    """
    if kind == "connect":
        return [(b"", b""), (b"QUIT\r\n", b"")]
    steps = [(b"", b"220"), HELLO]
    mail = (b"MAIL FROM:<%b>\r\n" % SENDER, b"250")
    rcpt = b"RCPT TO:<%b>\r\n" % RECIPIENT
    if kind == "message":
        steps += [mail, (rcpt, b"250"), (b"DATA\r\n", b"354"), (message(length), b"250")] * each
    elif kind == "rcpt":
        steps += [mail, (rcpt, b"5")]
    elif kind == "data":
        steps += [mail, (rcpt, b"250"), (b"DATA\r\n", b"354"), (message(length), b"5")]
    elif kind != "hello":
        raise ValueError(kind)
    return [*steps, QUIT]


class _Session:
    """One connection: where it is in its script, and what has not been sent or read yet."""

    __slots__ = ("at", "begun", "rest", "socket", "unsent")

    def __init__(self, port):
        self.begun = time.perf_counter()
        self.at, self.rest, self.unsent = 0, b"", None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))    # at once, on one machine
        self.socket.setblocking(False)


class Load:
    """Plays `sessions` times the script; see the module."""

    def __init__(self, port, steps, sessions, at_once, rate=0.0):
        self.port, self.steps, self.sessions, self.at_once, self.rate = port, steps, sessions, at_once, rate
        self.refused = steps[0][1] == b""
        self.open, self.begun, self.seconds = {}, 0, []
        self.poll = select.epoll()

    def run(self):
        """Seconds of each session, from connect to its end, in the order in which they ended."""
        start, left = time.perf_counter(), self.sessions
        # Ever so many replies may be waited for, but not for ever.
        end = start + GRACE_S + (self.sessions / self.rate if self.rate else 120.0)
        while left:
            wait = REPLY_S
            if self.rate:
                due = int((time.perf_counter() - start) * self.rate) + 1
                while self.begun < min(due, self.sessions):
                    self.begin()
                if self.begun < self.sessions:
                    wait = max(0.0, start + self.begun / self.rate - time.perf_counter())
            else:
                while len(self.open) < self.at_once and self.begun < self.sessions:
                    self.begin()
            events = self.poll.poll(wait, 256)
            if not events and wait == REPLY_S or time.perf_counter() > end:
                raise LoadFailed(f"no reply: {len(self.open)} sessions wait, {left} of {self.sessions} left")
            for number, what in events:
                session = self.open[number]
                if what & select.EPOLLOUT:
                    self.push(session)
                if what & ~select.EPOLLOUT and self.read(session):
                    self.poll.unregister(number)
                    session.socket.close()
                    del self.open[number]
                    self.seconds.append(time.perf_counter() - session.begun)
                    left -= 1
        return self.seconds

    def begin(self):
        session = _Session(self.port)
        number = session.socket.fileno()
        self.open[number] = session
        self.poll.register(number, select.EPOLLIN)
        self.begun += 1

    def read(self, session):
        """Take what has come; whether the session is over."""
        try:
            data = session.socket.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            if self.refused and session.at:
                return True
            raise LoadFailed(f"at step {session.at}: {error}") from None
        if not data:
            if self.refused and session.at:
                return True
            raise LoadFailed(f"closed at step {session.at}, after {session.rest!r}")
        if session.rest:
            data = session.rest + data
        # One reply is waited for at a time, so all is there when its last line is.
        if data[-1:] != b"\n" or data[data.rfind(b"\n", 0, -1) + 4:][:1] == b"-":
            session.rest = data
            return False
        session.rest = b""
        wanted = self.steps[session.at][1]
        if not data.startswith(wanted) or self.refused and data[:1] not in b"245":
            raise LoadFailed(f"step {session.at}: {data[:200]!r}, not {wanted.decode()}")
        if self.refused and not session.at and data[:1] == b"2":
            raise LoadFailed(f"not refused: {data[:200]!r}")
        session.at += 1
        if session.at == len(self.steps):
            return True
        session.unsent = self.steps[session.at][0]
        return self.push(session)

    def push(self, session):
        """Send what is to be sent, as far as it goes; True when the other side has hung up and may."""
        try:
            sent = session.socket.send(session.unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError as error:
            if self.refused:
                return True
            raise LoadFailed(f"sending at step {session.at}: {error}") from None
        if sent < len(session.unsent):
            session.unsent = memoryview(session.unsent)[sent:]
            self.poll.modify(session.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif isinstance(session.unsent, memoryview):
            session.unsent = b""
            self.poll.modify(session.socket.fileno(), select.EPOLLIN)
        return False


class Outcome:
    """What a load was: `messages` or refusals, `wall` seconds, the load's own `cpu` seconds, `seconds` of each session sorted."""

    def __init__(self, messages, wall, cpu, seconds):
        self.messages, self.wall, self.cpu, self.seconds = messages, wall, cpu, seconds

    def ms(self, share):
        """Milliseconds of a session, at this share (0.99) of them."""
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * share))] * 1e3


def play(port, kind, number, *, length=4096, at_once=20, kept=False, rate=0.0, timed=False):
    """Let a process of its own send `number` messages (or be refused so often); an Outcome.

    kept: at_once connections send one message after the other; otherwise each message has its own. timed: with `seconds`.
    """
    each = max(1, -(-number // at_once)) if kept else 1
    plan = {"port": port, "kind": kind, "length": length, "each": each, "sessions": at_once if kept else number,
            "at_once": at_once, "rate": rate, "timed": timed}
    # -S: site-packages are not needed, and looking through them takes longer than some loads.
    process = launching.launch([sys.executable, "-S", "-m", "bench.talk"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        said = process.communicate(json.dumps(plan).encode())[0]
    finally:
        process.kill()
        process.wait()
    outcome = json.loads(said or b'{"failed": "the load generator has ended"}')
    if "failed" in outcome:
        raise LoadFailed(outcome["failed"])
    return Outcome(plan["sessions"] * each, outcome["wall"], outcome["cpu"], outcome["seconds"])


def main():
    """The program."""
    plan = json.load(sys.stdin)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = Load(plan["port"], script(plan["kind"], plan["length"], plan["each"]), plan["sessions"], plan["at_once"], plan["rate"])
    start, used = time.perf_counter(), time.process_time()
    try:
        seconds = load.run()
    except (LoadFailed, OSError) as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)}))
        return
    print(json.dumps({"wall": time.perf_counter() - start, "cpu": time.process_time() - used,
                      "seconds": sorted(seconds) if plan["timed"] else []}))


if __name__ == "__main__":
    main()
