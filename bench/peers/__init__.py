"""What Mailfilter is compared with: each peer says what it can do, what it needs, and how it is started.

`ALL` has them in the order of the tables. Their programs lie in `bench/.peers` (`python -m bench.peers` puts them
there) or come from Debian; their configurations are written here, for every start anew. Nothing here measures.
"""
from .aiosmtpd import Aiosmtpd
from .haraka import Haraka
from .nginx import NginxMail, NginxStream
from .own import Floor, Mailfilter, MailfilterLimit
from .postfix import Postfix, SmtpSink

ALL = {peer.name: peer for peer in (
    SmtpSink(), Floor(), Mailfilter(), MailfilterLimit(), Postfix(), NginxStream(), NginxMail(), Haraka(), Aiosmtpd())}
