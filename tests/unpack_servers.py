"""Unpacks mail servers that Debian cannot install beside Postfix, each into a root directory of its own.

    python3 tests/unpack_servers.py FOLDER      (root, Debian; silent when all is there)

Exim, OpenSMTPD and Postfix exclude one another as packages, and Dovecot's package would start a service. So their
packages, and what they depend on and is not installed here, are downloaded by apt and unpacked into FOLDER/NAME without
being installed; the shared libraries of this machine that they need are copied beside them, and users and groups are
written into etc. The result is run by chroot (tests/peers/rooted.py): the paths and user names that are compiled
into those programs are theirs alone, and nothing of this machine changes.

Exit status 1, with a line for each, when one could not be had; tests that need it are then skipped. Knows nothing of
what the servers do.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The folder's name, and its packages.
SERVERS = {
    "exim": ["exim4-daemon-light", "exim4-base"],
    "opensmtpd": ["opensmtpd"],
    "dovecot": ["dovecot-core", "dovecot-lmtpd"],
}
# What they run from this machine: OpenSMTPD gives mail to a delivery program by way of a shell.
ALSO = ["/bin/sh"]

PASSWD = """\
root:x:0:0::/root:/bin/sh
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
Debian-exim:x:61101:61101::/var/spool/exim4:/usr/sbin/nologin
opensmtpd:x:61102:61102::/var/lib/opensmtpd/empty:/usr/sbin/nologin
opensmtpq:x:61103:61103::/var/lib/opensmtpd/empty:/usr/sbin/nologin
dovecot:x:61104:61104::/nonexistent:/usr/sbin/nologin
dovenull:x:61105:61105::/nonexistent:/usr/sbin/nologin
mailbox:x:61106:61106::/mail:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nmail:x:8:\nnogroup:x:65534:\n" + "".join(
    f"{name}:x:{number}:\n" for number, name in enumerate(
        ["Debian-exim", "opensmtpd", "opensmtpq", "dovecot", "dovenull", "mailbox"], 61101))
# Nobody is asked over the network for any name.
HOSTS = "127.0.0.1 localhost\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\nservices: files\n"

QUIET = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": True}


def lacking(packages):
    """The names of the packages to unpack: these, and those that installing them would bring along."""
    plan = subprocess.run(["apt-get", "install", "--simulate", "--no-install-recommends", *packages], **QUIET).stdout
    return sorted({line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")} | set(packages))


def download(packages, folder):
    """Fetch the packages into the folder, after `apt-get update` when there are no lists or they are too old."""
    try:
        subprocess.run(["apt-get", "download", *lacking(packages)], cwd=folder, **QUIET)
    except subprocess.CalledProcessError:
        subprocess.run(["apt-get", "update"], **QUIET)
        subprocess.run(["apt-get", "download", *lacking(packages)], cwd=folder, **QUIET)


def programs(root):
    """Every ELF file below a root, once."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def add_libraries(root):
    """Copy the shared libraries that the programs below a root lack from this machine, to the same places."""
    folders = {str(path.parent) for path in root.rglob("*.so*")}
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(sorted(folders)))
    missing = set()
    for program in programs(root):
        done = subprocess.run(["ldd", str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, env=environment)
        for line in done.stdout.splitlines():
            name, _, place = line.strip().partition(" => ")
            place = (place or name).split(" (")[0].strip()
            if place == "not found" and "/plugins/" not in str(program) and "/modules/" not in str(program):
                missing.add(name)
            if place.startswith("/") and not place.startswith(str(root)):
                copy(place, root)
    if missing:
        raise OSError(f"no library {', '.join(sorted(missing))}")


def copy(path, root):
    """Copy a file of this machine to the same place below a root, its links followed."""
    there = root / path.lstrip("/")
    if not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, there)


def unpack(name, folder):
    """Make FOLDER/NAME, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{name}.") as work:
        archives, root = Path(work) / "archives", Path(work) / "root"
        archives.mkdir()
        root.mkdir()
        download(SERVERS[name], archives)
        for archive in sorted(archives.glob("*.deb")):
            subprocess.run(["dpkg", "--extract", str(archive), str(root)], **QUIET)
        for path in ALSO:
            copy(path, root)
        add_libraries(root)
        for documentation in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / documentation, ignore_errors=True)
        for directory in ("etc", "dev", "tmp", "run", "root", "mail"):
            (root / directory).mkdir(exist_ok=True)
        for file, text in (("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS), ("nsswitch.conf", NSSWITCH)):
            (root / "etc" / file).write_text(text)
        root.chmod(0o755)
        root.rename(folder / name)


def main():
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for name in SERVERS:
        if (folder / name).is_dir():
            continue
        print(f"unpacking {name} into {folder / name}")
        try:
            unpack(name, folder)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip() or error.stdout.strip() or str(error)).splitlines()[-1]
            problems.append(f"{name}: {' '.join(error.cmd[:2])}: {last}")
        except OSError as error:
            problems.append(f"{name}: {error}")
    for problem in problems:
        print(f"{problem}; its tests will be skipped", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
