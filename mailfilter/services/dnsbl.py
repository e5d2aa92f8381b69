"""Blocklists and allow-lists in the DNS (RFC 5782): several asked at once, one deadline, no listing by mistake.

What is no listing, whatever a list answers: a failure, silence, an address outside 127.0.0.0/8 (a parked domain), and
127.255.255.0/24, by which public lists say that they refuse to answer (a public resolver, too many questions). Such a list is
cut out after some failures, for a while. A list that lists its test entry for "never listed" lists everything, and is
cut out, too; it is looked at when it is first used and again every hour.

Must not know: policies, sessions.
"""
import ipaddress

from mailfilter.services.dns_answer import FAILURES, FOUND, Answer
from mailfilter.services.dns_name import NameRefused, ascii_name
from mailfilter.services.reverse_names import parsed_address, reverse_name

__all__ = ["Check", "Hit", "Lists", "Zone"]

FAILURES_IN_A_ROW = 5
"""So many failures in a row cut a list out."""

CUT_OUT_S = 60
"""For how long, in seconds; then one question decides."""

LISTS_EVERYTHING_S = 3600
"""How long a list is cut out that lists what is never listed."""

PROBED_S = 3600
"""How often that is looked at."""

KEPT_ZONES = 1000
"""Lists whose state is kept; a policy that makes up names does not fill the memory."""

_A = 1
_LOOPBACK = range(0x7F000000, 0x80000000)
_REFUSALS = range(0x7FFFFF00, 0x80000000)


class Zone:
    """One list as a policy wants it asked.

    name: its domain. weight: what a listing adds to the score. allow: a listing here makes an end of all others. ranges:
    (first, last) pairs of return codes (int) that count, empty for all; mask: bits of the last octet, one of which must
    be set, 0 for none. domains: it lists domains, not addresses.
    """

    __slots__ = ("name", "weight", "allow", "ranges", "mask", "domains")

    def __init__(self, name, weight=1, allow=False, ranges=(), mask=0, domains=False):
        self.name = name
        self.weight = weight
        self.allow = allow
        self.ranges = ranges
        self.mask = mask
        self.domains = domains

    def counts(self, code):
        """Whether a return code (int) is one of those wanted."""
        if self.mask and not code & 0xFF & self.mask:
            return False
        return not self.ranges or any(first <= code <= last for first, last in self.ranges)


class Hit:
    """A listing: the subject, its Zone, the return codes that counted (texts)."""

    __slots__ = ("subject", "zone", "codes")

    def __init__(self, subject, zone, codes):
        self.subject = subject
        self.zone = zone
        self.codes = codes


class _State:
    """What is known of a list, whoever asks it."""

    __slots__ = ("failures", "cut_until", "probed_until", "reason")

    def __init__(self):
        self.failures = 0
        self.cut_until = 0.0
        self.probed_until = 0.0
        self.reason = None


class Lists:
    """The lists that one worker asks; one for each Resolver.

    report(text) is called when a list is cut out or asked again.
    """

    def __init__(self, resolver, loop, report):
        self.resolver = resolver
        self.loop = loop
        self._report = report
        self._states = {}

    def state(self, zone):
        """The state of a Zone's list."""
        key = (zone.name, zone.domains)
        state = self._states.pop(key, None) or _State()
        self._states[key] = state
        if len(self._states) > KEPT_ZONES:
            del self._states[next(iter(self._states))]
        return state

    def failed(self, zone, why):
        """A list did not answer as one should."""
        state = self.state(zone)
        state.failures += 1
        if state.failures >= FAILURES_IN_A_ROW:
            self._cut(zone, state, CUT_OUT_S, why)

    def answered(self, zone):
        """A list answered."""
        state = self.state(zone)
        if state.failures >= FAILURES_IN_A_ROW:
            self._report(f"blocklist {zone.name} answers again")
        state.failures = 0

    def lists_everything(self, zone):
        """A list lists what is never listed."""
        self._cut(zone, self.state(zone), LISTS_EVERYTHING_S, "lists everything")

    def _cut(self, zone, state, seconds, why):
        now = self.loop.time()
        if state.cut_until <= now:
            self._report(f"blocklist {zone.name} is not asked for {seconds} s: {why}")
        state.cut_until = now + seconds
        state.reason = why


