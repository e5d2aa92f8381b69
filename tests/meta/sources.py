"""Which files the project's own tests look at. Nothing here imports the product."""
import subprocess
from functools import lru_cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "mailfilter"
CORE = PACKAGE / "_core"


@lru_cache(maxsize=1)
def files():
    """Every file that git tracks or would track, relative to the project; without git, all there is."""
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=PROJECT,
                          capture_output=True)
    if done.returncode == 0:
        names = done.stdout.decode().split("\0")
        return sorted({Path(name) for name in names if name and (PROJECT / name).is_file()})
    folders = ("mailfilter", "js", "tests", "bench", "docs")
    return sorted(path.relative_to(PROJECT) for folder in folders for path in (PROJECT / folder).rglob("*")
                  if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".so", ".new")
                  and path.name != "_build.py")


def with_suffix(*suffixes):
    return [path for path in files() if path.suffix in suffixes]
