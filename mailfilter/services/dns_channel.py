"""A c-ares channel (pycares) on the event loop.

Nothing here blocks and no thread is used: c-ares tells which of its sockets want reading or writing, the loop watches
them. Facts about c-ares that the code answers to:
- it has a cache of its own, which nothing bounds but time (1.2 KiB a name), and which keeps "no such record" for an
  hour where the answer says nothing: it is switched off, which pycares has no argument for; whoever uses a channel
  replaces it after a number of queries all the same;
- a callback that raises leaks the channel: ours never do;
- destroying a channel runs callbacks on another thread: everything is cancelled on the loop first.

Must not know: names, records, caches, policies.
"""
import asyncio

import pycares

from mailfilter.errors import ServiceUnavailable

__all__ = ["Channel"]

TRIES = 2
"""How often each server is asked."""

# <ares.h>: the option that qcache_max_ttl of struct ares_options is set; 0 switches the cache off.
_ARES_OPT_QUERY_CACHE = 1 << 21


class _WithoutCache:
    """Stands for pycares' library while a channel is made, and adds one option."""

    def __init__(self, library):
        self._library = library

    def __getattr__(self, name):
        return getattr(self._library, name)

    def ares_init_options(self, channel, options, mask):
        options.qcache_max_ttl = 0
        return self._library.ares_init_options(channel, options, mask | _ARES_OPT_QUERY_CACHE)


def _new_channel(**arguments):
    library = pycares._lib
    pycares._lib = _WithoutCache(library)
    try:
        return pycares.Channel(**arguments)
    finally:
        pycares._lib = library


class Channel:
    """A c-ares channel whose sockets and timer are the loop's."""

    def __init__(self, servers, deadline_s):
        self.started = 0
        self._loop = asyncio.get_running_loop()
        self._waiting = set()
        self._readers = set()
        self._writers = set()
        self._timer = None
        self._retired = None
        # c-ares doubles the time-out at the second try: a third of the deadline leaves room for both.
        try:
            self._ares = _new_channel(
                servers=servers, timeout=deadline_s / 3, tries=TRIES, lookups="b", domains=[],
                sock_state_cb=self._socket_changed)
        except pycares.AresError as error:
            raise ServiceUnavailable(f"no DNS channel: {error}") from error

    @property
    def servers(self):
        """The servers that are asked, as (address, port) pairs."""
        return [_address_and_port(server) for server in self._ares.servers]

    def query(self, name, kind, done):
        """Ask; `done(result, None)` or `done(None, c-ares error number)` is called by the loop, once.

        There is no taking back of one query: c-ares ends it by its own time-out.
        """
        waiting = self._waiting
        token = object()

        def answered(result, status):
            # Called by C. On no account may it raise, so that nothing of the caller's runs here.
            waiting.discard(token)
            self._loop.call_soon(done, result, status)
            if self._retired is not None and not waiting:
                self._loop.call_soon(self.close)

        self.started += 1
        waiting.add(token)
        try:
            self._ares.query(name, kind, callback=answered)
        except pycares.AresError as error:
            answered(None, error.args[0])
        self._arm()

    def retire(self, when_closed):
        """Close as soon as nothing is waited for any more, and call `when_closed(self)` then."""
        self._retired = when_closed
        if not self._waiting:
            self.close()

    def close(self):
        """End all queries with "cancelled", on this thread, and destroy the channel."""
        ares, self._ares = self._ares, None
        if ares is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._loop.is_closed():
            for fd in self._readers:
                self._loop.remove_reader(fd)
            for fd in self._writers:
                self._loop.remove_writer(fd)
            ares.cancel()
        ares.close()
        if self._retired is not None:
            self._retired(self)

    def _socket_changed(self, fd, readable, writable):
        # Called by C, before it closes a socket too. After `close` also from another thread: then
        # nothing is watched any more, and there is nothing to do.
        if self._ares is None:
            return
        if readable and fd not in self._readers:
            self._readers.add(fd)
            self._loop.add_reader(fd, self._process, fd, pycares.ARES_SOCKET_BAD)
        elif not readable and fd in self._readers:
            self._readers.discard(fd)
            self._loop.remove_reader(fd)
        if writable and fd not in self._writers:
            self._writers.add(fd)
            self._loop.add_writer(fd, self._process, pycares.ARES_SOCKET_BAD, fd)
        elif not writable and fd in self._writers:
            self._writers.discard(fd)
            self._loop.remove_writer(fd)

    def _process(self, read_fd, write_fd):
        if self._ares is not None:
            self._ares.process_fd(read_fd, write_fd)

    def _arm(self):
        if self._timer is None and self._waiting and self._ares is not None:
            self._timer = self._loop.call_later(max(self._ares.timeout(1.0), 0.01), self._tick)

    def _tick(self):
        self._timer = None
        self._process(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._arm()


def _address_and_port(server):
    """c-ares writes `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53` and `[fe80::1]:53%eth0`."""
    server = str(server)
    zone = ""
    if server.startswith("["):
        address, _, port = server[1:].partition("]")
        port, _, zone = port.lstrip(":").partition("%")
    elif server.count(":") == 1:
        address, _, port = server.partition(":")
    else:
        address, port = server, ""
    return (f"{address}%{zone}" if zone else address), int(port or 53)
