"""What is counted: the table of all metrics, and the memory that the processes of a server count in.

    _ACCEPTED = metrics.slot("messages_total", "accepted")      once, when a module is imported
    metrics.count(_ACCEPTED)                                    whenever it happens; also put() and observe()

A slot is a place in an array of numbers. Every worker has such an array of its own (a row) in memory that all
processes of the server share, so counting takes no lock and no system call, nothing is lost when a worker dies, and
any process can tell the sums. Only the rows of gauges are set back when a worker begins anew.

The table is closed: a name or a label's value that is not in it is a KeyError when the module that counts it is
imported. Knows nothing of what it counts, of HTTP, or of the text format.
"""
import mmap
from dataclasses import dataclass, field
from itertools import product

from mailfilter._core.counters import count, count_in, observe, put

__all__ = ["COMMANDS", "HANDLERS", "SERVICES", "TABLE", "Metric", "begin", "count", "end", "observe", "put", "share", "slot",
           "total", "totals"]

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

_OCTETS = 8         # of one number: doubles are exact up to 2^53, and seconds have fractions


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    name: without the prefix `mailfilter_`; counters end with _total, and units are part of it.
    kind: COUNTER (only grows), GAUGE (as it is now), HISTOGRAM (how values are spread).
    help: one sentence for whoever reads it on a dashboard. unit: what a value is.
    labels: {label: its possible values}. bounds: upper bounds of a histogram's buckets.
    """

    name: str
    kind: str
    help: str
    unit: str = "1"
    labels: dict = field(default_factory=dict)
    bounds: tuple = ()

    @property
    def width(self):
        """Slots that one combination of label values takes: a histogram's buckets, the one above all, and the sum."""
        return len(self.bounds) + 2 if self.kind == HISTOGRAM else 1

    def combinations(self):
        """All combinations of label values, as tuples."""
        return list(product(*self.labels.values()))


HANDLERS = ("smtpInit", "smtpHelo", "smtpEhlo", "smtpMail", "smtpRcpt", "smtpPreData", "smtpBody", "smtpData", "smtpRset",
            "smtpQuit", "smtpNoop", "smtpVrfy", "smtpExpn", "smtpHelp", "smtpUnknown", "smtpStartTls",
            "smtpAuth", "cleanup", "other")
COMMANDS = ("CONNECT", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT", "STARTTLS", "AUTH",
            "UNKNOWN", "other")

SERVICES = ("sql", "store", "http", "clamav", "spamassassin", "rspamd", "milter")

