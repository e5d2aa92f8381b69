"""Listen addresses: what is understood, what is refused and how it is said, and what binding really does."""
import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from mailfilter.errors import ConfigError
from mailfilter.net import listeners
from mailfilter.net.listeners import Address


def have_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not have_ipv6(), reason="no IPv6 loopback here")


@pytest.fixture
def bind():
    """`bind(*texts, **options)` binds addresses and closes them at the end of the test."""
    bound = []

    def bind(*texts, **options):
        found = listeners.bind(listeners.parse_all(texts), **options)
        bound.extend(found)
        return found

    yield bind
    for listener in bound:
        listener.close()
        listener.remove_file()


@pytest.mark.parametrize("text, expected", [
    ("127.0.0.1:25", ["127.0.0.1:25"]),
    ("0.0.0.0:0", ["0.0.0.0:0"]),
    ("[::1]:25", ["[::1]:25"]),
    ("[0:0::1]:025", ["[::1]:25"]),
    ("localhost:25", ["127.0.0.1:25", "[::1]:25"]),
    ("*:65535", ["0.0.0.0:65535", "[::]:65535"]),
    ("unix:/run/mail filter:1", ["unix:/run/mail filter:1"]),
])
def test_addresses_that_are_understood(text, expected):
    assert [str(address) for address in listeners.parse(text)] == expected


@pytest.mark.parametrize("text, word", [
    ("", "expected HOST:PORT"),
    ("25", "expected HOST:PORT"),
    ("localhost", "expected HOST:PORT"),
    ("127.0.0.1:", "expected HOST:PORT"),
    ("127.0.0.1:smtp", "expected HOST:PORT"),
    ("127.0.0.1:-1", "expected HOST:PORT"),
    ("127.0.0.1:25 ", "expected HOST:PORT"),
    ("::1:25", "expected HOST:PORT"),
    ("[::1]", "expected HOST:PORT"),
    ("127.0.0.1:65536", "not a port number"),
    ("mail.example.org:25", "not a numeric address"),
    (":25", "not a numeric address"),
    ("127.1:25", "not a numeric address"),
    ("127.0.0.256:25", "not a numeric address"),
    ("[127.0.0.1]:25", "not a numeric address"),
    ("[::g]:25", "not a numeric address"),
    ("unix:", "must begin with /"),
    ("unix:socket", "must begin with /"),
    ("unix:/" + "x" * 107, "longer than 107 octets"),
])
def test_addresses_that_are_refused(text, word):
    with pytest.raises(ConfigError, match=word):
        listeners.parse(text)


@pytest.mark.parametrize("entry, expected", [
    (["127.0.0.1", 25], "127.0.0.1:25"),
    (["127.0.0.1", "8025"], "127.0.0.1:8025"),
    (["127.0.0.1", 8025.0], "127.0.0.1:8025"),
    (("::1", 25), "[::1]:25"),
    (["[::1]", 25], "[::1]:25"),
    (["127.0.0.1", 25, "more"], "127.0.0.1:25"),
    ("127.0.0.1:25", "127.0.0.1:25"),
])
def test_entries_of_a_policy(entry, expected):
    assert [str(address) for address in listeners.parse_all([entry])] == [expected]


@pytest.mark.parametrize("entry", [[], ["127.0.0.1"], 25, None, {}, ["127.0.0.1", "x"], ["127.0.0.1", None],
                                   ["127.0.0.1", 65536], ["127.0.0.1", float("nan")], ["127.0.0.1", float("inf")]])
def test_entries_of_a_policy_that_are_refused(entry):
    with pytest.raises(ConfigError):
        listeners.parse_all([entry])


@pytest.mark.parametrize("entries", [[], None, ()])
def test_d18_an_empty_list_is_an_error(entries):
    """D18: `listenAddress = []` span for ever."""
    with pytest.raises(ConfigError, match="no address to listen on"):
        listeners.parse_all(entries)


def test_an_address_named_twice_counts_once():
    assert len(listeners.parse_all(["127.0.0.1:25", ["127.0.0.1", 25]])) == 1
    assert len(listeners.parse_all(["127.0.0.1:0", "127.0.0.1:0"])) == 2


def test_d18_every_address_is_bound(bind):
    """D18: only the first entry was."""
    bound = bind("127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0")
    for listener in bound:
        host, port = listener.label.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5):
            listener.sockets[0].accept()[0].close()
    assert len({listener.label for listener in bound}) == 3


@needs_ipv6
def test_d18_a_client_is_reported_in_its_own_family(bind):
    """D18: behind an IPv6 listener every client was 0.0.0.0. A socket here serves one family alone."""
    four, six = bind("*:0")
    port = six.sockets[0].getsockname()[1]
    with socket.create_connection(("::1", port), timeout=5):
        connection, peer = six.sockets[0].accept()
        connection.close()
    assert peer[0] == "::1"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_each_worker_has_a_socket_of_its_own(bind):
    (listener,) = bind("127.0.0.1:0", workers=3)
    assert len({sock.fileno() for sock in listener.sockets}) == 3
    assert len({sock.getsockname() for sock in listener.sockets}) == 1
    assert [listener.socket_of(number) for number in range(3)] == listener.sockets
    # The kernel spreads connections over them.
    port = listener.sockets[0].getsockname()[1]
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(60)]
    taken = [0, 0, 0]
    for number, sock in enumerate(listener.sockets):
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                break
            taken[number] += 1
    for client in clients:
        client.close()
    assert sum(taken) == 60 and min(taken) > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_an_error_whoever_has_it(bind, workers):
    """Also when both sides share ports among their workers: two servers would each get half of the mail."""
    (first,) = bind("127.0.0.1:0", workers=workers)
    with pytest.raises(ConfigError, match=f"cannot listen on {first.label}: the address is in use"):
        bind(first.label, workers=workers)


