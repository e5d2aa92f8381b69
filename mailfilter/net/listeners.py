"""Where clients connect: reading listen addresses and binding sockets for them.

Everything is bound in one process, before privileges are dropped and before workers are forked. Each worker gets a
socket of its own for every TCP address (SO_REUSEPORT; the kernel spreads connections over them); a UNIX socket is
shared by all workers. TCP sockets are IPv4 or IPv6, never both in one, so that a client's address is
always reported in its own family.

Knows nothing of workers, SMTP or event loops. Addresses are numeric: a name that resolves to something else
tomorrow is no place to listen on. `localhost` (127.0.0.1 and ::1) and `*` (all of IPv4 and of IPv6) are the exceptions.
"""
import errno
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass, replace

from mailfilter.errors import ConfigError

__all__ = ["Address", "Listener", "bind", "parse", "parse_all"]

# Connections the kernel holds ready for us. The kernel itself caps it (net.core.somaxconn, 4096 by default);
# a small one makes clients of a burst wait for seconds, see tests/net/test_listeners.py.
BACKLOG = 4096

# Whoever may write to a UNIX socket may connect: the server's user and group (a proxy in front of it).
UNIX_MODE = 0o660

# What the kernel's sockaddr_un holds, less the NUL.
_UNIX_PATH_BYTES = 107

_TCP = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<bare>[^\[\]:]*)):(?P<port>[0-9]{1,5})")
_KINDS = ("tls", "proxy")
_EXPANDED = {"localhost": ("127.0.0.1", "::1"), "*": ("0.0.0.0", "::")}


@dataclass(frozen=True)
class Address:
    """One place to listen on: `host` (numeric) and `port`, or the `path` of a UNIX socket.

    `optional`: one of several that a word such as `localhost` stands for, left out where the machine has no such
    address family. `tls`: connections begin with a TLS handshake. `proxy`: they begin with a header of the PROXY protocol
    (before TLS, if there is both).
    """

    host: str | None = None
    port: int | None = None
    path: str | None = None
    optional: bool = False
    tls: bool = False
    proxy: bool = False

    @property
    def family(self):
        """The socket family, AF_INET, AF_INET6 or AF_UNIX."""
        if self.path is not None:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def kinds(self):
        """What comes first on its connections, in that order: some of "proxy", "tls"."""
        return [kind for kind in ("proxy", "tls") if getattr(self, kind)]

    def __str__(self):
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass
class Listener:
    """An address that is being listened on.

    Attributes:
        label: what to call it in logs, with the port that was really bound (`127.0.0.1:41234`).
        sockets: listening sockets, one for each worker; one alone for a UNIX socket.
        path: of a UNIX socket, else None.
        tls, proxy: as in `Address`.
    """

    label: str
    sockets: list
    path: str | None = None
    tls: bool = False
    proxy: bool = False
    _file: tuple | None = None

    def socket_of(self, worker):
        """The socket that worker number `worker` (from 0) accepts on."""
        return self.sockets[worker % len(self.sockets)]

    def close(self):
        """Stop listening in this process."""
        for sock in self.sockets:
            sock.close()

    def remove_file(self):
        """Remove the file of a UNIX socket, unless another server has put its own there meanwhile."""
        if self.path is None:
            return
        try:
            if _identity(self.path) == self._file:
                os.unlink(self.path)
        except OSError:
            # Gone already, or in a folder that the unprivileged user may not change: the next start removes it.
            pass


def parse(text):
    """The addresses that `HOST:PORT`, `[IPv6]:PORT` or `unix:/path` stands for.

    Args:
        text: what the user wrote. Port 0 lets the kernel choose one. `tls:` and `proxy:` may stand before it, or both.

    Returns:
        A list of `Address`; two for `localhost:PORT` and `*:PORT`, else one.

    Raises:
        ConfigError: it is none of these.
    """
    kinds, where = _kinds(text)
    if where.startswith("unix:"):
        addresses = [_unix_address(where[len("unix:"):], text)]
    else:
        found = _TCP.fullmatch(where)
        if not found:
            raise ConfigError(f"cannot listen on {text!r}: expected HOST:PORT, [IPv6]:PORT or unix:/path, with tls: or "
                              "proxy: before it or not")
        addresses = _tcp_addresses(found["bare"], found["bracketed"], int(found["port"]), text)
    return [replace(address, **kinds) for address in addresses]


def _kinds(text):
    """({"tls": True, …}, the rest of the text) of `tls:proxy:HOST:PORT`."""
    kinds = {}
    for _ in _KINDS:
        word, colon, rest = text.partition(":")
        if colon and word in _KINDS and word not in kinds:
            kinds[word] = True
            text = rest
    return kinds, text


