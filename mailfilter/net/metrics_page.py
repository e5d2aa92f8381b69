"""What monitoring asks for, by HTTP: /metrics (the counters of all workers), /healthz and /ready.

Every worker accepts on the same socket, and whichever takes a request answers it for all of them: the numbers are in
memory that they share. A request is one line of interest, its answer ends the connection. Anybody who can connect may
ask, so the address should be one that only monitoring reaches.

Importing this module needs prometheus_client. Must not know: sessions, policies, what is counted.
"""
import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from mailfilter import __version__, metrics

__all__ = ["Page"]

PREFIX = "mailfilter_"
PAGES_LIMIT = 32
"""Connections at one time, in each worker; more are closed."""
REQUEST_BYTES = 8192
"""Of one request, headers included; more is 431."""
PATIENCE_S = 10.0
"""A request must have come, and its answer be fetched, after so many seconds."""

_WORKERS = metrics.slot("workers")
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 431: "Request Header Fields Too Large",
            503: "Service Unavailable"}
_PLAIN = "text/plain; charset=utf-8"


class _Collector:
    """All metrics, as prometheus_client wants them."""

    def __init__(self, policy_version):
        self._policy_version = policy_version

    def collect(self):
        yield InfoMetricFamily(PREFIX + "build", "The program.", {"version": __version__})
        yield InfoMetricFamily(PREFIX + "policy", "The policy that new connections get.", {"version": self._policy_version})
        for metric, found in metrics.totals():
            name, labels = PREFIX + metric.name, list(metric.labels)
            if metric.kind == metrics.HISTOGRAM:
                family = HistogramMetricFamily(name, metric.help, labels=labels)
                for values, (buckets, total) in found:
                    # The last bound in the text format's words.
                    told = [("+Inf" if bound == float("inf") else str(float(bound)), number) for bound, number in buckets]
                    family.add_metric(values, told, total)
            else:
                kind = CounterMetricFamily if metric.kind == metrics.COUNTER else GaugeMetricFamily
                family = kind(name, metric.help, labels=labels)
                for values, number in found:
                    family.add_metric(values, number)
            yield family


def exposition(policy_version, accept=""):
    """(body as bytes, its content type) in the text format that the Accept header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(policy_version))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class Page(asyncio.Protocol):
    """One request. worker: what is asked about; it has `draining`, `policy`, and `loop`."""

    _open = 0

    def __init__(self, worker):
        self._worker = worker
        self._transport = None
        self._timer = None
        self._request = b""
        self._answered = False

    def connection_made(self, transport):
        """asyncio: somebody wants to know something."""
        Page._open += 1
        self._transport = transport
        if Page._open > PAGES_LIMIT:
            self._answered = True
            transport.abort()
            return
        self._timer = self._worker.loop.call_later(PATIENCE_S, transport.abort)

    def connection_lost(self, error):
        """asyncio: the connection is gone."""
        Page._open -= 1
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data):
        """asyncio: a piece of the request."""
        if self._answered:
            return
        self._request += data
        if len(self._request) > REQUEST_BYTES:
            self._answer(431, b"too long\n")
        elif b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            self._respond()

    def _respond(self):
        head, *lines = self._request.decode("latin-1").splitlines()
        words = head.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(400, b"not a request\n")
            return
        method, path = words[0], words[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            self._answer(405, b"only GET and HEAD\n", more="Allow: GET, HEAD\r\n")
        elif path == "/metrics":
            accept = ",".join(line.partition(":")[2].strip() for line in lines if line.lower().startswith("accept:"))
            self._answer(200, *exposition(getattr(self._worker.policy, "version", ""), accept), with_body=method == "GET")
        elif path == "/healthz":
            self._answer(200, b"ok\n", with_body=method == "GET")
        elif path == "/ready":
            workers = int(metrics.total(_WORKERS))
            if self._worker.draining or not workers:
                self._answer(503, b"not ready\n", with_body=method == "GET")
            else:
                self._answer(200, b"ready, workers: %d\n" % workers, with_body=method == "GET")
        else:
            self._answer(404, b"there are /metrics, /healthz and /ready\n", with_body=method == "GET")

    def _answer(self, status, body, content_type=_PLAIN, more="", with_body=True):
        self._answered = True
        self._transport.write(
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\n{more}Connection: close\r\n\r\n".encode() + (body if with_body else b""))
        self._transport.close()