def test_nothing_stays_bound_when_one_address_fails(bind, tmp_path):
    (taken,) = bind("127.0.0.1:0")
    path = tmp_path / "socket"
    with pytest.raises(ConfigError):
        bind(f"unix:{path}", taken.label)
    assert not path.exists()


def test_an_address_of_another_machine_is_an_error(bind):
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        bind("192.0.2.1:0")


def test_a_missing_family_is_left_out_of_a_word(monkeypatch):
    """`localhost` on a machine without IPv6 is 127.0.0.1 alone."""
    real = socket.socket

    def without_ipv6(family=socket.AF_INET, *rest, **named):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **named)

    monkeypatch.setattr(listeners.socket, "socket", without_ipv6)
    bound = listeners.bind(listeners.parse_all(["localhost:0"]))
    assert [listener.label.rsplit(":", 1)[0] for listener in bound] == ["127.0.0.1"]
    for listener in bound:
        listener.close()
    with pytest.raises(ConfigError, match="not supported"):
        listeners.bind(listeners.parse_all(["[::1]:0"]))


def test_d13_the_backlog_takes_a_burst(bind):
    """D13: a backlog of 20 made a burst of 200 connections take nine seconds. Nobody accepts here at all."""
    (listener,) = bind("127.0.0.1:0")
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if allowed < 400:
        pytest.skip(f"the kernel caps every backlog at {allowed}")
    address = listener.sockets[0].getsockname()
    clients = []
    try:
        for _ in range(400):
            client = socket.socket()
            client.settimeout(0.9)  # a refused SYN is sent again after one second
            clients.append(client)
            client.connect(address)
    finally:
        for client in clients:
            client.close()


def test_a_unix_socket_is_for_user_and_group(bind, tmp_path):
    path = tmp_path / "socket"
    before = os.umask(0)
    os.umask(before)
    (listener,) = bind(f"unix:{path}", workers=3)
    assert path.stat().st_mode & 0o777 == 0o660
    assert len(listener.sockets) == 1
    assert listener.socket_of(0) is listener.socket_of(2)
    assert os.umask(before) == before


def test_a_stale_unix_socket_is_replaced(bind, tmp_path):
    path = tmp_path / "socket"
    (old,) = bind(f"unix:{path}")
    old.close()
    assert path.exists()
    (new,) = bind(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    # The old server's clean-up, late: the file is not its own any more.
    old.remove_file()
    assert path.exists()
    new.remove_file()
    assert not path.exists()


def test_a_unix_socket_in_use_is_an_error(bind, tmp_path):
    path = tmp_path / "socket"
    bind(f"unix:{path}")
    with pytest.raises(ConfigError, match="in use"):
        bind(f"unix:{path}")
    assert path.exists()


def test_a_full_unix_socket_is_in_use(bind, tmp_path):
    path = tmp_path / "socket"
    bind(f"unix:{path}", backlog=0)
    clients = []
    for _ in range(2):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect_ex(str(path))
        clients.append(client)
    try:
        with pytest.raises(ConfigError, match="in use"):
            bind(f"unix:{path}")
    finally:
        for client in clients:
            client.close()


def test_a_file_that_is_no_socket_is_left_alone(bind, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="not a socket"):
        bind(f"unix:{path}")
    assert path.read_text() == "data"


def test_a_folder_that_is_missing_is_an_error(bind, tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        bind(f"unix:{tmp_path}/missing/socket")


def test_closing_while_a_client_waits_ends_it(bind):
    (listener,) = bind("127.0.0.1:0")
    with socket.create_connection(listener.sockets[0].getsockname(), timeout=5) as client:
        closing = threading.Thread(target=listener.close)
        closing.start()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        closing.join()


def test_addresses_compare_by_value():
    assert Address("127.0.0.1", 25) == Address("127.0.0.1", 25)
    assert Address(path="/x").family == socket.AF_UNIX


# What comes first on a connection.

@pytest.mark.parametrize("text,kinds", [
    ("tls:127.0.0.1:465", (True, False)), ("proxy:[::1]:25", (False, True)), ("proxy:tls:unix:/run/s", (True, True)),
    ("tls:proxy:*:465", (True, True)), ("127.0.0.1:25", (False, False))])
def test_addresses_say_what_comes_first(text, kinds):
    for address in listeners.parse(text):
        assert (address.tls, address.proxy) == kinds
        assert not str(address).startswith(("tls", "proxy"))
    host, _, port = text.rpartition(":")
    if "unix" not in text:
        assert listeners.parse_all([[host, port]]) == listeners.parse(text)


@pytest.mark.parametrize("text", ["tls:", "tls:tls:127.0.0.1:1", "ssl:127.0.0.1:1", "tls:host:1", "proxy:unix:x"])
def test_what_comes_first_must_be_known(text):
    with pytest.raises(ConfigError, match="cannot listen on"):
        listeners.parse(text)
