"""A message as data: header list, body spool, parts, and the texts in it.

Imports _core's header and data; knows no sessions, sockets or policies.
"""
from mailfilter.stale import refuse_stale

refuse_stale(__name__)
