"""A real Exim, unpacked from Debian's package exim4-daemon-light, in a root of its own.

`with Exim(relay=port) as sender:` passes everything on to 127.0.0.1:port, at once and every second again; without
`relay` it is a destination that delivers every recipient of `example.test` into one Maildir. Checks and limits that
would alter or refuse a test's mail are off. It uses BDAT wherever CHUNKING is offered, and offers it.
"""
from pathlib import Path

from . import rooted
from .waiting import free_port, wait_until

# hosts_try_fastopen and the like need no network; callouts, ident and DNS would.
CONFIGURATION = """\
primary_hostname = {hostname}
domainlist local_domains =
local_interfaces = 127.0.0.1
keep_environment =
disable_ipv6
dns_again_means_nonexist = *
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
dkim_verify_signers =
recipient_unqualified_hosts = *
smtp_accept_max = 200
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
smtp_accept_queue = 0
smtp_enforce_sync = true
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = {chunking}
pipelining_connect_advertise_hosts =
prdr_enable = true
message_size_limit = 100M
remote_max_parallel = 20
deliver_queue_load_max = 100000
queue_only_load = 100000
queue_run_max = 1
log_selector = +all
log_file_path = /var/log/exim4/%slog
never_users =
acl_smtp_rcpt = accept
acl_smtp_data = accept
acl_smtp_vrfy = accept
acl_smtp_mail = {mail_acl}
{tls}

begin routers

{routers}

begin transports

next_hop:
  driver = smtp
  allow_localhost
  protocol = {protocol}
  port = {port}
  message_linelength_limit = 1G
  connection_max_messages = 500
  hosts_try_dane =
  hosts_require_tls = {require_tls}
  hosts_avoid_tls = {avoid_tls}
  hosts_avoid_pipelining =
  hosts_pipe_connect =
  hosts_try_prdr = {prdr}
  tls_verify_certificates = system
  tls_try_verify_hosts =
  tls_verify_hosts =
  hosts_try_chunking = {chunking}

mailbox:
  driver = appendfile
  directory = /mail/inbox
  maildir_format
  create_directory
  user = mailbox
  group = mailbox
  delivery_date_add = false
  envelope_to_add = false
  return_path_add = true

begin retry

* * F,1h,1s
"""

RELAY = """\
relay:
  driver = manualroute
  transport = next_hop
  route_list = * 127.0.0.1
  self = send
  host_find_failed = defer
"""

DESTINATION = """\
destination:
  driver = accept
  domains = example.test
  transport = mailbox
"""


def missing():
    """Why no Exim can be started here, or None."""
    return rooted.missing("exim")


class Exim(rooted.Rooted):
    """One instance; `port` takes mail.

    Args:
        relay: the port of 127.0.0.1 that everything goes to; None: a destination.
        hostname: its name.
        chunking: whether it offers BDAT, and uses it where it is offered.
        prdr: whether it asks for a reply to the message for each recipient.
        tls: how it uses TLS to the next hop: "off", "starttls" or "implicit". It is needed then, without looking at the
            certificate.
        certificate: (certificate, key), names of PEM files; with it, it offers STARTTLS, and takes no mail without.
    """

    NAME = "exim"

    def __init__(self, relay=None, hostname=None, *, chunking=True, prdr=False, tls="off", certificate=None):
        super().__init__()
        self.relay = relay
        self.hostname = hostname or ("sender.test" if relay else "destination.test")
        self.chunking = chunking
        self.prdr = prdr
        self.tls = tls
        self.certificate = certificate

    def configure(self):
        self.port = free_port()
        tls = "tls_advertise_hosts ="
        if self.certificate:
            for name, file in zip(("certificate", "key"), self.certificate, strict=True):
                self.write(f"/etc/{name}.pem", Path(file).read_text())
            tls = "tls_advertise_hosts = *\ntls_certificate = /etc/certificate.pem\ntls_privatekey = /etc/key.pem"
        self.write("/etc/exim.conf", CONFIGURATION.format(
            hostname=self.hostname, port=self.relay or 25, tls=tls, chunking="*" if self.chunking else "",
            prdr="*" if self.prdr else "",
            mail_acl="accept" if not self.certificate else "/etc/encrypted.acl",
            require_tls="*" if self.tls == "starttls" else "", avoid_tls="*" if self.tls == "off" else "",
            protocol="smtps" if self.tls == "implicit" else "smtp",
            routers=RELAY if self.relay else DESTINATION))
        self.write("/etc/encrypted.acl", "accept encrypted = *\n")
        # Exim starts itself anew, not always as root, and then trusts no other configuration files.
        self.write("/etc/exim4/trusted_configs", "/etc/exim.conf\n")
        for place in ("/var/spool/exim4", "/var/log/exim4"):
            self.folder(place, "Debian-exim", 0o750)
        self.folder("/mail", "mailbox")

    def command(self):
        return ["/usr/sbin/exim4", "-C", "/etc/exim.conf", "-bdf", "-q1s", "-oX", self.port]

    def queued(self):
        """How many messages are in its queue."""
        return sum(1 for path in self.path("/var/spool/exim4/input").glob("**/*-H"))

    def wait_until_empty(self, seconds=60.0):
        """Wait until nothing is queued any more."""
        wait_until(lambda: self.queued() == 0, f"the queue of {self.hostname} to empty", seconds)

    def log(self):
        return "".join(self.text(place) for place in (
            "output", "/var/log/exim4/mainlog", "/var/log/exim4/rejectlog", "/var/log/exim4/paniclog"))

    def delivered(self):
        """The messages in the Maildir, with CR LF line ends, in no order."""
        return self.maildir("/mail/inbox")
