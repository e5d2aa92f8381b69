"""What the operations of one session may see and touch. Made by net, used by policy.

Compiled: context.pxd. Must not know: asyncio protocols, the state machine.
"""
from mailfilter import metrics
from mailfilter._core.heap import HostError

__all__ = ["SessionContext"]

_OPERATIONS = metrics.slot("limits_total", "operations")

# Allowed beyond the limit of operations: what a policy needs to end properly.
_ALWAYS = frozenset(("client.close", "client.spoil", "clock.now", "together.cancel"))


class SessionContext:
    """The few things of a session that a handler's operations reach.

    loop, log, session_id, settings, hostname, timeouts, limits, resolver: as their names say; resolver may be None.
    extensions: the service extensions this session can offer, list of str.
    open_next_hop: callable(host, port, options) giving a connection that is not open yet. make_tls: callable(options)
    giving what it needs for TLS. pool: the connections to next hops that sessions of this worker share, or None.
    tarpit_places: where pauses wait: enter() and leave(). tarpit: seconds that every reply is kept back.
    limits_changed: called without arguments when a handler has changed limits, timeouts or tarpit.
    pauses: what ends each pause that is under way, as keys (an empty set is much larger than an empty dict).
    early: whether the client has sent something before its greeting.
    varying: set by operations whose answer is another one each time (clock, random numbers).
    groups: what Sys.all has under way, by number. operations: how many were asked for so far.
    most_operations, most_ms: of the limits, how many operations and how many milliseconds of JavaScript it may use.
    user: None, because a session runs as who we are (a policy is loaded before that is so).
    next_hops: open connections by handle. message, message_handle: the message that smtpData is about, or None.
    delivered: whether the running handler has begun to deliver where no connection tells of it (see delivering).
    challenge: callable(waiting, octets) that asks the client in the middle of AUTH; ValueError when that is impossible.
    identity: who the client is, text, as the policy has found in AUTH. replies: what smtpData said for each recipient,
    [code, line, …] each, or None.
    tls: facts about the client's TLS, a dict as net/tls_stream.py has it, or None.
    """

    def __init__(self, loop, log, session_id, settings, hostname, timeouts, limits, resolver, extensions,
                 open_next_hop, make_tls=None, pool=None, tarpit=None, limits_changed=None, outside=None):
        self.loop = loop
        self.log = log
        self.session_id = session_id
        self.settings = settings
        self.hostname = hostname
        self.timeouts = timeouts
        self._keep_to(limits)
        self.resolver = resolver
        self.extensions = extensions
        self.user = None
        self.open_next_hop = open_next_hop
        self.make_tls = make_tls
        self.pool = pool
        self.outside = outside
        self.held = None
        self.tarpit_places = tarpit
        self.limits_changed = limits_changed
        self.tarpit = 0.0
        self.early = False
        self.pauses = {}
        self.next_hops = {}
        self.last_hop = 0
        self.message = None
        self.message_handle = 0
        self.varying = None
        self.groups = {}
        self.operations = 0
        self.tls = None
        self.delivered = False
        self.challenge = None
        self.identity = None
        self.replies = None

    @property
    def limits(self):
        """The session's limits, a config.Limits."""
        return self._limits

    @limits.setter
    def limits(self, limits):
        self._keep_to(limits)

    def _keep_to(self, limits):
        self._limits = limits
        # What every operation is compared with: numbers of C where this is compiled.
        self.most_operations = limits.operations
        self.most_ms = limits.session_ms

    @property
    def delivering(self):
        """Whether the running handler has begun to deliver in a way that cannot be taken back."""
        if self.delivered:
            return True
        for hop in self.next_hops.values():
            if hop.beyond_recall:
                return True
        return False

    def charge(self, name):
        """Count one operation; HostError when the session has used up its number."""
        self.operations += 1
        if self.operations > self.most_operations and name not in _ALWAYS:
            if self.operations == self.most_operations + 1:
                metrics.count(_OPERATIONS)
            raise HostError(f"{name}: the session has used up its {self.most_operations} operations")

    def handler_starts(self):
        """A handler begins: what it does to next hops from now on is its own."""
        self.delivered = False
        for hop in self.next_hops.values():
            hop.touched = hop.beyond_recall = False

    def handler_failed(self):
        """A handler was cut off or threw: next hops that it had begun to talk to are brought back into step."""
        self._drop_groups()
        for hop in self.next_hops.values():
            if hop.touched:
                hop.resync()
        for held in tuple(self.held.values()) if self.held else ():
            held.abandon()

    def transaction_over(self):
        """The client's transaction has ended. A next hop in which it is still open, because the policy answered
        without telling it, must not take what comes next for a part of it."""
        for hop in self.next_hops.values():
            if hop.in_transaction:
                hop.resync()

    def end_pauses(self):
        """Let nobody be kept waiting on purpose any more: the server stops."""
        for over in tuple(self.pauses):
            over()

    def _drop_groups(self):
        for group in self.groups.values():
            group.cancel()
        self.groups.clear()

    def close(self):
        """The session is over: nothing stays open."""
        self._drop_groups()
        for hop in self.next_hops.values():
            hop.close()
        self.next_hops.clear()
        if self.held:
            for held in tuple(self.held.values()):
                held.close()
            self.held = None
        self.message = None
        # They lead back to the session, and nothing of it shall wait for the garbage collector.
        self.open_next_hop = self.limits_changed = self.challenge = None
