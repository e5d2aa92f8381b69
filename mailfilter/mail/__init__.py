"""A message as data: envelope, header list, body spool.

Imports _core's header and data; knows no sessions, sockets or policies.
"""
