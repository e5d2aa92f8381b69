"""Dovecot's LMTP server (RFC 2033), unpacked from Debian's packages, in a root of its own.

`with Dovecot() as lmtp:` takes mail on `lmtp.port` and delivers every recipient into a Maildir of its own: user@domain into
/mail/user/Maildir. A recipient in `full` is over its quota, which LMTP says after the data, for that recipient alone.
"""
from . import rooted
from .waiting import free_port

CONFIGURATION = """\
protocols = lmtp
base_dir = /run/dovecot
state_dir = /run/dovecot
log_path = /var/log/dovecot.log
default_internal_user = dovecot
default_login_user = dovenull
ssl = no
hostname = mailbox.test
postmaster_address = postmaster@mailbox.test
first_valid_uid = 1
auth_username_format = %n
mail_location = maildir:/mail/%n/Maildir
mail_plugins = quota
plugin {{
  quota = maildir:quota
}}
passdb {{
  driver = passwd-file
  args = /etc/users
}}
userdb {{
  driver = passwd-file
  args = /etc/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
lmtp_save_to_detail_mailbox = no
quota_full_tempfail = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
disable_plaintext_auth = no
auth_verbose = yes
# Wrong passwords from one address are answered ever later otherwise.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {sasl_port}
  }}
}}
"""


def missing():
    """Why no Dovecot can be started here, or None."""
    return rooted.missing("dovecot")


class Dovecot(rooted.Rooted):
    """One instance; `port` speaks LMTP, `sasl_port` what Postfix asks about AUTH (the password is "secret" for all).

    Args:
        users: the local parts that it knows; another recipient is refused at RCPT.
        full: those of them whose quota is used up.
    """

    NAME = "dovecot"

    def __init__(self, users=("user", "second"), full=()):
        super().__init__()
        self.users, self.full = tuple(users), tuple(full)

    def configure(self):
        self.port, self.sasl_port = free_port(), free_port()
        self.write("/etc/dovecot.conf", CONFIGURATION.format(port=self.port, sasl_port=self.sasl_port))
        uid, gid = self.ids("mailbox")
        self.write("/etc/users", "".join(
            f"{user}:{{PLAIN}}secret:{uid}:{gid}::/mail/{user}::"
            + ("userdb_quota_rule=*:bytes=1" if user in self.full else "") + "\n"
            for user in {*self.users, *self.full}))
        self.folder("/mail", "mailbox")
        self.folder("/run/dovecot")
        self.folder("/var/log")

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot.conf"]

    def log(self):
        return super().log() + self.text("/var/log/dovecot.log")

    def delivered(self, user="user"):
        """The messages in a user's Maildir, with CR LF line ends, in no order."""
        return self.maildir(f"/mail/{user}/Maildir")
