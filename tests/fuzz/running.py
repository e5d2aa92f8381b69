"""Runs a fuzz target: the committed corpus, and inputs made from it.

A target has a name and `check(data)`, which raises when an invariant does not hold. Inputs are made from a seed, so
that a run of n inputs is always the same; `--seconds` runs on for as long as that. What breaks an invariant is made
smaller and written into the corpus, where every ordinary test run replays it.
"""
import argparse
import random
import time
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def corpus(name):
    """The committed inputs of a target, as (file name, data), in a fixed order."""
    return [(path.name, path.read_bytes()) for path in sorted((CORPUS / name).iterdir())]


def mutated(rng, data, others, pieces, most=400):
    """`data` with a few random changes: octets, pieces that matter to the target, parts of other inputs."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        how = rng.randrange(7)
        if how == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del data[at:at + rng.randint(1, 8)]
        elif how == 2:
            data[at:at] = data[at:at + rng.randint(1, 40)]
        elif how == 3:
            other = rng.choice(others)
            start = rng.randint(0, len(other))
            data[at:at] = other[start:start + rng.randint(1, 80)]
        elif how == 4:
            data[at:at + rng.randint(0, 3)] = rng.choice(pieces)
        else:
            data[at:at] = rng.choice(pieces)
    return bytes(data[:most])


def inputs(name, pieces, seed=0):
    """Inputs without end, always the same for a seed."""
    rng = random.Random(f"{name} {seed}")
    known = [data for _name, data in corpus(name)]
    while True:
        yield mutated(rng, rng.choice(known), known, pieces)


def smaller(check, data):
    """A shorter input that breaks an invariant, too."""
    def breaks(candidate):
        try:
            check(candidate)
        except Exception:
            return True
        return False
    size = max(len(data) // 2, 1)
    while size:
        at = 0
        while at < len(data):
            candidate = data[:at] + data[at + size:]
            if breaks(candidate):
                data = candidate
            else:
                at += size
        size //= 2
    return data


def main(name, check, pieces):
    """`python -m tests.fuzz.<target> [--seconds N] [--seed S]`."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{name}", description=check.__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", default=0, help="another seed makes other inputs (default 0)")
    options = parser.parse_args()
    for _file, data in corpus(name):
        check(data)
    end = time.monotonic() + options.seconds
    count = 0
    for data in inputs(name, pieces, options.seed):
        try:
            check(data)
        except Exception:
            data = smaller(check, data)
            path = CORPUS / name / f"found-{options.seed}-{count}"
            path.write_bytes(data)
            print(f"input {count} breaks an invariant, made smaller it is in {path}:\n{data!r}")
            check(data)
            raise
        count += 1
        if time.monotonic() > end:
            break
    print(f"{name}: {count} inputs, nothing found")
