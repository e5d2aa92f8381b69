"""A real OpenSMTPD, unpacked from Debian's package, in a root of its own.

`with OpenSmtpd(relay=port) as sender:` passes everything on to 127.0.0.1:port; without `relay` it is a destination
that delivers every recipient of `example.test` into one Maildir. Debian 12's version cannot serve TLS at all: it cannot
use its private key with OpenSSL 3.
"""
import os
from pathlib import Path

from . import rooted
from .waiting import free_port, wait_until

CONFIGURATION = """\
{pki}
smtp max-message-size 100M
smtp limit max-mails 100000
listen on 127.0.0.1 port {port} hostname "{hostname}" {listen}
{rules}
"""

RELAY = """\
mta max-deferred 10000
action "out" relay host "{scheme}://127.0.0.1:{relay}" helo "{hostname}" {tls}
match from any for any action "out"
"""

DESTINATION = """\
table everybody {{ "@" = "mailbox" }}
action "in" maildir "/mail/inbox" virtual <everybody>
match from any for domain "example.test" action "in"
"""

SCHEMES = {"off": "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}


def missing():
    """Why no OpenSMTPD can be started here, or None."""
    return rooted.missing("opensmtpd")


class OpenSmtpd(rooted.Rooted):
    """One instance; `port` takes mail.

    Args:
        relay: the port of 127.0.0.1 that everything goes to; None: a destination.
        hostname: its name.
        tls: how it uses TLS to the next hop: "off", "starttls" or "implicit". It is needed then, without looking at the
            certificate.
        certificate: (certificate, key), names of PEM files; with it, it offers STARTTLS, and takes no mail without.
    """

    NAME = "opensmtpd"

    def __init__(self, relay=None, hostname=None, *, tls="off", certificate=None):
        super().__init__()
        self.relay = relay
        self.hostname = hostname or ("sender.test" if relay else "destination.test")
        self.tls = tls
        self.certificate = certificate

    def configure(self):
        self.port = free_port()
        pki = listen = ""
        if self.certificate:
            for name, file in zip(("certificate", "key"), self.certificate, strict=True):
                self.write(f"/etc/{name}.pem", Path(file).read_text(), 0o600)
            pki = 'pki here cert "/etc/certificate.pem"\npki here key "/etc/key.pem"\n'
            listen = "tls-require pki here"
        rules = RELAY if self.relay else DESTINATION
        self.write("/etc/smtpd.conf", CONFIGURATION.format(
            pki=pki, listen=listen, port=self.port, hostname=self.hostname,
            rules=rules.format(relay=self.relay, hostname=self.hostname, scheme=SCHEMES[self.tls],
                               tls="" if self.tls == "off" else "tls no-verify")))
        self.write("/etc/mailname", self.hostname + "\n")
        self.folder("/var/lib/opensmtpd/empty", mode=0o711)
        self.folder("/var/spool/smtpd", mode=0o711)
        offline = self.folder("/var/spool/smtpd/offline", mode=0o770)
        self.folder("/var/run")
        self.folder("/mail", "mailbox")
        os.chown(offline, 0, self.ids("opensmtpq")[1])

    def command(self):
        return ["/usr/sbin/smtpd", "-dv", "-f", "/etc/smtpd.conf"]

    def queued(self):
        """How many messages are in its queue."""
        return self.files("/var/spool/smtpd/queue") + self.files("/var/spool/smtpd/incoming")

    def wait_until_empty(self, seconds=60.0):
        """Wait until nothing is queued any more."""
        wait_until(lambda: self.queued() == 0, f"the queue of {self.hostname} to empty", seconds)

    def delivered(self):
        """The messages in the Maildir, with CR LF line ends, in no order."""
        return self.maildir("/mail/inbox")
