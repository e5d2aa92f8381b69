"""What an operator can set: limits, timeouts, settings of the policy, and how their texts are read.

Values are validated once, here, and frozen. Defaults come first, then what the policy says, then the command
line: each step is a new object made by `replaced`. Knows no sockets, no files, no argparse; the messages of
its `ConfigError`s are written for the person who typed the value.
"""
import copy
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from mailfilter.errors import ConfigError

__all__ = ["PER_SESSION", "Given", "Limits", "Settings", "Timeouts", "assignments", "by_listener", "parse_dns_server",
           "parse_duration", "parse_size", "selects"]

_SIZE = re.compile(r"([0-9]+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DNS_SERVER = re.compile(r"\[(?P<bracketed>[^\[\]]+)\](?::(?P<port>[0-9]{1,5}))?"
                         r"|(?P<address>[0-9.]+|[0-9a-fA-F.]*(?::[0-9a-fA-F.]*){2,})(?::(?P<other_port>[0-9]{1,5}))?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|min|m|h)?")
_DURATION_UNITS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}

# A number this large is a slip of the keyboard; it would also overflow C integers further down.
_LARGEST_SIZE = 1 << 40
_LONGEST_SECONDS = 7 * 24 * 3600


def parse_size(text):
    """A whole number from `1000`, `64k`, `50m` or `1g` (units of 1024); raises ConfigError."""
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ConfigError(f"{text!r} is not a whole number")
    if isinstance(text, float):
        if text != text or not text.is_integer():
            raise ConfigError(f"{text!r} is not a whole number")
        number = int(text)
    elif isinstance(text, int):
        number = text
    else:
        found = _SIZE.fullmatch(text.strip())
        if not found:
            raise ConfigError(f"{text!r} is not a whole number (k, m and g may follow it)")
        number = int(found[1]) * _SIZE_UNITS[found[2].lower()]
    if not 0 <= number <= _LARGEST_SIZE:
        raise ConfigError(f"{text!r} is outside 0 to {_LARGEST_SIZE}")
    return number


