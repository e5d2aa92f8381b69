"""Mailfilter itself for the interoperability tests: `serve(policy, settings={}, timeouts={})`."""
