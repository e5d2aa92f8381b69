"""Starting programs so that they end with us, and ahead of whatever else the machine does, if so asked. Knows none of them."""
import atexit
import ctypes
import os
import signal
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# The niceness of all that is measured, and of the load: `set_niceness`.
_niceness = 0


def set_niceness(number):
    """From now on programs run with this niceness; raises PermissionError where it is not allowed."""
    global _niceness
    os.setpriority(os.PRIO_PROCESS, 0, number)
    _niceness = number
    # We make some of the load ourselves. Our session is not only ours: it gets back what it had.
    before = _group_niceness(number)
    if before is not None:
        atexit.register(_group_niceness, before)


def _group_niceness(number):
    """Give our session's group of processes a niceness, among which the kernel shares the CPU; what it was, None: no groups."""
    try:
        with open("/proc/self/autogroup", encoding="ascii") as group:
            before = int(group.read().split()[-1])
        with open("/proc/self/autogroup", "w", encoding="ascii") as group:
            group.write(str(number))
    except (OSError, ValueError, IndexError):
        return None
    return before


def _in_the_child():
    # Also when we are killed so that nothing can be tidied up.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if _niceness:
        _group_niceness(_niceness)


def launch(command, **options):
    """Start a program in a process group of its own: Ctrl-C is for us, and we see to it that it ends."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(word) for word in command], cwd=PROJECT, start_new_session=True, preexec_fn=_in_the_child,
                            **options)


def end_group(process):
    """End a process that `launch` has started, and whatever it has started."""
    try:
        process.terminate()
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
