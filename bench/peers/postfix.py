"""Postfix and its test sink, as Debian installs them, with configurations of their own.

smtp-sink: C, one process, every session by the same event loop. smtpd: `smtpd_proxy_filter` to the next hop (nothing is
queued, the next hop's replies at DATA and at the end of the message come back; MAIL and RCPT are sent to it at DATA, as
that feature does). Ours is otherwise as it ships, but for what would measure something else: no reverse look-ups, no
limits for one client, no delay for a queue that is behind (`in_flow_delay`), processes enough (200), and no log.
"""
import os
from contextlib import contextmanager

from ..systems import Unavailable
from .base import Certificate, Peer, find, run, serving

HINT = "Debian's package postfix (apt-get install postfix)"
SINK_REFUSES = {"refuse-connect": "CONNECT", "refuse-rcpt": "RCPT", "refuse-data": "."}


def _version():
    postconf = find("postconf")
    if not postconf:
        raise Unavailable(HINT)
    return run([postconf, "-dh", "mail_version"]).strip()


class SmtpSink(Peer):
    """Takes and drops, or refuses."""

    name, words = "smtp-sink", "Postfix's test sink in C"
    modes = frozenset(("discard", *SINK_REFUSES))

    def version(self):
        if not find("smtp-sink"):
            raise Unavailable(HINT)
        return f"Postfix {_version()}"

    def start(self, mode, hop=None, workers=1):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        refused = ["-f", SINK_REFUSES[mode]] if mode in SINK_REFUSES else []
        return serving(self.name, lambda port, folder: [
            find("smtp-sink"), *user, *refused, "-m", "10000", f"127.0.0.1:{port}", "4096"])


MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file =
myhostname = mx.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = example.test
relay_transport = discard
default_transport = discard
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions =
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
message_size_limit = 51200000
in_flow_delay = 0
{more}
"""
MASTER = """\
127.0.0.1:{port} inet n - n - 200 smtpd {filter}
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
discard   unix  - - n - - discard
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
"""
MORE = {
    "proxy": "smtpd_recipient_restrictions = permit_mynetworks, reject",
    "refuse-connect": "smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\nsmtpd_recipient_restrictions = reject",
    "refuse-rcpt": "smtpd_recipient_restrictions = reject",
    "refuse-data": "smtpd_recipient_restrictions = permit_mynetworks, reject\nsmtpd_end_of_data_restrictions = reject",
}


class Postfix(Peer):
    """smtpd, and what of Postfix it needs."""

    name, words = "Postfix", "smtpd; as a proxy smtpd_proxy_filter"
    modes = frozenset((*MORE, "tls"))

    def version(self):
        version = _version()
        if os.geteuid():
            raise Unavailable("Postfix is started by root only")
        return f"Postfix {version}"

    @contextmanager
    def start(self, mode, hop=None, workers=1):
        def command(port, folder):
            more = MORE.get(mode)
            if mode == "tls":
                certificate, key = Certificate.files()
                more = (f"smtpd_recipient_restrictions = reject\nsmtpd_tls_security_level = may\n"
                        f"smtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {key}")
            for part in ("etc", "spool", "data"):
                (folder / part).mkdir()
                (folder / part).chmod(0o755)
            run(["chown", "postfix", str(folder / "data")])
            (folder / "etc/main.cf").write_text(MAIN.format(folder=folder, more=more), encoding="ascii")
            filter_option = f"-o smtpd_proxy_filter=127.0.0.1:{hop}" if mode == "proxy" else ""
            (folder / "etc/master.cf").write_text(MASTER.format(port=port, filter=filter_option), encoding="ascii")
            run([find("postfix"), "-c", str(folder / "etc"), "check"])
            return ["/usr/lib/postfix/sbin/master", "-c", folder / "etc", "-d"]

        with serving(self.name, command) as system:
            yield system
