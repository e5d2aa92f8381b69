"""Programs that tests let Mailfilter talk to: real ones (Postfix, Exim, OpenSMTPD, Dovecot, smtp-sink) and scripted ones.

Every peer is a context manager with its own temporary directory and its own free port on 127.0.0.1. It is ready when
its `with` block is entered and gone when the block is left. Nothing in this package knows Mailfilter.
"""
