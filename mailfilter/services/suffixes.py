"""The public suffix list (publicsuffix.org): which part of a name somebody registered, and which belongs to a registry.

The list comes with the package publicsuffixlist, a new one every week. Reading it takes 0.1 s of CPU and 5 MB, so a process
does it once, when it is first needed, and away from the event loop (`load` in a thread). A look-up takes a few µs.

Must not know: DMARC, the DNS.
"""
import threading

from publicsuffixlist import PublicSuffixList

__all__ = ["is_suffix", "load", "loaded", "registered"]

_lock = threading.Lock()
_list = None


def load():
    """Read the list, unless that is done. May be called from any thread."""
    global _list
    with _lock:
        if _list is None:
            _list = PublicSuffixList()
    return _list


def loaded():
    """Whether the list is there already."""
    return _list is not None


def registered(domain):
    """The part of `domain` that was registered: the public suffix and one label more; None where there is no such label.

    domain: lower case, A-labels, no final dot. Where the list has no rule, the last label is taken for the suffix.
    """
    return (_list or load()).privatesuffix(domain)


def is_suffix(domain):
    """Whether people register names directly under `domain`."""
    return (_list or load()).publicsuffix(domain) == domain
