"""The resolver of a worker: DNS look-ups with a cache, merged, bounded in number and time.

Questions go out by c-ares (dns_channel) where it can ask them, and as packets of dnspython (dns_packet) where it
cannot: odd names, rare types. Answers are kept here for as long as their TTLs say, within bounds; look-ups for the
same thing that run at the same time are one look-up; nothing waits longer than the deadline. What the network does
is an Answer with a status, never an exception.

The servers are trusted to be the operator's own (resolv.conf, or as given). Must not know: policies, sessions, SMTP.
"""
import asyncio
from collections import OrderedDict

import pycares

from mailfilter import metrics
from mailfilter.errors import ServiceUnavailable
from mailfilter.services import dns_packet, reverse_names
from mailfilter.services.dns_answer import (
    CARES_TYPES,
    FAILURES,
    FOUND,
    MALFORMED,
    NODATA,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    TIMEOUT,
    UNAVAILABLE,
    Answer,
    from_cares,
    of_name,
)
from mailfilter.services.dns_channel import Channel
from mailfilter.services.dns_name import NameRefused, ascii_name, is_plain

__all__ = ["Resolver"]

DEADLINE_S = 5.0
"""Longest time, in seconds, that one look-up takes, whatever happens."""

CACHE_ENTRIES = 20000
"""How many answers are kept; beyond that the one used longest ago goes."""

IN_FLIGHT = 10000
"""How many look-ups run at a time; beyond that the outcome is "unavailable", at once and not kept."""

POSITIVE_MAX_S = 3600
"""Longest time an answer is kept, whatever its TTL says."""

NEGATIVE_S = 60
"""How long "no such name" and "no such record" are kept where the answer says nothing (RFC 2308 §5)."""

NEGATIVE_MAX_S = 900
"""Longest time they are kept."""

FAILURE_S = 5
"""How long a failed look-up (time-out, SERVFAIL) is kept, so that a dead server costs a client's second question
nothing (RFC 9520 §3.2)."""

CHANNEL_QUERIES = 10000
"""After how many questions a c-ares channel, and its cache with it, is replaced."""

ALONE = 100
"""How many look-ups are asked again at a time, each on a channel of its own, because an answer made no sense: c-ares takes such
an answer for the end of its socket, and of all other questions on it."""

_ASKED, _CACHED, _MERGED = (metrics.slot("dns_questions_total", how) for how in ("asked", "cached", "merged"))
_BUSY, _FULL = metrics.slot("limits_total", "dns_in_flight"), metrics.slot("limits_total", "dns_cache_entries")
_LATE = metrics.slot("timeouts_total", "dns")

_STATUS = {
    pycares.errno.ARES_ENOTFOUND: NXDOMAIN,
    pycares.errno.ARES_ENODATA: NODATA,
    pycares.errno.ARES_ESERVFAIL: SERVFAIL,
    pycares.errno.ARES_EREFUSED: REFUSED,
    pycares.errno.ARES_ENOTIMP: REFUSED,
    pycares.errno.ARES_ETIMEOUT: TIMEOUT,
    pycares.errno.ARES_EBADRESP: MALFORMED,
    pycares.errno.ARES_EFORMERR: MALFORMED,
}


