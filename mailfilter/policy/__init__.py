"""JavaScript from the inside: the library, loading a policy, running its handlers, the operations they wait for.

Imports services, mail and _core.heap; knows no sockets, listeners or event protocol of SMTP (net hands in an
object with the few things that a handler may do).
"""
from mailfilter.stale import refuse_stale

refuse_stale(__name__)      # before anything of it is imported

from mailfilter.policy.loader import Policy, load  # noqa: E402

__all__ = ["Policy", "load"]