TABLE = (
    Metric("connections_total", COUNTER, "Connections by clients that were taken.", "connections"),
    Metric("connections_refused_total", COUNTER, "Connections that were closed before a session began.", "connections",
           {"reason": ("stopping", "connections", "address_connections", "network_connections", "connection_rate",
                       "address_rate", "network_rate", "busy")}),
    Metric("sessions", GAUGE, "Sessions that are open.", "sessions"),
    Metric("session_seconds", HISTOGRAM, "How long sessions took that have ended.", "seconds",
           bounds=(0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)),
    Metric("messages_total", COUNTER, "Messages, by what became of them: accepted (2xx), refused (5xx) or deferred (4xx) by the "
           "policy, faulted (it failed, 451), rejected by the program itself, or lost with their connection.", "messages",
           {"outcome": ("accepted", "refused", "deferred", "faulted", "rejected", "lost")}),
    Metric("message_bytes", HISTOGRAM, "Sizes of the messages that came whole.", "octets",
           bounds=(1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)),
    Metric("commands_refused_total", COUNTER, "Commands (CONNECT: greetings) that the policy refused.", "commands",
           {"command": COMMANDS, "class": ("4xx", "5xx")}),
    Metric("rejected_total", COUNTER, "Commands and messages that the program refused by itself, by its reply.", "replies",
           {"reply": ("empty", "nul", "line_too_long", "bare_cr", "bare_lf", "sequence", "argument_missing",
                      "argument_unexpected", "too_many_recipients", "too_many_errors", "no_from", "no_to", "bad_sender",
                      "bad_recipient", "non_ascii", "bad_text", "bad_parameter", "unknown_parameter", "bad_attribute",
                      "size", "header_bytes", "header_fields", "bare_line_end", "nul_dot", "storage", "bad_chunk",
                      "binary_by_data", "early_data", "tls_active", "auth_done", "auth_needs_tls", "auth_mechanism",
                      "auth_base64", "auth_cancelled", "auth_line_too_long", "other")}),
    Metric("limits_total", COUNTER, "How often a limit was reached; slice_ms is what the watchdog stopped.", "times",
           {"limit": ("line_bytes", "auth_line_bytes", "recipients", "message_bytes", "header_bytes", "header_fields", "errors",
                      "pending_bytes", "connections", "spool_memory_bytes", "spool_shared_bytes", "heap_bytes", "slice_ms",
                      "session_ms", "operations", "operations_at_once", "proxy_bytes", "dns_cache_entries", "dns_in_flight",
                      "address_connections", "network_connections",
                      "connection_rate", "address_rate", "network_rate", "ipv4_prefix", "ipv6_prefix", "lag_ms",
                      "free_memory_bytes", "commands", "transactions", "session_recipients", "session_bytes", "data_rate",
                      "early_bytes", "foreign_commands", "pipelined_commands", "tarpits", "kept_connections",
                      "quarantine_bytes", "quarantine_messages", "quarantine_days")}),
    Metric("timeouts_total", COUNTER, "How often a timeout ended something; of idle_heap, how often a heap went to sleep.",
           "times",
           {"timeout": ("proxy_header", "tls_handshake", "greeting_delay", "command", "data_block", "transaction", "session",
                        "handler", "message_handler", "connect", "greeting", "hello", "mail", "rcpt",
                        "data", "data_end", "reset", "quit", "kept_connection", "dns", *SERVICES, "idle_heap",
                        "shutdown")}),
    Metric("handlers_total", COUNTER, "Handlers of policies that were called.", "calls", {"handler": HANDLERS}),
    Metric("faults_total", COUNTER, "Handlers that failed (451 or 421).", "faults", {"handler": HANDLERS}),
    Metric("tarpit", GAUGE, "Sessions that are kept waiting by tarpit() and pause().", "sessions"),
    Metric("spool_shared_bytes", GAUGE, "Memory of large bodies, of the limit with this name.", "octets"),
    Metric("heaps_total", COUNTER, "JavaScript heaps made: copied from the policy's image, or built from its source.", "heaps",
           {"made": ("copied", "built")}),
    Metric("heaps", GAUGE, "JavaScript heaps of open sessions.", "heaps"),
    Metric("heaps_asleep", GAUGE, "Those of them whose pages are given back.", "heaps"),
    Metric("images", GAUGE, "Policies ready to be copied: the newest one of each worker, and older ones that sessions still use.",
           "images"),
    Metric("reloads_total", COUNTER, "Reloads of the policy that were asked for, and how they ended.", "reloads",
           {"outcome": ("done", "failed")}),
    Metric("dns_questions_total", COUNTER, "Look-ups of the DNS: asked outside, answered from the cache, or merged with one that "
           "was under way.", "look-ups", {"answer": ("asked", "cached", "merged")}),
    Metric("service_requests_total", COUNTER, "Requests of policies to services outside, by how they ended: answered (with an "
           "error, too), no answer in time, unavailable, against its protocol; not sent because it had failed (open) or too many "
           "waited (busy); or nobody waited any longer (cancelled).", "requests",
           {"service": SERVICES, "outcome": ("answered", "timeout", "unavailable", "protocol", "open", "busy", "cancelled")}),
    Metric("service_seconds", HISTOGRAM, "How long services outside took to answer.", "seconds", {"service": SERVICES},
           bounds=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)),
    Metric("circuits_opened_total", COUNTER, "How often a service outside was found to be away, so that it is left alone for a "
           "while.", "times", {"service": SERVICES}),
    Metric("dmarc_findings_total", COUNTER, "What DMARC said of messages, for aggregate reports: kept, or dropped because it "
           "came too fast, about too many things, or could not be written.", "messages", {"outcome": ("kept", "dropped")}),
    Metric("quarantined_total", COUNTER, "Messages that policies held back in a quarantine: held, or failed because there was no "
           "room or it could not be written.", "messages", {"outcome": ("held", "failed")}),
    Metric("loop_lag_seconds", HISTOGRAM, "How late a timer of the event loop fires, looked at once a second.", "seconds",
           bounds=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)),
    Metric("authentications_total", COUNTER, "AUTH, by how it ended: accepted, refused (5xx), failed (4xx, or by a fault of "
           "the policy), or cancelled by the client.", "exchanges",
           {"outcome": ("accepted", "refused", "failed", "cancelled")}),
    Metric("xclients_total", COUNTER, "XCLIENT commands of trusted clients.", "commands"),
    Metric("tls_handshakes_total", COUNTER, "TLS handshakes with clients: in full, of a session resumed, or failed.",
           "handshakes", {"outcome": ("full", "resumed", "failed")}),
    Metric("next_hop_tls_total", COUNTER, "TLS handshakes with next hops: in full, of a session resumed, or failed.",
           "handshakes", {"outcome": ("full", "resumed", "failed")}),
    Metric("next_hop_connections_total", COUNTER, "Connections to next hops: opened anew, failed to open, taken from those that "
           "were kept, kept, or not kept (full, or not fit for somebody else).", "connections",
           {"outcome": ("opened", "failed", "reused", "kept", "dropped")}),
    Metric("proxy_headers_total", COUNTER, "Headers of the PROXY protocol by version; or why there was none: it came from an "
           "address that is not trusted, was no header, or was not there in time.", "connections",
           {"outcome": ("v1", "v2", "untrusted", "wrong", "missing")}),
    Metric("internal_errors_total", COUNTER, "Mistakes of this program that a log line tells of.", "errors"),
    Metric("workers", GAUGE, "Processes that accept connections.", "processes"),
    Metric("worker_restarts_total", COUNTER, "Workers that died and were started again.", "processes"),
)