def parse_all(entries):
    """`parse` for a list, as `--listen` or a policy's `SmtpServer.listenAddress` gives it.

    Args:
        entries: texts as for `parse`, or `[host, port]` pairs.

    Raises:
        ConfigError: an entry is wrong, or there is none: a server that listens nowhere is a mistake.
    """
    addresses = []
    for entry in entries or ():
        for address in parse(entry) if isinstance(entry, str) else _from_pair(entry):
            if address.port == 0 or address not in addresses:
                addresses.append(address)
    if not addresses:
        raise ConfigError("there is no address to listen on: give --listen HOST:PORT, "
                          "or set SmtpServer.listenAddress in the policy")
    return addresses


def _from_pair(entry):
    try:
        host, port = entry[0], entry[1]
    except (TypeError, IndexError, KeyError):
        raise ConfigError(f"cannot listen on {entry!r}: expected [address, port]") from None
    kinds, host = _kinds(str(host))
    if host.startswith("unix:"):
        return [replace(address, **kinds) for address in parse(host)]
    try:
        number = int(port)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"cannot listen on {entry!r}: {port!r} is not a port number") from None
    text = f"{host}:{port}"
    if ":" in host:
        addresses = _tcp_addresses(None, host.strip("[]"), number, text)
    else:
        addresses = _tcp_addresses(host, None, number, text)
    return [replace(address, **kinds) for address in addresses]


def _unix_address(path, text):
    if not path.startswith("/"):
        raise ConfigError(f"cannot listen on {text!r}: the path of a UNIX socket must begin with /")
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES or "\0" in path:
        raise ConfigError(f"cannot listen on {text!r}: the path is longer than {_UNIX_PATH_BYTES} octets")
    return Address(path=path)


def _tcp_addresses(bare, bracketed, port, text):
    if not 0 <= port <= 65535:
        raise ConfigError(f"cannot listen on {text!r}: {port} is not a port number (0 to 65535)")
    if bare in _EXPANDED:
        return [Address(host, port, optional=True) for host in _EXPANDED[bare]]
    try:
        host = ipaddress.IPv4Address(bare) if bracketed is None else ipaddress.IPv6Address(bracketed)
    except ValueError:
        named = bracketed if bare is None else bare
        raise ConfigError(f"cannot listen on {text!r}: {named!r} is not a numeric address "
                          "(IPv6 stands in brackets; localhost and * are understood)") from None
    return [Address(str(host), port)]


def bind(addresses, workers=1, backlog=BACKLOG, owner=None):
    """Bind and listen on every address.

    Args:
        addresses: from `parse_all`.
        workers: how many sockets each TCP address gets.
        backlog: connections that the kernel keeps waiting per socket.
        owner: (uid, gid) that the files of UNIX sockets shall belong to, or None.

    Returns:
        A list of `Listener`, in the order of the addresses.

    Raises:
        ConfigError: one of them cannot be used; nothing stays bound then.
    """
    listeners = []
    missing = None
    try:
        for address in addresses:
            try:
                if address.path is not None:
                    listeners.append(_bind_unix(address, backlog, owner))
                else:
                    listeners.append(_bind_tcp(address, workers, backlog))
            except OSError as error:
                missing = ConfigError(f"cannot listen on {address}: {_reason(error)}")
                if address.optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue
                raise missing from error
        if not listeners:
            raise missing
    except BaseException:
        for listener in listeners:
            listener.close()
            listener.remove_file()
        raise
    return listeners


def _reason(error):
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; is another server running there?"
    if error.errno == errno.EACCES:
        return "permission denied (ports below 1024 need root; use --user to give it up again)"
    return error.strerror or str(error)


def _bind_tcp(address, workers, backlog):
    sockets = []
    port = address.port
    try:
        if workers > 1 and port:
            # With SO_REUSEPORT a second server of the same user would share the port unnoticed, and take
            # half of the connections. A plain bind finds it out.
            _tcp_socket(address, port, reuse_port=False).close()
        for _ in range(workers):
            sock = _tcp_socket(address, port, reuse_port=workers > 1)
            sockets.append(sock)
            port = sock.getsockname()[1]
            sock.listen(backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Listener(str(Address(address.host, port)), sockets, tls=address.tls, proxy=address.proxy)


def _tcp_socket(address, port, reuse_port):
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Sessions of a predecessor that are still closing do not keep us from binding.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(address, backlog, owner):
    path = address.path
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # The file is born with the mode that the process's umask leaves; nobody shall slip in before chmod.
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        if owner is not None:
            os.chown(path, *owner)
        os.chmod(path, UNIX_MODE)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return Listener(str(address), [sock], path, address.tls, address.proxy, _identity(path))


def _identity(path):
    # With the time of its last change, as a file that is removed often leaves its number to the next one.
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _remove_stale(path):
    """Remove the file of a socket that nobody listens on; anything else at `path` stays, and bind() fails."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name, and it is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # A full backlog (EAGAIN) is somebody, too.
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)
