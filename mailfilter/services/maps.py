"""Map files: networks, keys, domains or regular expressions, one a line, each with a value behind it where wanted.

    203.0.113.0/24      known spammer          allow.cidr
    user@example.org    vip                    senders.hash
    example.org                                local.domains        itself and all below; .example.org: only what is below
    /^dyn[0-9]+\\./     dynamic                hosts.regexp         the first that matches; i behind it: large like small

The text is compiled into a file of sorted arrays, which every process maps into its memory: they all share it, and a
look-up among a million entries is a search of twenty steps in it. That is done by a process of its own when a file is large or
has changed while the server runs; until it is ready, the old entries hold. Regular expressions go through RE2, whose
time does not explode whatever the text is.

Must not know: policies, what entries mean.
"""
import array
import bisect
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import mmap
import os
import socket
import stat
import sys
import tempfile

from mailfilter.errors import ConfigError

__all__ = ["ENTRIES", "KINDS", "PATTERNS", "Map", "MapError", "compiled", "kind_of"]

KINDS = ("cidr", "hash", "domains", "regexp")

ENTRIES = 20_000_000
"""Entries of one file."""

PATTERNS = 10_000
"""Regular expressions of one file; RE2 may use 64 MiB for them."""

LINE = 8192
"""Octets of one line."""

_FORMAT = 2
_NONE = 0xFFFFFFFF


class MapError(ConfigError):
    """A map file that cannot be read, or a line in it that makes no sense."""


def kind_of(path):
    """One of KINDS by the ending of a file's name; MapError."""
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in KINDS:
        raise MapError(f"{path}: the ending of its name says what a map is: {', '.join('.' + kind for kind in KINDS)}")
    return kind


# Compiling.

def _lines(path):
    """(number, key, value) of each entry, as octets."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith(b"#"):
                continue
            if len(line) > LINE:
                raise MapError(f"{path}:{number}: the line is longer than {LINE} octets")
            parts = line.split(None, 1)
            yield number, parts[0], parts[1] if len(parts) > 1 else b""


class _Values:
    """The values, each once: its place in the file's text."""

    def __init__(self):
        self.text = bytearray()
        self._known = {}

    def place(self, value):
        place = self._known.get(value)
        if place is None:
            place = self._known[value] = len(self.text)
            self.text += len(value).to_bytes(2, "big") + value
        return place


def _flat(networks, last):
    """[(start, value), …] of ranges without overlaps; the smallest network that has an address wins."""
    found, stack = [], []

    def emit(start, value):
        if start > last:
            return
        if found and found[-1][0] == start:
            found.pop()
        if (found[-1][1] if found else _NONE) != value:
            found.append((start, value))

    for start, end, value in sorted(networks, key=lambda network: (network[0], -network[1])):
        while stack and stack[-1][0] < start:
            ended = stack.pop()[0]
            emit(ended + 1, stack[-1][1] if stack else _NONE)
        emit(start, value)
        stack.append((end, value))
    while stack:
        ended = stack.pop()[0]
        emit(ended + 1, stack[-1][1] if stack else _NONE)
    return found


def _network(text):
    """(IP version, first address, last address) as numbers; ValueError."""
    address, slash, bits = text.partition("/")
    if ":" in address:
        network = ipaddress.IPv6Network((address, int(bits) if slash else 128), strict=False)
        return 6, int(network.network_address), int(network.broadcast_address)
    start, size = int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big"), int(bits) if slash else 32
    if not 0 <= size <= 32:
        raise ValueError(f"/{bits}")
    mask = (1 << 32 - size) - 1
    return 4, start & ~mask, start | mask


def _cidr(path):
    values, networks = _Values(), {4: [], 6: []}
    for number, key, value in _lines(path):
        try:
            version, start, end = _network(key.decode("ascii"))
        except (ValueError, OSError):
            raise MapError(f"{path}:{number}: '{key.decode('utf-8', 'replace')[:100]}' is no network") from None
        networks[version].append((start, end, values.place(value)))
    four, six = _flat(networks[4], (1 << 32) - 1), _flat(networks[6], (1 << 128) - 1)
    return {"starts4": array.array("I", [start for start, _ in four]), "values4": array.array("I", [value for _, value in four]),
            "starts6": b"".join(start.to_bytes(16, "big") for start, _ in six),
            "values6": array.array("I", [value for _, value in six]), "text": bytes(values.text)}


