"""Sockets, timers and processes around the core: listeners, workers, sessions, next hops.

Knows SMTP as events and replies only; imports policy, services, mail and _core's session and client.
"""
from mailfilter.stale import refuse_stale

refuse_stale(__name__)
