"""`python -m bench.peers`: installs into bench/.peers what can be had, and says what is there and what is not, and why."""
import sys

from ..systems import Unavailable
from . import ALL


def main():
    """The program."""
    for name, peer in ALL.items():
        try:
            peer.install(lambda text: print(text, file=sys.stderr, flush=True))
            print(f"{name:20}{peer.version()}")
        except Unavailable as error:
            print(f"{name:20}missing: {error}")


if __name__ == "__main__":
    main()