class Check:
    """Asks all zones about all subjects at once; settled(self) is called when it is decided, once, never at once.

    subjects: addresses for zones that list addresses, domains for those that list domains; others are passed over.
    threshold: a score that decides early, None to wait for all. seconds: for everything together.

    hits: list of Hit; failed: {zone name: why}; skipped: names of lists that are cut out; score: the weights of the listings,
    0 when an allow-list has one of the subjects; allowed: whether one has.
    """

    def __init__(self, lists, subjects, zones, *, threshold, seconds, settled):
        self.hits = []
        self.failed = {}
        self.skipped = []
        self._lists = lists
        self._threshold = threshold
        self._settled = settled
        self._open = {}             # question number -> what is asked
        self._allowing = 0          # questions to allow-lists that have no answer yet
        self._count = 0
        self._timer = lists.loop.call_later(seconds, self._late)
        now = lists.loop.time()
        for zone in zones:
            state = lists.state(zone)
            if state.cut_until > now:
                self.skipped.append(zone.name)
                continue
            for subject in subjects:
                name = _name(subject, zone)
                if name is not None:
                    self._ask(zone, subject, name)
        self._decide()

    @property
    def allowed(self):
        return any(hit.zone.allow for hit in self.hits)

    @property
    def score(self):
        return 0 if self.allowed else sum(hit.zone.weight for hit in self.hits)

    def cancel(self):
        """Nobody waits for it any more."""
        self._settled = None
        self._end()

    def _ask(self, zone, subject, name):
        number = self._count = self._count + 1
        self._allowing += zone.allow

        def answered(answer):
            self._open.pop(number, None)
            self._answered(zone, subject, answer)

        question = self._lists.resolver.lookup(name, _A, answered)
        self._open[number] = (zone, question)
        if type(question) is Answer:
            self._lists.loop.call_soon(self._known, number, zone, subject, question)

    def _known(self, number, zone, subject, answer):
        if self._open.pop(number, None) is not None:
            self._answered(zone, subject, answer)

    def _answered(self, zone, subject, answer):
        if self._settled is None:
            return
        if answer.status in FAILURES:
            self._fail(zone, answer.reason or answer.status)
        elif answer.status != FOUND:
            self._lists.answered(zone)
        else:
            codes = [int(ipaddress.IPv4Address(record.data)) for record in answer.records]
            if any(code in _REFUSALS for code in codes):
                self._fail(zone, f"refuses to answer ({_text(codes[0])})")
            elif any(code not in _LOOPBACK for code in codes):
                self._fail(zone, f"answers {_text(codes[0])}, which is no return code")
            else:
                self._lists.answered(zone)
                counted = [code for code in codes if zone.counts(code)]
                if counted:
                    self._verify(zone, Hit(subject, zone, [_text(code) for code in counted]))
                    return
        self._done(zone)

    def _verify(self, zone, hit):
        """A listing holds when the list does not list everything."""
        state = self._lists.state(zone)
        if state.probed_until > self._lists.loop.time():
            self.hits.append(hit)
            self._done(zone)
            return
        number = self._count = self._count + 1

        def probed(answer):
            self._open.pop(number, None)
            if answer.status == FOUND:
                self._lists.lists_everything(zone)
                self.failed[zone.name] = "lists everything"
            elif answer.status in FAILURES:
                self._fail(zone, answer.reason or answer.status)
            else:
                state.probed_until = self._lists.loop.time() + PROBED_S
                if self._settled is not None:
                    self.hits.append(hit)
            if self._settled is not None:
                self._done(zone)

        # RFC 5782 §5: 127.0.0.1 is in no list of addresses, INVALID in no list of domains.
        never = f"invalid.{zone.name}" if zone.domains else f"1.0.0.127.{zone.name}"
        question = self._lists.resolver.lookup(never, _A, probed)
        if type(question) is Answer:
            probed(question)
        else:
            self._open[number] = (zone, question)

    def _fail(self, zone, why):
        self.failed[zone.name] = why
        self._lists.failed(zone, why)

    def _done(self, zone):
        self._allowing -= zone.allow
        self._decide()

    def _decide(self):
        early = self._threshold is not None and not self._allowing and self.score >= self._threshold
        if self._open and not early and not self.allowed:
            return
        # Never from inside the constructor: the caller does not have us yet.
        self._lists.loop.call_soon(self._settle)

    def _late(self):
        for zone, _question in self._open.values():
            self._fail(zone, "no answer in time")
        self._settle()

    def _settle(self):
        settled, self._settled = self._settled, None
        self._end()
        if settled is not None:
            settled(self)

    def _end(self):
        self._timer.cancel()
        questions, self._open = self._open, {}
        for _zone, question in questions.values():
            if type(question) is not Answer:
                question.cancel()


def _text(code):
    return str(ipaddress.IPv4Address(code))


def _name(subject, zone):
    """What to ask a zone about a subject; None when it is not of the kind that the zone lists, or no name can be made."""
    if not zone.domains:
        return reverse_name(subject, zone.name)
    if parsed_address(subject) is not None:
        return None
    try:
        return ascii_name(f"{ascii_name(subject)}.{zone.name}")
    except NameRefused:
        return None
