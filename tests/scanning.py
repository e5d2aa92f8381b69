"""Scanners for tests: the real ones, as databases.Server has it, and one that does what a test tells it, badly.

Must not know: what is tested with them.
"""
import os
import signal
import socket
import threading

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from databases import Server, _stop, program

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Scanner(Server):
    """A scanner, with all processes that it makes."""

    def pids(self):
        """Its processes, parents first."""
        found = [self.process.pid]
        for pid in found:
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                    found += map(int, file.read().split())
            except FileNotFoundError:
                continue
        return found

    def hang(self):
        for pid in self.pids():
            _stop(pid)

    def wake(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            for pid in reversed(self.pids()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.wait()

    def write(self, name, text):
        """A file in its folder; the path."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path


class Clamd(Scanner):
    """ClamAV with a signature of its own: EICAR. It listens on a port and on the socket `clamd.sock` in its folder."""

    user = "nobody"

    def prepare(self):
        self.write("db/own.hdb", "44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-Signature\n")
        self.socket = os.path.join(self.folder, "clamd.sock")
        self.write("clamd.conf", f"Foreground yes\nDatabaseDirectory {self.folder}/db\nTCPSocket {self.port}\nTCPAddr 127.0.0.1\n"
                   f"LocalSocket {self.socket}\nLocalSocketMode 666\nStreamMaxLength 1M\nTemporaryDirectory {self.folder}\n")

    def command(self):
        return [program("clamd"), "-c", os.path.join(self.folder, "clamd.conf")]


class Spamd(Scanner):
    """SpamAssassin without network, Bayes and rules but a few. report: the template of its report, None for the usual one."""

    def __init__(self, report=None):
        self.report = report
        super().__init__()

    def prepare(self):
        lines = ["dns_available no", "use_bayes 0", "required_score 5", "skip_rbl_checks 1",
                 "rewrite_header Subject [SPAM]", "report_safe 0",
                 "add_header spam Flag _YESNOCAPS_", "body HAS_WORD /cheap watches/", "score HAS_WORD 2.5",
                 "describe HAS_WORD Speaks of watches",
                 r"body GTUBE /XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\*C\.34X/", "score GTUBE 1000",
                 "describe GTUBE Generic Test for Unsolicited Bulk Email"]
        if self.report:
            lines += ["clear_report_template", *(f"report {line}" for line in self.report)]
        else:
            lines += ["clear_report_template", "report Content analysis details:   (_SCORE_ points, _REQD_ required)", "report",
                      'report " pts rule name              description"',
                      "report  ---- ---------------------- --------------------------------------------------",
                      "report _SUMMARY_"]
        self.write("rules/local.cf", "\n".join(lines) + "\n")
        self.write("site/init.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
        self.write("site/tlds.cf", "util_rb_tld com net org example\n")

    def command(self):
        return [program("spamd"), "--local", "--nouser-config", "--listen", f"127.0.0.1:{self.port}", "--max-children", "2",
                "--min-children", "1", "--configpath", f"{self.folder}/rules", "--siteconfigpath", f"{self.folder}/site",
                "--helper-home-dir", self.folder, "--syslog", "stderr", "--pidfile", f"{self.folder}/pid"]


class RspamdServer(Scanner):
    """Rspamd with a few rules of its own and no network."""

    user = "_rspamd"

    def prepare(self):
        self.write("rules.lua", """
rspamd_config:register_symbol{name = 'WATCHES', score = 7.5, group = 'own', type = 'normal', callback = function(task)
  return string.find(tostring(task:get_content()), 'cheap watches') ~= nil end}
rspamd_config:register_symbol{name = 'FACTS', score = 0.1, group = 'own', callback = function(task)
  local rcpt = task:get_recipients(1) or {}
  local from = task:get_from(1) or {}
  local tls = task:get_request_header('TLS-Version')
  task:set_milter_reply{add_headers = {['X-Facts'] = {value = 'seen', order = 1}}, remove_headers = {['X-Old'] = 0}}
  local rewritten = task:get_request_header('X-Rewrite')
  if rewritten then
    local text = tostring(task:get_content()):gsub('secret', 'hidden')
    task:set_message('X-Rewritten: yes\\r\\n' .. text)
  end
  return true, 1.0, 'ip=' .. tostring(task:get_from_ip()), 'helo=' .. tostring(task:get_helo()),
    'user=' .. tostring(task:get_user()), 'from=' .. tostring(from[1] and from[1].addr),
    'rcpts=' .. tostring(#rcpt), 'tls=' .. tostring(tls)
end}
""")
        self.write("rspamd.conf", f"""
options {{ pidfile = "{self.folder}/pid"; dns {{ nameserver = ["127.0.0.1:9"]; timeout = 10ms; retransmits = 0; }}
  tempdir = "{self.folder}"; filters = ""; local_addrs = []; cache_file = "{self.folder}/cache";
  dynamic_conf = "{self.folder}/dyn";
  enable_test_patterns = true; }}
logging {{ type = "console"; level = "warning"; }}
worker {{ type = "normal"; bind_socket = "127.0.0.1:{self.port}"; count = 1; }}
metric {{ name = "default"; actions {{ reject = 15; add_header = 6; }} }}
lua = "{self.folder}/rules.lua";
""")

    def command(self):
        return [program("rspamd"), "-f", "-i", "-c", os.path.join(self.folder, "rspamd.conf")]


def dkim_keys():
    """A new key for DKIM: (private in PEM, public as the DNS has it)."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                serialization.NoEncryption()).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, b"".join(public.splitlines()[1:-1]).decode()


class OpenDkim(Scanner):
    """opendkim as signer of example.net (mode "s") or as verifier (mode "v") with that domain's key; selector s1."""

    def __init__(self, mode, key, public):
        self.mode = mode
        self.key = key
        self.public = public
        super().__init__()

    def prepare(self):
        key = self.write("s1.private", self.key)
        keys = self.write("keys", f"s1._domainkey.example.net v=DKIM1; k=rsa; p={self.public}\n")
        hosts = self.write("hosts", "127.0.0.1\n" if self.mode == "s" else "192.0.2.1\n")
        self.write("opendkim.conf", f"Mode {self.mode}\nSocket inet:{self.port}@127.0.0.1\nInternalHosts {hosts}\n"
                   f"Domain example.net\nSelector s1\nKeyFile {key}\nRequireSafeKeys no\nBackground no\nSyslog no\n"
                   f"TestPublicKeys {keys}\n"
                   "Canonicalization relaxed/simple\nAuthservID mx.test\nAlwaysAddARHeader yes\n")

    def command(self):
        return [program("opendkim"), "-f", "-x", os.path.join(self.folder, "opendkim.conf")]


class Bad:
    """A service on a port that does with each connection what `behave(socket)` does, each in a thread; ended by finish()."""

    def __init__(self, behave):
        self.behave = behave
        self.taken = 0
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        connection.settimeout(20)
        with connection:
            try:
                self.behave(self, connection)
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


def mute(service, connection):
    """Takes everything, says nothing."""
    connection.setblocking(False)
    while not service.over.wait(0.02):
        try:
            if not connection.recv(1 << 16):
                return
        except BlockingIOError:
            continue


def deaf(service, connection):
    """Takes nothing, says nothing."""
    service.over.wait()


def garbage(service, connection):
    """Says what no service says, without end."""
    while not service.over.is_set():
        connection.sendall(b"\x00\xff nonsense \r\n" * 1000)


def closing(service, connection):
    """Takes the connection and hangs up."""


def dripping(service, connection):
    """Says an octet now and then, for ever."""
    while not service.over.wait(0.05):
        connection.sendall(b"1")


BAD = [mute, deaf, garbage, closing, dripping]