def parse_duration(text, zero=False):
    """Seconds from `300`, `1.5`, `500ms`, `30s`, `5m` or `2h`; more than zero, at most a week; raises ConfigError.

    zero: whether 0 is allowed, too.
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ConfigError(f"{text!r} is not a number of seconds")
    if isinstance(text, str):
        found = _DURATION.fullmatch(text.strip())
        if not found:
            raise ConfigError(f"{text!r} is not a number of seconds (ms, s, m and h may follow it)")
        seconds = float(found[1]) * _DURATION_UNITS[found[2]]
    else:
        seconds = float(text)
    if not (0 < seconds <= _LONGEST_SECONDS or zero and seconds == 0):
        raise ConfigError(f"{text!r} is not more than 0 and at most {_LONGEST_SECONDS} seconds")
    return seconds


def parse_dns_server(text):
    """An address of a DNS server, `ADDR`, `ADDR:PORT`, `[IPv6]:PORT`, as `ADDR:PORT` or `[IPv6]:PORT`; raises ConfigError."""
    found = _DNS_SERVER.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address(found["bracketed"] or found["address"])
        port = int(found["port"] or found["other_port"] or 53)
        if not 0 < port < 65536:
            raise ValueError
    except (TypeError, ValueError):
        raise ConfigError(f"{text!r} is not the address of a server, as 192.0.2.53 or [2001:db8::53]:5353") from None
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def assignments(texts, option):
    """`["NAME=VALUE", ...]` as a dict; the last of equal names counts. `option` names the source in errors."""
    values = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ConfigError(f"{option} {text}: expected NAME=VALUE")
        values[name] = value
    return values


class _Numbers:
    """What `Limits` and `Timeouts` share: replacing some of the numbers by name, with checked values."""

    def replaced(self, values, source):
        """A copy with some numbers replaced.

        Args:
            values: a mapping of name to number or text (`{"recipients": "100"}`), or None.
            source: where it was said, for error messages (`--limit`, `SmtpServer.limits`).

        Raises:
            ConfigError: an unknown name, or a value that cannot be used.
        """
        if not values:
            return self
        known = [field.name for field in fields(self)]
        checked = {}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(f"{source}: there is no {self._noun} {name!r}; known are {', '.join(known)}")
            try:
                checked[name] = self._parse(name, value)
            except ConfigError as error:
                raise ConfigError(f"{source} {name}: {error}") from None
        return replace(self, **checked)


# The timeouts that may be 0, which means: none.
_MAY_BE_ZERO = frozenset(("greeting_delay",))


@dataclass(frozen=True)
class Timeouts(_Numbers):
    """How long we wait, in seconds. RFC 5321 §4.5.3.2 gives the least a client has to wait for each reply.

    Towards the client: `proxy_header` (the PROXY protocol's header, where one comes first), `tls_handshake`,
    `greeting_delay` (how long it is kept waiting for the greeting; 0: not at all), `command` (its next command, the whole
    line), `data_block` (its next piece of message), `transaction` (from MAIL to the end of its message),
    `session` (all of it), `handler` (a handler of the policy, all its waits together; then the client gets 451),
    `message_handler` (the same for the handler after the final dot: clients wait ten minutes there).

    Towards the next hop: `connect`, `greeting`, `hello`, `mail`, `rcpt`, `data`, `data_block` (until it
    takes more of the message), `data_end` (its reply to the final dot), `reset`, `quit`, `tls_handshake`;
    `kept_connection` (how long one waits for another session).

    The DNS: `dns` (one look-up, with all its tries).

    Services outside, each for one answer where the policy does not say otherwise: `sql`, `store`, `http`,
    `clamav`, `spamassassin`, `rspamd`, `milter`.

    JavaScript: `idle_heap` (a session that has waited so long gives the pages of its heap back until the client speaks).

    The process: `shutdown` (running transactions may take this long to finish after SIGTERM).
    """

    proxy_header: float = 5.0
    tls_handshake: float = 30.0
    greeting_delay: float = 0.0
    command: float = 300.0
    data_block: float = 180.0
    transaction: float = 7200.0
    session: float = 14400.0
    handler: float = 270.0
    message_handler: float = 570.0
    connect: float = 30.0
    greeting: float = 300.0
    hello: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    data_end: float = 600.0
    reset: float = 20.0
    quit: float = 20.0
    kept_connection: float = 10.0
    dns: float = 5.0
    sql: float = 10.0
    store: float = 2.0
    http: float = 10.0
    clamav: float = 60.0
    spamassassin: float = 60.0
    rspamd: float = 30.0
    milter: float = 60.0
    idle_heap: float = 3.0
    shutdown: float = 30.0

    _noun = "timeout"

    @staticmethod
    def _parse(name, value):
        return parse_duration(value, name in _MAY_BE_ZERO)


# Below these a session could not even start; RFC 5321 §4.5.3.1 has what a public server should allow. Where it is 0, 0
# means that there is no limit.
_LEAST = {"line_bytes": 512, "auth_line_bytes": 512, "recipients": 1, "message_bytes": 1, "header_bytes": 1,
          "header_fields": 1, "errors": 1,
          "pending_bytes": 1024, "proxy_bytes": 232, "connections": 1, "spool_memory_bytes": 0, "spool_shared_bytes": 0,
          "heap_bytes": 1 << 20, "slice_ms": 5, "session_ms": 50, "operations": 1, "operations_at_once": 1,
          "dns_cache_entries": 0, "dns_in_flight": 1,
          "address_connections": 0, "network_connections": 0, "connection_rate": 0, "address_rate": 0, "network_rate": 0,
          "ipv4_prefix": 0, "ipv6_prefix": 0, "commands": 0, "transactions": 0, "session_recipients": 0, "session_bytes": 0,
          "data_rate": 0, "early_bytes": 0, "foreign_commands": 0, "pipelined_commands": 0,
          "tarpits": 0, "lag_ms": 0, "free_memory_bytes": 0,
          "kept_connections": 0, "quarantine_bytes": 0, "quarantine_messages": 0, "quarantine_days": 0}
_MOST = {"ipv4_prefix": 32, "ipv6_prefix": 128}


@dataclass(frozen=True)
class Limits(_Numbers):
    """How much a client may use; each of these has its own reply when it is reached.

    Sizes are octets. `line_bytes`: one command line with its CR LF (500). `auth_line_bytes`: one of AUTH and its exchange
    (500). `recipients`: accepted in one
    transaction (452). `message_bytes`: one message, announced with SIZE (552).
    `header_bytes`, `header_fields`: the header section (552). `errors`: bad commands until 421.
    `pending_bytes`: input kept while a reply is being decided; beyond it the socket is not read.
    `proxy_bytes`: a header of the PROXY protocol (the connection is closed).
    `connections`: sessions at one time in one worker (421). `heap_bytes`: the JavaScript heap of one session (451, or 421
    when it cannot go on). `slice_ms`: CPU that JavaScript may burn without waiting (421). `session_ms`: time in JavaScript
    of a whole session (421). `operations`: what the handlers of one session may wait for or ask in all (451).
    `operations_at_once`: of those, under way at one time by Sys.all (451). `spool_memory_bytes`: of a message body, that
    stay in memory; `spool_shared_bytes`: that the larger bodies of one worker share before they go to temporary files, each an
    eighth at most. `dns_cache_entries`: answers of the DNS that one worker keeps, 0 for none.
    `dns_in_flight`: look-ups that it has under way at one time; the next one is "unavailable".
    `kept_connections`: to next hops, that wait in one worker for another session; the next one is closed.

    Before a session (421; counted over all workers): `address_connections`, `network_connections` of one client at one
    time; `connection_rate`, `address_rate`, `network_rate`: new ones in a minute, of all clients, of one address, of one
    network. `ipv4_prefix`, `ipv6_prefix`: how many bits of an address say its network. `lag_ms`, `free_memory_bytes`: a
    worker whose event loop is late by so many milliseconds, or a machine that has less memory left, turns clients away.

    Of a session (421): `commands`, `transactions`, `session_recipients`, `session_bytes` in all; `data_rate`: octets a second
    that a message must come with; `early_bytes`: before the greeting (554); `foreign_commands`: lines of other protocols
    (521); `pipelined_commands`: such as must wait for a reply and do not. `tarpits`: sessions of one worker that wait in its
    tarpit; further ones are not delayed.

    Of a quarantine: `quarantine_bytes`, `quarantine_messages` that it holds (451 for the next message that a policy wants to
    hold); `quarantine_days`: older messages are removed.
    """

    line_bytes: int = 2048
    auth_line_bytes: int = 12288
    recipients: int = 1000
    message_bytes: int = 50 << 20
    header_bytes: int = 256 << 10
    header_fields: int = 1000
    errors: int = 20
    pending_bytes: int = 64 << 10
    proxy_bytes: int = 4096
    connections: int = 2000
    spool_memory_bytes: int = 256 << 10
    spool_shared_bytes: int = 64 << 20
    heap_bytes: int = 8 << 20
    slice_ms: int = 50
    session_ms: int = 2000
    operations: int = 20000
    operations_at_once: int = 100
    dns_cache_entries: int = 20000
    dns_in_flight: int = 10000
    address_connections: int = 100
    network_connections: int = 200
    connection_rate: int = 0
    address_rate: int = 3000
    network_rate: int = 6000
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    lag_ms: int = 500
    free_memory_bytes: int = 64 << 20
    commands: int = 100_000
    transactions: int = 1000
    session_recipients: int = 50_000
    session_bytes: int = 10 << 30
    data_rate: int = 100
    early_bytes: int = 0
    foreign_commands: int = 0
    pipelined_commands: int = 1000
    tarpits: int = 1000
    kept_connections: int = 32
    quarantine_bytes: int = 1 << 30
    quarantine_messages: int = 10_000
    quarantine_days: int = 30

    _noun = "limit"

    @staticmethod
    def _parse(name, value):
        number = parse_size(value)
        if number < _LEAST[name]:
            raise ConfigError(f"{number} is too small; at least {_LEAST[name]} is needed")
        if number > _MOST.get(name, number):
            raise ConfigError(f"{number} is too large; at most {_MOST[name]} is possible")
        return number


PER_SESSION = frozenset((
    "recipients", "message_bytes", "header_bytes", "header_fields", "errors", "commands", "transactions",
    "session_recipients", "session_bytes", "data_rate", "foreign_commands", "pipelined_commands",
    "operations", "session_ms",
    "command", "data_block", "transaction", "session", "handler", "message_handler"))
"""The limits and timeouts that a policy may change for one session while it runs."""


# What a process has once, whatever its listeners are.
_OF_PROCESS = frozenset(("heap_bytes", "spool_shared_bytes", "tarpits", "lag_ms", "free_memory_bytes", "dns_cache_entries",
                         "dns_in_flight", "shutdown", "dns"))


def by_listener(values):
    """({name: value}, {listener: {name: value}}) out of {"name" or "name@listener": value}.

    A listener is written as it stands in the log (`127.0.0.1:25`, `[::]:25`, `unix:/path`), or as `:25` for all with that
    port. Raises ConfigError: nothing behind the @, or a limit that the process has once.
    """
    general, special = {}, {}
    for name, value in (values or {}).items():
        name, at, listener = name.partition("@")
        if at and not listener.strip():
            raise ConfigError(f"{name}@: expected NAME@LISTENER")
        if at and name.strip() in _OF_PROCESS:
            raise ConfigError(f"{name}@{listener}: {name} cannot be set for one listener")
        (special.setdefault(listener.strip(), {}) if at else general)[name.strip()] = value
    return general, special


def selects(selector, label):
    """Whether a listener of `by_listener` means the one that is called `label` in the log."""
    return label == selector or selector.startswith(":") and not label.startswith("unix:") and label.endswith(selector)


class Given:
    """Limits or timeouts from one source: `general`, and `by_listener` where a name had a listener behind it.

    Raises ConfigError when they are wrong.
    """

    def __init__(self, defaults, values, source):
        self._values, self.by_listener = by_listener(values)
        self._source = source
        self.general = defaults.replaced(self._values, source)
        for listener, special in self.by_listener.items():
            defaults.replaced(special, f"{source} @{listener}")

    def given(self, name):
        """The value that was given for all listeners, or None."""
        return getattr(self.general, name) if name in self._values else None

    def over(self, other):
        """A new one: these, and what `other` has besides; what the other says of a listener goes before what this says of
        all."""
        both = copy.copy(self)
        both.general = other.general.replaced(self._values, self._source)
        merged = {listener: dict(values) for listener, values in other.by_listener.items()}
        for listener, values in self.by_listener.items():
            merged.setdefault(listener, {}).update(values)
        both.by_listener = merged
        return both


def _plain(name):
    return name.replace("_", "").lower()


MOST_SETTING_BYTES = 1 << 20
"""The largest file of `--set-file`, in characters: every session's heap holds what a policy keeps of it."""


class Settings(Mapping):
    """What a policy reads with `Sys.setting(name)`: `--set NAME=VALUE`, and under it the environment.

    The environment variable of a setting is `MAILFILTER_` and its name, where neither case nor underscores
    matter: `nextHop` is found in `MAILFILTER_NEXTHOP` and in `MAILFILTER_NEXT_HOP`. Names given by `--set`
    must match exactly. Values are texts. Those of `--set-file NAME=FILE` are what the file holds, without blanks and line
    ends around it; read() reads them again, and take() takes what another process has read. Iterating gives the names
    of `--set`, then those variables that no `--set` hides, by their names in plain lower case.
    """

    def __init__(self, values=None, environment=None, files=None):
        self._values = dict(values or {})
        self._files = dict(files or {})
        self._values |= dict.fromkeys(self._files, "")
        self.read()
        hidden = {_plain(name) for name in self._values}
        self._environment = {}
        for variable, value in (os.environ if environment is None else environment).items():
            if variable.startswith("MAILFILTER_"):
                name = _plain(variable[len("MAILFILTER_"):])
                if name and name not in hidden:
                    self._environment[name] = value

    def read(self):
        """Read the files; ConfigError when that is impossible, and nothing changes."""
        found = {}
        for name, path in self._files.items():
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    found[name] = file.read(MOST_SETTING_BYTES + 1).strip()
            except OSError as error:
                raise ConfigError(f"--set-file {name}={path}: {error.strerror}") from None
            if len(found[name]) > MOST_SETTING_BYTES:
                raise ConfigError(f"--set-file {name}={path}: more than {MOST_SETTING_BYTES} characters")
        self.take(found)

    @property
    def given(self):
        """The names of those that `--set` and `--set-file` gave, in their order."""
        return list(self._values)

    @property
    def of_files(self):
        """What the files held when they were read, by the names of the settings."""
        return {name: self._values[name] for name in self._files}

    def take(self, found):
        """Take the values of files from `of_files` of another process."""
        self._values |= found

    def __getitem__(self, name):
        if name in self._values:
            return self._values[name]
        return self._environment[_plain(name)]

    def __iter__(self):
        yield from self._values
        yield from self._environment

    def __len__(self):
        return len(self._values) + len(self._environment)

    def __repr__(self):
        return f"Settings({', '.join(self)})"