class Resolver:
    """Look-ups for one event loop. Make it, use it and close it on that loop.

    servers: "address:port" texts; None takes the system's (resolv.conf). deadline_s, cache_entries, in_flight,
    channel_queries: as the constants of this file. Nothing is opened before the first question.

    asked: questions that went out; answered_from_cache, merged: those that did not have to. blocklists: what is known of
    the blocklists asked through it (a dnsbl.Lists), or None.
    """

    def __init__(self, *, servers=None, deadline_s=DEADLINE_S, cache_entries=CACHE_ENTRIES, in_flight=IN_FLIGHT,
                 channel_queries=CHANNEL_QUERIES):
        self.deadline_s = deadline_s
        self.cache_entries = cache_entries
        self.in_flight = in_flight
        self.channel_queries = channel_queries
        self.closed = False
        self.asked = self.answered_from_cache = self.merged = 0
        self.blocklists = None
        self._servers = servers
        self._loop = asyncio.get_running_loop()
        self._cache = OrderedDict()
        self._running = {}
        self._tasks = set()
        self._channel = None
        self._retired = set()
        self._alone = set()
        self._names = reverse_names.ReverseNames(self)

    def go_by(self, limits, timeouts):
        """Take what config.Limits and config.Timeouts say of DNS, from now on."""
        self.deadline_s = timeouts.dns
        self.cache_entries = limits.dns_cache_entries
        self.in_flight = limits.dns_in_flight

    # Questions.

    def lookup(self, name, kind, done):
        """Look up records of type `kind` (a number) of `name` (str or bytes).

        Gives the Answer when it is known; otherwise an object whose cancel() takes the question back, and
        `done(answer)` is called later, once.
        """
        try:
            name = ascii_name(name)
        except NameRefused as error:
            return Answer(NXDOMAIN, str(name), kind, ttl=NEGATIVE_S, reason=str(error))
        key = (name.lower(), kind)
        known = self._known(key)
        if known is not None:
            self.answered_from_cache += 1
            metrics.count(_CACHED)
            return known
        running = self._running.get(key)
        if running is None:
            if self.closed or len(self._running) >= self.in_flight:
                metrics.count(_BUSY)
                return Answer(UNAVAILABLE, name, kind,
                              reason="the resolver is closed" if self.closed else "too many look-ups at one time")
            running = self._running[key] = _Running(self, key, name)
            self._start(running)
        else:
            self.merged += 1
            metrics.count(_MERGED)
        question = _Question(running, done)
        running.questions.add(question)
        return question

    async def answer(self, name, kind):
        """The same for coroutines: the Answer."""
        future = self._loop.create_future()

        def done(answer):
            if not future.done():
                future.set_result(answer)

        found = self.lookup(name, kind, done)
        if type(found) is Answer:
            return found
        try:
            return await future
        finally:
            found.cancel()

    def known_reverse(self, address):
        """What `reverse` would answer without a question, as a tuple of one; None when it takes one."""
        return self._names.known(address)

    async def reverse(self, address):
        """The verified name of an IP address (str), or None; see reverse_names."""
        return await self._names.name(address)

    async def iprev(self, address):
        """The outcome of RFC 8601 §2.7.3 for an address; see reverse_names.Iprev."""
        return await self._names.iprev(address)

    # The end.

    def close(self):
        """End every look-up ("unavailable") and let go of the sockets. May be called more than once."""
        if self.closed:
            return
        self.closed = True
        for channel in [self._channel, *self._retired, *self._alone]:
            if channel is not None:
                channel.close()
        self._channel = None
        self._retired.clear()
        self._alone.clear()
        for task in self._tasks:
            task.cancel()
        for running in list(self._running.values()):
            running.settle(Answer(UNAVAILABLE, running.name, running.key[1], reason="the resolver is closed"))
        self._cache.clear()

    async def wait_closed(self):
        """Wait, after `close`, until nothing of it runs any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._names.wait_closed()

    # How it is done.

    def _known(self, key):
        kept = self._cache.get(key)
        if kept is None:
            return None
        if kept[1] <= self._loop.time():
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return kept[0]

    def _start(self, running):
        self.asked += 1
        metrics.count(_ASKED)
        kind = running.key[1]
        running.timer = self._loop.call_later(self.deadline_s, running.expire)
        try:
            channel = self._ready_channel()
            if kind in CARES_TYPES and is_plain(running.name):
                channel.query(running.name, kind, running.cares_answered)
                return
            servers = channel.servers
        except ServiceUnavailable as error:
            self._loop.call_soon(running.settle, Answer(UNAVAILABLE, running.name, kind, reason=str(error)))
            return
        task = self._loop.create_task(dns_packet.ask(servers, running.name, kind, self.deadline_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(running.packet_answered)

    def _ready_channel(self):
        channel = self._channel
        if channel is None or channel.started >= self.channel_queries:
            if channel is not None:
                self._retired.add(channel)
                channel.retire(self._retired.discard)
            channel = self._channel = Channel(self._servers, self.deadline_s)
        return channel

    def ask_alone(self, running):
        """Ask once more, where no answer to others can hurt; False when that is not possible."""
        if self.closed or len(self._alone) >= ALONE:
            return False
        try:
            channel = Channel(self._servers, self.deadline_s)
        except ServiceUnavailable:
            return False
        self._alone.add(channel)
        channel.query(running.name, running.key[1], running.cares_answered)
        channel.retire(self._alone.discard)
        return True

    def settled(self, running, answer):
        """A look-up has its outcome: keep it as long as it may be kept."""
        del self._running[running.key]
        if self.closed:
            return
        if answer.status == FOUND:
            answer.ttl = min(answer.ttl, POSITIVE_MAX_S)
        elif answer.status in FAILURES:
            answer.ttl = FAILURE_S
        else:
            answer.ttl = min(_negative_ttl(answer.authority), NEGATIVE_MAX_S)
        if answer.ttl > 0:
            self._cache[running.key] = (answer, self._loop.time() + answer.ttl)
            if len(self._cache) > self.cache_entries:
                metrics.count(_FULL)
                self._cache.popitem(last=False)


class _Running:
    """One look-up under way, and who waits for it."""

    __slots__ = ("resolver", "key", "name", "questions", "timer", "alone")

    def __init__(self, resolver, key, name):
        self.resolver = resolver
        self.key = key
        self.name = name
        self.questions = set()
        self.timer = None
        self.alone = False

    def cares_answered(self, result, status):
        if self.resolver is None:
            return
        kind = self.key[1]
        if status == pycares.errno.ARES_EBADRESP and not self.alone:
            self.alone = True
            if self.resolver.ask_alone(self):
                return
        if status is not None:
            self.settle(Answer(_STATUS.get(status, UNAVAILABLE), self.name, kind, reason=pycares.errno.strerror(status)))
            return
        self.found(Answer(FOUND, self.name, kind, answer=from_cares(result.answer), authority=from_cares(result.authority),
                          additional=from_cares(result.additional)))

    def packet_answered(self, task):
        if self.resolver is None:
            return
        if task.cancelled():
            answer = Answer(UNAVAILABLE, self.name, self.key[1], reason="cancelled")
        elif task.exception() is not None:
            answer = Answer(MALFORMED, self.name, self.key[1], reason=str(task.exception()))
        else:
            answer = task.result()
        if answer.status == FOUND:
            self.found(answer)
        else:
            self.settle(answer)

    def found(self, answer):
        """There was an answer without an error: whether it has the records asked for."""
        answer.records, ttl = of_name(answer.answer, self.name, self.key[1])
        if answer.records:
            answer.ttl = ttl
        else:
            answer.status = NODATA
        self.settle(answer)

    def expire(self):
        metrics.count(_LATE)
        self.settle(Answer(TIMEOUT, self.name, self.key[1], reason=f"no answer within {self.resolver.deadline_s:g} s"))

    def settle(self, answer):
        """The outcome, for everybody who still waits."""
        resolver, self.resolver = self.resolver, None
        if resolver is None:
            return
        self.timer.cancel()
        resolver.settled(self, answer)
        questions, self.questions = self.questions, set()
        for question in questions:
            done, question.done = question.done, None
            if done is not None:
                done(answer)


class _Question:
    """Somebody who waits for a look-up."""

    __slots__ = ("running", "done")

    def __init__(self, running, done):
        self.running = running
        self.done = done

    def cancel(self):
        """Wait no longer. The look-up goes on: others, and the cache, still get its answer."""
        self.done = None
        self.running.questions.discard(self)


def _negative_ttl(authority):
    """How long "there is none" holds: the SOA record says it (RFC 2308 §5)."""
    for record in authority:
        if record.kind == 6 and "minimum" in record.parts:
            return max(min(record.ttl, record.parts["minimum"]), 0)
    return NEGATIVE_S
