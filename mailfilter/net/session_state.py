"""What a session remembers of its client: the attributes that the parts of `Inbound` have in common.

Compiled: session_state.pxd, which has their types. Must not know: what any of them is for, beyond their names.
"""

__all__ = ["SessionState"]


class SessionState:
    """The first thing that `Inbound` inherits."""

    def __init__(self, worker, label):
        self.worker = worker
        self.label = label
        self.log = worker.log
        self.clock = worker.loop.time   # seconds, as the timers of the loop count them
        self.session_id = "-"
        self.remote = ("", 0)
        self.visit = None               # what the connection counts for
        self.rules = None               # of the listener
        self.limits = None              # this session's
        self.timeouts = None
        self.transport = None
        self.session = None
        self.context = None
        self.driver = None
        self.deadlines = None
        self.budget = None
        self.ended_by = None            # the limit or timeout for which the session is to end: a key of ENDINGS
        self._done = None               # called with what a handler has decided that had to wait
        self._asked = None              # the event that a handler is deciding about
        self._held = None               # the timer that lets go on: of the delayed greeting, or of the tarpit
        self._late_output = None        # what the client reads then; None before the greeting
        self._spool = None
        self._timer = None              # an Alarm: for its deadlines, then for a client that does not fetch the last replies
        self._slept = False
        self._silent = False            # the end comes without a reply
        self._reading = True
        self._writable = True
        self._yielding = False          # others are served first, then it goes on
        self._draining = False
        self._restrained = False        # something may keep back or end what would go on otherwise
        self._closing = False
        self._lost = False
        self._cleaned = False
        self._debug_line = None
        self.messages = 0               # complete messages received, and how many of them were accepted
        self.accepted = 0
        self.refused = 0                # commands refused by the policy
        self.faults = 0
        self.implicit_tls = False       # the connection begins with a handshake
        self.proxied = None             # the PROXY protocol's header, where there was one
        self.tls = None                 # facts about the connection's TLS (net/tls_stream.py)
        self.handshaking = False
        self._challenged = None         # what waits for the client's answer to a challenge of AUTH
        self._mechanism = None          # of the last AUTH
        self._xclient = None            # what XCLIENT and XFORWARD have told
        self._forwarded = None
