"""Map files with very many entries: how long one takes to be compiled and loaded, a look-up, and a worker's memory.

Each kind is measured in a process of its own, `python -m bench.map_lookups MAP KEYS FOLDER N`, so that its memory is its own.
Must not know: policies.
"""
import random
import subprocess
import sys
import time

from mailfilter.services import maps

from .launching import PROJECT

HEAD = ["a map of so many entries", "file", "compiled in, CPU", "mapped in", "memory, a worker's own / of all",
        "CPU, ns a look-up, found / not found"]
LOOK_UPS = 100_000       # of each sort, where there are that many entries


def _address(number):
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def _lines(kind, entries, rng):
    """(lines of a file, keys that are there, keys that are not)"""
    if kind == "cidr":
        networks = rng.sample(range(1 << 23), entries)          # of 24 bits, in the lower half of the addresses
        return ([f"{_address(number << 8)}/24 listed" for number in networks],
                [_address(rng.choice(networks) << 8 | rng.randrange(256)) for _ in range(1000)],
                [_address(1 << 31 | rng.getrandbits(31)) for _ in range(1000)])
    if kind == "hash":
        return ([f"user{number}@example{number % 1000}.org vip" for number in range(entries)],
                [f"user{number}@example{number % 1000}.org" for number in rng.choices(range(entries), k=1000)],
                [f"nobody{number}@example.org" for number in range(1000)])
    return ([f"domain{number}.example listed" for number in range(entries)],
            [f"www.host.domain{number}.example" for number in rng.choices(range(entries), k=1000)],
            [f"www.host.other{number}.test" for number in range(1000)])


def measure(folder, entries, said):
    """Rows of the table."""
    rows, rng = [], random.Random(1)
    for kind in ("cidr", "hash", "domains"):
        said(f"a map of {entries:,} entries: {kind}")
        path, keys = f"{folder}/map.{kind}", f"{folder}/keys.{kind}"
        lines, there, missing = _lines(kind, entries, rng)
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        with open(keys, "w", encoding="ascii") as file:
            file.write("\n".join([*there, *missing]))
        del lines
        done = subprocess.run([sys.executable, "-m", "bench.map_lookups", path, keys, folder, str(min(entries, LOOK_UPS))],
                              cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True)
        size, made, mapped, private, shared, found, none = map(float, done.stdout.split())
        rows.append([f"{entries:,}, {kind}", f"{size / (1 << 20):.0f} MiB", f"{made:.1f} s", f"{mapped * 1e3:.1f} ms",
                     f"{private / 1024:.1f} / {shared / 1024:.0f} MiB", f"{found:,.0f} / {none:,.0f}"])
    return rows


def _memory():
    """Resident KiB of this process: (its own, those of files, which all processes have together)."""
    found = {}
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if rest.rstrip().endswith("kB"):
                found[name] = int(rest.split()[0])
    return found["Anonymous"], found["Rss"] - found["Anonymous"]


def _look(path, keys, folder, number):
    begun = time.process_time()
    target = maps.compiled(path, folder)
    made = time.process_time() - begun
    with open(target, "rb") as file:
        size = len(file.read())
    with open(keys, "rb") as file:
        words = file.read().split()
    half = len(words) // 2
    parts = [(part * (int(number) // half), there) for part, there in ((words[:half], True), (words[half:], False))]
    before = _memory()
    begun = time.perf_counter()
    found = maps.Map(target)
    mapped = time.perf_counter() - begun
    times = []
    for part, there in parts:
        assert all((found.find(word) is not None) == there for word in part)
        begun = time.process_time()
        for word in part:
            found.find(word)
        times.append((time.process_time() - begun) / len(part) * 1e9)
    after = _memory()
    print(size, made, mapped, after[0] - before[0], after[1] - before[1], *times)


if __name__ == "__main__":
    _look(*sys.argv[1:])
