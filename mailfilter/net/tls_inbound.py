"""TLS under a client's session: when it begins, what becomes of a handshake, what the log and the policy learn.

Must not know: how octets are encrypted (net/tls_stream.py), the state machine, JavaScript.
"""
from mailfilter import log as logs
from mailfilter import metrics
from mailfilter.net.tls_stream import upgrade

__all__ = ["begin", "facts_of_proxy", "of_log"]

_SHAKEN = {outcome: metrics.slot("tls_handshakes_total", outcome) for outcome in ("full", "resumed", "failed")}
_TIMEOUT = metrics.slot("timeouts_total", "tls_handshake")


def begin(inbound, then):
    """Put TLS between `inbound` and its transport; `then()` is called after the handshake, with `inbound.tls` set.

    A handshake that fails is logged and ends the connection. `inbound.handshaking` is true in between: nothing may be
    written then.
    """
    worker = inbound.worker

    def done(error):
        inbound.handshaking = False
        if error is not None:
            metrics.count(_SHAKEN["failed"])
            if error.reason == "timeout":
                metrics.count(_TIMEOUT)
            inbound.log.write(logs.INFO, inbound.session_id, "TLS handshake failed", client=inbound.remote[0],
                              why=str(error))
            return                      # the stream closes, and connection_lost does the rest
        inbound.tls = stream.facts
        metrics.count(_SHAKEN["resumed" if inbound.tls["resumed"] else "full"])
        inbound.log.write(logs.DEBUG, inbound.session_id, "TLS established", **of_log(stream.facts))
        then()

    inbound.handshaking = True
    inbound.transport = stream = upgrade(worker.loop, inbound.transport, inbound, worker.tls, done,
                                         seconds=inbound.timeouts.tls_handshake)


def of_log(facts):
    """What a log line says of a connection with TLS; {} without."""
    if facts is None:
        return {}
    said = {"tls": facts["version"] or "-", "cipher": facts["cipher"] or "-"}
    if facts["subject"] is not None:
        said["certificate"] = facts["subject"]
    return said


def facts_of_proxy(header):
    """What a proxy says of the TLS that it took off, in the form that a stream's `facts` have; None without TLS."""
    if header is None or header.tls is None:
        return None
    told = header.tls
    name = told["subject"]
    return {"version": told["version"], "cipher": told["cipher"], "bits": None, "sni": header.authority,
            "subject": None if name is None else f"CN={name}", "fingerprint": None, "verified": told["verified"],
            "resumed": False}