def _digest(key):
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def _table(path, normal):
    values, text, rows, exact, below = _Values(), bytearray(), {}, set(), set()
    for number, key, value in _lines(path):
        key = normal(key)
        (below if key.startswith(b".") else exact).add(key.count(b"."))
        digest = _digest(key)
        if digest in rows:              # the first of equal keys counts; two that meet by chance there are never
            continue
        if len(rows) >= ENTRIES:
            raise MapError(f"{path}:{number}: there are more than {ENTRIES} entries")
        rows[digest] = len(text)
        text += len(key).to_bytes(2, "big") + key + values.place(value).to_bytes(4, "big")
    digests = array.array("Q", sorted(rows))
    return {"digests": digests, "places": array.array("I", [rows[digest] for digest in digests]), "keys": bytes(text),
            "text": bytes(values.text), "dots": array.array("I", [len(exact), *exact, *below])}


def _normal(key):
    return key.lower()


def _normal_domain(key):
    return key.lower().rstrip(b".")


def compile_file(path, target):
    """Compile a map file into `target`, which appears whole or not at all. MapError, OSError."""
    kind = kind_of(path)
    sections = _cidr(path) if kind == "cidr" else _table(path, _normal if kind == "hash" else _normal_domain)
    head, blobs, place = {"format": _FORMAT, "kind": kind}, [], 0
    for name, section in sections.items():
        blob = section if isinstance(section, bytes) else section.tobytes()
        head[name] = [place, len(blob)]
        padded = len(blob) + -len(blob) % 16
        blobs.append(blob.ljust(padded, b"\0"))
        place += padded
    line = json.dumps(head).encode()
    line = line.ljust(len(line) + 1 + -(len(line) + 1) % 16 - 1) + b"\n"
    fd, fresh = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".map-")
    try:
        with open(fd, "wb") as file:
            file.write(line)
            for blob in blobs:
                file.write(blob)
        os.chmod(fresh, 0o644)
        os.replace(fresh, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


# Where compiled files are.

def _folders(directory):
    if directory is not None:
        yield os.path.join(directory, "maps")
    yield os.path.join(tempfile.gettempdir(), f"mailfilter-maps-{os.geteuid()}")


def _name(path):
    status = os.stat(path)
    state = f"{_FORMAT} {status.st_mtime_ns} {status.st_size} {status.st_ino} {sys.byteorder}"
    return (hashlib.sha256(os.fsencode(path)).hexdigest()[:24], hashlib.sha256(state.encode()).hexdigest()[:16])


def _ours(path):
    status = os.stat(path)
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def compiled(path, directory, make=True):
    """The compiled file of a map file as it is now; made when it is not there, unless `make` is false: then None.

    directory: where compiled things are kept, or None. MapError, OSError.
    """
    which, state = _name(path)
    for folder in _folders(directory):
        target = os.path.join(folder, f"{which}-{state}.map")
        with contextlib.suppress(OSError):
            if _ours(folder) and _ours(target):
                return target
    if not make:
        return None
    for folder in _folders(directory):
        with contextlib.suppress(PermissionError, FileNotFoundError, NotADirectoryError):
            os.makedirs(folder, mode=0o755, exist_ok=True)
            if not _ours(folder):
                continue
            target = os.path.join(folder, f"{which}-{state}.map")
            with open(os.path.join(folder, f"{which}.lock"), "w", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)        # of several workers one makes it
                if not os.path.exists(target):
                    compile_file(path, target)
                    for name in os.listdir(folder):
                        if name.startswith(which) and name.endswith(".map") and name != os.path.basename(target):
                            with contextlib.suppress(OSError):
                                os.unlink(os.path.join(folder, name))
            return target
    raise MapError(f"{path}: there is no folder where it could be compiled")


# Looking up.

class Map:
    """A compiled map file. find(key): its value as octets, or None."""

    def __init__(self, target):
        with open(target, "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        end = memory.find(b"\n") + 1
        head = json.loads(memory[:end])
        view = memoryview(memory)

        def section(name, kind="B"):
            place, size = head[name]
            return view[end + place:end + place + size].cast(kind)

        self.kind = head["kind"]
        self._memory, self._text = memory, end + head["text"][0]
        if self.kind == "cidr":
            self._starts4, self._values4 = section("starts4", "I"), section("values4", "I")
            self._starts6, self._values6 = section("starts6"), section("values6", "I")
        else:
            self._digests, self._places = section("digests", "Q"), section("places", "I")
            self._keys = end + head["keys"][0]
            exact, *dots = section("dots", "I")
            # How many dots there are in keys, without and with one at the beginning: others need no look.
            self._exact, self._below = frozenset(dots[:exact]), frozenset(dots[exact:])
        self.find = {"cidr": self._address, "hash": self._key, "domains": self._domain}[self.kind]

    def __len__(self):
        return len(self._values4) + len(self._values6) if self.kind == "cidr" else len(self._places)

    def _value(self, place):
        if place == _NONE:
            return None
        place += self._text
        size = int.from_bytes(self._memory[place:place + 2], "big")
        return self._memory[place + 2:place + 2 + size]

    def _address(self, key):
        text = key.decode("ascii", "replace").partition("%")[0]
        try:
            if ":" not in text:
                return self._four(int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"))
            octets = socket.inet_pton(socket.AF_INET6, text)
        except (OSError, ValueError):
            return None
        if octets.startswith(b"\0" * 10 + b"\xff\xff"):
            return self._four(int.from_bytes(octets[12:], "big"))
        low, high, starts = 0, len(self._values6), self._starts6
        while low < high:
            middle = (low + high) // 2
            if octets < bytes(starts[middle * 16:middle * 16 + 16]):
                high = middle
            else:
                low = middle + 1
        return self._value(self._values6[low - 1]) if low else None

    def _four(self, number):
        place = bisect.bisect_right(self._starts4, number)
        return self._value(self._values4[place - 1]) if place else None

    def _key(self, key):
        key = key.lower()
        digest = _digest(key)
        place = bisect.bisect_left(self._digests, digest)
        if place == len(self._digests) or self._digests[place] != digest:
            return None
        at, wanted = self._keys + self._places[place], len(key).to_bytes(2, "big") + key
        entry = self._memory[at:at + len(wanted) + 4]
        return self._value(int.from_bytes(entry[-4:], "big")) if entry.startswith(wanted) else None

    def _domain(self, key):
        key = _normal_domain(key.rpartition(b"@")[2])
        exact, below, dots = self._exact, self._below, key.count(b".")
        found = self._key(key) if dots in (below if key.startswith(b".") else exact) else None
        while found is None and dots:
            key = key.partition(b".")[2]
            dots -= 1
            if dots in (below if key.startswith(b".") else exact):
                found = self._key(key)
            if found is None and dots + 1 in below:
                found = self._key(b"." + key)
        return found


class Patterns:
    """A file of regular expressions, compiled here. MapError."""

    kind = "regexp"

    def __init__(self, path):
        try:
            import re2
        except ImportError:
            raise MapError(f"{path}: regular expressions need google-re2, which is not installed: "
                           "pip install 'mailfilter[regexp]'") from None
        options = re2.Options()
        options.max_mem, options.log_errors, options.encoding = 64 << 20, False, re2.Options.Encoding.LATIN1
        self._set, self._values = re2.Set.SearchSet(options), []
        for number, key, value in _patterns(path):
            if len(self._values) >= PATTERNS:
                raise MapError(f"{path}:{number}: there are more than {PATTERNS} regular expressions")
            try:
                self._set.Add(key.decode("latin-1"))
            except re2.error as error:
                raise MapError(f"{path}:{number}: {error}") from None
            self._values.append(value)
        if self._values:
            self._set.Compile()

    def __len__(self):
        return len(self._values)

    def find(self, key):
        """The value of the first expression that matches somewhere in the key, or None."""
        found = self._set.Match(key.decode("latin-1")) if self._values else ()
        return self._values[min(found)] if found else None


def _patterns(path):
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith(b"#"):
                continue
            end = line.rfind(b"/", 1)
            rest = line[end + 1:]
            flag = rest[:1] == b"i" and (len(rest) == 1 or rest[1:2].isspace())
            if not line.startswith(b"/") or end < 1 or len(line) > LINE or rest and not flag and not rest[:1].isspace():
                raise MapError(f"{path}:{number}: an entry is /expression/ and, behind it, a value")
            yield number, (b"(?i)" if flag else b"") + line[1:end], rest[1:].strip() if flag else rest.strip()


if __name__ == "__main__":
    try:
        compiled(sys.argv[1], sys.argv[2] or None)
    except (MapError, OSError) as problem:
        sys.exit(str(problem))
