"""What is measured: each workload starts the systems that can do it, takes its samples, and stops them.

`ALL` has them by the words of the command line. Each is called with the `Run` (see `bench.__main__`).
"""
from . import handshakes, idle, messages, micro, opened, operations, refusals, senders, shares, workers

ALL = {
    "messages": (messages.measure, "taking and dropping, and a lock-step proxy, of 4 KiB and 1 MiB"),
    "refusals": (refusals.measure, "sessions refused at connect, at RCPT, after DATA; a flood of 20,000 a minute"),
    "tls": (handshakes.measure, "TLS handshakes with and without resumption"),
    "senders": (senders.measure, "SPF, blocklists, DKIM, DMARC against a DNS server on this machine"),
    "idle": (idle.measure, "memory of connections that do nothing"),
    "open": (opened.measure, "latency and CPU of 200 sessions/s beside 10, 500, 5,000 open connections; of a proxy"),
    "workers": (workers.measure, "two workers beside one"),
    "operations": (operations.measure, "what one operation of a policy costs"),
    "shares": (shares.measure, "where Mailfilter's CPU goes, where perf is installed"),
    "micro": (micro.measure, "parsers, JavaScript heaps, calls of handlers, each alone"),
}