_METRICS = {metric.name: metric for metric in TABLE}
_SLOTS = {}             # (name, label values) -> slot
_BOUNDS = {}            # slot of a histogram -> its bounds
_SIZE = 0
for _metric in TABLE:
    for _values in _metric.combinations():
        _SLOTS[_metric.name, _values] = _SIZE
        if _metric.kind == HISTOGRAM:
            _BOUNDS[_SIZE] = _metric.bounds
        _SIZE += _metric.width

_shared = memoryview(bytearray(_SIZE * _OCTETS)).cast("d")      # one row, ours alone, until share()
_cells = _shared
count_in(_cells, _BOUNDS)


def slot(name, *values):
    """The slot of a metric with these label values, in the order of the table; KeyError when there is none."""
    return _SLOTS[name, values]


def share(rows):
    """Make memory for `rows` processes, shared with all children; what was counted so far is kept in row 0, ours."""
    global _shared, _cells
    before = _cells
    _shared = memoryview(mmap.mmap(-1, rows * _SIZE * _OCTETS)).cast("d")
    _cells = _shared[:_SIZE]
    _cells[:] = before
    count_in(_cells, _BOUNDS)


def begin(row):
    """Count in this row from now on; its counters go on, its gauges begin anew."""
    global _cells
    end(row)
    _cells = _shared[row * _SIZE:(row + 1) * _SIZE]
    count_in(_cells, _BOUNDS)


def end(row):
    """The process of this row is gone: its gauges are 0."""
    for (name, _), place in _SLOTS.items():
        if _METRICS[name].kind == GAUGE:
            _shared[row * _SIZE + place] = 0.0


def total(place):
    """The sum of one slot over all rows."""
    return sum(_shared[at] for at in range(place, len(_shared), _SIZE))


def totals():
    """[(Metric, [(label values, number), …]), …] over all rows; of a histogram [(label values, ([(bound, values up to it),
    … (inf, all)], sum)), …]."""
    told = []
    for metric in TABLE:
        found = []
        for values in metric.combinations():
            place = _SLOTS[metric.name, values]
            if metric.kind != HISTOGRAM:
                found.append((values, total(place)))
                continue
            buckets, so_far = [], 0.0
            for number, bound in enumerate((*metric.bounds, float("inf"))):
                so_far += total(place + number)
                buckets.append((bound, so_far))
            found.append((values, (buckets, total(place + metric.width - 1))))
        told.append((metric, found))
    return told
