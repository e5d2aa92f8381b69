"""A real Postfix with its own configuration, queue and data directories, on loopback only.

`with Postfix(relay=port) as sender:` passes everything on to 127.0.0.1:port; without `relay` it is a destination that
delivers every recipient of `example.test` into one Maildir. Rewriting, TLS, DNS and the limits that would alter or slow
a test are switched off, so that a message comes out as it went in but for the trace fields at its top.

It needs root (Postfix changes users) and Debian's package `postfix`; `missing()` says what is not there.
"""
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from .waiting import free_port, wait_until

CONTROL = shutil.which("postfix", path="/usr/sbin:" + os.defpath)
MASTER = Path("/usr/lib/postfix/sbin/master")

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = {hostname}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
local_header_rewrite_clients =
append_dot_mydomain = no
disable_mime_output_conversion = yes
message_size_limit = 104857600
in_flow_delay = 0
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
service_throttle_time = 1s
smtp_dns_support_level = disabled
smtp_line_length_limit = 0
smtp_connect_timeout = 10s
"""

RELAY_CF = "relayhost = [127.0.0.1]:{relay}\n"

DESTINATION_CF = """\
virtual_mailbox_domains = example.test
virtual_mailbox_base = {directory}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - 100 smtpd
postlog   unix-dgram n - n - 1 postlogd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
tlsmgr    unix - - n 1000? 1 tlsmgr
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
virtual   unix - n n - - virtual
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
anvil     unix - - n - 1 anvil
tlsmgr    unix - - n 1000? 1 tlsmgr
scache    unix - - n - 1 scache
"""

QUEUES = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "private", "public",
          "saved", "trace"]

TLS_TO_NEXT_HOP = {"off": "smtp_tls_security_level = none\n", "starttls": "smtp_tls_security_level = encrypt\n",
                   "implicit": "smtp_tls_security_level = encrypt\nsmtp_tls_wrappermode = yes\n"}
TLS_CF = """\
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
tls_random_source = dev:/dev/urandom
"""


def missing():
    """Why no Postfix can be started here, or None."""
    if CONTROL is None or not MASTER.exists():
        return "Postfix is not installed (Debian package postfix)"
    if os.geteuid() != 0:
        return "Postfix must be started as root"
    return None


class Postfix:
    """One instance. `port` takes mail by SMTP; `inject()` by Postfix's own sendmail.

    Args:
        relay: the port of 127.0.0.1 that everything goes to; None: a destination.
        hostname: its name.
        settings: more of main.cf.
        silent: it greets nobody who does not begin (a header of the PROXY protocol); it is ready when it accepts then.
        tls: how it uses TLS to the next hop: "off", "starttls" or "implicit". It is needed then, without looking at the
            certificate.
        certificate: (certificate, key), names of PEM files; with it, it offers STARTTLS, and takes no mail without.
    """

    def __init__(self, relay=None, hostname=None, settings=None, *, silent=False, tls="off", certificate=None):
        self.silent = silent
        self.relay = relay
        self.settings = settings or {}
        self.hostname = hostname or ("sender.test" if relay else "destination.test")
        self.tls = tls
        self.certificate = certificate

    def __enter__(self):
        if problem := missing():
            raise FileNotFoundError(problem)
        self._temporary = tempfile.TemporaryDirectory(prefix="postfix.")
        self.directory = Path(self._temporary.name)
        self.directory.chmod(0o755)
        self.port = free_port()
        self._process = None
        try:
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _configure(self):
        for name in ("etc", "queue", "data", "mail"):
            (self.directory / name).mkdir(mode=0o755)
        # What `postfix check` would make.
        for name in QUEUES:
            (self.directory / "queue" / name).mkdir(mode=0o700)
            shutil.chown(self.directory / "queue" / name, "postfix")
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            shutil.chown(self.directory / "queue" / name, "postfix", "postdrop")
            (self.directory / "queue" / name).chmod(mode)
        (self.directory / "queue/pid").mkdir(mode=0o755)
        shutil.chown(self.directory / "data", "postfix")
        shutil.chown(self.directory / "mail", "nobody", "nogroup")
        nobody = pwd.getpwnam("nobody")
        values = {"directory": self.directory, "daemons": MASTER.parent, "hostname": self.hostname, "port": self.port,
                  "relay": self.relay, "uid": nobody.pw_uid, "gid": nobody.pw_gid}
        text = MAIN_CF + (RELAY_CF if self.relay else DESTINATION_CF)
        text += TLS_TO_NEXT_HOP[self.tls]
        if self.certificate:
            text += TLS_CF
            values["certificate"], values["key"] = self.certificate
        text = text.format(**values) + "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        (self.directory / "etc/main.cf").write_text(text)
        (self.directory / "etc/master.cf").write_text(MASTER_CF.format(**values))
        # Postfix waits for seconds with a file that was changed just now.
        for name in ("main.cf", "master.cf"):
            os.utime(self.directory / "etc" / name, (1e9, 1e9))

    def _start(self):
        configuration = str(self.directory / "etc")
        # A session of its own: the master ends its whole process group when it is stopped.
        self._output = open(self.directory / "output", "wb")
        self._process = subprocess.Popen([str(MASTER), "-c", configuration, "-d"], stdin=subprocess.DEVNULL,
                                         stdout=self._output, stderr=self._output, start_new_session=True)
        self.pid = self._process.pid
        wait_until(lambda: self._greets() or self._process.poll() is not None, "Postfix to greet", 30)
        if self._process.poll() is not None:
            raise ChildProcessError((self.directory / "output").read_text() + self.log())

    def _greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                return self.silent or probe.recv(4) == b"220 "
        except OSError:
            return False

    def __exit__(self, *_exc):
        if self._process is not None:
            group = self._process.pid
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            # Whatever daemon has not followed its master by now.
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._output.close()
        self._temporary.cleanup()

    def inject(self, content, sender="sender@client.test", recipient="user@example.test"):
        """Hand a message (CR LF or LF lines) to this instance's sendmail command."""
        subprocess.run(["/usr/sbin/sendmail", "-C", str(self.directory / "etc"), "-i", "-f", sender, recipient],
                       input=content.replace(b"\r\n", b"\n"), check=True, timeout=60)

    def queued(self):
        """How many messages are in any of its queues."""
        return sum(1 for name in ("maildrop", "incoming", "active", "deferred")
                   for _, _, files in os.walk(self.directory / "queue" / name) for _ in files)

    def log(self):
        """Its log as text, for the message of a failed assertion."""
        try:
            return (self.directory / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_until_empty(self, seconds=60.0):
        """Wait until nothing is queued any more."""
        wait_until(lambda: self.queued() == 0, f"the queue of {self.hostname} to empty", seconds)

    def delivered(self):
        """The messages in the Maildir, with CR LF line ends, in no order."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in (self.directory / "mail/inbox/new").glob("*")]


_TRACE = re.compile(
    rb"(?i)(?:Received|Return-Path|Delivered-To|X-Original-To)[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def without_trace(content):
    """The message without the trace fields at its very top (RFC 5321 §4.4), as (trace fields, rest)."""
    fields = []
    while match := _TRACE.match(content):
        fields.append(match.group())
        content = content[match.end():]
    return fields, content
